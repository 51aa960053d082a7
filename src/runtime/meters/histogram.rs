//! Values counted by how large they are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Up to how many microseconds a bucket of durations goes. Half a millisecond is what a token costs at best on a
/// laptop; after ten seconds nobody waits any more. Between them no two are further apart than 2.5 times, which is how
/// far a quantile may be off.
const MICROSECONDS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Up to how many entries a bucket of batches goes; a batch has 1,024 at most.
const ENTRIES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Counts values into buckets.
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The largest value of a bucket, and how many values are in it that are in none before.
    pub buckets: Vec<(u64, u64)>,
    /// How many values are in none of them.
    pub beyond: u64,
    /// All values together.
    pub sum: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Of durations, in microseconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(MICROSECONDS)
    }

    /// Of how many entries there are in something.
    #[must_use]
    pub fn of_entries() -> Self {
        Self::new(ENTRIES)
    }

    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn took(&self, duration: Duration) {
        self.count(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a value.
    pub fn count(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What it has counted. Whoever counts meanwhile may be in it, or not.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution {
            buckets: self.bounds.iter().copied().zip(counts.iter().copied()).collect(),
            beyond: counts.last().copied().unwrap_or(0),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

// === impl Distribution ===

impl Distribution {
    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.beyond
    }

    /// Both together; they are of the same sort.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        Self { beyond: self.beyond + other.beyond, sum: self.sum + other.sum, buckets: self.buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::of_entries();
        for value in [0, 1, 2, 3, 4, 1_024, 1_025, 9_999] {
            histogram.count(value);
        }
        let read = histogram.read();
        assert_eq!(read.buckets[..3], [(1, 2), (2, 1), (4, 2)]);
        assert_eq!((read.buckets.last(), read.beyond), (Some(&(1_024, 1)), 2));
        assert_eq!((read.count(), read.sum), (8, 12_058));
    }

    #[test]
    fn two_of_a_sort_add_up() {
        let (one, other) = (Histogram::of_durations(), Histogram::of_durations());
        one.took(Duration::from_micros(400));
        other.took(Duration::from_micros(500));
        other.took(Duration::from_mins(1));
        let both = one.read().and(&other.read());
        assert_eq!((both.buckets[0], both.beyond, both.count()), ((500, 2), 1, 3));
        assert_eq!(both.sum, 60_000_900);
    }
}
