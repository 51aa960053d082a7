//! Requests, counted where they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::histogram::{Distribution, Histogram};
use crate::domain::client::{AuthMethod, GrantType};
use crate::domain::error::{ErrorCode, Failure};

/// Declares places by their names.
macro_rules! places {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

places! {
    /// What a request asks for. The API's are told apart by what they are about.
    Endpoint {
        /// The token endpoint.
        Token = "token",
        /// Introspection.
        Introspect = "introspect",
        /// Revocation.
        Revoke = "revoke",
        /// The public keys.
        Jwks = "jwks",
        /// Metadata about this server and its API.
        Discovery = "discovery",
        /// Whether it lives and is ready.
        Probes = "probes",
        /// The pages, and what describes the API.
        Pages = "pages",
        /// Administrators.
        ApiAdministrators = "api/administrators",
        /// The audit.
        ApiAudit = "api/audit",
        /// Clients and what belongs to them.
        ApiClients = "api/clients",
        /// Credentials that end soon.
        ApiEndingCredentials = "api/ending-credentials",
        /// Exchange rules.
        ApiExchangeRules = "api/exchange-rules",
        /// Resource servers and their operators.
        ApiResourceServers = "api/resource-servers",
        /// Revocations.
        ApiRevocations = "api/revocations",
        /// Roles.
        ApiRoles = "api/roles",
        /// Signing keys.
        ApiSigningKeys = "api/signing-keys",
        /// Statistics.
        ApiStatistics = "api/statistics",
        /// Trusted issuers.
        ApiTrustedIssuers = "api/trusted-issuers",
        /// Anything else, which is mostly nothing that there is.
        Other = "other",
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Its name where the API is one.
    #[must_use]
    pub fn group(self) -> &'static str {
        let name = self.as_str();
        if name.starts_with("api/") { "api" } else { name }
    }

    /// The names of [`Endpoint::group`].
    pub fn groups() -> impl Iterator<Item = &'static str> {
        let mut last = "";
        Self::ALL.iter().map(|endpoint| endpoint.group()).filter(move |group| {
            // Those of the API stand together.
            std::mem::replace(&mut last, group) != *group
        })
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered as it was meant.
    Ok,
    /// It was refused, in the words of OAuth.
    Error(ErrorCode),
    /// It was refused otherwise: a status from 400 on.
    Refused,
    /// There was no verdict: something on our side went wrong.
    Fault,
    /// Whoever asked went away first.
    Gone,
}

// === impl Outcome ===

impl Outcome {
    const COUNT: usize = ErrorCode::ALL.len() + 4;

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        let errors = ErrorCode::ALL.iter().copied().map(Self::Error);
        [Self::Ok, Self::Refused, Self::Fault, Self::Gone].into_iter().chain(errors)
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error(code) => code.as_str(),
            Self::Refused => "refused",
            Self::Fault => "fault",
            Self::Gone => "gone",
        }
    }

    /// What an OAuth endpoint decided.
    #[must_use]
    pub const fn of<T>(decided: &Result<T, Failure>) -> Self {
        match decided {
            Ok(_) => Self::Ok,
            Err(failure) => Self::of_failure(failure),
        }
    }

    /// The same, where it decided no.
    #[must_use]
    pub const fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::Error(error.code),
            Failure::Fault(_) => Self::Fault,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Fault => 2,
            Self::Gone => 3,
            Self::Error(code) => 4 + code as usize,
        }
    }
}

const GRANTS: usize = GrantType::ALL.len() + 1;
const METHODS: usize = AuthMethod::ALL.len() + 1;

type ByOutcome = [AtomicU64; Outcome::COUNT];

/// Counts requests, in parts, one a thread that serves: no two threads write to the same memory. Whoever reads adds the
/// parts up.
#[derive(Clone)]
pub struct Traffic {
    seats: Arc<[Seat]>,
    own: usize,
}

/// The counters of one thread.
struct Seat {
    requests: [ByOutcome; Endpoint::ALL.len()],
    durations: [Histogram; Endpoint::ALL.len()],
    in_flight: AtomicI64,
    tokens: [[ByOutcome; METHODS]; GRANTS],
}

/// A request that is being answered. Dropped before [`InFlight::end`], whoever asked has gone away.
pub struct InFlight<'a> {
    seat: &'a Seat,
    endpoint: Endpoint,
    begun: Instant,
    outcome: Outcome,
}

/// How often there was a token request of this sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// `None` for what is no grant type here.
    pub grant: Option<GrantType>,
    /// `None` where no method could be told.
    pub method: Option<AuthMethod>,
    /// What became of it.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
}

// === impl Traffic ===

impl Traffic {
    /// Counters in `seats` parts, one a thread, so that threads do not contend. There is one at least.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self { seats: (0..seats.max(1)).map(|_| Seat::new()).collect(), own: 0 }
    }

    /// The same counters, for the thread of this number: it counts in its own part.
    #[must_use]
    pub fn at_seat(&self, number: usize) -> Self {
        Self { seats: Arc::clone(&self.seats), own: number % self.seats.len() }
    }

    /// A request has come in.
    #[must_use]
    pub fn begin(&self, endpoint: Endpoint) -> InFlight<'_> {
        let seat = &self.seats[self.own];
        seat.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { seat, endpoint, begun: Instant::now(), outcome: Outcome::Gone }
    }

    /// A token request was decided.
    pub fn token(&self, grant: Option<GrantType>, method: Option<AuthMethod>, outcome: Outcome) {
        let grant = grant.map_or(0, |grant| 1 + grant as usize);
        let method = method.map_or(0, |method| 1 + method as usize);
        self.seats[self.own].tokens[grant][method][outcome.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests for this had this outcome.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint, outcome: Outcome) -> u64 {
        self.sum(|seat| &seat.requests[endpoint as usize][outcome.place()])
    }

    /// How long those of a group took, whatever became of them.
    #[must_use]
    pub fn durations(&self, group: &str) -> Distribution {
        let of_group = Endpoint::ALL.iter().filter(|endpoint| endpoint.group() == group);
        let all = of_group
            .flat_map(|endpoint| self.seats.iter().map(|seat| seat.durations[*endpoint as usize].read()));
        all.fold(Histogram::of_durations().read(), |sum, one| sum.and(&one))
    }

    /// How many are being answered.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.seats.iter().map(|seat| seat.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// The sorts of token requests that there have been.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenCount> {
        let grants = std::iter::once(None).chain(GrantType::ALL.iter().copied().map(Some));
        let methods = || std::iter::once(None).chain(AuthMethod::ALL.iter().copied().map(Some));
        let mut counts = Vec::new();
        for (at, grant) in grants.enumerate() {
            for (by, method) in methods().enumerate() {
                for outcome in Outcome::all() {
                    let count = self.sum(|seat| &seat.tokens[at][by][outcome.place()]);
                    counts.push(TokenCount { grant, method, outcome, count });
                }
            }
        }
        counts.retain(|sort| sort.count > 0);
        counts
    }

    fn sum(&self, place: impl Fn(&Seat) -> &AtomicU64) -> u64 {
        self.seats.iter().map(|seat| place(seat).load(Ordering::Relaxed)).sum()
    }
}

// === impl Seat ===

impl Seat {
    fn new() -> Self {
        let by_outcome = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            requests: std::array::from_fn(|_| by_outcome()),
            durations: std::array::from_fn(|_| Histogram::of_durations()),
            in_flight: AtomicI64::new(0),
            tokens: std::array::from_fn(|_| std::array::from_fn(|_| by_outcome())),
        }
    }
}

// === impl InFlight ===

impl InFlight<'_> {
    /// How long it has taken so far.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// It is answered.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.seat.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.seat.requests[self.endpoint as usize][self.outcome.place()].fetch_add(1, Ordering::Relaxed);
        self.seat.durations[self.endpoint as usize].took(self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::OAuthError;

    #[test]
    fn each_outcome_has_a_place_of_its_own() {
        let mut places: Vec<_> = Outcome::all().map(Outcome::place).collect();
        places.sort_unstable();
        assert_eq!(places, (0..Outcome::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_counted_at_several_seats_adds_up() {
        let traffic = Traffic::new(2);
        for number in 0..4 {
            let thread = traffic.at_seat(number);
            let request = thread.begin(Endpoint::ApiRoles);
            assert_eq!(traffic.in_flight(), 1);
            request.end(Outcome::Ok);
            let refused = Err::<(), _>(Failure::Refused(OAuthError::invalid_client("no")));
            thread.token(Some(GrantType::JwtBearer), None, Outcome::of(&refused));
        }
        drop(traffic.begin(Endpoint::Token));
        assert_eq!(traffic.in_flight(), 0);
        assert_eq!(traffic.requests(Endpoint::ApiRoles, Outcome::Ok), 4);
        assert_eq!(traffic.requests(Endpoint::Token, Outcome::Gone), 1);
        assert_eq!((traffic.durations("api").count(), traffic.durations("token").count()), (4, 1));
        let outcome = Outcome::Error(ErrorCode::InvalidClient);
        let sort = TokenCount { grant: Some(GrantType::JwtBearer), method: None, outcome, count: 4 };
        assert_eq!(traffic.tokens(), [sort]);
    }

    #[test]
    fn the_api_is_one_group() {
        let groups: Vec<_> = Endpoint::groups().collect();
        let all = ["token", "introspect", "revoke", "jwks", "discovery", "probes", "pages", "api", "other"];
        assert_eq!(groups, all);
    }
}
