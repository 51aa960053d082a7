//! The master key in a token: `SoftHSM2` plays it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{NEW, OLD, OLD_ID, done, refused};
use crate::harness::softhsm::{PIN, Token};
use crate::harness::{Database, Engine, Process, jeton};

fn create_key(token: &Token, database: &Database, label: &str) -> String {
    let (made, notes) = done(database, &token.with(&[]), &["keys", "create-master", label]);
    assert_eq!((&made["label"], &made["token"]), (&json!(label), &json!("jeton test")));
    assert!(!notes.contains(PIN), "{notes}");
    made["master_key"].as_str().unwrap().to_owned()
}

// PostgreSQL's tests have a master key in the environment, so an empty one, which counts as none, comes first.
const NO_OTHER: (&str, &str) = ("JETON_MASTER_KEY", "");

async fn seals_and_opens(engine: Engine) {
    let database = Database::create(engine).await;
    let token = Token::create(&database);
    let id = create_key(&token, &database, "master");
    let environment = token.with(&[NO_OTHER, ("JETON_MASTER_KEY_LABEL", "master")]);
    let server = Process::serve(&database, &environment).await;
    let published = super::jwks(&server).await;
    server.stop().await;
    let server = Process::serve(&database, &environment).await;
    assert_eq!(super::jwks(&server).await, published, "what it has sealed it opens");
    let (log, complaints) = (server.log(), server.complaints());
    server.stop().await;
    assert!(!log.contains(PIN), "{log}");
    assert_eq!(complaints, [""; 0]);
    assert!(!database.directory.path().join("data/master.key").exists(), "no other key is made");
    // A key in memory is another one.
    let said = refused(&database, &[("JETON_MASTER_KEY", OLD)], &["serve"]);
    assert!(said.contains(&format!("4 are under master key {id}")), "{said}");
    assert!(said.contains(&format!("configured: {OLD_ID} (current)")), "{said}");

    // Into a key in memory, and back into another one of the token.
    let out = token.with(&[("JETON_MASTER_KEY", NEW), ("JETON_OTHER_MASTER_KEY_LABELS", "master")]);
    assert_eq!(done(&database, &out, &["keys", "rewrap"]).0["previous"], json!([id]));
    let second = create_key(&token, &database, "master 2");
    assert_ne!(second, id);
    let back = token.with(&[
        NO_OTHER,
        ("JETON_MASTER_KEY_LABEL", "master 2"),
        ("JETON_OTHER_MASTER_KEY_LABELS", "master"),
        ("JETON_OTHER_MASTER_KEYS", NEW),
    ]);
    assert_eq!(done(&database, &back, &["keys", "rewrap"]).0["master_key"], json!(second));
    let environment = token.with(&[NO_OTHER, ("JETON_MASTER_KEY_LABEL", "master 2")]);
    let server = Process::serve(&database, &environment).await;
    assert_eq!(super::jwks(&server).await, published);
    server.stop().await;
    jeton(&database, &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pkcs11_key_seals_and_opens_on_sqlite() {
    seals_and_opens(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pkcs11_key_seals_and_opens_on_postgres() {
    seals_and_opens(Engine::Postgres).await;
}

/// Servers share a token with each other and with commands, and read the keys anew from it while they run.
#[tokio::test(flavor = "multi_thread")]
async fn pkcs11_servers_share_a_token() {
    let database = Database::create(Engine::Postgres).await;
    let token = Token::create(&database);
    let old = create_key(&token, &database, "master");
    create_key(&token, &database, "next");
    let before = token.with(&[NO_OTHER, ("JETON_MASTER_KEY_LABEL", "master")]);
    Process::serve(&database, &before).await.stop().await;
    let both = token.with(&[
        NO_OTHER,
        ("JETON_MASTER_KEY_LABEL", "next"),
        ("JETON_OTHER_MASTER_KEY_LABELS", "master"),
    ]);
    let (one, other) = tokio::join!(Process::serve(&database, &both), Process::serve(&database, &both));
    assert!(one.log().contains(&format!("4 are under master key {old}, which only opens")), "{}", one.log());
    assert_eq!(done(&database, &both, &["keys", "rewrap"]).0["previous"], json!([old]));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(super::jwks(&one).await, super::jwks(&other).await);
    for server in [one, other] {
        let ready = reqwest::get(format!("{}/readyz", server.base)).await.unwrap();
        assert!(ready.status().is_success(), "{}", server.log());
        assert_eq!(server.complaints(), [""; 0]);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pkcs11_errors_say_what_to_do() {
    let database = Database::create(Engine::Sqlite).await;
    let token = Token::create(&database);
    let label = ("JETON_MASTER_KEY_LABEL", "master");

    let said = refused(&database, &token.with(&[label]), &["serve"]);
    assert!(said.contains("the PKCS#11 token 'jeton test' has no key 'master'"), "{said}");
    assert!(said.contains("make it with `jeton keys create-master master`"), "{said}");

    create_key(&token, &database, "master");
    let said = refused(&database, &token.with(&[]), &["keys", "create-master", "master"]);
    assert!(said.contains("has a key 'master' already: choose another label"), "{said}");
    let said = refused(&database, &[], &["keys", "create-master", "master"]);
    assert!(said.contains("set pkcs11.module, pkcs11.token and pkcs11.pin_file"), "{said}");

    let said = refused(&database, &token.with(&[label, ("JETON_PKCS11__TOKEN", "elsewhere")]), &["serve"]);
    let expected = "there is no PKCS#11 token 'elsewhere' (pkcs11.token); there is: 'jeton test'";
    assert!(said.contains(expected), "{said}");

    let said = refused(&database, &token.with(&[label, ("JETON_PKCS11__MODULE", "/nowhere.so")]), &["serve"]);
    assert!(said.contains("the PKCS#11 library /nowhere.so (pkcs11.module)"), "{said}");

    let wrong = database.directory.path().join("wrong-pin");
    let wrong_pin = ("JETON_PKCS11__PIN_FILE", wrong.to_str().unwrap());
    let said = refused(&database, &token.with(&[label, wrong_pin]), &["serve"]);
    assert!(said.contains("wrong-pin (pkcs11.pin_file): No such file"), "{said}");
    fs::write(&wrong, "0000-wrong").unwrap();
    fs::set_permissions(&wrong, PermissionsExt::from_mode(0o644)).unwrap();
    let said = refused(&database, &token.with(&[label, wrong_pin]), &["serve"]);
    assert!(said.contains("does not take the PIN in") && said.contains("locks itself"), "{said}");
    assert!(said.contains("can be read or written by everybody"), "{said}");
    assert!(!said.contains("0000-wrong"), "{said}");

    // None of this has made or sealed anything.
    assert_eq!(
        database.texts("SELECT kid FROM signing_keys UNION SELECT kid FROM audit_keys").await,
        [""; 0]
    );
    assert!(!database.directory.path().join("data/master.key").exists());
}
