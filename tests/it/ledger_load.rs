//! The ledger under load: its queue has an end, what it has accepted it records, and it signs as it goes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{
    Answer, Client, Database, Replica, START, Server, both_engines, both_replicas, jeton, refusal, run, token,
};
use crate::token::GRANT;
use jeton::config::Issuance;
use jeton::runtime::ledger::RecordError;

both_engines!(
    a_full_queue_is_answered_503_and_what_it_has_accepted_is_recorded,
    buffered_events_are_kept_through_an_outage_as_far_as_the_queue_goes,
);

both_replicas!(a_running_server_signs_after_1024_events);

/// What the queue holds (docs/audit.md), and what is being written meanwhile.
const QUEUE: usize = 4_096;
const BATCH: usize = 1_024;

#[track_caller]
fn expect_no_verdict(answer: &Answer) {
    answer.expect_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("2"), "{answer:?}");
}

async fn ask_too_much(server: &Server, billing: &Client) {
    expect_no_verdict(&server.token(billing, GRANT).await);
    let wrong = Client::new("billing", "a chosen secret of some length");
    expect_no_verdict(&server.token(&wrong, GRANT).await);
}

async fn a_full_queue_is_answered_503_and_what_it_has_accepted_is_recorded(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    let ledger = &server.app.admin().ledger;
    let held = server.database.hold_events().await;
    let since = Instant::now();
    let mut accepted = Vec::new();
    let refused = loop {
        let event = refusal(START.plus(Duration::from_micros(accepted.len() as u64)));
        let mut record = Box::pin(async move { ledger.record(&event).await });
        match (&mut record).now_or_never() {
            None => accepted.push(record),
            Some(outcome) => break outcome,
        }
        assert!(accepted.len() <= QUEUE + BATCH, "memory has an end");
    };
    assert!(format!("{refused:?}").contains("the ledger's queue is full"), "{refused:?}");
    assert!(accepted.len() >= QUEUE, "only {} were accepted", accepted.len());
    ask_too_much(&server, &billing).await;
    held.release().await;
    let away = since.elapsed();

    let accepted = join_all(accepted).await;
    // A machine may be so slow that the database was away for five seconds: what is being written then has failed.
    let failed = accepted.iter().find(|outcome| outcome.is_err());
    assert!(failed.is_none() || away > Duration::from_secs(4), "{failed:?}");
    server.token(&billing, GRANT).await.expect(200);
    let recorded: BTreeSet<String> =
        server.events("token_refused").await.iter().map(|event| event["reason"].to_string()).collect();
    let accepted = accepted.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(recorded.len(), accepted, "those, and none of those that were turned away");
    assert_eq!(server.events("token_issued").await.len(), 2);
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    assert!(run(&database, &["audit", "verify"]).status.success());
}

async fn buffered_events_are_kept_through_an_outage_as_far_as_the_queue_goes(server: Server) {
    let server = server.restart_with(|config| config.audit_issuance = Issuance::Buffered).await.unwrap();
    let billing = server.billing().await;
    server.database.execute("ALTER TABLE audit_events RENAME TO away").await;
    let ledger = &server.app.admin().ledger;
    let (mut accepted, mut turned_away) = (BTreeSet::new(), 0);
    // For as long as it takes to try again several times, which must not make room for more.
    let end = Instant::now() + Duration::from_millis(1_200);
    while Instant::now() < end || turned_away == 0 {
        let event = token();
        match ledger.record_issuance(&event, Vec::new()).await {
            Ok(()) => {
                accepted
                    .insert(serde_json::to_value(&event.event).unwrap()["jti"].as_str().unwrap().to_owned());
            }
            Err(RecordError::Fault(_)) => {
                turned_away += 1;
                sleep(Duration::from_millis(1)).await;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(accepted.len() <= QUEUE + BATCH, "memory has an end");
    }
    assert!(accepted.len() >= QUEUE, "only {} were accepted", accepted.len());
    ask_too_much(&server, &billing).await;
    server.database.execute("ALTER TABLE away RENAME TO audit_events").await;

    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM audit_events WHERE kind = 'token_issued'";
    let recorded = async || server.database.texts(count).await[0].parse::<usize>().unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while recorded().await < accepted.len() && Instant::now() < patience {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(recorded().await, accepted.len(), "each of those once");
    let issued = server.database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await;
    assert_eq!(issued.into_iter().collect::<BTreeSet<_>>(), accepted, "and no other");
    server.token(&billing, GRANT).await.expect(200);
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    assert!(run(&database, &["audit", "verify"]).status.success());
}

async fn a_running_server_signs_after_1024_events(replica: Replica, database: Database) {
    let signed = || database.texts("SELECT CAST(seq AS TEXT) FROM audit_checkpoints");
    // The first event is the start.
    join_all((2..1_024).map(|_| replica.record(START))).await;
    assert_eq!(signed().await, [""; 0]);
    replica.record(START).await;
    // It signs before it takes the next.
    replica.record(START).await;
    assert_eq!(signed().await, ["1024"]);
    let chain = &jeton(&database, &["audit", "verify"])["chains"][0];
    assert_eq!(
        (&chain["last"], &chain["unsigned"], &chain["closed"]),
        (&json!(1025), &json!(1), &json!(false))
    );
    replica.stop().await;
}
