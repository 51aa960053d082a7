//! What a protected resource says of itself (RFC 9728), derived from what is registered. Pure.
//!
//! Jeton publishes the document of its own API only. That of any other resource server is handed to its operator,
//! who hosts it: were it published here, asking would map out what is registered.

use serde::Serialize;
use utoipa::ToSchema;

use super::dpop;
use crate::domain::binding::TokenBinding;
use crate::domain::ids::Permission;
use crate::domain::resource::ResourceServer;
use crate::jose::Algorithm;

/// Where the document is, between the host and the path of the resource (RFC 9728 §3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What people are shown of Jeton's own API.
const OWN_NAME: &str = "Jeton API";

/// The document (RFC 9728 §2). Without `jwks_uri`, which would be the keys of the resource itself.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProtectedResource {
    /// The resource: what tokens for it have as `aud`.
    #[schema(example = "https://orders.example.com")]
    pub resource: String,
    /// Who issues tokens for it.
    #[schema(example = json!(["https://id.example.com"]))]
    pub authorization_servers: [String; 1],
    /// What tokens for it can allow.
    #[schema(value_type = Vec<Permission>)]
    pub scopes_supported: Vec<Permission>,
    /// How it takes tokens (RFC 6750 §2): in the `Authorization` header.
    #[schema(example = json!(["header"]))]
    pub bearer_methods_supported: [&'static str; 1],
    /// Its name, for people to read.
    #[schema(example = "orders")]
    pub resource_name: String,
    /// What DPoP proofs may be signed with. Of Jeton's own API only: what others verify, they know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<&'static [Algorithm]>,
    /// Whether it takes no token that is not bound by DPoP.
    #[schema(example = false)]
    pub dpop_bound_access_tokens_required: bool,
    /// Whether it takes no token that is not bound to a client certificate (RFC 8705 §3).
    #[schema(example = false)]
    pub tls_client_certificate_bound_access_tokens: bool,
}

/// The document of a resource server whose identifier is a URL that such a document can be about: `https` or `http`,
/// with a host and without a fragment (RFC 9728 §1.2). Of any other there is none.
#[must_use]
pub fn document(issuer: &str, server: &ResourceServer) -> Option<ProtectedResource> {
    metadata_url(server.identifier.as_str())?;
    Some(ProtectedResource {
        resource: server.identifier.to_string(),
        authorization_servers: [issuer.to_owned()],
        scopes_supported: server.permissions.keys().cloned().collect(),
        bearer_methods_supported: ["header"],
        resource_name: if server.builtin { OWN_NAME.to_owned() } else { server.name.to_string() },
        dpop_signing_alg_values_supported: server.builtin.then_some(dpop::ALGORITHMS),
        dpop_bound_access_tokens_required: server.token_binding == TokenBinding::Dpop,
        tls_client_certificate_bound_access_tokens: server.token_binding == TokenBinding::Mtls,
    })
}

/// Where the document about a resource is (RFC 9728 §3.1), if it can have one.
#[must_use]
pub fn metadata_url(resource: &str) -> Option<String> {
    let authority = resource.find("://")? + 3;
    if !matches!(&resource[..authority], "https://" | "http://") || resource.contains('#') {
        return None;
    }
    let host_end = resource[authority..].find(['/', '?']).map_or(resource.len(), |at| authority + at);
    if host_end == authority {
        return None;
    }
    let (host, rest) = resource.split_at(host_end);
    // A slash that only ends the host is dropped (§3.1).
    let rest = match rest.strip_prefix('/') {
        Some(after) if after.is_empty() || after.starts_with('?') => after,
        _ => rest,
    };
    Some(format!("{host}{WELL_KNOWN}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_stands_between_host_and_path_rfc9728_3_1() {
        let rows = [
            ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example/r1", "https://a.example/.well-known/oauth-protected-resource/r1"),
            (
                "https://a.example:8443/r/1/",
                "https://a.example:8443/.well-known/oauth-protected-resource/r/1/",
            ),
            ("http://localhost/r?k=v/w", "http://localhost/.well-known/oauth-protected-resource/r?k=v/w"),
            ("https://a.example?k=v", "https://a.example/.well-known/oauth-protected-resource?k=v"),
            ("https://a.example/?k=v", "https://a.example/.well-known/oauth-protected-resource?k=v"),
        ];
        for (resource, url) in rows {
            assert_eq!(metadata_url(resource).as_deref(), Some(url), "{resource}");
        }
    }

    #[test]
    fn what_is_no_url_without_a_fragment_has_none_rfc9728_1_2() {
        for resource in [
            "orders",
            "urn:orders",
            "spiffe://a.example/x",
            "https://",
            "https:///x",
            "https://a.example/#x",
            "://x",
        ] {
            assert_eq!(metadata_url(resource), None, "{resource}");
        }
    }
}
