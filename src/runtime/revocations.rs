//! Revocations in memory, as fresh as the last change, so that nobody asks the database whether a token counts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::clock::Ambient;
use super::clock_check::ClockCheck;
use super::ledger::Ledger;
use super::patiently;
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::claims::AccessTokenClaims;
use crate::domain::error::Fault;
use crate::domain::revocation::{Revocation, Revoked, RevokedKind};
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, Store};

/// How many are read at a time. Each page has its own deadline: however many there are, a database that answers is not
/// away.
const PAGE: u32 = 10_000;

/// What was taken back.
pub struct Revocations {
    store: Store,
    ambient: Ambient,
    clock: Arc<ClockCheck>,
    revoked: RwLock<Revoked>,
}

// === impl Revocations ===

impl Revocations {
    /// Reads what matters still.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(store: Store, clock: Arc<ClockCheck>) -> Result<Arc<Self>, Fault> {
        let ambient = clock.ambient().clone();
        let revocations = Self { store, ambient, clock, revoked: RwLock::default() };
        revocations.reload().await?;
        Ok(Arc::new(revocations))
    }

    /// Reads everything anew.
    ///
    /// # Errors
    /// The database is away; what is in memory stays.
    pub async fn reload(&self) -> Result<(), Fault> {
        // When this clock is set right, a token that it thought over may be alive.
        let trusted = self.clock.trust().await.is_ok();
        let now = if trusted { self.ambient.now() } else { Timestamp::from_micros(0) };
        let revoked = live(&self.store, now).await?;
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked;
        Ok(())
    }

    /// Reads one that has just been made.
    ///
    /// # Errors
    /// The database is away.
    pub async fn learn(&self, kind: RevokedKind, subject: &str) -> Result<(), Fault> {
        if let Some(revocation) = patiently(self.store.revocation(kind, subject)).await? {
            self.revoked.write().unwrap_or_else(PoisonError::into_inner).insert(revocation);
        }
        Ok(())
    }

    /// Which revocation a token falls under, if any.
    #[must_use]
    pub fn find(&self, claims: &AccessTokenClaims) -> Option<RevokedKind> {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).find(claims)
    }

    /// Forgets what has ended by itself, in memory.
    pub fn forget(&self) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).forget(self.ambient.now());
    }

    /// Forgets what has ended by itself, in the store.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sweep(&self) -> Result<(), Fault> {
        let now = self.ambient.now();
        patiently(async {
            let mut tx = self.store.begin().await?;
            tx.forget_revocations(now).await?;
            tx.commit().await
        })
        .await
    }
}

/// Everything that was taken back and still matters at `now`.
///
/// # Errors
/// The database is away.
pub async fn live(store: &Store, now: Timestamp) -> Result<Revoked, Fault> {
    let mut revoked = Revoked::default();
    let mut last = None;
    loop {
        let page = patiently(store.live_revocations(now, last.as_ref(), PAGE)).await?;
        let more = page.len() == PAGE as usize;
        last = page.last().cloned();
        for revocation in page {
            revoked.insert(revocation);
        }
        if !more {
            return Ok(revoked);
        }
    }
}

/// The end of what was issued until now, by the clocks of all replicas: one whose clock is ahead has issued tokens that
/// say to be from later than `now`, and recorded each before it handed it out. `tolerance` is how far a clock may be
/// off; by one that is further off than that the tokens of a client would be refused for as long.
///
/// # Errors
/// The database is away.
pub async fn until_now(store: &Store, now: Timestamp, tolerance: Duration) -> Result<Timestamp, Fault> {
    // This clock may be behind by as much as another is ahead.
    let newest = patiently(store.newest_event_between(now, now.plus(2 * tolerance))).await?;
    Ok(newest.unwrap_or(now))
}

/// Takes something back, with its event, durably; `txn` is the chain that it belongs to, where that is known. It counts on every replica within a second. Answers whether that
/// was not so already.
///
/// # Errors
/// The database is away: nothing was revoked.
pub async fn revoke(
    store: &Store,
    ledger: &Ledger,
    ambient: &Ambient,
    revocation: Revocation,
    txn: Option<String>,
    (actor, origin): (Actor, Origin),
) -> Result<bool, Fault> {
    let at = ambient.now();
    let Revocation { kind: what, subject, .. } = revocation.clone();
    let continues = txn.is_some();
    let until = (what == RevokedKind::Client).then_some(revocation.revoked_at);
    let event = Event::Revoked { actor, what, subject: subject.clone(), until, txn, continues };
    let event = AuditEvent { at, origin, event }.write_for_later()?;
    let id = ambient.uuid()?;
    let changed = patiently(async {
        let mut tx = store.begin().await?;
        let changed = tx.revoke(&revocation).await?;
        if changed {
            tx.leave_event(id, &event).await?;
            tx.note_change(&ChangeKind::Revocation(what, subject), at).await?;
            tx.commit().await?;
        }
        Ok(changed)
    })
    .await?;
    // It is committed, and its event with it: that the ledger lags for a moment does not undo it.
    if changed && let Err(error) = ledger.collect().await {
        tracing::warn!(%error, "the revocation is stored, and its event will be chained later");
    }
    Ok(changed)
}
