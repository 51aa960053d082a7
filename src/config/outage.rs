//! `[outage]`: what is done while the database is away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Settings;
use super::values::path;
use crate::domain::schedule::{Schedule, Span};

/// What is done while the database is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Whether known clients get tokens.
    pub mode: OutageMode,
    /// For how long they do.
    pub grace: Duration,
    /// Where events are kept until the database is back.
    pub directory: PathBuf,
    /// How many bytes of them.
    pub max_size: u64,
}

/// Whether known clients get tokens while the database is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageMode {
    /// They do, and the events are kept in a file until it is back.
    Spool,
    /// Nobody gets one.
    Refuse,
}

/// What is kept unless an operator says otherwise.
const GRACE: Duration = Duration::from_mins(15);
const MAX_SIZE: u64 = 64 * MIB;

const MIB: u64 = 1_024 * 1_024;

// === impl OutageMode ===

impl OutageMode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Refuse => "refuse",
        }
    }
}

// === impl Outage ===

impl Outage {
    /// As people are told it.
    pub(super) fn told(&self) -> [(&'static str, String); 4] {
        [
            ("outage.mode", self.mode.as_str().to_owned()),
            ("outage.grace", Span(self.grace).to_string()),
            ("outage.directory", self.directory.display().to_string()),
            ("outage.max_size", format!("{}MiB", self.max_size / MIB)),
        ]
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn outage(&mut self, data_dir: &Path, keys: &Schedule) -> Outage {
        let mode = self.take("outage.mode", |text| match text {
            "spool" => Ok(OutageMode::Spool),
            "refuse" => Ok(OutageMode::Refuse),
            _ => Err("write spool (known clients get tokens) or refuse (nobody does)".to_owned()),
        });
        let grace = self.within("outage.grace", (Duration::from_secs(1), Duration::from_hours(24)));
        // What a replica does not hear of meanwhile is a new signing key. Others sign with it after the lead; until
        // then this one may sign with the key before it, whose tokens are verifiable as long as they live.
        let longest = keys.staleness();
        if let Some(grace) = grace.filter(|grace| *grace > longest) {
            self.refuse(
                "outage.grace",
                "outage",
                format!(
                    "{} is too long: a replica that hears of no new signing key may sign for {} at most, which is \
                     keys.publish_ahead - keys.verifier_cache - 2 × keys.clock_tolerance - the time to store a key; \
                     write at most that, or raise keys.publish_ahead",
                    Span(grace),
                    Span(longest),
                ),
            );
        }
        let directory = self.take("outage.directory", path);
        let max_size = self.take("outage.max_size", size);
        Outage {
            mode: mode.unwrap_or(OutageMode::Spool),
            grace: grace.unwrap_or(GRACE).min(longest),
            directory: directory.unwrap_or_else(|| data_dir.join("spool")),
            max_size: max_size.unwrap_or(MAX_SIZE),
        }
    }
}

/// The least that makes sense: the events of one batch are written together, and a spool that has no room for them takes
/// none, however empty it is.
const LEAST: u64 = 16 * MIB;

/// A size such as `64MiB`.
fn size(text: &str) -> Result<u64, String> {
    let of = |unit: &str, bytes: u64| {
        text.strip_suffix(unit).and_then(|number| number.trim().parse::<u64>().ok()?.checked_mul(bytes))
    };
    let bytes = of("MiB", MIB).or_else(|| of("GiB", 1_024 * MIB));
    bytes
        .filter(|bytes| (LEAST..=64 * 1_024 * MIB).contains(bytes))
        .ok_or_else(|| "write a size from 16MiB to 64GiB, for example 256MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn load(environment: &[(&str, &str)]) -> Result<Outage, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, environment).map(|config| config.outage)
    }

    #[test]
    fn a_quarter_of_an_hour_is_bridged_unless_somebody_says_otherwise() {
        let usual = load(&[]).unwrap();
        assert_eq!((usual.mode, usual.grace, usual.max_size), (OutageMode::Spool, GRACE, MAX_SIZE));
        assert_eq!(usual.directory, PathBuf::from("jeton-data/spool"));
        let set = load(&[
            ("JETON_OUTAGE__MODE", "refuse"),
            ("JETON_OUTAGE__GRACE", "1h"),
            ("JETON_OUTAGE__DIRECTORY", "/var/spool/jeton"),
            ("JETON_OUTAGE__MAX_SIZE", "2GiB"),
        ])
        .unwrap();
        assert_eq!(
            set,
            Outage {
                mode: OutageMode::Refuse,
                grace: Duration::from_hours(1),
                directory: "/var/spool/jeton".into(),
                max_size: 2 * 1_024 * MIB,
            }
        );
    }

    #[test]
    fn no_replica_signs_for_longer_than_the_keys_allow() {
        let short = ("JETON_KEYS__PUBLISH_AHEAD", "2h 15m");
        let refused = load(&[short, ("JETON_OUTAGE__GRACE", "20m")]).unwrap_err().to_string();
        assert!(refused.contains("20m is too long") && refused.contains("13m 55s at most"), "{refused}");
        assert!(load(&[short, ("JETON_OUTAGE__GRACE", "10m")]).is_ok());
        assert_eq!(load(&[short]).unwrap().grace, Duration::from_secs(13 * 60 + 55), "the default follows");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let size = "write a size from 16MiB to 64GiB";
        for (name, value, said) in [
            ("JETON_OUTAGE__MODE", "on", "write spool (known clients get tokens) or refuse"),
            ("JETON_OUTAGE__GRACE", "0s", "1s to 1d"),
            ("JETON_OUTAGE__GRACE", "25h", "1s to 1d"),
            ("JETON_OUTAGE__MAX_SIZE", "64", size),
            ("JETON_OUTAGE__MAX_SIZE", "0MiB", size),
            ("JETON_OUTAGE__MAX_SIZE", "15MiB", size),
            ("JETON_OUTAGE__MAX_SIZE", "65GiB", size),
        ] {
            let refused = load(&[(name, value)]).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains(said), "{value}: {refused}");
        }
        assert_eq!(load(&[("JETON_OUTAGE__MAX_SIZE", "16MiB")]).unwrap().max_size, LEAST);
    }
}
