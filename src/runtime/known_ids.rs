//! Which client ids there may be, so that made-up ones cost no query.
//!
//! A Bloom filter: at least ten bits for each client, and at most one made-up id in a hundred that looks like a
//! known one. It is filled in the background; until then, every id may be one.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::domain::ids::ClientId;

const BITS_EACH: usize = 10;

/// How many bits stand for an id: the best number for ten bits each.
const PROBES: u64 = 7;

/// For how many ids there is room at least.
const LEAST: usize = 10_000;

/// A set that may say "yes" wrongly, but never "no".
pub(super) struct KnownIds {
    /// Keyed by the process, so that nobody can make up ids that look known.
    hasher: RandomState,
    bits: Vec<AtomicU64>,
    room: usize,
    ids: AtomicUsize,
    whole: AtomicBool,
}

// === impl KnownIds ===

impl KnownIds {
    /// An empty one with room for twice as many ids. It says "yes" to everything until it is whole.
    pub(super) fn with_room(ids: usize) -> Self {
        let room = ids.saturating_mul(2).max(LEAST);
        let words = (room * BITS_EACH).div_ceil(64);
        Self {
            hasher: RandomState::new(),
            bits: (0..words).map(|_| AtomicU64::new(0)).collect(),
            room,
            ids: AtomicUsize::new(0),
            whole: AtomicBool::new(false),
        }
    }

    pub(super) fn insert(&self, id: &ClientId) {
        let new = |(word, bit): (usize, u64)| self.bits[word].fetch_or(bit, Ordering::Relaxed) & bit == 0;
        // All of them, not only as many as tell that it is new.
        if self.places(id).filter(|place| new(*place)).count() > 0 {
            self.ids.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From now on it may say "no".
    pub(super) fn is_whole(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Whether it says "yes" to everything, or too often, because more ids came in than it was made for.
    pub(super) fn wants_filling(&self) -> bool {
        !self.whole.load(Ordering::Acquire) || self.ids.load(Ordering::Relaxed) > self.room
    }

    pub(super) fn may_have(&self, id: &ClientId) -> bool {
        !self.whole.load(Ordering::Acquire)
            || self.places(id).all(|(word, bit)| self.bits[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Two halves of one hash make all the places (Kirsch and Mitzenmacher, 2006).
    fn places(&self, id: &ClientId) -> impl Iterator<Item = (usize, u64)> {
        let hash = self.hasher.hash_one(id);
        let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        let bits = self.bits.len() as u64 * 64;
        (0..PROBES).map(move |probe| {
            let place = start.wrapping_add(probe.wrapping_mul(step)) % bits;
            (usize::try_from(place / 64).unwrap_or(0), 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str, n: usize) -> ClientId {
        ClientId::new(format!("{text}{n}")).unwrap()
    }

    #[test]
    fn what_is_in_it_is_never_denied_and_what_is_not_nearly_always() {
        let known = KnownIds::with_room(20_000);
        assert!(known.may_have(&id("anything", 0)), "nothing is denied before it is whole");
        (0..20_000).for_each(|n| known.insert(&id("c", n)));
        known.is_whole();
        assert!((0..20_000).all(|n| known.may_have(&id("c", n))));
        let wrong = (0..20_000).filter(|n| known.may_have(&id("x", *n))).count();
        assert!(wrong < 200, "{wrong} of 20000 made-up ids look known");
    }

    #[test]
    fn it_notices_that_it_is_too_small() {
        let known = KnownIds::with_room(0);
        assert!(known.wants_filling());
        known.is_whole();
        assert!(!known.wants_filling());
        // A few look like others, so it takes a few more than it has room for.
        (0..10_500).for_each(|n| known.insert(&id("c", n)));
        assert!(known.wants_filling());
    }
}
