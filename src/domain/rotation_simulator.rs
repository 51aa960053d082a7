//! Rotation with replicas, their clocks and their caches: whether any verifier refuses any token.

use super::tests::{apply, seconds};
use super::*;
use crate::domain::schedule::Timing;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;

/// The time before which nobody has fetched anything.
const BORN: Timestamp = Timestamp::from_seconds(1_000_000);

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// A replica reads the ring, plans with its own clock, commits `slow` percent of the time that writing may
    /// take later, and dies after so many actions.
    Tick {
        replica: usize,
        offset: i64,
        slow: i64,
        actions: usize,
    },
    Sign {
        replica: usize,
        offset: i64,
    },
    /// For so many seconds, everybody knows the newest ring and signs, with the slowest and the fastest clock.
    Busy(u64),
}

/// The store's past: when it changed, and the ring from then on.
struct History(Vec<(Timestamp, Vec<RingKey>)>);

impl History {
    fn at(&self, instant: Timestamp) -> &[RingKey] {
        self.0.iter().rev().find(|(when, _)| *when <= instant).map_or(&[], |(_, keys)| keys)
    }

    fn change(&mut self, now: Timestamp, action: &Action) {
        let mut keys = self.at(now).to_vec();
        apply(&mut keys, action);
        self.0.push((now, keys));
    }
}

fn off(now: Timestamp, percent: i64, tolerance: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + i64::try_from(tolerance.as_micros()).unwrap() * percent / 100)
}

/// Walks through the steps in true time. Answers which token which verifier would have refused.
fn walk(timing: Timing, staleness: Duration, schedule: Schedule, steps: &[Step]) -> Result<(), String> {
    let tolerance = timing.clock_tolerance;
    let mut history = History(vec![(BORN, Vec::new())]);
    history.change(BORN, &plan(BORN, &[], Need::Now, &schedule)[0]);
    // Later than anything that was cached before the first key.
    let mut now = BORN.plus(timing.verifier_cache + staleness + 4 * tolerance);
    let mut known = vec![(now, history.at(now).to_vec()); 3];
    let mut signed: Vec<(Timestamp, KeyId)> = Vec::new();
    for step in steps {
        match *step {
            Step::Wait(span) => now = now.plus(seconds(span)),
            Step::Tick { replica, offset, slow, actions } => {
                let seen = history.at(now).to_vec();
                known[replica] = (now, seen.clone());
                let planned = plan(off(now, offset, tolerance), &seen, Need::Now, &schedule);
                now = off(now, slow, schedule.write());
                for action in planned.iter().take(actions) {
                    history.change(now, action);
                }
            }
            Step::Sign { replica, offset } => {
                let (heard, keys) = &known[replica];
                if now <= heard.plus(staleness)
                    && let Some(active) = active_index(keys, off(now, offset, tolerance))
                {
                    signed.push((now, keys[active].kid.clone()));
                }
            }
            Step::Busy(span) => {
                for _ in 0..span {
                    now = now.plus(seconds(1));
                    for offset in [-100, 100] {
                        let keys = history.at(now);
                        if let Some(active) = active_index(keys, off(now, offset, tolerance)) {
                            signed.push((now, keys[active].kid.clone()));
                        }
                    }
                }
            }
        }
    }
    signed.dedup();
    for (issued, kid) in &signed {
        check(timing, staleness, &history, *issued, kid)?;
    }
    Ok(())
}

/// One token, with every key set that a verifier may have while it lives.
fn check(
    timing: Timing,
    staleness: Duration,
    history: &History,
    issued: Timestamp,
    kid: &KeyId,
) -> Result<(), String> {
    let end = issued.plus(timing.longest_token + timing.verifier_leeway);
    for used in [issued, end] {
        for fetched in [used.minus(timing.verifier_cache), used] {
            for told in [fetched.minus(staleness), fetched] {
                for offset in [-100, 100] {
                    let now = off(fetched, offset, timing.clock_tolerance);
                    let keys = history.at(told);
                    let published = keys.iter().any(|key| key.kid == *kid && key.is_alive(now));
                    if told > BORN && !published {
                        return Err(format!(
                            "the token of {issued} by {kid} is refused at {used}, with a set of {fetched} from what \
                             was known at {told}: {keys:?}"
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

prop_compose! {
    /// A timing at the very edge of what is allowed, or within it.
    fn timings()(
        cache in 0_u64..60, tolerance in 0_u64..10, leeway in 0_u64..20, token in 1_u64..60,
        more in 0_u64..30, every in 1_u64..400, exact in any::<bool>(),
    ) -> (Timing, Schedule) {
        let mut timing = Timing {
            every: seconds(every), lead: Duration::ZERO, verifier_cache: seconds(cache),
            clock_tolerance: seconds(tolerance), verifier_leeway: seconds(leeway), longest_token: seconds(token),
        };
        timing.lead = timing.least_lead() + if exact { Duration::ZERO } else { seconds(more) };
        if Schedule::new(timing).is_err() {
            // Too many keys at a time.
            timing.every = seconds(400);
        }
        (timing, Schedule::new(timing).unwrap())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            3 => (0_u64..40).prop_map(Step::Wait),
            1 => (200_u64..3_000).prop_map(Step::Wait),
            4 => (0_usize..3, -100_i64..=100, 0_i64..=100, 0_usize..5)
                .prop_map(|(replica, offset, slow, actions)| Step::Tick { replica, offset, slow, actions }),
            6 => (0_usize..3, -100_i64..=100).prop_map(|(replica, offset)| Step::Sign { replica, offset }),
        ],
        1..120,
    )
}

proptest! {
    #[test]
    fn no_verifier_ever_refuses((timing, schedule) in timings(), steps in steps()) {
        prop_assert_eq!(walk(timing, schedule.staleness(), schedule, &steps), Ok(()));
    }
}

/// A moment less, and somebody is refused: what [`Schedule::new`] asks for is needed.
#[test]
fn the_arithmetic_is_tight() {
    // Extremes on purpose: random clocks do not find the edge.
    let extreme = prop_oneof![
        2 => (0_u64..30).prop_map(Step::Wait),
        3 => (1_u64..60).prop_map(Step::Busy),
        3 => (0_usize..2, prop::sample::select(vec![-100_i64, 100]), prop::sample::select(vec![0_i64, 100]))
            .prop_map(|(replica, offset, slow)| Step::Tick { replica, offset, slow, actions: 4 }),
    ];
    let steps = prop::collection::vec(extreme, 1..12);
    let timing = Timing {
        every: seconds(50),
        lead: seconds(100),
        verifier_cache: seconds(20),
        clock_tolerance: seconds(5),
        verifier_leeway: seconds(5),
        longest_token: seconds(20),
    };
    let staleness = Schedule::new(timing).unwrap().staleness();
    let shorter_lead = Timing { lead: seconds(98), ..timing };
    let shorter_keep = Timing { longest_token: seconds(18), ..timing };
    for (spoiled, refused) in [(timing, false), (shorter_lead, true), (shorter_keep, true)] {
        let schedule = Schedule::new(spoiled).unwrap();
        let config =
            Config { cases: 3_000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let outcome = TestRunner::new(config)
            .run(&steps, |steps| walk(timing, staleness, schedule, &steps).map_err(TestCaseError::fail));
        assert_eq!(outcome.is_err(), refused, "{spoiled:?}");
    }
}
