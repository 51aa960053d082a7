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

use super::patiently;
use crate::domain::claim_conditions::{MatchKey, Shape, TooManyValues};
use crate::domain::error::Fault;
use crate::domain::ids::{ClientId, TrustedIssuerUid};
use crate::jose::Object;
use crate::storage::Store;

/// How many keys are remembered, with what they find.
const REMEMBERED: u64 = 200_000;

/// The most clients that one key finds: two whose conditions hold are a refusal, so that more need not be seen. Some of
/// these may have further conditions that do not hold.
const MOST_FOUND: u32 = 100;

/// Who has a credential that a token may be meant by.
pub struct Matches {
    store: Store,
    shapes: ArcSwap<HashMap<TrustedIssuerUid, Vec<Shape>>>,
    found: Cache<(TrustedIssuerUid, MatchKey), Found>,
    /// Counts the changes. What was looked for before one says nothing after it.
    generation: AtomicU64,
}

type Generation = u64;

/// Whom a key finds, and when that was asked.
type Found = (Generation, Arc<[ClientId]>);

/// Why nobody can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum NoMatches {
    /// The token has too many values.
    #[error(transparent)]
    TooMany(#[from] TooManyValues),
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
    /// The claims have too many values to look for, or the database is away.
    pub async fn candidates(
        &self,
        issuer: TrustedIssuerUid,
        claims: &Object,
    ) -> Result<Vec<ClientId>, NoMatches> {
        let shapes = self.shapes.load_full();
        let mut clients = Vec::new();
        for shape in shapes.get(&issuer).into_iter().flatten() {
            for key in shape.keys(claims)? {
                clients.extend_from_slice(&self.find(issuer, key).await?);
            }
        }
        clients.sort();
        clients.dedup();
        Ok(clients)
    }

    async fn find(&self, issuer: TrustedIssuerUid, key: MatchKey) -> Result<Arc<[ClientId]>, Fault> {
        let generation = self.generation.load(Ordering::Acquire);
        let place = (issuer, key);
        if let Some((then, found)) = self.found.get(&place).await
            && then == generation
        {
            return Ok(found);
        }
        let found = patiently(self.store.clients_by_match(issuer, &place.1, MOST_FOUND)).await?;
        let found: Arc<[ClientId]> = found.into();
        // With the generation in which it was asked: a change that came meanwhile makes it worth nothing.
        self.found.insert(place, (generation, Arc::clone(&found))).await;
        Ok(found)
    }
}
