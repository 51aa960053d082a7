//! Counts the audit's events into small tables, so that no page reads the audit to show how many there are
//! (`docs/statistics.md`).
//!
//! Each chain is counted along its places, which have no gaps and become visible in their order: its one writer
//! commits one batch after the other. So there is no margin to choose for events that show late, or whose time is
//! behind that of another replica's: they are what comes next in their chain. How far a chain is counted advances in
//! the transaction that adds its numbers, from the place that was read: of two replicas that count the same
//! events, one finds that it has moved and does nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::clock_check::ClockCheck;
use super::credential_uses::CredentialUses;
use super::{fault, step, within};
use crate::domain::error::Fault;
use crate::domain::tally::Tally;
use crate::domain::time::{DAY, Timestamp};
use crate::storage::{Place, Store, StoreError, UncountedChain};

/// How often.
const EVERY: Duration = Duration::from_secs(20);

/// How many events are read at a time.
const EVENTS: u32 = 1_000;

/// How many events one transaction counts, or a few more. The more there are of one client, the fewer rows they make
/// each: a thousand clients that ask ten times each make a tenth of the rows that they make one by one.
const COUNTED: usize = 20_000;

/// How many rows one transaction adds, or a few more: on `SQLite` nobody else writes meanwhile.
const ROWS: usize = 5_000;

/// How many rows are forgotten in one transaction, of each sort.
const FORGOTTEN: u32 = 500;

/// How long others may write between two transactions.
const BREATH: Duration = Duration::from_millis(10);

/// For how many days a chain that did not end in order may be silent before it is not looked at any more.
const SILENT: u32 = 30;

/// Counts.
pub struct Statistics {
    store: Store,
    ambient: Ambient,
    clock: Arc<ClockCheck>,
    /// Uses that no event tells.
    uses: Arc<CredentialUses>,
}

/// What became of one step.
enum Step {
    /// There is more to count.
    Counted(Place),
    /// There is no more, or somebody else counts it.
    Done,
}

// === impl Statistics ===

impl Statistics {
    /// Of this store.
    #[must_use]
    pub fn new(store: Store, clock: Arc<ClockCheck>) -> Self {
        let ambient = clock.ambient().clone();
        Self { store, ambient, clock, uses: Arc::default() }
    }

    /// The same, which also writes what is noted here.
    #[must_use]
    pub fn with(self, uses: Arc<CredentialUses>) -> Self {
        Self { uses, ..self }
    }

    /// Counts until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.once() => {
                    if let Err(fault) = done {
                        tracing::warn!(%fault, "the statistics could not be brought up to date; trying again soon");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Writes what no event tells, once nothing is under way any more; gives up after this time. Events are there for the
    /// next start to count.
    pub async fn write_last_uses(&self, patience: Duration) {
        if let Err(error) = within(patience, self.write_uses()).await {
            tracing::warn!(%error, "the last uses of some credentials are lost");
        }
    }

    /// Counts everything that is there, and forgets the numbers whose time is over.
    ///
    /// # Errors
    /// The database is away, or the clock is off; the next time does the rest.
    pub async fn once(&self) -> Result<(), Fault> {
        // What is too old to be looked at, and what is to be forgotten, this clock decides.
        self.clock.trust().await?;
        let now = self.ambient.now();
        step(self.write_uses()).await.map_err(fault)?;
        for chain in step(self.store.uncounted_chains()).await.map_err(fault)? {
            self.count(chain, now).await.map_err(fault)?;
        }
        while step(self.forget(now)).await.map_err(fault)? {
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    async fn write_uses(&self) -> Result<(), StoreError> {
        let tally = Tally { secrets_at: self.uses.all(), ..Tally::default() };
        if !tally.secrets_at.is_empty() {
            let mut tx = self.store.begin().await?;
            tx.add_tally(&tally).await?;
            tx.commit().await?;
            self.uses.written(&tally.secrets_at);
        }
        Ok(())
    }

    /// Forgets some of the numbers whose time is over, and notes until when everything is counted. Answers whether there
    /// are more.
    async fn forget(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        tx.note_counted(now).await?;
        let more = tx.forget_statistics(now, FORGOTTEN).await?;
        tx.commit().await?;
        Ok(more)
    }

    async fn count(&self, mut chain: UncountedChain, now: Timestamp) -> Result<(), StoreError> {
        while let Step::Counted(place) = self.count_some(&chain, now).await? {
            chain.counted = place;
            tokio::time::sleep(BREATH).await;
        }
        Ok(())
    }

    /// Counts a few events of a chain, in one transaction. They are read before: it holds up nobody for longer than
    /// it takes to add the numbers.
    async fn count_some(&self, chain: &UncountedChain, now: Timestamp) -> Result<Step, StoreError> {
        let mut tally = Tally::default();
        let (mut counted, mut number) = (chain.counted, 0);
        let all = loop {
            let events = step(self.store.uncounted_events(chain.writer, counted, EVENTS)).await?;
            let last = events.len() < EVENTS as usize;
            let mut left = events.len();
            for event in &events {
                if tally.rows() >= ROWS {
                    break;
                }
                tally.add(event.place.at, &event.text);
                counted = event.place;
                left -= 1;
            }
            number += events.len() - left;
            if last || left > 0 || number >= COUNTED {
                break last && left == 0;
            }
        };
        // Whether it had ended was read before its events.
        let whole = all && (chain.ended || chain.settled && counted.at.plus(DAY * SILENT) < now);
        if number == 0 && !whole {
            return Ok(Step::Done);
        }
        let unknown = self.unknown(&tally).await?;
        tally.disown(&unknown);
        let added = step(self.add(chain, (counted, whole), &tally)).await?;
        Ok(if all || !added { Step::Done } else { Step::Counted(counted) })
    }

    /// Adds numbers of a chain that is counted to this place then. Answers whether nobody else has.
    async fn add(
        &self,
        chain: &UncountedChain,
        (counted, whole): (Place, bool),
        tally: &Tally,
    ) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let moves = tx.advance_counted(chain, counted, whole).await?;
        if moves {
            tx.add_tally(tally).await?;
            tx.commit().await?;
        }
        Ok(moves)
    }

    /// Which of the clients that were named without proof nobody has registered. They are as many as somebody makes
    /// up, and have no rows of their own.
    async fn unknown(&self, tally: &Tally) -> Result<BTreeSet<String>, StoreError> {
        let mut unknown = BTreeSet::new();
        for client_id in &tally.claimed {
            if !tally.tokens_at.contains_key(client_id) && !step(self.store.is_registered(client_id)).await? {
                unknown.insert(client_id.clone());
            }
        }
        Ok(unknown)
    }
}
