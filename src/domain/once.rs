//! Identifiers that count once, while the database that knows which were used is away.
//!
//! An assertion or a proof may have been used at another replica, whose use only the database tells. What was made
//! after the outage began cannot have been used before it; of what was made earlier, or of what does not say when it
//! was made, nobody can tell. Two replicas that are in an outage at the same time may each take one that was made in
//! it: that is found out when their events are written, and recorded (`docs/outages.md`).

use std::time::Duration;

use super::time::Timestamp;
use super::words::words;

words! {
    /// What an identifier that counts once is of. The same text for another purpose is another identifier. The words
    /// are in the database and in spools, and never change.
    Purpose {
        /// The `jti` of an assertion that a client signs (RFC 7523 §3).
        ClientAssertion = "client_assertion",
        /// That of a DPoP proof (RFC 9449 §11.1).
        DpopProof = "dpop",
        /// That of a trusted issuer's token, or the token itself.
        OutsideToken = "outside_token",
    }
}

/// How far a caller's clock may be ahead for what it says of a time to be believed.
pub const AHEAD: Duration = Duration::from_secs(30);

/// What can be said of an identifier without the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was not used before this outage began, nor here in it.
    First,
    /// It was used here.
    Again,
    /// It may have been used before.
    Unknown,
}

/// What can be said of an identifier at `now`, in an outage that began at `began`. `issued_at` is when what it is of
/// was made, by the clock of whoever made it; `used_here` whether this process remembers its use.
#[must_use]
pub fn judge(began: Timestamp, now: Timestamp, issued_at: Option<Timestamp>, used_here: bool) -> Use {
    if used_here {
        return Use::Again;
    }
    match issued_at {
        Some(issued_at) if issued_at > began && issued_at <= now.plus(AHEAD) => Use::First,
        _ => Use::Unknown,
    }
}

/// Whether a use has to be remembered after the database was told of it: in an outage that begins later, [`judge`]
/// would take it for the first one, because the caller's clock is ahead.
#[must_use]
pub fn must_be_remembered(now: Timestamp, issued_at: Option<Timestamp>) -> bool {
    issued_at.is_some_and(|issued_at| issued_at > now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn purposes_are_ordered_like_their_words_because_replicas_lock_identifiers_in_one_order() {
        assert!(Purpose::ALL.is_sorted());
        assert!(Purpose::ALL.iter().map(|purpose| purpose.as_str()).is_sorted());
    }

    proptest! {
        /// Made at a time, used at some replica, presented again here: never taken for the first use, if that was
        /// before the outage began, or here. Clocks are right to the second that a token is written with.
        #[test]
        fn what_was_used_before_the_outage_or_here_is_never_first(
            made in 0_i64..100_000, later in 0_i64..60_000, began in 0_i64..100_000, again in 0_i64..60_000,
            here: bool,
        ) {
            let used = made + later;
            let presented = used.max(began) + again;
            prop_assume!(used <= began || here);
            let issued_at = Timestamp::from_seconds(made / 1_000);
            let judged = judge(at(began), at(presented), Some(issued_at), here);
            prop_assert_ne!(judged, Use::First);
        }

        /// The same for what this process has told the database of, though the caller's clock is ahead.
        #[test]
        fn what_was_used_here_is_never_first_whatever_the_callers_clock(
            used in 0_i64..100_000, ahead in -60_000_i64..60_000, outage in 0_i64..100_000, again in 0_i64..60_000,
        ) {
            let (issued_at, began) = (Some(at(used + ahead)), at(used + outage));
            let remembered = must_be_remembered(at(used), issued_at);
            prop_assert_ne!(judge(began, at(used + outage + again), issued_at, remembered), Use::First);
        }

        #[test]
        fn what_was_made_in_the_outage_counts_once(began in 0_i64..100_000, after in 1_i64..60_000) {
            let made = at(began + after);
            prop_assert_eq!(judge(at(began), made, Some(made), false), Use::First);
            prop_assert_eq!(judge(at(began), made, Some(made), true), Use::Again);
        }
    }

    #[test]
    fn what_does_not_say_when_it_was_made_or_says_the_future_is_not_decided() {
        assert_eq!(judge(at(10), at(20), None, false), Use::Unknown);
        assert_eq!(judge(at(10), at(20), Some(at(20).plus(AHEAD)), false), Use::First);
        assert_eq!(judge(at(10), at(20), Some(at(21).plus(AHEAD)), false), Use::Unknown);
    }
}
