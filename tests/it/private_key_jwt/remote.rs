//! Keys that a client publishes itself: `jwks_uri`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use super::{Signer, refused, register};
use crate::admin_pages::Person;
use crate::harness::{Engine, Server};
use crate::statistics::counted;
use jeton::jose::Algorithm;

/// A client's web server.
pub(crate) struct Site {
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    down: AtomicBool,
    /// Who has it alone keeps everybody waiting.
    open: Arc<RwLock<()>>,
}

impl Site {
    pub(crate) async fn start(keys: Vec<Value>) -> (Arc<Self>, u16) {
        let site = Arc::new(Self {
            keys: Mutex::new(keys),
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            open: Arc::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = Arc::clone(&site);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                serving.asked.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                drop(serving.open.read().await);
                if serving.down.load(Ordering::SeqCst) {
                    continue;
                }
                let body = json!({ "keys": *serving.keys.lock().unwrap() }).to_string();
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (site, port)
    }

    /// Keeps everybody waiting who asks, until that is dropped.
    pub(crate) async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.open).write_owned().await
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn take_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn publish(&self, key: Value) {
        self.keys.lock().unwrap().push(key);
    }

    pub(crate) fn replace_all(&self, key: Value) {
        *self.keys.lock().unwrap() = vec![key];
    }
}

async fn start(networks: &[&str]) -> Server {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allow_http = true;
        config.outbound.outside.allowed_networks =
            networks.iter().map(|network| network.parse().unwrap()).collect();
    })
    .await;
    server.billing().await;
    server
}

fn named(kid: &str) -> Signer {
    Signer { kid: Some(kid.to_owned()), ..Signer::new("remote", Algorithm::Es256) }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_keys_count_are_looked_for_once_in_a_while_and_bridge_an_outage() {
    let server = start(&["127.0.0.0/8"]).await;
    let (old, new) = (named("old"), named("new"));
    let (site, port) = Site::start(vec![old.jwk()]).await;
    register(&server, "remote", json!({ "jwks_uri": format!("http://127.0.0.1:{port}/jwks") })).await;
    old.token(&server).await.expect(200);
    old.token(&server).await.expect(200);
    assert_eq!(site.asked(), 1);
    // Which key it was, and when, is seen, though it is on no list.
    counted(&server).await;
    let id = server.events("token_issued").await[0]["credential_id"].as_str().unwrap().to_owned();
    let page = Person::signed_in(&server, "ada", "auditor").await.page("/clients/remote").await;
    assert!(page.contains(&format!("Last used: <code>{id}</code> <time")), "{page}");

    // A rotation: the new key is found at once, but for a moment after the last question.
    site.keys.lock().unwrap().push(new.jwk());
    refused(&server, "too soon", &new.token(&server).await, "no key with kid 'new'").await;
    server.clock.advance(Duration::from_secs(30));
    new.token(&server).await.expect(200);
    assert_eq!(site.asked(), 2);
    for _ in 0..5 {
        let unknown = named("unknown").token(&server).await;
        refused(&server, "unknown kid", &unknown, "no key with kid 'unknown'").await;
    }
    assert_eq!(site.asked(), 2, "once a cooldown");

    // An outage: what was known serves on, then there is no verdict.
    site.down.store(true, Ordering::SeqCst);
    server.clock.advance(Duration::from_mins(10));
    new.token(&server).await.expect(200);
    assert_eq!(site.asked(), 3);
    // Whether there is such a key nobody knows then.
    for _ in 0..3 {
        let answer = named("unknown").token(&server).await;
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
    }
    assert_eq!(site.asked(), 3, "once a cooldown");
    server.clock.advance(Duration::from_hours(4));
    let answer = new.token(&server).await;
    answer.expect_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    site.down.store(false, Ordering::SeqCst);
    server.clock.advance(Duration::from_secs(30));
    new.token(&server).await.expect(200);

    // A key that was taken away is gone with the next answer.
    site.keys.lock().unwrap().retain(|key| key["kid"] == "new");
    server.clock.advance(Duration::from_mins(10));
    refused(&server, "taken away", &old.token(&server).await, "no key with kid 'old'").await;

    // A rotation that keeps the kid, or names none, is found as one with a new kid is.
    let unnamed = || Signer { kid: None, ..named("unnamed") };
    for (row, replaced) in [("the same kid", named("new")), ("no kid", unnamed())] {
        site.replace_all(replaced.jwk());
        let answer = replaced.token(&server).await;
        refused(&server, row, &answer, "signature is not that of the client's key").await;
        server.clock.advance(Duration::from_secs(30));
        replaced.token(&server).await.expect(200);
    }
    // While the place is away, what is known says of a forgery what it is.
    site.take_down(true);
    server.clock.advance(Duration::from_secs(30));
    let asked = site.asked();
    for _ in 0..3 {
        let answer = unnamed().token(&server).await;
        refused(&server, "forged", &answer, "signature is not that of the client's key").await;
    }
    assert_eq!(site.asked(), asked + 1, "once a cooldown");
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_not_called() {
    let server = start(&[]).await;
    let signer = named("a");
    let (site, port) = Site::start(vec![signer.jwk()]).await;
    // The name is harmless; what it resolves to is not.
    register(&server, "remote", json!({ "jwks_uri": format!("http://localhost:{port}/jwks") })).await;
    refused(&server, "inside", &signer.token(&server).await, "no address of the internet").await;
    assert_eq!(site.asked(), 0);
    server.app.stop().await.unwrap();
}
