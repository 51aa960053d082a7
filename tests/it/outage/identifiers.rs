//! Identifiers that count once, in an outage.

use std::time::Duration;

use futures_util::future::join_all;
use jeton::config::{Database as DatabaseSetting, OutageMode};
use jeton::domain::audit::{AuditEvent, Event};
use jeton::domain::once::Purpose;
use jeton::domain::time::Timestamp;
use jeton::runtime::ledger::{RecordError, Recording};
use jeton::storage::UsedId;

use secrecy::SecretString;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::{Database, Engine, Proxy, Replica, START, Way, token};

fn id(id: &str, issued_at: Timestamp) -> UsedId {
    let expires_at = START.plus(Duration::from_mins(5));
    UsedId {
        purpose: Purpose::ClientAssertion,
        id: id.to_owned(),
        issued_at: Some(issued_at),
        expires_at,
        possible_since: START,
    }
}

/// What becomes of a token for which this was presented.
async fn present(replica: &Replica, id: UsedId) -> &'static str {
    let event = AuditEvent { at: replica.ambient.now(), ..token() };
    match replica.ledger.record_issuance(&event, vec![id]).await {
        Ok(()) => "issued",
        Err(RecordError::UsedBefore { .. }) => "used before",
        Err(RecordError::Fault(_)) => "unavailable",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_in_the_outage_counts_once_and_of_what_is_older_nothing_is_said_sqlite() {
    what_was_made_in_the_outage_counts_once_and_of_what_is_older_nothing_is_said(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_in_the_outage_counts_once_and_of_what_is_older_nothing_is_said_postgres() {
    what_was_made_in_the_outage_counts_once_and_of_what_is_older_nothing_is_said(Engine::Postgres).await;
}

async fn what_was_made_in_the_outage_counts_once_and_of_what_is_older_nothing_is_said(engine: Engine) {
    let database = Database::create_migrated(engine).await;
    let mut config = database.config();
    config.outage.mode = OutageMode::Spool;
    let replica = Replica::start_with(&config, START).await;
    let second = Duration::from_secs(1);
    let later = |seconds: u32| START.plus(second * seconds);
    assert_eq!(present(&replica, id("before", START)).await, "issued");
    // By the clock of a caller that is ahead.
    assert_eq!(present(&replica, id("ahead", later(20))).await, "issued");

    replica.clock.set(later(5));
    database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    // SQLite says so before it refuses the event; to PostgreSQL both are one statement, with which the outage begins.
    let told = if engine == Engine::Sqlite { "used before" } else { "unavailable" };
    assert_eq!(present(&replica, id("before", START)).await, told);
    assert_eq!(present(&replica, id("old", later(4))).await, "unavailable");
    assert!(matches!(replica.ledger.recording(), Recording::Spooling(_)));
    replica.clock.set(later(8));
    assert_eq!(present(&replica, id("ahead", later(20))).await, "used before", "as this process remembers");
    assert_eq!(present(&replica, id("before", START)).await, "unavailable");
    assert_eq!(present(&replica, id("of the future", later(40))).await, "unavailable");
    assert_eq!(present(&replica, UsedId { issued_at: None, ..id("undated", START) }).await, "unavailable");
    assert_eq!(present(&replica, id("new", later(7))).await, "issued");
    assert_eq!(present(&replica, id("new", later(7))).await, "used before");
    assert_eq!(present(&replica, id("both", later(7))).await, "issued");
    assert!(replica.ledger.spend(id("newer", later(8))).await.is_err(), "there is no event to keep it with");
    // Another replica that cannot ask either has taken it too.
    database
        .execute("INSERT INTO used_ids (purpose, id, expires_at) VALUES ('client_assertion', 'both', 9223372036854775807)")
        .await;

    database.take_rows("audit_events").await;
    let over = async {
        while replica.ledger.recording() != Recording::Works {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("the outage does not end by itself");
    assert_eq!(present(&replica, id("new", later(7))).await, "used before", "now the database knows");
    assert_eq!(present(&replica, id("old", later(4))).await, "issued", "nothing was used up");
    let twice = database.texts("SELECT event FROM audit_events WHERE kind = 'identifier_used_twice'").await;
    assert!(
        twice.len() == 1 && twice[0].contains(r#""identifier":"both","client_id":"billing""#),
        "{twice:?}"
    );
    replica.stop().await;
    super::expect_recorded_once(&database, &[]).await;
}

/// A caller whose clock is ahead has used an assertion before the database was restored, which has forgotten it; and
/// shows it again in an outage that begins right after, as if it were of that time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_possible_before_a_restore_counts_as_used_in_an_outage_too() {
    let database = Database::create_migrated(Engine::Sqlite).await;
    let mut config = database.config();
    config.outage.mode = OutageMode::Spool;
    let later = |seconds: u64| START.plus(Duration::from_secs(seconds));
    let store = jeton::app::connect(&config).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.settle_restore(later(10)).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;

    let replica = Replica::start_with(&config, later(11)).await;
    database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    let old = UsedId { possible_since: later(11), ..id("old", START) };
    assert_eq!(present(&replica, old).await, "unavailable", "the outage begins");
    replica.clock.set(later(13));
    let shown = |name, possible_since| UsedId { possible_since, ..id(name, later(12)) };
    assert_eq!(present(&replica, shown("before", later(10))).await, "used before");
    assert_eq!(present(&replica, shown("after", later(11))).await, "issued");
    replica.stop().await;
}

/// The database has written a batch whose answer was lost. Of one of its events nobody can say whether it may be answered;
/// the others keep their places all the same, or the chain would have two events in one.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_written_stays_as_it_is_whatever_of_it_is_answered_postgres() {
    let database = Database::create_migrated(Engine::Postgres).await;
    let way = Proxy::of(database.url.as_ref().unwrap()).await;
    let mut config = database.config();
    config.outage.mode = OutageMode::Spool;
    if let DatabaseSetting::Postgres { url, .. } = &mut config.database {
        *url = SecretString::from(way.url(database.url.as_ref().unwrap()));
    }
    let replica = Replica::start_with(&config, START).await;
    assert_eq!(present(&replica, id("first", START)).await, "issued", "with which the chain begins");

    let millis = |n: u64| START.plus(Duration::from_millis(n));
    let events: Vec<_> = (0..=4).map(|n| AuditEvent { at: millis(n), ..token() }).collect();
    replica.clock.set(millis(4));
    let jti = |event: &AuditEvent| match &event.event {
        Event::TokenIssued { jti, .. } => jti.clone(),
        other => panic!("{other:?}"),
    };
    // The first is held up until the others are one batch behind it, and that until nothing of its answer arrives.
    let mut holder = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    holder.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(2)").await.unwrap();
    let first = jti(&events[0]);
    database
        .execute(&format!(
            "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock_shared(CASE NEW.jti WHEN '{first}' THEN 1 ELSE 2 END);
                 RETURN NEW;
             END $$;
             CREATE TRIGGER hold_up BEFORE INSERT ON audit_events FOR EACH ROW
                 WHEN (NEW.kind = 'token_issued') EXECUTE FUNCTION hold_up()"
        ))
        .await;
    let held_up = async |by: u32| {
        let waits = format!(
            "SELECT 'held' FROM pg_locks WHERE locktype = 'advisory' AND objid = {by} AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        while database.texts(&waits).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let old = |n: usize| if n == 1 { vec![id("old", START)] } else { Vec::new() };
    let record = |(n, event)| replica.ledger.record_issuance(event, old(n));
    let all: Vec<_> = events.iter().enumerate().collect();
    let lose = async {
        held_up(1).await;
        let rest = join_all(all[1..].iter().copied().map(record));
        let lost = async {
            holder.execute("SELECT pg_advisory_unlock(1)").await.unwrap();
            held_up(2).await;
            way.is(Way::Silent);
            holder.execute("SELECT pg_advisory_unlock(2)").await.unwrap();
        };
        tokio::join!(rest, lost).0
    };
    let (plug, said) = tokio::join!(record(all[0]), lose);
    plug.unwrap();
    assert!(matches!(said[0], Err(RecordError::Fault(_))), "{:?}", said[0]);
    assert!(said[1..].iter().all(Result::is_ok), "{said:?}");
    database.execute("DROP TRIGGER hold_up ON audit_events").await;
    way.is(Way::Open);
    let over = async {
        while replica.ledger.recording() != Recording::Works {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("the outage does not end by itself");
    let answered: Vec<_> = [&events[..1], &events[2..]].concat().iter().map(jti).collect();
    replica.stop().await;
    super::expect_recorded_once(&database, &answered).await;
    let twice = database.texts("SELECT event FROM audit_events WHERE kind = 'identifier_used_twice'").await;
    assert_eq!(twice, [""; 0], "nothing was");
}
