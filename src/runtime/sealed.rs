//! What the master keys have sealed: which of them is needed, and how far a change of the master key has come.

use super::fault;
use super::master_key::{MasterKeyId, MasterKeys};
use super::{audit_key, keyring, nonces};
use crate::domain::error::Fault;
use crate::storage::{Holder, SealedKey, Store};

/// What is sealed under which master key.
#[derive(Debug)]
pub struct Survey {
    /// Of each sealed key, oldest first.
    under: Vec<MasterKeyId>,
}

// === impl Survey ===

impl Survey {
    /// Looks at every envelope in the store, and opens none.
    ///
    /// # Errors
    /// The database is away, or an envelope is damaged.
    pub async fn of(store: &Store) -> Result<Self, Fault> {
        let keys = store.sealed_keys().await.map_err(fault)?;
        Ok(Self { under: keys.iter().map(under).collect::<Result<_, _>>()? })
    }

    /// Whether nothing is sealed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.under.is_empty()
    }

    /// The master keys that are needed to open all of it.
    #[must_use]
    pub fn ids(&self) -> Vec<MasterKeyId> {
        let mut ids = self.under.clone();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Makes sure that everything can be opened.
    ///
    /// # Errors
    /// A master key is missing: which, and what most likely led to that.
    pub fn check(&self, keys: &MasterKeys) -> Result<(), Fault> {
        let missing: Vec<_> = self.under.iter().copied().filter(|id| !keys.has(*id)).collect();
        let (Some(first), Some(newest)) = (missing.first(), self.under.last()) else { return Ok(()) };
        let (all, some) = (self.under.len(), missing.len());
        let advice = if some == all {
            "Give the master key that this database was started with. If the master key is being changed, give the \
             old one and the new one: the current one as before, the other in other_master_key_files"
                .to_owned()
        } else if keys.has(*newest) {
            format!(
                "Most likely it is the old one, and was taken away before `jeton keys rewrap`: give it back in \
                 other_master_key_files, run `jeton keys rewrap` with it until nothing is left, then take {first} away"
            )
        } else {
            "Most likely it is the new one, which others use already: give it in other_master_key_files here, and \
             everywhere before it becomes the current one anywhere"
                .to_owned()
        };
        Err(Fault::setup(format!(
            "of {all} sealed keys in the database {some} {} under master key {}, which is not configured; \
             configured: {keys}. Nothing was changed. {advice} (docs/configuration.md#changing-the-master-key)",
            if some == 1 { "is" } else { "are" },
            named(&missing)
        )))
    }

    /// How far a change of the master key has come, while there is more than one.
    #[must_use]
    pub fn progress(&self, keys: &MasterKeys) -> Option<String> {
        let others: Vec<_> = keys.others().collect();
        let current = keys.current();
        let left: Vec<_> = self.under.iter().copied().filter(|id| *id != current).collect();
        if others.is_empty() {
            None
        } else if left.is_empty() {
            Some(format!(
                "nothing is sealed under master key {}, which only opens: if it is the old one, take it away; if it is \
                 the new one, make it the current one instead of {current} once every replica has it",
                named(&others)
            ))
        } else {
            Some(format!(
                "of {} sealed keys {} under master key {}, which only opens: once {current} is the current one on \
                 every replica, run `jeton keys rewrap`",
                self.under.len(),
                if left.len() == 1 { "1 is".to_owned() } else { format!("{} are", left.len()) },
                named(&left)
            ))
        }
    }
}

/// The master key that a key is sealed under.
///
/// # Errors
/// The envelope is damaged.
pub fn under(key: &SealedKey) -> Result<MasterKeyId, Fault> {
    MasterKeyId::of(&purpose(key), &key.sealed_private)
}

/// What a key is sealed for.
#[must_use]
pub fn purpose(key: &SealedKey) -> String {
    match key.holder {
        Holder::Signing => keyring::purpose(&key.kid),
        Holder::Audit => audit_key::purpose(&key.kid),
        Holder::Shared => nonces::purpose(key.kid.as_str()),
        Holder::Person => second_factor(key.kid.as_str()),
    }
}

/// What the second factor of the administrator of this name is sealed for.
#[must_use]
pub fn second_factor(name: &str) -> String {
    format!("second factor {name}")
}

/// Each id once.
fn named(ids: &[MasterKeyId]) -> String {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
