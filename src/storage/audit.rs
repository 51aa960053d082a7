//! Audit events. They are appended and never changed.

use super::engine::Inner;
use super::{StoreError, Tx, postgres, sqlite};
use crate::domain::audit::AuditEvent;

// === impl Tx ===

impl Tx {
    /// Appends events, all in one statement: the ledger's throughput is that of its round trips.
    ///
    /// # Errors
    /// The database is away.
    pub async fn append_events(&mut self, events: &[&AuditEvent]) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Postgres(tx) => postgres::append_events(tx, events).await?,
            Inner::Sqlite(tx) => sqlite::append_events(tx, events).await?,
        }
        Ok(())
    }
}
