//! `jeton doctor`: what is well, and one broken thing at a time.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::{Authority, Database, Engine, Process, command, free_port};

fn examined(database: &Database, environment: &[(&str, &str)]) -> (Output, Vec<Value>) {
    let output = command(database, &["doctor", "--json"]).envs(environment.iter().copied()).output().unwrap();
    let lines = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, lines)
}

/// What is said of a check in this state.
fn says(lines: &[Value], check: &str, state: &str) -> String {
    let said = lines.iter().filter(|line| line["check"] == check && line["state"] == state);
    said.map(|line| line["says"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

async fn all_is_well_and_one_thing_is_not(engine: Engine) {
    let database = Database::create(engine).await;
    let (first, lines) = examined(&database, &[]);
    assert!(!database.directory.path().join("data/jeton.db").exists(), "nothing is made: {lines:?}");
    assert!(first.status.code().is_some_and(|code| code < 3));
    assert!(!lines.is_empty(), "{first:?}");
    if engine == Engine::Postgres {
        let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
        assert!(database.texts(tables).await.is_empty(), "nothing is made");
    }

    // Any free port, known before: the issuer is where it listens.
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let issuer = format!("http://{listen}");
    let mut server = Process::start(
        &database,
        &["serve"],
        &[("JETON_ISSUER", issuer.as_str()), ("JETON_LISTEN", listen.as_str())],
    );
    server.base.clone_from(&issuer);
    server.ready().await;
    let asked = ("JETON_ISSUER", issuer.as_str());
    let before = database.dump().await;
    let (output, lines) = examined(&database, &[asked]);
    let wrong: Vec<_> = lines.iter().filter(|line| line["state"] == "wrong").collect();
    // The server of the tests is one that no crash has to leave whole.
    let of_tests = |line: &&&Value| line["says"].as_str().unwrap().starts_with("full_page_writes = off");
    assert_eq!(wrong.iter().filter(of_tests).count(), usize::from(engine == Engine::Postgres), "{wrong:?}");
    assert!(wrong.iter().all(|line| of_tests(&line)), "{wrong:?}");
    assert_eq!(output.status.code(), Some(i32::from(!wrong.is_empty())), "{lines:?}");
    assert!(says(&lines, "keys", "ok").contains("the database's"), "{lines:?}");
    assert_eq!(database.dump().await, before, "it changes nothing");

    let key = "0909090909090909090909090909090909090909090909090909090909090909";
    let (output, lines) = examined(&database, &[asked, ("JETON_MASTER_KEY", key)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&lines, "master key", "wrong").contains("not configured"), "{lines:?}");
    let other = issuer.replace("127.0.0.1", "localhost");
    let (output, lines) = examined(&database, &[("JETON_ISSUER", other.as_str())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&lines, "issuer", "wrong").contains("character by character"), "{lines:?}");
    server.stop().await;
    let trusted = ["trusted-issuers", "create", "ci", "--issuer", "https://ci.example"];
    let keys = ["--jwks-uri", "https://127.0.0.1:1/keys"];
    let may_be_called = ("JETON_OUTBOUND__ALLOWED_NETWORKS", "127.0.0.1/32");
    let made = [&trusted[..], &keys].concat();
    let made = command(&database, &made).envs([asked, may_be_called]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (output, lines) = examined(&database, &[asked, may_be_called]);
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&lines, "issuer", "wrong").contains("verifiers need"), "{lines:?}");
    let of_ci = says(&lines, "trusted issuers", "wrong");
    for words in ["keys of ci cannot be had", "https://127.0.0.1:1/keys", "`jeton trusted-issuers show ci`"] {
        assert!(of_ci.contains(words), "{words}: {of_ci}");
    }
    assert!(!says(&lines, "master key", "ok").is_empty(), "the others are looked at: {lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_and_one_thing_is_not_on_sqlite() {
    all_is_well_and_one_thing_is_not(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_and_one_thing_is_not_on_postgres() {
    all_is_well_and_one_thing_is_not(Engine::Postgres).await;
}

/// As where a proxy ends TLS: the doctor's own configuration has no certificate.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_certificate_ends_that_verifiers_are_shown_is_told() {
    let (database, authority) = (Database::create(Engine::Sqlite).await, Authority::new("Authority"));
    let directory = database.directory.path();
    let ca = directory.join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    authority.issue("server").write(directory, "server");
    let port = free_port();
    let (listen, issuer) = (format!("127.0.0.1:{port}"), format!("https://localhost:{port}"));
    let issuer = ("JETON_ISSUER", issuer.as_str());
    let environment = [
        issuer,
        ("JETON_LISTEN", &listen),
        ("JETON_TLS__CERTIFICATE", "server.pem"),
        ("JETON_TLS__KEY", "server.key"),
    ];
    let server = Process::start(&database, &["serve"], &environment);
    // Nobody who trusts the system's authorities alone could ask whether it is ready.
    let started = async {
        while !server.log().contains("serving") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), started).await.expect("it does not serve");
    let (output, lines) = examined(&database, &[issuer, ("SSL_CERT_FILE", ca.to_str().unwrap())]);
    let told = format!("the certificate that {} shows counts until 2035-01-01", issuer.1);
    assert!(says(&lines, "tls", "ok").contains(&told), "{output:?}");
    server.stop().await;
}

/// Each line that is not ok says what to do, also where nothing could be found out.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_found_out_says_what_to_do() {
    let database = Database::create_migrated(Engine::Sqlite).await;
    database.execute("ALTER TABLE administrators RENAME TO mislaid").await;
    let (output, lines) = examined(&database, &[]);
    let said = says(&lines, "administrators", "unknown");
    assert!(said.contains("look at the database's log; then run `jeton doctor` again"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_rest_is_looked_at() {
    let database = Database::create(Engine::Sqlite).await;
    let away = [("JETON_DATABASE_URL", "postgres://jeton@127.0.0.1:1/jeton"), ("JETON_MASTER_KEY", "x")];
    let (output, lines) = examined(&database, &away);
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&lines, "database", "wrong").contains("is it running"), "{lines:?}");
    assert!(
        !says(&lines, "descriptors", "ok").is_empty() || !says(&lines, "descriptors", "advice").is_empty()
    );
}
