//! Two versions on one database: the schema of the version before, with its data, and a schema that a newer one has left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::{both_stores, fresh};
use crate::harness::{Database, Engine, Process, http, jeton, run, within_a_second};
use jeton::app;
use jeton::domain::chain::Hash;
use jeton::domain::time::Timestamp;
use jeton::runtime::clock::Ambient;
use jeton::storage::{LedgerConnection, Store};

/// The last migration of the version before. Whoever releases raises it.
const BEFORE: i64 = 14;

/// Columns that were taken away although the version before uses them. None: first a version stops using one, the next
/// takes it away.
const CONTRACTED: [&str; 0] = [];

both_stores!(
    what_the_version_before_wrote_and_writes_counts,
    columns_of_the_version_before_stay,
    a_newer_schema_is_used_when_it_says_so,
);

/// A database as the version before has left it.
async fn of_the_version_before(engine: Engine) -> Database {
    let database = Database::create(engine).await;
    // Makes SQLite's file.
    app::connect(&database.config()).await.unwrap().close().await;
    let folder = match engine {
        Engine::Sqlite => "migrations/sqlite",
        Engine::Postgres => "migrations/postgres",
    };
    let all = Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).await.unwrap();
    let before = all.iter().filter(|migration| migration.version <= BEFORE).cloned().collect();
    let before = Migrator::with_migrations(before);
    if let Some(url) = &database.url {
        before.run(&mut PgConnection::connect(url).await.unwrap()).await.unwrap();
    } else {
        let file = database.directory.path().join("data/jeton.db");
        let mut connection =
            SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        before.run(&mut connection).await.unwrap();
    }
    database
}

/// What the version before does to register a resource server, a role and a client that has it, in its own columns.
async fn register(database: &Database, name: &str, number: u32) {
    let uid = |kind: u32| match database.engine {
        Engine::Sqlite => format!("X'{kind:016x}{number:016x}'"),
        Engine::Postgres => format!("'{:032x}'::UUID", (u128::from(kind) << 64) | u128::from(number)),
    };
    let (server, role, client) = (uid(1), uid(2), uid(3));
    for sql in [
        format!(
            "INSERT INTO resource_servers (uid, name, identifier, description, token_lifetime, signing_algorithm,
                token_profile, enabled, builtin, version, created_at, updated_at)
             VALUES ({server}, '{name}', 'https://{name}.example', '', 300, 'ES256', 'at+jwt', TRUE, FALSE, 1, 1, 1)"
        ),
        format!("INSERT INTO permissions VALUES ({server}, '{name}:use', '')"),
        format!("INSERT INTO roles VALUES ({role}, '{name}-user', '', FALSE, 1, 1, 1)"),
        format!("INSERT INTO role_permissions VALUES ({role}, {server}, '{name}:use')"),
        format!(
            "INSERT INTO clients (uid, client_id, description, kind, labels, enabled, grant_types, auth_methods,
                allowed_networks, search, version, created_at, updated_at)
             VALUES ({client}, '{name}', '', 'service', '{{}}', TRUE, '[\"client_credentials\"]',
                '[\"client_secret_basic\"]', '[]', '{name}', 1, 1, 1)"
        ),
        format!("INSERT INTO client_roles VALUES ({client}, {role}, 1)"),
        // All of it was changed, and every server is to read that.
        "UPDATE counters SET value = value + 1 WHERE name = 'changes'".to_owned(),
        format!(
            "INSERT INTO changes (seq, kind, subject, at)
             SELECT value, 'catalog', '', {number} FROM counters WHERE name = 'changes'"
        ),
    ] {
        database.execute(&sql).await;
    }
}

/// A secret that a server of before has made, and its hash from then.
const SECRET: &str = "jtn_xfXsOgpTjGDVfHexUekeaAV5FG1sXuRjHJjhNm2Np571JxzzV";
const HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$SuGraF7gAwF0heasHc2VdQ$1ptaCpxPN79FDYNrcPdoHO5hzgjAvXBvVbTjWbuJKs8";

/// Its events, each with its kind and its outcome, and the one that a change has left for whoever records next.
const EVENTS: [(&str, &str, &str); 2] = [
    (
        "started",
        "success",
        r#"{"kind":"started","process":"server","version":"0.0.9","previous":[],"outcome":"success"}"#,
    ),
    (
        "token_refused",
        "refused",
        r#"{"kind":"token_refused","client_id":"before","authenticated":false,"asked":{},"error":"invalid_client","reason":"as the version before has said it","outcome":"refused"}"#,
    ),
];
const LEFT: &str = r#"{"kind":"changed","actor":{"type":"command_line","user":"root"},"action":"role.create","target":"left-by-the-version-before","outcome":"success"}"#;

/// What a server of before has written of its own accord, in its own columns, when it is killed: the hash of a secret, an
/// identifier that was used, a chain of two events, and an event that no ledger has taken up yet. Answers the chain.
async fn leave(database: &Database, at: Timestamp) -> Uuid {
    let (writer, later) = (Uuid::from_u128(1), at.plus(Duration::from_hours(48)).as_micros());
    let uuid = |uuid: Uuid| match database.engine {
        Engine::Sqlite => format!("X'{}'", uuid.simple()),
        Engine::Postgres => format!("'{uuid}'"),
    };
    let bytes = |hash: &Hash| match database.engine {
        Engine::Sqlite => format!("X'{hash}'"),
        Engine::Postgres => format!("'\\x{hash}'::bytea"),
    };
    let micros = at.as_micros();
    if database.engine == Engine::Postgres {
        let (name, next) = (at.date(), at.plus(Duration::from_hours(24)).as_micros());
        let sql = format!(
            "CREATE TABLE audit_events_{name} PARTITION OF audit_events FOR VALUES FROM ({micros}) TO ({next})"
        );
        database.execute(&sql).await;
    }
    let mut before = Hash::NONE;
    for (seq, (kind, outcome, text)) in (1..).zip(EVENTS) {
        let hash = Hash::of(writer, seq, at, &before, text);
        let client = if text.contains("client_id") { "'before'" } else { "NULL" };
        let sql = format!(
            "INSERT INTO audit_events (writer, seq, at, prev, hash, kind, outcome, client_id, continues, event)
             VALUES ({}, {seq}, {micros}, {}, {}, '{kind}', '{outcome}', {client}, FALSE, '{text}')",
            uuid(writer),
            bytes(&before),
            bytes(&hash)
        );
        database.execute(&sql).await;
        before = hash;
    }
    for sql in [
        format!(
            "INSERT INTO audit_chains (writer, started_at, ended, named_seq, settled)
             VALUES ({}, {micros}, FALSE, 0, FALSE)",
            uuid(writer)
        ),
        format!(
            "INSERT INTO audit_outbox (id, at, event) VALUES ({}, {micros}, '{LEFT}')",
            uuid(Uuid::from_u128(2))
        ),
        format!(
            "INSERT INTO used_ids (purpose, id, expires_at) VALUES ('client_assertion', 'used', {later})"
        ),
        format!(
            "INSERT INTO client_secrets (client, secret_id, hash, origin, description, created_at)
             SELECT uid, 'ciqdcz5i', '{HASH}', 'generated', '', {micros} FROM clients WHERE client_id = 'before'"
        ),
    ] {
        database.execute(&sql).await;
    }
    writer
}

/// What the version before has left is read, recorded, and refused the second time.
async fn what_was_left_counts(database: &Database, writer: Uuid, at: Timestamp) {
    let exported = run(database, &["audit", "export"]);
    let exported = String::from_utf8(exported.stdout).unwrap();
    for words in ["as the version before has said it", "left-by-the-version-before"] {
        assert_eq!(exported.matches(words).count(), 1, "{words}: {exported}");
    }
    let waiting = database.texts("SELECT event FROM audit_outbox").await;
    assert_eq!(waiting, [""; 0], "what waits for a ledger");
    // It is intact, and the first server of the new version has named it: nothing of it can be taken away any more.
    let report = jeton(database, &["audit", "verify"]);
    let chains = report["chains"].as_array().unwrap();
    let old = chains.iter().find(|chain| chain["chain"] == writer.to_string());
    assert!(old.is_some_and(|chain| chain["last"] == 2 && chain["closed"] == false), "{report}");
    assert!(exported.contains(&format!(r#""previous":[{{"writer":"{writer}","seq":2,"#)), "{exported}");

    let store = app::connect(&database.config()).await.unwrap();
    let mut held = LedgerConnection::new(store).hold().await.unwrap();
    let mut tx = held.begin().await.unwrap();
    let end = at.plus(Duration::from_hours(48));
    let new =
        tx.use_up(&[("client_assertion", "used", end), ("client_assertion", "new", end)]).await.unwrap();
    assert_eq!(new, [("client_assertion".to_owned(), "new".to_owned())]);
}

async fn scope(process: &Process, client: &str, secret: &str) -> Option<String> {
    let form = [("grant_type", "client_credentials")];
    let asked =
        http().post(format!("{}/oauth2/token", process.base)).basic_auth(client, Some(secret)).form(&form);
    let body: serde_json::Value = asked.send().await.unwrap().json().await.unwrap();
    body["scope"].as_str().map(str::to_owned)
}

async fn what_the_version_before_wrote_and_writes_counts(_: Store, database: Database) {
    let database = of_the_version_before(database.engine).await;
    register(&database, "before", 1).await;
    let today = Ambient::system().now().start_of_day();
    let writer = leave(&database, today).await;
    let server = Process::serve(&database, &[]).await;
    assert_eq!(scope(&server, "before", SECRET).await.as_deref(), Some("before:use"), "{}", server.log());
    // The older one still runs, and does not know that the schema is a newer one.
    register(&database, "beside", 2).await;
    for client in ["before", "beside"] {
        let added = jeton(&database, &["clients", "secret", "add", client]);
        let secret = added["client_secret"].as_str().unwrap();
        let expected = Some(format!("{client}:use"));
        within_a_second(client, async || scope(&server, client, secret).await == expected).await;
    }
    server.stop().await;
    what_was_left_counts(&database, writer, today).await;
}

/// Its columns, each with whether a row must say something about it.
async fn columns(database: &Database) -> BTreeMap<String, bool> {
    let sql = match database.engine {
        Engine::Sqlite => {
            "SELECT t.name || '.' || c.name || CASE
                 WHEN (c.\"notnull\" OR c.pk) AND c.dflt_value IS NULL THEN ' must' ELSE '' END
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'"
        }
        Engine::Postgres => {
            "SELECT table_name || '.' || column_name || CASE
                 WHEN is_nullable = 'NO' AND column_default IS NULL THEN ' must' ELSE '' END
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let columns = database.texts(sql).await;
    let columns = columns.into_iter().map(|column| match column.strip_suffix(" must") {
        Some(name) => (name.to_owned(), true),
        None => (column, false),
    });
    columns.collect()
}

async fn columns_of_the_version_before_stay(_: Store, database: Database) {
    let before = columns(&of_the_version_before(database.engine).await).await;
    let after = columns(&database).await;
    let tables: BTreeSet<&str> = before.keys().filter_map(|column| column.split('.').next()).collect();
    let kept = |column: &&String| !CONTRACTED.contains(&column.as_str());
    for column in before.keys().filter(kept) {
        assert!(after.contains_key(column), "{column} is gone, which the version before uses");
    }
    for (column, must) in &after {
        let table = column.split('.').next().unwrap_or_default();
        let now_must = *must && before.get(column) != Some(&true);
        // A partition is made for a day.
        let known = tables.contains(table) && !table.starts_with("audit_events_");
        assert!(!(known && now_must), "the version before says nothing about {column}, which must be said");
    }
}

async fn a_newer_schema_is_used_when_it_says_so(store: Store, database: Database) {
    let newest = database.texts("SELECT CAST(MAX(version) AS TEXT) FROM _sqlx_migrations").await.remove(0);
    let checksum = match database.engine {
        Engine::Sqlite => "X'00'",
        Engine::Postgres => "'\\x00'",
    };
    database
        .execute(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of a newer version', TRUE, {checksum}, 0)"
        ))
        .await;
    let refused = store.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("migration 9999") && refused.contains("run the newer Jeton"), "{refused}");
    for (oldest, refused) in [(newest.as_str(), None), ("9999", Some("migration 9999"))] {
        let sql = format!(
            "INSERT INTO counters (name, value) VALUES ('oldest_schema', {oldest})
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        );
        database.execute(&sql).await;
        let said = store.migrate().await.map_err(|error| error.to_string());
        match (&said, refused) {
            (Ok(()), None) => {}
            (Err(said), Some(word)) if said.contains(word) && said.contains("run the newer Jeton") => {}
            _ => panic!("{oldest}: {said:?}"),
        }
    }
}

/// SQLite ends a transaction by itself when its disk is full, and sqlx does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_spoils_no_connection_of_sqlite() {
    let (store, _database) = fresh(Engine::Sqlite).await;
    let Store::Sqlite { writer, .. } = &store else { panic!("{store:?}") };
    let (mut one, mut other) = (writer.acquire().await.unwrap(), writer.acquire().await.unwrap());
    for connection in [&mut one, &mut other] {
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut **connection).await.unwrap();
    }
    drop((one, other));
    let mut full = 0;
    for _ in 0..4 {
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let large = "INSERT INTO counters (name, value) VALUES (hex(randomblob(100000)), 0)";
        full += i32::from(sqlx::query(large).execute(&mut *tx).await.is_err());
    }
    assert!(full > 0, "the file had room");
    store.begin().await.unwrap().commit().await.unwrap();
}
