use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::{KeySet, NoKeys, RemoteKeys, Source};
use crate::domain::time::Timestamp;

/// One of them, and what is known of it.
pub(super) struct Place {
    source: Source,
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
    pub(super) fn new(source: Source) -> Self {
        Self { source, known: ArcSwapOption::empty(), asked: Mutex::default() }
    }

    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.known.load_full()
    }

    /// Whether it is being asked at this moment.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.try_lock().is_err()
    }

    /// Asks it, unless somebody else has since `seen`, or it is to be left alone.
    ///
    /// # Errors
    /// There are no keys, or it does not answer, or did not a moment ago, whatever is known from before.
    pub(super) async fn ask(
        &self,
        keys: &RemoteKeys,
        seen: Option<&Arc<KeySet>>,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let mut asked = self.asked.lock().await;
        let known = self.known();
        if let Some(known) = &known
            && seen.is_none_or(|seen| !Arc::ptr_eq(seen, known))
        {
            return Ok(Arc::clone(known));
        }
        let now = keys.ambient.now();
        if asked.at.is_some_and(|at| at <= now && now < at.plus(keys.patience.cooldown)) {
            if let Some(problem) = &asked.problem {
                return Err(problem.clone());
            }
            // Where all is well, only what is not there is not looked for again.
            if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
                return Ok(Arc::clone(known));
            }
        }
        let outcome = keys.fetch(&self.source).await;
        // From its end: whatever it took, the place is left alone for a while then.
        let at = Some(keys.ambient.now());
        match outcome {
            Ok(set) => {
                if known.is_some_and(|known| set.sequence() < known.sequence()) {
                    // Perhaps a replica that lags, perhaps a trust domain that was set up anew: it is what it says now.
                    tracing::warn!(
                        source = self.source.without_query(),
                        "a SPIFFE bundle is older than the one before"
                    );
                }
                let set = Arc::new(set);
                *asked = Asked { at, problem: None };
                self.known.store(Some(Arc::clone(&set)));
                Ok(set)
            }
            Err(problem) => {
                tracing::warn!(source = self.source.without_query(), %problem, "public keys cannot be fetched");
                // An answer without keys is an answer: what was there before was taken away. Only silence is bridged.
                if matches!(problem, NoKeys::None(_)) {
                    self.known.store(None);
                }
                *asked = Asked { at, problem: Some(problem.clone()) };
                Err(problem)
            }
        }
    }
}
