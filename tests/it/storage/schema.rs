//! The statements and the schemas of both engines, and how they come to be.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::task::JoinSet;

use super::{both_stores, fresh};
use crate::harness::{Database, Engine};
use jeton::app;
use jeton::storage::{Store, all_statements};

both_stores!(every_statement_prepares, several_migrate_at_once,);

async fn every_statement_prepares(_: Store, database: Database) {
    let mut prepared = 0;
    for (name, sql) in all_statements() {
        let outcome = database.prepare(sql).await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        prepared += 1;
    }
    assert!(prepared > 30, "{prepared}");
}

async fn several_migrate_at_once(_: Store, database: Database) {
    let fresh = Database::create(database.engine).await;
    let migrate = || async {
        let store = app::connect(&fresh.config()).await.unwrap();
        store.migrate().await
    };
    let (a, b, c) = tokio::join!(migrate(), migrate(), migrate());
    for outcome in [a, b, c] {
        outcome.unwrap();
    }
    assert_eq!(app::connect(&fresh.config()).await.unwrap().latest_change().await.unwrap(), None);
}

/// As servers and commands that start at the same moment. SQLite refuses one of two that switch a new file to
/// write-ahead logging, and does not let it wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_sqlite_file_opens_for_all_who_come_at_once() {
    for _ in 0..200 {
        let database = Database::create(Engine::Sqlite).await;
        let mut opening = JoinSet::new();
        for _ in 0..2 {
            let config = database.config();
            opening.spawn(async move { app::connect(&config).await });
        }
        for opened in opening.join_all().await {
            opened.unwrap().ping().await.unwrap();
        }
    }
}

/// The pools do not get in each other's way or their own, either: each opens one connection at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_pool_opens_one_connection_at_first() {
    for _ in 0..100 {
        let database = Database::create(Engine::Sqlite).await;
        let store = app::connect(&database.config()).await.unwrap();
        let Store::Sqlite { readers, writer, .. } = &store else { panic!("{store:?}") };
        assert_eq!((writer.size(), readers.size()), (1, 1));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_schemas_have_the_same_columns() {
    let (_, sqlite) = fresh(Engine::Sqlite).await;
    let (_, postgres) = fresh(Engine::Postgres).await;
    let of_sqlite = sqlite
        .texts(
            "SELECT t.name || '.' || c.name || CASE WHEN c.\"notnull\" OR c.pk THEN ' NOT NULL' ELSE '' END
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite%'",
        )
        .await;
    let of_postgres = postgres
        .texts(
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END
             FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
        )
        .await;
    let set = |columns: Vec<String>| columns.into_iter().collect::<BTreeSet<_>>();
    assert!(of_sqlite.len() > 50);
    assert_eq!(set(of_sqlite), set(of_postgres));
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}
