//! `[admin]`: how people sign in.

use std::time::Duration;

use super::Settings;
use super::values::required;
use crate::domain::administrator::SignInRules;
use crate::domain::schedule::Span;

// === impl Settings ===

impl Settings {
    pub(super) fn sign_in(&mut self) -> SignInRules {
        let usual = SignInRules::default();
        let idle = self.within("admin.session_idle", (Duration::from_mins(1), Duration::from_hours(24)));
        let lifetime =
            self.within("admin.session_lifetime", (Duration::from_mins(5), Duration::from_hours(24 * 7)));
        let second_factor_required = self.take("admin.second_factor", required);
        let lifetime = lifetime.unwrap_or(usual.lifetime);
        SignInRules {
            // A default must not contradict what somebody chose.
            idle: idle.unwrap_or_else(|| usual.idle.min(lifetime)),
            lifetime,
            second_factor_required: second_factor_required.unwrap_or(usual.second_factor_required),
        }
    }

    pub(super) fn within(&mut self, name: &str, (least, most): (Duration, Duration)) -> Option<Duration> {
        self.take(name, |text| {
            let Span(span) = text.parse()?;
            if (least..=most).contains(&span) {
                Ok(span)
            } else {
                Err(format!("write a time from {} to {}", Span(least), Span(most)))
            }
        })
    }
}
