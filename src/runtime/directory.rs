//! The directory: clients, roles and resource servers in memory, as fresh as the last change.
//!
//! Clients are a bounded cache over the store, filled on demand, one load at a time for each; the catalog
//! (every resource server and role) is small and always whole. Both learn of changes by reading the
//! store's numbered changes: at once after a change made here, when the database notifies, and by polling.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::future::Cache;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::fault;
use super::keyring::Keyring;
use crate::domain::catalog::Catalog;
use crate::domain::client::Registration;
use crate::domain::error::Fault;
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::storage::{Change, ChangeKind, Notifications, Store, StoreError};

/// How often changes are asked for when nothing notifies. Twice this is the longest that a revoked
/// secret is still accepted on another replica.
const POLL: Duration = Duration::from_millis(400);

/// How many clients are kept in memory.
const CLIENTS: u64 = 50_000;

/// How many unknown client ids are remembered, and for how long.
const UNKNOWN: u64 = 10_000;
const UNKNOWN_FOR: Duration = Duration::from_mins(1);

/// The most changes read at a time.
const PAGE: u32 = 1_000;

/// How long changes are kept. A replica that was away for longer reads everything anew.
const KEPT: Duration = Duration::from_hours(24);

/// How often old changes are swept away.
const SWEEP: Duration = Duration::from_hours(1);

/// What is registered, in memory.
pub struct Directory {
    store: Store,
    ambient: Ambient,
    keyring: Arc<Keyring>,
    catalog: ArcSwap<Catalog>,
    clients: Cache<ClientId, Known>,
    unknown: Cache<ClientId, ()>,
    /// The last change that was applied. Held while applying, so that changes apply in order.
    applied: Mutex<i64>,
    /// Counts the times that anything was dropped from the caches: a load that began before may be stale.
    generation: AtomicU64,
}

/// A client in memory, with the generation its load began in.
#[derive(Clone)]
struct Known {
    registration: Option<Arc<Registration>>,
    generation: u64,
}

// === impl Directory ===

impl Directory {
    /// Loads the catalog; clients come when they are asked for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(store: Store, keyring: Arc<Keyring>, ambient: Ambient) -> Result<Arc<Self>, Fault> {
        // The number is read first: a change that comes in between is applied once too often, not missed.
        let seq = store.latest_change().await.map_err(fault)?;
        let catalog = load_catalog(&store).await?;
        Ok(Arc::new(Self {
            store,
            ambient,
            keyring,
            catalog: ArcSwap::from_pointee(catalog),
            clients: Cache::new(CLIENTS),
            unknown: Cache::builder().max_capacity(UNKNOWN).time_to_live(UNKNOWN_FOR).build(),
            applied: Mutex::new(seq),
            generation: AtomicU64::new(0),
        }))
    }

    /// Every resource server and role.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The client with this identifier. Asks the store at most once for each client that is not in
    /// memory, however many ask at the same time.
    ///
    /// # Errors
    /// It is not in memory and the database is away. That is never "no such client".
    pub async fn client(&self, client_id: &ClientId) -> Result<Option<Arc<Registration>>, Fault> {
        loop {
            if self.unknown.get(client_id).await.is_some() {
                return Ok(None);
            }
            if let Some(known) = self.clients.get(client_id).await {
                return Ok(known.registration);
            }
            let known = self
                .clients
                .try_get_with_by_ref(client_id, self.load(client_id))
                .await
                .map_err(|error: Arc<Fault>| Fault { kind: error.kind, detail: error.detail.clone() })?;
            if known.registration.is_none() {
                // Unknown ids go to their own small memory, so that a flood of them evicts no client.
                self.clients.invalidate(client_id).await;
                self.unknown.insert(client_id.clone(), ()).await;
            }
            // A change that was applied while the row was on its way may have missed it in the caches:
            // whoever applies counts the generation first, and drops entries then.
            if known.generation == self.generation.load(Ordering::Acquire) {
                return Ok(known.registration);
            }
            self.clients.invalidate(client_id).await;
            self.unknown.invalidate(client_id).await;
        }
    }

    async fn load(&self, client_id: &ClientId) -> Result<Known, Fault> {
        let generation = self.generation.load(Ordering::Acquire);
        let registration = self.store.registration(client_id).await.map_err(fault)?.map(Arc::new);
        Ok(Known { registration, generation })
    }

    /// Applies every change that the store has. After a change made in this process, this is what makes
    /// it visible before the answer leaves.
    ///
    /// # Errors
    /// The database is away; the next poll tries again.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut applied = self.applied.lock().await;
        loop {
            let changes = self.store.changes_after(*applied, PAGE).await.map_err(fault)?;
            let Some(last) = changes.last().map(|change| change.seq) else { return Ok(()) };
            if changes[0].seq != *applied + 1 {
                tracing::warn!(
                    applied = *applied,
                    oldest = changes[0].seq,
                    "changes were missed; everything is read anew"
                );
                self.forget_everything().await?;
            }
            self.apply(&changes).await?;
            *applied = last;
        }
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), Fault> {
        if changes.iter().any(|change| change.kind == ChangeKind::Catalog) {
            self.catalog.store(Arc::new(load_catalog(&self.store).await?));
        }
        if changes.iter().any(|change| change.kind == ChangeKind::Keys) {
            self.keyring.reload().await?;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        for change in changes {
            if let ChangeKind::Client(client_id) = &change.kind {
                self.clients.invalidate(client_id).await;
                self.unknown.invalidate(client_id).await;
            }
        }
        Ok(())
    }

    async fn forget_everything(&self) -> Result<(), Fault> {
        self.catalog.store(Arc::new(load_catalog(&self.store).await?));
        self.keyring.reload().await?;
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.clients.invalidate_all();
        self.unknown.invalidate_all();
        Ok(())
    }

    async fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.forget_changes(now.minus(KEPT)).await?;
        tx.commit().await
    }

    /// Follows the store's changes until `stop`, and sweeps old ones away.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut notifications = None;
        let mut swept = self.ambient.now();
        loop {
            if notifications.is_none() {
                // Polling goes on whether or not this works.
                notifications = Notifications::listen(&self.store).await.ok().flatten();
            }
            let hint = async {
                match &mut notifications {
                    Some(listening) => listening.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
                heard = hint => {
                    if heard.is_err() {
                        notifications = None;
                    }
                }
            }
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "changes cannot be read; serving what is in memory");
            }
            let now = self.ambient.now();
            if swept.plus(SWEEP) <= now {
                swept = now;
                if let Err(error) = self.sweep(now).await {
                    tracing::warn!(%error, "old changes cannot be removed; trying again in an hour");
                }
            }
        }
    }
}

async fn load_catalog(store: &Store) -> Result<Catalog, Fault> {
    // Resource servers last: a role that points to a newer one than it read would otherwise seem broken.
    let roles = store.all_roles().await.map_err(fault)?;
    let servers = store.all_resource_servers().await.map_err(fault)?;
    Ok(Catalog::new(servers, roles))
}
