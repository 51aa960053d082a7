//! Each event counts once: late or early, by one replica or by two, and again when all of it is counted anew.

use std::time::Duration;

use jeton::domain::audit::{AuditEvent, Event, ExchangeRecord, Repeated};
use jeton::domain::exchange_rule::ExchangeMode;
use jeton::domain::ids::{ClientId, ExchangeRuleName};
use jeton::domain::time::{DAY, HOUR, Timestamp};
use jeton::runtime::statistics::Statistics;

use crate::harness::{Database, Replica, START, both_replicas, refusal, token};

both_replicas!(
    every_event_counts_once,
    an_event_that_shows_late_still_counts,
    two_replicas_count_nothing_twice,
    all_of_it_can_be_counted_anew,
    numbers_are_forgotten_when_their_time_is_over,
);

const TOTALS: &str = "SELECT CAST(hour / 3600000000 AS TEXT) || ' ' || outcome || ' ' || CAST(tokens AS TEXT)
    FROM token_totals ORDER BY hour, outcome";

/// The same for the days of each client.
const DAYS: &str = "SELECT client_id || ' ' || grant_type || ' ' || outcome || ' ' || CAST(tokens AS TEXT)
    FROM token_days ORDER BY day, client_id, outcome";

const COUNTED_WHOLE: &str = "SELECT CAST(COUNT(*) AS TEXT) FROM audit_chains WHERE counted_whole";

async fn count(replica: &Replica) {
    Statistics::new(replica.store.clone(), replica.clock_check()).once().await.unwrap();
}

async fn issued(replica: &Replica, at: Timestamp) {
    replica.clock.set(at);
    let event = AuditEvent { at, ..token() };
    replica.ledger.record_issuance(&event, Vec::new()).await.unwrap();
}

fn hour(at: Timestamp) -> i64 {
    at.as_seconds() / 3_600
}

async fn every_event_counts_once(replica: Replica, database: Database) {
    for seconds in [0, 10, 20] {
        issued(&replica, START.plus(Duration::from_secs(seconds))).await;
    }
    let mut refused = refusal(START.plus(HOUR));
    if let Event::TokenRefused { client_id, repeated, .. } = &mut refused.event {
        // Nobody has registered it.
        *client_id = Some(ClientId::new("made-up").unwrap());
        *repeated = Some(Repeated { count: 41, request_ids: Vec::new() });
    }
    replica.clock.set(refused.at);
    replica.ledger.record(&refused).await.unwrap();
    let mut exchanged = AuditEvent { at: START.plus(HOUR), ..token() };
    if let Event::TokenIssued { subject, exchange, .. } = &mut exchanged.event {
        "front".clone_into(subject);
        *exchange = Some(Box::new(ExchangeRecord {
            rule: ExchangeRuleName::new("r").unwrap(),
            mode: ExchangeMode::Delegation,
            subject_jti: Some("j".to_owned()),
            subject_token: None,
            actor_jti: None,
            actor_token: None,
        }));
    }
    replica.ledger.record_issuance(&exchanged, Vec::new()).await.unwrap();
    for _ in 0..3 {
        count(&replica).await;
        let (first, second) = (hour(START), hour(START) + 1);
        let totals = [
            format!("{first} issued 3"),
            format!("{second} invalid_request 41"),
            format!("{second} issued 1"),
        ];
        assert_eq!(database.texts(TOTALS).await, totals);
        let days = [" other invalid_request 41", "billing client_credentials issued 4"];
        assert_eq!(database.texts(DAYS).await, days, "who is not registered has no row");
        let edges = "SELECT subject || ' ' || actor || ' ' || audience || ' ' || CAST(exchanges AS TEXT) FROM delegations";
        assert_eq!(database.texts(edges).await, ["front billing https://orders.example 1"]);
        let until = "SELECT CAST(value AS TEXT) FROM counters WHERE name = 'statistics'";
        assert_eq!(database.texts(until).await, [replica.ambient.now().as_micros().to_string()]);
    }
    assert_eq!(database.texts(COUNTED_WHOLE).await, ["0"], "the chain goes on");
    let another = Replica::start_at(&database, START.plus(HOUR * 2)).await;
    replica.stop().await;
    count(&another).await;
    assert_eq!(database.texts(COUNTED_WHOLE).await, ["1"], "nothing can follow");
}

/// Another replica's clock is behind, its batch was slow, or its machine was away: however late it shows.
async fn an_event_that_shows_late_still_counts(replica: Replica, database: Database) {
    let late = Replica::start_at(&database, START).await;
    issued(&late, START).await;
    issued(&replica, START.plus(HOUR)).await;
    count(&replica).await;
    issued(&late, START.plus(Duration::from_secs(1))).await;
    count(&replica).await;
    let totals = [format!("{} issued 2", hour(START)), format!("{} issued 1", hour(START) + 1)];
    assert_eq!(database.texts(TOTALS).await, totals);
    // Killed: its chain stays open, and is looked at until it has been silent for long.
    late.kill().await;
    count(&replica).await;
    assert_eq!(database.texts(COUNTED_WHOLE).await, ["0"]);
}

async fn two_replicas_count_nothing_twice(replica: Replica, database: Database) {
    const EACH: u32 = 1_500;
    let other = Replica::start(&database).await;
    let record = async |replica: &Replica| {
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..EACH {
            let ledger = replica.ledger.clone();
            waiting.spawn(async move { ledger.record_issuance(&token(), Vec::new()).await.unwrap() });
        }
        waiting.join_all().await;
    };
    tokio::join!(record(&replica), record(&other));
    let counting = |replica: &Replica| {
        let statistics = Statistics::new(replica.store.clone(), replica.clock_check());
        tokio::spawn(async move { statistics.once().await.unwrap() })
    };
    let (first, second) = tokio::join!(counting(&replica), counting(&other));
    first.unwrap();
    second.unwrap();
    // Whoever was overtaken has left the rest to the other.
    count(&replica).await;
    assert_eq!(database.texts(TOTALS).await, [format!("{} issued {}", hour(START), EACH * 2)]);
}

async fn all_of_it_can_be_counted_anew(replica: Replica, database: Database) {
    issued(&replica, START).await;
    replica.record(START.plus(HOUR)).await;
    count(&replica).await;
    let before = (database.texts(TOTALS).await, database.texts(DAYS).await);
    assert_eq!(before.0.len(), 2);
    let mut tx = replica.store.begin().await.unwrap();
    tx.uncount().await.unwrap();
    tx.commit().await.unwrap();
    assert!(database.texts(TOTALS).await.is_empty());
    count(&replica).await;
    assert_eq!((database.texts(TOTALS).await, database.texts(DAYS).await), before);
}

async fn numbers_are_forgotten_when_their_time_is_over(replica: Replica, database: Database) {
    issued(&replica, START).await;
    count(&replica).await;
    let rows = async |table: &str| {
        database.texts(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}")).await.remove(0)
    };
    let left = async || [rows("audience_hours").await, rows("token_hours").await, rows("token_days").await];
    for (days, expected) in [
        (0, ["1", "1", "1"]),
        (1, ["0", "1", "1"]),
        (14, ["0", "1", "1"]),
        (15, ["0", "0", "1"]),
        (400, ["0", "0", "1"]),
        (402, ["0", "0", "0"]),
    ] {
        replica.clock.set(START.plus(DAY * days));
        count(&replica).await;
        assert_eq!(left().await, expected, "after {days} days");
    }
    assert_eq!(rows("token_totals").await, "0");
}
