//! HTTP, and the only place that knows axum: bytes in, use-cases called, answers out.

mod api;
mod client_certificate;
mod connection;
mod description;
mod docs;
mod endpoints;
mod error;
mod extract;
mod handshakes;
mod json;
mod metrics;
mod middleware;
mod oauth;
mod pages;
pub mod pictures;
mod tokens;
mod workers;

pub use self::description::openapi;
pub use self::metrics::{metrics, reference as metrics_reference};
pub use self::middleware::Observed;
pub use self::pages::SSO_CALLBACK;
pub use self::workers::{Door, Speaks, Workers};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
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

/// The largest body of a token request, in bytes.
const TOKEN_BODY: usize = 64 * 1_024;

/// How long the database may take to answer the readiness probe: less than a prober waits.
const PROBE: Duration = Duration::from_secs(3);

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
    /// The URL at which certificates of clients are asked for, if they are.
    pub mtls_url: Option<Arc<str>>,
    /// Keys that others publish.
    pub remote_keys: Arc<RemoteKeys>,
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
fn service(services: Shared, docs: &Arc<Docs>, audience: Audience) -> Observed {
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
    let application = application
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(Arc::clone(&services));
    Observed { application, services }
}

/// The process runs.
async fn alive() -> Response {
    (StatusCode::OK, "alive\n").into_response()
}

/// The process can issue tokens.
async fn ready(axum::extract::State(services): axum::extract::State<Shared>) -> Response {
    let answers = match tokio::time::timeout(PROBE, services.store.ping()).await {
        Ok(answers) => answers.map_err(|error| error.to_string()),
        Err(_) => Err("the database does not answer in time".to_owned()),
    };
    let answers = answers
        .and_then(|()| services.tokens.directory.check_fresh().map_err(|fault| fault.to_string()))
        .map_err(|reason| (reason, "the database does not answer\n"));
    let recording = || {
        let checked = services.tokens.ledger.check();
        checked.map_err(|fault| (fault.to_string(), "nothing can be recorded\n"))
    };
    let clock =
        || services.rotator.clock().check().map_err(|fault| (fault.to_string(), "the clock is off\n"));
    match answers.and_then(|()| recording()).and_then(|()| clock()) {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err((reason, public)) => {
            tracing::warn!(reason, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, public).into_response()
        }
    }
}
