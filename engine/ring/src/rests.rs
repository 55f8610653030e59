//! Bytes that full socket buffers left over, in flight. Each has a place, and the number of the place is part of its
//! operation's name: two that are in flight never have the same one.

use crate::socket::Slot;

/// No rest is in flight.
pub(crate) const NO_REST: u32 = u32::MAX;

/// What is left of one send.
pub(crate) struct Rest {
    pub(crate) slot: Slot,
    pub(crate) generation: u8,
    pub(crate) bytes: Box<[u8]>,
}

/// Those of a ring. None is freed before it is taken.
#[derive(Default)]
pub(crate) struct Rests {
    places: Vec<Option<Rest>>,
    free: Vec<u32>,
}

impl Rests {
    /// Keeps a rest; its place.
    pub(crate) fn put(&mut self, rest: Rest) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(rest);
            return place;
        }
        self.places.push(Some(rest));
        self.places.len() as u32 - 1
    }

    /// The rest in this place, which is free again.
    pub(crate) fn take(&mut self, place: u32) -> Option<Rest> {
        let rest = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(byte: u8) -> Rest {
        Rest {
            slot: Slot(0),
            generation: 0,
            bytes: Box::new([byte]),
        }
    }

    #[test]
    fn places_are_used_again_and_each_is_of_one_rest() {
        let mut rests = Rests::default();
        let (first, second) = (rests.put(rest(1)), rests.put(rest(2)));
        assert_ne!(first, second);
        for byte in 3..100 {
            assert!(rests.take(first).is_some());
            assert!(rests.take(first).is_none());
            assert_eq!(rests.put(rest(byte)), first);
        }
        assert_eq!(*rests.take(first).unwrap().bytes, [99]);
        assert_eq!(*rests.take(second).unwrap().bytes, [2]);
        assert!(rests.take(NO_REST).is_none());
        assert_eq!(rests.places.len(), 2);
    }
}
