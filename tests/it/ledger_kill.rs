//! A process that is killed at any moment (DESIGN §1, promise 1): what was answered is recorded, once, and the
//! chains of all the killed ones verify.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Database, Engine, Process, jeton};

const KILLED: usize = 20;
const CONNECTIONS: usize = 6;

/// The `jti` of a token that was received, which says nothing about whether it is a good one.
fn jti(token: &str) -> String {
    let payload = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// Asks for tokens one after the other on a connection that is kept, until the server is gone, and notes those
/// that came whole.
async fn load(base: String, secret: String, received: Arc<Mutex<Vec<String>>>, stop: Arc<AtomicBool>) {
    let http = reqwest::Client::new();
    while !stop.load(Ordering::SeqCst) {
        let request = http
            .post(format!("{base}/oauth2/token"))
            .basic_auth("billing", Some(&secret))
            .form(&[("grant_type", "client_credentials")]);
        let Ok(answer) = request.send().await else { return };
        let status = answer.status().as_u16();
        let Ok(body) = answer.bytes().await else { return };
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body).unwrap();
        received.lock().unwrap().push(jti(body["access_token"].as_str().unwrap()));
    }
}

/// Serves under load for a while. Answers the process as it is then, still under load, and what to await once it
/// was ended.
async fn serve(
    database: &Database,
    secret: &str,
    received: &Arc<Mutex<Vec<String>>>,
    stop: &Arc<AtomicBool>,
) -> (Process, JoinSet<()>) {
    // The same each time: what is left of one is the next one's.
    let process = Process::serve(database, &[("JETON_OUTAGE__DIRECTORY", "data/spool")]).await;
    let mut loads = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (base, secret) = (process.base.clone(), secret.to_owned());
        loads.spawn(load(base, secret, Arc::clone(received), Arc::clone(stop)));
    }
    sleep(Duration::from_millis(rand::random_range(100..=400))).await;
    (process, loads)
}

async fn what_was_answered_before_a_kill_is_recorded_once(engine: Engine) {
    let database = Database::create(engine).await;
    let register = [
        &[
            "resource-servers",
            "create",
            "orders",
            "--identifier",
            "https://o.example",
            "--permission",
            "read",
        ][..],
        &["roles", "create", "reader", "--permission", "orders/read"],
    ];
    for arguments in register {
        jeton(&database, arguments);
    }
    let made = jeton(&database, &["clients", "create", "billing", "--role", "reader"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap();

    let received = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..KILLED {
        let (process, loads) = serve(&database, secret, &received, &stop).await;
        assert!(!process.signal("KILL").await.success());
        loads.join_all().await;
    }
    let (process, loads) = serve(&database, secret, &received, &stop).await;
    stop.store(true, Ordering::SeqCst);
    loads.join_all().await;
    process.stop().await;

    let received = std::mem::take(&mut *received.lock().unwrap());
    assert!(received.len() > 2 * KILLED, "too little load to tell anything: {} tokens", received.len());
    let mut recorded: HashMap<String, usize> = HashMap::new();
    for jti in database.texts("SELECT jti FROM audit_events WHERE kind = 'token_issued'").await {
        *recorded.entry(jti).or_default() += 1;
    }
    for jti in &received {
        assert_eq!(recorded.get(jti), Some(&1), "{jti}, of {} received tokens", received.len());
    }

    let report = jeton(&database, &["audit", "verify"]);
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    let chains = report["chains"].as_array().unwrap();
    let open = chains.iter().filter(|chain| chain["closed"] == false).count();
    assert_eq!(open, KILLED, "each killed process left its chain open: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_kill_is_recorded_once_on_sqlite() {
    what_was_answered_before_a_kill_is_recorded_once(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_kill_is_recorded_once_on_postgres() {
    what_was_answered_before_a_kill_is_recorded_once(Engine::Postgres).await;
}
