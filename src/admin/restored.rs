//! What is settled in a database that went back to an earlier state: what was over since must not come back.
//!
//! A backup knows nothing of what came after it. What was withdrawn since is withdrawn again where the database that
//! was replaced can tell; where nothing can, an operator says what becomes of the signing keys
//! (`docs/decisions/042-backup-and-restore.md`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Admin, AdminError, By};
use crate::domain::audit::{AuditEvent, Event, RestoredKeys};
use crate::domain::backup::Manifest;
use crate::domain::chain::{ChainEnd, Hash};
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::revocation::Revocation;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::storage::{ChangeKind, EventCursor, EventFilter, Store};

/// How many rows are read at a time.
const PAGE: u32 = 500;

/// How much later than it says an event may be recorded: far more than a transaction lasts, or a clock is set back.
const LATE: Duration = Duration::from_hours(1);

/// What happened between a backup and its restore, as the database says that was replaced.
#[derive(Debug, Default)]
pub struct Lost {
    /// The signing keys that were withdrawn.
    pub revoked_keys: BTreeSet<KeyId>,
    /// What was taken back, and still matters.
    pub revocations: Vec<Revocation>,
    /// What was changed.
    pub changes: Vec<LostChange>,
}

/// A change that a restore undoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostChange {
    /// When it was recorded.
    pub at: Timestamp,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
}

/// A database that went back, and what is known of the time since.
#[derive(Debug)]
pub struct WentBack {
    /// To when.
    pub taken_at: Timestamp,
    /// The hash of the backup's file, where Jeton has restored it.
    pub sha256: Option<String>,
    /// What becomes of the signing keys.
    pub keys: RestoredKeys,
    /// What is known of the time since.
    pub lost: Lost,
}

/// What was done about it.
#[derive(Debug, Serialize)]
pub struct Settled {
    /// The signing keys that are withdrawn because of it.
    pub revoked_keys: Vec<KeyId>,
    /// How many revocations were carried over.
    pub revocations: usize,
    /// When the last token has ended that was issued before.
    pub tokens_until: Timestamp,
    /// Until when verifiers may trust the withdrawn keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_until: Option<Timestamp>,
}

/// Records that a copy of everything left. The running server chains it within a minute, else the next one to start.
///
/// # Errors
/// The database is away: then the copy must not leave.
pub async fn record_backup(
    store: &Store,
    by: &By,
    manifest: &Manifest,
    ambient: &Ambient,
) -> Result<(), AdminError> {
    let event = Event::BackedUp {
        actor: by.actor.clone(),
        taken_at: manifest.taken_at,
        sha256: manifest.sha256.clone(),
    };
    let event = AuditEvent { at: ambient.now(), origin: by.origin.clone(), event };
    let mut tx = store.begin().await?;
    tx.leave_event(ambient.uuid()?, &event.write_for_later()?).await?;
    Ok(tx.commit().await?)
}

// === impl Lost ===

impl Lost {
    /// What a database says of the time after a backup of it, of which `copy` has what that was told. `None` when it does
    /// not go on where the backup ends, so that it says nothing about that.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(
        replaced: &Store,
        (backup, copy): (&Manifest, &Store),
        now: Timestamp,
    ) -> Result<Option<Self>, AdminError> {
        let Some(newest) = &backup.newest_event else { return Ok(None) };
        if !replaced.has_event(newest).await? {
            return Ok(None);
        }
        let mut lost = Self::default();
        // An event has the time at which its transaction began, and is chained after it has ended: one with an earlier time
        // than the backup's newest may be missing there. What the backup has is not lost.
        let from = Some(newest.at.minus(LATE));
        for kind in ["changed", "key_revoked"] {
            let filter = EventFilter { from, kind: Some(kind.to_owned()), ..EventFilter::default() };
            let mut after = None;
            loop {
                let page = replaced.events_oldest_first(&filter, after, PAGE).await?;
                for found in &page {
                    let hash = Hash::from_bytes(&found.hash).map_err(Fault::internal)?;
                    let event = ChainEnd { writer: found.writer, seq: found.seq, at: found.at, hash };
                    if !copy.has_event(&event).await? {
                        lost.take(found.at, &found.text)?;
                    }
                }
                let Some(end) = page.last().filter(|_| page.len() == PAGE as usize) else { break };
                after = Some(EventCursor { at: end.at, writer: end.writer, seq: end.seq });
            }
        }
        // One whose event is not chained yet.
        let keys = replaced.signing_keys().await?;
        lost.revoked_keys
            .extend(keys.into_iter().filter(|key| key.life.revoked_at.is_some()).map(|key| key.life.kid));
        loop {
            let page = replaced.live_revocations(now, lost.revocations.last(), PAGE).await?;
            let more = page.len() == PAGE as usize;
            lost.revocations.extend(page);
            if !more {
                return Ok(Some(lost));
            }
        }
    }

    fn take(&mut self, at: Timestamp, text: &str) -> Result<(), Fault> {
        #[derive(Deserialize)]
        struct Found {
            kid: Option<KeyId>,
            action: Option<String>,
            target: Option<String>,
        }
        let found: Found = serde_json::from_str(text).map_err(Fault::internal)?;
        self.revoked_keys.extend(found.kid);
        if let (Some(action), Some(target)) = (found.action, found.target) {
            self.changes.push(LostChange { at, action, target });
        }
        Ok(())
    }
}

// === impl Admin ===

impl Admin {
    /// Ends what must not come back in a database that went back, withdraws again what was withdrawn since as far as
    /// that is known, and records it. Doing it twice does no harm. There is no permission for it: whoever can replace
    /// the database may.
    ///
    /// # Errors
    /// The database is away, or a fresh key cannot be made.
    pub async fn settle_restore(&self, by: &By, went_back: WentBack) -> Result<Settled, AdminError> {
        let WentBack { taken_at, sha256, keys, lost } = went_back;
        let now = self.ambient.now();
        let stored = self.store.signing_keys().await?;
        let alive = stored.into_iter().filter(|key| key.life.revoked_at.is_none()).map(|key| key.life.kid);
        let doomed: Vec<KeyId> = match keys {
            RestoredKeys::Kept => Vec::new(),
            RestoredKeys::CarriedOver => alive.filter(|kid| lost.revoked_keys.contains(kid)).collect(),
            RestoredKeys::Revoked => alive.collect(),
        };
        let mut tx = self.begin().await?;
        tx.settle_restore(now).await?;
        for revocation in &lost.revocations {
            tx.revoke(revocation).await?;
        }
        let event = Event::Restored {
            actor: by.actor.clone(),
            taken_at,
            sha256,
            keys,
            revoked_keys: doomed.len() as u64,
            revocations: lost.revocations.len() as u64,
        };
        // Everything may be another: whoever runs reads all of it anew.
        self.finish(tx, by, event, &ChangeKind::Unknown).await?;
        let mut trusted_until = None;
        for kid in &doomed {
            trusted_until = Some(self.revoke_signing_key(by, kid.as_str()).await?.trusted_until);
        }
        Ok(Settled {
            revoked_keys: doomed,
            revocations: lost.revocations.len(),
            tokens_until: now.plus(self.rotator.longest_token()),
            trusted_until,
        })
    }
}
