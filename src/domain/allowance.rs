//! How many failures somebody may have, and how soon that is forgotten.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::schedule::Span;

/// The most failures that can be allowed: beyond, a limit is none.
const MOST: u32 = 1_000_000;

/// The longest time that failures are counted over.
const LONGEST: Duration = Duration::from_hours(24);

/// So many failures at once, and so many in each such time after that: `30 in 1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    failures: NonZeroU32,
    within: Duration,
}

// === impl Allowance ===

impl Allowance {
    /// What one client may have from one address, if nobody says otherwise.
    pub const PER_CLIENT: Self = Self::a_minute(30);

    /// What all clients may have from one address, if nobody says otherwise.
    pub const PER_ADDRESS: Self = Self::a_minute(300);

    const fn a_minute(failures: u32) -> Self {
        let failures = match NonZeroU32::new(failures) {
            Some(failures) => failures,
            None => NonZeroU32::MIN,
        };
        Self { failures, within: Duration::from_mins(1) }
    }

    /// How many may come at once.
    #[must_use]
    pub const fn failures(self) -> NonZeroU32 {
        self.failures
    }

    /// How long until all of them may come again.
    #[must_use]
    pub const fn within(self) -> Duration {
        self.within
    }
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (failures, within) =
            text.split_once(" in ").ok_or("write how many failures in which time, for example 30 in 1m")?;
        let failures = failures
            .trim()
            .parse::<NonZeroU32>()
            .ok()
            .filter(|failures| failures.get() <= MOST)
            .ok_or_else(|| format!("write a number of failures from 1 to {MOST}"))?;
        let Span(within) = within.trim().parse()?;
        if !(Duration::from_secs(1)..=LONGEST).contains(&within) {
            return Err(format!("write a time from 1s to {}", Span(LONGEST)));
        }
        Ok(Self { failures, within })
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.failures, Span(self.within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_read_as_it_is_written() {
        for text in ["30 in 1m", "1 in 1s", "1000000 in 24h", "5 in 1m 30s"] {
            assert_eq!(text.parse::<Allowance>().unwrap().to_string(), text.replace("24h", "1d"));
        }
        assert_eq!(Allowance::PER_CLIENT.to_string(), "30 in 1m");
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        for bad in ["", "30", "30 per 1m", "0 in 1m", "-1 in 1m", "1000001 in 1m", "30 in 0s", "30 in 2d"] {
            let advice = bad.parse::<Allowance>().unwrap_err();
            assert!(advice.starts_with("write "), "{bad}: {advice}");
        }
    }
}
