//! Use-case: a copy of the audit, or of a part of it, handed out line by line while it is read page by page. However
//! slowly it is taken, no connection to the database is held, and no more than a page is in memory.

use std::time::Duration;

use uuid::Uuid;

use super::audit::EventQuery;
use super::audit_check::{AuditError, CHECKPOINTS, checkpoint_line, exported};
use super::{Admin, AdminError, By};
use crate::domain::audit::Event;
use crate::domain::builtin;
use crate::domain::chain_check::Window;
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::storage::{EventCursor, EventFilter, Store, StoreError};

/// How many events are read at a time.
const AT_A_TIME: u32 = 200;

/// Events that are younger may still be overtaken by others, which would be missing among them.
pub(super) const SETTLED: Duration = Duration::from_secs(10);

/// What is left to be handed out.
pub struct AuditExport {
    store: Store,
    filter: EventFilter,
    left: Left,
}

enum Left {
    Events(Option<EventCursor>),
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
        if asked.keys().all(|name| ["from", "to"].contains(name)) {
            let settled = self.ambient.now().minus(SETTLED);
            filter.to = Some(filter.to.map_or(settled, |to| to.min(settled)));
        }
        let event = Event::AuditExported { actor: by.actor.clone(), asked };
        self.ledger.record(&self.event(by, event)).await?;
        Ok(AuditExport { store: self.store.clone(), filter, left: Left::Events(None) })
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
        self.left = match (found.last(), self.whole_until()) {
            (Some(last), _) if found.len() == AT_A_TIME as usize => {
                Left::Events(Some(EventCursor { at: last.at, writer: last.writer, seq: last.seq }))
            }
            (_, Some(cut)) => Left::Checkpoints(cut, None),
            (_, None) => Left::Nothing,
        };
        lines(found.iter().map(exported))
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
