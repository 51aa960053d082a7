//! What each of many sources may still fail, in bounded memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::super::clock::Ambient;
use crate::domain::allowance::Allowance;
use crate::domain::time::Timestamp;

/// How many sources are remembered (about 40 bytes each). A source that is new beyond that may fail as it likes:
/// refusing it would let whoever fills this memory lock everybody else out. What costs much has a bound of its own.
const SOURCES: usize = 100_000;

/// How often what has recovered is looked for while the memory is full.
const SWEEP: Duration = Duration::from_secs(1);

/// One allowance for each source.
pub(super) struct Budget {
    limiter: RateLimiter<Look, Sources, Elapsed, NoOpMiddleware<Nanos>>,
    elapsed: Elapsed,
    swept: AtomicU64,
}

/// A question about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Look {
    source: u64,
    /// Whether it counts as a failure, or only asks.
    counts: bool,
}

/// When each source will have recovered.
#[derive(Default)]
struct Sources(Mutex<HashMap<u64, Nanos>>);

/// The time that has passed by the clock. It may be set back, which must lock nobody out: then it stands still for
/// a moment and goes on from there.
#[derive(Clone)]
struct Elapsed(Arc<Running>);

struct Running {
    ambient: Ambient,
    last: Mutex<(Timestamp, u64)>,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(allowance: Allowance, ambient: &Ambient) -> Self {
        let last = Mutex::new((ambient.now(), 0));
        let elapsed = Elapsed(Arc::new(Running { ambient: ambient.clone(), last }));
        let failures = allowance.failures();
        // Never zero: an allowance is over a second at least, of a million failures at most.
        let each = (allowance.within() / failures.get()).max(Duration::from_micros(1));
        let quota = Quota::with_period(each).unwrap_or(Quota::per_second(failures)).allow_burst(failures);
        let limiter = RateLimiter::new(quota, Sources::default(), elapsed.clone());
        Self { limiter, elapsed, swept: AtomicU64::new(0) }
    }

    /// How long until there is room for another failure; `None` when there is.
    pub(super) fn wait(&self, source: u64) -> Option<Duration> {
        self.ask(Look { source, counts: false })
    }

    /// Counts a failure. How long until there is room for it, if there is none.
    pub(super) fn count(&self, source: u64) -> Option<Duration> {
        if self.limiter.len() >= SOURCES {
            self.sweep();
        }
        self.ask(Look { source, counts: true })
    }

    fn ask(&self, look: Look) -> Option<Duration> {
        self.limiter.check_key(&look).err().map(|until| until.wait_time_from(self.elapsed.now()))
    }

    fn sweep(&self) {
        let now = self.elapsed.now().as_u64();
        let swept = self.swept.load(Ordering::Relaxed);
        let due = swept == 0 || now.saturating_sub(swept) >= Nanos::from(SWEEP).as_u64();
        // Zero means never, so the first nanosecond counts as the second.
        if due && self.swept.compare_exchange(swept, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.limiter.retain_recent();
        }
    }
}

// === impl Sources ===

impl Sources {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Nanos>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Sources {
    type Key = Look;

    fn measure_and_replace<T, F, E>(&self, look: &Look, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut sources = self.lock();
        let before = sources.get(&look.source).copied();
        let (answer, after) = decide(before)?;
        if look.counts && (before.is_some() || sources.len() < SOURCES) {
            sources.insert(look.source, after);
        }
        Ok(answer)
    }
}

impl ShrinkableKeyedStateStore<Look> for Sources {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, recovered| *recovered >= drop_below);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

// === impl Elapsed ===

impl Clock for Elapsed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let now = self.0.ambient.now();
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.as_micros().saturating_sub(last.0.as_micros())).unwrap_or(0);
        *last = (now, last.1.saturating_add(passed.saturating_mul(1_000)));
        Nanos::from(last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::{ManualClock, SystemEntropy};

    #[test]
    fn the_memory_is_bounded_and_whoever_does_not_fit_is_not_refused() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_334_400)));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let budget = Budget::new("1 in 10s".parse().unwrap(), &ambient);
        let most = SOURCES as u64;
        for source in 0..most + 1_000 {
            assert_eq!(budget.count(source), None);
        }
        assert_eq!(budget.limiter.len(), SOURCES);
        assert_eq!(budget.wait(0), Some(Duration::from_secs(10)), "those that are remembered stay");
        assert_eq!((budget.count(most), budget.count(most)), (None, None), "those that are not may fail");
        // Whoever has recovered makes room.
        clock.advance(Duration::from_secs(21));
        assert_eq!((budget.count(most), budget.count(most)), (None, Some(Duration::from_secs(10))));
        assert!(budget.limiter.len() < 10, "{}", budget.limiter.len());
    }
}
