//! A database that has lost what it had taken: a standby that lagged was promoted, or a backup was restored.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::harness::{Database, Engine, Process, http, jeton, run};

async fn status(process: &Process, secret: &str) -> u16 {
    let form = [("grant_type", "client_credentials")];
    let asked =
        http().post(format!("{}/oauth2/token", process.base)).basic_auth("billing", Some(secret)).form(&form);
    asked.send().await.unwrap().status().as_u16()
}

async fn the_next_chain_names_what_is_missing(engine: Engine) {
    let database = Database::create(engine).await;
    let server = Process::serve(&database, &[("JETON_OUTAGE__MODE", "refuse")]).await;
    let made = jeton(&database, &["clients", "create", "billing", "--role", "auditor"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap().to_owned();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(status(&server, &secret).await, 200);
    }
    database.execute("ALTER TABLE audit_events RENAME TO away").await;
    assert_eq!(status(&server, &secret).await, 503);
    // These were the last of the server's chain, and nobody had signed for them yet.
    database.execute("DELETE FROM away WHERE kind = 'token_issued'").await;
    database.execute("ALTER TABLE away RENAME TO audit_events").await;
    let back = async {
        while status(&server, &secret).await != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), back).await.unwrap();
    assert!(server.log().contains("the database has lost audit events"), "{}", server.log());
    let verified = run(&database, &["audit", "verify"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        !verified.status.success() && said.contains("missing with all that follows: the start of chain"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_chain_names_what_is_missing_sqlite() {
    the_next_chain_names_what_is_missing(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_chain_names_what_is_missing_postgres() {
    the_next_chain_names_what_is_missing(Engine::Postgres).await;
}
