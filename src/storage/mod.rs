//! The only SQL. One text serves both engines wherever they agree, which is nearly everywhere; what
//! differs (connecting, notifying, migrating) is in `postgres.rs` and `sqlite.rs`.
//!
//! Every text but those two files' is a constant in a module's `STATEMENTS`, and a test prepares each of
//! them on both engines: that replaces the compile-time check, which could only know one of them.

mod administrator_sessions;
mod administrators;
mod audit;
mod audit_search;
mod backups;
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
pub use sqlite::ClaimedFile;
pub use statistics::{AUDIENCE_ROWS, AudienceUse, Counted, Delegation, Side, Span};
pub use tallies::{DAYS_KEPT, HOURS_KEPT, Place, UncountedChain, UncountedEvent};

use std::collections::BTreeSet;

use crate::domain::catalog::{Sort, Unread};
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

/// What PostgreSQL says about a prepared statement that is not there, or is there already.
const PREPARED_ELSEWHERE: [&str; 2] = ["26000", "42P05"];

/// A row that cannot be read is a corrupt store; everything else may pass by itself: a server that stops, has no
/// connection or no disk left, or takes nothing because it follows another one.
fn fault(error: &sqlx::Error) -> Fault {
    let mut detail = format!("database: {error}");
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| PREPARED_ELSEWHERE.contains(&&*code)) {
        detail.push_str(
            ". Something in between hands each transaction to another connection and does not know prepared \
             statements: PgBouncer does from 1.21 on, with max_prepared_statements (docs/scaling.md)",
        );
    }
    match error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => Fault::internal(detail),
        // Class 22 of PostgreSQL: data that it cannot take. Trying again does not help.
        sqlx::Error::Database(refused)
            if refused.code().is_some_and(|code| code.len() == 5 && code.starts_with("22")) =>
        {
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
        MigrateError::VersionMissing(version) => Fault::setup(format!(
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

/// Of what was read row by row, all that this version understands. What it does not goes to `unread`.
fn understood<T>(rows: Vec<Result<T, StoreError>>, sort: Sort, unread: &mut BTreeSet<Unread>) -> Vec<T> {
    let known =
        |row: Result<T, StoreError>| row.map_err(|error| unread.insert((sort, error.to_string()))).ok();
    rows.into_iter().filter_map(known).collect()
}

/// The same, of a named thing.
fn of_thing(sort: &str, name: &str) -> impl Fn(StoreError) -> StoreError {
    move |error| Fault::internal(format!("{sort} '{name}': {error}")).into()
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
        backups::STATEMENTS,
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;
    use crate::domain::error::FaultKind;

    /// What an engine refuses a statement with.
    #[derive(Debug, thiserror::Error)]
    #[error("refused with {0}")]
    struct Refused(&'static str);

    impl DatabaseError for Refused {
        fn message(&self) -> &'static str {
            "refused"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_database_that_takes_nothing_is_away_and_no_verdict() {
        let told = |code| match StoreError::from(sqlx::Error::Database(Box::new(Refused(code)))) {
            StoreError::Fault(fault) => fault.kind,
            verdict => panic!("{code}: {verdict}"),
        };
        for (code, what) in [
            ("53100", "the disk is full"),
            ("53300", "too many connections"),
            ("25006", "a standby"),
            ("57P01", "it is being stopped"),
            ("57P02", "another process of it crashed"),
            ("57P03", "it starts"),
            ("58030", "the disk is broken"),
            ("13", "SQLITE_FULL"),
            ("778", "SQLITE_IOERR_WRITE"),
            ("22", "SQLITE_NOLFS: the file is too large for the disk"),
            ("5", "SQLITE_BUSY"),
        ] {
            assert_eq!(told(code), FaultKind::Unavailable, "{what}");
        }
        assert_eq!(told("22021"), FaultKind::Internal, "a text that is none");
    }
}
