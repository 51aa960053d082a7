//! What is true now.

use super::described as of;
use super::exposition::Family;
use crate::domain::rotation;
use crate::domain::time::Timestamp;
use crate::http::Services;
use crate::http::connections::{Connections, Full};
use crate::http::link::Reason;
use crate::runtime::failures::Limit;
use crate::runtime::meters::{Endpoint, Lookup, Outcome, Process, Recalls, Traffic};
use crate::runtime::remote_keys::Fetched;

/// Everything, in the order of docs/metrics.md.
pub(super) fn families(services: &Services) -> Vec<Family> {
    let mut families = traffic(&services.tokens.traffic);
    families.extend(limits(services));
    families.extend(ledger(services));
    families.extend(outage(services));
    families.extend(connections(&services.connections));
    families.extend(memory(services));
    families.extend(keys(services));
    families.extend(exported(services));
    families.extend(database(services));
    families.extend(process(services));
    families
}

fn traffic(traffic: &Traffic) -> Vec<Family> {
    let mut requests = Vec::new();
    for endpoint in Endpoint::ALL.iter().copied() {
        for outcome in Outcome::all() {
            let count = traffic.requests(endpoint, outcome);
            // Those are there from the start, so that their first is seen as one more than none.
            if count > 0 || matches!(outcome, Outcome::Ok | Outcome::Fault) {
                requests.push(([endpoint.as_str(), outcome.as_str()], count));
            }
        }
    }
    let tokens = traffic.tokens().into_iter().map(|sort| {
        let grant = sort.grant.map_or("other", |grant| grant.as_str());
        let method = sort.method.map_or("none", |method| method.as_str());
        ([grant, method, sort.outcome.as_str()], sort.count)
    });
    let in_flight = u64::try_from(traffic.in_flight()).unwrap_or(0);
    vec![
        Family::new(&of::REQUESTS, requests),
        Family::new(
            &of::REQUEST_DURATION,
            Endpoint::groups().map(|group| ([group], traffic.durations(group))),
        ),
        Family::single(&of::IN_FLIGHT, in_flight),
        Family::new(&of::TOKEN_REQUESTS, tokens),
    ]
}

fn limits(services: &Services) -> [Family; 3] {
    let (secrets, failures) = (&services.tokens.verifiers.secrets, &services.tokens.verifiers.failures);
    [
        Family::new(
            &of::LIMITED,
            Limit::ALL.iter().map(|limit| ([limit.as_str()], failures.limited(*limit))),
        ),
        Family::single(&of::COSTLY_CHECKS, secrets.costly_waiting() as u64),
        Family::single(&of::COSTLY_TURNED_AWAY, secrets.costly_turned_away()),
    ]
}

fn ledger(services: &Services) -> [Family; 6] {
    let ledger = &services.tokens.ledger;
    let (meter, (waiting, most)) = (ledger.meter(), ledger.queue());
    [
        Family::single(&of::LEDGER_QUEUE, waiting as u64),
        Family::single(&of::LEDGER_QUEUE_MAX, most as u64),
        Family::single(&of::LEDGER_OLDEST, meter.oldest().as_secs_f64()),
        Family::single(&of::LEDGER_BATCH_DURATION, meter.durations.read()),
        Family::single(&of::LEDGER_BATCH_ENTRIES, meter.entries.read()),
        Family::single(&of::LEDGER_FAILED, meter.failed()),
    ]
}

fn outage(services: &Services) -> [Family; 4] {
    let figures = services.tokens.ledger.outage();
    [
        Family::single(&of::OUTAGE, u64::from(figures.since.is_some())),
        Family::single(&of::SPOOL_EVENTS, figures.events),
        Family::single(&of::SPOOL_BYTES, figures.bytes),
        Family::single(&of::SPOOL_REPLAYED, figures.replayed),
    ]
}

fn connections(connections: &Connections) -> [Family; 4] {
    let doing = connections.doing();
    let states = [
        (["handshake"], doing.handshakes as u64),
        (["asking"], doing.asking as u64),
        (["busy"], doing.busy as u64),
        (["idle"], doing.idle as u64),
    ];
    [
        Family::new(&of::OPEN, states),
        Family::single(&of::OPEN_MAX, connections.limits().0 as u64),
        Family::new(&of::CLOSED, Reason::ALL.map(|reason| ([reason.as_str()], connections.closed(reason)))),
        Family::new(&of::TURNED_AWAY, Full::ALL.map(|full| ([full.as_str()], connections.refused(full)))),
    ]
}

fn memory(services: &Services) -> [Family; 7] {
    let directory = &services.tokens.directory;
    let (lookups, (held, most)) = (directory.lookups(), directory.held());
    let recalls =
        |recalls: &Recalls| [(["remembered"], recalls.remembered()), (["verified"], recalls.worked())];
    [
        Family::new(
            &of::DIRECTORY_LOOKUPS,
            Lookup::ALL.iter().map(|lookup| ([lookup.as_str()], lookups.count(*lookup))),
        ),
        Family::single(&of::DIRECTORY_CLIENTS, held),
        Family::single(&of::DIRECTORY_CLIENTS_MAX, most),
        Family::single(&of::DIRECTORY_HEARD, directory.heard_ago().as_secs_f64()),
        Family::new(&of::SECRET_CHECKS, recalls(services.tokens.verifiers.secrets.recalls())),
        Family::new(&of::SIGNATURE_CHECKS, recalls(services.keyring.recalls())),
        Family::new(
            &of::KEY_FETCHES,
            Fetched::ALL
                .iter()
                .map(|fetched| ([fetched.as_str()], services.remote_keys.took(*fetched).read())),
        ),
    ]
}

fn keys(services: &Services) -> [Family; 5] {
    let now = services.ambient.now();
    let (mut age, mut next) = (Vec::new(), Vec::new());
    for (algorithm, ring) in services.keyring.lives() {
        let label = [algorithm.as_str()];
        if let Some(active) = rotation::active_index(&ring, now) {
            age.push((label, seconds(ring[active].activates_at, now)));
        }
        if let Some(at) = services.rotator.next_activation(algorithm, &ring, now) {
            next.push((label, seconds(now, at)));
        }
    }
    let ending = services.ending.load();
    let (soon, ended): (Vec<_>, Vec<_>) = ending
        .iter()
        .map(|(kind, count)| (([kind.as_str()], count.soon), ([kind.as_str()], count.ended)))
        .unzip();
    [
        Family::new(&of::KEY_AGE, age),
        Family::new(&of::KEY_NEXT, next),
        Family::new(&of::EXPIRING, soon),
        Family::new(&of::EXPIRED, ended),
        Family::single(&of::LEGACY_AUDIENCES, services.tokens.verifiers.assertions.legacy_audiences()),
    ]
}

fn exported(services: &Services) -> [Family; 2] {
    let exported = services.tracing.exported();
    let dropped = exported.into_iter().flat_map(|of| {
        [([of.signal, "queue_full"], of.queue_full), ([of.signal, "not_taken"], of.not_taken)]
    });
    [
        Family::new(&of::OTLP_SENT, exported.map(|of| ([of.signal], of.sent))),
        Family::new(&of::OTLP_DROPPED, dropped),
    ]
}

fn database(services: &Services) -> [Family; 3] {
    let pools = services.store.pools();
    let connections = pools
        .iter()
        .flat_map(|pool| [([pool.name, "idle"], pool.idle), ([pool.name, "in_use"], pool.in_use)]);
    [
        Family::new(&of::CONNECTIONS, connections),
        Family::new(&of::CONNECTIONS_MAX, pools.iter().map(|pool| ([pool.name], pool.most))),
        Family::single(&of::CLOCK, services.rotator.clock().ahead()),
    ]
}

fn process(services: &Services) -> [Family; 6] {
    let process = Process::read();
    let known = |number: Option<u64>| number.map(|number| ([], number));
    [
        Family::new(&of::BUILD, [([env!("CARGO_PKG_VERSION"), services.store.engine()], 1_u64)]),
        Family::new(&of::RESIDENT, known(process.resident)),
        Family::new(&of::CPU, process.computed.map(|computed| ([], computed.as_secs_f64()))),
        Family::new(&of::OPEN_FILES, known(process.open_files)),
        Family::new(&of::MAX_FILES, known(process.most_files)),
        Family::single(&of::STARTED, seconds(Timestamp::from_micros(0), services.started)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a double tells seconds to the microsecond for 285 years")]
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.as_micros().saturating_sub(from.as_micros()) as f64 / 1e6
}
