//! Use-case that time asks for: the whole audit is checked over and over, slowly, and the outcome is an event itself. So
//! a page can say what is verified without reading the audit (`docs/decisions/026-who-checks-the-audit.md`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::audit_check::{self, AuditError, Hearing, TrustedKeys, hear_witnesses, look_before};
use super::audit_export::SETTLED;
use super::{Admin, AdminError, By};
use crate::domain::audit::{AuditEvent, Event, Origin};
use crate::domain::builtin;
use crate::domain::chain_check::{Check, Report, Window};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::clock_check::ClockCheck;
use crate::runtime::ledger::Ledger;
use crate::runtime::{fault, step};
use crate::storage::{EventCursor, EventFilter, Store, StoreError};

/// How often it is asked whether it is time.
const EVERY: Duration = Duration::from_mins(1);

/// How many events are read at a time, and how long others have the database to themselves after that: about four
/// thousand events a second, for a twentieth of a core.
const AT_A_TIME: u32 = 500;
const BREATH: Duration = Duration::from_millis(100);

/// The least time between two checks, and how many times as long as the last one took: a large audit is read for a
/// tenth of the time, a small one once an hour, a huge one every day.
const PAUSE: Duration = Duration::from_hours(1);
const REST: u32 = 10;

/// The most time between two checks, however long one took.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// What the turn is called of whoever checks, how long it lasts, and how often it is prolonged.
const TURN: &str = "audit_check";
const LEASE: Duration = Duration::from_mins(5);
const RENEWAL: Duration = Duration::from_mins(1);

/// How long after its time an event may become signed, or be written by a clock that is behind: so far back a check
/// hears once more what was said while it read.
const SIGNED_WITHIN: Duration = Duration::from_mins(10);

/// How many findings an event names.
const NAMED: usize = 10;

/// Checks the audit.
pub struct AuditWatch {
    store: Store,
    ledger: Ledger,
    ambient: Ambient,
    clock: Arc<ClockCheck>,
    holder: Uuid,
}

/// How far the audit is known to be as it was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditState {
    /// The last check of all of it, if there was one.
    pub checked: Option<CheckedAudit>,
    /// When the newest event that is signed for was recorded: whatever is removed or altered up to there shows in the
    /// next check.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_until: Option<Timestamp>,
    /// When the next check is due; it is under way when that is past.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_check_at: Option<Timestamp>,
}

/// What the last check of the whole audit has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedAudit {
    /// When it ended. The event of this time says the same.
    #[serde(skip_deserializing, default = "long_ago")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// It was shown every event from before this instant.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// How many events there were.
    pub events: u64,
    /// In how many chains.
    pub chains: u64,
    /// How many things are not as they were written.
    pub findings: u64,
    /// The first ten of them.
    #[serde(default)]
    #[schema(example = json!([]))]
    pub first: Vec<String>,
}

const fn long_ago() -> Timestamp {
    Timestamp::from_micros(0)
}

// === impl Admin ===

impl Admin {
    /// How far the audit is known to be as it was written. Nothing of it is read for that but the last check's event,
    /// and what proves that a server wrote it.
    ///
    /// # Errors
    /// `audit:read` is missing, or the database is away.
    pub async fn audit_state(&self, by: &By) -> Result<AuditState, AdminError> {
        self.require(by, builtin::AUDIT_READ).await?;
        let checked = last_check(&self.store, self.ambient.now()).await?;
        Ok(AuditState {
            next_check_at: checked.as_ref().map(CheckedAudit::next),
            checked,
            signed_until: self.store.signed_until().await?,
        })
    }
}

/// The last check of the whole audit, as far as it is proven that a server says so. An event that is altered, put there
/// by hand, or from a time that is still to come (a clock was wrong) is none: so a check is due, which says so.
async fn last_check(store: &Store, now: Timestamp) -> Result<Option<CheckedAudit>, StoreError> {
    let filter = EventFilter {
        kind: Some("audit_checked".to_owned()),
        to: Some(now.plus(Duration::from_micros(1))),
        ..EventFilter::default()
    };
    let Some(found) = store.events(&filter, None, 1).await?.pop() else { return Ok(None) };
    let Ok(checked) = serde_json::from_str::<CheckedAudit>(&found.text) else { return Ok(None) };
    // Where nothing was ever recorded there is no key, and no event that one could have signed.
    let Ok(keys) = TrustedKeys::new(&audit_check::public_keys(store).await?) else { return Ok(None) };
    let proven = keys.cover(store, &found).await?;
    Ok(proven.then_some(CheckedAudit { at: found.at, ..checked }))
}

// === impl CheckedAudit ===

impl CheckedAudit {
    fn next(&self) -> Timestamp {
        self.at.plus(Duration::from_secs(self.seconds).saturating_mul(REST).clamp(PAUSE, LONGEST_PAUSE))
    }
}

// === impl AuditWatch ===

impl AuditWatch {
    /// Of this store. `holder` is this process among those that share it.
    #[must_use]
    pub fn new(store: Store, ledger: Ledger, clock: Arc<ClockCheck>, holder: Uuid) -> Self {
        let ambient = clock.ambient().clone();
        Self { store, ledger, ambient, clock, holder }
    }

    /// Checks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.once() => {
                    if let Err(fault) = done {
                        tracing::warn!(%fault, "the audit could not be checked; trying again in a minute");
                    }
                }
            }
        }
    }

    /// Checks all of it if it is time, and nobody else does.
    ///
    /// # Errors
    /// The database is away, or the clock is off; it is tried again.
    pub async fn once(&self) -> Result<(), Fault> {
        // A check that is said to be from another time would keep everybody from checking, or hide what it has not seen.
        self.clock.trust().await?;
        let (begun, clock) = (self.ambient.now(), Instant::now());
        let last = step(last_check(&self.store, begun)).await.map_err(fault)?;
        if last.is_some_and(|last| last.next() > begun) || !step(self.take_turn()).await.map_err(fault)? {
            return Ok(());
        }
        let until = begun.minus(SETTLED);
        let Some(report) = self.check(until).await.map_err(|error| match error {
            AuditError::Store(StoreError::Fault(fault)) => fault,
            other => Fault::internal(other),
        })?
        else {
            return Ok(());
        };
        let first: Vec<String> = report.findings.iter().take(NAMED).map(ToString::to_string).collect();
        for finding in &first {
            tracing::error!(finding, "the audit is not as it was written");
        }
        let now = self.ambient.now();
        let event = Event::AuditChecked {
            until,
            // Not by the clock of the events, which may be set meanwhile.
            seconds: clock.elapsed().as_secs(),
            events: report.chains.iter().map(|chain| chain.events).sum(),
            chains: report.chains.len() as u64,
            findings: report.findings.len() as u64,
            first,
        };
        // Signed at once: what is not counts for nothing when the next one is due.
        self.ledger.record_signed(&AuditEvent { at: now, origin: Origin::default(), event }).await
    }

    /// Reads everything from before `until`, page by page. Nothing, when somebody else has taken over.
    async fn check(&self, until: Timestamp) -> Result<Option<Report>, AuditError> {
        let keys = TrustedKeys::new(&step(audit_check::public_keys(&self.store)).await?)
            .map_err(StoreError::from)?;
        let mut check = Check::default();
        let all = Hearing { breath: BREATH, ..Hearing::default() };
        hear_witnesses(&self.store, &keys, &mut check, all).await?;
        let filter = EventFilter { to: Some(until), ..EventFilter::default() };
        let (mut after, mut renewed) = (None, Instant::now());
        loop {
            let some = step(self.store.events_oldest_first(&filter, after, AT_A_TIME)).await?;
            for found in &some {
                check.event(found);
            }
            after = some.last().map(|last| EventCursor { at: last.at, writer: last.writer, seq: last.seq });
            if some.len() < AT_A_TIME as usize {
                break;
            }
            if renewed.elapsed() > RENEWAL {
                renewed = Instant::now();
                if !step(self.take_turn()).await? {
                    return Ok(None);
                }
            }
            tokio::time::sleep(BREATH).await;
        }
        // What retention has removed meanwhile is not missing.
        let newer = Hearing { since: until.minus(SIGNED_WITHIN), breath: BREATH };
        hear_witnesses(&self.store, &keys, &mut check, newer).await?;
        look_before(&self.store, &mut check).await?;
        Ok(Some(check.finish(Window { to: until, ..Window::ALL }, true)))
    }

    async fn take_turn(&self) -> Result<bool, StoreError> {
        let now = self.ambient.now();
        let mut tx = self.store.begin().await?;
        let mine = tx.take_turn(TURN, self.holder, now, now.plus(LEASE)).await?;
        tx.commit().await?;
        Ok(mine)
    }
}
