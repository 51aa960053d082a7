//! The life of a signing key: published, then signing, then only published, then gone.

use super::time::Timestamp;

/// Where a key stands in its life at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, so that verifiers learn of it, but not signing yet.
    Pending,
    /// The one key of its algorithm that signs.
    Active,
    /// A newer key signs; still published for the tokens it signed.
    Retired,
    /// No longer published.
    Gone,
}

/// The instants that a key is stored with. All replicas read the same ones, and so switch together
/// without talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    /// From when on it signs, unless a newer key does.
    pub activates_at: Timestamp,
    /// From when on it is no longer published; open while it may still sign.
    pub leaves_at: Option<Timestamp>,
}

/// Which of `keys` (one algorithm's) signs at `now`: the one that was activated last.
///
/// `None` only when no key has become active yet.
#[must_use]
pub fn active_index(keys: &[KeySchedule], now: Timestamp) -> Option<usize> {
    keys.iter()
        .enumerate()
        .filter(|(_, key)| key.activates_at <= now && !has_left(key, now))
        .max_by_key(|(_, key)| key.activates_at)
        .map(|(index, _)| index)
}

/// The state of `keys[index]` among the keys of its algorithm at `now`.
#[must_use]
pub fn state(keys: &[KeySchedule], index: usize, now: Timestamp) -> KeyState {
    let key = &keys[index];
    if has_left(key, now) {
        KeyState::Gone
    } else if key.activates_at > now {
        KeyState::Pending
    } else if active_index(keys, now) == Some(index) {
        KeyState::Active
    } else {
        KeyState::Retired
    }
}

fn has_left(key: &KeySchedule, now: Timestamp) -> bool {
    key.leaves_at.is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(activates: i64, leaves: Option<i64>) -> KeySchedule {
        KeySchedule {
            activates_at: Timestamp::from_seconds(activates),
            leaves_at: leaves.map(Timestamp::from_seconds),
        }
    }

    #[test]
    fn a_key_walks_through_its_states() {
        let keys = [key(10, Some(30)), key(20, None)];
        let at = |seconds| {
            let now = Timestamp::from_seconds(seconds);
            (state(&keys, 0, now), state(&keys, 1, now))
        };
        assert_eq!(at(5), (KeyState::Pending, KeyState::Pending));
        assert_eq!(at(10), (KeyState::Active, KeyState::Pending));
        assert_eq!(at(20), (KeyState::Retired, KeyState::Active));
        assert_eq!(at(30), (KeyState::Gone, KeyState::Active));
    }

    proptest! {
        #[test]
        fn exactly_one_key_is_active_once_the_first_was(
            starts in prop::collection::btree_set(0_i64..1_000, 1..10),
            now in 0_i64..1_100,
        ) {
            let keys: Vec<_> = starts.iter().map(|start| key(*start, None)).collect();
            let now = Timestamp::from_seconds(now);
            let active = (0..keys.len()).filter(|i| state(&keys, *i, now) == KeyState::Active).count();
            let expected = usize::from(keys[0].activates_at <= now);
            prop_assert_eq!(active, expected);
        }
    }
}
