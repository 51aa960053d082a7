//! `audit.issuance = "buffered"`: a token leaves before its event is durable, for those who choose that; and the
//! event follows by itself.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::harness::{Database, Engine, Server, both_engines, run};
use crate::token::GRANT;
use jeton::app::App;
use jeton::config::{Issuance, Issuer};
use jeton::runtime::clock::Ambient;
use jeton::telemetry::Tracing;

both_engines!(
    an_event_is_written_without_another_one_that_comes_after_it,
    a_server_that_stops_writes_what_is_left,
    what_could_not_be_written_is_tried_again,
);

const PATIENCE: Duration = Duration::from_secs(10);

async fn buffered(server: Server) -> Server {
    server.restart_with(|config| config.audit_issuance = Issuance::Buffered).await.unwrap()
}

/// Waits until there are so many events of tokens.
async fn recorded(server: &Server, tokens: usize) {
    let all = async {
        while server.events("token_issued").await.len() < tokens {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, all).await.is_ok(), "{:?}", server.events("token_issued").await);
    assert_eq!(server.events("token_issued").await.len(), tokens);
}

async fn an_event_is_written_without_another_one_that_comes_after_it(server: Server) {
    let server = buffered(server).await;
    let billing = server.billing().await;
    for tokens in 1..=3 {
        server.token(&billing, GRANT).await.expect(200);
        recorded(&server, tokens).await;
    }
}

async fn a_server_that_stops_writes_what_is_left(server: Server) {
    let server = buffered(server).await;
    let billing = server.billing().await;
    for _ in 0..20 {
        server.token(&billing, GRANT).await.expect(200);
    }
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    let issued = database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await;
    assert_eq!(issued.len(), 20);
    assert!(run(&database, &["audit", "verify"]).status.success());
}

async fn what_could_not_be_written_is_tried_again(server: Server) {
    let server = buffered(server).await;
    let billing = server.billing().await;
    server.database.execute("ALTER TABLE audit_events RENAME TO elsewhere").await;
    for _ in 0..5 {
        server.token(&billing, GRANT).await.expect(200);
    }
    sleep(Duration::from_millis(300)).await;
    server.database.execute("ALTER TABLE elsewhere RENAME TO audit_events").await;
    recorded(&server, 5).await;
    let Server { app, database, .. } = server;
    app.stop().await.unwrap();
    assert!(run(&database, &["audit", "verify"]).status.success());
}

/// A server that loses what it has committed is no place for an audit, unless its operator has said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_does_not_wait_for_its_disk_is_for_buffered_only() {
    let database = Database::create(Engine::Postgres).await;
    let name = database.texts("SELECT current_database()::text").await.remove(0);
    database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let mut config = database.config();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.issuer = Some(Issuer::parse("http://localhost:8080").unwrap());
    let Err(refused) = App::start(&config, Ambient::system(), Tracing::off()).await else {
        panic!("it starts")
    };
    let told = refused.to_string();
    for part in ["synchronous_commit = off", "SET synchronous_commit = on", "audit.issuance", "buffered"] {
        assert!(told.contains(part), "it says what to do, '{part}': {told}");
    }
    assert_eq!(database.texts("SELECT event FROM audit_events").await, [""; 0], "nothing has begun");

    config.audit_issuance = Issuance::Buffered;
    App::start(&config, Ambient::system(), Tracing::off()).await.unwrap().stop().await.unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = local")).await;
    config.audit_issuance = Issuance::Durable;
    App::start(&config, Ambient::system(), Tracing::off()).await.unwrap().stop().await.unwrap();
}
