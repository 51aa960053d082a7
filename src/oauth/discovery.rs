//! What the server says of itself (RFC 8414, OpenID Connect Discovery 1.0), derived from the lists of
//! grants, methods and keys: what is not there is not said.

use serde::Serialize;

use super::client_auth::METHODS;
use super::dpop;
use super::grants::GRANTS;
use crate::domain::client::CertificateReach;
use crate::jose::{Algorithm, ForeignKey};

/// The metadata document, the same under both well-known names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Metadata {
    /// The issuer identifier.
    pub issuer: String,
    /// Where tokens are asked for.
    pub token_endpoint: String,
    /// Where resource servers ask whether a token counts (RFC 7662).
    pub introspection_endpoint: String,
    /// Where clients take tokens back (RFC 7009).
    pub revocation_endpoint: String,
    /// Where the public keys are.
    pub jwks_uri: String,
    /// How tokens may be asked for.
    pub grant_types_supported: Vec<&'static str>,
    /// How clients may authenticate.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// How clients may authenticate to introspect.
    pub introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    /// How clients may authenticate to revoke.
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    /// What clients may sign assertions with, to authenticate.
    pub token_endpoint_auth_signing_alg_values_supported: &'static [Algorithm],
    /// The same, to introspect.
    pub introspection_endpoint_auth_signing_alg_values_supported: &'static [Algorithm],
    /// The same, to revoke.
    pub revocation_endpoint_auth_signing_alg_values_supported: &'static [Algorithm],
    /// What signed answers of introspection are signed with (RFC 9701 §7).
    pub introspection_signing_alg_values_supported: [Algorithm; 1],
    /// Required by both standards. There is no authorization endpoint; `id_token` is what verifiers of
    /// workload tokens look for, as Kubernetes and GitHub publish it.
    pub response_types_supported: [&'static str; 1],
    /// Every party sees the same `sub`.
    pub subject_types_supported: [&'static str; 1],
    /// What tokens may be signed with.
    pub id_token_signing_alg_values_supported: Vec<Algorithm>,
    /// What DPoP proofs may be signed with (RFC 9449 §5.1).
    pub dpop_signing_alg_values_supported: &'static [Algorithm],
    /// Whether tokens can be bound to client certificates (RFC 8705 §3.3).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// The claims of a token.
    pub claims_supported: &'static [&'static str],
    /// The same endpoints where clients are asked for certificates, if they are (RFC 8705 §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls_endpoint_aliases: Option<Endpoints>,
}

/// The endpoints at which clients authenticate.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Endpoints {
    /// Where tokens are asked for.
    pub token_endpoint: String,
    /// Where resource servers ask whether a token counts.
    pub introspection_endpoint: String,
    /// Where clients take tokens back.
    pub revocation_endpoint: String,
}

// === impl Endpoints ===

impl Endpoints {
    /// Those below a URL.
    fn below(base: &str) -> Self {
        Self {
            token_endpoint: format!("{base}/oauth2/token"),
            introspection_endpoint: format!("{base}/oauth2/introspect"),
            revocation_endpoint: format!("{base}/oauth2/revoke"),
        }
    }
}

/// The document of this issuer, which knows `reach` of its callers' certificates. `mtls` is the URL at which they are
/// asked for, if they are.
#[must_use]
pub fn metadata(
    issuer: &str,
    mtls: Option<&str>,
    reach: CertificateReach,
    algorithms: Vec<Algorithm>,
) -> Metadata {
    let Endpoints { token_endpoint, introspection_endpoint, revocation_endpoint } = Endpoints::below(issuer);
    let available = METHODS.iter().filter(|method| method.is_available(reach));
    let methods: Vec<_> = available.map(|method| method.name().as_str()).collect();
    Metadata {
        issuer: issuer.to_owned(),
        token_endpoint,
        introspection_endpoint,
        revocation_endpoint,
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        grant_types_supported: GRANTS.iter().map(|grant| grant.grant_type().as_str()).collect(),
        token_endpoint_auth_methods_supported: methods.clone(),
        introspection_endpoint_auth_methods_supported: methods.clone(),
        revocation_endpoint_auth_methods_supported: methods,
        token_endpoint_auth_signing_alg_values_supported: ForeignKey::ALGORITHMS,
        introspection_endpoint_auth_signing_alg_values_supported: ForeignKey::ALGORITHMS,
        revocation_endpoint_auth_signing_alg_values_supported: ForeignKey::ALGORITHMS,
        introspection_signing_alg_values_supported: [Algorithm::Es256],
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms,
        dpop_signing_alg_values_supported: dpop::ALGORITHMS,
        tls_client_certificate_bound_access_tokens: reach >= CertificateReach::Shown,
        claims_supported: &[
            "iss",
            "exp",
            "aud",
            "sub",
            "sub_id",
            "client_id",
            "iat",
            "jti",
            "txn",
            "scope",
            "roles",
            "client_kind",
            "act",
            "may_act",
            "cnf",
        ],
        mtls_endpoint_aliases: mtls.map(Endpoints::below),
    }
}
