//! X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth, X509-SVID): whose certificate it is, as a trusted issuer says.
//!
//! The bundle is that of the trust domain which the certificate names, as it is registered. That the caller holds the
//! key the connection has proven, so that nothing of it counts only once. Several issuers may be one trust domain: then,
//! as with tokens, all of them are asked, and exactly one must vouch.

use std::sync::Arc;

use super::asked::{Asked, Judge, NotOne, Said};
use super::{NotAccepted, OutsideToken, OutsideTokens, Reason};
use crate::domain::certificate::PeerCertificate;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, TrustedIssuer};
use crate::domain::x509_svid::spiffe_id;
use crate::jose::Object;
use crate::runtime::remote_keys::KeySet;

/// A certificate, about which authorities are asked.
struct Shown<'a> {
    certificate: &'a PeerCertificate,
    now: Timestamp,
}

// === impl OutsideTokens ===

impl OutsideTokens {
    /// Checks a certificate, and makes of it what a token with its SPIFFE ID as `sub` would come to.
    ///
    /// # Errors
    /// It does not count, or the bundle of its trust domain is away.
    pub async fn verify_svid(
        &self,
        certificate: &PeerCertificate,
        now: Timestamp,
    ) -> Result<OutsideToken, NotAccepted> {
        let id = spiffe_id(certificate).map_err(|problem| {
            NotAccepted::Refused(format!("the certificate is no X.509-SVID: {problem}").into())
        })?;
        self.directory.check_usable().map_err(NotAccepted::Fault)?;
        let of_domain = self.of_trust_domain(id.trust_domain_id()).map_err(NotAccepted::Refused)?;
        let (mut asked, shown) = (Asked::nobody(), Shown { certificate, now });
        for issuer in of_domain {
            let known = self.keys.authorities(&issuer).await;
            asked.ask(issuer, known, &shown);
        }
        let only = asked.only(&self.keys, &shown).await;
        let issuer = only.map_err(|not_one| refusal(not_one, id.as_str()))?;
        self.directory.check_usable().map_err(NotAccepted::Fault)?;
        self.check_unchanged(&issuer)?;
        Ok(OutsideToken {
            issuer,
            claims: Object::of("sub", id.as_str().into()),
            subject: id.as_str().to_owned(),
            jti: None,
            ends_at: certificate.not_after,
            used: None,
        })
    }

    /// The enabled issuers of a trust domain; at least one.
    fn of_trust_domain(&self, domain: &str) -> Result<Vec<Arc<TrustedIssuer>>, Reason> {
        let catalog = self.directory.catalog();
        let of_domain = catalog.trusted_issuers_of(domain);
        let of_domain: Vec<_> =
            of_domain.filter(|issuer| issuer.profile == IssuerProfile::Spiffe).cloned().collect();
        let Some(first) = of_domain.first() else {
            return Err(format!("no trusted issuer is the trust domain {}", quoted(domain)).into());
        };
        let disabled = format!("the trusted issuer {} is disabled", first.name);
        let enabled: Vec<_> = of_domain.into_iter().filter(|issuer| issuer.enabled).collect();
        if enabled.is_empty() { Err(disabled.into()) } else { Ok(enabled) }
    }
}

// === impl Shown ===

impl Judge<String> for Shown<'_> {
    /// An authority that it leads to may be newer than any that is known.
    fn says(&self, set: &Arc<KeySet>) -> Said<String> {
        let authorities = set.authorities().ok_or_else(|| "its bundle has no authority any more".to_owned());
        match authorities.and_then(|authorities| authorities.vouch_for(self.certificate, self.now)) {
            Ok(()) => Said::Vouches,
            Err(why) => Said::Lacks(why),
        }
    }

    fn without_keys(&self, why: String) -> String {
        why
    }
}

/// Why nobody, or nobody alone, vouches for the certificate with this SPIFFE ID.
fn refusal(not_one: NotOne<String>, id: &str) -> NotAccepted {
    let id = quoted(id);
    let reason = match not_one {
        NotOne::Away(fault) => return NotAccepted::Fault(fault),
        NotOne::Several(issuers) => {
            let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
            format!(
                "the trusted issuers {} are one trust domain and each vouches for the certificate of '{id}', so nobody \
                 knows of which it is: disable all of them but one",
                names.join(" and ")
            )
        }
        NotOne::Nobody(denials) => {
            let denials: Vec<_> =
                denials.iter().map(|(issuer, why)| format!("{}: {why}", issuer.name)).collect();
            format!("no trusted issuer vouches for the certificate of '{id}': {}", denials.join("; "))
        }
    };
    NotAccepted::Refused(reason.into())
}
