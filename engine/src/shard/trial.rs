//! The parts of a request's way, each by itself and without a network: what the benchmarks measure.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use loadr_config::{Program, RequestId};

use super::feed::{Feed, Shared};
use super::judge::Judge;
use super::tasks::{Tasks, signal};
use super::tools::Tools;
use super::vars::Vars;
use crate::http::{Advance, Expected, KnownHead, Reader, Response, Wanted, render};
use crate::instances::Instances;
use crate::metrics::{Record, Sample};
use crate::plugins::LoadedPlugins;
use crate::schedule::Slice;

/// A shard's and a virtual user's memory, for the first request of a plan without plugins.
pub struct Trial {
    program: Arc<Program>,
    plugins: LoadedPlugins,
    tools: Tools,
    record: Record,
    vars: RefCell<Vars>,
    instances: RefCell<Instances>,
    reader: Reader,
    known_head: KnownHead,
    out: (Vec<u8>, Vec<u8>),
}

impl Trial {
    /// `None` when the program's plugins cannot be loaded.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Option<Self> {
        let sources = crate::PluginSources {
            store: None,
            cache: loadr_plugin_host::Cache::none(),
        };
        let plugins = LoadedPlugins::load(&program, &sources).ok()?;
        let shared = Arc::new(Shared::new(&program, None));
        let feed = Rc::new(Feed::new(
            Arc::clone(&program),
            shared,
            (Slice::of(None), 1),
            1,
        ));
        Some(Self {
            tools: Tools::new(&program, Box::new([]), 1),
            record: Record::new(&program),
            vars: RefCell::new(Vars::of(&feed, 1)),
            instances: RefCell::default(),
            reader: Reader::default(),
            known_head: KnownHead::default(),
            out: Default::default(),
            plugins,
            program,
        })
    }

    /// Judges a whole response with this body; whether nothing failed.
    pub fn judge(&mut self, body: &[u8]) -> bool {
        let response = Response {
            status: 200,
            notes: 0,
            headers: &[],
            body,
            body_len: body.len() as u64,
        };
        let mut judge = Judge {
            program: &self.program,
            plugins: &self.plugins,
            tools: &mut self.tools,
            record: &mut self.record,
            vars: &self.vars,
            instances: &self.instances,
        };
        let verdict = judge.judge(&self.program.requests[0], &response, 1_000_000);
        verdict.failed.is_none()
    }

    /// Reads a response that comes in one piece; whether it is whole then.
    pub fn parse(&mut self, response: &[u8]) -> bool {
        self.read(response, None)
    }

    /// The same, where the last one may have had the same head.
    pub fn parse_again(&mut self, response: &[u8]) -> bool {
        let known = std::mem::take(&mut self.known_head);
        let is_whole = self.read(response, Some(&known));
        self.known_head = known;
        is_whole
    }

    fn read(&mut self, response: &[u8], known: Option<&KnownHead>) -> bool {
        let wanted = Wanted {
            expected: Expected {
                to_head_request: false,
                headers_max: self.program.limits.headers_max,
            },
            headers: false,
            notes: 0,
            body: false,
            coded_body: false,
            body_bytes_max: self.program.limits.body_bytes_max,
        };
        self.reader.reset();
        let advanced = self.reader.advance(response, &wanted, known, |r| r.status);
        matches!(advanced, Ok((Advance::Done { .. }, Some(200))))
    }

    /// Counts a request that took so long.
    pub fn record(&mut self, waiting_ns: u64) {
        let sample = Sample {
            status: 200,
            was_sent: true,
            sending: 5_000,
            waiting: waiting_ns,
            sent_bytes: 60,
            received_bytes: 100,
            ..Sample::default()
        };
        self.record.request(RequestId(0), &sample);
    }

    /// Wakes a task so often as the driver does, and has it run each time. Makes an executor for it; `None` when that
    /// cannot be had.
    #[must_use]
    pub fn wake_and_poll(times: u64) -> Option<u64> {
        let executor = glommio::LocalExecutorBuilder::default().make().ok()?;
        Some(executor.run(async {
            let tasks = Rc::new(RefCell::new(Tasks::with_room_for(1)));
            let task = tasks.borrow_mut().add();
            let seen = Rc::new(Cell::new(0));
            let user = {
                let (tasks, seen) = (Rc::clone(&tasks), Rc::clone(&seen));
                glommio::spawn_local(async move {
                    while seen.get() < times {
                        let wanted = signal::RECEIVED;
                        poll_fn(|cx| tasks.borrow_mut().poll(task, wanted, cx)).await;
                        seen.set(seen.get() + 1);
                    }
                })
            };
            for _ in 0..times {
                tasks.borrow_mut().signal(task, signal::RECEIVED);
                glommio::executor().yield_now().await;
            }
            user.await;
            seen.get()
        }))
    }

    /// Renders the request; how many bytes it has, or 0 when it cannot be rendered.
    pub fn render(&mut self) -> usize {
        let request = &self.program.requests[0];
        let (head, body) = &mut self.out;
        head.clear();
        body.clear();
        let content = request.body.as_ref();
        let rendered = content
            .map_or(Ok(()), |content| {
                render(content, &*self.vars.borrow(), 0, body)
            })
            .and_then(|()| render(&request.head, &*self.vars.borrow(), body.len(), head));
        rendered.map_or(0, |()| head.len() + body.len())
    }
}
