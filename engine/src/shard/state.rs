//! What a shard's tasks share, on one thread: the ring, the timers, the record, the tools.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use loadr_config::{OriginId, Program, Request, RequestId, ScenarioId};
use loadr_ring::{Event, Ring, Slot};

use super::feed::Feed;
use super::tasks::{TaskId, Tasks, signal};
use super::tools::Tools;
use crate::control::Control;
use crate::error_kind::ErrorKind;
use crate::http::RenderError;
use crate::instances::Instances;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;

/// How a request gets its bytes.
pub(crate) enum Prepared {
    /// They are the same every time.
    Static(Box<[u8]>),
    /// They have holes.
    Templated,
}

impl Prepared {
    pub(crate) fn new(request: &Request) -> Self {
        let mut bytes = Vec::new();
        for template in [Some(&request.head), request.body.as_ref()]
            .into_iter()
            .flatten()
        {
            match template.constant() {
                Some(parts) => parts.into_iter().for_each(|part| bytes.extend(part)),
                None => return Self::Templated,
            }
        }
        Self::Static(bytes.into())
    }
}

/// Where a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its start time has not come.
    Waiting,
    /// New iterations start.
    Running,
    /// The schedule is over; iterations in flight go on.
    Draining,
    /// Iterations in flight were cancelled.
    Cancelled,
}

pub(crate) struct ScenarioState {
    pub(crate) phase: Cell<Phase>,
    /// Virtual users that have not left.
    pub(crate) live: Cell<u32>,
    /// The most of them since the last handover.
    pub(crate) peak: Cell<u32>,
    pub(crate) tasks: RefCell<Vec<TaskId>>,
    /// The plugin instances of users that are yet to come.
    pub(crate) instances: RefCell<Vec<Instances>>,
}

/// Whose a slot is, and the error that ended it.
#[derive(Clone, Copy)]
struct Owner {
    task: TaskId,
    errno: i32,
}

pub(crate) struct Shard {
    pub(crate) program: Arc<Program>,
    pub(crate) plugins: Arc<LoadedPlugins>,
    pub(crate) control: Control,
    /// By [`OriginId`].
    pub(crate) addresses: Arc<[SocketAddr]>,
    /// By [`RequestId`].
    pub(crate) prepared: Vec<Prepared>,
    pub(crate) ring: RefCell<Ring>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) tools: RefCell<Tools>,
    pub(crate) feed: Rc<Feed>,
    pub(crate) record: RefCell<Box<Record>>,
    /// By [`ScenarioId`].
    pub(crate) scenarios: Vec<ScenarioState>,
    /// A head and a body being rendered.
    pub(crate) scratch: RefCell<(Vec<u8>, Vec<u8>)>,
    /// By slot.
    owners: RefCell<Vec<Owner>>,
}

impl Shard {
    /// `of_users`: by [`ScenarioId`](loadr_config::ScenarioId), the plugin instances of each virtual user to come.
    pub(crate) fn new(
        program: Arc<Program>,
        plugins: Arc<LoadedPlugins>,
        control: Control,
        addresses: Arc<[SocketAddr]>,
        (ring, sockets): (Ring, u32),
        (tools, feed): (Tools, Feed),
        of_users: Vec<Vec<Instances>>,
    ) -> Self {
        let scenarios = of_users
            .into_iter()
            .map(|instances| ScenarioState {
                phase: Cell::new(Phase::Waiting),
                live: Cell::new(0),
                peak: Cell::new(0),
                tasks: RefCell::new(Vec::new()),
                instances: RefCell::new(instances),
            })
            .collect();
        Self {
            prepared: program.requests.iter().map(Prepared::new).collect(),
            record: RefCell::new(Box::new(Record::new(&program))),
            scenarios,
            tasks: RefCell::new(Tasks::new()),
            tools: RefCell::new(tools),
            feed: Rc::new(feed),
            ring: RefCell::new(ring),
            scratch: RefCell::default(),
            owners: RefCell::new(vec![
                Owner {
                    task: TaskId(0),
                    errno: 0
                };
                sockets as usize
            ]),
            program,
            plugins,
            control,
            addresses,
        }
    }

    /// Begins a connection that signals `task`; on failure the system's error number.
    pub(crate) fn connect(&self, origin: OriginId, task: TaskId) -> Result<Slot, i32> {
        let address = self.addresses[origin.at()];
        let slot = self
            .ring
            .borrow_mut()
            .connect(address, None)
            .map_err(|error| error.raw_os_error().unwrap_or(0))?;
        self.owners.borrow_mut()[slot.at()] = Owner { task, errno: 0 };
        Ok(slot)
    }

    pub(crate) fn release(&self, slot: Slot) {
        self.ring.borrow_mut().close(slot);
    }

    /// The system's error that ended the slot's connection; 0 when the peer closed it.
    pub(crate) fn errno(&self, slot: Slot) -> i32 {
        self.owners.borrow()[slot.at()].errno
    }

    /// Hands an event to the task whose connection it is about.
    #[inline]
    pub(crate) fn on_event(&self, event: Event) {
        let (slot, bits) = match event {
            Event::Received(slot) => (slot, signal::RECEIVED),
            Event::Connected(slot) => (slot, signal::CONNECTED),
            Event::Ended(slot) => (slot, signal::ENDED),
            Event::Drained(slot) => (slot, signal::DRAINED),
            Event::Failed(slot, errno) => {
                self.owners.borrow_mut()[slot.at()].errno = errno;
                (slot, signal::ENDED)
            }
            Event::Accepted(..) | Event::AcceptFailed(..) | Event::Woken => return,
        };
        let task = self.owners.borrow()[slot.at()].task;
        self.tasks.borrow_mut().signal(task, bits);
    }

    /// Whether new iterations of the scenario may start.
    #[inline]
    pub(crate) fn takes_iterations(&self, scenario: ScenarioId) -> bool {
        // The flags too: what this shard asked for itself holds at once, not from the driver's next turn on.
        self.scenarios[scenario.at()].phase.get() == Phase::Running
            && !self.control.is_stopped()
            && !self.control.is_aborted(scenario)
    }

    /// A virtual user is done.
    pub(crate) fn left(&self, scenario: ScenarioId) {
        let live = &self.scenarios[scenario.at()].live;
        live.set(live.get() - 1);
    }

    /// Counts a request that brought no response, with a text for people.
    pub(crate) fn record_error(&self, id: RequestId, kind: ErrorKind, errno: i32) {
        let request = &self.program.requests[id.at()];
        let address = self.addresses[request.origin.at()];
        self.record.borrow_mut().error(kind, || {
            let why = match kind {
                ErrorKind::Timeout => format!("no whole response within {:?}", request.timeout),
                ErrorKind::ConnectTimeout => format!("no connection within {:?}", request.timeout),
                ErrorKind::Closed => {
                    "the target closed the connection before the response was whole".into()
                }
                ErrorKind::Protocol => "the response is not valid HTTP/1.1".into(),
                ErrorKind::HeaderLimit => "the response's head is too large".into(),
                ErrorKind::BodyLimit => "the response's body is too large".into(),
                _ => std::io::Error::from_raw_os_error(errno).to_string(),
            };
            format!("{} ({address}): {why}", request.name)
        });
    }

    /// Counts a request that could not be rendered.
    pub(crate) fn record_unsent(&self, id: RequestId, error: RenderError) {
        let request = &self.program.requests[id.at()];
        let text = || format!("{}: {}", request.name, error.text(&self.program));
        self.record.borrow_mut().error(error.kind(), text);
    }
}
