//! When signing keys are made and when they leave, and the arithmetic that keeps every verifier served.
//!
//! A verifier accepts a token if the key set that it keeps has the token's key. That set may be as old as its
//! cache, made from what a replica knew a while before, by a clock that was a little off. So a key is published
//! for the lead before it signs, and stays for a while after it has:
//!
//! ```text
//! lead ≥ verifier cache + staleness of a replica + time to write + 2 × clock tolerance
//! keep ≥ longest token  + leeway of verifiers    + 2 × clock tolerance
//! ```
//!
//! A [`Schedule`] for which this does not hold cannot be made. `rotation_simulator.rs` shows with a simulator that
//! nobody is refused under it, and that somebody is with a moment less.

use std::fmt;
use std::time::Duration;

/// The shortest time in which every replica has heard of a change for certain: it asks twice in it, and a little.
pub const HEARD: Duration = Duration::from_millis(1_200);

/// The longest that storing a key may take.
const WRITE: Duration = Duration::from_secs(5);

/// What must not be published at a time: a set of keys that nobody wants to fetch.
const MOST_KEYS: u32 = 50;

/// What an operator says of keys, tokens and verifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a key signs: `keys.rotate_every`.
    pub every: Duration,
    /// How long it is published before: `keys.publish_ahead`.
    pub lead: Duration,
    /// The longest that any verifier keeps a fetched key set: `keys.verifier_cache`.
    pub verifier_cache: Duration,
    /// How far a replica's or the database's clock may be off: `keys.clock_tolerance`.
    pub clock_tolerance: Duration,
    /// How much longer than its `exp` a verifier may accept a token: `keys.verifier_leeway`.
    pub verifier_leeway: Duration,
    /// The longest lifetime of a token: `tokens.max_lifetime`.
    pub longest_token: Duration,
}

/// A [`Timing`] that breaks no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule(Timing);

/// A timing would break verifiers, or publish too many keys; the sum is in the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// A key would sign before everybody has it.
    #[error(
        "{lead} is too short: a verifier may use a key set that is {cache} (keys.verifier_cache) + {heard} (until \
         every replica has heard of a new key) + {write} (to store it) + 2 × {tolerance} (keys.clock_tolerance) = \
         {least} old; write at least that, or lower keys.verifier_cache if no verifier keeps keys for so long"
    )]
    Lead {
        /// What was given.
        lead: Span,
        /// The verifiers' cache.
        cache: Span,
        /// [`HEARD`].
        heard: Span,
        /// How long storing a key may take.
        write: Span,
        /// The clock tolerance.
        tolerance: Span,
        /// The shortest lead.
        least: Span,
    },
    /// Too many keys would be published.
    #[error(
        "{every} is too often: each key is published for {published} (keys.publish_ahead + tokens.max_lifetime + \
         keys.verifier_leeway + 2 × keys.clock_tolerance) beside the time it signs, and more than {MOST_KEYS} keys \
         would be published at a time; write at least {least}"
    )]
    Every {
        /// What was given.
        every: Span,
        /// How long a key is published without signing.
        published: Span,
        /// The shortest interval.
        least: Span,
    },
}

/// A duration as people write it: `30d`, `2h 15m`, `1.2s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

// === impl Timing ===

impl Timing {
    /// What is kept unless an operator says otherwise: a key signs for 30 days and is published a day ahead. Some
    /// gateways keep key sets for two hours.
    #[must_use]
    pub const fn usual(longest_token: Duration) -> Self {
        Self {
            every: Duration::from_hours(24 * 30),
            lead: Duration::from_hours(24),
            verifier_cache: Duration::from_hours(2),
            clock_tolerance: Duration::from_secs(30),
            verifier_leeway: Duration::from_mins(1),
            longest_token,
        }
    }

    /// How long storing a key may take: short against the lead.
    fn write(&self) -> Duration {
        WRITE.min(self.lead / 10)
    }

    /// How much of the lead verifiers, clocks and writing need.
    fn needed(&self) -> Duration {
        self.verifier_cache + self.write() + 2 * self.clock_tolerance
    }

    /// The shortest lead. Storing may take a tenth of it.
    pub(super) fn least_lead(&self) -> Duration {
        let others = self.verifier_cache + HEARD + 2 * self.clock_tolerance;
        (others + WRITE).min(others * 10 / 9 + Duration::from_millis(1))
    }

    /// How long a key is published after the last token that it signs, if none lives longer than this.
    fn keep(&self, longest_token: Duration) -> Duration {
        longest_token.max(self.longest_token) + self.verifier_leeway + 2 * self.clock_tolerance
    }
}

// === impl Schedule ===

impl Schedule {
    /// A schedule that breaks no verifier.
    ///
    /// # Errors
    /// It would; with the sum.
    pub fn new(timing: Timing) -> Result<Self, Unsafe> {
        let least = timing.least_lead();
        if timing.lead < least {
            return Err(Unsafe::Lead {
                lead: Span(timing.lead),
                cache: Span(timing.verifier_cache),
                heard: Span(HEARD),
                write: Span(WRITE.min(least / 10)),
                tolerance: Span(timing.clock_tolerance),
                least: Span(least),
            });
        }
        let published = timing.lead + timing.keep(timing.longest_token);
        let least = published / MOST_KEYS;
        if timing.every < least || timing.every.is_zero() {
            return Err(Unsafe::Every {
                every: Span(timing.every),
                published: Span(published),
                least: Span(least.max(Duration::from_millis(1))),
            });
        }
        Ok(Self(timing))
    }

    /// [`Timing::usual`], which is safe for any token lifetime that can be configured.
    #[must_use]
    pub const fn usual(longest_token: Duration) -> Self {
        Self(Timing::usual(longest_token))
    }

    /// How long a key signs.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.0.every
    }

    /// How long a key is published before it signs.
    #[must_use]
    pub const fn lead(&self) -> Duration {
        self.0.lead
    }

    /// How long a key is published after the next one has begun to sign, if it has signed tokens of up to this
    /// lifetime: perhaps under another setting.
    #[must_use]
    pub fn keep(&self, longest_token: Duration) -> Duration {
        self.0.keep(longest_token)
    }

    /// The longest lifetime of a token.
    #[must_use]
    pub const fn longest_token(&self) -> Duration {
        self.0.longest_token
    }

    /// How old a replica's knowledge of the keys may be for it to sign, and to publish them: what is left of the
    /// lead.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.0.lead.saturating_sub(self.0.needed())
    }

    /// How long storing a key may take, from reading the clock.
    #[must_use]
    pub fn write(&self) -> Duration {
        self.0.write()
    }

    /// The longest that a verifier keeps a fetched key set.
    #[must_use]
    pub const fn verifier_cache(&self) -> Duration {
        self.0.verifier_cache
    }

    /// How far a clock may be off.
    #[must_use]
    pub const fn clock_tolerance(&self) -> Duration {
        self.0.clock_tolerance
    }
}

// === impl Unsafe ===

impl Unsafe {
    /// The setting to change.
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        match self {
            Self::Lead { .. } => "keys.publish_ahead",
            Self::Every { .. } => "keys.rotate_every",
        }
    }
}

// === impl Span ===

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 5] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        // A shortest time that is printed must be enough when it is copied.
        let mut left = self.0.as_nanos().div_ceil(1_000_000);
        if left == 0 {
            return f.write_str("0s");
        }
        let mut separator = "";
        for (millis, unit) in UNITS {
            if left >= millis {
                write!(f, "{separator}{}{unit}", left / millis)?;
                left %= millis;
                separator = " ";
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    /// Numbers with the units `d`, `h`, `m`, `s` and `ms`, largest first.
    fn from_str(text: &str) -> Result<Self, String> {
        let advice = || "write a time such as 30d, 2h 15m or 500ms".to_owned();
        let mut millis = 0_u64;
        let mut rest = text.trim();
        let mut smaller_than = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| advice())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &rest[..letters] {
                "d" => 86_400_000,
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(advice()),
            };
            if unit >= smaller_than {
                return Err(advice());
            }
            smaller_than = unit;
            millis = number.checked_mul(unit).and_then(|more| millis.checked_add(more)).ok_or_else(advice)?;
            rest = rest[letters..].trim_start();
        }
        // A century is beyond any sense, and far within what instants can be moved by.
        if smaller_than == u64::MAX || millis > 36_525 * 86_400_000 {
            return Err(advice());
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timing() -> Timing {
        Timing::usual(Duration::from_hours(1))
    }

    #[test]
    fn the_defaults_are_safe_and_leave_a_day_without_a_database() {
        let schedule = Schedule::new(timing()).unwrap();
        assert!(schedule.staleness() > Duration::from_hours(21));
        assert_eq!(schedule.keep(Duration::ZERO), Duration::from_mins(62));
    }

    #[test]
    fn a_short_lead_is_refused_with_the_sum() {
        let lead = Duration::from_hours(2);
        let text = Schedule::new(Timing { lead, ..timing() }).unwrap_err().to_string();
        assert!(text.contains("2h is too short") && text.contains("= 2h 1m 6s 200ms old"), "{text}");
    }

    #[test]
    fn rotating_too_often_is_refused_with_the_least() {
        let text =
            Schedule::new(Timing { every: Duration::from_mins(29), ..timing() }).unwrap_err().to_string();
        assert!(text.contains("29m is too often") && text.contains("at least 30m 2s 400ms"), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_said_to_be_enough_is_enough(
            every in 0_u64..100_000, lead in 0_u64..100_000, cache in 0_u64..100_000,
            tolerance in 0_u64..10_000, leeway in 0_u64..10_000, token in 1_000_u64..100_000,
        ) {
            let millis = Duration::from_millis;
            let mut timing = Timing {
                every: millis(every), lead: millis(lead), verifier_cache: millis(cache),
                clock_tolerance: millis(tolerance), verifier_leeway: millis(leeway), longest_token: millis(token),
            };
            for _ in 0..3 {
                match Schedule::new(timing) {
                    Ok(schedule) => {
                        prop_assert!(schedule.staleness() >= HEARD);
                        return Ok(());
                    }
                    Err(Unsafe::Lead { least, .. }) => timing.lead = least.to_string().parse::<Span>().unwrap().0,
                    Err(Unsafe::Every { least, .. }) => timing.every = least.to_string().parse::<Span>().unwrap().0,
                }
            }
            prop_assert!(false, "the advice does not come to an end: {timing:?}");
        }

        #[test]
        fn a_span_is_read_as_it_is_written(millis in 0_u64..4_000_000_000) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for bad in ["", "1", "d", "1w", "1s 1h", "1h1h", "-1s", "1.5h", "99999999999999999999d", "40000d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
