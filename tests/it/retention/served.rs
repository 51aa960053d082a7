//! The same with a server around it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use super::{RETENTION, verified};
use crate::harness::{Database, Engine, START, Server, both_engines};
use crate::token::GRANT;
use jeton::admin::By;
use jeton::app::App;
use jeton::runtime::clock::{Ambient, ManualClock, SystemEntropy};
use jeton::runtime::upkeep::Upkeep;
use jeton::telemetry::Tracing;

both_engines!(
    what_a_killed_process_has_left_is_chained_at_the_next_start,
    what_is_put_there_by_hand_is_recorded_as_that,
    what_was_left_is_chained_by_a_running_server,
    what_is_left_with_a_time_to_come_holds_up_nothing,
    a_database_that_was_away_for_a_moment_costs_no_event,
    a_server_that_can_record_nothing_is_not_ready_until_it_can,
);

/// What a change writes in its own transaction, when its process is killed before the ledger has chained it.
async fn leave(server: &Server, target: &str) {
    let event = json!({
        "kind": "changed", "actor": { "type": "command_line", "user": "somebody" },
        "action": "client.create", "target": target, "outcome": "success", "happened_at": START,
    });
    leave_text(server, &event.to_string()).await;
}

pub(crate) async fn leave_text(server: &Server, event: &str) {
    let id = uuid::Uuid::from_u128(rand::random());
    let id = match server.database.engine {
        Engine::Sqlite => format!("X'{}'", id.simple()),
        Engine::Postgres => format!("'{id}'"),
    };
    let sql =
        format!("INSERT INTO audit_outbox (id, at, event) VALUES ({id}, {}, '{event}')", START.as_micros());
    server.database.execute(&sql).await;
}

async fn changed(server: &Server, target: &str) -> usize {
    server.events("changed").await.iter().filter(|event| event["target"] == target).count()
}

async fn what_a_killed_process_has_left_is_chained_at_the_next_start(server: Server) {
    leave(&server, "left").await;
    let server = server.restart_with(|_| {}).await.unwrap();
    assert_eq!(changed(&server, "left").await, 1);
    assert_eq!(server.database.texts("SELECT event FROM audit_outbox").await, [""; 0]);
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    verified(&database);
}

/// Only a change leaves an event. What somebody else put there neither counts nor holds up anything.
async fn what_is_put_there_by_hand_is_recorded_as_that(server: Server) {
    for text in
        ["nonsense", r#"{"kind":"events_dropped","before":"2026-11-22T08:00:00Z","outcome":"success"}"#]
    {
        leave_text(&server, text).await;
    }
    leave(&server, "left").await;
    server.client(json!({ "client_id": "another" })).await;
    assert_eq!((changed(&server, "left").await, changed(&server, "another").await), (1, 2));
    let rejected = server.events("left_event_rejected").await;
    assert_eq!(rejected.len(), 2);
    assert!(rejected.iter().any(|event| event["text"] == "nonsense"), "{rejected:?}");
    assert_eq!(server.events("events_dropped").await.len(), 0);
    let server = server.restart_with(|_| {}).await.unwrap();
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    verified(&database);
}

async fn what_was_left_is_chained_by_a_running_server(server: Server) {
    leave(&server, "left").await;
    // With whatever is changed next…
    server.billing().await;
    assert_eq!(changed(&server, "left").await, 1);
    // …and by upkeep.
    leave(&server, "right").await;
    let admin = server.app.admin();
    let upkeep = Upkeep::new(admin.store.clone(), admin.ledger.clone(), server.clock_check(), RETENTION);
    upkeep.once(admin.ambient.now()).await.unwrap();
    assert_eq!(changed(&server, "right").await, 1);
    drop(upkeep);
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    verified(&database);
}

/// There is no room for the events of the year 2100.
async fn what_is_left_with_a_time_to_come_holds_up_nothing(server: Server) {
    leave(&server, "left").await;
    server.database.execute("UPDATE audit_outbox SET at = 4102444800000000").await;
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    assert_eq!(changed(&server, "left").await, 1);
    let latest = server.database.texts("SELECT CAST(MAX(at) AS TEXT) FROM audit_events").await;
    assert!(latest[0].parse::<i64>().unwrap() <= START.as_micros() + 1_000_000, "{latest:?}");
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    verified(&database);
}

/// The balancer takes it out, so nobody asks it for a token: it finds out by itself.
async fn a_server_that_can_record_nothing_is_not_ready_until_it_can(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    server.get("/readyz").await.expect_text(200, "ready");
    server.database.refuse_rows("audit_events", "NEW.seq > 0").await;
    server.token(&billing, GRANT).await.expect_problem(503, "unavailable");
    server.get("/readyz").await.expect_text(503, "nothing can be recorded");
    server.database.take_rows("audit_events").await;
    let ready = async {
        while server.get("/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), ready).await.expect("it never tries again");
    server.token(&billing, GRANT).await.expect(200);
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    verified(&database);
}

async fn a_database_that_was_away_for_a_moment_costs_no_event(server: Server) {
    let billing = server.billing().await;
    let issued = async || server.token(&billing, GRANT).await;
    let mut expected = 0;
    for _ in 0..2 {
        issued().await.expect(200);
        server.database.execute("ALTER TABLE audit_events RENAME TO away").await;
        for _ in 0..2 {
            issued().await.expect_problem(503, "unavailable");
        }
        let refused = server.token(&billing, &format!("{GRANT}&scope=nowhere")).await;
        refused.expect_problem(503, "unavailable");
        server.database.execute("ALTER TABLE away RENAME TO audit_events").await;
        issued().await.expect(200);
        expected += 2;
    }
    assert_eq!(server.events("token_issued").await.len(), expected, "one for each answer");
    assert_eq!(server.events("token_refused").await.len(), 0, "nothing was refused");
    let starts = server
        .database
        .texts("SELECT event FROM audit_events WHERE kind = 'started' ORDER BY at, writer")
        .await;
    assert_eq!(starts.len(), 3, "each failure ends a chain: {starts:?}");
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    let report = verified(&database);
    let chains = report["chains"].as_array().unwrap();
    assert_eq!(chains.iter().filter(|chain| chain["closed"] == true).count(), 1);
    for chain in chains.iter().filter(|chain| chain["closed"] == false) {
        let named = |text: &String| {
            text.contains(&format!("\"writer\":{},\"seq\":{},", chain["chain"], chain["last"]))
        };
        assert!(starts.iter().any(named), "{chain} is named with its end: {starts:?}");
    }
}

/// The ledger's times go forward in each chain, whatever the clock does; that is no reason to issue nothing.
async fn tokens_are_issued_while_the_clock_is_behind(engine: Engine) {
    let database = Database::create(engine).await;
    let mut config = database.config();
    config.listen = "127.0.0.1:0".parse().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
    let app = App::start(&config, ambient, Tracing::off()).await.unwrap();
    let (admin, by) = (app.admin(), By::system());
    let registered = async {
        let server =
            json!({ "name": "o", "identifier": "https://o.example", "permissions": [{ "permission": "r" }] });
        admin.create_resource_server(&by, serde_json::from_value(server).unwrap()).await?;
        let role = json!({ "name": "r", "permissions": [{ "resource_server": "o", "permission": "r" }] });
        admin.create_role(&by, serde_json::from_value(role).unwrap()).await?;
        let client = json!({ "client_id": "c", "roles": ["r"] });
        let client = admin.create_client(&by, serde_json::from_value(client).unwrap()).await?;
        admin.add_secret(&by, &client.client_id, serde_json::from_value(json!({})).unwrap()).await
    };
    let secret = registered.await.unwrap();
    let (http, url) = (reqwest::Client::new(), format!("http://{}/oauth2/token", app.address()));
    let token = async || {
        let form = [("grant_type", "client_credentials")];
        let request = http
            .post(&url)
            .basic_auth("c", secret.client_secret.as_ref().map(ExposeSecret::expose_secret))
            .form(&form);
        request.send().await.unwrap().status().as_u16()
    };
    let hours = |hours| START.plus(Duration::from_hours(hours));
    for hour in [2, 1, 1, 3] {
        clock.set(hours(hour));
        assert_eq!(token().await, 200, "at hour {hour}");
    }
    app.stop().await.unwrap();
    let issued = database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await;
    assert_eq!(issued.len(), 4);
    assert_eq!(verified(&database)["chains"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_while_the_clock_is_behind_on_sqlite() {
    tokens_are_issued_while_the_clock_is_behind(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_while_the_clock_is_behind_on_postgres() {
    tokens_are_issued_while_the_clock_is_behind(Engine::Postgres).await;
}
