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

/// For paths that cannot meet a conflict: whatever the store says there is a fault.
pub(crate) fn fault(error: StoreError) -> Fault {
    match error {
        StoreError::Fault(fault) => fault,
        conflict => Fault::internal(format!("unexpected conflict in the database: {conflict}")),
    }
}

/// A database that does not answer is away, also when the connection does not say so.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = || StoreError::Fault(Fault::unavailable("the database does not answer"));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(silent()))
}

/// [`in_time`], where there can be no conflict.
async fn patiently<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Fault> {
    in_time(asked).await.map_err(fault)
}
