//! HTTP, and the only place that knows axum: bytes in, use-cases called, answers out.

mod api;
mod error;
mod extract;
mod metrics;
mod middleware;
mod oauth;
mod pages;
pub mod pictures;
mod tokens;

pub use self::metrics::metrics;
pub use self::middleware::Observed;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use ipnet::IpNet;
use utoipa::OpenApi;
use utoipa::openapi::security::{
    ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, SecurityScheme,
};
use utoipa_axum::router::OpenApiRouter;

use crate::admin::Admin;
use crate::admin::sign_in::SignIn;
use crate::config::{Issuer, ToldSetting};
use crate::domain::builtin;
use crate::oauth::access::AccessVerifier;
use crate::oauth::introspection::IntrospectionEndpoint;
use crate::oauth::protected_resource::WELL_KNOWN;
use crate::oauth::revocation::RevocationEndpoint;
use crate::oauth::token::TokenEndpoint;
use crate::runtime::clock::Ambient;
use crate::runtime::keyring::Keyring;
use crate::runtime::rotator::Rotator;
use crate::storage::Store;

/// The largest body of a token request, in bytes.
const TOKEN_BODY: usize = 64 * 1_024;

/// How long the database may take to answer the readiness probe: less than a prober waits.
const PROBE: Duration = Duration::from_secs(3);

/// The largest body of an API request, in bytes.
const API_BODY: usize = 1_024 * 1_024;

/// Everything the handlers call.
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
    /// What is in force, as people are told it.
    pub settings: Vec<ToldSetting>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

type Shared = Arc<Services>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Jeton",
        description = "An OAuth 2 / OpenID Connect authorization server for non-human identities.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The issuer")),
    tags(
        (name = "OAuth", description = "Tokens, and what verifiers need"),
        (name = "Clients", description = "Registered non-human identities"),
        (name = "Client secrets", description = "What clients prove themselves with"),
        (name = "Client roles", description = "Which roles a client has"),
        (name = "Resource servers", description = "APIs that accept tokens, and their permissions"),
        (name = "Operators", description = "Which clients operate a resource server"),
        (name = "Roles", description = "Named sets of permissions"),
        (name = "Exchange rules", description = "Who may pass whose identity on, towards what"),
        (name = "Signing keys", description = "What tokens are signed with, and when that changes"),
        (name = "Revocations", description = "Tokens taken back before their end"),
        (name = "Administrators", description = "People who administer, and their links to set a password"),
        (name = "Audit", description = "What was done, by whom, and what was refused"),
        (name = "Statistics", description = "How many tokens and refusals, and who acts for whom"),
    )
)]
struct Description;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(oauth::routes())
        .merge(tokens::routes())
        .nest("/api/v1", api::routes().layer(map_response(middleware::uncached)))
}

/// The OpenAPI description of every route.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = routes().split_for_parts().1;
    let scopes = builtin::PERMISSIONS.iter().map(|(permission, description, _)| (*permission, *description));
    let flow = Flow::ClientCredentials(ClientCredentials::new("/oauth2/token", scopes.collect()));
    let components = openapi.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::OAuth2(OAuth2::new([flow])));
    components.add_security_scheme(
        "client",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build()),
    );
    openapi
}

/// The whole server as a service.
pub fn service(services: Shared) -> Observed {
    let (application, _) = routes().split_for_parts();
    let application = application
        .nest(pages::AT, pages::routes(&services))
        .route(&format!("{}/", pages::AT), get(pages::with_slash));
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
    let clock =
        || services.rotator.clock().check().map_err(|fault| (fault.to_string(), "the clock is off\n"));
    match answers.and_then(|()| clock()) {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err((reason, public)) => {
            tracing::warn!(reason, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, public).into_response()
        }
    }
}
