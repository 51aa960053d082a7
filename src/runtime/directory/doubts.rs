//! How often it is looked whether a client that seems made up was registered a moment ago.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many ids that seem made up are looked for all the same, each second: somebody may have registered one
/// a moment ago on another replica.
const DOUBTED: u32 = 50;

/// How many lookups of ids that seem made up are left in this second.
pub(super) struct Doubts(Mutex<(Instant, u32)>);

// === impl Doubts ===

impl Doubts {
    pub(super) fn new() -> Self {
        Self(Mutex::new((Instant::now(), DOUBTED)))
    }

    pub(super) fn take(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.0.elapsed() > Duration::from_secs(1) {
            *left = (Instant::now(), DOUBTED);
        }
        let any = left.1 > 0;
        left.1 = left.1.saturating_sub(1);
        any
    }
}
