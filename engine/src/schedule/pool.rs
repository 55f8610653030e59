//! The virtual users of an open model: who is free for the iteration that is due.

/// Who runs an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A user that was idle.
    Idle(u32),
    /// A user that must be made first.
    New(u32),
    /// Nobody: all are busy and no more are allowed.
    Nobody,
}

/// Users by number, from 0; those that are idle wait here.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    idle: Vec<u32>,
    made: u32,
    most: u32,
}

impl Pool {
    /// None is made yet; there will never be more than `most`.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            // Nothing is allocated while it runs.
            idle: Vec::with_capacity(most as usize),
            made: 0,
            most,
        }
    }

    /// One more user, if it is allowed; it is not idle yet.
    pub(crate) fn make(&mut self) -> Option<u32> {
        let user = self.made;
        (user < self.most).then(|| {
            self.made += 1;
            user
        })
    }

    /// Who runs the iteration that is due: whoever became idle last, because its connection and memory are warmest.
    pub(crate) fn take(&mut self) -> Seat {
        match self.idle.pop() {
            Some(user) => Seat::Idle(user),
            None => self.make().map_or(Seat::Nobody, Seat::New),
        }
    }

    /// The user has nothing to do.
    pub(crate) fn rest(&mut self, user: u32) {
        debug_assert!(!self.idle.contains(&user), "{user} rests twice");
        self.idle.push(user);
    }

    /// Users of lower number than `part` are not called any more: they iterate on their own.
    pub(crate) fn lose_below(&mut self, part: u32) {
        self.idle.retain(|user| *user >= part);
    }

    /// Users that run an iteration.
    #[cfg(test)]
    pub(super) fn busy(&self) -> u32 {
        self.made - self.idle.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_idle_first_then_grows_and_then_has_nobody() {
        let mut pool = Pool::new(3);
        let first = pool.make().expect("one is allowed");
        pool.rest(first);
        assert_eq!(pool.busy(), 0);
        assert_eq!(pool.take(), Seat::Idle(0));
        assert_eq!((pool.take(), pool.take()), (Seat::New(1), Seat::New(2)));
        assert_eq!((pool.take(), pool.busy()), (Seat::Nobody, 3));
        pool.rest(2);
        pool.rest(0);
        assert_eq!(pool.take(), Seat::Idle(0));
        assert_eq!((pool.busy(), pool.make()), (2, None));
    }

    #[test]
    fn without_any_user_allowed_there_is_nobody() {
        assert_eq!(Pool::new(0).take(), Seat::Nobody);
    }
}
