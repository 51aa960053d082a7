//! Identities from elsewhere: whom a token of a trusted issuer is about, and how our own tokens name such a one.
//!
//! A token of ours about somebody from elsewhere says as `sub` the trusted issuer's name here, a bar, and what that
//! issuer calls them. That text alone proves nothing: a client may be registered under any. What marks such a token
//! is `sub_id` (RFC 9493), and whatever decides anything goes by that.
//!
//! Trusted issuers may call themselves the same, as Kubernetes clusters do. Their names here differ, so what we call
//! somebody is one somebody's; what such an issuer calls them is not.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::acting::{Act, MOST_ACTORS, MayAct, SubId};
use super::error::OAuthError;
use super::ids::TrustedIssuerName;
use super::text::quoted;
use super::time::Timestamp;
use super::trust::TrustedIssuer;
use crate::jose::Object;

/// The most characters of what an issuer calls somebody: it goes into tokens of ours.
const LONGEST: usize = 500;

/// What stands between an issuer's name, which never has one, and what it calls somebody.
const BAR: char = '|';

/// Somebody from elsewhere, as a verified token says.
#[derive(Clone)]
pub struct OutsideIdentity {
    /// Who vouches for them.
    pub issuer: Arc<TrustedIssuer>,
    /// What that issuer calls them.
    pub subject: String,
    /// What conditions are judged on: all that the issuer's token says, or `iss` and `sub` where a token of ours names
    /// them, which says no more.
    pub claims: Object,
    /// Whether another trusted issuer calls itself the same.
    is_namesake: bool,
}

/// Whoever knows the trusted issuers, enabled and disabled ones.
pub trait Issuers {
    /// The one of this name here.
    fn named(&self, name: &TrustedIssuerName) -> Option<Arc<TrustedIssuer>>;

    /// All that call themselves so.
    fn called(&self, issuer: &str) -> Vec<Arc<TrustedIssuer>>;
}

// === impl OutsideIdentity ===

impl OutsideIdentity {
    /// Why a token does not count whose trusted issuer is known, and disabled.
    pub const DISABLED: &str = "a trusted issuer that stands behind it is disabled";

    /// Whom a token of a trusted issuer is about.
    ///
    /// # Errors
    /// What it calls them does not fit into a token of ours.
    pub fn new(
        known: &impl Issuers,
        issuer: Arc<TrustedIssuer>,
        subject: String,
        claims: Object,
    ) -> Result<Self, OAuthError> {
        if !is_subject(&subject) {
            return Err(OAuthError::invalid_request(
                "the sub of a trusted issuer's token must be 1 to 500 printable characters",
            ));
        }
        Ok(Self { is_namesake: is_namesake(known, &issuer), issuer, subject, claims })
    }

    /// Whom a token of ours from `made` means by this `sub` with a `sub_id`.
    ///
    /// # Errors
    /// The issuer is gone, another one of the same name, or disabled.
    pub fn of_ours(
        known: &impl Issuers,
        sub: &str,
        made: Timestamp,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        const GONE: &str = "a trusted issuer that stands behind it is gone";
        let (name, subject) = sub.split_once(BAR).ok_or(GONE)?;
        let name = TrustedIssuerName::new(name).map_err(|_| GONE)?;
        let issuer = known.named(&name).ok_or(GONE)?;
        if issuer.created_at > made {
            return Err("a trusted issuer that stands behind it is another one of the same name");
        }
        issuer.check(now).map_err(|_| Self::DISABLED)?;
        let said = json!({ "iss": issuer.issuer, "sub": subject }).to_string();
        let claims = Object::parse(said.as_bytes()).ok_or(GONE)?;
        Ok(Self { is_namesake: is_namesake(known, &issuer), subject: subject.to_owned(), claims, issuer })
    }

    /// Their `sub` in a token of ours.
    #[must_use]
    pub fn sub(&self) -> String {
        called(&self.issuer.name, &self.subject)
    }

    /// Their `sub_id` there.
    #[must_use]
    pub fn sub_id(&self) -> SubId {
        self.sub_id_of(&self.issuer.issuer, &self.subject)
    }

    /// The `sub_id` of whom this issuer means by these words.
    fn sub_id_of(&self, iss: &str, sub: &str) -> SubId {
        if self.is_namesake && iss == self.issuer.issuer {
            return SubId::Opaque { id: called(&self.issuer.name, sub) };
        }
        SubId::IssSub { iss: iss.to_owned(), sub: sub.to_owned() }
    }

    /// Who alone may act for them, as their token says (RFC 8693 §4.4). Without an `iss`, or with its own, it means
    /// somebody of the same issuer, whoever else is called like that; with ours, a client of ours.
    ///
    /// # Errors
    /// It is no object with a `sub`, or means somebody of another issuer, and no trusted one or several have that name.
    pub fn may_act(&self, ours: &str, known: &impl Issuers) -> Result<Option<MayAct>, OAuthError> {
        let Some(claim) = self.claims.get("may_act") else { return Ok(None) };
        let (iss, sub) = self.named(claim, "may_act")?;
        if iss == ours {
            return Ok(Some(MayAct { sub: sub.to_owned(), sub_id: None }));
        }
        let meant =
            if iss == self.issuer.issuer { vec![Arc::clone(&self.issuer)] } else { known.called(iss) };
        let [issuer] = &meant[..] else {
            let many = if meant.is_empty() { "no trusted issuer is" } else { "several trusted issuers are" };
            return Err(OAuthError::invalid_request(
                "the may_act of the trusted issuer's token names nobody who could act",
            )
            .because(format!("may_act: its iss is '{}', and {many} called so", quoted(iss))));
        };
        Ok(Some(MayAct { sub: called(&issuer.name, sub), sub_id: Some(self.sub_id_of(iss, sub)) }))
    }

    /// Whether they are whom a token of ours means by this `may_act`.
    #[must_use]
    pub fn is_named_by(&self, may_act: &MayAct) -> bool {
        let is_of_issuer = match &may_act.sub_id {
            // An issuer that was registered anew under the name of another is another.
            Some(SubId::IssSub { iss, .. }) => *iss == self.issuer.issuer,
            Some(SubId::Opaque { .. }) => true,
            None => false,
        };
        is_of_issuer && may_act.sub == self.sub()
    }

    /// Who acts for them already, as their token says (RFC 8693 §4.1): in the words of the issuer, who vouches for it.
    ///
    /// # Errors
    /// It is no object with a `sub`, or more are nested than any rule allows.
    pub fn act(&self) -> Result<Option<Act>, OAuthError> {
        let mut actors = Vec::new();
        let mut next = self.claims.get("act");
        while let Some(claim) = next {
            if actors.len() >= usize::from(MOST_ACTORS) {
                return Err(OAuthError::invalid_request(
                    "the subject token has been passed on too often to be passed on again",
                ));
            }
            let (iss, sub) = self.named(claim, "act")?;
            actors.push((called(&self.issuer.name, sub), self.sub_id_of(iss, sub)));
            next = claim.get("act");
        }
        let nested =
            |act: Option<Act>, (sub, sub_id)| Some(Act { sub, sub_id: Some(sub_id), act: act.map(Box::new) });
        Ok(actors.into_iter().rev().fold(None, nested))
    }

    fn named<'c>(&'c self, claim: &'c Value, name: &str) -> Result<(&'c str, &'c str), OAuthError> {
        let iss = claim.get("iss").map_or(Some(self.issuer.issuer.as_str()), Value::as_str);
        let sub = claim.get("sub").and_then(Value::as_str).filter(|sub| is_subject(sub));
        iss.zip(sub).ok_or_else(|| {
            OAuthError::invalid_request(format!("the {name} of the trusted issuer's token names nobody"))
        })
    }
}

/// Without the claims, which are nobody's but the token's.
impl fmt::Debug for OutsideIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutsideIdentity").field(&self.issuer.name).field(&quoted(&self.subject)).finish()
    }
}

/// The trusted issuer's name in the `sub` of somebody from elsewhere.
#[must_use]
pub fn issuer_in(sub: &str) -> &str {
    sub.split(BAR).next().unwrap_or_default()
}

/// What we call somebody of an issuer.
fn called(issuer: &TrustedIssuerName, subject: &str) -> String {
    format!("{issuer}{BAR}{subject}")
}

/// Enabled or not: who somebody is does not change with that.
fn is_namesake(known: &impl Issuers, issuer: &TrustedIssuer) -> bool {
    known.called(&issuer.issuer).iter().any(|other| other.uid != issuer.uid)
}

fn is_subject(text: &str) -> bool {
    (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
#[path = "outside_identity_tests.rs"]
pub(super) mod tests;
