//! The master key: a wrong one changes nothing, and changing it interrupts nobody.

#[cfg(feature = "pkcs11")]
mod pkcs11;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::time::sleep;

use crate::harness::{Database, Engine, Process, command, jeton, run};

const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";

/// The first 8 bytes of SHA-256("jeton master key id\0" and the key), by `sha256sum`.
const OLD_ID: &str = "5d9aa62c268e60a3";
const NEW_ID: &str = "85cb83401ac80ab3";

type Environment<'a> = &'a [(&'a str, &'a str)];

/// Settings as an operator has them at the steps of a change.
const BEFORE: Environment = &[("JETON_MASTER_KEY", OLD)];
const NEXT_OPENS: Environment = &[("JETON_MASTER_KEY", OLD), ("JETON_OTHER_MASTER_KEYS", NEW)];
const NEXT_SEALS: Environment = &[("JETON_MASTER_KEY", NEW), ("JETON_OTHER_MASTER_KEYS", OLD)];
const AFTER: Environment = &[("JETON_MASTER_KEY", NEW)];

fn jeton_with(database: &Database, environment: Environment, arguments: &[&str]) -> Output {
    command(database, arguments).envs(environment.iter().copied()).output().unwrap()
}

/// The answer of a command that must succeed, and what it notes besides.
fn done(database: &Database, environment: Environment, arguments: &[&str]) -> (Value, String) {
    let mut all = arguments.to_vec();
    all.push("--json");
    let output = jeton_with(database, environment, &all);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {notes}");
    (serde_json::from_slice(&output.stdout).unwrap(), notes)
}

/// What a command that must fail says.
fn refused(database: &Database, environment: Environment, arguments: &[&str]) -> String {
    let output = jeton_with(database, environment, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn wrong_key_changes_nothing(engine: Engine) {
    let database = Database::create(engine).await;
    Process::serve(&database, BEFORE).await.stop().await;
    let before = database.dump().await;
    let expected = format!(
        "jeton: of 4 sealed keys in the database 4 are under master key {OLD_ID}, which is not configured; \
         configured: {NEW_ID} (current). Nothing was changed. Give the master key that this database was started \
         with. If the master key is being changed, give the old one and the new one: the current one as before, \
         the other in other_master_key_files (docs/configuration.md#changing-the-master-key)"
    );
    for arguments in [&["serve"][..], &["clients", "list"], &["clients", "create", "x"], &["keys", "rewrap"]]
    {
        let output = jeton_with(&database, AFTER, arguments);
        assert_eq!(output.status.code(), Some(78), "starting again does not help: {arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.trim_end(), expected, "{arguments:?}");
        assert!(!said.contains(OLD) && !said.contains(NEW), "{said}");
    }
    assert_eq!(database.dump().await, before, "a wrong key changes nothing");
    // With the right one among others everything is as it was.
    Process::serve(&database, NEXT_SEALS).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_an_error_and_changes_nothing_on_sqlite() {
    wrong_key_changes_nothing(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_an_error_and_changes_nothing_on_postgres() {
    wrong_key_changes_nothing(Engine::Postgres).await;
}

/// Two servers, of which one at a time is restarted, and a client who asks whichever is there.
struct Fleet<'a> {
    database: &'a Database,
    servers: Arc<RwLock<Vec<Process>>>,
    issued: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl<'a> Fleet<'a> {
    async fn start(database: &'a Database, environment: Environment<'_>) -> Fleet<'a> {
        // One after the other: two first ones at once may make two audit keys.
        let one = Process::serve(database, environment).await;
        let other = Process::serve(database, environment).await;
        Fleet {
            database,
            servers: Arc::new(RwLock::new(vec![one, other])),
            issued: Arc::default(),
            over: Arc::default(),
        }
    }

    /// Asks each server in turn, without a pause; fails at the first answer that is no token.
    fn ask(&self, secret: &str) -> tokio::task::JoinHandle<()> {
        let (servers, issued, over) =
            (Arc::clone(&self.servers), Arc::clone(&self.issued), Arc::clone(&self.over));
        let (http, secret) = (reqwest::Client::new(), secret.to_owned());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Held while asking, so that nobody is stopped under a request.
                for server in servers.read().await.iter() {
                    let answer = http
                        .post(format!("{}/oauth2/token", server.base))
                        .basic_auth("job", Some(&secret))
                        .form(&[
                            ("grant_type", "client_credentials"),
                            ("resource", "http://localhost:8080/api/v1"),
                        ])
                        .send()
                        .await
                        .unwrap();
                    let status = answer.status();
                    assert_eq!(status, 200, "{}\n{}", answer.text().await.unwrap(), server.log());
                    issued.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
    }

    /// Restarts one server after the other, and answers what they have logged since. `between` runs when one has
    /// the new settings and the other the old.
    async fn roll(&self, environment: Environment<'_>, between: impl AsyncFnOnce(&Self)) -> String {
        self.restart(environment).await;
        between(self).await;
        self.restart(environment).await;
        self.servers.read().await.iter().map(Process::log).collect()
    }

    async fn restart(&self, environment: Environment<'_>) {
        let oldest = self.servers.write().await.remove(0);
        oldest.stop().await;
        let fresh = Process::serve(self.database, environment).await;
        self.servers.write().await.push(fresh);
        let before = self.issued.load(Ordering::Relaxed);
        while self.issued.load(Ordering::Relaxed) < before + 4 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether both publish the same keys, in the end.
    async fn agree(&self) -> String {
        let servers = self.servers.read().await;
        let mut published = (String::new(), String::from("-"));
        for _ in 0..100 {
            published = (jwks(&servers[0]).await, jwks(&servers[1]).await);
            if published.0 == published.1 {
                return published.0;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{published:?}\n{}\n{}", servers[0].log(), servers[1].log());
    }
}

async fn jwks(server: &Process) -> String {
    reqwest::get(format!("{}/.well-known/jwks.json", server.base)).await.unwrap().text().await.unwrap()
}

async fn changed_while_two_servers_serve(engine: Engine) {
    let database = Database::create(engine).await;
    let fleet = Fleet::start(&database, BEFORE).await;
    let (made, _) = done(&database, BEFORE, &["clients", "create", "job", "--role", "administrator"]);
    let asking = fleet.ask(made["secret"]["client_secret"].as_str().unwrap());
    let first = fleet.agree().await;

    // 1. Every replica opens what the new key seals.
    let log = fleet.roll(NEXT_OPENS, async |_| {}).await;
    assert!(log.contains(&format!("nothing is sealed under master key {NEW_ID}, which only opens")), "{log}");
    let (_, notes) = done(&database, NEXT_OPENS, &["keys", "rewrap"]);
    assert!(notes.contains("if it is the new one, make it the current one"), "too early is no harm: {notes}");

    // 2. It becomes the current one. A key that is made meanwhile is sealed under it, and a replica that has not
    // come so far opens it: that is what the first step is for.
    let log = fleet
        .roll(NEXT_SEALS, async |fleet| {
            done(&database, NEXT_SEALS, &["keys", "rotate"]);
            sleep(Duration::from_secs(1)).await;
            assert_ne!(fleet.agree().await, first, "a key was made");
            let said = refused(&database, BEFORE, &["clients", "list"]);
            assert!(said.contains(&format!("1 is under master key {NEW_ID}")), "{said}");
            assert!(said.contains("Most likely it is the new one"), "{said}");
        })
        .await;
    assert!(
        log.contains(&format!("of 5 sealed keys 4 are under master key {OLD_ID}, which only opens")),
        "{log}"
    );
    assert!(log.contains("run `jeton keys rewrap`"), "{log}");
    let said = refused(&database, AFTER, &["clients", "list"]);
    assert!(said.contains(&format!("4 are under master key {OLD_ID}")), "{said}");
    assert!(said.contains("was taken away before `jeton keys rewrap`"), "{said}");

    // 3. What the old key has sealed is sealed anew.
    let published = fleet.agree().await;
    let (answer, notes) = done(&database, NEXT_SEALS, &["keys", "rewrap"]);
    let counts = |signing_keys, audit_keys, shared_secrets, previous: &[&str]| {
        json!({
            "master_key": NEW_ID, "previous": previous, "signing_keys": signing_keys, "audit_keys": audit_keys,
            "shared_secrets": shared_secrets, "second_factors": 0,
        })
    };
    let expected = counts(2, 1, 1, &[OLD_ID]);
    assert_eq!(answer, expected);
    assert!(notes.contains("take the other master keys out"), "{notes}");
    let (again, notes) = done(&database, NEXT_SEALS, &["keys", "rewrap"]);
    assert_eq!(again, counts(0, 0, 0, &[]));
    assert!(notes.contains("Nothing was changed"), "{notes}");
    let events = database.texts("SELECT event FROM audit_events WHERE kind = 'keys_rewrapped'").await;
    assert_eq!(events.len(), 1, "nothing to do is no event: {events:?}");
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(event[member], *value, "{event}");
    }
    assert_eq!(event["actor"]["type"], "command_line", "{event}");

    // 4. The old one goes.
    let log = fleet.roll(AFTER, async |_| {}).await;
    assert!(!log.contains("master key"), "nothing is left to say: {log}");
    assert_eq!(fleet.agree().await, published, "the keys are the same all along");
    let said = refused(&database, BEFORE, &["clients", "list"]);
    assert!(said.contains(&format!("5 are under master key {NEW_ID}")), "{said}");

    fleet.over.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    assert!(fleet.issued.load(Ordering::Relaxed) > 50, "{:?}", fleet.issued);
    for server in fleet.servers.write().await.drain(..) {
        server.stop().await;
    }
    jeton(&database, &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_changed_while_two_servers_serve_on_sqlite() {
    changed_while_two_servers_serve(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_changed_while_two_servers_serve_on_postgres() {
    changed_while_two_servers_serve(Engine::Postgres).await;
}

async fn two_rewraps_at_once(engine: Engine) {
    let database = Database::create(engine).await;
    Process::serve(&database, BEFORE).await.stop().await;
    let both: Vec<_> = (0..2)
        .map(|_| {
            let mut rewrap = command(&database, &["keys", "rewrap", "--json"]);
            rewrap.envs(NEXT_SEALS.iter().copied()).stdout(std::process::Stdio::piped());
            rewrap.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut resealed = 0;
    for rewrap in both {
        let output = rewrap.wait_with_output().unwrap();
        assert!(output.status.success());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        for counted in ["signing_keys", "audit_keys", "shared_secrets"] {
            resealed += answer[counted].as_u64().unwrap();
        }
    }
    assert_eq!(resealed, 4, "each key once");
    Process::serve(&database, AFTER).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rewraps_at_once_do_no_harm_on_sqlite() {
    two_rewraps_at_once(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rewraps_at_once_do_no_harm_on_postgres() {
    two_rewraps_at_once(Engine::Postgres).await;
}

/// The master key is lost. What it seals is given up by a command that says what, and everything else goes on.
async fn a_lost_master_key_is_given_up(engine: Engine) {
    let database = Database::create(engine).await;
    let server = Process::serve(&database, BEFORE).await;
    let (made, _) = done(&database, BEFORE, &["clients", "create", "job", "--role", "auditor"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap().to_owned();
    let issued = jwks(&server).await;
    server.stop().await;
    done(&database, BEFORE, &["admin", "create", "ada", "--role", "administrator"]);
    // What seals is all that counts here, not what is in it.
    let enrolled =
        "password_hash = 'hash', second_factor = (SELECT sealed_private FROM signing_keys LIMIT 1)";
    database.execute(&format!("UPDATE administrators SET {enrolled} WHERE name = 'ada'")).await;
    database.execute("INSERT INTO recovery_codes SELECT uid, second_factor FROM administrators").await;
    let session = "INSERT INTO administrator_sessions \
        (hash, handle, administrator, stage, agent, created_at, used_at, ends_at) \
        SELECT second_factor, 'x', uid, 'complete', 'x', created_at, created_at, created_at FROM administrators";
    database.execute(session).await;
    // What else lets somebody in.
    let ways = async || {
        let mut ways = Vec::new();
        for table in ["recovery_codes", "administrator_sessions", "administrator_links"] {
            let owners = format!("SELECT name FROM administrators JOIN {table} ON administrator = uid");
            ways.push(database.texts(&owners).await);
        }
        ways
    };
    assert_eq!(ways().await, [["ada"]; 3]);

    let abandon = ["keys", "abandon-master", OLD_ID];
    let before = database.dump().await;
    let confirmed = [&abandon[..], &["--lose-what-it-seals"]].concat();
    // The file of another one is lost too, which is no reason to take this one for lost.
    let half = &[("JETON_MASTER_KEY", OLD), ("JETON_OTHER_MASTER_KEY_FILES", "/nowhere/master.key")];
    for environment in [BEFORE, NEXT_SEALS, half] {
        let said = refused(&database, environment, &confirmed);
        assert!(said.contains(&format!("{OLD_ID} is configured, and opens what it seals")), "{said}");
    }
    let unreadable = &[("JETON_MASTER_KEY", NEW), ("JETON_OTHER_MASTER_KEY_FILES", "/")];
    let said = refused(&database, unreadable, &confirmed);
    assert!(said.contains("Is a directory"), "nobody knows what is in it: {said}");
    let said = refused(&database, AFTER, &abandon);
    assert!(said.contains("2 keys that sign tokens: ") && said.contains("--lose-what-it-seals"), "{said}");
    for arguments in
        [&["keys", "abandon-master"][..], &["keys", "abandon-master", NEW_ID, "--lose-what-it-seals"]]
    {
        let said = refused(&database, AFTER, arguments);
        assert!(said.contains(&format!("The master key {OLD_ID} seals:")), "it says which there are: {said}");
    }
    assert!(database.dump().await == before, "nothing was changed");

    let (lost, notes) = done(&database, AFTER, &confirmed);
    assert_eq!(lost["signing_keys"].as_array().unwrap().len(), 2, "{lost}");
    assert_eq!((&lost["master_key"], &lost["shared_secrets"]), (&json!(OLD_ID), &json!(["dpop-nonce"])));
    assert!(notes.contains("reset-password"), "{notes}");
    assert_eq!(lost["second_factors"], json!(["ada"]));
    let shut_out = "SELECT name FROM administrators WHERE password_hash IS NULL AND second_factor IS NULL";
    assert_eq!(database.texts(shut_out).await, ["ada"], "a password alone makes no second factor");
    assert_eq!(ways().await, [[""; 0]; 3]);
    let server = Process::serve(&database, AFTER).await;
    let published = jwks(&server).await;
    for kid in lost["signing_keys"].as_array().unwrap() {
        let kid = kid.as_str().unwrap();
        assert!(issued.contains(kid) && !published.contains(kid), "{kid}: {published}");
    }
    let answer = reqwest::Client::new()
        .post(format!("{}/oauth2/token", server.base))
        .basic_auth("job", Some(&secret))
        .form(&[("grant_type", "client_credentials"), ("resource", "http://localhost:8080/api/v1")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    server.stop().await;
    let events = database.texts("SELECT event FROM audit_events WHERE kind = 'keys_abandoned'").await;
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!((events.len(), &event["signing_keys"]), (1, &lost["signing_keys"]), "{events:?}");
    // The checkpoints of before are verified by the public key, which stayed.
    let (report, _) = done(&database, AFTER, &["audit", "verify"]);
    assert_eq!(report["findings"], json!([]), "{report}");
    let keys = database.texts("SELECT kid FROM audit_keys ORDER BY created_at").await;
    assert_eq!((keys.len(), &json!(keys[..1])), (2, &lost["audit_keys"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_key_is_given_up_on_sqlite() {
    a_lost_master_key_is_given_up(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_key_is_given_up_on_postgres() {
    a_lost_master_key_is_given_up(Engine::Postgres).await;
}

/// The key that Jeton has made for SQLite is changed like another: by the steps of docs/configuration.md.
#[tokio::test(flavor = "multi_thread")]
async fn the_generated_key_of_sqlite_is_changed() {
    let database = Database::create(Engine::Sqlite).await;
    Process::serve(&database, &[]).await.stop().await;
    let data = database.directory.path().join("data");
    let (managed, fresh) = (data.join("master.key"), data.join("master.key.new"));
    let old = fs::read_to_string(&managed).unwrap();
    fs::write(&fresh, NEW).unwrap();
    fs::set_permissions(&fresh, PermissionsExt::from_mode(0o600)).unwrap();
    let both = [
        ("JETON_MASTER_KEY_FILE", fresh.to_str().unwrap()),
        ("JETON_OTHER_MASTER_KEY_FILES", managed.to_str().unwrap()),
    ];
    let server = Process::serve(&database, &both).await;
    let (answer, _) = done(&database, &both, &["keys", "rewrap"]);
    assert_eq!(answer["signing_keys"], 2, "{answer}");
    assert_eq!(answer["master_key"], NEW_ID, "{answer}");
    server.stop().await;
    fs::rename(&fresh, &managed).unwrap();
    Process::serve(&database, &[]).await.stop().await;
    assert!(
        refused(&database, &[("JETON_MASTER_KEY", &old)], &["clients", "list"]).contains("not configured")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_others_can_read_is_warned_about_and_used() {
    let database = Database::create(Engine::Sqlite).await;
    let file = database.directory.path().join("shared.key");
    fs::write(&file, OLD).unwrap();
    let environment = [("JETON_MASTER_KEY_FILE", file.to_str().unwrap())];
    for (mode, warned) in [(0o644, true), (0o666, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let output = jeton_with(&database, &environment, &["clients", "list"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("run `chmod 600` on it"), warned, "{mode:o}: {said}");
        assert_eq!(said.contains("shared.key"), warned, "{mode:o}: {said}");
    }
    // The one that Jeton makes is private, so there is nothing to say.
    let database = Database::create(Engine::Sqlite).await;
    let said = String::from_utf8(run(&database, &["clients", "list"]).stderr).unwrap();
    assert!(!said.contains("chmod"), "{said}");
}
