//! `/metrics`, for Prometheus and whatever else reads `OpenMetrics`, on a listener of its own: it needs no token, so
//! it stays where only the operator's network reaches it.

use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::connections::{Connections, Full};
use super::error::{Problem, no_such_method, no_such_path};
use super::link::Reason;
use super::{Services, Shared};
use crate::domain::error::Fault;
use crate::domain::rotation;
use crate::domain::time::Timestamp;
use crate::runtime::failures::Limit;

/// What `OpenMetrics` 1.0 calls itself.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Seconds = Gauge<f64, AtomicU64>;
type ByKind = Family<[(&'static str, &'static str); 1], Gauge<i64, AtomicI64>>;
type Counted = Family<[(&'static str, &'static str); 1], Counter>;
type ByAlgorithm = Family<[(&'static str, &'static str); 1], Seconds>;

/// The metrics as a server of their own.
pub fn metrics(services: Shared) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(services)
}

async fn scrape(State(services): State<Shared>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry(&services)) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => Problem::from(&Fault::internal(error)).into_response(),
    }
}

/// What is true now.
fn registry(services: &Services) -> Registry {
    let now = services.ambient.now();
    let (age, next, clock) = (ByAlgorithm::default(), ByAlgorithm::default(), Seconds::default());
    for (algorithm, ring) in services.keyring.lives() {
        let label = [("alg", algorithm.as_str())];
        if let Some(active) = rotation::active_index(&ring, now) {
            age.get_or_create(&label).set(seconds(ring[active].activates_at, now));
        }
        if let Some(at) = services.rotator.next_activation(algorithm, &ring, now) {
            next.get_or_create(&label).set(seconds(now, at));
        }
    }
    clock.set(services.rotator.clock().ahead());
    let (soon, ended) = (ByKind::default(), ByKind::default());
    for (kind, count) in services.ending.load().iter() {
        let label = [("kind", kind.as_str())];
        soon.get_or_create(&label).set(whole(count.soon));
        ended.get_or_create(&label).set(whole(count.ended));
    }
    let mut registry = Registry::default();
    registry.register("jeton_signing_key_age_seconds", "How long the active signing key has signed", age);
    registry.register(
        "jeton_signing_key_next_rotation_seconds",
        "How long until the next signing key begins to sign",
        next,
    );
    registry.register(
        "jeton_clock_ahead_seconds",
        "How far this machine's clock is ahead of the database's, beyond what can be told",
        clock,
    );
    registry.register(
        "jeton_credentials_expiring",
        "How many credentials end within credentials.warn_before and have not been replaced, 10000 at most",
        soon,
    );
    registry.register(
        "jeton_credentials_expired",
        "How many credentials have ended and have neither been replaced nor removed, 10000 at most",
        ended,
    );
    register_limits(&mut registry, services);
    register_outage(&mut registry, services);
    register_connections(&mut registry, &services.connections);
    let legacy = Counter::<u64>::default();
    legacy.inc_by(services.tokens.verifiers.assertions.legacy_audiences());
    registry.register(
        "jeton_legacy_assertion_audiences",
        "Client assertions that were accepted only because of legacy_assertion_audience",
        legacy,
    );
    registry
}

/// What was turned away, and what waits to be checked.
fn register_limits(registry: &mut Registry, services: &Services) {
    let (secrets, failures) = (&services.tokens.verifiers.secrets, &services.tokens.verifiers.failures);
    let limited = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for limit in Limit::ALL {
        limited.get_or_create(&[("limit", limit.as_str())]).inc_by(failures.limited(limit));
    }
    let (waiting, turned_away) = (Gauge::<i64>::default(), Counter::<u64>::default());
    waiting.set(i64::try_from(secrets.costly_waiting()).unwrap_or(i64::MAX));
    turned_away.inc_by(secrets.costly_turned_away());
    registry.register(
        "jeton_client_authentications_limited",
        "Attempts that were refused because too many authentications had failed",
        limited,
    );
    registry.register("jeton_costly_checks", "Costly checks of secrets that run or wait", waiting);
    registry.register(
        "jeton_costly_checks_turned_away",
        "Costly checks of secrets that were not made because too many waited",
        turned_away,
    );
}

/// What waits for the database to be back.
fn register_outage(registry: &mut Registry, services: &Services) {
    let figures = services.tokens.ledger.outage();
    let (outage, events, bytes) = <(Gauge, Gauge, Gauge)>::default();
    outage.set(i64::from(figures.since.is_some()));
    events.set(whole(figures.events));
    bytes.set(whole(figures.bytes));
    let replayed = Counter::<u64>::default();
    replayed.inc_by(figures.replayed);
    registry.register(
        "jeton_outage",
        "1 while audit events go to the spool, because the database takes none",
        outage,
    );
    registry.register("jeton_spool_events", "Audit events in the spool", events);
    registry.register("jeton_spool_bytes", "Bytes of the spool that are in use", bytes);
    registry.register("jeton_spool_replayed_events", "Audit events written from the spool", replayed);
}

/// Connections, and those that were not let be.
fn register_connections(registry: &mut Registry, connections: &Connections) {
    let (open, most) = (ByKind::default(), Gauge::<i64>::default());
    let doing = connections.doing();
    for (state, count) in [
        ("handshake", doing.handshakes),
        ("asking", doing.asking),
        ("busy", doing.busy),
        ("idle", doing.idle),
    ] {
        open.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    most.set(i64::try_from(connections.limits().0).unwrap_or(i64::MAX));
    let (closed, refused) = (Counted::default(), Counted::default());
    for reason in Reason::ALL {
        closed.get_or_create(&[("reason", reason.as_str())]).inc_by(connections.closed(reason));
    }
    for full in Full::ALL {
        refused.get_or_create(&[("limit", full.as_str())]).inc_by(connections.refused(full));
    }
    registry.register("jeton_connections", "Open connections, by what they do", open);
    registry.register("jeton_connections_limit", "How many connections there may be", most);
    registry.register("jeton_connections_closed", "Connections that the server closed, by why", closed);
    registry.register(
        "jeton_connections_refused",
        "Connections that were refused, by the limit that they met with",
        refused,
    );
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a double tells seconds to the microsecond for 285 years")]
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.as_micros().saturating_sub(from.as_micros()) as f64 / 1e6
}
