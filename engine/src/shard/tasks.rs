//! The shard's tasks as the driver sees them: what each waits for, its signals, its timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::{Context, Poll, Waker};

/// Indexes the shard's tasks: one for each virtual user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(pub(crate) u32);

/// What a task can be told, as bits.
pub(crate) mod signal {
    /// Bytes came.
    pub(crate) const RECEIVED: u8 = 1;
    /// The connection is made.
    pub(crate) const CONNECTED: u8 = 2;
    /// The peer closed, or the connection failed.
    pub(crate) const ENDED: u8 = 4;
    /// A sleep is over, or the driver has called a user that rests.
    pub(crate) const SLEPT: u8 = 8;
    /// The request's time is up. Stays until the deadline is cleared: whoever sees it beside something better may
    /// leave it to the next wait.
    pub(crate) const TIMEOUT: u8 = 16;
    /// The scenario is cancelled. Stays.
    pub(crate) const CANCEL: u8 = 32;
    /// A long send went out.
    pub(crate) const DRAINED: u8 = 64;
}

const NEVER: u64 = u64::MAX;

const _: () = assert!(size_of::<Entry>() == 64);

/// A line of the cache each: with thousands of users it is one that is not there.
#[repr(align(64))]
struct Entry {
    waker: Option<Waker>,
    signals: u8,
    /// When the request's time is up, and for when the heap holds an entry for it. The deadline moves with every
    /// request; the entry stays and is looked at again when it comes up, so that a request costs no heap operation.
    deadline_ns: u64,
    deadline_entry_ns: u64,
    /// The request's own, while that of its connection is in its place.
    whole_ns: u64,
    wake_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Deadline,
    Sleep,
}

/// All tasks of a shard.
pub(crate) struct Tasks {
    entries: Vec<Entry>,
    heap: BinaryHeap<Reverse<(u64, u32, Timer)>>,
}

impl Tasks {
    /// For about so many: memory that grows would leave its smaller pieces behind.
    pub(crate) fn with_room_for(tasks: usize) -> Self {
        Self {
            entries: Vec::with_capacity(tasks),
            heap: BinaryHeap::with_capacity(2 * tasks),
        }
    }

    pub(crate) fn add(&mut self) -> TaskId {
        self.entries.push(Entry {
            waker: None,
            signals: 0,
            deadline_ns: NEVER,
            deadline_entry_ns: NEVER,
            whole_ns: NEVER,
            wake_ns: NEVER,
        });
        TaskId(self.entries.len() as u32 - 1)
    }

    #[inline]
    pub(crate) fn signal(&mut self, task: TaskId, bits: u8) {
        let entry = &mut self.entries[task.0 as usize];
        entry.signals |= bits;
        if let Some(waker) = &entry.waker {
            waker.wake_by_ref();
        }
    }

    /// Forgets that something was told, though it stays.
    pub(crate) fn clear(&mut self, task: TaskId, bits: u8) {
        self.entries[task.0 as usize].signals &= !bits;
    }

    /// Forgets what was told of an earlier connection.
    pub(crate) fn forget_connection(&mut self, task: TaskId) {
        use signal::{CONNECTED, DRAINED, ENDED, RECEIVED};
        self.entries[task.0 as usize].signals &= !(RECEIVED | CONNECTED | ENDED | DRAINED);
    }

    /// Ready with the signals of `mask` that are set; they are cleared, but for those that stay.
    #[inline]
    pub(crate) fn poll(&mut self, task: TaskId, mask: u8, cx: &Context<'_>) -> Poll<u8> {
        let entry = &mut self.entries[task.0 as usize];
        let got = entry.signals & mask;
        if got != 0 {
            entry.signals &= !got | signal::CANCEL | signal::TIMEOUT;
            return Poll::Ready(got);
        }
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// `TIMEOUT` is signalled at `at_ns`, unless [`Tasks::clear_deadline`] is called before.
    #[inline]
    pub(crate) fn set_deadline(&mut self, task: TaskId, at_ns: u64) {
        let entry = &mut self.entries[task.0 as usize];
        entry.deadline_ns = at_ns;
        if at_ns < entry.deadline_entry_ns {
            entry.deadline_entry_ns = at_ns;
            self.heap.push(Reverse((at_ns, task.0, Timer::Deadline)));
        }
    }

    /// `TIMEOUT` is signalled at `at_ns` if that is before the deadline, until [`Tasks::unlimit`].
    pub(crate) fn limit(&mut self, task: TaskId, at_ns: u64) {
        let entry = &mut self.entries[task.0 as usize];
        if at_ns < entry.deadline_ns {
            entry.whole_ns = entry.deadline_ns;
            self.set_deadline(task, at_ns);
        } else {
            entry.whole_ns = NEVER;
        }
    }

    /// The deadline is again what it was before [`Tasks::limit`].
    pub(crate) fn unlimit(&mut self, task: TaskId) {
        let entry = &mut self.entries[task.0 as usize];
        let whole_ns = std::mem::replace(&mut entry.whole_ns, NEVER);
        if whole_ns != NEVER {
            entry.signals &= !signal::TIMEOUT;
            self.set_deadline(task, whole_ns);
        }
    }

    /// Whether the request's time is up, though nobody may have been told.
    pub(crate) fn is_past_deadline(&self, task: TaskId, now_ns: u64) -> bool {
        let entry = &self.entries[task.0 as usize];
        entry.deadline_ns < now_ns || entry.signals & signal::TIMEOUT != 0
    }

    #[inline]
    pub(crate) fn clear_deadline(&mut self, task: TaskId) {
        let entry = &mut self.entries[task.0 as usize];
        entry.deadline_ns = NEVER;
        entry.signals &= !signal::TIMEOUT;
    }

    /// `SLEPT` is signalled at `at_ns`; with `u64::MAX`, when the driver says so.
    pub(crate) fn set_sleep(&mut self, task: TaskId, at_ns: u64) {
        let entry = &mut self.entries[task.0 as usize];
        entry.wake_ns = at_ns;
        entry.signals &= !signal::SLEPT;
        if at_ns != NEVER {
            self.heap.push(Reverse((at_ns, task.0, Timer::Sleep)));
        }
    }

    /// The sleep is over, whatever the time: its timer signals nothing any more.
    pub(crate) fn clear_sleep(&mut self, task: TaskId) {
        let entry = &mut self.entries[task.0 as usize];
        entry.wake_ns = NEVER;
        entry.signals &= !signal::SLEPT;
    }

    /// When the next timer comes up.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.heap.peek().map_or(NEVER, |Reverse((at, ..))| *at)
    }

    /// Signals every timer that is due at `now_ns`; `on_late` gets the lateness of each sleep.
    pub(crate) fn fire(&mut self, now_ns: u64, mut on_late: impl FnMut(u64)) {
        while let Some(&Reverse((at_ns, task, timer))) = self.heap.peek() {
            if at_ns > now_ns {
                return;
            }
            self.heap.pop();
            let entry = &mut self.entries[task as usize];
            match timer {
                Timer::Deadline if at_ns == entry.deadline_entry_ns => {
                    entry.deadline_entry_ns = NEVER;
                    if entry.deadline_ns <= now_ns {
                        entry.deadline_ns = NEVER;
                        self.signal(TaskId(task), signal::TIMEOUT);
                    } else if entry.deadline_ns != NEVER {
                        let deadline_ns = entry.deadline_ns;
                        self.set_deadline(TaskId(task), deadline_ns);
                    }
                }
                Timer::Sleep if at_ns == entry.wake_ns => {
                    entry.wake_ns = NEVER;
                    on_late(now_ns - at_ns);
                    self.signal(TaskId(task), signal::SLEPT);
                }
                // Overtaken by an earlier one.
                Timer::Deadline | Timer::Sleep => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(tasks: &mut Tasks, task: TaskId) -> u8 {
        match tasks.poll(task, 0xff, &Context::from_waker(Waker::noop())) {
            Poll::Ready(bits) => bits,
            Poll::Pending => 0,
        }
    }

    #[test]
    fn a_deadline_that_moves_on_costs_one_entry_and_fires_at_its_last_time() {
        let mut tasks = Tasks::with_room_for(1);
        let task = tasks.add();
        for now in 0..1000 {
            tasks.set_deadline(task, now + 30);
            tasks.fire(now, |_| ());
            assert_eq!(take(&mut tasks, task), 0);
            assert_eq!(tasks.heap.len(), 1);
        }
        tasks.fire(1028, |_| ());
        assert_eq!(take(&mut tasks, task), 0);
        tasks.fire(1029, |_| ());
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
        // It holds for every further wait of the request, and for none of the next.
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
        tasks.clear_deadline(task);
        tasks.set_deadline(task, 5000);
        assert_eq!(take(&mut tasks, task), 0);
    }

    #[test]
    fn an_earlier_deadline_fires_first_and_a_cleared_one_never() {
        let mut tasks = Tasks::with_room_for(1);
        let task = tasks.add();
        tasks.set_deadline(task, 100);
        tasks.set_deadline(task, 50);
        tasks.fire(50, |_| ());
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
        tasks.clear_deadline(task);
        tasks.set_deadline(task, 80);
        tasks.clear_deadline(task);
        tasks.fire(1000, |_| ());
        assert_eq!(take(&mut tasks, task), 0);
        assert_eq!(tasks.next_ns(), NEVER);
    }

    #[test]
    fn a_limit_holds_until_it_is_lifted_and_leaves_the_deadline() {
        let mut tasks = Tasks::with_room_for(1);
        let task = tasks.add();
        tasks.set_deadline(task, 100);
        tasks.limit(task, 20);
        tasks.fire(20, |_| ());
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
        tasks.clear_deadline(task);

        tasks.set_deadline(task, 200);
        tasks.limit(task, 120);
        tasks.unlimit(task);
        tasks.fire(199, |_| ());
        assert_eq!(take(&mut tasks, task), 0);
        tasks.fire(200, |_| ());
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
        tasks.clear_deadline(task);

        // One past the deadline limits nothing.
        tasks.set_deadline(task, 300);
        tasks.limit(task, 400);
        tasks.unlimit(task);
        tasks.fire(300, |_| ());
        assert_eq!(take(&mut tasks, task), signal::TIMEOUT);
    }

    #[test]
    fn a_sleep_tells_how_late_it_ended() {
        let mut tasks = Tasks::with_room_for(1);
        let task = tasks.add();
        tasks.set_sleep(task, 10);
        let mut late = Vec::new();
        tasks.fire(9, |ns| late.push(ns));
        tasks.fire(14, |ns| late.push(ns));
        assert_eq!((take(&mut tasks, task), late), (signal::SLEPT, vec![4]));
    }

    #[test]
    fn a_cancel_stays() {
        let mut tasks = Tasks::with_room_for(1);
        let task = tasks.add();
        tasks.signal(task, signal::CANCEL | signal::RECEIVED);
        assert_eq!(take(&mut tasks, task), signal::CANCEL | signal::RECEIVED);
        tasks.forget_connection(task);
        assert_eq!(take(&mut tasks, task), signal::CANCEL);
    }
}
