//! What a token must say: a list of checks, each with what it finds and what it wants.

use std::time::Duration;

use super::read::{Claimed, Kind};
use super::{Reason, UsedAs};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, TrustedIssuer};
use crate::oauth::foreign_jwt::LONGEST_JTI;

/// The most characters of a `sub`.
const LONGEST_SUBJECT: usize = 500;

/// A token, and what it is judged by.
pub(super) struct Judging<'a> {
    token: &'a Claimed,
    issuer: &'a TrustedIssuer,
    used_as: UsedAs,
    audience: &'a str,
    now: Timestamp,
}

/// One thing that a token must say. The texts are made only where somebody reads them.
pub(super) struct Check {
    /// What is looked at.
    pub(super) name: &'static str,
    /// Whether it is what it must be.
    pub(super) holds: fn(&Judging<'_>) -> bool,
    /// What it is.
    pub(super) found: fn(&Judging<'_>) -> String,
    /// What it must be.
    pub(super) wanted: fn(&Judging<'_>) -> String,
    /// What to do about it.
    pub(super) mend: fn(&Judging<'_>) -> String,
}

/// All of them. What is absent never holds, unless the check says so.
pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "typ",
        holds: |of| of.kinds().contains(&of.token.kind),
        found: |of| of.token.kind.as_str().to_owned(),
        wanted: |of| {
            let kinds: Vec<&str> = of.kinds().iter().map(|kind| kind.as_str()).collect();
            format!("one of: {}", kinds.join(", "))
        },
        mend: |_| {
            "present the token that the platform makes for this server, not one of another kind".to_owned()
        },
    },
    Check {
        name: "sub",
        holds: |of| of.token.text("sub").is_some_and(is_subject),
        found: |of| of.shown("sub"),
        wanted: |_| format!("a text of 1 to {LONGEST_SUBJECT} printable characters"),
        mend: |_| "have the issuer say who the token is about".to_owned(),
    },
    Check {
        name: "trust domain",
        holds: |of| {
            of.issuer.profile != IssuerProfile::Spiffe
                || of.token.spiffe_id().is_some_and(|id| id.trust_domain_id() == of.issuer.issuer)
        },
        found: |of| of.shown("sub"),
        wanted: |of| match of.issuer.profile {
            IssuerProfile::Spiffe => format!("a SPIFFE ID of {}", of.issuer.issuer),
            IssuerProfile::Jwt => "anything: the issuer is no SPIFFE trust domain".to_owned(),
        },
        mend: |_| "register the trust domain that the token's sub is in".to_owned(),
    },
    Check {
        name: "aud",
        holds: |of| matches!(of.token.audience().as_deref(), Ok([only]) if only == of.audience),
        found: |of| match of.token.audience() {
            Ok(all) if all.is_empty() => "an empty list".to_owned(),
            Ok(all) => {
                all.iter().take(10).map(|one| format!("'{}'", quoted(one))).collect::<Vec<_>>().join(", ")
            }
            Err(why) => why.into_owned(),
        },
        wanted: |of| format!("'{}' alone", of.audience),
        mend: |of| {
            let mend = format!("have the platform make the token for the audience '{}'", of.audience);
            match of.used_as {
                UsedAs::SpiffeAssertion => mend,
                _ => format!("{mend}, or change the trusted issuer's audience"),
            }
        },
    },
    Check {
        name: "exp",
        holds: |of| matches!(of.token.time("exp"), Ok(Some(exp)) if exp.plus(of.issuer.leeway) > of.now),
        found: |of| of.time_shown("exp"),
        wanted: |of| format!("a time after {}, with {} leeway", of.now, seconds(of.issuer.leeway)),
        mend: |_| "fetch a new token; if it is new, compare the clocks".to_owned(),
    },
    Check {
        name: "nbf",
        holds: |of| match of.token.time("nbf") {
            Ok(nbf) => nbf.is_none_or(|nbf| of.has_come(nbf)),
            Err(_) => false,
        },
        found: |of| of.time_shown("nbf"),
        wanted: |of| format!("no time after {}, with {} leeway", of.now, seconds(of.issuer.leeway)),
        mend: |_| "wait; or compare the clocks, or give the trusted issuer more leeway".to_owned(),
    },
    Check {
        name: "iat",
        // Of a JWT-SVID too, whose specification only recommends it: without it nobody knows how long it is good for.
        holds: |of| matches!(of.token.time("iat"), Ok(Some(iat)) if of.has_come(iat)),
        found: |of| of.time_shown("iat"),
        wanted: |of| format!("a time not after {}, with {} leeway", of.now, seconds(of.issuer.leeway)),
        mend: |_| "compare the clocks, or give the trusted issuer more leeway".to_owned(),
    },
    Check {
        name: "lifetime",
        holds: |of| of.lifetime().is_some_and(|lifetime| (0..=of.most_seconds()).contains(&lifetime)),
        found: |of| of.lifetime().map_or_else(|| "not known".to_owned(), |lifetime| format!("{lifetime} s")),
        wanted: |of| format!("0 s to {} from iat to exp", seconds(of.issuer.max_lifetime)),
        mend: |of| match of.lifetime() {
            Some(..0) => "it ends before it begins: have the issuer correct its times".to_owned(),
            _ => {
                "ask the platform for a shorter token, or raise the trusted issuer's max_lifetime".to_owned()
            }
        },
    },
    Check {
        name: "jti",
        holds: |of| {
            let fits = |jti: &str| (1..=LONGEST_JTI).contains(&jti.chars().count());
            !of.token.has("jti") || of.token.text("jti").is_some_and(fits)
        },
        found: |of| of.shown("jti"),
        wanted: |_| format!("absent, or a text of 1 to {LONGEST_JTI} characters"),
        mend: |_| "have the issuer name its tokens with texts".to_owned(),
    },
    Check {
        name: "cnf",
        // Of a subject or an actor the proof is asked for. As an assertion nobody proves anything beside it: there what
        // is bound to a key must not count for whoever holds it (RFC 7800).
        holds: |of| of.used_as == UsedAs::SubjectToken || !of.token.has("cnf"),
        found: |of| if of.token.has("cnf") { "there: it is bound to a key" } else { "absent" }.to_owned(),
        wanted: |of| match of.used_as {
            UsedAs::SubjectToken => "anything: it has to be proven then".to_owned(),
            _ => "absent".to_owned(),
        },
        mend: |_| "present a token that is bound to no key".to_owned(),
    },
];

// === impl Judging ===

impl<'a> Judging<'a> {
    pub(super) const fn new(
        token: &'a Claimed,
        issuer: &'a TrustedIssuer,
        used_as: UsedAs,
        audience: &'a str,
        now: Timestamp,
    ) -> Self {
        Self { token, issuer, used_as, audience, now }
    }

    /// Whether it says all that it must. Its signature was verified before.
    pub(super) fn judge(&self) -> Result<(), Reason> {
        match CHECKS.iter().find(|check| !(check.holds)(self)) {
            None => Ok(()),
            Some(check) => {
                let (found, wanted) = ((check.found)(self), (check.wanted)(self));
                Err(format!("the token's {} is {found}, and must be {wanted}", check.name).into())
            }
        }
    }

    /// The `typ`s of what it is presented as: a token of another kind must not become it (RFC 8725 §3.11).
    fn kinds(&self) -> &'static [Kind] {
        match (self.issuer.profile, self.used_as) {
            (IssuerProfile::Spiffe, _) => &[Kind::Unsaid, Kind::Jwt, Kind::Jose],
            (IssuerProfile::Jwt, UsedAs::SubjectToken) => &[Kind::Unsaid, Kind::Jwt, Kind::AccessToken],
            (IssuerProfile::Jwt, UsedAs::Grant) => &[Kind::Unsaid, Kind::Jwt],
            (IssuerProfile::Jwt, _) => &[Kind::Unsaid, Kind::Jwt, Kind::ClientAuthentication],
        }
    }

    fn has_come(&self, time: Timestamp) -> bool {
        time <= self.now.plus(self.issuer.leeway)
    }

    /// How many seconds the token is good for.
    fn lifetime(&self) -> Option<i64> {
        let (exp, iat) = (self.token.time("exp").ok()??, self.token.time("iat").ok()??);
        Some(exp.as_seconds().saturating_sub(iat.as_seconds()))
    }

    fn most_seconds(&self) -> i64 {
        i64::try_from(self.issuer.max_lifetime.as_secs()).unwrap_or(i64::MAX)
    }

    fn shown(&self, name: &str) -> String {
        match self.token.text(name) {
            Some(text) => format!("'{}'", quoted(text)),
            None if self.token.has(name) => "no text".to_owned(),
            None => "absent".to_owned(),
        }
    }

    fn time_shown(&self, name: &str) -> String {
        match self.token.time(name) {
            Ok(None) => "absent".to_owned(),
            Ok(Some(time)) => {
                let off = time.as_seconds() - self.now.as_seconds();
                let side = if off < 0 { "ago" } else { "ahead" };
                format!("{time}, {} s {side}", off.unsigned_abs())
            }
            Err(why) => why.into_owned(),
        }
    }
}

fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
