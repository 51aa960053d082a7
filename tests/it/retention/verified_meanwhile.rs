//! Retention removes events while somebody verifies the audit.

use std::process::Output;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{days, keep, verified};
use crate::harness::{Database, Engine, Held, Replica, run};

/// How long it may take to begin before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

const TABLES: [&str; 2] = ["audit_events", "audit_checkpoints"];

/// The checkpoints are heard, and before the events are read, those of the first days go. Only PostgreSQL lets a reader
/// wait in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removes_meanwhile_is_not_missing() {
    let database = Database::create(Engine::Postgres).await;
    let replica = Replica::start(&database).await;
    days(&replica).await;
    for table in TABLES {
        database.execute(&format!("CREATE TABLE before_{table} AS SELECT * FROM {table}")).await;
    }
    keep(&replica).await.unwrap();
    for day in 22..25_u32 {
        let at = crate::harness::START.plus(jeton::domain::time::DAY * (day - 22));
        replica.store.make_room(at).await.unwrap();
    }
    replica.stop().await;
    verified(&database);
    for table in TABLES {
        database.execute(&format!("CREATE TABLE after_{table} AS SELECT * FROM {table}")).await;
        database.execute(&format!("DELETE FROM {table}")).await;
        database.execute(&format!("INSERT INTO {table} SELECT * FROM before_{table}")).await;
    }
    verified(&database);

    let Held::Postgres(mut held) = database.hold_events().await else { panic!("it is PostgreSQL") };
    let verifying = std::thread::scope(|scope| {
        let verifying = scope.spawn(|| run(&database, &["audit", "verify", "--json"]));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let waiting = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                               AND datname = current_database()";
                let waits = async {
                    while database.texts(waiting).await.is_empty() {
                        sleep(Duration::from_millis(10)).await;
                    }
                };
                timeout(PATIENCE, waits).await.expect("it does not read the events");
                for table in TABLES {
                    for sql in [
                        format!("DELETE FROM {table}"),
                        format!("INSERT INTO {table} SELECT * FROM after_{table}"),
                    ] {
                        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut held).await.unwrap();
                    }
                }
                sqlx::query("COMMIT").execute(&mut held).await.unwrap();
            });
        });
        verifying.join().unwrap()
    });
    let Output { status, stdout, .. } = verifying;
    assert!(status.success(), "{}", String::from_utf8_lossy(&stdout));
}
