//! The only SQL. One text serves both engines wherever they agree, which is nearly everywhere; what
//! differs (connecting, notifying, migrating) is in `postgres.rs` and `sqlite.rs`.
//!
//! Every text but those two files' is a constant in a module's `STATEMENTS`, and a test prepares each of
//! them on both engines: that replaces the compile-time check, which could only know one of them.

mod administrator_sessions;
mod administrators;
mod audit;
mod audit_search;
mod chains;
mod changes;
mod client_certificates;
mod client_keys;
mod clients;
mod credentials;
mod engine;
mod exchange_rules;
mod federated_credentials;
mod keys;
mod leftovers;
mod operators;
mod postgres;
mod resource_servers;
mod revocations;
mod roles;
mod rows;
mod sealed;
mod secrets;
mod shared_secrets;
mod sign_in_guards;
mod sign_in_starts;
mod sqlite;
mod statistics;
mod tallies;
mod trusted_issuers;
mod turns;

pub use administrator_sessions::StoredSession;
pub use audit::{Held, LedgerConnection, LedgerTx, UsedId};
pub use audit_search::{EventCursor, EventFilter, EventOrder};
pub use chains::{OpenChain, StoredAuditKey, StoredCheckpoint};
pub use changes::{Change, ChangeKind};
pub use client_keys::KeysHeld;
pub use clients::{ClientFilter, Cursor};
pub use credentials::MOST_COUNTED;
pub use engine::{ConnectOptions, LossySetting, PoolUse, Store, Tx};
pub use keys::{LiveTokens, StoredKey, StoredPrivate};
pub use postgres::Notifications;
pub use sealed::{Holder, SealedKey};
pub use sign_in_guards::StoredLink;
pub use sign_in_starts::SignInStart;
pub use statistics::{AUDIENCE_ROWS, AudienceUse, Counted, Delegation, Side, Span};
pub use tallies::{DAYS_KEPT, HOURS_KEPT, Place, UncountedChain, UncountedEvent};

use crate::domain::error::Fault;

/// What a statement can answer besides rows.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something with this name or identifier exists already.
    #[error("it exists already")]
    AlreadyExists,
    /// Something else refers to it, or it refers to something that is gone.
    #[error("something refers to it")]
    InUse,
    /// The store is away or corrupt.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl StoreError ===

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => Self::AlreadyExists,
            Some(refused) if refused.is_foreign_key_violation() => Self::InUse,
            _ => Self::Fault(fault(&error)),
        }
    }
}

/// A row that cannot be read is a corrupt store; everything else may pass by itself.
fn fault(error: &sqlx::Error) -> Fault {
    let detail = format!("database: {error}");
    match error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => Fault::internal(detail),
        // Class 22: data that the engine cannot take. Trying again does not help.
        sqlx::Error::Database(refused) if refused.code().is_some_and(|code| code.starts_with("22")) => {
            Fault::internal(detail)
        }
        _ => Fault::unavailable(detail),
    }
}

/// What a failed migration means to whoever runs the server.
fn migration_fault(error: &sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    let fault = match error {
        MigrateError::Execute(error) => fault(error),
        MigrateError::VersionMissing(version) => Fault::internal(format!(
            "the database has migration {version}, which this program does not know: run the newer Jeton"
        )),
        other => Fault::internal(format!("migrating the database: {other}")),
    };
    StoreError::Fault(fault)
}

/// A stored word that this version does not know: the database is newer, or was edited by hand.
fn corrupt(what: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Fault(Fault::internal(format!("database: '{value}' is not a known {what}")))
}

/// Declares SQL texts as constants, and their list for the test that prepares them all.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+
        /// Every text of this module, by name.
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
use statements;

/// Every SQL text of the store, by name.
pub fn all_statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        administrator_sessions::STATEMENTS,
        administrators::STATEMENTS,
        audit::STATEMENTS,
        audit_search::STATEMENTS,
        chains::STATEMENTS,
        changes::STATEMENTS,
        client_certificates::STATEMENTS,
        client_keys::STATEMENTS,
        clients::STATEMENTS,
        credentials::STATEMENTS,
        exchange_rules::STATEMENTS,
        federated_credentials::STATEMENTS,
        keys::STATEMENTS,
        leftovers::STATEMENTS,
        operators::STATEMENTS,
        resource_servers::STATEMENTS,
        revocations::STATEMENTS,
        roles::STATEMENTS,
        sealed::STATEMENTS,
        secrets::STATEMENTS,
        shared_secrets::STATEMENTS,
        sign_in_guards::STATEMENTS,
        sign_in_starts::STATEMENTS,
        statistics::STATEMENTS,
        tallies::STATEMENTS,
        trusted_issuers::STATEMENTS,
        turns::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
