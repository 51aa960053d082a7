//! One fetch: what is asked, and what the answer means.
//!
//! That there are no keys says a place that has gone (404, 410), or a document that can be read and has none. Whatever
//! else comes instead of keys, as from a proxy or a server that is being mended, is no answer: known keys serve on.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{Fetched, KeySet, NoKeys, RemoteKeys, Source};
use crate::domain::error::Fault;
use crate::domain::text::quoted;
use crate::jose::{Bundle, read_bundle, read_key_set};
use crate::runtime::issuers::{NoAnswer, Outbound};

/// How long keys are kept that come without a word about it, and the bounds of what is said: a key that was taken
/// away counts for an hour at most, and [`super::Patience::stale_for`] longer while its place is away; and nobody has
/// Jeton ask more than once a minute.
pub(super) const USUAL: Duration = Duration::from_mins(15);
pub(super) const LEAST: Duration = Duration::from_mins(1);
pub(super) const MOST: Duration = Duration::from_hours(1);

/// The same for a SPIFFE bundle that gives no hint (SPIFFE Federation §4.1).
const USUAL_BUNDLE: Duration = Duration::from_mins(5);

const KEY_SET: &str = "application/jwk-set+json, application/json";

/// What of an issuer's metadata is read (OpenID Connect Discovery §3, RFC 8414 §2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

// === impl RemoteKeys ===

impl RemoteKeys {
    /// Asks, whatever is known.
    pub(super) async fn fetch(&self, source: &Source) -> Result<KeySet, NoKeys> {
        let begun = Instant::now();
        let fetched = self.fetch_in_turn(source).await;
        self.took(Fetched::of(&fetched)).took(begun.elapsed());
        fetched
    }

    async fn fetch_in_turn(&self, source: &Source) -> Result<KeySet, NoKeys> {
        let _turn = self.fetches.acquire().await.map_err(Fault::internal)?;
        match source {
            Source::JwksUri(url) => self.key_set(url).await,
            Source::Discovery(issuer) => {
                let url = self.discover(issuer).await?;
                self.key_set(&url).await.map_err(|problem| at(&url, problem))
            }
            Source::BundleEndpoint(url) => self.bundle(url).await,
        }
    }

    async fn key_set(&self, url: &str) -> Result<KeySet, NoKeys> {
        let answer = found(url, self.get(url, KEY_SET).await?)?;
        let keys = read_key_set(answer.body()).ok_or_else(|| away(url, "what it answers is no JWK Set"))?;
        let kept = max_age(answer.headers()).map_or(USUAL, |said| said.clamp(LEAST, MOST));
        Ok(KeySet::fetched(Bundle { keys, ..Bundle::default() }, self.ambient.now(), kept))
    }

    async fn bundle(&self, url: &str) -> Result<KeySet, NoKeys> {
        let answer = found(url, self.get(url, KEY_SET).await?)?;
        let bundle =
            read_bundle(answer.body()).ok_or_else(|| away(url, "what it answers is no SPIFFE bundle"))?;
        let kept = bundle.refresh_hint.unwrap_or(USUAL_BUNDLE).clamp(LEAST, MOST);
        Ok(KeySet::fetched(bundle, self.ambient.now(), kept))
    }

    /// The `jwks_uri` of an issuer.
    async fn discover(&self, issuer: &str) -> Result<String, NoKeys> {
        let [usual, other] = metadata_places(issuer)
            .ok_or_else(|| none("an issuer whose metadata is to be found is a URL without a query"))?;
        let mut place = &usual;
        let mut answer = self.get(place, "application/json").await.map_err(|problem| at(place, problem))?;
        if answer.status() == StatusCode::NOT_FOUND {
            place = &other;
            answer = self.get(place, "application/json").await.map_err(|problem| at(place, problem))?;
        }
        let read = found(place, answer).and_then(|answer| jwks_uri((place, answer.body()), issuer));
        read.map_err(|problem| at(place, problem))
    }

    /// What is answered, whatever its status.
    async fn get(&self, url: &str, accept: &str) -> Result<Response<Vec<u8>>, NoKeys> {
        let outbound = self.outbound.get_or_init(|| Outbound::guarded(Arc::clone(&self.outside)));
        let outbound = outbound.as_ref().map_err(Clone::clone)?;
        let request = Request::get(url).header(ACCEPT, accept);
        let request = request.body(Vec::new()).map_err(|_| none("it is not a URL"))?;
        outbound.call(request).await.map_err(|problem| match problem {
            NoAnswer::Away(_) | NoAnswer::TooLarge(_) => away(url, &problem.to_string()),
            NoAnswer::Refused(_) => none(&problem.to_string()),
        })
    }
}

fn found(url: &str, answer: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, NoKeys> {
    let status = answer.status();
    let why = format!("it answers {}", status.as_u16());
    match status {
        StatusCode::OK => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(none(&why)),
        _ => Err(away(url, &why)),
    }
}

fn away(url: &str, why: &str) -> NoKeys {
    NoKeys::Away(Fault::unavailable(format!("keys at {url}: {why}")))
}

fn none(why: &str) -> NoKeys {
    NoKeys::None(why.to_owned())
}

/// Says of which document it is, where there are several.
fn at(url: &str, problem: NoKeys) -> NoKeys {
    match problem {
        NoKeys::None(why) => NoKeys::None(format!("{url}: {why}")),
        // Says so itself.
        away @ NoKeys::Away(_) => away,
    }
}

/// Where an issuer's metadata is: the path appended (OpenID Connect Discovery §4), or else put in before the issuer's own
/// (RFC 8414 §3.1).
fn metadata_places(issuer: &str) -> Option<[String; 2]> {
    let mut url = Url::parse(issuer).ok()?;
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return None;
    }
    let own = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{own}/.well-known/openid-configuration"));
    let usual = url.to_string();
    url.set_path(&format!("/.well-known/oauth-authorization-server{own}"));
    Some([usual, url.to_string()])
}

/// What the metadata of this issuer says. That it is of this issuer it must say as well (OpenID Connect Discovery §4.3,
/// RFC 8414 §3.3).
fn jwks_uri((url, metadata): (&str, &[u8]), issuer: &str) -> Result<String, NoKeys> {
    let metadata: Metadata = serde_json::from_slice(metadata)
        .map_err(|_| away(url, "what it answers is no metadata of an issuer"))?;
    if metadata.issuer != issuer {
        let other = quoted(&metadata.issuer);
        return Err(none(&format!("the issuer there is {other}, not exactly the one that is registered")));
    }
    metadata.jwks_uri.ok_or_else(|| none("it has no jwks_uri"))
}

/// How long an answer says that it may be kept (RFC 9111 §5.2.2); nothing, when it does not say.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut said = None;
    for directive in values.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase()) {
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            said = seconds.trim_matches('"').parse().ok().map(Duration::from_secs).or(said);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_after_the_issuer_and_before_its_path() {
        for (issuer, usual, other) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example:8443/t/1/",
                "https://a.example:8443/t/1/.well-known/openid-configuration",
                "https://a.example:8443/.well-known/oauth-authorization-server/t/1",
            ),
        ] {
            assert_eq!(metadata_places(issuer).unwrap(), [usual, other]);
        }
        for none in ["accounts.example", "https://a.example/?t=1", "spiffe:a", "https://a.example/#t"] {
            assert!(metadata_places(none).is_none(), "{none}");
        }
    }

    #[test]
    fn metadata_is_of_exactly_this_issuer() {
        let read = |issuer: &str| {
            let metadata = format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://a.example/jwks","more":1}}"#);
            jwks_uri(("https://a.example", metadata.as_bytes()), "https://a.example/t")
        };
        assert_eq!(read("https://a.example/t").unwrap(), "https://a.example/jwks");
        for other in ["https://a.example/t/", "https://A.example/t", "https://b.example/t", ""] {
            assert!(matches!(read(other), Err(NoKeys::None(_))), "{other}");
        }
        for odd in [
            "[]",
            "",
            r#"{"issuer":"https://a.example/t"}"#,
            r#"{"issuer":"https://a.example/t","jwks_uri":1}"#,
            r#"{"issuer":"https://b.example","issuer":"https://a.example/t","jwks_uri":"https://b.example"}"#,
        ] {
            let read = jwks_uri(("https://a.example", odd.as_bytes()), "https://a.example/t");
            assert!(read.is_err(), "{odd}");
        }
    }
}
