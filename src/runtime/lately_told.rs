//! Remembers which clients something was told of lately, so that it is not told again with every request.

use std::time::Duration;

use moka::sync::Cache;

use crate::domain::ids::ClientId;

/// Of how many clients that is remembered. What is forgotten is told once more.
const CLIENTS: u64 = 10_000;

/// Clients of which it was told.
pub struct LatelyTold(Cache<ClientId, ()>);

// === impl LatelyTold ===

impl LatelyTold {
    /// Remembers each for `time`.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self(Cache::builder().max_capacity(CLIENTS).time_to_live(time).build())
    }

    /// Whether it was told of this client lately.
    #[must_use]
    pub fn has(&self, client_id: &ClientId) -> bool {
        self.0.contains_key(client_id)
    }

    /// It was not, after all.
    pub fn forget(&self, client_id: &ClientId) {
        self.0.invalidate(client_id);
    }

    /// It is told now.
    pub fn note(&self, client_id: ClientId) {
        self.0.insert(client_id, ());
    }
}
