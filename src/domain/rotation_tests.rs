use super::*;
use crate::domain::schedule::Timing;
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn key(generation: i64, activates: i64, leaves: Option<i64>) -> RingKey {
    RingKey {
        kid: KeyId::new(format!("key-{generation}")).unwrap(),
        generation,
        activates_at: at(activates),
        leaves_at: leaves.map(at),
        revoked_at: None,
        longest_token: Duration::ZERO,
    }
}

/// Every 1,000 s, published 100 s ahead, for tokens of 40 s.
fn timing() -> Timing {
    Timing {
        every: seconds(1_000),
        lead: seconds(100),
        verifier_cache: seconds(50),
        clock_tolerance: seconds(5),
        verifier_leeway: seconds(10),
        longest_token: seconds(40),
    }
}

fn schedule() -> Schedule {
    Schedule::new(timing()).unwrap()
}

/// What the store does with an action: the conditions are those of its statements.
pub(super) fn apply(keys: &mut Vec<RingKey>, action: &Action) {
    match action {
        Action::Create { generation, activates_at } => {
            if keys.iter().all(|key| key.generation != *generation) {
                let created = key(*generation, 0, None);
                keys.push(RingKey { activates_at: *activates_at, ..created });
            }
        }
        Action::Advance { kid, activates_at } => {
            let key = keys.iter_mut().find(|key| key.kid == *kid);
            if let Some(key) = key.filter(|key| key.activates_at > *activates_at) {
                key.activates_at = *activates_at;
            }
        }
        Action::End { kid, leaves_at } => {
            if let Some(key) = keys.iter_mut().find(|key| key.kid == *kid) {
                key.leaves_at = *leaves_at;
            }
        }
        Action::Remove { kid } => keys.retain(|key| key.kid != *kid),
    }
}

/// Does all there is to do.
fn settle(keys: &mut Vec<RingKey>, now: Timestamp, need: Need) {
    for _ in 0..200 {
        let actions = plan(now, keys, need, &schedule());
        if actions.is_empty() {
            return;
        }
        for action in &actions {
            apply(keys, action);
        }
    }
    panic!("there is always more to do: {keys:?}");
}

fn states(keys: &[RingKey], now: Timestamp) -> Vec<KeyState> {
    (0..keys.len()).map(|index| state(keys, index, now)).collect()
}

fn revoke(keys: &mut [RingKey], generation: i64, now: Timestamp) {
    keys.iter_mut().find(|key| key.generation == generation).unwrap().revoked_at = Some(now);
}

// === A life in order ===

#[test]
fn a_key_walks_through_its_states() {
    let keys = [key(1, 10, Some(30)), key(2, 20, None)];
    let at = |second| states(&keys, at(second));
    assert_eq!(at(5), [KeyState::Pending, KeyState::Pending]);
    assert_eq!(at(10), [KeyState::Active, KeyState::Pending]);
    assert_eq!(at(20), [KeyState::Retired, KeyState::Active]);
    assert_eq!(at(30), [KeyState::Gone, KeyState::Active]);
}

#[test]
fn the_first_key_signs_at_once_and_the_next_is_published_ahead() {
    let mut keys = Vec::new();
    settle(&mut keys, at(0), Need::Now);
    assert_eq!(keys, [key(1, 0, None)]);
    settle(&mut keys, at(899), Need::Now);
    assert_eq!(keys.len(), 1, "not before the lead");
    settle(&mut keys, at(900), Need::Now);
    // 40 s of a token, 10 s of leeway, twice 5 s of clocks.
    assert_eq!(keys, [key(1, 0, Some(1_060)), key(2, 1_000, None)]);
    settle(&mut keys, at(1_060), Need::Now);
    assert_eq!(keys, [key(2, 1_000, None)], "its time is over, and it is destroyed");
}

#[test]
fn days_without_anybody_are_made_up_for_without_a_gap() {
    let mut keys = vec![key(1, 0, None)];
    let told = next_activation(at(86_400), &keys, &schedule());
    settle(&mut keys, at(86_400), Need::Now);
    assert_eq!(keys, [key(1, 0, Some(86_560)), key(2, 86_500, None)]);
    assert_eq!(told, Some(at(86_500)), "also before the key is made");
}

#[test]
fn an_operator_need_not_wait() {
    let keys = [key(1, 0, None)];
    let action = plan_now(at(10), &keys, &schedule());
    assert_eq!(action, Some(Action::Create { generation: 2, activates_at: at(110) }));
    assert_eq!(plan_now(at(10), &[key(1, 0, None), key(2, 50, None)], &schedule()), None);
}

#[test]
fn a_longer_token_puts_the_end_off() {
    let mut keys = vec![key(1, 0, Some(1_020)), key(2, 1_000, None)];
    settle(&mut keys, at(1_010), Need::Now);
    assert_eq!(keys[0].leaves_at, Some(at(1_060)));
    let mut keys = vec![key(1, 0, Some(2_000)), key(2, 1_000, None)];
    settle(&mut keys, at(1_010), Need::Now);
    assert_eq!(keys[0].leaves_at, Some(at(2_000)), "never brought forward");
}

#[test]
fn a_key_stays_for_the_longest_token_it_may_have_signed_whatever_is_configured_now() {
    let signed = |longest_token| RingKey { longest_token, ..key(1, 0, None) };
    let mut keys = vec![signed(seconds(500)), key(2, 1_000, None)];
    settle(&mut keys, at(950), Need::Now);
    assert_eq!(
        keys[0].leaves_at,
        Some(at(1_520)),
        "500 s of an old token, 10 s of leeway, twice 5 s of clocks"
    );
    let mut keys = vec![signed(seconds(500))];
    revoke(&mut keys, 1, at(100));
    settle(&mut keys, at(619), Need::Now);
    assert_eq!(keys.len(), 2, "it is known as revoked while anything that it signed may live");
    settle(&mut keys, at(620), Need::Now);
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_key_that_a_wrong_clock_has_planned_comes_in_its_turn() {
    let mut keys = vec![key(1, 0, None), key(2, 900_000, None)];
    settle(&mut keys, at(10), Need::Now);
    assert_eq!(keys[1].activates_at, at(1_000));
    let mut keys = vec![key(1, 0, None), key(2, 900_000, None)];
    settle(&mut keys, at(990), Need::Now);
    assert_eq!(keys[1].activates_at, at(1_090), "with the whole lead from now");
}

// === Revoked ===

#[test]
fn a_fresh_key_signs_when_the_active_one_is_revoked() {
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, None)];
    revoke(&mut keys, 2, at(1_030));
    assert_eq!(active_index(&keys, at(1_030)), None, "what was there before may be known as well");
    settle(&mut keys, at(1_030), Need::Now);
    assert_eq!(states(&keys, at(1_030)), [KeyState::Retired, KeyState::Revoked, KeyState::Active]);
    assert_eq!(keys[2].activates_at, at(1_030));
}

#[test]
fn a_pending_key_is_fresh_enough() {
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, None)];
    revoke(&mut keys, 1, at(950));
    settle(&mut keys, at(950), Need::Now);
    assert_eq!(states(&keys, at(950)), [KeyState::Revoked, KeyState::Active]);
    assert_eq!(keys.len(), 2);
}

#[test]
fn revoking_a_pending_key_changes_nothing_for_the_active_one() {
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, None)];
    revoke(&mut keys, 2, at(950));
    settle(&mut keys, at(950), Need::Now);
    assert_eq!(states(&keys, at(950)), [KeyState::Active, KeyState::Revoked, KeyState::Pending]);
    assert_eq!(keys[2].activates_at, at(1_050));
    assert_eq!(keys[0].leaves_at, Some(at(1_110)), "it signs for longer, so it stays for longer");
}

#[test]
fn revoking_all_of_them_leaves_a_fresh_one() {
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, Some(2_060)), key(3, 2_000, None)];
    for generation in 1..=3 {
        revoke(&mut keys, generation, at(1_020));
        settle(&mut keys, at(1_020), Need::Now);
    }
    let states = states(&keys, at(1_020));
    assert_eq!(states.iter().filter(|state| **state == KeyState::Active).count(), 1, "{keys:?}");
    assert_eq!(states.iter().filter(|state| **state == KeyState::Revoked).count(), 3, "{keys:?}");
}

#[test]
fn a_revoked_key_is_forgotten_when_its_tokens_have_ended() {
    let mut keys = vec![key(1, 0, None)];
    revoke(&mut keys, 1, at(100));
    settle(&mut keys, at(159), Need::Now);
    assert_eq!(keys.len(), 2);
    settle(&mut keys, at(160), Need::Now);
    assert_eq!(keys.len(), 1);
}

// === Not wanted any more ===

#[test]
fn a_ring_that_nothing_uses_leaves_with_its_tokens() {
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, None)];
    settle(&mut keys, at(950), Need::None);
    assert_eq!(keys, [key(1, 0, Some(1_060))], "what never signed goes at once");
    settle(&mut keys, at(1_060), Need::None);
    assert_eq!(keys, []);
    // Whoever has heard of nothing for as long as is allowed may still sign with it: 100 - 50 - 5 - 10 s, by
    // clocks that differ by twice 5 s.
    let mut keys = vec![key(1, 0, Some(1_060)), key(2, 1_000, None)];
    settle(&mut keys, at(955), Need::None);
    assert_eq!(keys.len(), 2, "too near for all to hear of it");
    settle(&mut keys, at(1_000), Need::None);
    assert_eq!(keys[1].leaves_at, Some(at(1_060)), "it leaves like any other");
    let mut keys = vec![key(1, 0, None)];
    settle(&mut keys, at(500), Need::None);
    assert_eq!(keys, [key(1, 0, Some(560))]);
    settle(&mut keys, at(510), Need::None);
    assert_eq!(keys, [key(1, 0, Some(560))], "its end stands");
    settle(&mut keys, at(520), Need::Now);
    assert_eq!(keys, [key(1, 0, None)], "wanted again");
}

#[test]
fn what_is_needed_later_is_published_before_it_signs() {
    let mut keys = Vec::new();
    settle(&mut keys, at(0), Need::Later);
    assert_eq!(keys, [key(1, 100, None)], "a verifier that has the old set has its key before it signs");
    settle(&mut keys, at(50), Need::Later);
    assert_eq!(keys, [key(1, 100, None)]);
    settle(&mut keys, at(60), Need::Now);
    assert_eq!(keys, [key(1, 60, None)], "unless somebody has nothing else");
}

// === Whatever happens ===

fn needs() -> impl Strategy<Value = Need> {
    prop::sample::select(vec![Need::None, Need::Later, Need::Now])
}

proptest! {
    /// The pure part alone, under any clock at all: jumps forward and back, missed ticks, half-done work.
    #[test]
    fn one_key_signs_at_any_instant_under_any_clock(
        nows in prop::collection::vec((0_i64..100_000, 0_usize..4), 1..60),
        probe in 0_i64..200_000,
    ) {
        let mut keys = Vec::new();
        for (now, steps) in nows {
            for action in plan(at(now), &keys, Need::Now, &schedule()).iter().take(steps) {
                if let Action::Create { activates_at, .. } = action && !keys.is_empty() {
                    prop_assert!(*activates_at >= at(now).plus(schedule().lead()), "published for the lead");
                }
                apply(&mut keys, action);
            }
        }
        let Some(first) = keys.iter().map(|key| key.activates_at).min() else { return Ok(()) };
        let now = at(probe).max(first);
        let states = states(&keys, now);
        if keys.iter().any(|key| key.leaves_at.is_none_or(|end| end > now) && key.activates_at <= now) {
            prop_assert_eq!(states.iter().filter(|state| **state == KeyState::Active).count(), 1, "{:?}", keys);
        }
        let newest = keys.last().unwrap();
        prop_assert!(newest.leaves_at.is_none(), "somebody always signs: {:?}", keys);
    }

    /// Any number of revocations, at any time: one fresh key signs as soon as somebody has planned.
    #[test]
    fn somebody_signs_after_any_revocations(
        steps in prop::collection::vec((0_i64..3_000, prop::option::of(0_usize..6), needs()), 1..40),
    ) {
        let (mut keys, mut now) = (Vec::new(), at(0));
        for (wait, revoked, need) in steps {
            now = now.plus(Duration::from_secs(wait.unsigned_abs()));
            settle(&mut keys, now, need);
            if let Some(key) = revoked.and_then(|index| keys.get_mut(index)) {
                key.revoked_at = key.revoked_at.or(Some(now));
            }
            settle(&mut keys, now, Need::Now);
            let active = active_index(&keys, now).expect("one signs");
            prop_assert!(keys[active].revoked_at.is_none());
            let older_than_revoked = keys.iter().any(|key| {
                key.revoked_at.is_some_and(|revoked| revoked >= key.activates_at)
                    && key.generation > keys[active].generation
            });
            prop_assert!(!older_than_revoked);
        }
    }
}
