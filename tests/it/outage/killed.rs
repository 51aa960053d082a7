//! A disk that is full, and a process that is killed on it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Database, Engine, Process, command, http, jeton};

/// Where each process of a test finds what the one before has left.
const SPOOLS: [(&str, &str); 1] = [("JETON_OUTAGE__DIRECTORY", "data/spool")];

async fn ask(process: &Process, secret: &str) -> reqwest::Response {
    http()
        .post(format!("{}/oauth2/token", process.base))
        .basic_auth("billing", Some(secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap()
}

async fn jti(answer: reqwest::Response) -> String {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    let payload = body["access_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

async fn readiness(process: &Process) -> String {
    reqwest::get(format!("{}/readyz", process.base)).await.unwrap().text().await.unwrap()
}

fn spools(database: &Database) -> usize {
    let entries = fs::read_dir(database.directory.path().join("data/spool")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|is| is == "spool")).count()
}

/// No file of the process may grow beyond the size that the database's log has: writing to it fails as on a full disk.
fn fill_disk(process: &Process, log: &Path) {
    let limit = format!("--fsize={}:", fs::metadata(log).unwrap().len());
    let set = Command::new("prlimit").args(["--pid", &process.id().to_string(), &limit]).status().unwrap();
    assert!(set.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_on_a_full_disk_is_recorded_by_the_next_start() {
    let database = Database::create(Engine::Sqlite).await;
    jeton(
        &database,
        &[
            "resource-servers",
            "create",
            "orders",
            "--identifier",
            "https://o.example",
            "--permission",
            "read",
        ],
    );
    jeton(&database, &["roles", "create", "reader", "--permission", "orders/read"]);
    let made = jeton(&database, &["clients", "create", "billing", "--role", "reader"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap();
    let log = database.directory.path().join("data/jeton.db-wal");

    // A process that is told nothing when it meets the limit, but that the write failed.
    let process = Process::serve_unsignalled(&database, "XFSZ", &SPOOLS).await;
    let mut answered = vec![jti(ask(&process, secret).await).await];
    fill_disk(&process, &log);
    // The log's file may have room that it was given before.
    for _ in 0..2_000 {
        answered.push(jti(ask(&process, secret).await).await);
        if readiness(&process).await.starts_with("serving through an outage") {
            break;
        }
    }
    assert!(readiness(&process).await.starts_with("serving through an outage"), "the disk was never full");
    for _ in 0..10 {
        answered.push(jti(ask(&process, secret).await).await);
    }
    assert!(!process.signal("KILL").await.success());
    assert_eq!(spools(&database), 1);

    let process = Process::serve(&database, &SPOOLS).await;
    assert_eq!(readiness(&process).await, "ready\n");
    answered.push(jti(ask(&process, secret).await).await);
    super::expect_recorded_once(&database, &answered).await;
    let adopted = database.texts("SELECT event FROM audit_events WHERE kind = 'spool_adopted'").await;
    assert!(adopted.len() == 1 && !adopted[0].contains("problem"), "{adopted:?}");
    assert_eq!(spools(&database), 1, "its own");
    let hasty = [("JETON_SERVER__SHUTDOWN_DEADLINE", "1s")];
    let beside = command(&database, &["serve"]).envs(SPOOLS).envs(hasty).output().unwrap();
    let said = String::from_utf8_lossy(&beside.stderr);
    assert!(said.contains("waiting until another server") && said.contains("1s at most"), "{said}");
    let holder = format!("another server (process {})", process.id());
    assert!(
        beside.status.code() == Some(1) && said.contains(&holder) && said.contains("outage.directory"),
        "{said}"
    );

    // Stopped in an outage, it says so and keeps them; then somebody writes to the file.
    database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    answered.push(jti(ask(&process, secret).await).await);
    process.stop().await;
    database.take_rows("audit_events").await;
    assert_eq!(spools(&database), 1);
    let folder = database.directory.path().join("data/spool");
    fs::write(folder.join("made-up.spool"), "jeton spool 1\n\0\0 and an event that never was").unwrap();
    let process = Process::serve(&database, &SPOOLS).await;
    super::expect_recorded_once(&database, &answered).await;
    let adopted =
        database.texts("SELECT event FROM audit_events WHERE kind = 'spool_adopted' ORDER BY at").await;
    let of = |text: &str| adopted.iter().filter(|event| event.contains(text)).count();
    assert_eq!((adopted.len(), of("made-up.spool"), of("problem")), (3, 1, 1), "{adopted:?}");
    assert!(folder.join("made-up.unread").exists());
    process.stop().await;
    assert_eq!(spools(&database), 0, "an empty one is not left behind");
}
