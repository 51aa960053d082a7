//! A server checks the whole audit by itself, once in a while, and what it finds is an event.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Database, Replica, START, both_replicas};
use jeton::admin::audit_watch::AuditWatch;
use jeton::domain::audit::{Recorded, WrittenEvent};
use jeton::domain::chain::Chain;
use jeton::storage::LedgerConnection;

both_replicas!(
    all_of_it_is_checked_in_its_time_and_what_is_wrong_is_named,
    one_replica_checks_at_a_time,
    what_no_server_has_signed_counts_for_nothing,
    a_check_from_a_time_to_come_keeps_none_away,
);

const CHECKED: &str = "SELECT event FROM audit_events WHERE kind = 'audit_checked' ORDER BY at, seq";

async fn check(replica: &Replica, minutes: u64) {
    replica.clock.set(START.plus(Duration::from_mins(minutes)));
    watch(replica, 1).once().await.unwrap();
}

fn watch(replica: &Replica, holder: u128) -> AuditWatch {
    let holder = Uuid::from_u128(holder);
    AuditWatch::new(replica.store.clone(), replica.ledger.clone(), replica.clock_check(), holder)
}

async fn checked(database: &Database) -> Vec<Value> {
    let texts = database.texts(CHECKED).await;
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

async fn all_of_it_is_checked_in_its_time_and_what_is_wrong_is_named(replica: Replica, database: Database) {
    // More than are read at a time.
    let recording = (0..1_200_u64).map(|number| replica.record(START.plus(Duration::from_millis(number))));
    futures_util::future::join_all(recording).await;
    check(&replica, 1).await;
    let found = checked(&database).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["events"], &found[0]["chains"]), (&1_201.into(), &1.into()), "and the start");
    assert_eq!((&found[0]["findings"], &found[0]["first"]), (&0.into(), &Value::Null));
    assert_eq!(found[0]["until"], "2026-11-22T08:00:50Z", "what is younger may be overtaken");
    check(&replica, 60).await;
    assert_eq!(checked(&database).await.len(), 1, "it is not time yet");

    database.execute("UPDATE audit_events SET person = 'eve' WHERE seq = 700").await;
    database
        .execute("UPDATE audit_events SET event = REPLACE(event, 'at 2026', 'at 2027') WHERE seq = 900")
        .await;
    check(&replica, 62).await;
    let found = checked(&database).await;
    assert_eq!((found.len(), &found[1]["findings"]), (2, &2.into()), "{found:?}");
    let first = found[1]["first"].to_string();
    assert!(first.contains("event 700: altered: its column person"), "{first}");
    assert!(first.contains("event 900: altered"), "{first}");
}

async fn one_replica_checks_at_a_time(replica: Replica, database: Database) {
    replica.record(START).await;
    let now = START.plus(Duration::from_mins(1));
    replica.clock.set(now);
    let mut tx = replica.store.begin().await.unwrap();
    assert!(
        tx.take_turn("audit_check", Uuid::from_u128(2), now, now.plus(Duration::from_mins(5))).await.unwrap()
    );
    tx.commit().await.unwrap();
    check(&replica, 2).await;
    assert!(checked(&database).await.is_empty(), "another replica does it");
    check(&replica, 7).await;
    assert_eq!(checked(&database).await.len(), 1, "the other is gone");
}

/// Somebody who writes into the tables can chain an event as well as a server, but not sign it.
async fn what_no_server_has_signed_counts_for_nothing(replica: Replica, database: Database) {
    check(&replica, 1).await;
    assert_eq!(checked(&database).await.len(), 1);
    let at = START.plus(Duration::from_mins(2));
    let text = checked(&database).await[0].to_string().replace("\"seconds\":0", "\"seconds\":3000000000");
    assert!(text.contains("3000000000"), "{text}");
    let event = Arc::new(WrittenEvent::read(at, text).unwrap());
    let link = Chain::new(Uuid::from_u128(7), at).append(at, &event.text);
    let mut held = LedgerConnection::new(replica.store.clone()).hold().await.unwrap();
    held.append(&[Recorded { link, event }], &[]).await.unwrap();
    drop(held);
    check(&replica, 30).await;
    assert_eq!(checked(&database).await.len(), 3, "a check was due, as if it were not there");
    check(&replica, 60).await;
    assert_eq!(checked(&database).await.len(), 3, "and the one before counts");
    database.execute("UPDATE audit_events SET event = event || ' ' WHERE kind = 'audit_checked'").await;
    check(&replica, 61).await;
    assert_eq!(checked(&database).await.len(), 4, "one that was altered is none");
    database.execute("DELETE FROM audit_checkpoints").await;
    check(&replica, 62).await;
    assert_eq!(checked(&database).await.len(), 5, "nor is one without its signature");
}

async fn a_check_from_a_time_to_come_keeps_none_away(replica: Replica, database: Database) {
    check(&replica, 60 * 24 * 365).await;
    assert_eq!(checked(&database).await.len(), 1);
    // The clock was wrong, and is right again.
    check(&replica, 1).await;
    assert_eq!(checked(&database).await.len(), 2);
    check(&replica, 2).await;
    assert_eq!(checked(&database).await.len(), 2, "now it is in its time");
}
