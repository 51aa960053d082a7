//! Stores our own hash of a secret in place of another server's, once the secret was presented: the request that has
//! proven it does not wait for that. Several replicas may verify the same secret at once; the first one stores.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::foreign_secrets::Upgrade;
use super::ledger::Ledger;
use super::{fault, step};
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::error::Fault;
use crate::storage::{ChangeKind, Store, StoreError};

/// How many may wait. What finds no room comes again with the next request that presents the secret.
pub const QUEUE: usize = 256;

/// How often one is tried, and how long after a failure.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_secs(3);

/// Stores what was verified.
pub struct SecretUpgrades {
    store: Store,
    ledger: Ledger,
    ambient: Ambient,
}

// === impl SecretUpgrades ===

impl SecretUpgrades {
    /// Of this store.
    #[must_use]
    pub const fn new(store: Store, ledger: Ledger, ambient: Ambient) -> Self {
        Self { store, ledger, ambient }
    }

    /// Stores what comes until `stop`.
    pub async fn run(self, mut upgrades: mpsc::Receiver<Upgrade>, stop: CancellationToken) {
        let store = async {
            while let Some(upgrade) = upgrades.recv().await {
                self.persist(&upgrade).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = store => {}
        }
    }

    async fn persist(&self, upgrade: &Upgrade) {
        for _ in 0..TRIES {
            match self.once(upgrade).await {
                Ok(()) => return,
                Err(fault) => {
                    tracing::warn!(%fault, client_id = %upgrade.client_id, "an imported secret could not be hashed anew; trying again");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Stores one, unless the secret is gone or another replica was faster.
    ///
    /// # Errors
    /// The database is away.
    pub async fn once(&self, upgrade: &Upgrade) -> Result<(), Fault> {
        if !step(self.rehash(upgrade)).await.map_err(fault)? {
            return Ok(());
        }
        self.ledger.collect().await
    }

    /// Answers whether there was anything to store.
    async fn rehash(&self, upgrade: &Upgrade) -> Result<bool, StoreError> {
        let mut tx = self.store.begin().await?;
        let hashes = (&upgrade.before, &upgrade.after);
        if !tx.rehash_secret(upgrade.client, &upgrade.secret_id, hashes).await? {
            return Ok(false);
        }
        let now = self.ambient.now();
        let event = Event::Changed {
            actor: Actor::System,
            action: "client.secret.rehash",
            target: upgrade.client_id.to_string(),
            before: Some(json!({ "secret_id": upgrade.secret_id, "imported_as": upgrade.scheme })),
            after: Some(json!({ "secret_id": upgrade.secret_id })),
        };
        let event = AuditEvent { at: now, origin: Origin::default(), event }.write_for_later()?;
        tx.leave_event(self.ambient.uuid()?, &event).await?;
        tx.note_change(&ChangeKind::Client(upgrade.client_id.clone()), now).await?;
        tx.commit().await?;
        Ok(true)
    }
}
