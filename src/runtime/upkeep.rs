//! What the store needs from time to time: room for the events of the next days, the removal of what has had
//! its time, and the chaining of events that a killed process has left. Any replica does it; twice does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::clock_check::ClockCheck;
use super::ledger::Ledger;
use super::{fault, step};
use crate::domain::audit::{AuditEvent, Event, Origin};
use crate::domain::back_off::FORGOTTEN_AFTER;
use crate::domain::error::Fault;
use crate::domain::time::{DAY, Timestamp};
use crate::storage::{Store, StoreError};

/// How often.
const EVERY: Duration = Duration::from_mins(1);

/// For how many days there is room ahead of time.
const AHEAD: u32 = 3;

/// How many identifiers are forgotten in one step.
const STEP: u32 = 1_000;

/// How long others may write between two steps of removing many rows.
const BREATH: Duration = Duration::from_millis(20);

/// Keeps the store in order.
pub struct Upkeep {
    store: Store,
    ledger: Ledger,
    ambient: Ambient,
    clock: Arc<ClockCheck>,
    retention: Duration,
    /// The cut whose removal of events this process has recorded.
    announced: AtomicI64,
}

// === impl Upkeep ===

impl Upkeep {
    /// Of this store; audit events are kept for `retention`.
    #[must_use]
    pub fn new(store: Store, ledger: Ledger, clock: Arc<ClockCheck>, retention: Duration) -> Self {
        let ambient = clock.ambient().clone();
        Self { store, ledger, ambient, clock, retention, announced: AtomicI64::new(i64::MIN) }
    }

    /// Keeps the store in order until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let now = self.ambient.now();
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.once(now) => {
                    if let Err(fault) = done {
                        tracing::warn!(%fault, "the store could not be kept in order; trying again in a minute");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Does what there is to do at `now`.
    ///
    /// # Errors
    /// The database is away, or the clock is off, and then nothing was removed; the next time does the rest.
    pub async fn once(&self, now: Timestamp) -> Result<(), Fault> {
        for day in 0..=AHEAD {
            step(self.store.make_room(now.plus(DAY * day))).await.map_err(fault)?;
        }
        self.ledger.collect().await?;
        // By a clock that is off, what still counts would seem to have had its time.
        self.clock.trust().await?;
        while step(self.forget_ids(now)).await.map_err(fault)? == u64::from(STEP) {
            tokio::time::sleep(BREATH).await;
        }
        step(self.forget_sign_ins(now)).await.map_err(fault)?;
        // Whole days, so that on PostgreSQL whole partitions go.
        self.drop_events(now.minus(self.retention).start_of_day()).await
    }

    async fn forget_ids(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.store.begin().await?;
        let forgotten = tx.forget_ids(now, STEP).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    async fn forget_sign_ins(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.forget_sessions(now).await?;
        tx.forget_sign_in_guards(now, now.minus(FORGOTTEN_AFTER)).await?;
        tx.forget_sign_in_starts(now).await?;
        tx.commit().await
    }

    /// Removes the events from before `cut`. That is recorded first: what is missing then was not hidden.
    async fn drop_events(&self, cut: Timestamp) -> Result<(), Fault> {
        if !step(self.store.has_events_before(cut)).await.map_err(fault)? {
            return Ok(());
        }
        // Once, however often it takes until nobody reads what is to go; and signed, or it is not believed.
        if self.announced.load(Ordering::Relaxed) != cut.as_micros() {
            let event = Event::EventsDropped { before: cut };
            let event = AuditEvent { at: self.ambient.now(), origin: Origin::default(), event };
            self.ledger.record_signed(&event).await?;
            self.announced.store(cut.as_micros(), Ordering::Relaxed);
        }
        while step(self.store.drop_events(cut)).await.map_err(fault)? {
            tokio::time::sleep(BREATH).await;
        }
        step(self.forget_chains(cut)).await.map_err(fault)
    }

    async fn forget_chains(&self, cut: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.forget_chains(cut).await?;
        tx.commit().await
    }
}
