//! State that lives as long as the process: the clock, the directory, the keyring, the ledger.
//!
//! Each has at most one task of its own, and is shared by `Arc`.

pub mod audit_key;
pub mod clock;
pub mod directory;
pub mod key_maker;
pub mod keyring;
mod known_ids;
pub mod ledger;
pub mod master_key;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod private_file;
pub mod refusals;
pub mod rotator;
pub mod sealed;
pub mod secrets;
pub mod token_keys;
pub mod upkeep;

use crate::domain::error::Fault;
use crate::storage::StoreError;

/// For paths that cannot meet a conflict: whatever the store says there is a fault.
pub(crate) fn fault(error: StoreError) -> Fault {
    match error {
        StoreError::Fault(fault) => fault,
        conflict => Fault::internal(format!("unexpected conflict in the database: {conflict}")),
    }
}
