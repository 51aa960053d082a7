//! State that lives as long as the process: the clock, the directory, the keyring, the ledger.
//!
//! Each has at most one task of its own, and is shared by `Arc`.

pub mod audit_key;
pub mod backup;
pub mod clock;
pub mod clock_check;
pub mod credential_uses;
pub mod directory;
pub mod expiry_watch;
pub mod failures;
mod fault_point;
pub mod federation;
pub mod foreign_secrets;
pub mod issuer_keys;
pub mod issuers;
pub mod key_maker;
pub mod keyring;
mod known_ids;
mod known_signatures;
pub mod lately_told;
pub mod ledger;
pub mod master_key;
pub mod meters;
pub mod nonces;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub(crate) mod private_file;
pub mod provider;
pub mod refusals;
pub mod remote_keys;
pub mod revocations;
pub mod rotator;
pub mod sealed;
pub mod secret_upgrades;
pub mod secrets;
pub mod spans;
pub mod statistics;
pub mod tls;
pub mod token_keys;
pub mod trouble;
pub mod upkeep;

use std::time::Duration;

use crate::domain::error::Fault;
use crate::storage::StoreError;

/// How long the database may take for one answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same for one step of a task that nobody waits for: a large one on a slow disk comes to its end, and an answer
/// that is lost does not end the task.
const STEP: Duration = Duration::from_mins(1);

/// For paths that cannot meet a conflict: whatever the store says there is a fault.
pub(crate) fn fault(error: StoreError) -> Fault {
    match error {
        StoreError::Fault(fault) => fault,
        conflict => Fault::internal(format!("unexpected conflict in the database: {conflict}")),
    }
}

/// A database that does not answer is away, also when the connection does not say so. Boxed, because what is asked is
/// large, and every caller would carry its size about.
fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    let asked = tokio::time::timeout(patience, Box::pin(asked));
    let silent = || StoreError::Fault(Fault::unavailable("the database does not answer"));
    async move { asked.await.unwrap_or_else(|_| Err(silent())) }
}

/// One step of a task that nobody waits for. Each has its own deadline, because all of them together may be long.
pub(crate) fn step<T>(
    asked: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    within(STEP, asked)
}

/// What somebody waits for, where there can be no conflict.
fn patiently<T>(
    asked: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, Fault>> {
    let asked = within(PATIENCE, asked);
    async move { asked.await.map_err(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One lost answer must not end retention, statistics or the check of the audit until a restart.
    #[tokio::test]
    async fn a_step_whose_answer_is_lost_ends() {
        let lost = within(Duration::from_millis(1), std::future::pending::<Result<(), StoreError>>());
        assert!(lost.await.unwrap_err().to_string().contains("does not answer"));
        assert_eq!(step(async { Ok(1) }).await.unwrap(), 1);
    }
}
