//! A master key that is lost: what it seals can be opened by nobody any more, and is given up.
//!
//! It needs no master key, and no ledger: the key that signs for that is lost too. The event waits for the next start.

use serde::Serialize;

use super::{AdminError, By};
use crate::domain::audit::{AuditEvent, Event};
use crate::domain::error::Fault;
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::runtime::clock::Ambient;
use crate::runtime::sealed;
use crate::storage::{ChangeKind, Holder, SealedKey, Store};

/// What one master key seals.
#[derive(Clone, Debug, Serialize)]
pub struct SealedUnder {
    /// The master key, by its id.
    pub master_key: String,
    /// The keys that sign tokens.
    pub signing_keys: Vec<String>,
    /// The keys that sign the audit's checkpoints.
    pub audit_keys: Vec<String>,
    /// The secrets that all replicas share.
    pub shared_secrets: Vec<String>,
    /// Whose second factors.
    pub second_factors: Vec<String>,
    #[serde(skip)]
    sealed: Vec<SealedKey>,
}

/// What each master key seals in this database, oldest first.
///
/// # Errors
/// The database is away, or an envelope is damaged.
pub async fn sealed_under(store: &Store) -> Result<Vec<SealedUnder>, AdminError> {
    let mut all: Vec<SealedUnder> = Vec::new();
    for key in store.sealed_keys().await? {
        let id = sealed::under(&key)?.to_string();
        let place = all.iter().position(|one| one.master_key == id).unwrap_or_else(|| {
            all.push(SealedUnder::nothing(id));
            all.len() - 1
        });
        all[place].add(key);
    }
    Ok(all)
}

/// Gives up what a lost master key seals, with its audit event, all or nothing: signing keys and shared secrets are
/// removed, and of a key that has signed checkpoints the public part stays, which verifies them. People lose their second
/// factors, and what else lets them in, or whoever has only stolen a password could make a second factor to go with it. There is no permission for it: whoever has the database may. Servers make fresh keys when they start.
///
/// # Errors
/// The database is away, or something of it has changed meanwhile.
pub async fn abandon(
    store: &Store,
    by: &By,
    lost: &SealedUnder,
    ambient: &Ambient,
) -> Result<(), AdminError> {
    let people = people(store, lost).await?;
    let mut tx = store.begin().await?;
    for key in &lost.sealed {
        if !tx.abandon(key).await? {
            return Err(AdminError::Conflict(format!(
                "the {} has changed meanwhile: stop every server, and try again",
                sealed::purpose(key)
            )));
        }
    }
    for uid in people {
        tx.replace_recovery_codes(uid, &[]).await?;
        tx.end_sessions_of(uid).await?;
        tx.void_links_of(uid).await?;
    }
    let event = Event::KeysAbandoned {
        actor: by.actor.clone(),
        master_key: lost.master_key.clone(),
        signing_keys: lost.signing_keys.clone(),
        audit_keys: lost.audit_keys.clone(),
        shared_secrets: lost.shared_secrets.len() as u64,
        second_factors: lost.second_factors.clone(),
    };
    let event = AuditEvent { at: ambient.now(), origin: by.origin.clone(), event };
    tx.leave_event(ambient.uuid()?, &event.write_for_later()?).await?;
    tx.note_change(&ChangeKind::Unknown, ambient.now()).await?;
    Ok(tx.commit().await?)
}

/// Whose second factors go.
async fn people(store: &Store, lost: &SealedUnder) -> Result<Vec<AdministratorUid>, AdminError> {
    let mut people = Vec::new();
    for name in &lost.second_factors {
        let name = AdministratorName::new(name.as_str()).map_err(Fault::internal)?;
        people.extend(store.administrator(&name).await?.map(|person| person.uid));
    }
    Ok(people)
}

// === impl SealedUnder ===

impl SealedUnder {
    const fn nothing(master_key: String) -> Self {
        Self {
            master_key,
            signing_keys: Vec::new(),
            audit_keys: Vec::new(),
            shared_secrets: Vec::new(),
            second_factors: Vec::new(),
            sealed: Vec::new(),
        }
    }

    fn add(&mut self, key: SealedKey) {
        let names = match key.holder {
            Holder::Signing => &mut self.signing_keys,
            Holder::Audit => &mut self.audit_keys,
            Holder::Shared => &mut self.shared_secrets,
            Holder::Person => &mut self.second_factors,
        };
        names.push(key.kid.to_string());
        self.sealed.push(key);
    }
}
