//! The database is away (DESIGN §9): known clients get tokens, each of which is recorded once, and what cannot be
//! decided is answered 503, never with a verdict.

mod hung;
mod identifiers;
mod killed;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use jeton::config::{Database as DatabaseSetting, MetricsListener, OutageMode};

use crate::harness::{Answer, Client, Engine, Proxy, Server, Way, jeton};
use crate::metrics::ANY;
use crate::private_key_jwt::{Signer, present, refused};

const ASK: &str = "grant_type=client_credentials";

/// A server in outage mode, and the way to its database.
async fn server_behind_proxy(grace: Duration) -> (Server, Proxy) {
    let mut proxy = None;
    let database = crate::harness::Database::create_migrated(Engine::Postgres).await;
    let url = database.url.clone().unwrap();
    let way = Proxy::of(&url).await;
    let behind = way.url(&url);
    proxy.replace(way);
    let server = Server::start_on(database, |config| {
        config.outage.mode = OutageMode::Spool;
        config.outage.grace = grace;
        config.metrics = MetricsListener::At(ANY);
        if let DatabaseSetting::Postgres { url, .. } = &mut config.database {
            *url = SecretString::from(behind);
        }
    })
    .await;
    (server, proxy.unwrap())
}

/// The `jti` of a token that was answered.
fn jti(answer: &Answer) -> String {
    let body = answer.expect(200);
    let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

fn expect_unavailable(answer: &Answer) {
    answer.expect_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

async fn ask(server: &Server, client: &Client, times: usize) -> Vec<String> {
    let asked = (0..times).map(|_| server.token(client, ASK));
    futures_util::future::join_all(asked).await.iter().map(jti).collect()
}

/// Waits until the server says that it is ready, and answers how long that took.
async fn recovered(server: &Server) -> Duration {
    let begun = Instant::now();
    let ready = async {
        while server.get("/readyz").await.body != "ready\n" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), ready).await.expect("it does not recover by itself");
    begun.elapsed()
}

/// Every one of these tokens has one event, and the chains are whole.
async fn expect_recorded_once(database: &crate::harness::Database, answered: &[String]) {
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for jti in database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await {
        *recorded.entry(jti).or_default() += 1;
    }
    for jti in answered {
        assert_eq!(recorded.get(jti), Some(&1), "{jti}, of {} tokens", answered.len());
    }
    assert!(recorded.values().all(|times| *times == 1), "one is there twice: {recorded:?}");
    let report = jeton(database, &["audit", "verify"]);
    assert_eq!(report["findings"], json!([]), "{report}");
}

async fn kinds(server: &Server, kind: &str) -> Vec<Value> {
    let sql = format!("SELECT event FROM audit_events WHERE kind = '{kind}' ORDER BY at, seq");
    server.database.texts(&sql).await.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// First the answers of the database are lost, so that nobody knows what it has written; then it is gone, for longer
/// than memory is believed where there is no outage mode.
#[tokio::test(flavor = "multi_thread")]
async fn known_clients_get_tokens_and_every_one_is_recorded_once() {
    let (server, proxy) = server_behind_proxy(Duration::from_mins(15)).await;
    let billing = server.billing().await;
    server.client(json!({ "client_id": "stranger", "roles": ["order-reader"] })).await;
    let stopped = server.client(json!({ "client_id": "stopped", "roles": ["order-reader"] })).await;
    let ends_at = jeton::domain::time::Timestamp::from_seconds(1_795_334_400 + 60).to_string();
    let ending = server
        .client(json!({ "client_id": "ending", "roles": ["order-reader"], "expires_at": ends_at }))
        .await;
    let id = jeton::domain::ids::ClientId::new("stopped").unwrap();
    server.app.admin().set_client_enabled(&jeton::admin::By::system(), &id, false).await.unwrap();
    let mut answered = ask(&server, &billing, 3).await;
    answered.extend(ask(&server, &ending, 1).await);
    let token = server.token(&billing, ASK).await;
    answered.push(jti(&token));
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    server.token(&stopped, ASK).await.expect_oauth_error(401, "invalid_client");

    proxy.is(Way::Silent);
    let went_away = Instant::now();
    answered.extend(ask(&server, &billing, 5).await);
    proxy.is(Way::Gone);
    answered.extend(ask(&server, &billing, 20).await);
    let ready = server.get("/readyz").await;
    assert!(ready.status == 200 && ready.body.starts_with("serving through an outage"), "{ready:?}");
    assert_eq!(ready.header("jeton-readiness"), Some("degraded"));
    server.get("/livez").await.expect_text(200, "alive");
    expect_unavailable(&server.token(&Client::new("nobody", &billing.secret), ASK).await);

    // Ten seconds after changes were last heard of, nobody can say any more what counts.
    sleep(Duration::from_millis(10_500).saturating_sub(went_away.elapsed())).await;
    answered.extend(ask(&server, &billing, 5).await);
    for form in ["/oauth2/introspect", "/oauth2/revoke"] {
        let headers = ["Content-Type: application/x-www-form-urlencoded", &billing.basic()];
        expect_unavailable(&server.send("POST", form, &headers, format!("token={token}")).await);
    }
    expect_unavailable(&server.token(&Client::new("stranger", &billing.secret), ASK).await);
    expect_unavailable(&server.token(&Client::new("nobody", &billing.secret), ASK).await);
    server.token(&stopped, ASK).await.expect_oauth_error(401, "invalid_client");
    server.token(&Client::new("billing", "wrong"), ASK).await.expect_oauth_error(401, "invalid_client");
    server.clock.advance(Duration::from_secs(61));
    server.token(&ending, ASK).await.expect_oauth_error(401, "invalid_client");
    assert_eq!(server.get("/.well-known/jwks.json").await.status, 200);

    proxy.is(Way::Open);
    recovered(&server).await;
    answered.extend(ask(&server, &billing, 3).await);
    expect_recorded_once(&server.database, &answered).await;
    assert_eq!(kinds(&server, "outage_began").await.len(), 1);
    let ended = kinds(&server, "outage_ended").await;
    assert!(ended.len() == 1 && ended[0]["events"].as_u64().unwrap() >= 30, "{ended:?}");
    let refusals = kinds(&server, "token_refused").await;
    for (client_id, times, reason) in
        [("stopped", 2, "is disabled"), ("billing", 1, "secret"), ("ending", 1, "expired")]
    {
        let of = |event: &&Value| {
            event["client_id"] == *client_id && event["reason"].as_str().unwrap().contains(reason)
        };
        assert_eq!(refusals.iter().filter(of).count(), times, "{client_id}: {refusals:?}");
    }
}

/// A network that swallows everything: the first answer waits for the database's patience, no other does; and when it
/// is over, the server finds that out by itself, though half-dead connections are left over.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_holds_up_one_batch_only() {
    let (server, proxy) = server_behind_proxy(Duration::from_secs(20)).await;
    let billing = server.billing().await;
    let mut answered = ask(&server, &billing, 1).await;
    proxy.is(Way::Hung);
    answered.extend(ask(&server, &billing, 3).await);
    let begun = Instant::now();
    answered.extend(ask(&server, &billing, 3).await);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    proxy.is(Way::Open);
    let took = recovered(&server).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    expect_recorded_once(&server.database, &answered).await;
    server.app.stop().await.unwrap();
}

/// Nothing is promised for longer than the grace; and what was answered in it is recorded all the same.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_nobody_gets_a_token_and_it_recovers_by_itself() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outage.mode = OutageMode::Spool;
        config.outage.grace = Duration::from_secs(1);
    })
    .await;
    let billing = server.billing().await;
    let mut answered = ask(&server, &billing, 2).await;
    server.database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    answered.extend(ask(&server, &billing, 2).await);
    sleep(Duration::from_millis(1_100)).await;
    expect_unavailable(&server.token(&billing, ASK).await);
    server.get("/readyz").await.expect_text(503, "nothing can be recorded");
    server.database.take_rows("audit_events").await;
    recovered(&server).await;
    answered.extend(ask(&server, &billing, 2).await);
    expect_recorded_once(&server.database, &answered).await;
}

/// The other limit: how long memory is believed. Nobody asks for a token here, so the ledger's grace does not begin.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_not_believed_for_longer_than_the_grace() {
    let (server, proxy) = server_behind_proxy(Duration::from_secs(11)).await;
    let billing = server.billing().await;
    ask(&server, &billing, 1).await;
    proxy.is(Way::Gone);
    let over = async {
        let mut believed = false;
        loop {
            let answer = server.get("/readyz").await;
            if answer.status == 503 {
                return believed;
            }
            believed |=
                answer.headers.iter().any(|(name, value)| name == "jeton-readiness" && value == "degraded");
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(30), over).await.expect("memory is believed for ever"),
        "never believed"
    );
    server.get("/readyz").await.expect_text(503, "the database does not answer");
    expect_unavailable(&server.token(&billing, ASK).await);
}

/// Assertions as they are sent: those from before the outage may have been used elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_from_before_the_outage_is_503_and_one_made_in_it_counts_once() {
    let server = Server::start_with(Engine::Sqlite, |config| config.outage.mode = OutageMode::Spool).await;
    let signer = Signer::start(&server).await;
    let billing = server.client(json!({ "client_id": "by-secret", "roles": ["order-reader"] })).await;
    let used = signer.assertion(&server);
    present(&server, &used).await.expect(200);
    let unused = signer.assertion(&server);
    server.clock.advance(Duration::from_secs(1));
    server.database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    let mut answered = ask(&server, &billing, 1).await;
    server.clock.advance(Duration::from_secs(1));
    for old in [&used, &unused] {
        expect_unavailable(&present(&server, old).await);
    }
    let fresh = signer.assertion(&server);
    answered.push(jti(&present(&server, &fresh).await));
    present(&server, &fresh).await.expect_oauth_error(401, "invalid_client");
    server.database.take_rows("audit_events").await;
    recovered(&server).await;
    refused(&server, "after it", &present(&server, &fresh).await, "was used before").await;
    expect_recorded_once(&server.database, &answered).await;
    let reasons = kinds(&server, "token_refused").await;
    let used_before = reasons.iter().filter(|event| event["reason"].to_string().contains("was used before"));
    assert_eq!(used_before.count(), 2, "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_operator_says_so_nobody_gets_a_token() {
    let server = Server::start_with(Engine::Sqlite, |config| config.outage.mode = OutageMode::Refuse).await;
    let billing = server.billing().await;
    server.database.refuse_rows("audit_events", "NEW.kind = 'token_issued'").await;
    expect_unavailable(&server.token(&billing, ASK).await);
    server.get("/readyz").await.expect_text(503, "nothing can be recorded");
    assert!(!server.database.directory.path().join("data/spool").exists(), "there is no spool");
}
