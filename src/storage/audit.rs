//! Audit events. They are appended and never changed.

use sqlx::types::Json;

use super::engine::execute;
use super::{StoreError, Tx, statements};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::ClientId;

statements! {
    INSERT_EVENT = r"
        INSERT INTO audit_events (id, at, kind, outcome, client_id, jti, txn, origin, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
}

// === impl Tx ===

impl Tx {
    /// Appends an event.
    ///
    /// # Errors
    /// The database is away.
    pub async fn append_event(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_EVENT,
            event.id,
            event.at.as_micros(),
            event.event.kind(),
            event.event.outcome(),
            event.event.client_id().map(ClientId::as_str),
            event.event.jti(),
            event.event.txn(),
            Json(&event.origin),
            Json(&event.event)
        )?;
        Ok(())
    }
}
