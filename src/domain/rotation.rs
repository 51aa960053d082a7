//! The life of a signing key, and what to do next about a ring of them (DESIGN §10).
//!
//! The keys of one algorithm are a ring. Each is stored with the instant from which it signs and, once that is
//! known, the one at which it leaves; so all replicas switch at the same time without talking, and nothing has
//! to run at that moment. [`plan`] is pure: any replica asks it at any time, does what it says, and asks again.
//! Each action alone leaves a ring that works, so whoever stops half-way leaves nothing broken.

use std::time::Duration;

use super::ids::KeyId;
use super::schedule::Schedule;
use super::time::Timestamp;
use super::words::words;

words! {
    /// Where a key stands in its life at some instant.
    KeyState {
        /// Published, so that verifiers learn of it, but not signing yet.
        Pending = "pending",
        /// The one key of its algorithm that signs.
        Active = "active",
        /// A newer key signs; still published for the tokens it signed.
        Retired = "retired",
        /// No longer published: all that it signed has ended.
        Gone = "gone",
        /// Withdrawn by an operator: neither signs nor is published.
        Revoked = "revoked",
    }
}

/// A key in its ring, as far as its life goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingKey {
    /// The key.
    pub kid: KeyId,
    /// Its place in the ring. Unique, so that of several replicas one makes the next key.
    pub generation: i64,
    /// From when on it signs, unless a newer key does.
    pub activates_at: Timestamp,
    /// From when on it is no longer published; open while it may still sign.
    pub leaves_at: Option<Timestamp>,
    /// When it was withdrawn, if it was.
    pub revoked_at: Option<Timestamp>,
    /// The longest lifetime of any token that it may have signed.
    pub longest_token: Duration,
}

/// How much a ring is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing is signed with it.
    #[default]
    None,
    /// Something will be, and is signed with another algorithm until every verifier has the first key.
    Later,
    /// Something is.
    Now,
}

/// What to do about a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the next key.
    Create {
        /// Its place.
        generation: i64,
        /// When it is to sign.
        activates_at: Timestamp,
    },
    /// Let a pending key sign earlier than it was planned.
    Advance {
        /// The key.
        kid: KeyId,
        /// When it is to sign.
        activates_at: Timestamp,
    },
    /// Say when a key leaves, or that it stays for now.
    End {
        /// The key.
        kid: KeyId,
        /// When it leaves.
        leaves_at: Option<Timestamp>,
    },
    /// Destroy a key whose time is over.
    Remove {
        /// The key.
        kid: KeyId,
    },
}

/// Which of `keys` signs at `now`: the one that was activated last.
///
/// A key that has signed and was revoked takes all older ones with it: whoever had it may have had those. `None`
/// when there is no other yet.
#[must_use]
pub fn active_index(keys: &[RingKey], now: Timestamp) -> Option<usize> {
    let trusted_after = last_compromised(keys);
    keys.iter()
        .enumerate()
        .filter(|(_, key)| key.may_sign(trusted_after, now) && key.activates_at <= now)
        .max_by_key(|(_, key)| (key.activates_at, key.generation))
        .map(|(index, _)| index)
}

/// The state of `keys[index]` among the keys of its ring at `now`.
#[must_use]
pub fn state(keys: &[RingKey], index: usize, now: Timestamp) -> KeyState {
    let key = &keys[index];
    if key.revoked_at.is_some() {
        KeyState::Revoked
    } else if key.has_left(now) {
        KeyState::Gone
    } else if key.activates_at > now {
        KeyState::Pending
    } else if active_index(keys, now) == Some(index) {
        KeyState::Active
    } else {
        KeyState::Retired
    }
}

/// What there is to do at `now` about a ring, given in the order of generation.
///
/// To be asked again once that is done: there may be more. It says nothing when all is well.
#[must_use]
pub fn plan(now: Timestamp, keys: &[RingKey], need: Need, schedule: &Schedule) -> Vec<Action> {
    let ring = Ring { now, keys, need, schedule, trusted_after: last_compromised(keys) };
    let mut actions = if need == Need::None { ring.wind_up() } else { ring.provide().into_iter().collect() };
    actions.extend(ring.ends());
    actions.extend(ring.removals());
    actions
}

/// The key after the newest one, when an operator wants one before its time: published now, it signs after the
/// lead. `None` while one is pending.
#[must_use]
pub fn plan_now(now: Timestamp, keys: &[RingKey], schedule: &Schedule) -> Option<Action> {
    let pending = keys.iter().any(|key| key.is_alive(now) && key.activates_at > now);
    (!pending).then(|| Action::Create {
        generation: next_generation(keys),
        activates_at: now.plus(schedule.lead()),
    })
}

/// When the next key begins to sign: a pending one, or one that is still to be made. `None` while none signs.
#[must_use]
pub fn next_activation(now: Timestamp, keys: &[RingKey], schedule: &Schedule) -> Option<Timestamp> {
    let pending = keys.iter().filter(|key| key.is_alive(now) && key.activates_at > now);
    let next = pending.map(|key| key.activates_at).min();
    next.or_else(|| {
        let due = keys[active_index(keys, now)?].activates_at.plus(schedule.every());
        // Whenever it is made, it is published for the lead.
        Some(due.max(now.plus(schedule.lead())))
    })
}

/// When a key stopped to sign, or will: because the next one begins, or it was revoked. `None` while that is open.
#[must_use]
pub fn signs_until(keys: &[RingKey], index: usize) -> Option<Timestamp> {
    let key = &keys[index];
    let successor = successor(keys, key);
    [key.revoked_at, successor.map(|successor| successor.activates_at)].into_iter().flatten().min()
}

/// A ring at an instant.
struct Ring<'a> {
    now: Timestamp,
    keys: &'a [RingKey],
    need: Need,
    schedule: &'a Schedule,
    trusted_after: Option<i64>,
}

/// The key that signs after this one, or did.
fn successor<'a>(keys: &'a [RingKey], key: &RingKey) -> Option<&'a RingKey> {
    keys.iter().find(|other| other.generation > key.generation && !other.was_revoked_unused())
}

/// The newest key that had begun to sign when it was revoked.
fn last_compromised(keys: &[RingKey]) -> Option<i64> {
    keys.iter().filter(|key| key.has_signed_before_revocation()).map(|key| key.generation).max()
}

fn next_generation(keys: &[RingKey]) -> i64 {
    keys.iter().map(|key| key.generation).max().unwrap_or(0) + 1
}

/// When the next key of its ring begins to sign: it is published a lead before.
#[must_use]
pub fn followed_at(key: &RingKey, schedule: &Schedule) -> Timestamp {
    key.activates_at.plus(schedule.every())
}

// === impl Ring ===

impl Ring<'_> {
    /// What it takes for a key to sign now, and for the next one to be known before it does.
    fn provide(&self) -> Option<Action> {
        let create = |activates_at| Action::Create { generation: next_generation(self.keys), activates_at };
        // What signs at once has no better: nobody has cached anything yet, or what they have is worth nothing.
        let at_once = self.need == Need::Now || self.trusted_after.is_some();
        let usable = || self.keys.iter().filter(|key| key.may_sign(self.trusted_after, self.now));
        let Some(newest) = usable().max_by_key(|key| key.generation) else {
            return Some(create(if at_once { self.now } else { self.now.plus(self.schedule.lead()) }));
        };
        let first = usable().min_by_key(|key| key.activates_at)?;
        if at_once && first.activates_at > self.now {
            return Some(Action::Advance { kid: first.kid.clone(), activates_at: self.now });
        }
        if let Some(late) = self.dated_too_late() {
            return Some(late);
        }
        let due = followed_at(newest, self.schedule);
        let soonest = self.now.plus(self.schedule.lead());
        (due <= soonest).then(|| create(due.max(soonest)))
    }

    /// A pending key that was planned by a clock that was ahead, or under a longer interval.
    fn dated_too_late(&self) -> Option<Action> {
        let alive: Vec<_> = self.keys.iter().filter(|key| key.is_alive(self.now)).collect();
        alive.windows(2).find_map(|pair| {
            let activates_at = followed_at(pair[0], self.schedule).max(self.now.plus(self.schedule.lead()));
            (pair[1].activates_at > activates_at)
                .then(|| Action::Advance { kid: pair[1].kid.clone(), activates_at })
        })
    }

    /// Lets a ring go that nothing uses: pending keys at once, the others when their tokens have ended.
    fn wind_up(&self) -> Vec<Action> {
        // Whoever has not heard that nothing uses the ring may sign with it for so long.
        let unheard = self.schedule.staleness() + 2 * self.schedule.clock_tolerance();
        let pending = |key: &&RingKey| key.is_alive(self.now) && key.activates_at > self.now.plus(unheard);
        self.keys.iter().filter(pending).map(|key| Action::Remove { kid: key.kid.clone() }).collect()
    }

    /// When keys leave: with the last token that they can have signed. An end that is known is put off when need
    /// be, and taken back when the key is the newest again; never brought forward.
    fn ends(&self) -> Vec<Action> {
        let ends = self.keys.iter().filter(|key| key.is_alive(self.now)).filter_map(|key| {
            let successor = successor(self.keys, key);
            let until = match successor {
                Some(successor) => Some(successor.activates_at),
                None if self.need != Need::None || key.activates_at > self.now => None,
                None => Some(self.now),
            };
            let leaves_at = until.map(|until| until.plus(self.schedule.keep(key.longest_token)));
            let change = match (key.leaves_at, leaves_at) {
                // An unwanted ring's end was set when it became one.
                (Some(_), Some(_)) if successor.is_none() => false,
                (Some(known), Some(needed)) => known < needed,
                (known, needed) => known != needed,
            };
            change.then(|| Action::End { kid: key.kid.clone(), leaves_at })
        });
        ends.collect()
    }

    fn removals(&self) -> Vec<Action> {
        let over = |key: &&RingKey| match key.revoked_at {
            Some(revoked_at) => revoked_at.plus(self.schedule.keep(key.longest_token)) <= self.now,
            None => key.has_left(self.now),
        };
        self.keys.iter().filter(over).map(|key| Action::Remove { kid: key.kid.clone() }).collect()
    }
}

// === impl RingKey ===

impl RingKey {
    fn has_left(&self, now: Timestamp) -> bool {
        self.leaves_at.is_some_and(|end| end <= now)
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && !self.has_left(now)
    }

    fn may_sign(&self, trusted_after: Option<i64>, now: Timestamp) -> bool {
        self.is_alive(now) && trusted_after.is_none_or(|generation| self.generation > generation)
    }

    fn has_signed_before_revocation(&self) -> bool {
        self.revoked_at.is_some_and(|revoked_at| self.activates_at <= revoked_at)
    }

    fn was_revoked_unused(&self) -> bool {
        self.revoked_at.is_some() && !self.has_signed_before_revocation()
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rotation_simulator.rs"]
mod simulator;
