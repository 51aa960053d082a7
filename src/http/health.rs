//! What probes ask: whether the process runs, and whether it can issue tokens.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Services, Shared};
use crate::domain::time::Timestamp;
use crate::runtime::ledger::Recording;

/// How long the database may take to answer the readiness probe: less than a prober waits.
const PROBE: Duration = Duration::from_secs(3);

/// Says which readiness it is, for a balancer that prefers whoever is in no outage.
const READINESS: HeaderName = HeaderName::from_static("jeton-readiness");

/// How ready it is.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// Known clients get tokens, until then unless the database is back.
    Degraded(Timestamp),
    /// For this reason, which the log has in full.
    NotReady(&'static str, String),
}

/// What is known of the database, and for how long what is in memory may be used without it.
struct Known {
    /// Whether it answers, and changes are heard of.
    answers: Result<(), String>,
    /// How long clients in memory may be given tokens, if it does not.
    usable: Duration,
    recording: Recording,
    /// Whether events are spooled once the database is found to take none.
    spools: bool,
    now: Timestamp,
}

/// The process runs, each of its threads. Nothing else is asked: what is away elsewhere no restart brings back.
pub(super) async fn alive(State(services): State<Shared>) -> Response {
    aliveness(services.connections.check_running())
}

fn aliveness(running: Result<(), &'static str>) -> Response {
    match running {
        Ok(()) => (StatusCode::OK, "alive\n").into_response(),
        Err(problem) => {
            tracing::error!(problem, "not alive");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response()
        }
    }
}

/// The process can issue tokens.
pub(super) async fn ready(State(services): State<Shared>) -> Response {
    if services.connections.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let clock = services.rotator.clock().check();
    let readiness = match clock {
        Err(fault) => Readiness::NotReady("the clock is off\n", fault.to_string()),
        Ok(()) => readiness(&known(&services).await),
    };
    match readiness {
        Readiness::Ready => (StatusCode::OK, "ready\n").into_response(),
        Readiness::Degraded(until) => {
            let text = format!("serving through an outage: known clients get tokens until {until}\n");
            let mut response = (StatusCode::OK, text).into_response();
            response.headers_mut().insert(READINESS, HeaderValue::from_static("degraded"));
            response
        }
        Readiness::NotReady(public, reason) => {
            tracing::warn!(reason, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, public).into_response()
        }
    }
}

async fn known(services: &Services) -> Known {
    let directory = &services.tokens.directory;
    let recording = services.tokens.ledger.recording();
    let answers = match directory.check_fresh() {
        // What is known already needs no waiting for.
        Err(fault) => Err(fault.to_string()),
        Ok(()) if recording != Recording::Works => Ok(()),
        Ok(()) => match tokio::time::timeout(PROBE, services.store.ping()).await {
            Ok(answers) => answers.map_err(|error| error.to_string()),
            Err(_) => Err("the database does not answer in time".to_owned()),
        },
    };
    let (usable, spools) = (directory.usable_left(), services.tokens.ledger.spools());
    Known { answers, usable, recording, spools, now: services.ambient.now() }
}

fn readiness(known: &Known) -> Readiness {
    let Known { answers, usable, recording, spools, now } = known;
    match (answers, recording) {
        (Ok(()), Recording::Works) => Readiness::Ready,
        (_, Recording::Spooling(left)) if !usable.is_zero() => {
            Readiness::Degraded(now.plus(*left.min(usable)))
        }
        // Nothing had to be recorded since it went away.
        (Err(_), Recording::Works) if *spools && !usable.is_zero() => Readiness::Degraded(now.plus(*usable)),
        (Err(reason), Recording::Works | Recording::Spooling(_)) => {
            Readiness::NotReady("the database does not answer\n", reason.clone())
        }
        (_, Recording::Fails | Recording::Spooling(_)) => {
            let reason = "the last audit events could not be written, and are not kept";
            Readiness::NotReady("nothing can be recorded\n", reason.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn told(answers: bool, usable: u64, recording: Recording, spools: bool) -> Readiness {
        let answers = if answers { Ok(()) } else { Err("away".to_owned()) };
        readiness(&Known { answers, usable: Duration::from_secs(usable), recording, spools, now: NOW })
    }

    #[test]
    fn it_is_alive_while_all_of_its_threads_run() {
        assert_eq!(aliveness(Ok(())).status(), StatusCode::OK);
        let hangs = aliveness(Err("a thread that serves is stuck"));
        assert_eq!(hangs.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn it_is_degraded_while_known_clients_get_tokens_and_no_longer() {
        let spooling = Recording::Spooling(Duration::from_mins(1));
        let until = |seconds: i64| Readiness::Degraded(Timestamp::from_seconds(1_000 + seconds));
        assert_eq!(told(true, 900, Recording::Works, true), Readiness::Ready);
        assert_eq!(told(true, 900, spooling, true), until(60), "it answers, and takes nothing");
        assert_eq!(told(false, 30, spooling, true), until(30), "whichever ends first");
        assert_eq!(told(false, 30, Recording::Works, true), until(30), "nobody has asked for anything");
        for not_ready in [
            told(false, 0, spooling, true),
            told(false, 900, Recording::Fails, true),
            told(true, 900, Recording::Fails, true),
            told(false, 9, Recording::Works, false),
            told(false, 0, Recording::Works, true),
        ] {
            assert!(matches!(not_ready, Readiness::NotReady(..)), "{not_ready:?}");
        }
    }
}
