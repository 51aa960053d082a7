//! The directory: clients, roles and resource servers in memory, as fresh as the last change.
//!
//! Clients are a bounded cache over the store, filled on demand, one load at a time for each; the catalog
//! (every resource server and role) is small and always whole. Both learn of changes by reading the
//! store's numbered changes: at once after a change made here, when the database notifies, and by polling.

mod doubts;
mod generations;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::future::Cache;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::doubts::Doubts;
use self::generations::{Generation, Generations};
use super::clock_check::ClockCheck;
use super::federation::Matches;
use super::keyring::Keyring;
use super::known_ids::KnownIds;
use super::meters::{Lookup, Lookups};
use super::nonces::NonceSecret;
use super::revocations::Revocations;
use super::trouble::Trouble;
use super::{PATIENCE, fault, patiently};
use crate::domain::catalog::Catalog;
use crate::domain::client::Registration;
use crate::domain::error::Fault;
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::storage::{Change, ChangeKind, Notifications, Store, StoreError};

/// How often changes are asked for when nothing notifies. Twice this is the longest that a revoked
/// secret is still accepted on another replica.
const POLL: Duration = Duration::from_millis(400);

/// How long after it was tried to be notified that is tried again: what stands in between may never allow it.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// How many unknown client ids are remembered, and for how long.
const UNKNOWN: u64 = 10_000;
const UNKNOWN_FOR: Duration = Duration::from_mins(1);

/// The most changes read at a time.
const PAGE: u32 = 1_000;

/// How long changes are kept. A replica that was away for longer reads everything anew.
const KEPT: Duration = Duration::from_hours(24);

/// How often old changes are swept away.
const SWEEP: Duration = Duration::from_hours(1);

/// How often revocations of what has ended are forgotten in memory.
const FORGET: Duration = Duration::from_mins(1);

/// How many loads of clients run at a time. The rest of the connections stay for the ledger, so that a
/// flood of unknown ids slows itself down and nobody else.
const LOADS: usize = 4;

/// How many client ids are read at a time to know which there are, and how long others may read meanwhile.
const IDS: u32 = 5_000;
const BREATH: Duration = Duration::from_millis(5);

/// How long ago changes were heard of when all is well.
const FRESH: Duration = Duration::from_secs(2);

/// How long ago changes were heard of where what is not in memory counts as absent: a change counts on every replica
/// within a second.
const JUST_NOW: Duration = Duration::from_secs(1);

/// How long what is in memory may be used without hearing of changes.
const STALE: Duration = Duration::from_secs(10);

/// What is registered, in memory.
pub struct Directory {
    store: Store,
    clock: Arc<ClockCheck>,
    keyring: Arc<Keyring>,
    revocations: Arc<Revocations>,
    nonces: Arc<NonceSecret>,
    catalog: ArcSwap<Catalog>,
    matches: Matches,
    clients: Cache<ClientId, Known>,
    unknown: Cache<ClientId, Generation>,
    known: ArcSwap<KnownIds>,
    doubts: Doubts,
    generations: Generations,
    loads: Semaphore,
    lookups: Lookups,
    most_clients: u64,
    /// The last change that was applied. Held while applying, so that changes apply in order.
    applied: Mutex<Option<Change>>,
    /// When changes were last heard of. Monotonic: a clock that is set must not make memory stale.
    heard: ArcSwap<Instant>,
    believed_for: Duration,
    /// The same for token requests of clients that are in memory: not less.
    usable_for: Duration,
}

/// How much is kept in memory, and for how long it is believed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many clients are kept.
    pub clients: u64,
    /// How old the newest that was heard of the signing keys may be for tokens to be signed.
    pub keys_believed_for: Duration,
    /// How long clients in memory get tokens while changes cannot be heard of, if they do.
    pub grace: Option<Duration>,
}

/// A client in memory, with the generation that its load began in.
#[derive(Clone)]
struct Known {
    registration: Option<Arc<Registration>>,
    generation: Generation,
}

// === impl Directory ===

impl Directory {
    /// Loads the catalog; clients come when they are asked for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(
        store: Store,
        clock: Arc<ClockCheck>,
        keyring: Arc<Keyring>,
        revocations: Arc<Revocations>,
        nonces: Arc<NonceSecret>,
        limits: Limits,
    ) -> Result<Arc<Self>, Fault> {
        // The change is read first: a change that comes in between is applied once too often, not missed.
        let heard = Instant::now();
        let latest = store.latest_change().await.map_err(fault)?;
        let catalog = store.catalog().await.map_err(fault)?;
        tell_unread(&catalog, &Catalog::default());
        keyring.reload().await?;
        revocations.reload().await?;
        nonces.reload().await?;
        let matches = Matches::open(store.clone()).await?;
        Ok(Arc::new(Self {
            store,
            matches,
            clock,
            keyring,
            revocations,
            nonces,
            catalog: ArcSwap::from_pointee(catalog),
            clients: Cache::new(limits.clients),
            known: ArcSwap::from_pointee(KnownIds::with_room(0)),
            doubts: Doubts::new(),
            unknown: Cache::builder().max_capacity(UNKNOWN).time_to_live(UNKNOWN_FOR).build(),
            generations: Generations::new(),
            loads: Semaphore::new(LOADS),
            lookups: Lookups::default(),
            most_clients: limits.clients,
            applied: Mutex::new(latest),
            heard: ArcSwap::from_pointee(heard),
            believed_for: STALE.min(limits.keys_believed_for),
            usable_for: limits.grace.unwrap_or(STALE).max(STALE).min(limits.keys_believed_for),
        }))
    }

    /// Every resource server and role.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Who is found by a token of a trusted issuer.
    #[must_use]
    pub const fn matches(&self) -> &Matches {
        &self.matches
    }

    /// The client with this identifier. However many ask at the same time for one that is not in memory,
    /// the store is asked once.
    ///
    /// # Errors
    /// It is not in memory and the database is away, or no changes have been heard of for too long. That
    /// is never "no such client".
    pub async fn client(&self, client_id: &ClientId) -> Result<Option<Arc<Registration>>, Fault> {
        self.check_usable()?;
        if let Some(Known { registration: Some(known), generation }) = self.clients.get(client_id).await
            && generation == self.generations.of(client_id)
        {
            self.lookups.note(Lookup::Remembered);
            return Ok(Some(known));
        }
        // Whoever is not in memory may have been registered meanwhile, and asking would take its time.
        self.check_fresh()?;
        if self.unknown.get(client_id).await == Some(self.generations.of(client_id)) && self.is_fresh() {
            self.lookups.note(Lookup::RememberedUnknown);
            return Ok(None);
        }
        // Boxed, because it is large and seldom needed: the future of every request would carry its size about.
        Box::pin(self.find(client_id)).await
    }

    /// How clients were found.
    #[must_use]
    pub const fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// How many clients are in memory, about, and how many may be.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.clients.entry_count(), self.most_clients)
    }

    /// How often changes of any sort were applied: another number tells whoever has waited for something to look again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.generations.applied()
    }

    /// How long ago it was last heard whether there were changes.
    #[must_use]
    pub fn heard_ago(&self) -> Duration {
        self.heard.load().elapsed()
    }

    /// Looks where unknown clients are remembered, for whoever refuses one that is known: so that its name took as
    /// long as one that there is not (decision 032).
    pub async fn look_as_if_unknown(&self, client_id: &ClientId) {
        let _ = std::hint::black_box(self.unknown.get(client_id).await);
    }

    async fn find(&self, client_id: &ClientId) -> Result<Option<Arc<Registration>>, Fault> {
        loop {
            let generation = self.generations.of(client_id);
            // Only while changes come in: otherwise it may have been registered elsewhere, and a fault is
            // no verdict.
            let heard = self.is_fresh();
            if heard && self.unknown.get(client_id).await == Some(generation) {
                return Ok(None);
            }
            if heard && !self.known.load().may_have(client_id) && !self.doubts.take() {
                // Remembered like one that was looked for, so that a name that is tried again takes as long as a
                // registered one.
                self.unknown.insert(client_id.clone(), generation).await;
                self.lookups.note(Lookup::MadeUp);
                return Ok(None);
            }
            let known = self
                .clients
                .try_get_with_by_ref(client_id, self.load(client_id, generation))
                .await
                .map_err(|error: Arc<Fault>| Fault::clone(&error))?;
            if known.generation != self.generations.of(client_id) {
                self.clients.invalidate(client_id).await;
                continue;
            }
            if known.registration.is_none() {
                // Unknown ids go to their own small memory, so that a flood of them evicts no client.
                self.clients.invalidate(client_id).await;
                self.unknown.insert(client_id.clone(), known.generation).await;
            }
            return Ok(known.registration);
        }
    }

    async fn load(&self, client_id: &ClientId, generation: Generation) -> Result<Known, Fault> {
        let _turn = self.loads.acquire().await.map_err(Fault::internal)?;
        self.lookups.note(Lookup::Asked);
        let registration = patiently(self.store.registration(client_id)).await?.map(Arc::new);
        Ok(Known { registration, generation })
    }

    /// Whether changes come in as they do when all is well.
    fn is_fresh(&self) -> bool {
        self.heard_ago() < FRESH
    }

    /// Whether what is in memory may be believed.
    ///
    /// # Errors
    /// No changes have been heard of for too long, whatever the reason: somebody may have been switched
    /// off in the meantime.
    pub fn check_fresh(&self) -> Result<(), Fault> {
        self.check_heard(self.believed_for)
    }

    /// Whether clients in memory may be given tokens: for a while also when no changes are heard of, if an operator has
    /// not said otherwise. Where a client is disabled or expired as far as is known, it gets none.
    ///
    /// # Errors
    /// No changes have been heard of for longer.
    pub fn check_usable(&self) -> Result<(), Fault> {
        self.check_heard(self.usable_for)
    }

    /// For how long clients in memory are given tokens, if no more changes are heard of.
    #[must_use]
    pub fn usable_left(&self) -> Duration {
        self.usable_for.saturating_sub(self.heard.load().elapsed())
    }

    /// Whether changes were heard of within this time.
    ///
    /// # Errors
    /// They were not.
    pub fn check_heard(&self, within: Duration) -> Result<(), Fault> {
        if self.heard.load().elapsed() > within {
            return Err(Fault::unavailable("changes of the database have not been read for too long"));
        }
        Ok(())
    }

    /// Makes sure that what is not in memory is not there, before that is said of anything: if changes were not heard
    /// of just now, they are asked for. Answers whether they were: then it may be in memory now.
    ///
    /// # Errors
    /// The database is away: there may be what this replica has not heard of.
    pub async fn hear(&self) -> Result<bool, Fault> {
        if self.heard_ago() <= JUST_NOW {
            return Ok(false);
        }
        let heard = async {
            let mut applied = self.applied.lock().await;
            // Whoever had the turn before may have heard.
            if self.heard_ago() > JUST_NOW {
                self.read_changes(&mut applied).await?;
            }
            Ok(true)
        };
        let silent = |_| Err(Fault::unavailable("the database does not answer"));
        timeout(PATIENCE, heard).await.unwrap_or_else(silent)
    }

    /// Applies every change that the store has. After a change made in this process, this is what makes
    /// it visible before the answer leaves.
    ///
    /// # Errors
    /// The database is away; the next poll tries again.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut applied = self.applied.lock().await;
        self.read_changes(&mut applied).await
    }

    async fn read_changes(&self, applied: &mut Option<Change>) -> Result<(), Fault> {
        loop {
            // Whatever was changed after the question may be missing from an answer that took its time.
            let asked = Instant::now();
            let from = applied.as_ref().map_or(0, |last| last.seq);
            let mut changes = patiently(self.store.changes_from(from, PAGE)).await?;
            let full = changes.len() == PAGE as usize;
            let fresh = changes.split_off(usize::from(applied.is_some()).min(changes.len()));
            if changes.first() != applied.as_ref() || fresh.first().is_some_and(|first| first.seq != from + 1)
            {
                self.start_anew(applied).await?;
                continue;
            }
            if !fresh.is_empty() {
                self.apply(&fresh, false).await?;
                *applied = fresh.into_iter().next_back();
            }
            // There were no more when it was asked; a stream of changes must not look like silence.
            if !full {
                self.heard.store(Arc::new(asked));
                return Ok(());
            }
        }
    }

    /// Reads everything anew: changes were missed, or the database went back to an earlier state (it was restored, or
    /// another server that lagged took over), so that the last change that was applied is none any more.
    async fn start_anew(&self, applied: &mut Option<Change>) -> Result<(), Fault> {
        // The change is read first: one that comes in between is applied once too often, not missed.
        let latest = patiently(self.store.latest_change()).await?;
        self.apply(&[], true).await?;
        let number = |change: Option<&Change>| change.map_or(0, |change| change.seq);
        tracing::warn!(
            applied = number(applied.as_ref()),
            latest = number(latest.as_ref()),
            "changes were missed, or the database went back; all was read anew"
        );
        *applied = latest;
        Ok(())
    }

    /// Applies changes. Clients come first: whatever fails after that, nobody who was switched off is
    /// served from memory. The nonces do not wait for the rest either: after a restore they have to be others.
    async fn apply(&self, changes: &[Change], missed: bool) -> Result<(), Fault> {
        let everything = missed || changes.iter().any(|change| change.kind == ChangeKind::Unknown);
        if everything {
            self.generations.advance_all();
            // Says "yes" to everything until it is filled again.
            self.known.store(Arc::new(KnownIds::with_room(0)));
        }
        for change in changes {
            if let ChangeKind::Client(client_id) | ChangeKind::Federation(client_id) = &change.kind {
                self.known.load().insert(client_id);
                self.generations.advance(client_id);
                self.clients.invalidate(client_id).await;
                self.unknown.invalidate(client_id).await;
            }
        }
        let mut done = self.apply_rest(changes, everything).await;
        if everything || changes.iter().any(|change| change.kind == ChangeKind::Nonces) {
            done = done.and(self.nonces.reload().await);
        }
        self.generations.note_applied();
        done
    }

    async fn apply_rest(&self, changes: &[Change], everything: bool) -> Result<(), Fault> {
        if everything || changes.iter().any(|change| matches!(change.kind, ChangeKind::Federation(_))) {
            self.matches.reload().await?;
        }
        if everything || changes.iter().any(|change| change.kind == ChangeKind::Catalog) {
            let catalog = patiently(self.store.catalog()).await?;
            tell_unread(&catalog, &self.catalog.load());
            self.catalog.store(Arc::new(catalog));
        }
        if everything || changes.iter().any(|change| change.kind == ChangeKind::Keys) {
            self.keyring.reload().await?;
        }
        if everything {
            return self.revocations.reload().await;
        }
        for change in changes {
            if let ChangeKind::Revocation(kind, subject) = &change.kind {
                self.revocations.learn(*kind, subject).await?;
            }
        }
        Ok(())
    }

    /// Learns which clients there are whenever that is not known: at the start, after changes were missed, and
    /// when there are many more than before.
    pub async fn learn_ids(self: Arc<Self>, stop: CancellationToken) {
        let learn = async {
            let mut filling =
                Trouble::with("the client ids cannot be read, and every made-up one costs a query");
            loop {
                if self.known.load().wants_filling() {
                    filling.note(self.fill_known().await);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = learn => {}
        }
    }

    async fn fill_known(&self) -> Result<(), Fault> {
        let clients = patiently(self.store.count_clients()).await?;
        let known = Arc::new(KnownIds::with_room(usize::try_from(clients).unwrap_or(usize::MAX)));
        // It is in use at once, so that it hears of every client that is registered from now on.
        self.known.store(Arc::clone(&known));
        let mut after = String::new();
        loop {
            let ids = patiently(self.store.client_ids_after(&after, IDS)).await?;
            let Some(last) = ids.last() else { break };
            after = last.as_str().to_owned();
            for id in &ids {
                known.insert(id);
            }
            tokio::time::sleep(BREATH).await;
        }
        known.is_whole();
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
        let mut listen_at = Instant::now();
        let mut swept = self.clock.ambient().now();
        let mut forgot = swept;
        let mut reading = Trouble::with("changes cannot be read");
        loop {
            if notifications.is_none() && listen_at <= Instant::now() {
                // Where this does not work, there is still the polling.
                notifications = patiently(Notifications::listen(&self.store)).await.ok().flatten();
                listen_at = Instant::now() + LISTEN_AGAIN;
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
            reading.note(self.catch_up().await);
            let now = self.clock.ambient().now();
            // By a clock that is off, what still counts would seem to have had its time.
            if forgot.plus(FORGET) > now || self.clock.check().is_err() || self.clock.trust().await.is_err() {
                continue;
            }
            forgot = now;
            self.revocations.forget();
            if swept.plus(SWEEP) <= now {
                swept = now;
                if let Err(error) = patiently(self.sweep(now)).await {
                    tracing::warn!(%error, "old changes cannot be removed; trying again in an hour");
                }
                if let Err(error) = self.revocations.sweep().await {
                    tracing::warn!(%error, "old revocations cannot be removed; trying again in an hour");
                }
            }
        }
    }
}

/// Says what of the catalog is not understood here, each once.
fn tell_unread(catalog: &Catalog, before: &Catalog) {
    for (_, unread) in catalog.unread().difference(before.unread()) {
        tracing::warn!(unread, "a newer version has registered this; here what needs it is refused");
    }
}
