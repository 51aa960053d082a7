//! Warns before credentials end: an event for each credential and end, and numbers for whoever scrapes metrics.
//!
//! Every replica looks once a minute. What one has warned of is marked in the transaction that leaves the event, so of
//! several at once one does it. Each look reads a bounded part of an index.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::clock_check::ClockCheck;
use super::ledger::Ledger;
use super::{fault, step};
use crate::domain::audit::{AuditEvent, Event, Origin};
use crate::domain::credential::{CredentialKind, EndingCount, EndingCredential};
use crate::domain::error::Fault;
use crate::storage::{Store, StoreError};

/// How often.
const EVERY: Duration = Duration::from_mins(1);

/// How many are warned of in one step, and how long others may write between two steps.
const STEP: u32 = 100;
const BREATH: Duration = Duration::from_millis(50);

/// How many credentials of each kind somebody has to do something about; nothing before the first look.
pub type EndingCounts = Arc<ArcSwap<Vec<(CredentialKind, EndingCount)>>>;

/// Warns before credentials end.
pub struct ExpiryWatch {
    store: Store,
    ledger: Ledger,
    ambient: Ambient,
    clock: Arc<ClockCheck>,
    warn_before: Duration,
    counts: EndingCounts,
}

// === impl ExpiryWatch ===

impl ExpiryWatch {
    /// Of this store, so long before the end. The numbers go into `counts`.
    #[must_use]
    pub fn new(
        store: Store,
        ledger: Ledger,
        clock: Arc<ClockCheck>,
        warn_before: Duration,
        counts: EndingCounts,
    ) -> Self {
        let ambient = clock.ambient().clone();
        Self { store, ledger, ambient, clock, warn_before, counts }
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.once() => {
                    if let Err(fault) = done {
                        tracing::warn!(%fault, "it is not known which credentials end soon; trying again in a minute");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Warns of what ends soon and was not warned of, then counts.
    ///
    /// # Errors
    /// The database is away, or the clock is off; the next time does the rest.
    pub async fn once(&self) -> Result<(), Fault> {
        // What is marked as warned of by a clock that is ahead, nobody would be warned of when it is time.
        self.clock.trust().await?;
        let now = self.ambient.now();
        let soon = now.plus(self.warn_before);
        let mut counts = Vec::new();
        for kind in CredentialKind::ALL {
            loop {
                let found = self.store.credentials_to_warn_of(*kind, soon, STEP);
                let found = step(found).await.map_err(fault)?;
                if found.is_empty() {
                    break;
                }
                step(self.warn_of(&found)).await.map_err(fault)?;
                self.ledger.collect().await?;
                tokio::time::sleep(BREATH).await;
            }
            let count = self.store.count_ending_credentials(*kind, now, soon);
            counts.push((*kind, step(count).await.map_err(fault)?));
        }
        self.counts.store(Arc::new(counts));
        Ok(())
    }

    async fn warn_of(&self, found: &[EndingCredential]) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        for credential in found {
            // Another replica was faster, or its end was changed meanwhile.
            if !tx.note_warning(credential).await? {
                continue;
            }
            let event = Event::CredentialExpiresSoon {
                client: credential.client_id.clone(),
                credential: credential.kind,
                credential_id: credential.credential_id.clone(),
                expires_at: credential.expires_at,
            };
            let event = AuditEvent { at: self.ambient.now(), origin: Origin::default(), event };
            let written = event.write_for_later()?;
            tx.leave_event(self.ambient.uuid()?, &written).await?;
        }
        tx.commit().await
    }
}
