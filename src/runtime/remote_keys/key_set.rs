use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Patience;
use crate::domain::time::Timestamp;
use crate::jose::{Bundle, ForeignKey};
use crate::runtime::tls::SvidAuthorities;

/// The keys that a place had at some time.
pub struct KeySet {
    keys: Vec<Arc<ForeignKey>>,
    authorities: Option<SvidAuthorities>,
    sequence: Option<u64>,
    fetched_at: Timestamp,
    /// For good, when absent: what is configured is fresh until it is configured otherwise.
    fresh_until: Option<Timestamp>,
}

// === impl KeySet ===

impl KeySet {
    /// Keys that were fetched, and are good for so long.
    pub(in crate::runtime) fn fetched(bundle: Bundle, now: Timestamp, kept: Duration) -> Self {
        Self { fresh_until: Some(now.plus(kept)), ..Self::configured(bundle, now) }
    }

    /// Keys that somebody has configured.
    pub(in crate::runtime) fn configured(bundle: Bundle, now: Timestamp) -> Self {
        Self {
            keys: bundle.keys.into_iter().map(Arc::new).collect(),
            authorities: SvidAuthorities::read(&bundle.authorities),
            sequence: bundle.sequence,
            fetched_at: now,
            fresh_until: None,
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Arc<ForeignKey>] {
        &self.keys
    }

    /// What X.509-SVIDs lead to; only a SPIFFE bundle has that.
    #[must_use]
    pub const fn authorities(&self) -> Option<&SvidAuthorities> {
        self.authorities.as_ref()
    }

    /// The `spiffe_sequence` of a SPIFFE bundle.
    #[must_use]
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// When they were fetched, or read.
    #[must_use]
    pub const fn fetched_at(&self) -> Timestamp {
        self.fetched_at
    }

    /// Until when they are not fetched anew, unless one is looked for that is not among them; for good, when absent.
    #[must_use]
    pub const fn fresh_until(&self) -> Option<Timestamp> {
        self.fresh_until
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        // A clock that was set back makes nothing fresh for longer.
        self.fresh_until.is_none_or(|until| (self.fetched_at..until).contains(&now))
    }

    /// Whether it serves while it cannot be fetched anew.
    pub(super) fn serves(&self, now: Timestamp, patience: Patience) -> bool {
        self.fresh_until.is_none_or(|until| now < until.plus(patience.stale_for))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys)
            .field("authorities", &self.authorities)
            .field("fetched_at", &self.fetched_at)
            .field("fresh_until", &self.fresh_until)
            .finish_non_exhaustive()
    }
}
