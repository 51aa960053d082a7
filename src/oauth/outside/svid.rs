//! X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth, X509-SVID): whose certificate it is, as a trusted issuer says.
//!
//! The bundle is that of the trust domain which the certificate names, as it is registered. That the caller holds the
//! key the connection has proven, so that nothing of it counts only once. Several issuers may be one trust domain: then,
//! as with tokens, all of them are asked, and exactly one must vouch.

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

/// What the issuers of a trust domain say of a certificate.
#[derive(Default)]
struct Asked {
    vouchers: Vec<Arc<TrustedIssuer>>,
    denials: Vec<String>,
    away: Option<Fault>,
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
        let issuer = self.ask(of_domain, certificate, now).await.verdict(id.as_str())?;
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

    async fn ask(
        &self,
        issuers: Vec<Arc<TrustedIssuer>>,
        certificate: &PeerCertificate,
        now: Timestamp,
    ) -> Asked {
        let (mut asked, mut unsure) = (Asked::default(), Vec::new());
        for issuer in issuers {
            match self.keys.authorities(&issuer).await {
                Ok(set) if vouched(&set, certificate, now).is_err() => unsure.push((issuer, set)),
                found => asked.note(issuer, found.map(|_| Ok(()))),
            }
        }
        // Perhaps an authority that is newer than what is known: asked for last, and once in a while.
        if asked.vouchers.is_empty() {
            for (issuer, set) in unsure {
                let newer = self.keys.after(&issuer, &set).await;
                asked.note(issuer, newer.map(|newer| vouched(&newer.unwrap_or(set), certificate, now)));
            }
        }
        asked
    }
}

fn vouched(set: &KeySet, certificate: &PeerCertificate, now: Timestamp) -> Result<(), String> {
    let authorities = set.authorities().ok_or("its bundle has no authority any more")?;
    authorities.vouch_for(certificate, now)
}

// === impl Asked ===

impl Asked {
    /// Notes what the authorities of one of them say.
    fn note(&mut self, issuer: Arc<TrustedIssuer>, said: Result<Result<(), String>, NoKeys>) {
        match said {
            Ok(Ok(())) => self.vouchers.push(issuer),
            Ok(Err(why)) | Err(NoKeys::None(why)) => self.denials.push(format!("{}: {why}", issuer.name)),
            Err(NoKeys::Away(fault)) => self.away = Some(fault),
        }
    }

    /// Whose it is: the only one that vouches.
    fn verdict(mut self, id: &str) -> Result<Arc<TrustedIssuer>, NotAccepted> {
        let id = quoted(id);
        let reason = match (self.vouchers.pop(), self.away) {
            (Some(only), _) if self.vouchers.is_empty() => return Ok(only),
            (Some(last), _) => {
                self.vouchers.push(last);
                let names: Vec<&str> = self.vouchers.iter().map(|issuer| issuer.name.as_str()).collect();
                format!(
                    "the trusted issuers {} are one trust domain and both vouch for the certificate of '{id}', so \
                     nobody knows of which it is: disable all of them but one",
                    names.join(" and ")
                )
            }
            (None, Some(fault)) => return Err(NotAccepted::Fault(fault)),
            (None, None) => {
                format!(
                    "no trusted issuer vouches for the certificate of '{id}': {}",
                    self.denials.join("; ")
                )
            }
        };
        Err(NotAccepted::Refused(reason.into()))
    }
}
