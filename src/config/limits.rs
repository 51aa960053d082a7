//! `[limits]`: what failures and costly checks may take.

use std::num::NonZeroUsize;

use super::Settings;
use super::values::off_or;
use crate::domain::allowance::Allowance;

/// What failures and costly checks may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much may fail for one client at one address; `None` is no limit.
    pub failures_per_client: Option<Allowance>,
    /// How much may fail for all clients at one address; `None` is no limit.
    pub failures_per_address: Option<Allowance>,
    /// How many costly checks of secrets run at a time; on half of the cores, if nobody says.
    pub costly_checks: Option<NonZeroUsize>,
    /// How many of them there may be, those that wait among them.
    pub costly_waiting: NonZeroUsize,
}

// === impl Limits ===

impl Limits {
    /// With 40 ms each on one core, the last of them waits for two or three seconds, and callers do not wait much
    /// longer for an answer.
    const COSTLY_WAITING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures_per_client: Some(Allowance::PER_CLIENT),
            failures_per_address: Some(Allowance::PER_ADDRESS),
            costly_checks: None,
            costly_waiting: Self::COSTLY_WAITING,
        }
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn limits(&mut self) -> Limits {
        let usual = Limits::default();
        let mut failures = |name: &str, usual| self.take(name, off_or(str::parse)).unwrap_or(usual);
        let failures_per_client = failures("limits.failures_per_client", usual.failures_per_client);
        let failures_per_address = failures("limits.failures_per_address", usual.failures_per_address);
        let costly_checks = self.take("limits.costly_checks", |text| count(text, 256));
        let costly_waiting = self.take("limits.costly_waiting", |text| count(text, 100_000));
        Limits {
            failures_per_client,
            failures_per_address,
            costly_checks,
            costly_waiting: costly_waiting.unwrap_or(usual.costly_waiting),
        }
    }
}

fn count(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= most);
    count.ok_or_else(|| format!("write a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn limits(name: &str, value: &str) -> Result<super::Limits, String> {
        let environment = [(format!("JETON_LIMITS__{name}"), value.to_owned())];
        Config::load(None, environment).map(|config| config.limits).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_a_number_in_a_time_or_off() {
        assert_eq!(limits("FAILURES_PER_CLIENT", "off").unwrap().failures_per_client, None);
        let five = limits("FAILURES_PER_ADDRESS", "5 in 10s").unwrap().failures_per_address;
        assert_eq!(five.unwrap().to_string(), "5 in 10s");
        assert_eq!(limits("COSTLY_CHECKS", "3").unwrap().costly_checks.unwrap().get(), 3);
        for (name, bad, advice) in [
            ("FAILURES_PER_CLIENT", "30", "30 in 1m"),
            ("FAILURES_PER_ADDRESS", "none", "or off"),
            ("COSTLY_CHECKS", "0", "from 1 to 256"),
            ("COSTLY_WAITING", "-1", "from 1 to 100000"),
        ] {
            let problem = limits(name, bad).unwrap_err();
            assert!(problem.contains(advice), "{problem}");
        }
    }
}
