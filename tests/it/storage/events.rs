//! The audit's events, and the room for them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{both_stores, fresh, uuid};
use crate::harness::{Database, Engine, START};
use jeton::domain::audit::{AskedFor, AuditEvent, Event, Origin, Recorded};
use jeton::domain::chain::Chain;
use jeton::domain::ids::ClientId;
use jeton::domain::once::Purpose;
use jeton::storage::{LedgerConnection, Store, UsedId};

both_stores!(
    events_are_appended_together_and_whole,
    of_identifiers_that_are_used_together_each_counts_once,
    after_a_restore_an_identifier_from_before_it_counts_as_used,
);

/// As while PostgreSQL analyses the table of events, and somebody waits for that to make room for another day. In
/// `SQLite` there is no room to make.
#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_there_waits_for_nobody_on_postgres() {
    let (store, database) = fresh(Engine::Postgres).await;
    store.make_room(START).await.unwrap();
    let mut analysing = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    for sql in [
        "BEGIN",
        "SELECT pg_advisory_xact_lock(hashtextextended('jeton audit partitions', 0))",
        "LOCK TABLE audit_events IN SHARE UPDATE EXCLUSIVE MODE",
    ] {
        sqlx::query(sql).execute(&mut analysing).await.unwrap();
    }
    let soon = Duration::from_secs(4);
    tokio::time::timeout(soon, store.make_room(START)).await.expect("it waits").unwrap();
    let another = store.make_room(START.plus(Duration::from_hours(24)));
    let given_up = tokio::time::timeout(soon, another).await.expect("it waits for ever");
    assert!(given_up.is_err(), "nobody can make it now");
    analysing.close().await.unwrap();
    store.make_room(START.plus(Duration::from_hours(24))).await.unwrap();
}

/// More than one statement takes on SQLite, with every column absent and present.
async fn events_are_appended_together_and_whole(store: Store, database: Database) {
    const MANY: usize = 3_001;
    let event = |n: usize| AuditEvent {
        at: START.plus(Duration::from_micros(n as u64)),
        origin: Origin { request_id: n.is_multiple_of(2).then(|| format!("r{n}")), ..Origin::default() },
        event: Event::TokenRefused {
            client_id: n.is_multiple_of(3).then(|| ClientId::new(format!("c{n}")).unwrap()),
            authenticated: false,
            auth_method: None,
            credential_id: None,
            grant_type: None,
            asked: AskedFor::default(),
            error: "invalid_request",
            reason: format!("\"größer\" {n}"),
            repeated: None,
        },
    };
    let mut chain = Chain::new(uuid(), START);
    let events: Vec<Recorded> = (0..MANY)
        .map(|n| {
            let event = Arc::new(event(n).write().unwrap());
            Recorded { link: chain.append(event.at, &event.text), event }
        })
        .collect();
    store.make_room(START).await.unwrap();
    let (few, many) = events.split_at(64);
    let mut held = LedgerConnection::new(store.clone()).hold().await.unwrap();
    held.append(few, &[]).await.unwrap();
    held.append(many, &[]).await.unwrap();
    let rows = database
        .texts("SELECT COALESCE(client_id, '-') || ' ' || event FROM audit_events ORDER BY seq")
        .await;
    assert_eq!(rows.len(), MANY);
    for (n, row) in rows.iter().enumerate() {
        let client = if n % 3 == 0 { format!("c{n}") } else { "-".to_owned() };
        let request = if n % 2 == 0 { format!("r{n}") } else { "-".to_owned() };
        let (found, event) = row.split_once(' ').unwrap();
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(found, client);
        assert_eq!(event["origin"]["request_id"].as_str().unwrap_or("-"), request);
        assert_eq!(event["reason"], format!("\"größer\" {n}"));
    }
}

/// In one statement and in several.
async fn of_identifiers_that_are_used_together_each_counts_once(store: Store, _: Database) {
    let id = |n| {
        let id = format!("{n:04}");
        UsedId { purpose: Purpose::DpopProof, id, issued_at: None, expires_at: START, possible_since: START }
    };
    let all: Vec<UsedId> = (0..150).map(id).collect();
    let twice: Vec<&UsedId> = all[..100].iter().flat_map(|one| [one, one]).collect();
    let overlapping: Vec<&UsedId> = all[50..].iter().collect();
    let mut held = LedgerConnection::new(store).hold().await.unwrap();
    for committed in [false, true] {
        let mut tx = held.begin().await.unwrap();
        assert_eq!(tx.use_ids(&[]).await.unwrap().len(), 0);
        let first = tx.use_ids(&twice).await.unwrap();
        assert_eq!(first.len(), 100, "after a transaction that was not committed, too");
        assert!(first.contains(&(Purpose::DpopProof, "0099")));
        let first = tx.use_ids(&overlapping).await.unwrap();
        assert_eq!(first.len(), 50);
        assert!(
            first.contains(&(Purpose::DpopProof, "0100")) && !first.contains(&(Purpose::DpopProof, "0099"))
        );
        if committed {
            tx.commit().await.unwrap();
        }
    }
    let mut tx = held.begin().await.unwrap();
    assert_eq!(tx.use_ids(&overlapping).await.unwrap().len(), 0);
}

/// What was used between a backup and its restore is forgotten, so whatever can have been used then counts as used.
async fn after_a_restore_an_identifier_from_before_it_counts_as_used(store: Store, _: Database) {
    let id = |name: &str, possible_since| UsedId {
        purpose: Purpose::DpopProof,
        id: name.to_owned(),
        issued_at: None,
        expires_at: START.plus(Duration::from_hours(1)),
        possible_since,
    };
    // A connection that was there before the restore says the same.
    let mut held = LedgerConnection::new(store.clone()).hold().await.unwrap();
    let mut tx = held.begin().await.unwrap();
    let early = id("early", START.minus(Duration::from_secs(1)));
    assert_eq!(tx.use_ids(&[&early]).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.settle_restore(START).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.restored().await.unwrap(), START);
    let (before, at, after) = (
        id("a", START.minus(Duration::from_secs(1))),
        id("b", START),
        id("c", START.plus(Duration::from_micros(1))),
    );
    let mut tx = held.begin().await.unwrap();
    let first = tx.use_ids(&[&before, &at, &after]).await.unwrap();
    assert_eq!(first.into_iter().collect::<Vec<_>>(), [(Purpose::DpopProof, "c")]);
    // What is written again after an outage was let in when it was used.
    let marked = tx.use_up(&[("dpop", "a", START)]).await.unwrap();
    assert_eq!(marked, [("dpop".to_owned(), "a".to_owned())]);
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_ledger_that_has_died_is_replaced_postgres() {
    let (store, database) = fresh(Engine::Postgres).await;
    let mut connection = LedgerConnection::new(store);
    let held = connection.hold().await.unwrap();
    connection.give_back(held);
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()",
        )
        .await;
    // Less than a second after its last use it is not asked whether it lives.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (id, expires_at) = ("a".to_owned(), START);
    let id = UsedId { purpose: Purpose::DpopProof, id, issued_at: None, expires_at, possible_since: START };
    let mut held = connection.hold().await.unwrap();
    let mut tx = held.begin().await.unwrap();
    assert_eq!(tx.use_ids(&[&id]).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

/// A network that has swallowed a connection closes nothing at the server's end.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_transaction_holds_is_free_again_before_tcp_gives_up_postgres() {
    let (store, _database) = fresh(Engine::Postgres).await;
    let id = UsedId {
        purpose: Purpose::DpopProof,
        id: "a".to_owned(),
        issued_at: None,
        expires_at: START.plus(Duration::from_hours(1)),
        possible_since: START,
    };
    let mut lost = LedgerConnection::new(store.clone()).hold().await.unwrap();
    let mut lost = lost.begin().await.unwrap();
    assert_eq!(lost.use_ids(&[&id]).await.unwrap().len(), 1);
    let waiting = async {
        let mut held = LedgerConnection::new(store.clone()).hold().await.unwrap();
        let mut tx = held.begin().await.unwrap();
        tx.use_ids(&[&id]).await.unwrap().len()
    };
    let first = tokio::time::timeout(Duration::from_secs(25), waiting).await.expect("it waits for ever");
    assert_eq!(first, 1, "the other did not commit");
    assert!(lost.commit().await.is_err());
}
