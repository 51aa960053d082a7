//! Identifiers that count once (RFC 7523 §3, RFC 9449 §11.1): of many uses at the same time, on one replica or on
//! several, one is recorded, and it counts until its end.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Database, Replica, START, both_replicas, issue, refusal, token};
use jeton::domain::audit::AuditEvent;
use jeton::domain::once::Purpose;
use jeton::domain::time::Timestamp;
use jeton::runtime::ledger::RecordError;
use jeton::storage::UsedId;

both_replicas!(
    of_fifty_uses_at_once_one_is_recorded,
    of_two_replicas_one_gets_each_identifier,
    pairs_in_opposite_order_on_two_replicas_do_not_wait_for_each_other,
    the_same_text_for_another_purpose_is_another_identifier,
    who_is_refused_hears_what_was_used_before,
    an_identifier_counts_until_its_end_and_is_forgotten_after_it,
    what_a_restore_may_have_forgotten_counts_as_used,
    with_the_database_away_nothing_is_used_up,
    what_is_overtaken_within_its_batch_uses_nothing_up,
);

const ASSERTION: Purpose = Purpose::ClientAssertion;
const PROOF: Purpose = Purpose::DpopProof;

fn id(purpose: Purpose, id: impl Into<String>) -> UsedId {
    let expires_at = START.plus(Duration::from_mins(1));
    UsedId { purpose, id: id.into(), issued_at: None, expires_at, possible_since: START }
}

async fn recorded(database: &Database) -> usize {
    database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await.len()
}

async fn of_fifty_uses_at_once_one_is_recorded(replica: Replica, database: Database) {
    let mut uses = JoinSet::new();
    for _ in 0..50 {
        let ledger = replica.ledger.clone();
        uses.spawn(async move { issue(&ledger, vec![id(ASSERTION, "a")]).await.unwrap() });
    }
    let first = uses.join_all().await.into_iter().filter(|first| *first).count();
    assert_eq!(first, 1, "49 were told that it was used before");
    assert_eq!(recorded(&database).await, 1);
    assert!(!replica.issue(vec![id(ASSERTION, "a")]).await, "and later, too");
    assert!(replica.issue(vec![id(ASSERTION, "b")]).await);
    assert_eq!(recorded(&database).await, 2);
}

/// A request that waited for long is refused when it would be recorded too late, and may be tried again.
async fn what_is_overtaken_within_its_batch_uses_nothing_up(replica: Replica, database: Database) {
    replica.record(START).await;
    let held = database.hold_events().await;
    let late = START.plus(Duration::from_secs(10));
    let (blocker, overtaker) = (refusal(START), refusal(late));
    let (_, (younger, older), ()) = tokio::join!(
        replica.ledger.record(&blocker),
        async {
            sleep(Duration::from_millis(300)).await;
            // In this order, behind what is being written.
            tokio::join!(replica.ledger.record(&overtaker), issue(&replica.ledger, vec![id(ASSERTION, "a")]))
        },
        async {
            sleep(Duration::from_millis(600)).await;
            held.release().await;
        }
    );
    younger.unwrap();
    let fault = older.unwrap_err().to_string();
    assert!(fault.contains("overtaken"), "{fault}");
    let again = AuditEvent { at: late, ..token() };
    replica.clock.set(late);
    let done = replica.ledger.record_issuance(&again, vec![id(ASSERTION, "a")]).await;
    assert!(done.is_ok(), "{done:?}");
    replica.stop().await;
}

/// Uses all of these on both replicas at once, on the second in the opposite order. Answers how often each was
/// the first use.
async fn race(one: &Replica, other: &Replica, all: &[Vec<UsedId>]) -> HashMap<usize, usize> {
    let mut uses = JoinSet::new();
    for place in 0..all.len() {
        let opposite = all.len() - 1 - place;
        let mut backwards = all[opposite].clone();
        backwards.reverse();
        for (replica, place, used) in [(one, place, all[place].clone()), (other, opposite, backwards)] {
            let ledger = replica.ledger.clone();
            uses.spawn(async move { (place, issue(&ledger, used).await.unwrap()) });
        }
    }
    let raced = tokio::time::timeout(Duration::from_secs(30), uses.join_all()).await;
    let mut first: HashMap<usize, usize> = HashMap::new();
    for (place, won) in raced.expect("the replicas wait for each other") {
        *first.entry(place).or_default() += usize::from(won);
    }
    first
}

async fn of_two_replicas_one_gets_each_identifier(one: Replica, database: Database) {
    const IDS: usize = 300;
    let other = Replica::start(&database).await;
    let all: Vec<_> = (0..IDS).map(|n| vec![id(ASSERTION, format!("id-{n}"))]).collect();
    let first = race(&one, &other, &all).await;
    assert_eq!(first.len(), IDS);
    assert!(first.values().all(|uses| *uses == 1), "each identifier once: {first:?}");
    assert_eq!(recorded(&database).await, IDS);
    one.stop().await;
    other.stop().await;
}

/// Two identifiers in one request, as with an assertion and a DPoP proof.
async fn pairs_in_opposite_order_on_two_replicas_do_not_wait_for_each_other(
    one: Replica,
    database: Database,
) {
    const PAIRS: usize = 200;
    let other = Replica::start(&database).await;
    let all: Vec<_> = (0..PAIRS)
        .map(|n| vec![id(PROOF, format!("{:04}", PAIRS - n)), id(ASSERTION, format!("{n:04}"))])
        .collect();
    let first = race(&one, &other, &all).await;
    assert!(first.values().all(|uses| *uses == 1), "each pair once: {first:?}");
    assert_eq!(recorded(&database).await, PAIRS);
    one.stop().await;
    other.stop().await;
}

async fn the_same_text_for_another_purpose_is_another_identifier(replica: Replica, database: Database) {
    assert!(replica.issue(vec![id(ASSERTION, "a")]).await);
    assert!(replica.issue(vec![id(PROOF, "a")]).await);
    assert!(!replica.issue(vec![id(PROOF, "a")]).await);
    assert!(
        !replica.issue(vec![id(Purpose::OutsideToken, "n"), id(ASSERTION, "a")]).await,
        "one of two was used before"
    );
    assert!(replica.issue(vec![id(ASSERTION, "A")]).await, "identifiers compare by their bytes");
    assert_eq!(recorded(&database).await, 3);
}

/// A request has an assertion and a proof, and its sender is to know which of them to make anew.
async fn who_is_refused_hears_what_was_used_before(replica: Replica, _database: Database) {
    let refused = async |used: Vec<UsedId>| match replica.ledger.record_issuance(&token(), used).await {
        Err(RecordError::UsedBefore { purpose }) => Some(purpose),
        other => other.map(|()| None).unwrap(),
    };
    let (a, b) = ((ASSERTION, PROOF), (PROOF, ASSERTION));
    for ((first, second), n) in [(a, "1"), (b, "2")] {
        assert_eq!(refused(vec![id(first, n), id(second, n)]).await, None);
        assert_eq!(refused(vec![id(first, n), id(second, format!("{n} again"))]).await, Some(first));
        assert_eq!(refused(vec![id(first, format!("{n} again")), id(second, n)]).await, Some(second));
    }
    assert_eq!(refused(vec![id(PROOF, "1"), id(ASSERTION, "1")]).await, Some(ASSERTION), "the first by name");
    let spent = replica.ledger.spend(id(PROOF, "1")).await;
    assert!(matches!(spent, Err(RecordError::UsedBefore { purpose: PROOF })), "{spent:?}");
}

async fn an_identifier_counts_until_its_end_and_is_forgotten_after_it(replica: Replica, database: Database) {
    let end = START.plus(Duration::from_mins(1));
    let stored = || database.texts("SELECT id FROM used_ids ORDER BY id");
    let later = UsedId { expires_at: end.plus(Duration::from_micros(1)), ..id(ASSERTION, "later") };
    assert!(replica.issue(vec![id(ASSERTION, "a")]).await);
    assert!(replica.issue(vec![later.clone()]).await);
    let year = Duration::from_hours(24 * 365);
    let sweep = async |at: Timestamp| replica.upkeep(year).once(at).await.unwrap();

    replica.clock.advance(Duration::from_mins(1));
    sweep(replica.ambient.now()).await;
    assert_eq!(stored().await, ["a", "later"], "until its end it counts");
    assert!(!replica.issue(vec![id(ASSERTION, "a")]).await);

    replica.clock.advance(Duration::from_micros(1));
    sweep(replica.ambient.now()).await;
    assert_eq!(stored().await, ["later"], "after it, it is forgotten, and only it");
    assert!(replica.issue(vec![id(ASSERTION, "a")]).await);
    assert!(!replica.issue(vec![later]).await);
}

async fn what_a_restore_may_have_forgotten_counts_as_used(replica: Replica, database: Database) {
    let second = |n: u64| START.plus(Duration::from_secs(n));
    let of = |name: &str, possible_since| UsedId { possible_since, ..id(ASSERTION, name) };
    assert!(replica.issue(vec![of("before", second(9))]).await, "with it the chain begins");
    let store = jeton::app::connect(&database.config()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.settle_restore(second(10)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!replica.issue(vec![of("of that time", second(10))]).await);
    assert!(!replica.issue(vec![of("after", second(11)), of("earlier", second(1))]).await, "one of two");
    assert!(replica.issue(vec![of("another", second(11))]).await);
    assert_eq!(recorded(&database).await, 2);
}

/// DESIGN §5: a fault is not a verdict. The caller tries again, and may.
async fn with_the_database_away_nothing_is_used_up(replica: Replica, database: Database) {
    assert!(replica.issue(vec![id(ASSERTION, "before")]).await);
    for table in ["used_ids", "audit_events"] {
        database.execute(&format!("ALTER TABLE {table} RENAME TO away")).await;
        let outcome = issue(&replica.ledger, vec![id(ASSERTION, table)]).await;
        assert!(matches!(outcome, Err(RecordError::Fault(_))), "{table}: {outcome:?}");
        database.execute(&format!("ALTER TABLE away RENAME TO {table}")).await;
        assert!(replica.issue(vec![id(ASSERTION, table)]).await, "{table}: the failed one has used it up");
    }
    assert_eq!(recorded(&database).await, 3, "and nothing of the failed ones is recorded");
}
