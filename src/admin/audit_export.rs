//! Use-case: a copy of the audit, or of a part of it, handed out line by line while it is read page by page. However
//! slowly it is taken, no connection to the database is held, and no more than a page is in memory.

use std::time::Duration;

use uuid::Uuid;

use super::audit::EventQuery;
use super::audit_check::{AuditError, CHECKPOINTS, checkpoint_line, exported};
use super::{Admin, AdminError, By};
use crate::domain::audit::Event;
use crate::domain::builtin;
use crate::domain::chain_check::{Found, Window};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::storage::{EventCursor, EventFilter, Store, StoreError};

/// How many events are read at a time.
const AT_A_TIME: u32 = 200;

/// Events that are younger may still be overtaken by others, which would be missing among them.
pub(super) const SETTLED: Duration = Duration::from_secs(10);

/// How many seconds an export waits at most for what follows to be settled.
const WAITED: u32 = 30;

/// What is left to be handed out.
pub struct AuditExport {
    store: Store,
    ambient: Ambient,
    filter: EventFilter,
    /// Whether it was asked up to when.
    ends_as_asked: bool,
    left: Left,
}

enum Left {
    Events(Option<EventCursor>),
    /// What retention has said after the end, while the events up to the cursor were read.
    Retention(Timestamp, Option<EventCursor>),
    /// Signed for events from before this time, after this one.
    Checkpoints(Timestamp, Option<(Uuid, i64)>),
    Nothing,
}

// === impl Admin ===

impl Admin {
    /// Begins to export the events that fit, oldest first, in the form of `jeton audit export`. Whoever asks for no more
    /// than a time gets the checkpoints too, so that `jeton audit verify --file` can check the copy; what was recorded
    /// in the last ten seconds is left out then. That it was exported is recorded before the first line is read.
    ///
    /// # Errors
    /// `audit:read` is missing, or a filter is none.
    pub async fn export_audit(&self, by: &By, query: EventQuery) -> Result<AuditExport, AdminError> {
        self.require(by, builtin::AUDIT_READ).await?;
        let asked = query.told();
        let mut filter = query.filter()?;
        let ends_as_asked = filter.to.is_some();
        if asked.keys().all(|name| ["from", "to"].contains(name)) {
            let settled = self.ambient.now().minus(SETTLED);
            filter.to = Some(filter.to.map_or(settled, |to| to.min(settled)));
        }
        let event = Event::AuditExported { actor: by.actor.clone(), asked };
        self.ledger.record(&self.event(by, event)).await?;
        let (store, ambient) = (self.store.clone(), self.ambient.clone());
        Ok(AuditExport { store, ambient, filter, ends_as_asked, left: Left::Events(None) })
    }
}

// === impl AuditExport ===

impl AuditExport {
    /// The next lines, each with its end; nothing when all was handed out.
    ///
    /// # Errors
    /// The database is away: then the copy is not whole.
    pub async fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            let lines = match self.left {
                Left::Events(after) => self.events(after).await,
                Left::Retention(cut, after) => self.retention(cut, after).await,
                Left::Checkpoints(cut, after) => self.checkpoints(cut, after).await,
                Left::Nothing => return Ok(None),
            };
            let lines = lines.map_err(|error| match error {
                AuditError::Store(StoreError::Fault(fault)) => fault,
                other => Fault::internal(other),
            })?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    async fn events(&mut self, after: Option<EventCursor>) -> Result<String, AuditError> {
        let found = self.store.events_oldest_first(&self.filter, after, AT_A_TIME).await?;
        let last = found.last().map(|last| EventCursor { at: last.at, writer: last.writer, seq: last.seq });
        let after = last.or(after);
        self.left = match self.whole_until() {
            _ if found.len() == AT_A_TIME as usize => Left::Events(after),
            Some(cut) => Left::Retention(cut, after),
            None => Left::Nothing,
        };
        lines(found.iter().map(exported))
    }

    /// What retention has removed while this was read is missing in the copy, unless that says so: the copy goes on
    /// until then, or, when it was asked up to when, has the event by itself.
    async fn retention(&mut self, cut: Timestamp, after: Option<EventCursor>) -> Result<String, AuditError> {
        let said = self.store.marks().await?.into_iter().filter(|mark| {
            mark.at >= cut && mark.columns.as_ref().is_some_and(|columns| columns.kind == "events_dropped")
        });
        let said: Vec<Found> = said.collect();
        self.left = Left::Checkpoints(cut, None);
        let Some(newest) = said.last() else { return Ok(String::new()) };
        if !self.ends_as_asked {
            // With the checkpoint that signs it.
            let until = newest.at.plus(SETTLED);
            for _ in 0..WAITED {
                if self.ambient.now().minus(SETTLED) >= until {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.filter.to = Some(until);
            self.left = Left::Events(after);
            return Ok(String::new());
        }
        let mut alone = lines(said.iter().map(exported))?;
        for mark in &said {
            let before = Some((mark.writer, mark.seq.cast_signed() - 1));
            let signed = self.store.checkpoints_within(Window::ALL, before, 1).await?;
            let signed = signed.into_iter().filter(|signed| signed.writer == mark.writer);
            alone.push_str(&lines(signed.map(|signed| checkpoint_line(signed.jws)))?);
        }
        Ok(alone)
    }

    async fn checkpoints(
        &mut self,
        cut: Timestamp,
        after: Option<(Uuid, i64)>,
    ) -> Result<String, AuditError> {
        let found =
            self.store.checkpoints_within(Window { to: cut, ..Window::ALL }, after, CHECKPOINTS).await?;
        self.left = match found.last() {
            Some(last) if found.len() == CHECKPOINTS as usize => {
                Left::Checkpoints(cut, Some((last.writer, last.seq)))
            }
            _ => Left::Nothing,
        };
        lines(found.into_iter().map(|stored| checkpoint_line(stored.jws)))
    }

    /// The end of the time, when nothing else narrows what is exported.
    fn whole_until(&self) -> Option<Timestamp> {
        let EventFilter { from: _, to, client_id, about, person, kind, outcome, jti, txn } = &self.filter;
        let narrowed = [client_id, about, person, kind, outcome].iter().any(|text| text.is_some());
        to.filter(|_| !narrowed && jti.is_none() && txn.is_none())
    }
}

fn lines(each: impl Iterator<Item = Result<String, AuditError>>) -> Result<String, AuditError> {
    let mut lines = String::new();
    for line in each {
        lines.push_str(&line?);
        lines.push('\n');
    }
    Ok(lines)
}
