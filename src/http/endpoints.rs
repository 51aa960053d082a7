//! What a path is about, for what is counted and traced: one of a fixed list, whatever callers make up.

use http::Method;

use crate::runtime::meters::Endpoint;

/// Where pages are, and what describes the API.
const PAGES: [&str; 2] = ["/admin", "/docs"];

/// What a path is about, without the issuer's own path before it.
pub(super) fn endpoint(path: &str) -> Endpoint {
    if let Some(oauth) = path.strip_prefix("/oauth2/") {
        return match oauth {
            "token" => Endpoint::Token,
            "introspect" => Endpoint::Introspect,
            "revoke" => Endpoint::Revoke,
            _ => Endpoint::Other,
        };
    }
    if let Some(api) = path.strip_prefix("/api/v1/") {
        return of_api(api.split('/').next().unwrap_or_default());
    }
    if let Some(document) = path.strip_prefix("/.well-known/") {
        // The issuer's path may follow, or the API's.
        return match document.split('/').next().unwrap_or_default() {
            "jwks.json" => Endpoint::Jwks,
            "openid-configuration" | "oauth-authorization-server" | "oauth-protected-resource" => {
                Endpoint::Discovery
            }
            _ => Endpoint::Other,
        };
    }
    let within =
        |at: &str| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match path {
        "/livez" | "/readyz" => Endpoint::Probes,
        _ if PAGES.into_iter().any(within) => Endpoint::Pages,
        _ => Endpoint::Other,
    }
}

/// The route that a trace names for a path that is about this, one of a fixed list like the endpoint itself.
pub(super) fn route(endpoint: Endpoint, path: &str) -> &'static str {
    match endpoint {
        Endpoint::Token => "/oauth2/token",
        Endpoint::Introspect => "/oauth2/introspect",
        Endpoint::Revoke => "/oauth2/revoke",
        Endpoint::Jwks => "/.well-known/jwks.json",
        Endpoint::Discovery => "/.well-known/*",
        Endpoint::Probes if path == "/readyz" => "/readyz",
        Endpoint::Probes => "/livez",
        Endpoint::Pages => "/admin/*",
        Endpoint::ApiAdministrators => "/api/v1/administrators/*",
        Endpoint::ApiAudit => "/api/v1/audit-*",
        Endpoint::ApiClients => "/api/v1/clients/*",
        Endpoint::ApiEndingCredentials => "/api/v1/ending-credentials",
        Endpoint::ApiExchangeRules => "/api/v1/exchange-rules/*",
        Endpoint::ApiResourceServers => "/api/v1/resource-servers/*",
        Endpoint::ApiRevocations => "/api/v1/revocations",
        Endpoint::ApiRoles => "/api/v1/roles/*",
        Endpoint::ApiSigningKeys => "/api/v1/signing-keys/*",
        Endpoint::ApiStatistics => "/api/v1/statistics/*",
        Endpoint::ApiTrustedIssuers => "/api/v1/trusted-issuers/*",
        Endpoint::Other => "*",
    }
}

/// A method as it is traced (OpenTelemetry's semantic conventions for HTTP).
pub(super) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// What the API's path begins with.
fn of_api(resource: &str) -> Endpoint {
    match resource {
        "administrators" => Endpoint::ApiAdministrators,
        "audit-events" | "audit-state" => Endpoint::ApiAudit,
        "clients" => Endpoint::ApiClients,
        "ending-credentials" => Endpoint::ApiEndingCredentials,
        "exchange-rules" => Endpoint::ApiExchangeRules,
        "resource-servers" => Endpoint::ApiResourceServers,
        "revocations" => Endpoint::ApiRevocations,
        "roles" => Endpoint::ApiRoles,
        "signing-keys" => Endpoint::ApiSigningKeys,
        "statistics" => Endpoint::ApiStatistics,
        "trusted-issuers" => Endpoint::ApiTrustedIssuers,
        _ => Endpoint::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{docs, pages};

    #[test]
    fn each_probe_is_a_route() {
        for path in ["/livez", "/readyz", "/oauth2/token"] {
            assert_eq!(route(endpoint(path), path), path);
        }
    }

    #[test]
    fn pages_are_where_they_are_said_to_be() {
        assert_eq!(PAGES, [pages::AT, docs::AT]);
    }

    #[test]
    fn every_path_of_the_description_is_about_something() {
        let description = crate::http::openapi();
        let paths: Vec<_> = description.paths.paths.keys().collect();
        assert!(paths.len() > 40, "{}", paths.len());
        for path in paths {
            assert_ne!(endpoint(path), Endpoint::Other, "{path} is not in http/endpoints.rs");
        }
    }

    #[test]
    fn what_nobody_offers_is_one_thing() {
        for (path, about) in [
            ("/.well-known/oauth-authorization-server/tenant", Endpoint::Discovery),
            ("/admin", Endpoint::Pages),
            ("/admin/clients/billing", Endpoint::Pages),
            ("/administrator", Endpoint::Other),
            ("/oauth2/token/", Endpoint::Other),
            ("/oauth2/authorize", Endpoint::Other),
            ("/api/v1/users", Endpoint::Other),
            ("/api/v1", Endpoint::Other),
            ("/.well-known/security.txt", Endpoint::Other),
            ("", Endpoint::Other),
            ("*", Endpoint::Other),
        ] {
            assert_eq!(endpoint(path), about, "{path}");
        }
    }
}
