//! HTTP, and the only place that knows axum: bytes in, use-cases called, answers out.

mod api;
mod client_certificate;
mod connection;
mod connections;
mod deadline;
mod description;
mod docs;
mod endpoints;
mod error;
mod extract;
mod handshakes;
mod head;
mod health;
mod json;
mod link;
mod metrics;
mod middleware;
mod oauth;
mod pages;
pub mod pictures;
mod root;
mod serving;
mod tokens;
mod workers;

pub use self::connections::Connections;
pub use self::description::openapi;
pub use self::metrics::{metrics, reference as metrics_reference};
pub use self::middleware::Observed;
pub use self::pages::SSO_CALLBACK;
pub use self::workers::{Door, Speaks, Workers};

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use ipnet::IpNet;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::description::Description;
use self::docs::Docs;
pub(crate) use self::json::read_value;
use crate::admin::Admin;
use crate::admin::sign_in::SignIn;
use crate::admin::single_sign_on::SingleSignOn;
use crate::config::{CertificateHeader, Issuer, ToldSetting};
use crate::domain::time::Timestamp;
use crate::oauth::access::AccessVerifier;
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::protected_resource::WELL_KNOWN;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::token::TokenEndpoint;
use crate::runtime::clock::Ambient;
use crate::runtime::expiry_watch::EndingCounts;
use crate::runtime::keyring::Keyring;
use crate::runtime::remote_keys::RemoteKeys;
use crate::runtime::rotator::Rotator;
use crate::runtime::tls::ClientTrust;
use crate::storage::Store;
use crate::telemetry::Tracing;

/// The largest body of a token request, in bytes.
const TOKEN_BODY: usize = 64 * 1_024;

/// The largest body of an API request, in bytes.
const API_BODY: usize = 1_024 * 1_024;

/// Everything the handlers call.
#[derive(Clone)]
pub struct Services {
    /// The issuer identifier.
    pub issuer: Issuer,
    /// Time and randomness.
    pub ambient: Ambient,
    /// Asked by the readiness probe only.
    pub store: Store,
    /// Published keys.
    pub keyring: Arc<Keyring>,
    /// What keeps them in order.
    pub rotator: Arc<Rotator>,
    /// The token endpoint.
    pub tokens: TokenEndpoint,
    /// Whether tokens count.
    pub introspection: IntrospectionEndpoint,
    /// Takes tokens back.
    pub revocation: RevocationEndpoint,
    /// Who calls the API.
    pub access: AccessVerifier,
    /// The use-cases behind the API.
    pub admin: Admin,
    /// How people sign in to the pages.
    pub sign_in: SignIn,
    /// How they sign in by another provider, if there is one.
    pub sso: Option<SingleSignOn>,
    /// How many credentials end soon or have ended.
    pub ending: EndingCounts,
    /// What is in force, as people are told it.
    pub settings: Vec<ToldSetting>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they tell the certificate of a client.
    pub certificate_header: Option<CertificateHeader>,
    /// Whose certificates are trusted.
    pub client_trust: Arc<ClientTrust>,
    /// Those that are open.
    pub connections: Arc<Connections>,
    /// The URL at which certificates of clients are asked for, if they are.
    pub mtls_url: Option<Arc<str>>,
    /// Keys that others publish.
    pub remote_keys: Arc<RemoteKeys>,
    /// What begins the traces of requests.
    pub tracing: Tracing,
    /// When this was put together.
    pub started: Timestamp,
}

type Shared = Arc<Services>;

/// For whom a listener is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// People too.
    Everybody,
    /// Clients alone, so that there are no pages.
    Clients,
}

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(oauth::routes())
        .merge(tokens::routes())
        .nest("/api/v1", api::routes().layer(from_fn(middleware::of_api)))
}

/// What a listener offers, as a service. A thread has one of its own; `docs` is for all of them.
fn service(services: Shared, docs: &Arc<Docs>, audience: Audience, max_header_size: usize) -> Observed {
    let (application, _) = routes().split_for_parts();
    let application = match audience {
        Audience::Clients => application,
        Audience::Everybody => application
            .nest(pages::AT, pages::routes(&services))
            .route(&format!("{}/", pages::AT), get(pages::with_slash))
            .merge(docs::routes(docs)),
    };
    let path = services.issuer.path().to_owned();
    let application = if path.is_empty() {
        application
    } else {
        // RFC 8414 §3.1 and RFC 9728 §3.1 put the well-known part before the issuer's path, OpenID Connect after it.
        Router::new()
            .route(&format!("/.well-known/oauth-authorization-server{path}"), get(oauth::metadata))
            .route(&format!("/.well-known/openid-configuration{path}"), get(oauth::metadata))
            .route(&format!("{WELL_KNOWN}{path}/api/v1"), get(oauth::protected_resource))
            .nest(&path, application)
    };
    let application = match audience {
        Audience::Clients => application,
        Audience::Everybody => application.merge(root::routes(&path)),
    };
    let application = application
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(Arc::clone(&services));
    Observed { application, services, max_header_size }
}
