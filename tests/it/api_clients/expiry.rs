//! Warnings before a secret ends: fields, an event for each end, a list, numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use jeton::config::MetricsListener;
use jeton::domain::error::Fault;
use jeton::runtime::clock::{Clock as _, SystemClock};
use jeton::runtime::expiry_watch::{EndingCounts, ExpiryWatch};

use crate::harness::{Engine, Server, both_engines};
use crate::metrics::{ANY, scrape, value};
use crate::rotation::Off;

both_engines!(
    what_ends_soon_is_said_everywhere,
    each_end_is_warned_of_once_among_all_replicas,
    what_was_replaced_is_not_warned_of,
    every_sort_of_credential_is_warned_of,
);

const SECRETS: &str = "/clients/billing/secrets";
const DAY: u64 = 86_400;

async fn watch(server: &Server, counts: &EndingCounts) {
    look(server, counts).await.unwrap();
}

async fn look(server: &Server, counts: &EndingCounts) -> Result<(), Fault> {
    let admin = server.app.admin();
    let (store, ledger) = (admin.store.clone(), admin.ledger.clone());
    let within = Duration::from_secs(14 * DAY);
    ExpiryWatch::new(store, ledger, server.clock_check(), within, counts.clone()).once().await
}

async fn what_ends_soon_is_said_everywhere(server: Server) {
    server.billing().await;
    server.client(json!({ "client_id": "quiet" })).await;
    let api = server.administrator().await;
    let later = api.post(SECRETS, json!({ "expires_in": 30 * DAY })).await.expect(201);
    assert_eq!(later["expires_soon"], false);
    let client = async || server.administrator().await.get("/clients/billing").await.expect(200);
    let one = client().await;
    assert_eq!((&one["credentials_end_at"], one.get("expires_soon")), (&later["expires_at"], None));
    let api = server.administrator().await;
    assert_eq!(api.get("/ending-credentials").await.expect(200), json!([]));

    server.clock.advance(Duration::from_secs(16 * DAY));
    let one = client().await;
    assert_eq!((&one["credentials_end_at"], &one["expires_soon"]), (&later["expires_at"], &json!(true)));
    let api = server.administrator().await;
    let listed = api.get("/clients?q=billing").await.expect(200);
    assert_eq!(listed["items"][0]["expires_soon"], true);
    assert_eq!(listed["items"][0]["credentials_end_at"], later["expires_at"]);
    let all = api.get("/clients").await.expect(200);
    let quiet = all["items"].as_array().unwrap().iter().find(|one| one["client_id"] == "quiet").unwrap();
    assert!(quiet.get("expires_soon").is_none() && quiet.get("credentials_end_at").is_none(), "{quiet}");
    let ending = api.get("/ending-credentials").await.expect(200);
    let entry = json!({
        "client_id": "billing", "credential": "secret", "credential_id": later["secret_id"],
        "expires_at": later["expires_at"],
    });
    assert_eq!(ending, json!([entry]));
    api.get("/ending-credentials?limit=0").await.expect_invalid("limit", "use 1 to 500");
    let ada = server.signed_in("ada", "administrator").await;
    let page = async |path: &str| server.send("GET", &format!("/admin{path}"), &[&ada], "").await.body;
    let one = page("/clients/billing").await;
    assert!(one.contains("ends soon"), "{one}");
    assert!(page("/clients").await.contains("ends soon"));
    let dashboard = page("").await;
    assert!(dashboard.contains("Credentials that end soon") && dashboard.contains("billing"), "{dashboard}");

    // It has ended: nothing that counts ends any more.
    server.clock.advance(Duration::from_secs(15 * DAY));
    let one = client().await;
    assert!(one.get("expires_soon").is_none() && one.get("credentials_end_at").is_none(), "{one}");
    let counts = EndingCounts::default();
    watch(&server, &counts).await;
    let count = counts.load()[0].1;
    assert_eq!((count.soon, count.ended), (0, 1));
}

async fn each_end_is_warned_of_once_among_all_replicas(server: Server) {
    server.billing().await;
    let replica = server.replica().await;
    let api = server.administrator().await;
    let added = api.post(SECRETS, json!({ "expires_in": 20 * DAY })).await.expect(201);
    let counts = EndingCounts::default();
    watch(&server, &counts).await;
    assert_eq!(server.events("credential_expires_soon").await, Vec::<Value>::new());
    server.clock.advance(Duration::from_secs(7 * DAY));
    let (here, there) = (EndingCounts::default(), EndingCounts::default());
    tokio::join!(watch(&server, &here), watch(&replica, &there));
    watch(&server, &counts).await;
    let events = server.events("credential_expires_soon").await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["client"], &events[0]["credential"], &events[0]["credential_id"]),
        (&json!("billing"), &json!("secret"), &added["secret_id"])
    );
    assert_eq!(events[0]["expires_at"], added["expires_at"]);
    let about = "SELECT about FROM audit_events WHERE kind = 'credential_expires_soon'";
    assert_eq!(server.database.texts(about).await, ["billing"]);
    for counts in [&here, &there, &counts] {
        let count = counts.load()[0].1;
        assert_eq!((count.soon, count.ended), (1, 0));
    }

    // Another end is another warning, when it is near.
    let api = server.administrator().await;
    let path = format!("{SECRETS}/{}", added["secret_id"].as_str().unwrap());
    let change = async |body: Value| server.api("PATCH", &path, &api.token, &[], body).await.expect(200);
    change(json!({ "description": "the same end" })).await;
    watch(&server, &counts).await;
    change(json!({ "expires_at": "2027-11-22T08:00:00Z" })).await;
    watch(&server, &counts).await;
    assert_eq!(server.events("credential_expires_soon").await.len(), 1);
    change(json!({ "expires_at": "2026-11-30T08:00:00Z" })).await;
    watch(&server, &counts).await;
    watch(&replica, &counts).await;
    assert_eq!(server.events("credential_expires_soon").await.len(), 2);
    replica.app.stop().await.unwrap();
}

async fn what_was_replaced_is_not_warned_of(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let rotated = api.post(&format!("{SECRETS}/rotate"), json!({})).await.expect(201);
    assert_eq!(rotated["replaces"][0]["expires_soon"], true, "that is what its end says");
    let counts = EndingCounts::default();
    watch(&server, &counts).await;
    assert_eq!(server.events("credential_expires_soon").await, Vec::<Value>::new());
    assert_eq!(counts.load()[0].1.soon, 0);
    let one = api.get("/clients/billing").await.expect(200);
    assert!(one.get("expires_soon").is_none() && one.get("credentials_end_at").is_none(), "{one}");
    assert_eq!(api.get("/ending-credentials").await.expect(200), json!([]));
}

async fn every_sort_of_credential_is_warned_of(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let key = json!({ "pem": crate::private_key_jwt::PEM, "expires_in": 20 * DAY });
    let key = api.post("/clients/billing/keys", key).await.expect(201);
    assert_eq!(key["expires_soon"], false);
    let one = api.get("/clients/billing").await.expect(200);
    assert_eq!(one["credentials_end_at"], key["expires_at"]);
    // Whoever issued it has given it an end; this server takes no certificates, and warns all the same.
    let end = jeton::domain::time::Timestamp::parse("2026-12-10T08:00:00Z").unwrap();
    let certificate = format!(
        "INSERT INTO client_certificates (client, certificate_id, der, thumbprint, subject, description, not_before,
            not_after, created_at, ends_at, unwarned_end)
         SELECT uid, 'c', uid, 't', 'CN=billing', '', 0, {end}, 0, {end}, {end} FROM clients WHERE client_id = 'billing'",
        end = end.as_micros()
    );
    if server.database.url.is_some() {
        server.database.execute(&certificate.replace("'c', uid", "'c', uuid_send(uid)")).await;
    } else {
        server.database.execute(&certificate).await;
    }

    server.issuer_of("billing").await;
    let federated = json!({
        "trusted_issuer": "issuer", "conditions": [{ "claim": "sub", "value": "b" }],
        "expires_at": "2026-12-11T08:00:00Z",
    });
    api.post("/clients/billing/federated-credentials", federated).await.expect(201);

    server.clock.advance(Duration::from_secs(7 * DAY));
    let counts = EndingCounts::default();
    watch(&server, &counts).await;
    watch(&server, &counts).await;
    let mut warned: Vec<_> = server.events("credential_expires_soon").await;
    warned.sort_by_key(|event| event["credential"].to_string());
    let named: Vec<_> = warned.iter().map(|event| (&event["credential"], &event["expires_at"])).collect();
    let ends = [
        (&json!("certificate"), &json!("2026-12-10T08:00:00Z")),
        (&json!("federated"), &json!("2026-12-11T08:00:00Z")),
        (&json!("key"), &key["expires_at"]),
    ];
    assert_eq!(named, ends);
    let api = server.administrator().await;
    let ending = api.get("/ending-credentials").await.expect(200);
    let order: Vec<_> = ending.as_array().unwrap().iter().map(|one| &one["credential"]).collect();
    let sooner = [&json!("certificate"), &json!("federated"), &json!("key")];
    assert_eq!(order, sooner, "that which ends first is first");
    let one = api.get("/clients/billing").await.expect(200);
    assert_eq!(
        (&one["credentials_end_at"], &one["expires_soon"]),
        (&json!("2026-12-10T08:00:00Z"), &json!(true))
    );
    let keys = api.get("/clients/billing/keys").await.expect(200);
    assert_eq!(keys[0]["expires_soon"], true);
    let ended: Vec<_> = counts.load().iter().map(|(kind, count)| (kind.as_str(), count.soon)).collect();
    assert_eq!(ended, [("secret", 0), ("key", 1), ("certificate", 1), ("federated", 1)]);

    // Another end of a key is another warning.
    let path = format!("/clients/billing/keys/{}", key["key_id"].as_str().unwrap());
    let body = json!({ "expires_at": "2026-12-09T08:00:00Z" });
    server.api("PATCH", &path, &api.token, &[], body).await.expect(200);
    watch(&server, &counts).await;
    assert_eq!(server.events("credential_expires_soon").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_metrics() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.metrics = MetricsListener::At(ANY);
        config.warn_before = Duration::from_secs(DAY);
    })
    .await;
    server.billing().await;
    server.secret("billing", json!({ "expires_in": DAY })).await;
    server.secret("billing", json!({ "expires_in": 2 * DAY })).await;
    // The server looks by itself when it starts.
    let server = server.restart_with(|_| {}).await.unwrap();
    let mut metrics = String::new();
    for _ in 0..100 {
        metrics = scrape(&server).await;
        if metrics.contains("kind=\"secret\"") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(value(&metrics, "jeton_credentials_expiring{kind=\"secret\"}") > 0.5, "{metrics}");
    assert!(value(&metrics, "jeton_credentials_expired{kind=\"secret\"}") < 0.5, "{metrics}");
    assert_eq!(server.events("credential_expires_soon").await.len(), 1, "and warns");
    server.app.stop().await.unwrap();
}

/// SQLite has no clock but this machine's.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_warns_of_nothing() {
    let server = Server::start(Engine::Postgres).await;
    server.billing().await;
    let clock = Arc::new(Off(AtomicI64::new(0)));
    let off = server.replica_at(Arc::clone(&clock) as _).await;
    let end = SystemClock.now().plus(Duration::from_hours(24 * 365));
    server.secret("billing", json!({ "expires_at": end })).await;
    clock.0.store(360 * 86_400 * 1_000_000, Ordering::SeqCst);
    let unwarned = "SELECT COUNT(*)::text FROM client_secrets WHERE expires_at IS NOT NULL AND NOT warned";
    let fault = look(&off, &EndingCounts::default()).await.unwrap_err();
    assert!(fault.to_string().contains("keys.clock_tolerance"), "{fault}");
    assert_eq!(server.database.texts(unwarned).await, ["1"]);
}
