//! Client assertions (RFC 7521 §4.2, RFC 7523 §3, RFC 10070), the parts that need nothing but the text: reading one,
//! and judging what it says. Nothing in it is believed before its signature was verified; who does that is
//! [`super::private_key_jwt`].

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;

use crate::domain::client::Client;
use crate::domain::ids::ClientId;
use crate::domain::once::Purpose;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, ForeignKey, Object, TokenType, Unverified};
use crate::oauth::foreign_jwt::{LONGEST_JTI, REMEMBERED, Reason, audience, open, payload, time};
use crate::storage::UsedId;

/// The most characters of an assertion: four times one that is signed with an RSA key of 8192 bits.
const LONGEST: usize = 8_192;

/// How far another clock may be ahead of ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// An assertion that could be read. Its `Debug` form does not hold it: until it is used, whoever has it is the client.
pub struct Assertion {
    /// As it was sent.
    compact: String,
    /// Who it says it is about.
    pub client_id: ClientId,
    /// What it says it was signed with.
    pub algorithm: Algorithm,
    /// The key that it says it was signed with.
    pub kid: Option<String>,
    kind: Kind,
    claims: Result<Claims, Reason>,
}

/// What its header says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing, or just a JWT.
    Unsaid,
    /// `client-authentication+jwt`.
    Assertion,
}

/// What it says, every part of the right type.
#[derive(Debug)]
struct Claims {
    iss: String,
    aud: Vec<String>,
    exp: Timestamp,
    nbf: Option<Timestamp>,
    iat: Option<Timestamp>,
    jti: String,
}

/// What an assertion must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our issuer identifier.
    pub issuer: &'a str,
    /// Where tokens are asked for.
    pub token_endpoint: &'a str,
    /// The client.
    pub client: &'a Client,
    /// How far ahead its end may be.
    pub max_lifetime: Duration,
    /// When it came.
    pub now: Timestamp,
}

/// An assertion that says what it must.
#[derive(Debug)]
pub struct Held {
    /// What it uses up.
    pub used: UsedId,
    /// Whether only the client's legacy switch let its audience pass.
    pub legacy_audience: bool,
}

// === impl Assertion ===

impl Assertion {
    /// Reads one: the compact serialisation alone (RFC 7515 §7.1), with a header that is understood and the payload of
    /// a JSON object. What is wrong with the claims is kept until the signature was verified: before that it is
    /// nobody's.
    ///
    /// # Errors
    /// It cannot be read, or does not say which client it is of.
    pub fn read(compact: &str) -> Result<Self, Reason> {
        let unverified = open(compact, LONGEST)?;
        let said = kind(&unverified)?;
        let algorithm = unverified.algorithm();
        let claims = payload(&unverified)?;
        let sub =
            claims.get("sub").and_then(Value::as_str).ok_or("the assertion has no sub that is a text")?;
        let client_id = ClientId::new(sub).map_err(|_| "the assertion's sub is no client_id")?;
        let kid = unverified.key_id().map(str::to_owned);
        Ok(Self {
            compact: compact.to_owned(),
            client_id,
            algorithm,
            kid,
            kind: said,
            claims: Claims::read(&claims),
        })
    }

    /// Whether the signature is this key's.
    #[must_use]
    pub fn is_signed_with(&self, key: &ForeignKey) -> bool {
        // It was parsed before; once more costs less than keeping what borrows from the text.
        let Ok(unverified) = Unverified::parse(&self.compact) else { return false };
        key.with(self.algorithm).is_some_and(|key| unverified.is_signed_by(key))
    }

    /// Finds the key that it says it was signed with. Without a `kid`, the only one that fits.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn choose<K>(&self, keys: &[K], of: impl Fn(&K) -> &Arc<ForeignKey>) -> Result<usize, Reason> {
        let fits = |key: &K| {
            let key = of(key);
            key.with(self.algorithm).is_some() && self.kid.as_deref().is_none_or(|kid| kid == key.kid())
        };
        let mut fitting = keys.iter().enumerate().filter(|(_, key)| fits(key)).map(|(at, _)| at);
        match (fitting.next(), fitting.next(), &self.kid) {
            (Some(only), None, _) => Ok(only),
            (Some(_), Some(_), Some(_)) => {
                Err("several of the client's keys have the assertion's kid".into())
            }
            (Some(_), Some(_), None) => {
                Err("the assertion has no kid, and several of the client's keys fit its alg".into())
            }
            (None, _, Some(kid)) => {
                Err(format!("the client has no key with kid '{}' for {}", quoted(kid), self.algorithm).into())
            }
            (None, _, None) => Err(format!("the client has no key for {}", self.algorithm).into()),
        }
    }

    /// Judges what it says. Its signature was verified before.
    ///
    /// # Errors
    /// It does not say what it must, or is too old or too new.
    pub fn judge(&self, expected: &Expected<'_>) -> Result<Held, Reason> {
        if self.kind != Kind::Assertion && expected.client.assertion_type_required {
            return Err(
                "the assertion's typ is not client-authentication+jwt, as this client's must be".into()
            );
        }
        let claims = self.claims.as_ref().map_err(Clone::clone)?;
        if claims.iss != self.client_id.as_str() || self.client_id != expected.client.client_id {
            return Err("the assertion's iss is not its sub".into());
        }
        let legacy_audience = claims.judge_audience(expected)?;
        claims.judge_times(expected)?;
        // The client's id has no bound that a jti could be confused with, so its length stands before it.
        let client_id = self.client_id.as_str();
        let id = digest(&SHA256, format!("{}.{client_id}.{}", client_id.len(), claims.jti).as_bytes());
        let expires_at = claims.exp.plus(REMEMBERED);
        // Sooner it would have been refused: iat, or without one exp, would have been too far ahead.
        let made = claims.iat.unwrap_or_else(|| claims.exp.minus(expected.max_lifetime));
        let possible_since = made.minus(LEEWAY);
        let (id, issued_at) = (BASE64URL.encode(id), claims.iat);
        let used = UsedId { purpose: Purpose::ClientAssertion, id, issued_at, expires_at, possible_since };
        Ok(Held { used, legacy_audience })
    }
}

impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assertion").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The type of another kind of token is refused (RFC 8725 §3.11): an access token must not become an assertion.
fn kind(unverified: &Unverified<'_>) -> Result<Kind, Reason> {
    if unverified.is(TokenType::ClientAuthentication) {
        Ok(Kind::Assertion)
    } else if unverified.has_no_type() || unverified.is(TokenType::Jwt) {
        Ok(Kind::Unsaid)
    } else {
        Err("the assertion's typ is that of another kind of token".into())
    }
}

// === impl Claims ===

impl Claims {
    fn read(object: &Object) -> Result<Self, Reason> {
        let text = |name: &str| match object.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Reason::from(format!("the assertion's {name} is not a text"))),
            None => Err(format!("the assertion has no {name}").into()),
        };
        let jti = text("jti")?;
        if !(1..=LONGEST_JTI).contains(&jti.chars().count()) {
            return Err("the assertion's jti has not 1 to 256 characters".into());
        }
        Ok(Self {
            iss: text("iss")?,
            aud: audience(object.get("aud"))?,
            exp: time(object, "exp")?.ok_or("the assertion has no exp")?,
            nbf: time(object, "nbf")?,
            iat: time(object, "iat")?,
            jti,
        })
    }

    /// Our issuer is the only audience (RFC 10070). Whether the client's legacy switch was needed for it to pass: then
    /// the token endpoint may stand there too, and nothing else.
    fn judge_audience(&self, expected: &Expected<'_>) -> Result<bool, Reason> {
        if matches!(&self.aud[..], [only] if only == expected.issuer) {
            return Ok(false);
        }
        let ours = |value: &String| value == expected.issuer || value == expected.token_endpoint;
        if !self.aud.is_empty() && self.aud.iter().all(ours) {
            if expected.client.legacy_assertion_audience {
                return Ok(true);
            }
            return Err(
                "the assertion's aud is the token endpoint: let the client name the issuer alone, or switch \
                        on legacy_assertion_audience for it"
                    .into(),
            );
        }
        let said = self.aud.first().map(|first| quoted(first)).unwrap_or_default();
        Err(format!("the assertion's aud is not {} alone: it begins with '{said}'", expected.issuer).into())
    }

    fn judge_times(&self, expected: &Expected<'_>) -> Result<(), Reason> {
        let now = expected.now;
        if self.exp <= now {
            return Err(format!("the assertion has ended: exp is {}, at {now}", self.exp).into());
        }
        if self.exp > now.plus(expected.max_lifetime).plus(LEEWAY) {
            let most = expected.max_lifetime.as_secs();
            return Err(format!("the assertion's exp is over {most} s ahead: {}, at {now}", self.exp).into());
        }
        let ahead = now.plus(LEEWAY);
        for (name, time) in [("nbf", self.nbf), ("iat", self.iat)] {
            if let Some(time) = time.filter(|time| *time > ahead) {
                return Err(format!("the assertion's {name} is over 30 s ahead: {time}, at {now}").into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
