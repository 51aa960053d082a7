//! Public keys that others publish: a place, and the keys that are there.
//!
//! Each process keeps what it has fetched for as long as the answer allows, within bounds. One fetch is under way for
//! each place, whoever waits for it. What cannot be fetched anew serves on for a while, because that somebody's web
//! server is down says nothing about its keys; nor is it known then that there is no such key. A place that does not
//! answer, or does not have a key, is left alone for a moment, so that whoever makes up key ids cannot have Jeton flood
//! it.

mod fetch;
mod key_set;
mod place;

pub use self::key_set::KeySet;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tracing::Instrument;

use self::place::Place;
use super::clock::Ambient;
use super::issuers::Outbound;
use super::meters::Histogram;
use super::spans;
use crate::domain::error::Fault;
use crate::domain::outside::Outside;

/// How many places are remembered. The one that was not asked for longest is forgotten, and fetched anew if need be.
const PLACES: u64 = 10_000;

/// How many fetches are under way.
const FETCHES: usize = 32;

/// Keys that others publish.
pub struct RemoteKeys {
    outside: Arc<Outside>,
    /// Made with the first fetch: who fetches nothing needs no certificates.
    outbound: OnceLock<Result<Outbound, Fault>>,
    patience: Patience,
    ambient: Ambient,
    places: Cache<Source, Arc<Place>>,
    fetches: Semaphore,
    took: [Histogram; Fetched::ALL.len()],
}

/// Where keys are, and in what form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A JWK Set at this URL.
    JwksUri(String),
    /// A JWK Set where the metadata of this issuer says. Both are fetched together.
    Discovery(String),
    /// A SPIFFE bundle at this URL.
    BundleEndpoint(String),
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Keys.
    Keys,
    /// There are none, or the place may not be asked.
    None,
    /// No answer.
    Away,
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
            took: std::array::from_fn(|_| Histogram::of_durations()),
        }
    }

    /// The keys that are at a URL.
    ///
    /// # Errors
    /// As [`RemoteKeys::at`].
    pub async fn keys(self: &Arc<Self>, url: &str) -> Result<Arc<KeySet>, NoKeys> {
        self.at(&Source::JwksUri(url.to_owned())).await
    }

    /// The same as [`RemoteKeys::after_at`], of a URL.
    ///
    /// # Errors
    /// As there.
    pub async fn after(
        self: &Arc<Self>,
        url: &str,
        than: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, NoKeys> {
        self.after_at(&Source::JwksUri(url.to_owned()), than).await
    }

    /// The keys that are there.
    ///
    /// # Errors
    /// There are none, or there is no answer and what was there before is too old.
    pub async fn at(self: &Arc<Self>, source: &Source) -> Result<Arc<KeySet>, NoKeys> {
        let place = self.place(source);
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

    /// The keys that are there now, where these do not have the one that is looked for; nothing, when there are no
    /// others as far as the place was asked a moment ago.
    ///
    /// # Errors
    /// There are none any more, or there is no answer: then nobody knows whether the place has the key.
    pub async fn after_at(
        self: &Arc<Self>,
        source: &Source,
        than: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, NoKeys> {
        let newer = self.ask(self.place(source), Some(Arc::clone(than))).await?;
        Ok((!Arc::ptr_eq(&newer, than)).then_some(newer))
    }

    /// How long the fetches took that had this outcome, the waiting for their turn among it.
    #[must_use]
    pub const fn took(&self, fetched: Fetched) -> &Histogram {
        &self.took[fetched as usize]
    }

    fn place(&self, source: &Source) -> Arc<Place> {
        self.places.get_with_by_ref(source, || Arc::new(Place::new(source.clone())))
    }

    /// Asks in a task of its own, so that a caller who goes away ends nobody's fetch.
    async fn ask(
        self: &Arc<Self>,
        place: Arc<Place>,
        seen: Option<Arc<KeySet>>,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let keys = Arc::clone(self);
        // What is asked carries nothing of the trace: it goes to somebody else.
        let span = tracing::trace_span!(target: spans::PHASE, spans::FETCH_KEYS);
        let asking = async move { place.ask(&keys, seen.as_ref()).await };
        let asking = tokio::spawn(asking.instrument(span).in_current_span());
        asking.await.map_err(Fault::internal)?
    }
}

// === impl Fetched ===

impl Fetched {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Keys, Self::None, Self::Away];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::None => "none",
            Self::Away => "away",
        }
    }

    const fn of<T>(asked: &Result<T, NoKeys>) -> Self {
        match asked {
            Ok(_) => Self::Keys,
            Err(NoKeys::None(_)) => Self::None,
            Err(NoKeys::Away(_)) => Self::Away,
        }
    }
}

// === impl Source ===

impl Source {
    /// What was registered.
    fn as_str(&self) -> &str {
        match self {
            Self::JwksUri(url) | Self::Discovery(url) | Self::BundleEndpoint(url) => url,
        }
    }

    /// As the log tells it: a query may hold a key for the place.
    fn without_query(&self) -> &str {
        self.as_str().split_once('?').map_or(self.as_str(), |(place, _)| place)
    }
}

#[cfg(test)]
#[path = "remote_keys/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "remote_keys/discovery_tests.rs"]
mod discovery_tests;
