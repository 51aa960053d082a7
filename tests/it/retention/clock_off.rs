//! A replica whose clock is off removes nothing: what still counts would seem to it to have had its time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::RETENTION;
use crate::harness::{Engine, Server};
use crate::rotation::Off;
use crate::token::GRANT;
use jeton::admin::audit_watch::AuditWatch;
use jeton::runtime::clock::{Clock, SystemClock};
use jeton::runtime::statistics::Statistics;
use jeton::runtime::upkeep::Upkeep;

/// `SQLite` has no clock but this machine's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_by_a_clock_that_is_off() {
    let setting_up = Server::start(Engine::Postgres).await;
    let billing = setting_up.billing().await;
    setting_up.operator("orders", "billing").await;
    // The keys were made for the test's time; now they are as old as this process.
    let now = SystemClock.now().as_micros();
    setting_up.database.execute(&format!("UPDATE signing_keys SET activates_at = {now}")).await;
    let clock = Arc::new(Off::default());
    let server = setting_up.replica_at(Arc::clone(&clock) as _).await;
    setting_up.app.stop().await.unwrap();
    let issued = server.token(&billing, GRANT).await.expect(200);
    let token = issued["access_token"].as_str().unwrap().to_owned();
    let asked = format!("token={token}");
    let post = async |path: &str| {
        let headers = [billing.basic(), "content-type: application/x-www-form-urlencoded".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        server.send("POST", path, &headers, asked.clone()).await
    };
    assert_eq!(post("/oauth2/introspect").await.expect(200)["active"], Value::Bool(true));
    assert_eq!(post("/oauth2/revoke").await.status, 200);

    let counts = async || {
        let mut counts = Vec::new();
        for table in ["audit_events", "revocations", "changes", "audit_checkpoints"] {
            counts.extend(server.database.texts(&format!("SELECT COUNT(*)::TEXT FROM {table}")).await);
        }
        counts.into_iter().map(|count| count.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let before = counts().await;
    assert!(before.iter().all(|count| *count > 0), "there is something to remove: {before:?}");
    let ten_years = 10 * 365 * 86_400 * 1_000_000;
    clock.0.store(ten_years, Ordering::SeqCst);
    let (store, ledger) = (server.app.admin().store.clone(), server.app.admin().ledger.clone());
    let keeping = Upkeep::new(store.clone(), ledger.clone(), server.clock_check(), RETENTION);
    let watch = AuditWatch::new(store.clone(), ledger, server.clock_check(), Uuid::nil());
    let statistics = Statistics::new(store, server.clock_check());
    for done in [
        keeping.once(server.clock_check().ambient().now()).await,
        watch.once().await,
        statistics.once().await,
    ] {
        assert!(done.unwrap_err().to_string().contains("keys.clock_tolerance"), "it says why");
    }
    // Changes were missed, so that revocations are read anew, by this clock; and it is time to sweep. When a later change
    // is seen, that is over for the earlier ones.
    let seen = [(5, false), (1, true), (1, false), (1, true)];
    for (further, enabled) in seen {
        for sql in [
            format!("UPDATE clients SET enabled = {enabled} WHERE client_id = 'billing'"),
            format!("UPDATE counters SET value = value + {further} WHERE name = 'changes'"),
            "INSERT INTO changes (seq, kind, subject, at)
             SELECT value, 'client', 'billing', 0 FROM counters WHERE name = 'changes'"
                .to_owned(),
        ] {
            server.database.execute(&sql).await;
        }
        let is_seen = async {
            while (post("/oauth2/introspect").await.status == 401) == enabled {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), is_seen).await.expect("the change is seen");
    }
    let after = counts().await;
    let [_, revocations, changes, _] = before[..] else { panic!("{before:?}") };
    assert_eq!(after[1..3], [revocations, changes + seen.len() as u64], "{before:?}, then {after:?}");
    assert!(after[0] >= before[0] && after[3] >= before[3], "{before:?}, then {after:?}");

    clock.0.store(0, Ordering::SeqCst);
    let events = server.database.texts("SELECT event FROM audit_events WHERE kind = 'events_dropped'").await;
    assert!(events.is_empty(), "{events:?}");
    let answer = post("/oauth2/introspect").await.expect(200);
    assert_eq!(answer["active"], Value::Bool(false), "it is still taken back");
}
