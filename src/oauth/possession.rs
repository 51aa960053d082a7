//! What a request proves to hold beside who sends it, and so what its token is bound to (RFC 7800): a DPoP key
//! (RFC 9449), the certificate of its connection (RFC 8705 §3), or both.
//!
//! Whatever is proven binds, also when nobody asked for that and the client authenticated in another way: a request
//! that shows more gets a token that is worth less to a thief ([decision 034]).
//!
//! [decision 034]: ../../docs/decisions/034-client-certificates.md

use std::sync::Arc;

use super::dpop::{self, Proof};
use crate::domain::binding::{Confirmation, TokenBinding};
use crate::domain::catalog::Catalog;
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::Client;
use crate::domain::error::OAuthError;
use crate::domain::ids::Identifier;
use crate::domain::policy::{self, BoundFor};

/// The keys that a request proves.
#[derive(Clone, Debug, Default)]
pub struct Possession {
    /// That of its DPoP proof.
    pub proof: Option<Proof>,
    /// The certificate that its sender holds the key of.
    pub certificate: Option<Arc<PeerCertificate>>,
}

// === impl Possession ===

impl Possession {
    /// The claim that binds a token to all of it; nothing, when the request proves none.
    #[must_use]
    pub fn confirmation(&self) -> Option<Confirmation> {
        let jkt = self.proof.as_ref().map(|proof| proof.jkt.clone());
        Confirmation::of(jkt, self.certificate.as_ref().map(|certificate| certificate.thumbprint.clone()))
    }

    /// Makes sure that every key is proven which a token is bound to, the DPoP key for this token.
    ///
    /// # Errors
    /// One is not, or this version cannot tell; `name` says which token.
    pub fn check_proven(&self, cnf: &Confirmation, token: &str, name: &str) -> Result<(), OAuthError> {
        if !cnf.is_understood() {
            return Err(OAuthError::invalid_request(format!(
                "the {name} is bound in a way that is not checked here"
            )));
        }
        if let Some(jkt) = &cnf.jkt
            && !self.proof.as_ref().is_some_and(|proof| proof.is_for(jkt, token))
        {
            return Err(dpop::invalid(format!(
                "the {name} is bound to a key: send a DPoP proof of that key with the token's ath"
            )));
        }
        if let Some(thumbprint) = &cnf.x5t_s256
            && self.certificate.as_ref().is_none_or(|shown| shown.thumbprint != *thumbprint)
        {
            return Err(OAuthError::invalid_request(format!(
                "the {name} is bound to a certificate: send it over a connection with that one (RFC 8705 section 3)"
            )));
        }
        Ok(())
    }

    /// Makes sure that a token will be bound as the client and its resource servers want it.
    ///
    /// # Errors
    /// `invalid_dpop_proof` where a proof is missing, `invalid_request` where a certificate is, or either would do.
    pub fn check_binding(
        &self,
        client: &Client,
        catalog: &Catalog,
        audience: &[Identifier],
    ) -> Result<(), OAuthError> {
        let cnf = self.confirmation();
        let wishes = policy::bound_for(client, catalog, audience);
        let Some((who, binding)) = wishes.into_iter().find(|(_, binding)| !binding.is_met_by(cnf.as_ref()))
        else {
            return Ok(());
        };
        let needs = binding.needs().unwrap_or_default();
        let text = match who {
            BoundFor::Client => format!("this client gets no token without {needs}"),
            BoundFor::ResourceServer(identifier) => format!("tokens for '{identifier}' need {needs}"),
        };
        Err(match binding {
            TokenBinding::Dpop => dpop::invalid(text),
            _ => OAuthError::invalid_request(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::ErrorCode;
    use serde_json::json;

    fn certificate() -> Arc<PeerCertificate> {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        Arc::new(PeerCertificate::parse(made.cert.der(), false).unwrap())
    }

    #[test]
    fn a_token_is_bound_to_whatever_is_proven_rfc8705_3_1() {
        assert_eq!(Possession::default().confirmation(), None);
        let certificate = certificate();
        let thumbprint = certificate.thumbprint.clone();
        let shown = Possession { proof: None, certificate: Some(certificate) };
        let cnf = serde_json::to_value(shown.confirmation()).unwrap();
        assert_eq!(cnf, json!({ "x5t#S256": thumbprint }));
    }

    #[test]
    fn a_bound_token_needs_each_of_its_keys() {
        let (own, other) = (certificate(), certificate());
        let shown = |certificate: &Arc<PeerCertificate>| Possession {
            proof: None,
            certificate: Some(Arc::clone(certificate)),
        };
        let code = |possession: &Possession, cnf: serde_json::Value| {
            let cnf = serde_json::from_value(cnf).unwrap();
            possession.check_proven(&cnf, "t", "token").err().map(|error| error.code)
        };
        let bound = json!({ "x5t#S256": own.thumbprint });
        assert_eq!(code(&shown(&own), bound.clone()), None);
        assert_eq!(code(&shown(&other), bound.clone()), Some(ErrorCode::InvalidRequest));
        assert_eq!(code(&Possession::default(), bound), Some(ErrorCode::InvalidRequest));
        let both = json!({ "x5t#S256": own.thumbprint, "jkt": "k" });
        assert_eq!(code(&shown(&own), both), Some(ErrorCode::InvalidDpopProof));
        for unknown in [json!({}), json!({ "x5t#S256": own.thumbprint, "x5t": "y" })] {
            assert_eq!(code(&shown(&own), unknown), Some(ErrorCode::InvalidRequest));
        }
    }
}
