//! What the ledger's task tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::meters::Histogram;

/// Counts batches.
pub struct Meter {
    /// How long they took to write, those that failed among them.
    pub durations: Histogram,
    /// How many entries they had.
    pub entries: Histogram,
    failed: AtomicU64,
    /// When the ledger was started, from which on time is counted here.
    zero: Instant,
    /// When the oldest entry was taken that is not done with, in microseconds; 0 if there is none.
    taken: AtomicU64,
}

// === impl Meter ===

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            durations: Histogram::of_durations(),
            entries: Histogram::of_entries(),
            failed: AtomicU64::new(0),
            zero: Instant::now(),
            taken: AtomicU64::new(0),
        }
    }

    /// A batch with so many entries is about to be written. Answers when.
    pub(super) fn begin(&self, entries: usize) -> Instant {
        let now = Instant::now();
        self.take(now, entries);
        now
    }

    fn take(&self, now: Instant, entries: usize) {
        if entries > 0 && self.taken.load(Ordering::Relaxed) == 0 {
            self.taken.store(self.micros(now).max(1), Ordering::Relaxed);
        }
    }

    /// It was tried. `left` is how many entries must be tried again.
    pub(super) fn tried(&self, begun: Instant, entries: usize, written: bool) {
        self.durations.took(begun.elapsed());
        self.entries.count(entries as u64);
        self.failed.fetch_add(u64::from(!written), Ordering::Relaxed);
    }

    /// So many entries have to be tried again.
    pub(super) fn left(&self, entries: usize) {
        if entries == 0 {
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    /// How many batches could not be written.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long the oldest entry has been on its way to the database; nothing, if none is.
    #[must_use]
    pub fn oldest(&self) -> Duration {
        self.oldest_at(Instant::now())
    }

    fn oldest_at(&self, now: Instant) -> Duration {
        match self.taken.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            taken => Duration::from_micros(self.micros(now).saturating_sub(taken)),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.zero).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_ages_until_it_is_done_with() {
        let meter = Meter::new();
        let second = |number| meter.zero + Duration::from_secs(number);
        assert_eq!(meter.oldest_at(second(9)), Duration::ZERO);
        meter.take(second(1), 3);
        meter.tried(second(1), 3, false);
        meter.left(1);
        meter.take(second(3), 2);
        assert_eq!(
            meter.oldest_at(second(4)),
            Duration::from_secs(3),
            "it is still the one of the batch before"
        );
        meter.tried(second(3), 2, true);
        meter.left(0);
        assert_eq!((meter.oldest_at(second(9)), meter.failed()), (Duration::ZERO, 1));
        assert_eq!((meter.entries.read().sum, meter.durations.read().count()), (5, 2));
    }
}
