//! Whether anything has changed since, and which of the clients in memory may have.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::ids::ClientId;

/// How often the clients of a stripe have changed.
pub(super) type Generation = u64;

/// Counts the changes of clients, in stripes by client id.
///
/// What was loaded is good exactly as long as its stripe's count is what it was when the load *began*:
/// so a change that overtakes a load is never missed, wherever the load is on its way, and the changes of
/// other clients disturb only one load in a thousand.
pub(super) struct Generations {
    stripes: Vec<AtomicU64>,
    all: AtomicU64,
}

// === impl Generations ===

impl Generations {
    const STRIPES: usize = 1_024;

    pub(super) fn new() -> Self {
        let stripes = (0..Self::STRIPES).map(|_| AtomicU64::new(0)).collect();
        Self { stripes, all: AtomicU64::new(0) }
    }

    fn stripe(&self, client_id: &ClientId) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        // The remainder is below the number of stripes, so it fits and is in range.
        &self.stripes[usize::try_from(hasher.finish() % Self::STRIPES as u64).unwrap_or(0)]
    }

    pub(super) fn of(&self, client_id: &ClientId) -> Generation {
        self.stripe(client_id).load(Ordering::Acquire)
    }

    pub(super) fn advance(&self, client_id: &ClientId) {
        self.stripe(client_id).fetch_add(1, Ordering::AcqRel);
    }

    /// How often changes of any sort were applied.
    pub(super) fn applied(&self) -> u64 {
        self.all.load(Ordering::Acquire)
    }

    /// Counts changes of any sort, all of which can be seen by now.
    pub(super) fn note_applied(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn advance_all(&self) {
        for stripe in &self.stripes {
            stripe.fetch_add(1, Ordering::AcqRel);
        }
    }
}
