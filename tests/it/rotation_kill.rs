//! Replicas that die at each step of a rotation and at any moment, on a schedule of seconds: every verifier, however old its
//! key set may be, accepts every token (DESIGN §1, §10).

use std::collections::{HashMap, HashSet};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Database, Engine, Process, jeton};
use crate::signing_keys::signed_by;
use jeton::jose::{PublicJwk, PublicJwkSet, Unverified, VerifyingKey};

/// How many are killed at any moment, beside those that die at a step.
const KILLED: usize = 4;

/// The steps of a rotation, as the test build's fault points name them.
const STEPS: [&str; 9] = [
    "key_created-generated",
    "key_created-written",
    "key_created-committed",
    "key_scheduled-written",
    "key_scheduled-committed",
    "key_removed-written",
    "key_removed-committed",
    "rotation-reloaded",
    "rotation-recorded",
];
const CACHE: Duration = Duration::from_secs(1);
const LIFETIME: Duration = Duration::from_secs(5);
const SCHEDULE: [(&str, &str); 7] = [
    ("JETON_KEYS__ROTATE_EVERY", "1s"),
    ("JETON_KEYS__PUBLISH_AHEAD", "3s"),
    ("JETON_KEYS__VERIFIER_CACHE", "1s"),
    ("JETON_KEYS__CLOCK_TOLERANCE", "100ms"),
    ("JETON_KEYS__VERIFIER_LEEWAY", "1s"),
    ("JETON_TOKENS__MAX_LIFETIME", "5"),
    ("JETON_LOG__LEVEL", "warn"),
];

/// What callers and verifiers have received, and when.
#[derive(Default)]
struct Received {
    tokens: Mutex<Vec<(Instant, String)>>,
    /// A key set, between when it was asked for and when it was there.
    sets: Mutex<Vec<(Instant, Instant, PublicJwkSet)>>,
    /// What was answered that is neither a token nor a fault.
    refused: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// Asks a server for tokens and key sets in turn, until it is gone or all is over.
async fn load(base: String, secret: String, received: Arc<Received>, gone: Arc<AtomicBool>) {
    // Somebody else's server may be at its address then.
    let over = || received.over.load(Ordering::SeqCst) || gone.load(Ordering::SeqCst);
    let http = reqwest::Client::new();
    // It may die before it is ready.
    while http.get(format!("{base}/readyz")).send().await.is_err() {
        if over() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    while !over() {
        let asked = Instant::now();
        let Ok(answer) = http.get(format!("{base}/.well-known/jwks.json")).send().await else { return };
        // A busy machine may not have heard of changes in time: then there is no set, and no token.
        if answer.status().is_success() {
            let Ok(set) = answer.json().await else { return };
            received.sets.lock().unwrap().push((asked, Instant::now(), set));
        }
        for resource_server in ["es256", "rs256"] {
            let scope = format!("{resource_server}:use");
            let request = http
                .post(format!("{base}/oauth2/token"))
                .basic_auth("billing", Some(&secret))
                .form(&[("grant_type", "client_credentials"), ("scope", &scope)]);
            let Ok(answer) = request.send().await else { return };
            let status = answer.status().as_u16();
            let Ok(body) = answer.bytes().await else { return };
            if ![200, 503].contains(&status) && !gone.load(Ordering::SeqCst) {
                let text = format!("{base} {status} {}", String::from_utf8_lossy(&body));
                received.refused.lock().unwrap().push(text);
            }
            if status == 200 {
                let body: Value = serde_json::from_slice(&body).unwrap();
                let token = body["access_token"].as_str().unwrap().to_owned();
                received.tokens.lock().unwrap().push((Instant::now(), token));
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Every token with every key set that a verifier may have while it is valid.
fn check(received: &Received) {
    let (tokens, sets) = (received.tokens.lock().unwrap(), received.sets.lock().unwrap());
    let mut keys = HashMap::new();
    for key in sets.iter().flat_map(|(_, _, set)| &set.keys) {
        // The same everywhere, so that verifying a token once is enough.
        assert_eq!(*keys.entry(key.key_id()).or_insert(key), key);
    }
    let sets: Vec<(Instant, Instant, HashSet<&str>)> = sets
        .iter()
        .map(|(asked, there, set)| (*asked, *there, set.keys.iter().map(PublicJwk::key_id).collect()))
        .collect();
    let mut signed = HashSet::new();
    for (at, token) in &*tokens {
        let (kid, algorithm) = signed_by(token);
        let key = VerifyingKey::from_jwk(keys[&*kid]).unwrap();
        Unverified::parse(token).unwrap().verify::<Value>(&key).unwrap();
        // From the oldest that may be in use when the token comes, to the newest fetched before it ends.
        let usable = sets.iter().filter(|(asked, there, _)| *there + CACHE >= *at && *asked < *at + LIFETIME);
        for (asked, there, kids) in usable {
            let before = at.saturating_duration_since(*there);
            let after = asked.saturating_duration_since(*at);
            assert!(
                kids.contains(&*kid),
                "{algorithm} {kid} is not in a set of {before:?} before, {after:?} after"
            );
        }
        signed.insert(kid);
    }
    assert!(tokens.len() > 100 && sets.len() > 50, "{} tokens, {} sets", tokens.len(), sets.len());
    assert!(signed.len() > 10, "too few rotations to tell anything: {}", signed.len());
}

async fn no_verifier_notices_that_replicas_die(engine: Engine) {
    let database = Database::create(engine).await;
    for (name, algorithm) in [("es256", "ES256"), ("rs256", "RS256")] {
        let (identifier, permission) = (format!("https://{name}.example"), format!("{name}:use"));
        let server = ["resource-servers", "create", name, "--identifier", &identifier];
        jeton(
            &database,
            &[&server[..], &["--permission", &permission, "--signing-algorithm", algorithm]].concat(),
        );
        jeton(&database, &["roles", "create", name, "--permission", &format!("{name}/{permission}")]);
    }
    let made = jeton(&database, &["clients", "create", "billing", "--role", "es256", "--role", "rs256"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap();

    let received = Arc::new(Received::default());
    let mut loads = JoinSet::new();
    let serve = async |loads: &mut JoinSet<()>, dies_at: &str| {
        let environment = [&SCHEDULE[..], &[("TEST_JETON_DIES_AT", dies_at)]].concat();
        let process = Process::start(&database, &["serve"], &environment);
        let gone = Arc::new(AtomicBool::new(false));
        let seen = (Arc::clone(&received), Arc::clone(&gone));
        loads.spawn(load(process.base.clone(), secret.to_owned(), seen.0, seen.1));
        (process, gone)
    };
    let (survivor, _) = serve(&mut loads, "").await;
    survivor.ready().await;
    for step in STEPS {
        // It comes to the step when it is faster than the survivor, which is every other time.
        let (victim, gone) = serve(&mut loads, step).await;
        assert_eq!(victim.ended().await.signal(), Some(6), "aborts at {step}");
        gone.store(true, Ordering::SeqCst);
    }
    for _ in 0..KILLED {
        let (victim, gone) = serve(&mut loads, "").await;
        victim.ready().await;
        sleep(Duration::from_millis(rand::random_range(50..=700))).await;
        assert!(!victim.signal("KILL").await.success());
        gone.store(true, Ordering::SeqCst);
    }
    received.over.store(true, Ordering::SeqCst);
    loads.join_all().await;
    let reasons = database.texts("SELECT event FROM audit_events WHERE kind = 'token_refused'").await;
    let refused = std::mem::take(&mut *received.refused.lock().unwrap());
    assert!(refused.is_empty() && reasons.is_empty(), "{refused:?} {reasons:?}, {} survives", survivor.base);
    let listed = jeton(&database, &["keys", "list"]);
    for ring in listed["rings"].as_array().unwrap() {
        let active = ring["keys"].as_array().unwrap().iter().filter(|key| key["state"] == "active").count();
        assert_eq!(active, 1, "{listed}");
    }
    survivor.stop().await;
    check(&received);
}

/// Whoever withdraws a key and dies half-way has withdrawn it or not, and never leaves the ring without a key.
async fn a_revocation_that_dies_is_done_or_not(engine: Engine) {
    let database = Database::create(engine).await;
    let survivor = Process::serve(&database, &SCHEDULE[6..]).await;
    let active = || {
        let listed = jeton(&database, &["keys", "list"]);
        let keys = listed["rings"][0]["keys"].as_array().unwrap();
        let active: Vec<_> = keys.iter().filter(|key| key["state"] == "active").collect();
        assert_eq!(active.len(), 1, "{listed}");
        active[0]["kid"].as_str().unwrap().to_owned()
    };
    let first = active();
    for (step, is_done) in [("key_revoked-written", false), ("key_revoked-committed", true)] {
        let arguments = ["keys", "revoke", &first];
        let victim = Process::start(&database, &arguments, &[("TEST_JETON_DIES_AT", step)]);
        assert_eq!(victim.ended().await.signal(), Some(6), "aborts at {step}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(active() != first, is_done, "{step}");
        let published = reqwest::get(format!("{}/.well-known/jwks.json", survivor.base)).await.unwrap();
        assert_eq!(!published.text().await.unwrap().contains(&first), is_done, "{step}");
    }
    survivor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_dies_is_done_or_not_on_sqlite() {
    a_revocation_that_dies_is_done_or_not(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_dies_is_done_or_not_on_postgres() {
    a_revocation_that_dies_is_done_or_not(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verifier_notices_that_replicas_die_on_sqlite() {
    no_verifier_notices_that_replicas_die(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verifier_notices_that_replicas_die_on_postgres() {
    no_verifier_notices_that_replicas_die(Engine::Postgres).await;
}
