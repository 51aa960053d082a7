//! Tokens of trusted issuers (RFC 7519, RFC 7523 §3, RFC 8725, SPIFFE JWT-SVID): whether one counts here.
//!
//! `read → find whose it is → verify → judge`, one way for client authentication, authorization grants, token exchange
//! and *explain*. Nothing that a token says is believed before its signature was verified: until then `read::Claimed`
//! holds it, and gives away only what finds the key. What it must say stands in one list (`judge::CHECKS`); a request
//! stops at the first that does not hold, *explain* shows all of them.
//!
//! That a token counts says who somebody is at that issuer. Who it is here, a client's federated credentials say, or
//! an exchange rule.

mod asked;
mod explain;
mod judge;
mod read;
mod signer;
mod svid;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use uuid::Uuid;

pub use self::explain::{Explained, Step, Verdict, explain};
use self::judge::Judging;
use self::read::Claimed;
pub use self::read::LONGEST;
use super::foreign_jwt::REMEMBERED;
pub use super::foreign_jwt::Reason;
use crate::domain::catalog::Catalog;
use crate::domain::error::Fault;
use crate::domain::ids::ClientId;
use crate::domain::once::Purpose;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, Reuse, TrustedIssuer};
use crate::domain::words::words;
use crate::jose::Object;
use crate::runtime::directory::Directory;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::storage::UsedId;

/// Says of tokens of trusted issuers whether they count.
pub struct OutsideTokens {
    issuer: String,
    directory: Arc<Directory>,
    keys: Arc<IssuerKeys>,
}

/// What tokens are judged by.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Our issuer identifier: the audience, where an issuer is registered without another.
    pub issuer: &'a str,
    /// Who is trusted.
    pub catalog: &'a Catalog,
    /// With which keys.
    pub keys: &'a IssuerKeys,
}

words! {
    /// What a token is presented as.
    UsedAs {
        /// A client's proof of who it is (RFC 7523 §2.2).
        ClientAssertion = "client_assertion",
        /// The same, as a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
        SpiffeAssertion = "spiffe_assertion",
        /// An authorization (RFC 7523 §2.1).
        Grant = "grant",
        /// The subject or the actor of a token exchange (RFC 8693 §2.1).
        SubjectToken = "subject_token",
    }
}

/// A token of a trusted issuer that counts. Its `Debug` form has no claims.
pub struct OutsideToken {
    /// Who issued it.
    pub issuer: Arc<TrustedIssuer>,
    /// What it says.
    pub claims: Object,
    /// Who it is about, at that issuer.
    pub subject: String,
    /// What the issuer calls it, if it calls it something.
    pub jti: Option<String>,
    /// Its end.
    pub ends_at: Timestamp,
    /// What of it counts once. Whoever answers the request records it first.
    pub used: Option<UsedId>,
}

/// Why a token does not count.
#[derive(Debug)]
pub enum NotAccepted {
    /// A verdict.
    Refused(Reason),
    /// The issuer's keys are away, so that there is none.
    Fault(Fault),
}

// === impl OutsideTokens ===

impl OutsideTokens {
    /// Judges by what is registered, with these keys.
    #[must_use]
    pub const fn new(issuer: String, directory: Arc<Directory>, keys: Arc<IssuerKeys>) -> Self {
        Self { issuer, directory, keys }
    }

    /// Checks a token. It asks no database: whoever makes tokens up costs no more than a look at them.
    ///
    /// # Errors
    /// It does not count, or its issuer's keys are away.
    pub async fn verify(
        &self,
        token: &str,
        used_as: UsedAs,
        now: Timestamp,
    ) -> Result<OutsideToken, NotAccepted> {
        self.check_known(used_as).map_err(NotAccepted::Fault)?;
        let catalog = self.directory.catalog();
        let ground = Ground { issuer: &self.issuer, catalog: &catalog, keys: &self.keys };
        let claimed = Claimed::read(token).map_err(NotAccepted::Refused)?;
        let issuer = ground.signer(&claimed, used_as).await.map_err(|unsigned| unsigned.refuse(used_as))?;
        self.check_known(used_as).map_err(NotAccepted::Fault)?;
        self.check_unchanged(&issuer)?;
        let judging = Judging::new(&claimed, &issuer, used_as, ground.audience(&issuer, used_as), now);
        judging.judge().map_err(NotAccepted::Refused)?;
        OutsideToken::new(claimed, issuer)
            .ok_or_else(|| NotAccepted::Refused("the token has no sub or exp".into()))
    }

    /// Whether what is in memory may be believed for a token that is presented as this. Whose tokens are passed on must
    /// be known as it is now.
    fn check_known(&self, used_as: UsedAs) -> Result<(), Fault> {
        match used_as {
            UsedAs::SubjectToken => self.directory.check_fresh(),
            UsedAs::ClientAssertion | UsedAs::SpiffeAssertion | UsedAs::Grant => {
                self.directory.check_usable()
            }
        }
    }

    /// Whether an issuer is still trusted as it was before its keys were waited for, which may take long.
    fn check_unchanged(&self, issuer: &TrustedIssuer) -> Result<(), NotAccepted> {
        if is_unchanged(&self.directory.catalog(), issuer) {
            return Ok(());
        }
        let reason = format!("the trusted issuer {} was changed meanwhile: try again", issuer.name);
        Err(NotAccepted::Refused(reason.into()))
    }
}

/// Whether this is what is registered, and enabled.
fn is_unchanged(catalog: &Catalog, issuer: &TrustedIssuer) -> bool {
    let of_name = catalog.trusted_issuers_of(&issuer.issuer);
    let mut now = of_name.filter(|now| now.uid == issuer.uid);
    now.any(|now| now.enabled && now.version == issuer.version)
}

// === impl Ground ===

impl<'a> Ground<'a> {
    /// The one audience of an issuer's tokens that are presented as this. Of a JWT-SVID that proves a client it is our
    /// issuer, whatever is registered (draft-ietf-oauth-spiffe-client-auth).
    fn audience<'i>(&self, issuer: &'i TrustedIssuer, used_as: UsedAs) -> &'i str
    where
        'a: 'i,
    {
        let registered = issuer.audience.as_deref().filter(|_| used_as != UsedAs::SpiffeAssertion);
        registered.unwrap_or(self.issuer)
    }
}

// === impl OutsideToken ===

impl OutsideToken {
    /// What conditions are held against.
    #[must_use]
    pub fn says(&self) -> (&TrustedIssuer, &Object) {
        (&self.issuer, &self.claims)
    }

    /// Whether a client's name is but the SPIFFE ID that a JWT-SVID is about.
    #[must_use]
    pub fn is_called(&self, name: &ClientId) -> bool {
        self.issuer.profile == IssuerProfile::Spiffe && name.as_str() == self.subject
    }

    /// What a token comes to that was verified and judged.
    fn new(claimed: Claimed, issuer: Arc<TrustedIssuer>) -> Option<Self> {
        let jti = claimed.text("jti").map(str::to_owned);
        let ends_at = claimed.time("exp").ok()??;
        let subject = claimed.text("sub")?.to_owned();
        let id = match (issuer.reuse, &jti) {
            (Reuse::WithinLife, _) | (Reuse::WithoutJti, None) => None,
            (Reuse::Once | Reuse::WithoutJti, Some(jti)) => Some(used_id(issuer.uid.0, "jti", jti)),
            // Not with the signature: of some algorithms a signature can be changed into another good one.
            (Reuse::Once, None) => Some(used_id(issuer.uid.0, "signed", claimed.signed())),
        };
        let expires_at = ends_at.plus(issuer.leeway).plus(REMEMBERED);
        // Sooner it would have been refused: iat, or without one exp, would have been too far ahead.
        let issued_at = claimed.time("iat").ok()?;
        let made = issued_at.unwrap_or_else(|| ends_at.minus(issuer.max_lifetime));
        let possible_since = made.minus(issuer.leeway);
        let used =
            id.map(|id| UsedId { purpose: Purpose::OutsideToken, id, issued_at, expires_at, possible_since });
        Some(Self { claims: claimed.into_claims(), issuer, subject, jti, ends_at, used })
    }
}

/// Two issuers may use one `jti`, and one that is removed and registered anew is another.
fn used_id(issuer: Uuid, kind: &str, text: &str) -> String {
    BASE64URL.encode(digest(&SHA256, format!("{issuer} {kind} {text}").as_bytes()))
}

impl fmt::Debug for OutsideToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideToken").field("issuer", &self.issuer.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ids::{TrustedIssuerName, TrustedIssuerUid};
    use crate::domain::trust::KeySource;

    fn issuer(uid: u128, version: i64, enabled: bool) -> TrustedIssuer {
        let now = Timestamp::from_seconds(0);
        TrustedIssuer {
            uid: TrustedIssuerUid(Uuid::from_u128(uid)),
            name: TrustedIssuerName::new("ci").unwrap(),
            description: String::new(),
            enabled,
            profile: IssuerProfile::Jwt,
            issuer: "https://ci.example".to_owned(),
            keys: KeySource::Discovery,
            algorithms: std::collections::BTreeSet::new(),
            audience: None,
            max_lifetime: Duration::from_hours(1),
            leeway: Duration::ZERO,
            reuse: Reuse::Once,
            version,
            created_at: now,
            updated_at: now,
        }
    }

    #[test]
    fn an_issuer_that_was_changed_while_its_keys_were_waited_for_is_another() {
        let asked = issuer(1, 1, true);
        for (now, is_same) in [
            (vec![issuer(1, 1, true)], true),
            (vec![issuer(2, 1, true), issuer(1, 1, true)], true),
            (vec![issuer(1, 2, true)], false),
            (vec![issuer(1, 1, false)], false),
            (vec![issuer(2, 1, true)], false),
            (vec![], false),
        ] {
            assert_eq!(is_unchanged(&Catalog::default().with_trust(now.clone()), &asked), is_same, "{now:?}");
        }
    }
}
