//! Rules that were written before a subject could be from elsewhere.

use std::path::Path;

use crate::harness::{Database, Engine};

/// What the change is that makes such a subject possible.
const CHANGE: &str = "0015_outside_subjects.sql";

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    rules_outlive_the_change(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    rules_outlive_the_change(Engine::Postgres).await;
}

async fn rules_outlive_the_change(engine: Engine) {
    let database = Database::create(engine).await;
    let (folder, uid): (_, fn(u8) -> String) = match engine {
        Engine::Sqlite => ("sqlite", |n| format!("x'{n:032x}'")),
        Engine::Postgres => ("postgres", |n| format!("'00000000-0000-0000-0000-{n:012x}'")),
    };
    if engine == Engine::Sqlite {
        // It makes the file.
        drop(jeton::app::connect(&database.config()).await.unwrap());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let mut files: Vec<_> =
        folder.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let apply = async |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        database.execute(&format!("BEGIN; {text}; COMMIT;")).await;
    };
    for name in files.iter().take_while(|name| *name != CHANGE) {
        apply(name).await;
    }
    let (server, role, client, one, two) = (uid(1), uid(2), uid(3), uid(4), uid(5));
    database
        .execute(&format!(
            "INSERT INTO resource_servers (uid, name, identifier, description, token_lifetime, signing_algorithm,
                 token_profile, enabled, builtin, version, created_at, updated_at)
             VALUES ({server}, 'rs', 'https://rs.example', '', 300, 'ES256', 'access_token', TRUE, FALSE, 1, 1, 1);
             INSERT INTO permissions (resource_server, permission, description) VALUES ({server}, 'read', '');
             INSERT INTO roles (uid, name, description, builtin, version, created_at, updated_at)
             VALUES ({role}, 'r', '', FALSE, 1, 1, 1);
             INSERT INTO clients (uid, client_id, description, kind, labels, enabled, grant_types, auth_methods,
                 allowed_networks, search, version, created_at, updated_at)
             VALUES ({client}, 'c', '', 'service', '{{}}', TRUE, '[]', '[]', '[]', '', 1, 1, 1);
             INSERT INTO exchange_rules (uid, name, description, enabled, expires_at, caller_client, caller_role,
                 subject_client, subject_role, resource_server, mode, max_depth, token_lifetime, version, created_at,
                 updated_at)
             VALUES ({one}, 'one', 'first', TRUE, 9, {client}, NULL, NULL, {role}, {server}, 'delegation', 5, 60, 3, 1, 2),
                    ({two}, 'two', '', FALSE, NULL, NULL, {role}, {client}, NULL, {server}, 'impersonation', 1, NULL, 1,
                     1, 1);
             INSERT INTO exchange_rule_permissions (rule, resource_server, permission)
             VALUES ({one}, {server}, 'read'), ({two}, {server}, 'read');
             INSERT INTO exchange_rule_sources (rule, resource_server) VALUES ({one}, {server});"
        ))
        .await;
    let rules = async || {
        database
            .texts(
                "SELECT name || ' ' || description || ' ' || COALESCE(expires_at, 0) || ' ' || mode || ' ' || max_depth \
                     || ' ' || COALESCE(token_lifetime, 0) || ' ' || version || ' ' || created_at || ' ' || updated_at \
                     || ' ' || CASE WHEN enabled THEN 'on' ELSE 'off' END \
                     || CASE WHEN caller_client IS NULL THEN ' role' ELSE ' client' END \
                     || CASE WHEN subject_client IS NULL THEN ' role' ELSE ' client' END \
                 FROM exchange_rules ORDER BY name",
            )
            .await
    };
    let before = rules().await;
    assert_eq!(
        before,
        [
            "one first 9 delegation 5 60 3 1 2 on client role",
            "two  0 impersonation 1 0 1 1 1 off role client"
        ]
    );
    apply(CHANGE).await;
    assert_eq!(rules().await, before);
    let named = async |table: &str| {
        let sql = format!(
            "SELECT rules.name FROM {table} JOIN exchange_rules AS rules ON rules.uid = {table}.rule ORDER BY 1"
        );
        database.texts(&sql).await
    };
    assert_eq!(named("exchange_rule_permissions").await, ["one", "two"]);
    assert_eq!(named("exchange_rule_sources").await, ["one"]);
    // What they name goes with them still.
    database.execute("DELETE FROM exchange_rules WHERE name = 'one'").await;
    assert_eq!(database.texts("SELECT permission FROM exchange_rule_permissions").await.len(), 1);
    assert_eq!(database.texts("SELECT 'x' FROM exchange_rule_sources").await.len(), 0);
}
