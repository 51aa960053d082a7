//! Who is found by a token of a trusted issuer, in memory.
//!
//! Which client a token may be of, the store finds by one indexed look for each shape of conditions that the issuer's
//! credentials have. What was found is remembered until some client's federated credentials change. It is a hint:
//! whether the conditions hold, and count, the client's registration says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::patiently;
use crate::domain::claim_conditions::{MatchKey, Shape, TooManyValues};
use crate::domain::error::Fault;
use crate::domain::ids::{ClientId, TrustedIssuerUid};
use crate::jose::Object;
use crate::storage::Store;

/// How many keys are remembered, with what they find.
const REMEMBERED: u64 = 200_000;

/// The most clients that one key may find. Some of them may have further conditions that do not hold; where there are
/// more, nobody knows whether only one is left, so that nobody is.
const MOST_FOUND: u32 = 100;

/// How many keys are looked for at the same time: tokens with odd claims must not take the database from others.
const LOADS: usize = 4;

/// Who has a credential that a token may be meant by.
pub struct Matches {
    store: Store,
    shapes: ArcSwap<HashMap<TrustedIssuerUid, Vec<Shape>>>,
    found: Cache<(TrustedIssuerUid, MatchKey, Generation), Found>,
    /// Counts the changes. What was looked for before one says nothing after it.
    generation: AtomicU64,
    loads: Semaphore,
    /// Counts the looks at the store.
    looks: AtomicU64,
}

type Generation = u64;

/// Whom a key finds; nothing, when that are too many.
type Found = Option<Arc<[ClientId]>>;

/// Why nobody can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum NoMatches {
    /// The token has too many values.
    #[error(transparent)]
    TooMany(#[from] TooManyValues),
    /// One key finds too many clients.
    #[error("over {MOST_FOUND} clients could match: send client_id")]
    TooManyClients,
    /// The database is away.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl Matches ===

impl Matches {
    /// Loads the shapes; who is found comes when somebody is looked for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(store: Store) -> Result<Self, Fault> {
        let matches = Self {
            store,
            shapes: ArcSwap::from_pointee(HashMap::new()),
            found: Cache::new(REMEMBERED),
            generation: AtomicU64::new(0),
            loads: Semaphore::new(LOADS),
            looks: AtomicU64::new(0),
        };
        matches.reload().await?;
        Ok(matches)
    }

    /// Forgets what was found, and loads the shapes anew.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reload(&self) -> Result<(), Fault> {
        // First: whatever fails after that, nobody is found by what was.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.found.invalidate_all();
        let mut shapes: HashMap<TrustedIssuerUid, Vec<Shape>> = HashMap::new();
        for (issuer, shape) in patiently(self.store.federation_shapes()).await? {
            shapes.entry(issuer).or_default().push(shape);
        }
        self.shapes.store(Arc::new(shapes));
        Ok(())
    }

    /// The clients that a token of this issuer with these claims may be of: each has a credential whose exact
    /// conditions hold, if it has any.
    ///
    /// # Errors
    /// The claims have too many values to look for, too many clients could be meant, or the database is away.
    pub async fn candidates(
        &self,
        issuer: TrustedIssuerUid,
        claims: &Object,
    ) -> Result<Vec<ClientId>, NoMatches> {
        let shapes = self.shapes.load_full();
        let mut clients = Vec::new();
        for shape in shapes.get(&issuer).into_iter().flatten() {
            for key in shape.keys(claims)? {
                let found = self.find(issuer, key).await?.ok_or(NoMatches::TooManyClients)?;
                clients.extend_from_slice(&found);
            }
        }
        clients.sort();
        clients.dedup();
        Ok(clients)
    }

    /// How often the store was asked for whom a key finds.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// However many ask at the same time for one key, the store is asked once.
    async fn find(&self, issuer: TrustedIssuerUid, key: MatchKey) -> Result<Found, Fault> {
        // With the generation in which it is asked: a change that comes meanwhile makes it worth nothing.
        let place = (issuer, key, self.generation.load(Ordering::Acquire));
        let load = self.load(issuer, &place.1);
        let found = self.found.try_get_with_by_ref(&place, load).await;
        found.map_err(|error: Arc<Fault>| Fault::clone(&error))
    }

    async fn load(&self, issuer: TrustedIssuerUid, key: &MatchKey) -> Result<Found, Fault> {
        let _turn = self.loads.acquire().await.map_err(Fault::internal)?;
        self.looks.fetch_add(1, Ordering::Relaxed);
        // One more, so that a list that is cut is none.
        let found = patiently(self.store.clients_by_match(issuer, key, MOST_FOUND + 1)).await?;
        let is_whole = u32::try_from(found.len()).is_ok_and(|count| count <= MOST_FOUND);
        Ok(is_whole.then(|| found.into()))
    }
}
