//! `[credentials]`: what clients prove themselves with.

use std::time::Duration;

use super::Settings;

/// How long before its end somebody is told of a credential that nobody has replaced: two weeks, in which whoever is on
/// holiday comes back.
const WARN_BEFORE: Duration = Duration::from_hours(24 * 14);

// === impl Settings ===

impl Settings {
    pub(super) fn warn_before(&mut self) -> Duration {
        let bounds = (Duration::from_hours(1), Duration::from_hours(24 * 365));
        self.within("credentials.warn_before", bounds).unwrap_or(WARN_BEFORE)
    }
}
