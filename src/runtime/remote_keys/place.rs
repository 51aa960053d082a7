use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::{KeySet, NoKeys, RemoteKeys};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;

/// One URL, and what is known of it.
pub(super) struct Place {
    url: String,
    known: ArcSwapOption<KeySet>,
    /// Held while it is asked.
    asked: Mutex<Asked>,
}

/// The last time it was asked.
#[derive(Default)]
struct Asked {
    at: Option<Timestamp>,
    problem: Option<NoKeys>,
}

// === impl Place ===

impl Place {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), known: ArcSwapOption::empty(), asked: Mutex::default() }
    }

    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.known.load_full()
    }

    /// Whether it is being asked at this moment.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.try_lock().is_err()
    }

    /// Asks it, unless somebody else has since `seen`, or it is to be left alone.
    pub(super) async fn ask(
        &self,
        keys: &RemoteKeys,
        seen: Option<&Arc<KeySet>>,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let mut asked = self.asked.lock().await;
        if let Some(known) = self.known()
            && seen.is_none_or(|seen| !Arc::ptr_eq(seen, &known))
        {
            return Ok(known);
        }
        let now = keys.ambient.now();
        if asked.at.is_some_and(|at| at <= now && now < at.plus(keys.patience.cooldown)) {
            return self.held(&asked, keys, now);
        }
        let outcome = keys.fetch(&self.url).await;
        // From its end: whatever it took, the place is left alone for a while then.
        let now = keys.ambient.now();
        match outcome {
            Ok(set) => {
                let set = Arc::new(set);
                *asked = Asked { at: Some(now), problem: None };
                self.known.store(Some(Arc::clone(&set)));
                Ok(set)
            }
            Err(problem) => {
                tracing::warn!(url = self.url, %problem, "public keys cannot be fetched");
                // An answer without keys is an answer: what was there before was taken away. Only silence is bridged.
                if matches!(problem, NoKeys::None(_)) {
                    self.known.store(None);
                }
                *asked = Asked { at: Some(now), problem: Some(problem) };
                self.held(&asked, keys, now)
            }
        }
    }

    /// What is had without asking.
    fn held(&self, asked: &Asked, keys: &RemoteKeys, now: Timestamp) -> Result<Arc<KeySet>, NoKeys> {
        if let Some(known) = self.known().filter(|known| known.serves(now, keys.patience)) {
            return Ok(known);
        }
        let silent = || Fault::unavailable(format!("keys at {}: not asked again yet", self.url)).into();
        Err(asked.problem.clone().unwrap_or_else(silent))
    }
}
