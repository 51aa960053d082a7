//! Refusals are recorded so that an attack cannot fill the disk: what repeats within a second shares an event,
//! and yet each one is counted, and its `x-request-id` is found. The second is a real one: it is what is tested.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use jeton::admin::By;
use jeton::config::MetricsListener;
use jeton::domain::audit::Event;
use jeton::domain::ids::ClientId;
use jeton::runtime::refusals::Refusals;

use crate::harness::{
    Answer, Client, Database, Replica, START, Server, both_engines, both_replicas, refusal,
};
use crate::metrics::{ANY, value};
use crate::token::GRANT;

both_engines!(
    a_hundred_like_it_share_three_events_at_most,
    more_than_a_hundred_are_counted_but_not_all_listed,
    ten_reasons_of_one_source_have_events_of_their_own,
    clients_are_counted_apart,
    made_up_clients_are_counted_together,
    successes_are_never_counted_together,
    a_refused_token_for_the_api_is_recorded,
    refused_administrators_are_counted_by_client_and_reason,
    a_server_that_stops_records_the_refusals_that_wait,
    after_a_second_the_next_one_is_recorded_at_once,
    a_refusal_that_waits_stays_one_while_others_get_tokens,
    a_wait_does_not_tell_whether_there_is_such_a_client,
);

both_replicas!(more_clients_than_the_ledger_has_room_for_are_refused_at_once,);

/// Each has an event of its own, and all of them are due at the same moment.
async fn more_clients_than_the_ledger_has_room_for_are_refused_at_once(replica: Replica, database: Database) {
    const CLIENTS: usize = 5_000;
    let refusals = Refusals::new(replica.ledger.clone());
    let refuse = |n: usize| {
        let mut refused = refusal(START);
        if let Event::TokenRefused { client_id, .. } = &mut refused.event {
            *client_id = Some(ClientId::new(format!("client-{n}")).unwrap());
        }
        refusals.record(refused, true)
    };
    let outcomes = futures_util::future::join_all((0..CLIENTS).map(refuse)).await;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_err()).collect();
    assert!(failed.is_empty(), "{} of them, {:?}", failed.len(), failed[0]);
    let events = database.texts("SELECT event FROM audit_events WHERE kind = 'token_refused'").await;
    assert_eq!(events.len(), CLIENTS);
}

/// Sends all of these requests at once. The answers stand in the order of the requests.
async fn at_once(server: &Arc<Server>, requests: Vec<(Client, String)>) -> Vec<Answer> {
    let mut sent = JoinSet::new();
    for (place, (client, body)) in requests.into_iter().enumerate() {
        let server = Arc::clone(server);
        sent.spawn(async move { (place, server.token(&client, &body).await) });
    }
    let mut answers = sent.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What is counted is recorded later than it happened, and tokens may have been recorded meanwhile.
async fn a_refusal_that_waits_stays_one_while_others_get_tokens(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let wrong = Client::new("billing", "a chosen secret of some length");
    let refused = server.token(&wrong, GRANT).await;
    refused.expect_oauth_error(401, "invalid_client");
    let waits = server.token(&wrong, GRANT);
    let others = async {
        for _ in 0..10 {
            sleep(Duration::from_millis(30)).await;
            server.clock.advance(Duration::from_secs(2));
            server.token(&billing, GRANT).await.expect(200);
        }
    };
    let (waited, ()) = tokio::join!(waits, others);
    waited.expect_oauth_error(401, "invalid_client");
    assert_eq!(server.events("token_refused").await.len(), 2);
}

/// Whoever tries names, one after another, must not learn which of them are counted with the made-up ones.
async fn a_wait_does_not_tell_whether_there_is_such_a_client(server: Server) {
    let server = server.at_one_address();
    server.billing().await;
    server.client(json!({ "client_id": "by-post", "auth_methods": ["client_secret_post"] })).await;
    let id = ClientId::new("by-post").unwrap();
    server.app.admin().set_client_enabled(&By::system(), &id, false).await.unwrap();
    let server = Arc::new(server);
    let wrong = "jtn_0000000000000000000000";
    let began = Instant::now();
    server.token(&Client::new("made-up", wrong), GRANT).await.expect_oauth_error(401, "invalid_client");
    assert!(began.elapsed() < Duration::from_millis(700), "the first does not wait");
    let mut sent = JoinSet::new();
    for (n, id) in (0..).zip(["another", "billing", "by-post", "made-up", "billing", "a-third"]) {
        let server = Arc::clone(&server);
        sent.spawn(async move {
            // Not all at once: whatever opens a window of its own would close it at a time of its own.
            sleep(Duration::from_millis(40) * n).await;
            server.token(&Client::new(id, wrong), GRANT).await.expect_oauth_error(401, "invalid_client");
            Instant::now()
        });
    }
    let mut answered = sent.join_all().await;
    answered.sort_unstable();
    let spread = answered[5] - answered[0];
    assert!(spread < Duration::from_millis(250), "all of them end together: {spread:?}");
    let events = server.events("token_refused").await;
    assert_eq!(events.iter().map(counted).sum::<u64>(), 7, "each is counted: {events:?}");
    let names: BTreeSet<_> = events.iter().map(|event| event["client_id"].as_str().unwrap()).collect();
    assert!(names.contains("billing") && names.contains("by-post"), "and known ones apart: {events:?}");
}

fn like(client: &Client) -> Client {
    Client::new(&client.id, &client.secret)
}

/// How many refusals an event stands for.
fn counted(event: &Value) -> u64 {
    event.get("repeated").map_or(1, |repeated| repeated["count"].as_u64().unwrap())
}

/// The request ids that an event has: its own, or those of the refusals that it counts.
fn request_ids(event: &Value) -> Vec<&str> {
    match event.get("repeated") {
        Some(repeated) => {
            repeated["request_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
        }
        None => vec![event["origin"]["request_id"].as_str().unwrap()],
    }
}

fn answered(answers: &[Answer]) -> BTreeSet<&str> {
    answers.iter().map(|answer| answer.header("x-request-id").unwrap()).collect()
}

async fn a_hundred_like_it_share_three_events_at_most(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let server = Arc::new(server);
    let requests = (0..100).map(|_| (like(&billing), format!("{GRANT}&scope=nowhere"))).collect();
    let answers = at_once(&server, requests).await;
    for answer in &answers {
        answer.expect_oauth_error(400, "invalid_scope");
    }
    let events = server.events("token_refused").await;
    assert!((2..=3).contains(&events.len()), "{} events: {events:?}", events.len());
    assert_eq!(events.iter().map(counted).sum::<u64>(), 100);
    let listed: Vec<&str> = events.iter().flat_map(request_ids).collect();
    assert_eq!(listed.len(), 100, "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), answered(&answers));
    for event in &events {
        assert_eq!((&event["client_id"], &event["error"]), (&json!("billing"), &json!("invalid_scope")));
        assert!(event["reason"].as_str().unwrap().contains("'nowhere'"), "{event}");
    }
}

async fn more_than_a_hundred_are_counted_but_not_all_listed(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let server = Arc::new(server);
    let requests = (0..150).map(|_| (like(&billing), format!("{GRANT}&scope=nowhere"))).collect();
    let answers = at_once(&server, requests).await;
    let events = server.events("token_refused").await;
    assert_eq!(events.iter().map(counted).sum::<u64>(), 150);
    let all = answered(&answers);
    for event in &events {
        let ids = request_ids(event);
        assert_eq!(ids.len() as u64, counted(event).min(100), "as many as there are, a hundred at most");
        assert!(ids.iter().all(|id| all.contains(id)), "{event}");
    }
}

async fn ten_reasons_of_one_source_have_events_of_their_own(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let server = Arc::new(server);
    let requests = (0..15).map(|n| (like(&billing), format!("{GRANT}&scope=nowhere{n}"))).collect();
    let answers = at_once(&server, requests).await;
    let events = server.events("token_refused").await;
    // The eleventh reason is the first that shares; those after it are counted with it.
    assert_eq!(events.len(), 12, "{events:?}");
    assert_eq!(events.iter().map(counted).sum::<u64>(), 15);
    let own = events.iter().filter(|event| event.get("repeated").is_none());
    let reasons: BTreeSet<_> = own.map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 11, "{reasons:?}");
    let listed: BTreeSet<&str> = events.iter().flat_map(request_ids).collect();
    assert_eq!(listed, answered(&answers));
}

async fn clients_are_counted_apart(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    let server = Arc::new(server);
    let requests = (0..20)
        .map(|n| (like(if n % 2 == 0 { &billing } else { &other }), format!("{GRANT}&scope=nowhere")))
        .collect();
    at_once(&server, requests).await;
    let events = server.events("token_refused").await;
    for client in ["billing", "other"] {
        let own: Vec<_> = events.iter().filter(|event| event["client_id"] == client).collect();
        assert_eq!(own.len(), 2, "the first, and those after it: {own:?}");
        assert_eq!(own.into_iter().map(counted).sum::<u64>(), 10, "{client}");
    }
}

async fn made_up_clients_are_counted_together(server: Server) {
    let server = server.at_one_address();
    let server = Arc::new(server);
    let requests = (0..20)
        .map(|n| (Client::new(&format!("made-up-{n}"), "jtn_0000000000000000000000"), GRANT.to_owned()))
        .collect();
    let answers = at_once(&server, requests).await;
    for answer in &answers {
        answer.expect_oauth_error(401, "invalid_client");
    }
    let events = server.events("token_refused").await;
    assert!((2..=3).contains(&events.len()), "whoever makes up names fills nothing: {events:?}");
    assert_eq!(events.iter().map(counted).sum::<u64>(), 20);
    let listed: BTreeSet<&str> = events.iter().flat_map(request_ids).collect();
    assert_eq!(listed, answered(&answers));
}

async fn successes_are_never_counted_together(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let server = Arc::new(server);
    let body =
        |n: usize| if n.is_multiple_of(2) { GRANT.to_owned() } else { format!("{GRANT}&scope=nowhere") };
    let answers = at_once(&server, (0..100).map(|n| (like(&billing), body(n))).collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 50);
    let issued = server.events("token_issued").await;
    let tokens: BTreeSet<_> = issued.iter().map(|event| event["jti"].as_str().unwrap()).collect();
    assert_eq!((issued.len(), tokens.len()), (50, 50), "an event for each token");
    let refused = server.events("token_refused").await;
    assert_eq!(refused.iter().map(counted).sum::<u64>(), 50);
    assert!(refused.len() <= 3, "{refused:?}");
}

async fn a_refused_token_for_the_api_is_recorded(server: Server) {
    let server = server.at_one_address();
    let answer = server.api("GET", "/clients", "not-a-token", &[], Value::Null).await;
    answer.expect_problem(401, "token-invalid");
    let event = server.recorded(&answer).await;
    assert_eq!((&*event.kind, &*event.outcome), ("access_refused", "refused"));
    let reason = "the token is not an access token that this server signed";
    assert_eq!(event.detail, json!({ "kind": "access_refused", "reason": reason }), "who is not proven");
    assert!(!server.audit_rows().await.join("\n").contains("not-a-token"));

    // What another audience's token is refused for is another reason, and another event.
    let billing = server.billing().await;
    let token = server.token(&billing, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
    let answer = server.api("GET", "/clients", &token, &[], Value::Null).await;
    answer.expect_problem(401, "token-invalid");
    let event = server.recorded(&answer).await;
    assert!(event.detail["reason"].as_str().unwrap().contains("another audience"), "{event:?}");
    assert!(event.detail.get("repeated").is_none(), "{event:?}");
}

async fn refused_administrators_are_counted_by_client_and_reason(server: Server) {
    let server = server.at_one_address();
    let one = server.api_token("auditor").await;
    let other = server.api_token("auditor").await;
    let server = Arc::new(server);
    let mut sent = JoinSet::new();
    for n in 0..40 {
        let server = Arc::clone(&server);
        let token = if n % 2 == 0 { one.clone() } else { other.clone() };
        let (method, path) = if n % 4 < 2 { ("POST", "/clients/x/disable") } else { ("DELETE", "/roles/x") };
        let tag = ["If-Match: \"1\""];
        sent.spawn(async move { server.api(method, path, &token, &tag, Value::Null).await.status });
    }
    for status in sent.join_all().await {
        assert_eq!(status, 403);
    }
    let events = server.events("access_refused").await;
    let sorts: BTreeSet<String> = events
        .iter()
        .map(|event| format!("{} {}", event["actor"]["client_id"], event["permission"]))
        .collect();
    for sort in &sorts {
        let own = events
            .iter()
            .filter(|event| format!("{} {}", event["actor"]["client_id"], event["permission"]) == *sort);
        assert_eq!(own.map(counted).sum::<u64>(), 10, "{sort}");
    }
    assert_eq!(sorts.len(), 4, "two clients, two permissions each: {sorts:?}");
    assert_eq!(events.len(), 8, "the first of each, and those after it: {events:?}");
}

async fn a_server_that_stops_records_the_refusals_that_wait(server: Server) {
    let server = server.restart_with(|config| config.metrics = MetricsListener::At(ANY)).await.unwrap();
    let server = server.at_one_address();
    let billing = server.billing().await;
    let (address, metrics) = (server.app.address(), server.app.metrics_address().unwrap());
    // One, because what comes from one address is counted together; it opens as many connections as it needs.
    let http = reqwest::Client::new();
    let (mut sent, mut asked, mut answered) = (JoinSet::new(), 0_u32, 0_u32);
    // The first is answered at once; the others wait for their second. On a machine that is slow to send them that may be
    // over before the server has all of them, so it is stopped when it has, and some wait.
    loop {
        assert!(asked < 200, "none of {asked} refusals waits");
        for _ in 0..10 {
            let request = http
                .post(format!("http://{address}/oauth2/token"))
                .basic_auth(&billing.id, Some(&billing.secret))
                .form(&[("grant_type", "client_credentials"), ("scope", "nowhere")]);
            sent.spawn(async move { request.send().await.unwrap().status().as_u16() });
            asked += 1;
        }
        let mut here = 0.0;
        let all_there = async {
            while f64::from(answered) + here < f64::from(asked) {
                sleep(Duration::from_millis(5)).await;
                // Before it is looked, so that none counts as answered and as being there.
                while let Some(status) = sent.try_join_next() {
                    assert_eq!(status.unwrap(), 400);
                    answered += 1;
                }
                let scraped = http.get(format!("http://{metrics}/metrics")).send().await.unwrap();
                here = value(&scraped.text().await.unwrap(), "jeton_requests_in_flight");
            }
        };
        timeout(Duration::from_secs(30), all_there).await.expect("a request is neither answered nor there");
        if here > 0.0 {
            break;
        }
    }
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    let rest = sent.join_all().await;
    assert!(rest.iter().all(|status| *status == 400), "answered, not cut off: {rest:?}");
    let texts = database.texts("SELECT event FROM audit_events WHERE kind = 'token_refused'").await;
    let events: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(events.iter().map(counted).sum::<u64>(), u64::from(asked));
    let last = "SELECT kind FROM audit_events AS one
        WHERE seq = (SELECT MAX(seq) FROM audit_events WHERE writer = one.writer)";
    let last = database.texts(last).await;
    assert!(
        last.len() >= 2 && last.iter().all(|kind| kind == "stopped"),
        "chains are closed after them: {last:?}"
    );
}

async fn after_a_second_the_next_one_is_recorded_at_once(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let refused = async || {
        let answer = server.token(&billing, &format!("{GRANT}&scope=nowhere")).await;
        server.recorded(&answer).await.detail.get("repeated").map(|repeated| repeated["count"].clone())
    };
    assert_eq!(refused().await, None);
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!(refused().await, None, "its second is over");
    assert_eq!(refused().await, Some(json!(1)), "and the next one has begun");
}
