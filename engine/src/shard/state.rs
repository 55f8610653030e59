//! What a shard's tasks share, on one thread: the ring, the timers, the record, the tools.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use loadr_config::{OriginId, Piece, Program, Request, RequestId, ScenarioId, Source};
use loadr_ring::{Event, Ring, Slot};
use rustls::ClientConfig;

use super::dial::Sources;
use super::driver::ShardSpec;
use super::feed::Feed;
use super::foreign::Foreign;
use super::proxy::Proxied;
use super::tasks::{TaskId, Tasks, signal};
use super::together::Waiter;
use super::tools::Tools;
use crate::addresses::{Addresses, Resolve};
use crate::control::Control;
use crate::error_kind::ErrorKind;
use crate::http::{Decoder, KnownHead, RenderError, Spares};
use crate::instances::Instances;
use crate::leases::ScenarioLeases;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;
use crate::rendezvous::Places;
use crate::schedule::{Leased, Pace, Paced, Pool};

/// How a request gets its bytes.
pub(crate) enum Prepared {
    /// They are the same every time.
    Static(Box<[u8]>),
    /// They have holes, or something is added to them.
    Templated {
        /// Whether what is in the holes is made afresh each time.
        varies: bool,
    },
}

impl Prepared {
    /// Of a request of the program.
    pub(crate) fn of(program: &Program, request: &Request) -> Self {
        let is_plain = program.proxy.is_none() || program.origins[request.origin.at()].tls;
        // What is added for a proxy is added to a copy, and what a cache adds differs.
        if is_plain && !request.http.caches {
            Self::new(request)
        } else {
            Self::templated(request)
        }
    }

    fn templated(request: &Request) -> Self {
        let templates = [Some(&request.head), request.body.as_ref()];
        let mut pieces = templates
            .into_iter()
            .flatten()
            .flat_map(|template| &template.pieces);
        let is_made = |piece: &Piece| {
            matches!(
                piece,
                Piece::Value {
                    source: Source::Made(_),
                    ..
                }
            )
        };
        Self::Templated {
            varies: pieces.any(is_made),
        }
    }

    fn new(request: &Request) -> Self {
        let mut bytes = Vec::new();
        for template in [Some(&request.head), request.body.as_ref()]
            .into_iter()
            .flatten()
        {
            match template.constant() {
                Some(parts) => parts.into_iter().for_each(|part| bytes.extend(part)),
                None => return Self::templated(request),
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

/// No moment: later than any.
pub(crate) const NEVER: u64 = u64::MAX;

/// One scenario on this shard. Users are numbered from 0, in the order in which they were made.
pub(crate) struct ScenarioState {
    pub(crate) phase: Cell<Phase>,
    /// When it began, by the plan's clock.
    pub(crate) start_ns: Cell<u64>,
    /// Virtual users that have not left.
    pub(crate) live: Cell<u32>,
    /// Whether those who wait at its meeting places may still hope for users that this shard makes.
    pub(crate) holds_places: Cell<bool>,
    /// Those of them that take part: not the ones that rest until they are called.
    active: Cell<u32>,
    /// The most of these since the last handover.
    peak: Cell<u32>,
    pub(crate) tasks: RefCell<Vec<TaskId>>,
    /// By user: whether it waits between two iterations.
    waiting: RefCell<Vec<bool>>,
    /// The plugin instances of users that are yet to come.
    instances: RefCell<Vec<Instances>>,
    /// Users of lower number iterate, where a schedule says how many.
    pub(crate) wanted: Cell<u32>,
    /// The users of an open model, and by user when the iteration was due that it is called for.
    pub(crate) pool: RefCell<Pool>,
    pub(crate) calls: RefCell<Vec<u64>>,
    /// What is counted, or paced, over the whole run.
    shared: RefCell<Option<Leased>>,
    pacing: RefCell<Option<Paced>>,
    throttle: RefCell<Option<Paced>>,
}

impl ScenarioState {
    /// `instances`: of each user to come; `called`: how many users of an open model there may be.
    pub(crate) fn new(instances: Vec<Instances>, called: u32, leases: &ScenarioLeases) -> Self {
        let paced = |pace: &Option<Arc<Pace>>| RefCell::new(pace.clone().map(Paced::new));
        Self {
            phase: Cell::new(Phase::Waiting),
            start_ns: Cell::new(0),
            live: Cell::new(0),
            holds_places: Cell::new(true),
            active: Cell::new(0),
            peak: Cell::new(0),
            tasks: RefCell::new(Vec::new()),
            waiting: RefCell::new(Vec::new()),
            instances: RefCell::new(instances),
            wanted: Cell::new(0),
            pool: RefCell::new(Pool::new(called)),
            calls: RefCell::new(Vec::new()),
            shared: RefCell::new(leases.iterations.clone().map(Leased::new)),
            pacing: paced(&leases.pacing),
            throttle: paced(&leases.throttle),
        }
    }

    /// Those of the next user that is made.
    pub(crate) fn take_instances(&self) -> Instances {
        let mut instances = self.instances.borrow_mut();
        let next = instances.pop().unwrap_or_default();
        if instances.is_empty() {
            // All are made: the list is of no more use.
            *instances = Vec::new();
        }
        next
    }

    /// A user is made, perhaps for an iteration that was due at `call_ns`.
    pub(crate) fn add(&self, task: TaskId, call_ns: u64) {
        self.tasks.borrow_mut().push(task);
        self.waiting.borrow_mut().push(false);
        self.calls.borrow_mut().push(call_ns);
        self.live.set(self.live.get() + 1);
        self.set_active(self.active.get() + 1);
    }

    fn set_active(&self, active: u32) {
        self.active.set(active);
        self.peak.set(self.peak.get().max(active));
    }

    /// The most users that took part at once since this was last asked.
    pub(crate) fn take_peak(&self) -> u32 {
        self.peak.replace(self.active.get())
    }

    /// The user waits between two iterations; `is_idle` until it is called.
    pub(crate) fn rests(&self, user: u32, is_idle: bool) {
        self.waiting.borrow_mut()[user as usize] = true;
        self.set_active(self.active.get() - u32::from(is_idle));
    }

    /// The user waits no more.
    pub(crate) fn resumes(&self, user: u32, was_idle: bool) {
        self.waiting.borrow_mut()[user as usize] = false;
        self.set_active(self.active.get() + u32::from(was_idle));
    }

    pub(crate) fn is_waiting(&self, user: u32) -> bool {
        self.waiting.borrow()[user as usize]
    }

    /// Wakes a user that waits between two iterations; what one in an iteration sleeps for goes on.
    pub(crate) fn wake_waiting(&self, tasks: &mut Tasks, user: u32) {
        if self.is_waiting(user) {
            tasks.signal(self.tasks.borrow()[user as usize], signal::SLEPT);
        }
    }

    /// One of the iterations that all users share; false when none is left.
    pub(crate) fn take_shared(&self) -> bool {
        self.shared.borrow_mut().as_mut().is_none_or(Leased::take)
    }

    /// When the next iteration may start, if the scenario limits them.
    pub(crate) fn pacing_slot(&self, now_ns: u64) -> u64 {
        self.slot(&self.pacing, now_ns)
    }

    /// When the next request may start, if the scenario limits them.
    pub(crate) fn throttle_slot(&self, now_ns: u64) -> u64 {
        self.slot(&self.throttle, now_ns)
    }

    fn slot(&self, paced: &RefCell<Option<Paced>>, now_ns: u64) -> u64 {
        let start_ns = self.start_ns.get();
        match paced.borrow_mut().as_mut() {
            Some(paced) => start_ns.saturating_add(paced.take(now_ns.saturating_sub(start_ns))),
            None => now_ns,
        }
    }
}

/// Whose a slot is, and the error that ended it.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) task: TaskId,
    pub(super) errno: i32,
}

impl Owner {
    pub(super) const NOBODY: Self = Self {
        task: TaskId(0),
        errno: 0,
    };
}

pub(crate) struct Shard {
    pub(crate) program: Arc<Program>,
    pub(crate) plugins: Arc<LoadedPlugins>,
    pub(crate) control: Control,
    /// Whether the run is paused, as far as this shard knows.
    pub(crate) paused: Cell<bool>,
    /// By [`OriginId`].
    pub(super) addresses: RefCell<Addresses>,
    /// Those that were looked up in the run.
    pub(super) fresh_addresses: Receiver<Addresses>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) sources: Sources,
    pub(super) proxied: Proxied,
    /// Whether virtual users keep responses.
    pub(super) caches: bool,
    /// By [`RequestId`].
    pub(crate) prepared: Vec<Prepared>,
    /// By [`RequestId`].
    pub(super) known_heads: Vec<KnownHead>,
    pub(crate) ring: RefCell<Ring>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) tools: RefCell<Tools>,
    pub(crate) feed: Rc<Feed>,
    pub(crate) record: RefCell<Box<Record>>,
    /// By [`ScenarioId`].
    pub(crate) scenarios: Vec<ScenarioState>,
    /// Where users of all shards meet, and who waits there.
    pub(crate) places: Arc<Places>,
    pub(crate) waiters: RefCell<Vec<Waiter>>,
    /// A head and a body being rendered.
    pub(crate) scratch: RefCell<(Vec<u8>, Vec<u8>)>,
    pub(super) decoder: RefCell<Decoder>,
    /// Where users gather responses that come in pieces.
    pub(super) spares: Rc<Spares>,
    /// For connections over TLS.
    pub(super) tls: OnceCell<Arc<ClientConfig>>,
    /// Whether the first virtual user is shown, as long as there is none.
    pub(super) shows: Cell<bool>,
    /// Origins met in the run.
    pub(super) foreign: RefCell<Foreign>,
    /// By slot.
    pub(super) owners: RefCell<Vec<Owner>>,
}

impl Shard {
    /// `scenarios`: by [`ScenarioId`].
    pub(crate) fn new(
        spec: &mut ShardSpec,
        (ring, sockets): (Ring, u32),
        (tools, feed): (Tools, Feed),
        scenarios: Vec<ScenarioState>,
    ) -> Self {
        let program = Arc::clone(&spec.program);
        Self {
            prepared: program
                .requests
                .iter()
                .map(|request| Prepared::of(&program, request))
                .collect(),
            known_heads: program
                .requests
                .iter()
                .map(|_| KnownHead::default())
                .collect(),
            fresh_addresses: std::mem::replace(&mut spec.fresh_addresses, channel().1),
            resolver: Arc::clone(&spec.resolver),
            sources: Sources::new(&program.engine.source_ips, (spec.index, spec.count)),
            proxied: Proxied::new(&program),
            caches: program.requests.iter().any(|request| request.http.caches),
            record: RefCell::new(Box::new(Record::new(&program))),
            scenarios,
            // The table has room for two connections of each.
            tasks: RefCell::new(Tasks::with_room_for(sockets as usize / 2)),
            tools: RefCell::new(tools),
            feed: Rc::new(feed),
            ring: RefCell::new(ring),
            places: Arc::clone(&spec.places),
            waiters: RefCell::default(),
            scratch: RefCell::default(),
            decoder: RefCell::new(Decoder::new()),
            spares: Rc::default(),
            tls: OnceCell::new(),
            shows: Cell::new(spec.shows),
            foreign: RefCell::default(),
            owners: RefCell::new(Vec::with_capacity(sockets as usize)),
            program,
            plugins: Arc::clone(&spec.plugins),
            control: spec.control.clone(),
            paused: Cell::new(false),
            addresses: RefCell::new(Arc::clone(&spec.addresses)),
        }
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

    /// Whether the run is paused: no iteration starts.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// A virtual user is done.
    pub(crate) fn left(&self, scenario: ScenarioId) {
        let state = &self.scenarios[scenario.at()];
        state.live.set(state.live.get() - 1);
        state.set_active(state.active.get() - 1);
        self.user_left(scenario);
    }

    /// Counts a request that brought no response, with a text for people.
    pub(crate) fn record_error(
        &self,
        id: RequestId,
        origin: OriginId,
        kind: ErrorKind,
        errno: i32,
    ) {
        let request = &self.program.requests[id.at()];
        let address = self.address(origin);
        self.record.borrow_mut().error(kind, || {
            let why = match kind {
                ErrorKind::Timeout => format!("no whole response within {:?}", request.timeout),
                ErrorKind::ConnectTimeout => {
                    let limit = self.program.connect_timeout.unwrap_or(request.timeout);
                    format!("no connection within {:?}", limit.min(request.timeout))
                }
                ErrorKind::FdExhausted => format!(
                    "{}: raise the limit with `ulimit -n` (the system's is `sysctl fs.file-max`)",
                    std::io::Error::from_raw_os_error(errno)
                ),
                ErrorKind::PortExhausted => {
                    "no local port is left: keep connections open, dial from more addresses with \
                    `engine.source_ips`, or `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`"
                        .into()
                }
                ErrorKind::Closed => {
                    "the target closed the connection before the response was whole".into()
                }
                ErrorKind::Protocol => "the response is not valid HTTP/1.1".into(),
                ErrorKind::HeaderLimit => format!(
                    "the response has more than {} header fields (engine.max_headers), or more than 64 KiB of them",
                    self.program.limits.headers_max
                ),
                ErrorKind::Decode => {
                    "the response's body is not what its Content-Encoding says".into()
                }
                ErrorKind::BodyLimit => format!(
                    "the response's body has more than {} bytes (engine.max_body)",
                    self.program.limits.body_bytes_max
                ),
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
