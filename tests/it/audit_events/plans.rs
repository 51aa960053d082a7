//! Each way to find events uses the index that was made for it, on both engines, when there are many.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::harness::{Database, Engine, START};
use jeton::app;
use jeton::domain::time::DAY;
use jeton::storage::all_statements;

/// How many events there are, over how many days.
const MANY: i64 = 20_000;
const DAYS: u32 = 10;

/// The values of the statements' parameters, as literals that both engines take.
struct Values {
    texts: [String; 14],
}

/// The statement, what its plan must name on either engine, and what is asked for.
fn wanted(name: &str) -> (&'static [&'static str], Values) {
    let step = i64::from(DAYS) * 86_400_000_000 / MANY;
    let middle = START.as_micros() + MANY / 2 * step;
    let mut values = Values { texts: std::array::from_fn(|_| "NULL".to_owned()) };
    let mut set = |place: usize, value: String| values.texts[place - 1] = value;
    set(1, i64::MIN.to_string());
    set(2, (middle + 86_400_000_000).to_string());
    set(3, "'ffffffff-ffff-ffff-ffff-ffffffffffff'".to_owned());
    set(4, i64::MAX.to_string());
    set(10, "51".to_owned());
    let base = name.strip_suffix("_OLDEST_FIRST");
    if base.is_some() {
        // From the middle on, behind an event that was read before.
        set(1, middle.to_string());
        set(3, "'00000000-0000-0000-0000-000000000002'".to_owned());
        set(4, "7".to_owned());
    }
    let indexes: &[&str] = match base.unwrap_or(name) {
        "EVENTS_BY_TIME" => &["by_time"],
        "EVENTS_OF_CLIENT" => {
            set(5, "'client-7'".to_owned());
            &["by_client"]
        }
        "EVENTS_ABOUT_CLIENT" => {
            set(14, "'client-7'".to_owned());
            &["by_client", "about"]
        }
        "EVENTS_OF_PERSON" => {
            set(13, "'ada'".to_owned());
            &["by_person"]
        }
        "EVENTS_OF_KIND" => {
            set(6, "'changed'".to_owned());
            &["by_kind"]
        }
        "EVENTS_REFUSED" => {
            set(7, "'refused'".to_owned());
            &["refused"]
        }
        "EVENTS_OF_TOKEN" => {
            set(8, "'jti-12345'".to_owned());
            set(11, middle.to_string());
            set(12, (middle + 1_000_000).to_string());
            &["by_time", "by_jti"]
        }
        "EVENTS_OF_TXN" => {
            set(9, "'txn-12345'".to_owned());
            set(11, middle.to_string());
            set(12, (middle + 1_000_000).to_string());
            &["by_time", "by_txn"]
        }
        "EVENTS_BEFORE" => {
            set(1, START.as_micros().to_string());
            &["by_time"]
        }
        "EVENTS_NEWEST" => {
            set(1, middle.to_string());
            set(2, (middle + 60_000_000).to_string());
            &["by_time"]
        }
        // What is checked chain after chain is read whole, on PostgreSQL in whichever way is cheapest; but only
        // the partitions of the window. The second is SQLite's.
        "EVENTS_IN_CHAINS" | "EVENTS_IN_CHAINS_AS_STORED" => {
            set(1, middle.to_string());
            set(2, (middle + 3_600_000_000).to_string());
            &[]
        }
        "EVENTS_IN_TIME" => {
            set(1, middle.to_string());
            set(2, (middle + 3_600_000_000).to_string());
            &["by_time"]
        }
        other => panic!("say which index {other} is to use"),
    };
    (indexes, values)
}

/// A database with many events, as they are: most of them tokens, one in a hundred something else.
async fn filled(engine: Engine) -> Database {
    let database = Database::create(engine).await;
    let store = app::connect(&database.config()).await.unwrap();
    store.migrate().await.unwrap();
    for day in 0..=DAYS {
        store.make_room(START.plus(DAY * day)).await.unwrap();
    }
    store.close().await;
    let (numbers, writer, bytes, no, yes) = match engine {
        Engine::Sqlite => (
            "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
              SELECT n FROM numbers)",
            "unhex(printf('%032x', n / 5000))",
            "zeroblob(32)",
            "0",
            "1",
        ),
        Engine::Postgres => (
            "(SELECT n FROM generate_series(1::BIGINT, 20000) AS numbers(n)) AS numbers",
            "lpad(to_hex(n / 5000), 32, '0')::uuid",
            "decode(repeat('00', 32), 'hex')",
            "FALSE",
            "TRUE",
        ),
    };
    let step = i64::from(DAYS) * 86_400_000_000 / MANY;
    let start = START.as_micros();
    database
        .execute(&format!(
            "INSERT INTO audit_events
                 (writer, seq, at, prev, hash, kind, outcome, client_id, jti, txn, continues, person, about, event)
             SELECT {writer}, n, {start} + n * {step}, {bytes}, {bytes},
                 CASE n % 200 WHEN 0 THEN 'changed' WHEN 100 THEN 'token_refused' ELSE 'token_issued' END,
                 CASE n % 200 WHEN 100 THEN 'refused' ELSE 'success' END,
                 'client-' || CAST(n % 50 AS TEXT), 'jti-' || CAST(n AS TEXT), 'txn-' || CAST(n AS TEXT),
                 CASE n % 100 WHEN 1 THEN {yes} ELSE {no} END,
                 CASE n % 200 WHEN 0 THEN 'person-' || CAST(n % 7 AS TEXT) END,
                 CASE n % 200 WHEN 0 THEN 'client-' || CAST(n % 50 AS TEXT) END,
                 '{{\"kind\":\"token_issued\",\"filler\":\"{}\"}}'
             FROM {numbers}",
            "x".repeat(600)
        ))
        .await;
    database.execute("ANALYZE").await;
    database
}

/// The texts of all statements that find events.
fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    all_statements().filter(|(name, _)| name.starts_with("EVENTS_"))
}

/// The highest `$n` of a statement.
fn parameters(sql: &str) -> usize {
    (1..=14).rev().find(|n| sql.contains(&format!("${n}"))).unwrap()
}

const TYPES: [&str; 14] = [
    "BIGINT", "BIGINT", "UUID", "BIGINT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "BIGINT", "BIGINT",
    "BIGINT", "TEXT", "TEXT",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_find_events_uses_its_index_on_postgres() {
    let database = filled(Engine::Postgres).await;
    let mut connection = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    let mut seen = 0;
    for (name, sql) in statements() {
        seen += 1;
        let (indexes, values) = wanted(name);
        let count = parameters(sql);
        let types =
            if name.starts_with("EVENTS_IN") || name == "EVENTS_BEFORE" { ["BIGINT"; 14] } else { TYPES };
        let prepare = format!("PREPARE {name} ({}) AS {sql}", types[..count].join(", "));
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        // As the engine plans with the values in hand, and as it may after it has seen the statement often.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            connection.execute(AssertSqlSafe(format!("SET plan_cache_mode = {mode}"))).await.unwrap();
            let explain = format!("EXPLAIN EXECUTE {name} ({})", values.texts[..count].join(", "));
            let plan: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
            let plan = plan.join("\n");
            let pruned = plan.matches(" on audit_events_2026").count() == 1;
            if indexes.is_empty() {
                let planned = mode == "force_generic_plan" || name == "EVENTS_IN_CHAINS_AS_STORED";
                assert!(planned || pruned, "{name}: not pruned\n{plan}");
                continue;
            }
            assert!(!plan.contains("Seq Scan"), "{name}, {mode}: a whole table is read\n{plan}");
            let suffixes: Vec<&str> = indexes.iter().map(|index| suffix(index)).collect();
            for suffix in &suffixes {
                assert!(plan.lines().any(|line| uses(line, suffix)), "{name}, {mode}: no {suffix}\n{plan}");
            }
            for line in plan.lines().filter(|line| line.contains(" on audit_events_2026")) {
                // A bitmap's heap names no index; the scan of the index below it does.
                let known = line.contains("Bitmap Heap") || suffixes.iter().any(|suffix| uses(line, suffix));
                assert!(known, "{name}, {mode}: {line}\n{plan}");
            }
            let wide = mode == "force_generic_plan" || name != "EVENTS_IN_TIME";
            assert!(wide || pruned, "{name}: not pruned\n{plan}");
        }
    }
    assert_eq!(seen, 21);
}

/// Whether a line of a plan names a partition's index with this suffix.
fn uses(line: &str, suffix: &str) -> bool {
    let named =
        |word: &str| word.strip_prefix("audit_events_").and_then(|rest| rest.get(8..)) == Some(suffix);
    line.split_whitespace().any(named)
}

/// What PostgreSQL calls a partition's part of an index: after its columns.
fn suffix(index: &str) -> &'static str {
    match index {
        "by_time" => "_at_idx",
        "by_person" => "_person_at_idx",
        "about" => "_about_at_idx",
        "by_client" => "_client_id_at_idx",
        "by_kind" => "_kind_at_idx",
        "refused" => "_at_idx1",
        "by_jti" => "_jti_idx",
        "by_txn" => "_txn_idx",
        other => panic!("{other}"),
    }
}

/// The engine's plan of a statement.
async fn sqlite_plan(connection: &mut SqliteConnection, sql: &str, values: &Values) -> Vec<String> {
    let mut query = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    for value in &values.texts[..parameters(sql)] {
        query = match value.parse::<i64>() {
            Ok(number) => query.bind(Some(number)),
            Err(_) if value == "NULL" => query.bind(None::<i64>),
            Err(_) => query.bind(value.trim_matches('\'').to_owned()),
        };
    }
    let plan: Vec<(i64, i64, i64, String)> = query.fetch_all(connection).await.unwrap();
    plan.into_iter().map(|(.., line)| line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_find_events_uses_its_index_on_sqlite() {
    let database = filled(Engine::Sqlite).await;
    let file = database.directory.path().join("data/jeton.db");
    let mut seen = 0;
    // Nobody runs ANALYZE on an installation's file, unless somebody does.
    for statistics in ["with statistics", "without"] {
        let mut connection =
            SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        for (name, sql) in statements() {
            seen += 1;
            let (indexes, values) = wanted(name);
            let plan = sqlite_plan(&mut connection, sql, &values).await;
            let text = format!("{name}, {statistics}:\n{}", plan.join("\n"));
            if indexes.is_empty() {
                // Read in the order that is asked for: all events together are too many to sort.
                let sorted = text.contains("TEMP B-TREE");
                assert!(!sorted || name == "EVENTS_IN_CHAINS", "{text}");
                continue;
            }
            // With statistics it may walk the clients' index for a window of time, and is as quick.
            if name == "EVENTS_IN_TIME" && statistics == "with statistics" {
                continue;
            }
            for line in plan.iter().filter(|line| line.contains("audit_events")) {
                assert!(line.starts_with("SEARCH"), "a whole table is read: {text}");
                let uses = |index: &&str| line.contains(&format!("audit_events_{index} "));
                assert!(indexes.iter().any(uses), "not {indexes:?}: {text}");
            }
            for index in indexes {
                assert!(text.contains(&format!("audit_events_{index} ")), "no {index}: {text}");
            }
        }
        database.execute("DELETE FROM sqlite_stat1").await;
    }
    assert_eq!(seen, 42);
}
