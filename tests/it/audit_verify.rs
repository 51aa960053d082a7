//! What `jeton audit verify` needs and shows.

use std::process::{Command, Output, Stdio};

use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::{Database, Engine, Replica, START, command, jeton, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A database user that may read the three tables that it takes, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_user_that_may_only_read_is_enough() {
    let mut database = Database::create(Engine::Postgres).await;
    jeton(&database, &["roles", "create", "reader"]);
    let expected = jeton(&database, &["audit", "verify"]);

    let user = format!("auditor_{:032x}", rand::random::<u128>());
    for sql in [
        format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'"),
        format!("GRANT SELECT ON audit_events, audit_checkpoints, audit_keys TO {user}"),
    ] {
        database.execute(&sql).await;
    }
    let mut url: url::Url = database.url.clone().unwrap().parse().unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some(&user)).unwrap();
    database.url = Some(url.into());

    let audit = |arguments: &[&str]| {
        let output = command(&database, arguments).env_remove("JETON_MASTER_KEY").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let report: Value = serde_json::from_str(&audit(&["audit", "verify", "--json"])).unwrap();
    assert_eq!(report, expected);
    let keys = database.directory.path().join("keys.json");
    std::fs::write(&keys, audit(&["audit", "keys"])).unwrap();
    audit(&["audit", "verify", "--keys", keys.to_str().unwrap(), "--from", "2026-01-01T00:00:00Z"]);
    let events = expected["events"].as_u64().unwrap();
    let exported = audit(&["audit", "export"]);
    assert_eq!(exported.lines().filter(|line| line.contains("\"event\":")).count() as u64, events);

    let refused = run(&database, &["roles", "create", "another"]);
    assert!(!refused.status.success(), "it may write");
    assert!(text(&refused.stderr).contains("permission denied"), "{}", text(&refused.stderr));
}

/// Runs a command on a terminal of its own, which `script` of util-linux makes. What both outputs show comes
/// together there.
fn on_a_terminal(database: &Database, arguments: &[&str]) -> Output {
    let line = command(database, arguments);
    let words: Vec<&str> =
        [line.get_program()].into_iter().chain(line.get_args()).map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    script.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("SHELL", "/bin/sh");
    script.envs(database.environment()).current_dir(database.directory.path()).stdin(Stdio::null());
    script.output().expect("the test needs `script`, of util-linux")
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let database = Database::create(Engine::Sqlite).await;
    let replica = Replica::start(&database).await;
    for _ in 0..5 {
        join_all((0..2_000).map(|_| replica.record(START))).await;
    }
    replica.stop().await;

    let shown = on_a_terminal(&database, &["audit", "verify"]);
    let told = text(&shown.stdout);
    assert!(shown.status.success(), "{told}");
    let (progress, rest) = told.split_once("\r10000 events …\u{1b}[K").unwrap_or_else(|| panic!("{told:?}"));
    assert!(progress.contains("Believing the keys in the database"), "{told:?}");
    assert!(rest.starts_with("\r\u{1b}[K"), "it goes when all is done: {told:?}");
    assert!(rest.contains("Events: 10002, chains: 1; none is altered"), "{told:?}");

    let output = run(&database, &["audit", "verify"]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(lines[0].starts_with("Believing") && lines[1].starts_with("Events: 10002"), "{told:?}");
    assert!(!told.contains(['\r', '\u{1b}']) && !text(&output.stdout).contains(['\r', '\u{1b}']), "{told:?}");
}
