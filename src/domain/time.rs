//! An instant, as the database and the tokens see it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A day of the audit, in UTC.
pub const DAY: Duration = Duration::from_hours(24);

/// An hour of the statistics.
pub const HOUR: Duration = Duration::from_hours(1);

/// Microseconds since the Unix epoch.
///
/// One integer in the database and in memory, so that both engines sort and compare it alike. It is
/// RFC 3339 text in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an RFC 3339 time such as 2026-11-22T08:00:00Z, within the year 9999")]
pub struct NotATime;

// === impl Timestamp ===

impl Timestamp {
    /// From microseconds since the epoch, as stored.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch, as a JWT `NumericDate` carries them.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the epoch, as stored.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: a token never claims a later end than it has.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// Milliseconds since the epoch, as a UUIDv7 carries them; zero before the epoch.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000)).unwrap_or(0)
    }

    /// The beginning of this instant's day in UTC.
    #[must_use]
    pub const fn start_of_day(self) -> Self {
        const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
        Self(self.0.div_euclid(MICROS_PER_DAY).saturating_mul(MICROS_PER_DAY))
    }

    /// The beginning of this instant's hour.
    #[must_use]
    pub const fn start_of_hour(self) -> Self {
        const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
        Self(self.0.div_euclid(MICROS_PER_HOUR).saturating_mul(MICROS_PER_HOUR))
    }

    /// This instant's day in UTC, as eight digits: `20261122`.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().chars().take(10).filter(char::is_ascii_digit).collect()
    }

    /// This instant moved later; it stops at the end of time instead of overflowing.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant moved earlier; it stops at the beginning of time instead of overflowing.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads RFC 3339 text, for example `2026-11-22T08:00:00Z`.
    ///
    /// # Errors
    /// The text is not an RFC 3339 date and time with an offset, or not one that can be written back: the
    /// year in UTC has more than four digits.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotATime)?;
        let at = at.checked_to_offset(UtcOffset::UTC).filter(|at| (0..=9_999).contains(&at.year()));
        let nanos = at.ok_or(NotATime)?.unix_timestamp_nanos();
        i64::try_from(nanos.div_euclid(1_000)).map(Self).map_err(|_| NotATime)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            // Years beyond 9999, which RFC 3339 cannot write.
            None => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let at = Timestamp::from_micros(1_795_334_400_123_456);
        assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
    }

    #[test]
    fn what_cannot_be_written_is_not_read() {
        assert!(Timestamp::parse("9999-12-31T23:59:59-12:00").is_err());
        assert!(Timestamp::parse("9999-12-31T23:59:59Z").is_ok());
    }

    #[test]
    fn seconds_round_down() {
        assert_eq!(Timestamp::from_micros(1_999_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_micros(-1).as_seconds(), -1);
    }

    #[test]
    fn the_end_of_time_is_a_wall_not_a_wrap() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.plus(Duration::from_secs(1)), last);
    }
}
