//! Public keys that others publish: a URL, and the keys that are there.
//!
//! Each process keeps what it has fetched for as long as the answer allows, within bounds. One fetch is under way for
//! each URL, whoever waits for it. What cannot be fetched anew serves on for a while, because that somebody's web
//! server is down says nothing about its keys; nor is it known then that there is no such key. A place that does not
//! answer, or does not have a key, is left alone for a moment, so that whoever makes up key ids cannot have Jeton flood
//! it.

mod place;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use self::place::Place;
use super::clock::Ambient;
use super::issuers::{NoAnswer, Outbound};
use crate::domain::error::Fault;
use crate::domain::outside::Outside;
use crate::domain::time::Timestamp;
use crate::jose::{ForeignKey, read_key_set};

/// How many places are remembered. The one that was not asked for longest is forgotten, and fetched anew if need be.
const PLACES: u64 = 10_000;

/// How many fetches are under way.
const FETCHES: usize = 32;

/// How long keys are kept that come without a word about it, and the bounds of what is said: a key that was taken
/// away counts for an hour at most, and [`Patience::stale_for`] longer while its place is away; and nobody has Jeton ask
/// more than once a minute.
const USUAL: Duration = Duration::from_mins(15);
const LEAST: Duration = Duration::from_mins(1);
const MOST: Duration = Duration::from_hours(1);

/// Keys that others publish.
pub struct RemoteKeys {
    outside: Arc<Outside>,
    /// Made with the first fetch: who fetches nothing needs no certificates.
    outbound: OnceLock<Result<Outbound, Fault>>,
    patience: Patience,
    ambient: Ambient,
    places: Cache<String, Arc<Place>>,
    fetches: Semaphore,
}

/// How patient one is with others.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long keys count that cannot be fetched anew.
    pub stale_for: Duration,
    /// How long a place is left alone that does not answer, or does not have a key. What is due to be fetched anew from
    /// a place that does answer, is.
    pub cooldown: Duration,
}

/// The keys that a place had at some time.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<ForeignKey>>,
    fetched_at: Timestamp,
    fresh_until: Timestamp,
}

/// Why there are no keys.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoKeys {
    /// The place does not answer, which may pass: no verdict can be reached.
    #[error(transparent)]
    Away(#[from] Fault),
    /// There are none, or it may not be asked: that is the same until somebody changes it.
    #[error("{0}")]
    None(String),
}

// === impl KeySet ===

impl KeySet {
    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Arc<ForeignKey>] {
        &self.keys
    }
}

// === impl RemoteKeys ===

impl RemoteKeys {
    /// Asks whom these rules let it.
    #[must_use]
    pub fn new(outside: Arc<Outside>, patience: Patience, ambient: Ambient) -> Self {
        Self {
            outside,
            outbound: OnceLock::new(),
            patience,
            ambient,
            // Not by how often a place is asked for: a new one that is not let in has no cooldown.
            places: Cache::builder().max_capacity(PLACES).eviction_policy(EvictionPolicy::lru()).build(),
            fetches: Semaphore::new(FETCHES),
        }
    }

    /// The keys that are at a URL.
    ///
    /// # Errors
    /// There are none, or there is no answer and what was there before is too old.
    pub async fn keys(self: &Arc<Self>, url: &str) -> Result<Arc<KeySet>, NoKeys> {
        let place = self.place(url);
        let now = self.ambient.now();
        let known = place.known();
        match &known {
            Some(set) if set.is_fresh(now) => return Ok(Arc::clone(set)),
            // Somebody else is asking: nobody waits for what is good enough.
            Some(set) if place.is_asked() && set.serves(now, self.patience) => return Ok(Arc::clone(set)),
            _ => {}
        }
        match self.ask(Arc::clone(&place), known).await {
            // Silence is bridged.
            Err(NoKeys::Away(fault)) => {
                place.known().filter(|set| set.serves(now, self.patience)).ok_or(NoKeys::Away(fault))
            }
            asked => asked,
        }
    }

    /// The keys that are at a URL now, where these do not have the one that is looked for; nothing, when there are no
    /// others as far as the place was asked a moment ago.
    ///
    /// # Errors
    /// There are none any more, or there is no answer: then nobody knows whether the place has the key.
    pub async fn after(
        self: &Arc<Self>,
        url: &str,
        than: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, NoKeys> {
        let newer = self.ask(self.place(url), Some(Arc::clone(than))).await?;
        Ok((!Arc::ptr_eq(&newer, than)).then_some(newer))
    }

    fn place(&self, url: &str) -> Arc<Place> {
        self.places.get_with_by_ref(url, || Arc::new(Place::new(url)))
    }

    /// Asks in a task of its own, so that a caller who goes away ends nobody's fetch.
    async fn ask(
        self: &Arc<Self>,
        place: Arc<Place>,
        seen: Option<Arc<KeySet>>,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let keys = Arc::clone(self);
        let asking = tokio::spawn(async move { place.ask(&keys, seen.as_ref()).await });
        asking.await.map_err(Fault::internal)?
    }

    async fn fetch(&self, url: &str) -> Result<KeySet, NoKeys> {
        let _turn = self.fetches.acquire().await.map_err(Fault::internal)?;
        let outbound = self.outbound.get_or_init(|| Outbound::guarded(Arc::clone(&self.outside)));
        let outbound = outbound.as_ref().map_err(Clone::clone)?;
        let request = Request::get(url).header(ACCEPT, "application/jwk-set+json, application/json");
        let request = request.body(Vec::new()).map_err(|_| none("it is not a URL"))?;
        let answer = outbound.call(request).await.map_err(|problem| match problem {
            NoAnswer::Away(_) => NoKeys::Away(Fault::unavailable(format!("keys at {url}: {problem}"))),
            NoAnswer::TooLarge(_) | NoAnswer::Refused(_) => none(&problem.to_string()),
        })?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(Fault::unavailable(format!("keys at {url}: it answers {status}")).into());
        }
        if status != http::StatusCode::OK {
            return Err(none(&format!("it answers {}", status.as_u16())));
        }
        let keys = read_key_set(answer.body()).ok_or_else(|| none("what it answers is no JWK Set"))?;
        let now = self.ambient.now();
        let kept = max_age(answer.headers()).map_or(USUAL, |said| said.clamp(LEAST, MOST));
        Ok(KeySet {
            keys: keys.into_iter().map(Arc::new).collect(),
            fetched_at: now,
            fresh_until: now.plus(kept),
        })
    }
}

fn none(why: &str) -> NoKeys {
    NoKeys::None(why.to_owned())
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

// === impl KeySet ===

impl KeySet {
    fn is_fresh(&self, now: Timestamp) -> bool {
        // A clock that was set back makes nothing fresh for longer.
        (self.fetched_at..self.fresh_until).contains(&now)
    }

    /// Whether it serves while it cannot be fetched anew.
    fn serves(&self, now: Timestamp, patience: Patience) -> bool {
        now < self.fresh_until.plus(patience.stale_for)
    }
}

#[cfg(test)]
#[path = "remote_keys/tests.rs"]
mod tests;
