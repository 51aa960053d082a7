//! Times as people read them. Everything is in UTC, and says so.

use crate::domain::time::Timestamp;

/// `2026-11-22 08:00 UTC`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what a template passes")]
pub(super) fn minute(at: &Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

/// For a field of the type `datetime-local`, as a browser sends it back: without seconds when they are zero (HTML, "valid
/// normalized local date and time string"). Otherwise an end that nobody has touched would look changed.
pub(super) fn field(at: Option<Timestamp>) -> String {
    let text = at.map(|at| at.to_string()).unwrap_or_default();
    let text = text.get(..19).unwrap_or_default();
    text.strip_suffix(":00").unwrap_or(text).to_owned()
}

/// How long something lasts, in one unit: `5 minutes`, `3 days`.
pub(super) fn span(seconds: i64) -> String {
    let (number, unit) = match seconds.unsigned_abs() {
        seconds @ 0..60 => (seconds, "second"),
        seconds @ 60..3_600 => (seconds / 60, "minute"),
        seconds @ 3_600..86_400 => (seconds / 3_600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    many(number, unit)
}

/// How long ago something was.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.as_seconds().saturating_sub(since.as_seconds()).max(0))
}

/// A number of things.
pub(super) fn many(number: impl std::fmt::Display, thing: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// A number of things, as those that have something: `1 client has`, `2 clients have`.
pub(super) fn have(number: impl std::fmt::Display, thing: &str) -> String {
    let told = many(number, thing);
    let verb = if told.starts_with("1 ") { "has" } else { "have" };
    format!("{told} {verb}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_one_unit() {
        for (seconds, told) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_199, "1 hour"),
            (86_400, "1 day"),
            (864_000, "10 days"),
            (-60, "1 minute"),
            (i64::MIN, "106751991167300 days"),
        ] {
            assert_eq!(span(seconds), told);
        }
    }

    #[test]
    fn a_time_is_told_to_the_minute() {
        let at = Timestamp::from_seconds(1_795_334_445);
        assert_eq!(minute(&at), "2026-11-22 08:00 UTC");
        assert_eq!(field(Some(at)), "2026-11-22T08:00:45");
        assert_eq!(field(Some(at.minus(std::time::Duration::from_secs(45)))), "2026-11-22T08:00");
        assert_eq!(field(None), "");
    }
}
