//! TLS: what a listener shows, and whose certificates are trusted. Both are read from files, and again when those
//! change, so that a certificate is renewed without a restart.

mod endpoint;
mod from_files;
mod svid;
mod trust;

pub use self::endpoint::Endpoint;
pub(super) use self::from_files::Stamp;
pub use self::svid::SvidAuthorities;
pub use self::trust::{ClientTrust, Shown};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use crate::config::TlsSettings;
use crate::domain::error::{Fault, FaultKind};
use crate::domain::time::Timestamp;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Everything of TLS.
pub struct Tls {
    /// What the main listener shows; it speaks plain HTTP without.
    pub main: Option<Arc<Endpoint>>,
    /// What the listener shows that asks for certificates of clients.
    pub mutual: Option<Arc<Endpoint>>,
    /// Whose certificates are trusted.
    pub trust: Arc<ClientTrust>,
    ambient: Ambient,
}

// === impl Tls ===

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// Everything about them that is not usable.
    pub fn open(settings: &TlsSettings, ambient: &Ambient) -> Result<Self, Fault> {
        let mut problems = Vec::new();
        let main = settings.main.as_ref().map(|pair| Endpoint::open(pair, false, ambient));
        let mutual = settings.mutual.as_ref().map(|mutual| Endpoint::open(&mutual.pair, true, ambient));
        let trust = ClientTrust::open(settings.client_ca.as_deref(), &settings.crls, ambient);
        let mut usable = |endpoint: Option<Result<Endpoint, Fault>>| {
            endpoint
                .and_then(|endpoint| endpoint.map_err(|problem| problems.push(problem)).ok())
                .map(Arc::new)
        };
        let (main, mutual) = (usable(main), usable(mutual));
        match trust {
            Ok(trust) if problems.is_empty() => {
                Ok(Self { main, mutual, trust: Arc::new(trust), ambient: ambient.clone() })
            }
            trust => {
                problems.extend(trust.err());
                Err(all_of(problems))
            }
        }
    }

    /// When which file stops counting.
    #[must_use]
    pub fn ends(&self) -> Vec<(PathBuf, Timestamp)> {
        let shown = self.main.iter().chain(&self.mutual).flat_map(|endpoint| endpoint.ends());
        shown.chain(self.trust.ends()).collect()
    }

    /// Looks at the files every two seconds until `stop`; there may be none.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        if self.main.is_none() && self.mutual.is_none() && self.trust.trusts_nobody() {
            return;
        }
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let this = Arc::clone(&self);
            // Files may be on a slow file system.
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                tracing::error!("looking at the files of TLS failed");
            }
        }
    }

    /// Reads again what has changed. What cannot be used changes nothing, and is logged.
    pub fn look(&self) {
        let now = self.ambient.now();
        for endpoint in self.main.iter().chain(&self.mutual) {
            endpoint.look(now);
        }
        self.trust.look(now);
    }
}

/// Several as one. No restart mends it as long as none mends one of them.
fn all_of(problems: Vec<Fault>) -> Fault {
    let stays = problems.iter().any(|problem| problem.kind == FaultKind::Setup);
    let mut details: Vec<_> = problems.into_iter().map(|problem| problem.detail).collect();
    details.dedup();
    let kind = if stays { FaultKind::Setup } else { FaultKind::Unavailable };
    Fault { kind, detail: details.join("; ") }
}
