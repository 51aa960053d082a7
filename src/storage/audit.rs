//! Audit events. They are appended and never changed.

use sqlx::types::Json;

use super::engine::within;
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
        within!(self, connection => {
            sqlx::query(INSERT_EVENT)
                .bind(event.id)
                .bind(event.at.as_micros())
                .bind(event.event.kind())
                .bind(event.event.outcome())
                .bind(event.event.client_id().map(ClientId::as_str))
                .bind(event.event.jti())
                .bind(event.event.txn())
                .bind(Json(&event.origin))
                .bind(Json(&event.event))
                .execute(connection)
                .await
                .map(drop)
        })?;
        Ok(())
    }
}
