//! Backups: whole, under load, and what a restore must not bring back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::{Database, Engine, Process, http, jeton, run};
use jeton::domain::time::Timestamp;
use jeton::runtime::clock::Ambient;

const API: &str = "http://localhost:8080/api/v1";

/// A client that may have tokens. Answers its secret.
fn register(database: &Database) -> String {
    let made = jeton(database, &["clients", "create", "job", "--role", "auditor"]);
    made["secret"]["client_secret"].as_str().unwrap().to_owned()
}

async fn ask(base: &str, secret: &str) -> (u16, Value) {
    let request = http().post(format!("{base}/oauth2/token")).basic_auth("job", Some(secret));
    let answer =
        request.form(&[("grant_type", "client_credentials"), ("resource", API)]).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A part of a token: its header, or its claims.
fn part(token: &Value, place: usize) -> Value {
    let part = token.as_str().unwrap().split('.').nth(place).unwrap();
    serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap()
}

/// Tokens with the time when each was answered.
type Answered = BTreeMap<String, Timestamp>;

/// Asks without a pause until it is `over`.
fn load(base: &str, secret: &str, over: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Answered> {
    let (base, secret, over) = (base.to_owned(), secret.to_owned(), Arc::clone(over));
    tokio::spawn(async move {
        let mut answered = Answered::new();
        while !over.load(Ordering::Relaxed) {
            let (status, body) = ask(&base, &secret).await;
            assert_eq!(status, 200, "{body}");
            let jti = part(&body["access_token"], 1)["jti"].as_str().unwrap().to_owned();
            answered.insert(jti, Ambient::system().now());
        }
        answered
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command that must fail says.
fn refused(database: &Database, arguments: &[&str]) -> String {
    let output = run(database, arguments);
    // 78 where it is the master key.
    assert!(matches!(output.status.code(), Some(1 | 78)), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn verified(database: &Database) {
    let verified = run(database, &["audit", "verify"]);
    assert!(verified.status.success(), "{}", said(&verified));
}

fn file(database: &Database) -> PathBuf {
    database.directory.path().join("data/jeton.db")
}

/// A machine without a database, but with the master key that was kept apart.
async fn another_machine(database: &Database) -> Database {
    let other = Database::create(Engine::Sqlite).await;
    fs::create_dir(other.directory.path().join("data")).unwrap();
    fs::copy(file(database).with_file_name("master.key"), file(&other).with_file_name("master.key")).unwrap();
    other
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The events of a kind, also those that the ledger has not chained yet.
async fn events(database: &Database, kind: &str) -> Vec<Value> {
    let rows =
        database.texts("SELECT event FROM audit_events UNION ALL SELECT event FROM audit_outbox").await;
    let events = rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
    events.filter(|event| event["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_every_token_that_was_answered_before_it() {
    let database = Database::create(Engine::Sqlite).await;
    let server = Process::serve(&database, &[]).await;
    let secret = register(&database);
    let over = Arc::default();
    let asking: Vec<_> = (0..2).map(|_| load(&server.base, &secret, &over)).collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let backups = database.directory.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let made = jeton(&database, &["backup", backups.to_str().unwrap()]);
    over.store(true, Ordering::Relaxed);
    let mut answered = Answered::new();
    for asking in asking {
        answered.extend(asking.await.unwrap());
    }
    server.stop().await;

    let backup = PathBuf::from(made["backup"].as_str().unwrap());
    assert_eq!(backup.parent(), Some(&*backups), "it has a name with the time");
    let names: Vec<_> = fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [&*backup], "no half backup stays");
    assert_eq!((mode(&backup), mode(&backup.join("jeton.db"))), (0o700, 0o600));
    assert_eq!(mode(&backup.join("manifest.json")), 0o600);
    let backed_up = events(&database, "backed_up").await;
    assert_eq!((backed_up.len(), &backed_up[0]["sha256"]), (1, &made["sha256"]), "and it is recorded");
    for (taken, words) in [
        (backup.join("jeton.db"), "exists already"),
        (backup.clone(), "name another place, or a directory of"),
    ] {
        let refused = refused(&database, &["backup", taken.to_str().unwrap()]);
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(fs::read_dir(&backup).unwrap().count(), 2, "none is inside of another");

    let other = another_machine(&database).await;
    let place = backup.to_str().unwrap();
    let undecided = refused(&other, &["restore", place]);
    assert!(undecided.contains("--keep-keys") && !file(&other).exists(), "{undecided}");
    let restored = jeton(&other, &["restore", place, "--keep-keys"]);
    assert_eq!((&restored["keys"], &restored["taken_at"]), (&"kept".into(), &made["taken_at"]));
    verified(&other);
    let recorded = events(&other, "token_issued").await;
    let recorded: Vec<_> = recorded.iter().filter_map(|event| event["jti"].as_str()).collect();
    let taken_at = Timestamp::parse(made["taken_at"].as_str().unwrap()).unwrap();
    let before: Vec<_> = answered.iter().filter(|(_, at)| **at < taken_at).map(|(jti, _)| jti).collect();
    assert!(!before.is_empty() && before.len() < answered.len(), "the backup came in between");
    assert!(before.iter().all(|jti| recorded.contains(&jti.as_str())), "{} tokens", before.len());
    let event = &events(&other, "restored").await[0];
    assert_eq!((&event["sha256"], &event["taken_at"]), (&made["sha256"], &made["taken_at"]));
    let left: Vec<_> =
        fs::read_dir(file(&other).parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("restoring")), "{left:?}");
    assert_eq!(mode(&file(&other)), 0o600);
    let server = Process::serve(&other, &[]).await;
    assert_eq!(ask(&server.base, &secret).await.0, 200);
    server.stop().await;
    verified(&other);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_changes_nothing() {
    let database = Database::create(Engine::Sqlite).await;
    let server = Process::serve(&database, &[]).await;
    register(&database);
    let backup = database.directory.path().join("backup");
    let place = backup.to_str().unwrap();
    let made = jeton(&database, &["backup", place]);
    let beside = refused(&database, &["restore", place, "--replace"]);
    assert!(beside.contains("stop it first"), "{beside}");
    server.stop().await;

    let before = database.dump().await;
    let there = refused(&database, &["restore", place, "--keep-keys"]);
    assert!(there.contains("--replace"), "{there}");
    // One byte of the file.
    let copy = backup.join("jeton.db");
    let whole = fs::read(&copy).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(&copy, &altered).unwrap();
    let damaged = refused(&database, &["restore", place, "--replace"]);
    assert!(damaged.contains("damaged") && damaged.contains(made["sha256"].as_str().unwrap()), "{damaged}");
    fs::write(&copy, &whole).unwrap();
    // A later schema.
    let manifest = fs::read_to_string(backup.join("manifest.json")).unwrap();
    let later = manifest.replace(&format!("\"schema\": {}", made["schema"]), "\"schema\": 9000");
    fs::write(backup.join("manifest.json"), later).unwrap();
    let newer = refused(&database, &["restore", place, "--replace"]);
    assert!(newer.contains("schema is 9000"), "{newer}");
    fs::write(backup.join("manifest.json"), manifest).unwrap();
    // Another master key.
    let other = Database::create(Engine::Sqlite).await;
    Process::serve(&other, &[]).await.stop().await;
    let theirs = other.dump().await;
    let wrong = refused(&other, &["restore", place, "--replace", "--keep-keys"]);
    let needed = made["master_keys"][0].as_str().unwrap();
    assert!(wrong.contains(&format!("master key {needed}")) && wrong.contains("not replaced"), "{wrong}");
    assert!(other.dump().await == theirs, "the database is as it was");
    assert!(database.dump().await == before, "the database is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_since_does_not_come_back_with_a_backup() {
    let database = Database::create(Engine::Sqlite).await;
    let server = Process::serve(&database, &[]).await;
    let secret = register(&database);
    let backup = database.directory.path().join("backup");
    let place = backup.to_str().unwrap();
    jeton(&database, &["backup", place]);
    let (_, token) = ask(&server.base, &secret).await;
    let kid = part(&token["access_token"], 0)["kid"].as_str().unwrap().to_owned();
    jeton(&database, &["keys", "revoke", &kid]);
    let revoke = ["tokens", "revoke", "--client", "job", "--json"];
    assert!(run(&database, &revoke).status.success());
    jeton(&database, &["clients", "disable", "job"]);
    server.stop().await;

    let restored = jeton(&database, &["restore", place, "--replace"]);
    assert_eq!(
        (&restored["keys"], &restored["revoked_keys"][0]),
        (&"carried-over".into(), &kid.as_str().into())
    );
    assert_eq!(restored["revocations"], 1);
    let stored = database.texts("SELECT CAST(COUNT(*) AS TEXT) FROM revocations").await;
    assert_eq!(stored, ["1"], "what was taken back is again");
    assert_eq!(restored["undone"][0]["action"], "client.disable", "{restored}");
    // The one before is whole, and checked where it is.
    let aside = database.directory.path().join(restored["replaced"].as_str().unwrap());
    let kept = std::process::Command::new(env!("CARGO_BIN_EXE_jeton"))
        .args(["audit", "verify"])
        .env_clear()
        .env("JETON_DATA_DIR", &aside)
        .output()
        .unwrap();
    assert!(kept.status.success(), "{}", said(&kept));
    let server = Process::serve(&database, &[]).await;
    let (status, token) = ask(&server.base, &secret).await;
    assert_eq!(status, 200, "who was disabled since is not: {token}");
    assert_ne!(part(&token["access_token"], 0)["kid"], kid.as_str(), "the stolen key signs no more");
    server.stop().await;
    verified(&database);
    // Without a word of what was since, all keys go.
    let other = another_machine(&database).await;
    let restored = jeton(&other, &["restore", place, "--revoke-keys"]);
    assert!(restored["revoked_keys"].as_array().unwrap().len() >= 2, "{restored}");
    let keys = jeton(&other, &["keys", "list"]);
    let active: Vec<_> = keys["rings"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|ring| ring["keys"].as_array().unwrap())
        .filter(|key| key["state"] == "active")
        .collect();
    assert!(!active.is_empty(), "fresh ones sign: {keys}");
    assert!(
        active.iter().all(|key| !restored["revoked_keys"].as_array().unwrap().contains(&key["kid"])),
        "{keys}"
    );
}

/// An event has the time at which its transaction began. One that was committed after the backup may be older than what
/// the backup has.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_recorded_late_is_told_as_well() {
    let database = Database::create(Engine::Sqlite).await;
    register(&database);
    let backup = database.directory.path().join("backup");
    let place = backup.to_str().unwrap();
    jeton(&database, &["backup", place]);
    jeton(&database, &["clients", "disable", "job"]);
    let earlier = "UPDATE audit_events SET at = at - 600000000 WHERE event LIKE '%client.disable%'";
    database.execute(earlier).await;
    let restored = jeton(&database, &["restore", place, "--replace"]);
    let undone = restored["undone"].as_array().unwrap();
    assert_eq!(undone.len(), 1, "what the backup has is not undone: {restored}");
    assert_eq!(undone[0]["action"], "client.disable");
}

/// `PostgreSQL`'s own programs, as `docs/backup.md` has them, with the audit's partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_postgres_is_restored_and_serves() {
    let database = Database::create(Engine::Postgres).await;
    let server = Process::serve(&database, &[]).await;
    let secret = register(&database);
    let (status, token) = ask(&server.base, &secret).await;
    assert_eq!(status, 200);
    let own = refused(&database, &["backup", "backup"]);
    assert!(own.contains("pg_dump") && own.contains("docs/backup.md"), "{own}");
    let program = |name: &str, arguments: &[&str]| {
        let output = Command::new(name).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name} {arguments:?}: {}", said(&output));
    };
    let url = database.url.as_deref().unwrap();
    let dump = database.directory.path().join("jeton.dump");
    let taken_at = Ambient::system().now().to_string();
    program("pg_dump", &["--format=custom", "--file", dump.to_str().unwrap(), "--dbname", url]);
    let (_, late) = ask(&server.base, &secret).await;
    server.stop().await;

    // The database is lost.
    let (server_url, name) = url.rsplit_once('/').unwrap();
    let maintenance = format!("{server_url}/postgres");
    program("psql", &["--quiet", "--dbname", &maintenance, "--command", &format!("DROP DATABASE {name}")]);
    let fresh = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
    program("psql", &["--quiet", "--dbname", &maintenance, "--command", &fresh]);
    let restore =
        ["--exit-on-error", "--single-transaction", "--no-owner", "--dbname", url, dump.to_str().unwrap()];
    program("pg_restore", &restore);
    assert!(refused(&database, &["after-restore", "--taken-at", &taken_at]).contains("--revoke-keys"));
    let settled = jeton(&database, &["after-restore", "--taken-at", &taken_at, "--revoke-keys"]);
    assert_eq!(settled["taken_at"], taken_at);

    verified(&database);
    let partitions =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass";
    assert!(database.texts(partitions).await.len() >= 4, "today and three days");
    let recorded = database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await;
    let jti = |token: &Value| part(&token["access_token"], 1)["jti"].as_str().unwrap().to_owned();
    assert_eq!(recorded, [jti(&token)], "what came after the dump is lost: {}", jti(&late));
    let server = Process::serve(&database, &[]).await;
    let (status, fresh) = ask(&server.base, &secret).await;
    assert_eq!(status, 200, "{fresh}");
    assert_ne!(part(&fresh["access_token"], 0)["kid"], part(&token["access_token"], 0)["kid"]);
    server.stop().await;
    verified(&database);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_nothing_behind() {
    let database = Database::create_migrated(Engine::Sqlite).await;
    let place = database.directory.path().join("backups");
    std::fs::create_dir(&place).unwrap();
    let inside = || std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    for signal in ["TERM", "INT"] {
        // Its event waits for the database, and the copy is made.
        let held = database.hold_events().await;
        let backup = Process::start(&database, &["backup", place.to_str().unwrap()], &[]);
        let made = async {
            while !inside().iter().any(|path| path.join("manifest.json").exists()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), made).await.expect("no copy is made");
        let log = backup.log();
        let status = backup.signal(signal).await;
        assert_eq!(status.code(), Some(1), "{signal}: {log}");
        assert_eq!(inside(), Vec::<PathBuf>::new(), "{signal}");
        held.release().await;
    }
    let told = "SELECT event FROM audit_events WHERE kind = 'backed_up'";
    assert_eq!(database.texts(told).await, [""; 0], "what was not made is not told");
    // What a kill has left goes with the next one.
    let left = place.join(format!(".jeton-backup-{}", "0a".repeat(16)));
    std::fs::create_dir(&left).unwrap();
    jeton(&database, &["backup", place.to_str().unwrap()]);
    assert!(!left.exists());
    assert_eq!(inside().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_replaces_nothing() {
    let database = Database::create(Engine::Sqlite).await;
    register(&database);
    let backup = database.directory.path().join("backup");
    let place = backup.to_str().unwrap();
    jeton(&database, &["backup", place]);
    jeton(&database, &["clients", "disable", "job"]);
    let before = database.dump().await;
    // Whoever reads this waits for somebody who writes.
    let (copy, kept) = (backup.join("jeton.db"), backup.join("kept"));
    fs::rename(&copy, &kept).unwrap();
    assert!(Command::new("mkfifo").arg(&copy).status().unwrap().success());
    let staged = || {
        let inside =
            fs::read_dir(file(&database).parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        inside.filter(|path| path.is_dir() && path.join("jeton.db").exists()).collect::<Vec<_>>()
    };
    for signal in ["TERM", "INT"] {
        let restore = Process::start(&database, &["restore", place, "--replace"], &[]);
        let begun = async {
            while staged().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), begun).await.expect("nothing is copied");
        let log = restore.log();
        let status = restore.signal(signal).await;
        assert_eq!(status.code(), Some(1), "{signal}: {log}");
        assert_eq!(staged(), Vec::<PathBuf>::new(), "{signal}");
    }
    assert!(database.dump().await == before, "the database is as it was");
    fs::rename(&kept, &copy).unwrap();
    let restored = jeton(&database, &["restore", place, "--replace"]);
    assert_eq!(
        restored["undone"][0]["action"], "client.disable",
        "what was interrupted can be done: {restored}"
    );
}
