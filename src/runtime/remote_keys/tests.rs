use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::runtime::clock::{ManualClock, SystemEntropy};

const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A web server that counts its requests.
#[derive(Default)]
struct Site {
    asked: AtomicUsize,
    down: AtomicBool,
}

impl Site {
    async fn start(self: &Arc<Self>, headers: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/jwks", listener.local_addr().unwrap().port());
        let site = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                site.asked.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let status = if site.down.load(Ordering::SeqCst) { "503 Away" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

const PATIENCE: Patience = Patience { stale_for: Duration::from_hours(4), cooldown: Duration::from_secs(30) };

fn keys() -> (Arc<RemoteKeys>, Arc<ManualClock>) {
    let outside = Outside { allow_http: true, allowed_networks: vec!["127.0.0.0/8".parse().unwrap()] };
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
    let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
    (Arc::new(RemoteKeys::new(Arc::new(outside), PATIENCE, ambient)), clock)
}

#[tokio::test]
async fn one_fetch_serves_everybody_who_waits() {
    let (site, (keys, _)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (keys, url) = (Arc::clone(&keys), url.clone());
            tokio::spawn(async move { keys.keys(&url).await.unwrap().keys().len() })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 1);
    }
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn an_answer_is_kept_for_as_long_as_it_says_within_bounds() {
    for (headers, kept) in [
        ("", USUAL),
        ("Cache-Control: max-age=600\r\n", Duration::from_mins(10)),
        ("Cache-Control: public, Max-Age=600, must-revalidate\r\n", Duration::from_mins(10)),
        ("Cache-Control: max-age=86400\r\n", MOST),
        ("Cache-Control: max-age=1\r\n", LEAST),
        ("Cache-Control: no-store\r\n", LEAST),
        ("Cache-Control: max-age=nonsense\r\n", USUAL),
    ] {
        let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
        let url = site.start(headers, SET).await;
        keys.keys(&url).await.unwrap();
        clock.advance(kept.saturating_sub(Duration::from_secs(1)));
        keys.keys(&url).await.unwrap();
        assert_eq!(site.asked(), 1, "{headers}");
        clock.advance(Duration::from_secs(1));
        keys.keys(&url).await.unwrap();
        assert_eq!(site.asked(), 2, "{headers}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_in_a_while() {
    let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    let set = keys.keys(&url).await.unwrap();
    assert!(keys.after(&url, &set).await.is_none(), "it was asked a moment ago");
    clock.advance(PATIENCE.cooldown);
    let newer = keys.after(&url, &set).await.unwrap();
    assert_eq!(site.asked(), 2);
    // Who still has the older set hears of the newer one without another fetch.
    assert!(Arc::ptr_eq(&keys.after(&url, &set).await.unwrap(), &newer));
    assert!(keys.after(&url, &newer).await.is_none());
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn an_outage_is_bridged_for_a_while_and_asked_about_now_and_then() {
    let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    keys.keys(&url).await.unwrap();
    site.down.store(true, Ordering::SeqCst);
    clock.advance(USUAL);
    for _ in 0..5 {
        assert_eq!(keys.keys(&url).await.unwrap().keys().len(), 1, "stale, and good enough");
    }
    assert_eq!(site.asked(), 2, "and left alone");
    clock.advance(PATIENCE.stale_for.saturating_sub(Duration::from_secs(1)));
    assert!(keys.keys(&url).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert!(matches!(keys.keys(&url).await, Err(NoKeys::Away(_))), "no verdict");
    site.down.store(false, Ordering::SeqCst);
    clock.advance(PATIENCE.cooldown);
    assert!(keys.keys(&url).await.is_ok());
}

#[tokio::test]
async fn a_caller_who_goes_away_ends_nobody_s_fetch() {
    let (site, (keys, _)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    // It begins, and is dropped.
    let gone = tokio::time::timeout(Duration::ZERO, keys.keys(&url)).await;
    assert!(gone.is_err());
    assert!(keys.keys(&url).await.is_ok());
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn what_is_no_key_set_is_a_verdict() {
    let (keys, _) = keys();
    for (headers, body) in [("", "<html>"), ("", "{}")] {
        let site = Arc::new(Site::default());
        let url = site.start(headers, body).await;
        let answer = keys.keys(&url).await;
        assert!(matches!(answer, Err(NoKeys::None(_))), "{body}: {answer:?}");
    }
    for refused in ["http://10.0.0.1/jwks", "http://[::1]/jwks", "ftp://127.0.0.1/", "nonsense"] {
        let answer = keys.keys(refused).await;
        assert!(matches!(answer, Err(NoKeys::None(_) | NoKeys::Away(_))), "{refused}: {answer:?}");
    }
    let nobody = keys.keys("http://127.0.0.1:1/jwks").await;
    assert!(matches!(nobody, Err(NoKeys::Away(_))), "{nobody:?}");
}
