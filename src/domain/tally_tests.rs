use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CREDENTIALS: &str = "client_credentials";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn token(client: &str) -> Value {
    json!({
        "kind": "token_issued", "client_id": client, "secret_id": "s", "grant_type": CREDENTIALS, "subject": client,
        "audience": ["https://a"], "outcome": "success",
    })
}

fn tally(events: &[(i64, Value)]) -> Tally {
    let mut tally = Tally::default();
    for (seconds, event) in events {
        tally.add(at(*seconds), &event.to_string());
    }
    tally
}

/// Hour, client, grant, outcome and how many.
fn counts(tally: &Tally) -> Vec<String> {
    let row = |(requests, count): (&Requests, &u64)| {
        let Requests { hour, client_id, grant_type, outcome } = requests;
        format!("{} {client_id} {grant_type} {outcome} {count}", hour.as_seconds())
    };
    tally.requests.iter().map(row).collect()
}

#[test]
fn tokens_are_counted_by_hour_and_the_last_is_remembered() {
    let tally = tally(&[(3_599, token("b")), (10, token("b")), (3_600, token("b")), (20, token("c"))]);
    let expected = [
        "0 b client_credentials issued 2",
        "0 c client_credentials issued 1",
        "3600 b client_credentials issued 1",
    ];
    assert_eq!(counts(&tally), expected);
    assert_eq!(tally.tokens_at, BTreeMap::from([("b".to_owned(), at(3_600)), ("c".to_owned(), at(20))]));
    assert_eq!(tally.secrets_at[&("b".to_owned(), "s".to_owned())], at(3_600));
    assert!(tally.passages.is_empty(), "nobody has exchanged anything");
    assert!(tally.claimed.is_empty());
}

#[test]
fn a_refusal_counts_for_all_that_it_stands_for() {
    let refusal = json!({
        "kind": "token_refused", "client_id": "b", "authenticated": true, "secret_id": "s", "grant_type": CREDENTIALS,
        "error": "invalid_scope", "repeated": { "count": 41, "request_ids": [] },
    });
    let tally =
        tally(&[(5, refusal.clone()), (6, json!({ "kind": "token_refused", "error": "invalid_request" }))]);
    assert_eq!(counts(&tally), ["0  other invalid_request 1", "0 b client_credentials invalid_scope 41"]);
    assert_eq!(tally.secrets_at[&("b".to_owned(), "s".to_owned())], at(5), "it was proven");
    assert!(tally.tokens_at.is_empty(), "there was no token");
}

#[test]
fn what_nobody_has_proven_is_nobodys_unless_it_is_registered() {
    let wrong = |client: &str| json!({ "kind": "token_refused", "client_id": client, "authenticated": false, "error": "invalid_client" });
    let mut tally = tally(&[(1, wrong("real")), (2, wrong("made-up")), (3, wrong("made-up-too"))]);
    assert_eq!(tally.claimed.len(), 3);
    tally.disown(&BTreeSet::from(["made-up".to_owned(), "made-up-too".to_owned()]));
    assert_eq!(counts(&tally), ["0  other invalid_client 2", "0 real other invalid_client 1"]);
    assert!(tally.secrets_at.is_empty());
}

#[test]
fn an_exchange_is_an_edge_for_each_audience() {
    let mut exchange = token("orders");
    exchange["subject"] = json!("front");
    exchange["audience"] = json!(["https://a", "https://b"]);
    exchange["exchange"] = json!({ "rule": "r", "mode": "delegation", "subject_jti": "j" });
    let tally = tally(&[(90_000, exchange.clone()), (90_001, exchange)]);
    let edges: Vec<_> = tally.passages.iter().collect();
    assert_eq!(edges.len(), 2);
    let (passage, passed) = edges[0];
    assert_eq!((passage.day, &*passage.subject, &*passage.actor), (at(86_400), "front", "orders"));
    assert_eq!(*passed, Passed { exchanges: 2, last_at: at(90_001) });
}

#[test]
fn everybody_whom_an_issuer_vouches_for_counts_as_one_and_as_no_client() {
    let job = |sub: &str| {
        let mut exchange = token("orders");
        exchange["subject"] = json!(format!("ci|{sub}"));
        exchange["subject_issuer"] = json!("ci");
        exchange["exchange"] = json!({ "rule": "r", "mode": "delegation" });
        exchange
    };
    let tally = tally(&[(1, job("1")), (2, job("2"))]);
    let subjects: Vec<_> = tally.passages.keys().map(|passage| passage.subject.as_str()).collect();
    assert_eq!(subjects, ["anybody of ci"]);
    assert_eq!(tally.passages.values().next().unwrap().exchanges, 2);
    assert_eq!(tally.tokens_at.keys().collect::<Vec<_>>(), ["orders"]);
    assert_eq!(outsiders_issuer("anybody of ci"), Some("ci"));
    assert_eq!(outsiders_issuer("ci|1"), None);
    assert!(crate::domain::ids::ClientId::new(outsiders("ci")).is_err(), "no client is called so");
}

#[test]
fn what_was_altered_cannot_make_the_tables_grow() {
    let mut long = token("b");
    long["client_id"] = json!("x".repeat(2_001));
    let mut nul = token("b");
    nul["audience"] = json!(["a\0b"]);
    let mut word = token("b");
    word["grant_type"] = json!("made up");
    let error = json!({ "kind": "token_refused", "error": "Made Up!", "repeated": { "count": 2 } });
    let flood = json!({ "kind": "token_refused", "error": "x", "repeated": { "count": u64::MAX } });
    let tally = tally(&[
        (1, long),
        (1, nul),
        (1, word),
        (1, error),
        (1, flood),
        (1, json!({ "kind": "changed" })),
        (1, json!("no event")),
    ]);
    assert_eq!(counts(&tally), ["0  other other 2", "0 b other issued 1"]);
}

proptest! {
    /// Why chains can be counted one after the other, and late events whenever they show.
    #[test]
    fn the_order_of_events_does_not_matter(
        events in prop::collection::vec((0_i64..20_000, "[ab]", any::<bool>()), 0..12), turn in 0_usize..12,
    ) {
        let mut events: Vec<_> = events.into_iter().map(|(seconds, client, exchanged)| {
            let mut event = token(&client);
            if exchanged {
                event["exchange"] = json!({});
            }
            (seconds, event)
        }).collect();
        let first = tally(&events);
        let turn = turn.min(events.len());
        events.rotate_left(turn);
        prop_assert_eq!(first, tally(&events));
    }

    #[test]
    fn never_panics(text in "\\PC*") {
        Tally::default().add(at(0), &text);
    }
}
