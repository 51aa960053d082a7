//! How long one waits between attempts to sign in: nothing at first, then twice as long each time, never more than a
//! quarter of an hour. Nobody is locked out for longer by somebody else's guessing.

use std::time::Duration;

/// The longest wait.
pub const LONGEST: Duration = Duration::from_mins(15);

/// After so long without an attempt, those before are forgotten. Longer than the longest wait, or waiting would forget.
pub const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// What attempts are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// One account, whoever tries.
    Account,
    /// One address, whichever account it tries. Many people may share one.
    Address,
}

// === impl Counted ===

impl Counted {
    /// How many failures cost nothing.
    #[must_use]
    pub const fn free(self) -> u32 {
        match self {
            Self::Account => 5,
            Self::Address => 20,
        }
    }

    /// How long the next attempt has to wait after so many failures.
    #[must_use]
    pub fn wait(self, failures: u32) -> Duration {
        match failures.checked_sub(self.free()) {
            None => Duration::ZERO,
            Some(beyond) => {
                Duration::from_secs(1_u64.checked_shl(beyond.min(32)).unwrap_or(u64::MAX)).min(LONGEST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> =
            [0, 4, 5, 6, 7, 14, 15, 1_000, u32::MAX].map(|n| Counted::Account.wait(n).as_secs()).to_vec();
        assert_eq!(waits, [0, 0, 1, 2, 4, 512, 900, 900, 900]);
        assert_eq!(Counted::Address.wait(19), Duration::ZERO);
        assert_eq!(Counted::Address.wait(20), Duration::from_secs(1));
        assert!(FORGOTTEN_AFTER > LONGEST);
    }
}
