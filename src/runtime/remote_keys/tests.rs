use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fetch::{LEAST, MOST, USUAL};
use super::*;
use crate::domain::time::Timestamp;
use crate::runtime::clock::{ManualClock, SystemEntropy};

const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A web server that counts its requests.
struct Site {
    asked: AtomicUsize,
    status: AtomicU16,
}

impl Default for Site {
    fn default() -> Self {
        Self { asked: AtomicUsize::new(0), status: AtomicU16::new(200) }
    }
}

impl Site {
    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn start(self: &Arc<Self>, headers: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/jwks", listener.local_addr().unwrap().port());
        let site = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                site.asked.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let status = site.status.load(Ordering::SeqCst);
                let answer =
                    format!("HTTP/1.1 {status} So\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(super) const PATIENCE: Patience =
    Patience { stale_for: Duration::from_hours(4), cooldown: Duration::from_secs(30) };

pub(super) fn keys() -> (Arc<RemoteKeys>, Arc<ManualClock>) {
    patient(PATIENCE)
}

fn patient(patience: Patience) -> (Arc<RemoteKeys>, Arc<ManualClock>) {
    let outside = Outside { allow_http: true, allowed_networks: vec!["127.0.0.0/8".parse().unwrap()] };
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
    let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
    (Arc::new(RemoteKeys::new(Arc::new(outside), patience, ambient)), clock)
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
    assert!(keys.after(&url, &set).await.unwrap().is_none(), "it was asked a moment ago");
    clock.advance(PATIENCE.cooldown);
    let newer = keys.after(&url, &set).await.unwrap().unwrap();
    assert_eq!(site.asked(), 2);
    // Who still has the older set hears of the newer one without another fetch.
    assert!(Arc::ptr_eq(&keys.after(&url, &set).await.unwrap().unwrap(), &newer));
    for _ in 0..5 {
        assert!(keys.after(&url, &newer).await.unwrap().is_none());
    }
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn while_a_place_is_away_nobody_knows_that_it_does_not_have_a_key() {
    let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    let set = keys.keys(&url).await.unwrap();
    site.answers(503);
    clock.advance(PATIENCE.cooldown);
    for _ in 0..5 {
        let after = keys.after(&url, &set).await;
        assert!(matches!(after, Err(NoKeys::Away(_))), "{after:?}");
        assert!(Arc::ptr_eq(&keys.keys(&url).await.unwrap(), &set), "those that are known serve on");
    }
    assert_eq!(site.asked(), 2, "once a cooldown");
    site.answers(200);
    clock.advance(PATIENCE.cooldown);
    assert!(keys.after(&url, &set).await.unwrap().is_some());
    assert_eq!(site.asked(), 3);
}

#[tokio::test]
async fn an_answer_without_keys_takes_the_old_ones_away() {
    let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    let set = keys.keys(&url).await.unwrap();
    site.answers(404);
    clock.advance(PATIENCE.cooldown);
    let after = keys.after(&url, &set).await;
    assert!(matches!(after, Err(NoKeys::None(_))), "{after:?}");
    let none = keys.keys(&url).await;
    assert!(matches!(none, Err(NoKeys::None(_))), "although they are fresh: {none:?}");
    // Nor does an outage bring them back.
    site.answers(503);
    clock.advance(PATIENCE.cooldown);
    let away = keys.keys(&url).await;
    assert!(matches!(away, Err(NoKeys::Away(_))), "{away:?}");
    site.answers(200);
    clock.advance(PATIENCE.cooldown);
    assert!(keys.keys(&url).await.is_ok());
}

#[tokio::test]
async fn a_long_cooldown_keeps_nobody_from_what_is_due() {
    let hour = Duration::from_hours(1);
    let (site, (keys, clock)) =
        (Arc::new(Site::default()), patient(Patience { stale_for: Duration::ZERO, cooldown: hour }));
    let url = site.start("Cache-Control: max-age=60\r\n", SET).await;
    for asked in 1..5 {
        let set = keys.keys(&url).await.unwrap();
        assert!(keys.after(&url, &set).await.unwrap().is_none());
        assert_eq!(site.asked(), asked);
        clock.advance(LEAST);
    }
    site.answers(503);
    for _ in 0..5 {
        assert!(matches!(keys.keys(&url).await, Err(NoKeys::Away(_))));
    }
    assert_eq!(site.asked(), 5, "and it is left alone where it does not answer");
}

#[test]
fn a_new_place_is_remembered_however_often_others_are_asked_for() {
    let (keys, _) = keys();
    let names: Vec<_> = (0..=PLACES).map(|number| format!("https://{number}.example/jwks")).collect();
    let (new, others) = names.split_last().unwrap();
    for _ in 0..3 {
        for name in others {
            keys.place(&Source::JwksUri(name.clone()));
        }
        keys.places.run_pending_tasks();
    }
    let place = keys.place(&Source::JwksUri(new.clone()));
    keys.places.run_pending_tasks();
    assert!(Arc::ptr_eq(&keys.place(&Source::JwksUri(new.clone())), &place));
    assert_eq!(keys.places.entry_count(), PLACES);
}

#[tokio::test]
async fn an_outage_is_bridged_for_a_while_and_asked_about_now_and_then() {
    let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
    let url = site.start("", SET).await;
    keys.keys(&url).await.unwrap();
    site.answers(503);
    clock.advance(USUAL);
    for _ in 0..5 {
        assert_eq!(keys.keys(&url).await.unwrap().keys().len(), 1, "stale, and good enough");
    }
    assert_eq!(site.asked(), 2, "and left alone");
    clock.advance(PATIENCE.stale_for.saturating_sub(Duration::from_secs(1)));
    assert!(keys.keys(&url).await.is_ok());
    clock.advance(Duration::from_secs(1));
    assert!(matches!(keys.keys(&url).await, Err(NoKeys::Away(_))), "no verdict");
    site.answers(200);
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
async fn what_is_no_key_set_is_no_verdict() {
    let (keys, _) = keys();
    for body in ["<html>", "{}"] {
        let site = Arc::new(Site::default());
        let url = site.start("", body).await;
        let answer = keys.keys(&url).await;
        assert!(matches!(answer, Err(NoKeys::Away(_))), "{body}: {answer:?}");
    }
    let site = Arc::new(Site::default());
    let url = site.start("", r#"{"keys":[]}"#).await;
    assert!(keys.keys(&url).await.unwrap().keys().is_empty(), "it says that it has none");
    for refused in ["http://10.0.0.1/jwks", "http://[::1]/jwks", "ftp://127.0.0.1/", "nonsense"] {
        let answer = keys.keys(refused).await;
        assert!(matches!(answer, Err(NoKeys::None(_) | NoKeys::Away(_))), "{refused}: {answer:?}");
    }
    let nobody = keys.keys("http://127.0.0.1:1/jwks").await;
    assert!(matches!(nobody, Err(NoKeys::Away(_))), "{nobody:?}");
}

#[tokio::test]
async fn only_a_place_that_is_gone_takes_its_keys_away() {
    for (status, is_gone) in
        [(302, false), (401, false), (403, false), (429, false), (404, true), (410, true)]
    {
        let (site, (keys, clock)) = (Arc::new(Site::default()), keys());
        let url = site.start("", SET).await;
        let set = keys.keys(&url).await.unwrap();
        site.answers(status);
        clock.advance(USUAL);
        match keys.keys(&url).await {
            Ok(known) => assert!(!is_gone && Arc::ptr_eq(&known, &set), "{status}"),
            Err(problem) => assert!(is_gone && matches!(problem, NoKeys::None(_)), "{status}: {problem:?}"),
        }
    }
}

#[test]
fn the_log_tells_a_place_without_its_query() {
    for (url, told) in
        [("https://a.example/k?key=1", "https://a.example/k"), ("https://a.example/k", "https://a.example/k")]
    {
        assert_eq!(Source::JwksUri(url.to_owned()).without_query(), told);
    }
}
