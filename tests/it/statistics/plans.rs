//! Each question to the statistics reads a bounded part of a table along its key or an index, on both engines, when
//! there are many rows.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::harness::{Database, Engine, START};
use jeton::app;
use jeton::domain::time::DAY;
use jeton::storage::all_statements;

const DAY_MICROS: i64 = 86_400_000_000;

/// The statement's values as literals, and what its plan must not do without: for `SQLite`, and for PostgreSQL.
fn wanted(name: &str) -> Option<(Vec<String>, &'static str, &'static str)> {
    let start = START.start_of_day().as_micros();
    let (from, to) = ((start + 20 * DAY_MICROS).to_string(), (start + 21 * DAY_MICROS).to_string());
    let client = "'client-7'".to_owned();
    let limit = "100".to_owned();
    let uuid = "'00000000-0000-0000-0000-000000000001'".to_owned();
    let found = match name {
        "TOKEN_TOTALS" => (vec![from, to, DAY_MICROS.to_string()], "token_totals", "token_totals_pkey"),
        "TOKEN_HOURS_OF_CLIENT" => {
            let day = vec![start.to_string(), (start + DAY_MICROS).to_string(), client];
            (day, "token_hours", "token_hours_pkey")
        }
        "TOKEN_DAYS_OF_CLIENT" => (vec![from, to, client], "token_days_by_client", "token_days_by_client"),
        "BUSIEST_CLIENTS_OF_DAY" => (vec![from, limit], "token_days_by_number", "token_days_by_number"),
        "DELEGATIONS_OF_DAY" => (vec![from, limit], "delegations_by_number", "delegations_by_number"),
        "DELEGATIONS_OF_SUBJECT" => {
            (vec![from, limit, client], "delegations_by_subject", "delegations_by_subject")
        }
        "DELEGATIONS_OF_ACTOR" => {
            (vec![from, limit, "'actor-7'".to_owned()], "delegations_by_actor", "delegations_by_actor")
        }
        "CLIENTS_OF_AUDIENCE" => {
            (vec![client, from, to, limit.clone(), limit], "audience_hours", "audience_hours_pkey")
        }
        "COUNT_AUDIENCE" => (vec![client, from, to, limit], "audience_hours", "audience_hours_pkey"),
        "TOKENS_OF_CLIENT" => (vec![client, from, limit], "audit_events_by_client", "_client_id_at_idx"),
        "LAST_TOKEN_OF_CLIENT" => (vec![uuid], "client_uses", "client_uses_pkey"),
        "LAST_USES_OF_SECRETS" => (vec![uuid], "secret_uses", "secret_uses_pkey"),
        "UNCOUNTED_EVENTS" => (vec![uuid, "5".to_owned(), from, limit], "audit_events_1", "_pkey"),
        "UNCOUNTED_CHAINS" => (Vec::new(), "audit_chains_uncounted", "audit_chains_uncounted"),
        "FORGET_TOTALS" => (vec![from, limit], "token_totals", "token_totals_pkey"),
        "FORGET_HOURS" => (vec![from, limit], "token_hours_by_hour", "token_hours_by_hour"),
        "FORGET_DAYS" => (vec![from, limit], "token_days", "token_days_pkey"),
        "FORGET_AUDIENCES" => (vec![from, limit], "audience_hours", "audience_hours_pkey"),
        "FORGET_DELEGATIONS" => (vec![from, limit], "delegations", "delegations_pkey"),
        "SECRETS_TO_WARN_OF" => (vec![from, limit], "client_secrets_to_warn_of", "client_secrets_to_warn_of"),
        "COUNT_ENDING_SECRETS" | "ENDING_SECRETS" => {
            (vec![from, to, limit], "client_secrets_by_end", "client_secrets_by_end")
        }
        "SECRET_WARNED" => (vec![uuid, "'s'".to_owned(), from], "client_secrets", "client_secrets_"),
        "KEYS_TO_WARN_OF" => (vec![from, limit], "client_keys_to_warn_of", "client_keys_to_warn_of"),
        "COUNT_ENDING_KEYS" | "ENDING_KEYS" => {
            (vec![from, to, limit], "client_keys_by_end", "client_keys_by_end")
        }
        "KEY_WARNED" => (vec![uuid, "'k'".to_owned(), from], "client_keys", "client_keys_"),
        "CERTIFICATES_TO_WARN_OF" => {
            (vec![from, limit], "client_certificates_to_warn_of", "client_certificates_to_warn_of")
        }
        "COUNT_ENDING_CERTIFICATES" | "ENDING_CERTIFICATES" => {
            (vec![from, to, limit], "client_certificates_by_end", "client_certificates_by_end")
        }
        "CERTIFICATE_WARNED" => {
            (vec![uuid, "'c'".to_owned(), from], "client_certificates", "client_certificates_")
        }
        "FEDERATED_TO_WARN_OF" => {
            (vec![from, limit], "federated_credentials_to_warn_of", "federated_credentials_to_warn_of")
        }
        "COUNT_ENDING_FEDERATED" | "ENDING_FEDERATED" => {
            (vec![from, to, limit], "federated_credentials_by_end", "federated_credentials_by_end")
        }
        "FEDERATED_WARNED" => {
            (vec![uuid, "'f'".to_owned(), from], "federated_credentials", "federated_credentials_")
        }
        _ => return None,
    };
    Some(found)
}

/// How many of them there are.
const ASKED: usize = 35;

/// Some weeks of a few hundred clients.
async fn filled(engine: Engine) -> Database {
    let database = Database::create(engine).await;
    let store = app::connect(&database.config()).await.unwrap();
    store.migrate().await.unwrap();
    let start = START.start_of_day();
    for day in 0..30 {
        store.make_room(start.plus(DAY * day)).await.unwrap();
    }
    store.close().await;
    let (json, yes, uuid) = match engine {
        Engine::Sqlite => ("'{}'", "1", "unhex(printf('%032x', n))"),
        Engine::Postgres => ("'{}'::jsonb", "TRUE", "lpad(to_hex(n), 32, '0')::uuid"),
    };
    let (numbers, writer, bytes, no) = match engine {
        Engine::Sqlite => (
            "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
              SELECT n FROM numbers)",
            "unhex(printf('%032x', n / 5000))",
            "zeroblob(32)",
            "0",
        ),
        Engine::Postgres => (
            "(SELECT n FROM generate_series(1::BIGINT, 20000) AS numbers(n)) AS numbers",
            "lpad(to_hex(n / 5000), 32, '0')::uuid",
            "decode(repeat('00', 32), 'hex')",
            "FALSE",
        ),
    };
    let start = start.as_micros();
    let hour = format!("{start} + n / 30 * 3600000000");
    let day = format!("{start} + n % 30 * {DAY_MICROS}");
    let id = "'client-' || CAST(n / 30 AS TEXT)";
    for insert in [
        format!(
            "token_totals (hour, grant_type, outcome, tokens) SELECT {hour}, 'g', 'o' || CAST(n % 30 AS TEXT), 1"
        ),
        format!(
            "token_hours (client_id, hour, grant_type, outcome, tokens) SELECT 'client-' || CAST(n % 400 AS TEXT), {start} + n / 400 * 3600000000, 'g', 'o', 1"
        ),
        format!("token_days (client_id, day, grant_type, outcome, tokens) SELECT {id}, {day}, 'g', 'o', 1"),
        format!(
            "audience_hours (audience, client_id, hour, tokens) SELECT 'a' || CAST(n % 30 AS TEXT), {id}, {hour}, 1"
        ),
        format!(
            "delegations (day, subject, actor, audience, exchanges, last_at) SELECT {day}, {id}, 'actor-' || CAST(n / 40 AS TEXT), 'a', 1, {day}"
        ),
        format!(
            "client_uses (client, last_token_at) SELECT {}, {hour}",
            match engine {
                Engine::Sqlite => "unhex(printf('%032x', n))",
                Engine::Postgres => "lpad(to_hex(n), 32, '0')::uuid",
            }
        ),
        format!(
            "secret_uses (client, secret_id, last_used_at) SELECT {}, 's', {hour}",
            match engine {
                Engine::Sqlite => "unhex(printf('%032x', n))",
                Engine::Postgres => "lpad(to_hex(n), 32, '0')::uuid",
            }
        ),
        format!(
            "clients (uid, client_id, description, kind, labels, enabled, grant_types, auth_methods,
                allowed_networks, search, version, created_at, updated_at)
             SELECT {uuid}, 'client-' || CAST(n AS TEXT), '', 'service', {json}, {yes}, {json}, {json}, {json}, '', 1, 0, 0"
        ),
        format!(
            "audit_chains (writer, started_at, ended, named_seq, settled, counted_whole) SELECT {}, n, {no}, 0, {no}, n <> 7",
            match engine {
                Engine::Sqlite => "unhex(printf('%032x', n))",
                Engine::Postgres => "lpad(to_hex(n), 32, '0')::uuid",
            }
        ),
        format!(
            "audit_events (writer, seq, at, prev, hash, kind, outcome, client_id, continues, event)
             SELECT {writer}, n, {start} + n * {}, {bytes}, {bytes}, 'token_issued', 'success',
             'client-' || CAST(n % 50 AS TEXT), {no}, '{}'",
            30 * DAY_MICROS / 20_001,
            "x".repeat(300)
        ),
    ]
    .into_iter()
    .chain(ending_credentials((uuid, bytes, yes)))
    {
        database.execute(&format!("INSERT INTO {insert} FROM {numbers}")).await;
    }
    database.execute("ANALYZE").await;
    database
}

/// Credentials that end within the same weeks. One in fifty was warned of, as when the watch is at work.
fn ending_credentials((uuid, bytes, yes): (&str, &str, &str)) -> [String; 5] {
    let end = format!("{} + n * {}", START.start_of_day().as_micros(), 30 * DAY_MICROS / 20_001);
    let unwarned = format!("CASE WHEN n % 50 > 0 THEN {end} END");
    [
        format!(
            "client_secrets (client, secret_id, hash, origin, description, created_at, expires_at, warned)
             SELECT {uuid}, 's', '', 'generated', '', 0, {end}, n % 50 = 0"
        ),
        format!(
            "client_keys (client, key_id, thumbprint, kid, public_jwk, description, created_at, expires_at,
                unwarned_end)
             SELECT {uuid}, 'k', 't', 'k', '', '', 0, {end}, {unwarned}"
        ),
        format!(
            "client_certificates (client, certificate_id, der, thumbprint, subject, description, not_before,
                not_after, created_at, ends_at, unwarned_end)
             SELECT {uuid}, 'c', {bytes}, 't', '', '', 0, 0, 0, {end}, {unwarned}"
        ),
        format!(
            "trusted_issuers (uid, name, description, enabled, profile, issuer, keys_from, algorithms, max_lifetime,
                leeway, reuse, version, created_at, updated_at)
             SELECT {uuid}, 'i' || CAST(n AS TEXT), '', {yes}, 'jwt', 'i', 'discovery', 'ES256', 60, 0, 'once', 1, 0, 0"
        ),
        format!(
            "federated_credentials (client, credential_id, trusted_issuer, conditions, shape, match_key, description,
                created_at, expires_at, unwarned_end)
             SELECT {uuid}, 'f', {uuid}, '[]', '[]', 'm', '', 0, {end}, {unwarned}"
        ),
    ]
}

fn statements() -> Vec<(&'static str, &'static str)> {
    let asked: Vec<_> = all_statements().filter(|(name, _)| wanted(name).is_some()).collect();
    assert_eq!(asked.len(), ASKED);
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_uses_its_index_on_postgres() {
    let database = filled(Engine::Postgres).await;
    let mut connection = PgConnection::connect(database.url.as_ref().unwrap()).await.unwrap();
    let mut wrong = Vec::new();
    for (name, sql) in statements() {
        let (values, _, index) = wanted(name).unwrap();
        // What is to go it may join with the table in whichever way is cheapest: few rows, as here, it reads whole. The
        // rows that are to go it finds by the index in any case.
        let joins =
            if name.starts_with("FORGET_") || name.contains("ENDING_") || name.ends_with("_TO_WARN_OF") {
                "off"
            } else {
                "on"
            };
        for join in ["hashjoin", "mergejoin"] {
            connection.execute(AssertSqlSafe(format!("SET enable_{join} = {joins}"))).await.unwrap();
        }
        connection.execute(AssertSqlSafe(format!("PREPARE {name} AS {sql}"))).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            connection.execute(AssertSqlSafe(format!("SET plan_cache_mode = {mode}"))).await.unwrap();
            let list = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE {name}{list}"));
            let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
            let plan = plan.join("\n");
            let by_index = plan.contains(index) || name.starts_with("FORGET_");
            if plan.contains("Seq Scan on") || !by_index {
                wrong.push(format!("{name}, {mode}: a whole table is read, or not {index}\n{plan}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_uses_its_index_on_sqlite() {
    let database = filled(Engine::Sqlite).await;
    let file = database.directory.path().join("data/jeton.db");
    for statistics in ["with statistics", "without"] {
        let mut connection =
            SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        for (name, sql) in statements() {
            let (values, index, _) = wanted(name).unwrap();
            let mut query = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
            for value in &values {
                query = match value.parse::<i64>() {
                    Ok(number) => query.bind(Some(number)),
                    Err(_) => query.bind(value.trim_matches('\'').to_owned()),
                };
            }
            let plan: Vec<(i64, i64, i64, String)> = query.fetch_all(&mut connection).await.unwrap();
            let text: Vec<_> = plan.iter().map(|(.., line)| line.as_str()).collect();
            let told = format!("{name}, {statistics}:\n{}", text.join("\n"));
            assert!(text.iter().any(|line| line.contains(index)), "no {index}: {told}");
            // A partial index that is walked whole is what it is for.
            let whole = |line: &&&str| line.starts_with("SCAN") && !line.contains("_uncounted");
            let whole = text.iter().filter(whole).filter(|line| !line.contains("bounded")).count();
            assert_eq!(whole, 0, "a whole table is read: {told}");
        }
        database.execute("DELETE FROM sqlite_stat1").await;
    }
}
