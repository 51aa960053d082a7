//! Secrets at the command line: rotating, and moving many clients in.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Server, both_engines, command, jeton, run};

both_engines!(a_secret_is_rotated_and_changed_offline, clients_move_in_all_of_them_or_none,);

const ASK: &str = "grant_type=client_credentials&resource=https://orders.example";
const BCRYPT: &str = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOKlkhGy3.UjmW7NrbFvBFadQ2K0SNOye";

async fn a_secret_is_rotated_and_changed_offline(server: Server) {
    let old = server.billing().await;
    let database = &server.database;
    let rotated = jeton(
        database,
        &["clients", "secret", "rotate", "billing", "--overlap", "3600", "--description", "next"],
    );
    let new = Client::new("billing", rotated["client_secret"].as_str().unwrap());
    assert_eq!(rotated["replaces"].as_array().unwrap().len(), 1);
    let id = rotated["secret_id"].as_str().unwrap();
    let update = ["clients", "secret", "update", "billing", id, "--description", "the next one"];
    assert_eq!(jeton(database, &update)["description"], "the next one");
    let far = ["clients", "secret", "update", "billing", id, "--expires-at", "2999-01-01T00:00:00Z"];
    assert_eq!(jeton(database, &far)["expires_at"], "2999-01-01T00:00:00Z");
    let never = jeton(database, &["clients", "secret", "update", "billing", id, "--never-expires"]);
    assert_eq!(never["expires_at"], Value::Null);
    assert_eq!(jeton(database, &["clients", "own-secrets", "billing", "on"])["may_rotate_own_secrets"], true);
    assert_eq!(jeton(database, &["clients", "ending"]), json!([]), "what was replaced is meant to end");
    let shown = jeton(database, &["clients", "show", "billing"]);
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2, "{shown}");

    // What a client has elsewhere comes from a file or a pipe, and is not shown again.
    let mut add = command(database, &["clients", "secret", "add", "billing", "--hash-file", "-", "--json"]);
    let mut child = add.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{BCRYPT}\n").as_bytes()).unwrap();
    let added: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&added["imported_as"], added.get("client_secret")), (&json!("bcrypt"), None));
    fs::write(database.directory.path().join("plain"), "a secret of another server\r\n").unwrap();
    let plain = jeton(database, &["clients", "secret", "add", "billing", "--secret-file", "plain"]);
    assert_eq!((&plain["origin"], plain.get("client_secret")), (&json!("chosen"), None));
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    for secret in [&*old.secret, &new.secret, "keycloak secret of old", "a secret of another server"] {
        server.token(&Client::new("billing", secret), ASK).await.expect(200);
    }
}

fn import(server: &Server, text: &str, more: &[&str]) -> Output {
    fs::write(server.database.directory.path().join("clients.jsonl"), text).unwrap();
    let arguments = [&["clients", "import", "clients.jsonl", "--json"], more].concat();
    run(&server.database, &arguments)
}

async fn clients_move_in_all_of_them_or_none(server: Server) {
    server.billing().await;
    let good = [
        json!({ "client_id": "a", "owner": "red", "roles": ["order-reader"], "secrets": [{ "secret_hash": BCRYPT }] }),
        json!({ "client_id": "b", "enabled": false, "secrets": [{ "secret": "b's secret elsewhere" }] }),
        json!({ "client_id": "c" }),
    ];
    let good: Vec<_> = good.iter().map(ToString::to_string).collect();
    let before = server.last_change().await;
    let wrong = [
        &*good[0],
        "",
        r#"{"client_id": "billing"}"#,
        r#"{"client_id": "d", "secrets": [{"secret": "hunter2"}]}"#,
        r#"{"client_id": "e", "secrets": [{"secret_hash": "$2b$31$EGdrhbKUv8Oc9vGiXX0HQOKlkhGy3.UjmW7NrbFvBFadQ2K0SNOye"}]}"#,
        r#"{"client_id": "a"}"#,
        r#"{"client_id": "f", "roles": ["nobody"]}"#,
        r#"{"client_id": "g""#,
        r#"{"client_id": "h", "secrets": [{}]}"#,
    ];
    let refused = import(&server, &wrong.join("\n"), &[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    for part in [
        "nothing was imported",
        "line 3: client_id: a client 'billing' is registered already",
        "line 4: secrets[0].secret: ",
        "line 5: secrets[0].secret_hash: its cost is 31",
        "line 6: client_id: 'a' stands in line 1 too",
        "line 7: roles: ",
        "line 8: the line: it is not JSON",
        "line 9: secrets[0]: it has neither",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("hunter2") && !told.contains("EGdrhb"), "{told}");
    let dry = import(&server, &good.join("\n"), &["--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    assert_eq!(server.last_change().await, before, "nothing was registered");

    let done = import(&server, &good.join("\n"), &["--role", "order-reader"]);
    assert!(done.status.success(), "{done:?}");
    assert!(!String::from_utf8_lossy(&done.stderr).contains(BCRYPT));
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        told,
        json!([
            { "line": 1, "client_id": "a", "secrets": ["bcrypt"] },
            { "line": 2, "client_id": "b", "secrets": ["plain text"] },
            { "line": 3, "client_id": "c", "secrets": [] },
        ])
    );
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    server.token(&Client::new("a", "keycloak secret of old"), ASK).await.expect(200);
    let off = Client::new("b", "b's secret elsewhere");
    server.token(&off, ASK).await.expect_oauth_error(401, "invalid_client");
    jeton(&server.database, &["clients", "enable", "b"]);
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    server.token(&off, ASK).await.expect(200);
    let created: Vec<_> = server
        .events("changed")
        .await
        .into_iter()
        .filter(|event| event["actor"]["type"] == "command_line" && event["action"] == "client.create")
        .collect();
    assert_eq!(created.len(), 3, "each is in the audit");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_keycloak_move_in() {
    let server = Server::start(Engine::Sqlite).await;
    server.billing().await;
    let line = json!({
        "clientId": "kc", "secret": "0123456789abcdef0123456789abcdef", "serviceAccountsEnabled": true,
        "defaultClientScopes": ["roles"], "enabled": true,
    });
    let done = import(&server, &line.to_string(), &["--format", "keycloak", "--role", "order-reader"]);
    assert!(done.status.success(), "{done:?}");
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("line 1: kc is not taken over: defaultClientScopes")
    );
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    server.token(&Client::new("kc", "0123456789abcdef0123456789abcdef"), ASK).await.expect(200);
}
