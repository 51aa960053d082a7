//! Keys that are found by metadata, and bundles.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::fetch::USUAL;
use super::tests::{PATIENCE, keys};
use super::*;

const KEY: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

const METADATA: &str = "/t/.well-known/openid-configuration";
const ELSEWHERE: &str = "/.well-known/oauth-authorization-server/t";

/// What a web server is made to answer, for an issuer.
type Arrange<'a> = &'a dyn Fn(&Web, &str);

/// A web server with several pages, which remembers what it was asked for.
#[derive(Default)]
struct Web {
    pages: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<Vec<String>>,
}

impl Web {
    /// It, and the issuer that it is.
    async fn start() -> (Arc<Self>, String) {
        let web = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://127.0.0.1:{}/t", listener.local_addr().unwrap().port());
        let serving = Arc::clone(&web);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4_096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let (status, body) = serving.answer(request.split(' ').nth(1).unwrap_or_default());
                let head = format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        (web, issuer)
    }

    fn answer(&self, path: &str) -> (u16, String) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        self.pages.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    fn put(&self, path: &str, status: u16, body: &str) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    fn metadata(&self, path: &str, issuer: &str, jwks_uri: &str) {
        self.put(path, 200, &format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks_uri}"}}"#));
    }

    fn keys(&self, path: &str, kid: &str) {
        self.put(path, 200, &format!(r#"{{"keys":[{{{KEY},"kid":"{kid}"}}]}}"#));
    }

    /// What it was asked for since it was asked this.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn kids(set: &KeySet) -> Vec<&str> {
    set.keys().iter().map(|key| key.kid()).collect()
}

#[tokio::test]
async fn keys_are_where_the_metadata_says() {
    let ((web, issuer), (keys, clock)) = (Web::start().await, keys());
    let source = Source::Discovery(issuer.clone());
    web.metadata(METADATA, &issuer, &issuer.replace("/t", "/keys"));
    web.keys("/keys", "a");
    let first = keys.at(&source).await.unwrap();
    assert_eq!(kids(&first), ["a"]);
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&keys.at(&source).await.unwrap(), &first));
    }
    assert_eq!(web.asked(), [METADATA, "/keys"]);

    // A rotation is seen within a cooldown, and a flood of made-up key ids asks no more than once in one.
    web.keys("/keys", "b");
    assert!(keys.after_at(&source, &first).await.unwrap().is_none());
    clock.advance(PATIENCE.cooldown);
    let second = keys.after_at(&source, &first).await.unwrap().unwrap();
    assert_eq!(kids(&second), ["b"]);
    for _ in 0..20 {
        assert!(keys.after_at(&source, &second).await.unwrap().is_none());
    }
    assert_eq!(web.asked(), [METADATA, "/keys"]);

    // So is that the metadata names another place.
    web.metadata(METADATA, &issuer, &issuer.replace("/t", "/moved"));
    web.keys("/moved", "c");
    clock.advance(PATIENCE.cooldown);
    assert_eq!(kids(&keys.after_at(&source, &second).await.unwrap().unwrap()), ["c"]);
    assert_eq!(web.asked(), [METADATA, "/moved"]);
}

#[tokio::test]
async fn an_outage_of_either_document_is_bridged() {
    let ((web, issuer), (keys, clock)) = (Web::start().await, keys());
    let source = Source::Discovery(issuer.clone());
    web.metadata(METADATA, &issuer, &issuer.replace("/t", "/keys"));
    web.keys("/keys", "a");
    let known = keys.at(&source).await.unwrap();
    for broken in ["/keys", METADATA] {
        web.put(broken, 503, "");
        clock.advance(USUAL);
        assert!(Arc::ptr_eq(&keys.at(&source).await.unwrap(), &known), "{broken}");
        let unknown = keys.after_at(&source, &known).await;
        assert!(matches!(unknown, Err(NoKeys::Away(_))), "{broken}: {unknown:?}");
    }
    clock.advance(PATIENCE.stale_for);
    assert!(matches!(keys.at(&source).await, Err(NoKeys::Away(_))), "no verdict");
}

#[tokio::test]
async fn metadata_may_be_in_the_other_place_rfc8414_3_1() {
    let ((web, issuer), (keys, _)) = (Web::start().await, keys());
    web.put(METADATA, 404, "");
    web.metadata(ELSEWHERE, &issuer, &issuer.replace("/t", "/keys"));
    web.keys("/keys", "a");
    assert_eq!(kids(&keys.at(&Source::Discovery(issuer)).await.unwrap()), ["a"]);
    assert_eq!(web.asked(), [METADATA, ELSEWHERE, "/keys"]);
}

#[tokio::test]
async fn metadata_of_another_issuer_or_that_leads_inside_has_no_keys() {
    let cases: [(&str, bool, Arrange<'_>); 6] = [
        ("not exactly the one", true, &|web, issuer| {
            web.metadata(METADATA, &format!("{issuer}/"), issuer);
        }),
        ("10.0.0.1", true, &|web, issuer| web.metadata(METADATA, issuer, "http://10.0.0.1/keys")),
        ("not https", true, &|web, issuer| web.metadata(METADATA, issuer, "ftp://127.0.0.1/keys")),
        ("no metadata", false, &|web, _| web.put(METADATA, 200, "<html>")),
        ("answers 403", false, &|web, _| web.put(METADATA, 403, "")),
        ("answers 302", false, &|web, issuer| {
            web.metadata(METADATA, issuer, &issuer.replace("/t", "/keys"));
            web.put("/keys", 302, "");
        }),
    ];
    for (expected, is_verdict, arrange) in cases {
        let ((web, issuer), (keys, _)) = (Web::start().await, keys());
        arrange(&web, &issuer);
        let none = keys.at(&Source::Discovery(issuer)).await.unwrap_err();
        assert_eq!(matches!(none, NoKeys::None(_)), is_verdict, "{expected}: {none:?}");
        assert!(format!("{none:?}").contains(expected), "{expected}: {none:?}");
    }
}

#[tokio::test]
async fn a_bundle_is_fetched_as_often_as_its_publisher_wants_within_reason() {
    let ((web, issuer), (keys, clock)) = (Web::start().await, keys());
    let url = issuer.replace("/t", "/bundle");
    let source = Source::BundleEndpoint(url.clone());
    for (hint, kept) in [("", 5), (r#","spiffe_refresh_hint":2"#, 1), (r#","spiffe_refresh_hint":600"#, 10)] {
        let bundle = format!(r#"{{"keys":[{{{KEY},"kid":"a","use":"jwt-svid"}}]{hint}}}"#);
        web.put("/bundle", 200, &bundle);
        let set = keys.at(&source).await.unwrap();
        assert_eq!(kids(&set), ["a"]);
        let kept = Duration::from_mins(kept);
        assert_eq!(set.fresh_until(), Some(set.fetched_at().plus(kept)), "{hint}");
        clock.advance(kept);
    }
    // The same text is nothing as a plain JWK Set: its keys are for something else.
    assert!(keys.keys(&url).await.unwrap().keys().is_empty());
}
