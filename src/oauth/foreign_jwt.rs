//! JWTs that somebody else has signed, client assertions and tokens of trusted issuers: what of reading one is the same
//! for both (RFC 7515 §7.1, RFC 7519 §4.1, RFC 7523 §3).

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::jose::{ForeignKey, Object, Unverified};

/// The most characters of a `jti`.
pub(super) const LONGEST_JTI: usize = 256;

/// How much longer than an assertion is accepted its `jti` is remembered: another replica's clock may be behind.
pub(super) const REMEMBERED: Duration = Duration::from_mins(5);

/// The latest time that is read, 9999-12-31: beyond it there is no text for it.
const LATEST: i64 = 253_402_300_799;

/// Why a token does not count, for the audit. It never holds the token.
pub type Reason = Cow<'static, str>;

/// Reads the header of an assertion, for which the rules are the same whoever signed it.
///
/// # Errors
/// It is too long, no compact JWS, signed with what is not accepted, or brings a key.
pub(super) fn open(compact: &str, longest: usize) -> Result<Unverified<'_>, Reason> {
    if compact.len() > longest {
        return Err(format!("the assertion is over {longest} characters").into());
    }
    let unverified = Unverified::parse(compact).map_err(|error| format!("the assertion: {error}"))?;
    let algorithm = unverified.algorithm();
    if !ForeignKey::ALGORITHMS.contains(&algorithm) {
        return Err(format!("the assertion is signed with {algorithm}, which is not accepted").into());
    }
    if unverified.names_a_key() {
        return Err("the assertion's header has jwk, jku, x5c or x5u: the registered keys count alone".into());
    }
    Ok(unverified)
}

/// What it says, of which nothing is believed yet.
///
/// # Errors
/// It is no JSON object.
pub(super) fn payload(unverified: &Unverified<'_>) -> Result<Object, Reason> {
    Ok(unverified.claimed().ok_or(
        "the assertion's payload is not the base64url of a JSON object in which every member stands once",
    )?)
}

/// One text, or several (RFC 7519 §4.1.3).
pub(super) fn audience(value: Option<&Value>) -> Result<Vec<String>, Reason> {
    let wrong = || Reason::from("the assertion's aud is neither a text nor an array of texts");
    match value {
        None => Err("the assertion has no aud".into()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) => {
            several.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// A `NumericDate` (RFC 7519 §2): a number of seconds, which may have a fraction.
pub(super) fn time(object: &Object, name: &str) -> Result<Option<Timestamp>, Reason> {
    let Some(value) = object.get(name) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range is not taken")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
    let seconds = seconds.filter(|seconds| (0..=LATEST).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| Reason::from(format!("the assertion's {name} is no time in seconds")))?;
    Ok(Some(Timestamp::from_seconds(seconds)))
}
