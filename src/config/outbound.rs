//! `[outbound]`, `[assertions]` and `[federation]`: what Jeton calls when a registration names it, how client assertions
//! are read, and where the keys of others are beside that.

use std::path::PathBuf;
use std::time::Duration;

use super::Settings;
use super::values::{networks, path, truth};
use crate::domain::outside::Outside;

/// What Jeton calls outside, when a registration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Which addresses.
    pub outside: Outside,
    /// How long keys count that cannot be fetched anew.
    pub keys_stale_for: Duration,
    /// How long a place is left alone that does not answer, or does not have a key.
    pub keys_cooldown: Duration,
}

/// How client assertions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assertions {
    /// How far ahead the end of one may be.
    pub max_lifetime: Duration,
}

/// Whose tokens count beside our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Federation {
    /// The directory of the SPIFFE bundles that trusted issuers name by a file; none can, when absent.
    pub bundle_dir: Option<PathBuf>,
}

// === impl Settings ===

impl Settings {
    pub(super) fn outbound(&mut self) -> Outbound {
        let allow_http = self.take("outbound.allow_http", truth).unwrap_or(false);
        let allowed_networks = self.take("outbound.allowed_networks", networks).unwrap_or_default();
        let stale = self.within("outbound.keys_stale_for", (Duration::ZERO, Duration::from_hours(24 * 7)));
        let cooldown =
            self.within("outbound.keys_cooldown", (Duration::from_secs(1), Duration::from_hours(1)));
        Outbound {
            outside: Outside { allow_http, allowed_networks },
            keys_stale_for: stale.unwrap_or(Duration::from_hours(4)),
            keys_cooldown: cooldown.unwrap_or(Duration::from_secs(30)),
        }
    }

    pub(super) fn assertions(&mut self) -> Assertions {
        let longest =
            self.within("assertions.max_lifetime", (Duration::from_secs(1), Duration::from_hours(24)));
        Assertions { max_lifetime: longest.unwrap_or(Duration::from_hours(1)) }
    }

    pub(super) fn federation(&mut self) -> Federation {
        Federation { bundle_dir: self.take("federation.bundle_dir", path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(name: &str, value: &str) -> Option<Config> {
        Config::load(None, [(name.to_owned(), value.to_owned())]).ok()
    }

    #[test]
    fn nothing_inside_is_called_unless_somebody_says_so() {
        let usual = Config::load(None, []).unwrap();
        assert_eq!(usual.outbound.outside, Outside::default());
        assert_eq!(usual.assertions.max_lifetime, Duration::from_hours(1));
        let listed = load("JETON_OUTBOUND__ALLOWED_NETWORKS", "10.0.0.0/8,::1").unwrap().outbound.outside;
        assert_eq!(listed.allowed_networks.len(), 2);
        assert!(load("JETON_OUTBOUND__ALLOW_HTTP", "true").unwrap().outbound.outside.allow_http);
    }

    #[test]
    fn bundles_are_in_one_directory() {
        assert_eq!(Config::load(None, []).unwrap().federation, Federation::default());
        let set = load("JETON_FEDERATION__BUNDLE_DIR", "/etc/jeton/bundles").unwrap();
        assert_eq!(set.federation.bundle_dir.unwrap(), PathBuf::from("/etc/jeton/bundles"));
    }

    #[test]
    fn spans_are_kept_within_reason() {
        assert_eq!(
            load("JETON_ASSERTIONS__MAX_LIFETIME", "5m").unwrap().assertions.max_lifetime,
            Duration::from_mins(5)
        );
        for (name, value) in [
            ("JETON_ASSERTIONS__MAX_LIFETIME", "2d"),
            ("JETON_OUTBOUND__KEYS_STALE_FOR", "8d"),
            ("JETON_OUTBOUND__KEYS_COOLDOWN", "0s"),
        ] {
            assert!(load(name, value).is_none(), "{name}");
        }
    }
}
