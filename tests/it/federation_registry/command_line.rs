//! Trusted issuers and federated credentials on the command line.

use std::fs;

use serde_json::{Value, json};

use super::key;
use crate::harness::{Database, Engine, command, jeton, run};

async fn an_issuer_and_its_credentials_are_registered_offline(engine: Engine) {
    let database = Database::create(engine).await;
    let made = jeton(&database, &["trusted-issuers", "create", "github", "--preset", "github"]);
    assert_eq!(made["issuer"], "https://token.actions.githubusercontent.com");
    assert_eq!((&made["reuse"], &made["max_lifetime"]), (&json!("once"), &json!(3_600)));
    jeton(&database, &["clients", "create", "deploy", "--no-secret"]);
    let federation = ["clients", "federation"];
    let with = |arguments: &[&str]| -> Value { jeton(&database, &[&federation[..], arguments].concat()) };
    let added = with(&[
        "add",
        "deploy",
        "--preset",
        "github",
        "--repository",
        "o/r",
        "--environment",
        "prod",
        "--expires-in",
        "60",
    ]);
    let conditions =
        json!([{ "claim": "environment", "value": "prod" }, { "claim": "repository", "value": "o/r" }]);
    assert_eq!((&added["conditions"], &added["trusted_issuer"]), (&conditions, &json!("github")));
    let warnings = added["warnings"].to_string();
    assert!(warnings.contains("federated_jwt"), "registered for no method that takes it: {warnings}");
    assert_eq!(added["warnings"].as_array().unwrap().len(), 2, "names can be registered anew: {warnings}");
    let other = with(&["add", "deploy", "--issuer", "github", "--condition", "sub=repo:o/r:ref:a=b"]);
    assert_eq!(other["conditions"], json!([{ "claim": "sub", "value": "repo:o/r:ref:a=b" }]));
    assert_eq!(with(&["list", "deploy"]).as_array().unwrap().len(), 2);
    let id = added["credential_id"].as_str().unwrap();
    let changed = with(&["change", "deploy", id, "--never-expires", "--description", "x"]);
    assert_eq!((&changed["expires_at"], &changed["description"]), (&Value::Null, &json!("x")));
    let shown = jeton(&database, &["clients", "show", "deploy"]);
    assert_eq!(shown["federated_credentials"].as_array().unwrap().len(), 2);

    let stock = ["resource-servers", "create", "stock", "--identifier", "https://stock.example"];
    jeton(&database, &[&stock[..], &["--permission", "stock:read"]].concat());
    let rule = [
        "exchange-rules",
        "create",
        "on",
        "--caller-client",
        "deploy",
        "--subject-issuer",
        "github",
        "--subject-condition",
        "repository=o/r",
        "--resource-server",
        "stock",
        "--permission",
        "stock:read",
    ];
    jeton(&database, &rule);
    let impact = json!({
        "trusted_issuer": "github", "federated_credentials": 2, "clients": 1, "some": ["deploy"], "rules": ["on"],
    });
    assert_eq!(jeton(&database, &["trusted-issuers", "impact", "github"]), impact);
    jeton(&database, &["exchange-rules", "delete", "on"]);

    let refused = run(&database, &["trusted-issuers", "delete", "github"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("these clients name it: deploy"), "{told}");
    for credential in with(&["list", "deploy"]).as_array().unwrap() {
        with(&["remove", "deploy", credential["credential_id"].as_str().unwrap()]);
    }
    jeton(&database, &["trusted-issuers", "delete", "github"]);
    assert_eq!(jeton(&database, &["trusted-issuers", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_and_its_credentials_are_registered_offline_on_sqlite() {
    an_issuer_and_its_credentials_are_registered_offline(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_and_its_credentials_are_registered_offline_on_postgres() {
    an_issuer_and_its_credentials_are_registered_offline(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_file_and_what_is_missing_is_said() {
    let database = Database::create(Engine::Sqlite).await;
    let file = database.directory.path().join("jwks.json");
    fs::write(&file, json!({ "keys": [key()] }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let create = ["trusted-issuers", "create", "cluster", "--preset", "kubernetes"];
    let made = jeton(
        &database,
        &[&create[..], &["--issuer", "https://kubernetes.default.svc", "--jwks", file]].concat(),
    );
    assert_eq!((&made["keys"]["from"], &made["reuse"]), (&json!("inline"), &json!("within_life")));
    let update = ["trusted-issuers", "update", "cluster"];
    let changed = jeton(&database, &[&update[..], &["--leeway", "5", "--audience", "urn:x"]].concat());
    assert_eq!((&changed["leeway"], &changed["audience"]), (&json!(5), &json!("urn:x")));
    let changed = jeton(&database, &[&update[..], &["--own-audience", "--discovery"]].concat());
    assert_eq!((&changed["audience"], &changed["keys"]["from"]), (&Value::Null, &json!("discovery")));
    assert_eq!(jeton(&database, &["trusted-issuers", "disable", "cluster"])["enabled"], false);
    assert_eq!(jeton(&database, &["trusted-issuers", "enable", "cluster"])["enabled"], true);
    assert_eq!(jeton(&database, &["trusted-issuers", "show", "cluster"])["version"], 5);
    assert_eq!(jeton(&database, &["trusted-issuers", "presets"]).as_array().unwrap().len(), 9);

    jeton(&database, &["clients", "create", "pod", "--no-secret"]);
    for (arguments, told) in [
        (&["trusted-issuers", "create", "a", "--preset", "aws"][..], "add --issuer, for example https://"),
        (
            &["trusted-issuers", "create", "a", "--preset", "spiffe", "--issuer", "spiffe://a"],
            "add --bundle-endpoint, --bundle-file or --jwks",
        ),
        (&["trusted-issuers", "create", "a"], "--issuer"),
        (
            &["clients", "federation", "add", "pod", "--issuer", "cluster", "--preset", "kubernetes"],
            "namespace: the preset kubernetes needs it",
        ),
        (
            &["clients", "federation", "add", "pod", "--preset", "github", "--repository", "octo-repo"],
            "write owner/name, for example octo-org/octo-repo",
        ),
        (&["clients", "federation", "add", "pod", "--issuer", "cluster"], "--condition"),
        (&["clients", "federation", "add", "pod", "--issuer", "cluster", "--condition", "sub"], "CLAIM=TEXT"),
        (
            &["clients", "federation", "add", "pod", "--preset", "google", "--unique-id", "1"],
            "no trusted issuer 'google'",
        ),
    ] {
        let refused = run(&database, arguments);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(told), "{arguments:?}: {error}");
    }
}

/// Scripts see by the exit code that a token is refused; what it is, is told all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_explained_with_a_failure() {
    let database = Database::create(Engine::Sqlite).await;
    let token = database.directory.path().join("token.jwt");
    fs::write(&token, "no token").unwrap();
    let unknown = run(&database, &["explain-assertion", token.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        !unknown.status.success() && told.contains("set JETON_ISSUER to the URL that callers use"),
        "{told}"
    );
    // And then it is known, although a command has run before without it.
    let mut explain = command(&database, &["explain-assertion", token.to_str().unwrap()]);
    let explained = explain.env("JETON_ISSUER", "http://localhost:8080").output().unwrap();
    let told = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert_eq!(explained.status.code(), Some(1), "{explained:?}");
    assert!(told.contains("It would not be accepted.") && told.contains("form"), "{explained:?}");
}
