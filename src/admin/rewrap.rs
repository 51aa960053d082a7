//! Changing the master key: what an old one has sealed is sealed anew under the current one.

use serde::Serialize;

use super::{Admin, AdminError, By};
use crate::domain::audit::Event;
use crate::runtime::master_key::{MasterKeyId, MasterKeys};
use crate::runtime::sealed;
use crate::storage::{ChangeKind, Holder, SealedKey};

/// How often what others have sealed meanwhile is looked for. It is rare: a key was made in that moment.
const ROUNDS: u32 = 5;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrapped {
    /// The master key that everything is sealed under now.
    pub master_key: String,
    /// Those that something was sealed under before; none when there was nothing to do.
    pub previous: Vec<String>,
    /// How many keys that sign tokens were sealed anew.
    pub signing_keys: u64,
    /// How many keys that sign the audit's checkpoints were.
    pub audit_keys: u64,
    /// How many secrets that all replicas share were.
    pub shared_secrets: u64,
    /// How many second factors of people were.
    pub second_factors: u64,
}

// === impl Admin ===

impl Admin {
    /// Seals anew under the current master key whatever is sealed under another. Two at once do no harm, and
    /// neither does a second time. There is no permission for it: whoever has the master keys may.
    ///
    /// # Errors
    /// A master key that is needed is not configured, or others keep sealing under the old one.
    pub async fn rewrap(&self, by: &By, master_keys: &MasterKeys) -> Result<Rewrapped, AdminError> {
        let mut done = Rewrapped {
            master_key: master_keys.current().to_string(),
            previous: Vec::new(),
            signing_keys: 0,
            audit_keys: 0,
            shared_secrets: 0,
            second_factors: 0,
        };
        for _ in 0..ROUNDS {
            let left = self.under_others(master_keys.current()).await?;
            if left.is_empty() {
                return Ok(done);
            }
            let round = self.reseal(by, master_keys, left).await?;
            done.signing_keys += round.signing_keys;
            done.audit_keys += round.audit_keys;
            done.shared_secrets += round.shared_secrets;
            done.second_factors += round.second_factors;
            done.previous.extend(round.previous);
            done.previous.sort_unstable();
            done.previous.dedup();
        }
        Err(AdminError::Conflict(format!(
            "others keep sealing keys under another master key: make {} the current one everywhere first",
            done.master_key
        )))
    }

    async fn under_others(&self, current: MasterKeyId) -> Result<Vec<(MasterKeyId, SealedKey)>, AdminError> {
        let mut left = Vec::new();
        for key in self.store.sealed_keys().await? {
            let under = sealed::under(&key)?;
            if under != current {
                left.push((under, key));
            }
        }
        Ok(left)
    }

    async fn reseal(
        &self,
        by: &By,
        master_keys: &MasterKeys,
        left: Vec<(MasterKeyId, SealedKey)>,
    ) -> Result<Rewrapped, AdminError> {
        // Before the transaction: a token may take its time.
        let mut resealed = Vec::with_capacity(left.len());
        for (under, key) in left {
            let envelope = master_keys.reseal(&sealed::purpose(&key), &key.sealed_private).await?;
            resealed.push((under, key, envelope));
        }
        let mut tx = self.begin().await?;
        let (mut previous, mut signing_keys, mut audit_keys) = (Vec::new(), 0, 0);
        let (mut shared_secrets, mut second_factors) = (0, 0);
        for (under, key, envelope) in &resealed {
            // Whoever was faster has done it.
            if tx.reseal(key, envelope).await? {
                previous.push(under.to_string());
                match key.holder {
                    Holder::Signing => signing_keys += 1,
                    Holder::Audit => audit_keys += 1,
                    Holder::Shared => shared_secrets += 1,
                    Holder::Person => second_factors += 1,
                }
            }
        }
        previous.sort_unstable();
        previous.dedup();
        let master_key = master_keys.current().to_string();
        if !previous.is_empty() {
            let event = Event::KeysRewrapped {
                actor: by.actor.clone(),
                master_key: master_key.clone(),
                previous: previous.clone(),
                signing_keys,
                audit_keys,
                shared_secrets,
                second_factors,
            };
            self.finish(tx, by, event, &ChangeKind::Keys).await?;
        }
        Ok(Rewrapped { master_key, previous, signing_keys, audit_keys, shared_secrets, second_factors })
    }
}
