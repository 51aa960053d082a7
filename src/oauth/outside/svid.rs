//! X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth, X509-SVID): whose certificate it is, as a trusted issuer says.
//!
//! The bundle is that of the trust domain which the certificate names, as it is registered. That the caller holds the
//! key the connection has proven, so that nothing of it counts only once.

use std::sync::Arc;

use super::{NotAccepted, OutsideToken, OutsideTokens, Reason};
use crate::domain::certificate::PeerCertificate;
use crate::domain::error::Fault;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, TrustedIssuer};
use crate::domain::x509_svid::spiffe_id;
use crate::jose::Object;
use crate::runtime::remote_keys::{KeySet, NoKeys};

/// Why one issuer does not vouch for a certificate.
enum Denial {
    Away(Fault),
    Other(String),
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
        let (mut away, mut denials) = (None, Vec::new());
        for issuer in self.of_trust_domain(id.trust_domain_id()).map_err(NotAccepted::Refused)? {
            match self.vouch(&issuer, certificate, now).await {
                Ok(()) => {
                    self.directory.check_usable().map_err(NotAccepted::Fault)?;
                    self.check_unchanged(&issuer)?;
                    return Ok(OutsideToken {
                        issuer,
                        claims: Object::of("sub", id.as_str().into()),
                        subject: id.as_str().to_owned(),
                        jti: None,
                        ends_at: certificate.not_after,
                        used: None,
                    });
                }
                Err(Denial::Away(fault)) => away = Some(fault),
                Err(Denial::Other(why)) => denials.push(format!("{}: {why}", issuer.name)),
            }
        }
        if let Some(fault) = away {
            return Err(NotAccepted::Fault(fault));
        }
        let why = denials.join("; ");
        let reason =
            format!("no trusted issuer vouches for the certificate of '{}': {why}", quoted(id.as_str()));
        Err(NotAccepted::Refused(reason.into()))
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

    async fn vouch(
        &self,
        issuer: &TrustedIssuer,
        certificate: &PeerCertificate,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let set = self.keys.authorities(issuer).await?;
        let Err(why) = vouched(&set, certificate, now) else { return Ok(()) };
        // Perhaps an authority that is newer than what is known: asked for once in a while.
        let newer = self.keys.after(issuer, &set).await?;
        newer.map_or(Err(why), |newer| vouched(&newer, certificate, now)).map_err(Denial::Other)
    }
}

fn vouched(set: &KeySet, certificate: &PeerCertificate, now: Timestamp) -> Result<(), String> {
    let authorities = set.authorities().ok_or("its bundle has no authority any more")?;
    authorities.vouch_for(certificate, now)
}

// === impl Denial ===

impl From<NoKeys> for Denial {
    fn from(none: NoKeys) -> Self {
        match none {
            NoKeys::Away(fault) => Self::Away(fault),
            NoKeys::None(why) => Self::Other(why),
        }
    }
}
