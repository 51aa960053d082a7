//! The tasks that tend to what clients prove themselves with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::runtime::clock_check::ClockCheck;
use crate::runtime::credential_uses::CredentialUses;
use crate::runtime::expiry_watch::{EndingCounts, ExpiryWatch};
use crate::runtime::foreign_secrets::Upgrade;
use crate::runtime::ledger::Ledger;
use crate::runtime::secret_upgrades::{self, SecretUpgrades};
use crate::runtime::statistics::Statistics;
use crate::storage::Store;

/// What they are reached by.
pub(super) struct Tended {
    /// Where the numbers of those that end are found.
    pub(super) ending: EndingCounts,
    /// Where an imported secret goes that was verified.
    pub(super) verified: mpsc::Sender<Upgrade>,
    /// Where the uses are noted that no event tells.
    pub(super) uses: Arc<CredentialUses>,
    /// What writes them.
    pub(super) statistics: Arc<Statistics>,
}

/// Starts them.
pub(super) fn tend(
    warn_before: Duration,
    store: &Store,
    ledger: &Ledger,
    clock: &Arc<ClockCheck>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Tended {
    let ending = EndingCounts::default();
    let counts = Arc::clone(&ending);
    let watch = ExpiryWatch::new(store.clone(), ledger.clone(), Arc::clone(clock), warn_before, counts);
    tasks.spawn(watch.run(stop.clone()));
    let (verified, upgrades) = mpsc::channel(secret_upgrades::QUEUE);
    let upgrading = SecretUpgrades::new(store.clone(), ledger.clone(), clock.ambient().clone());
    tasks.spawn(upgrading.run(upgrades, stop.clone()));
    let uses = Arc::<CredentialUses>::default();
    let statistics = Arc::new(Statistics::new(store.clone(), Arc::clone(clock)).with(Arc::clone(&uses)));
    tasks.spawn(Arc::clone(&statistics).run(stop.clone()));
    Tended { ending, verified, uses, statistics }
}
