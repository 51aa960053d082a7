//! Failed authentications of clients, counted by where they come from (decision 032).
//!
//! A limit here refuses nothing that costs nothing to check: a right credential passes, however much has failed. It
//! keeps away what costs much or could be guessed, and tells whoever fails when to come back. What fails for a client
//! at one address is no reason to turn the same client away at another.

mod budget;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use self::budget::Budget;
use super::clock::Ambient;
use super::refusals::network;
use crate::config::Limits;
use crate::domain::allowance::Allowance;
use crate::domain::ids::{ClientId, CredentialId};

/// How many proven credentials are remembered with the place that they came from (about 100 bytes each).
const PROVEN: u64 = 100_000;

/// Counts failures.
pub struct Failures {
    per_client: Option<Budget>,
    per_address: Option<Budget>,
    /// Keyed by the process, so that nobody can make two sources look like one.
    hasher: RandomState,
    proven: Cache<(ClientId, CredentialId, Place), ()>,
    limited: [AtomicU64; 2],
}

/// Where somebody is; of IPv6 the /64. `None` where a trusted proxy does not say.
type Place = Option<IpAddr>;

/// Who says to be this client, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Absent where nobody is named, and it could not be found out.
    client_id: Option<&'a ClientId>,
    place: Place,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of one client at one address.
    Client,
    /// Of all clients at one address.
    Address,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The limit that is reached.
    pub limit: Limit,
    /// How long until there is room for another failure.
    pub retry_after: Duration,
}

// === impl Limit ===

impl Limit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Address];

    /// Its name in metrics and in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Address => "address",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Address => 1,
        }
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    /// An address stands for its network.
    #[must_use]
    pub fn new(client_id: Option<&'a ClientId>, address: Option<IpAddr>) -> Self {
        Self { client_id, place: address.map(network) }
    }
}

// === impl Failures ===

impl Failures {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(limits: &Limits, ambient: &Ambient) -> Self {
        let budget =
            |allowance: Option<Allowance>| allowance.map(|allowance| Budget::new(allowance, ambient));
        Self {
            per_client: budget(limits.failures_per_client),
            per_address: budget(limits.failures_per_address),
            hasher: RandomState::new(),
            proven: Cache::new(PROVEN),
            limited: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// Whether so much has failed that another failure would be over a limit. Counts nothing: what succeeds must
    /// not use up what may fail.
    #[must_use]
    pub fn reached(&self, source: Source<'_>) -> Option<Limited> {
        self.ask(source, Budget::wait)
    }

    /// Counts a failure, and says whether it is over a limit. One that is over the client's is not counted for the
    /// address as well: one job that is wrong and does not stop must not use up what all others there may fail.
    #[must_use]
    pub fn failed(&self, source: Source<'_>) -> Option<Limited> {
        self.ask(source, Budget::count)
    }

    fn ask(&self, source: Source<'_>, question: fn(&Budget, u64) -> Option<Duration>) -> Option<Limited> {
        let client = self.hasher.hash_one((source.client_id, source.place));
        let address = self.hasher.hash_one(source.place);
        let limited =
            [(Limit::Client, &self.per_client, client), (Limit::Address, &self.per_address, address)]
                .into_iter()
                .find_map(|(limit, budget, key)| {
                    let retry_after = question(budget.as_ref()?, key)?;
                    Some(Limited { limit, retry_after })
                })?;
        self.limited[limited.limit.place()].fetch_add(1, Ordering::Relaxed);
        Some(limited)
    }

    /// Remembers that this credential was proven from there.
    pub fn proven(&self, source: Source<'_>, credential_id: &CredentialId) {
        let Some(client_id) = source.client_id else { return };
        let key = (client_id.clone(), credential_id.clone(), source.place);
        if !self.proven.contains_key(&key) {
            self.proven.insert(key, ());
        }
    }

    /// Whether this credential was proven from there before. Whether it still counts is asked all the same.
    #[must_use]
    pub fn was_proven(&self, source: Source<'_>, credential_id: &CredentialId) -> bool {
        source.client_id.is_some_and(|client_id| {
            self.proven.contains_key(&(client_id.clone(), credential_id.clone(), source.place))
        })
    }

    /// How many attempts were over this limit.
    #[must_use]
    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited[limit.place()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::time::Timestamp;
    use crate::runtime::clock::{ManualClock, SystemEntropy};

    struct Bench {
        failures: Failures,
        clock: Arc<ManualClock>,
    }

    fn bench(per_client: &str, per_address: &str) -> Bench {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_334_400)));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let limits = Limits {
            failures_per_client: per_client.parse().ok(),
            failures_per_address: per_address.parse().ok(),
            ..Limits::default()
        };
        Bench { failures: Failures::new(&limits, &ambient), clock }
    }

    fn client(id: &str) -> ClientId {
        ClientId::new(id).unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    /// Fails so often, and says how many were over a limit.
    fn over(failures: &Failures, source: Source<'_>, times: usize) -> usize {
        (0..times).filter(|_| failures.failed(source).is_some()).count()
    }

    #[test]
    fn so_many_may_fail_and_come_back_one_by_one() {
        let Bench { failures, clock } = bench("3 in 30s", "off");
        let id = client("billing");
        let source = Source::new(Some(&id), address("192.0.2.1"));
        assert_eq!(over(&failures, source, 3), 0);
        let wait = Limited { limit: Limit::Client, retry_after: Duration::from_secs(10) };
        assert_eq!(failures.reached(source), Some(wait));
        assert_eq!(failures.failed(source), Some(wait), "and what is over it makes it no longer");
        clock.advance(Duration::from_secs(10));
        assert_eq!(failures.reached(source), None);
        assert_eq!(failures.reached(source), None, "asking counts nothing");
        assert_eq!(over(&failures, source, 2), 1);
        clock.advance(Duration::from_secs(30));
        assert_eq!(over(&failures, source, 4), 1);
        assert_eq!(failures.limited(Limit::Client), 4);
    }

    #[test]
    fn what_fails_at_one_address_or_for_one_client_is_no_matter_to_another() {
        let Bench { failures, .. } = bench("2 in 1m", "off");
        let (billing, other) = (client("billing"), client("other"));
        let here = address("192.0.2.1");
        assert_eq!(over(&failures, Source::new(Some(&billing), here), 5), 3);
        for (id, place) in [
            (&billing, address("192.0.2.2")),
            (&billing, address("2001:db8::1")),
            (&billing, None),
            (&other, here),
        ] {
            assert_eq!(failures.reached(Source::new(Some(id), place)), None, "{id} {place:?}");
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let Bench { failures, .. } = bench("off", "2 in 1m");
        let id = client("billing");
        let one = Source::new(Some(&id), address("2001:db8:0:1::1"));
        assert_eq!(over(&failures, one, 2), 0);
        assert!(failures.reached(Source::new(Some(&id), address("2001:db8:0:1:ffff::2"))).is_some());
        assert!(failures.reached(Source::new(Some(&id), address("2001:db8:0:2::1"))).is_none());
    }

    #[test]
    fn one_client_that_is_over_its_limit_leaves_the_address_its_own() {
        let Bench { failures, .. } = bench("2 in 1m", "5 in 1m");
        let (wrong, other) = (client("wrong"), client("other"));
        let here = address("192.0.2.1");
        assert_eq!(over(&failures, Source::new(Some(&wrong), here), 1_000), 998);
        assert_eq!(failures.reached(Source::new(Some(&other), here)), None);
        // Many names at one address are another matter.
        for n in 0..3 {
            assert_eq!(over(&failures, Source::new(Some(&client(&format!("made-up-{n}"))), here), 1), 0);
        }
        let limited = failures.reached(Source::new(Some(&other), here)).unwrap();
        assert_eq!(limited.limit, Limit::Address);
        assert_eq!(limited.retry_after, Duration::from_secs(12));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let Bench { failures, clock } = bench("1 in 10s", "off");
        let id = client("billing");
        let source = Source::new(Some(&id), address("192.0.2.1"));
        assert_eq!(over(&failures, source, 1), 0);
        clock.set(Timestamp::from_seconds(1_000_000_000));
        assert_eq!(failures.reached(source).unwrap().retry_after, Duration::from_secs(10));
        clock.advance(Duration::from_secs(10));
        assert_eq!(failures.reached(source), None);
    }

    #[test]
    fn a_proven_credential_is_known_where_it_was_proven() {
        let Bench { failures, .. } = bench("1 in 1m", "off");
        let id = client("billing");
        let secret = CredentialId::new("abcdefgh").unwrap();
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        failures.proven(Source::new(Some(&id), here), &secret);
        assert!(failures.was_proven(Source::new(Some(&id), here), &secret));
        assert!(!failures.was_proven(Source::new(Some(&id), there), &secret));
        assert!(!failures.was_proven(Source::new(Some(&client("other")), here), &secret));
    }

    #[test]
    fn without_limits_nothing_is_over_one() {
        let Bench { failures, .. } = bench("off", "off");
        let id = client("billing");
        assert_eq!(over(&failures, Source::new(Some(&id), None), 10_000), 0);
    }
}
