//! The token endpoint and what verifiers need.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::error::{DPOP_NONCE, OAuthErrorBody, Problem, no_store, oauth_error, oauth_failure};
use super::extract::ClientCall;
use crate::domain::client::GrantType;
use crate::domain::error::{ErrorCode, Failure, Fault};
use crate::domain::ids::KeyId;
use crate::domain::schedule::Schedule;
use crate::jose::Algorithm;
use crate::oauth::discovery::{self, Metadata};
use crate::oauth::protected_resource::{self, ProtectedResource};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(token))
        .routes(routes!(metadata))
        .routes(routes!(openid_configuration))
        .routes(routes!(protected_resource))
        .routes(routes!(jwks))
}

/// A successful answer (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
struct TokenBody<'a> {
    /// The token.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9…")]
    access_token: &'a str,
    /// How to use it: `Bearer`, or `DPoP` when the request had a proof.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until its end.
    #[schema(example = 300)]
    expires_in: i64,
    /// The granted permissions, space-separated.
    #[schema(example = "orders:read")]
    scope: &'a str,
    /// What sort of token it is; after an exchange only (RFC 8693 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
}

/// What a token request may hold (RFC 6749 §4.4.2, RFC 7523 §2.1, RFC 8693 §2.1, RFC 8707 §2).
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the form for OpenAPI; the form itself is read strictly by oauth::form"
)]
struct TokenForm {
    /// `client_credentials`, `urn:ietf:params:oauth:grant-type:jwt-bearer`, or
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    #[schema(value_type = GrantType, example = "client_credentials")]
    grant_type: String,
    /// Permissions, space-separated; all that can be had, when absent.
    #[schema(value_type = String, required = false, example = "orders:read")]
    scope: Option<String>,
    /// The resource server, by its identifier, when that is an absolute URI. May be repeated.
    #[schema(value_type = Vec<String>, required = false, example = json!(["https://orders.example.com"]))]
    resource: Option<Vec<String>>,
    /// The resource server, by its identifier of any form.
    #[schema(value_type = String, required = false)]
    audience: Option<String>,
    /// With `client_secret`, instead of HTTP Basic.
    #[schema(value_type = String, required = false)]
    client_id: Option<String>,
    /// With `client_id`, instead of HTTP Basic.
    #[schema(value_type = String, required = false)]
    client_secret: Option<String>,
    /// A statement that the client has signed, or a token of a trusted issuer, instead of a secret (RFC 7523 §2.2).
    #[schema(value_type = String, required = false)]
    client_assertion: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, or `…:jwt-spiffe` for a JWT-SVID, with
    /// `client_assertion`.
    #[schema(value_type = String, required = false)]
    client_assertion_type: Option<String>,
    /// The token of a trusted issuer that is the grant, with `jwt-bearer` (RFC 7523 §2.1).
    #[schema(value_type = String, required = false)]
    assertion: Option<String>,
    /// The token to exchange (RFC 8693 §2.1): one of this server, or of a trusted issuer.
    #[schema(value_type = String, required = false)]
    subject_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, `…:jwt` or `…:id_token`. The first is always one of this server.
    #[schema(value_type = String, required = false)]
    subject_token_type: Option<String>,
    /// Who acts, when it is not the client itself.
    #[schema(value_type = String, required = false)]
    actor_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, `…:jwt` or `…:id_token`.
    #[schema(value_type = String, required = false)]
    actor_token_type: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, which is the default, or `…:jwt`.
    #[schema(value_type = String, required = false)]
    requested_token_type: Option<String>,
}

/// Ask for a token.
#[utoipa::path(
    post, path = "/oauth2/token", tag = "OAuth",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token", body = TokenBody),
        (status = 400, description = "The request was refused (RFC 6749 §5.2)", body = OAuthErrorBody),
        (status = 401, description = "Client authentication failed", body = OAuthErrorBody),
        (status = 413, description = "The body is over 64 KiB", body = OAuthErrorBody),
        (status = 429, description = "Too many authentications have failed from here; try again after the seconds of Retry-After", body = OAuthErrorBody, headers(("Retry-After" = u64, description = "Seconds until another attempt is looked at"))),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable; no verdict", body = Problem, content_type = "application/problem+json"),
    ),
    security(("client" = []))
)]
async fn token(State(services): State<Shared>, call: ClientCall) -> Response {
    let request = call.request();
    if let Some((status, error)) = call.unread() {
        return match services.tokens.refuse_unread(&request, error).await {
            Failure::Refused(error) => oauth_error(status, &error),
            fault @ Failure::Fault(_) => oauth_failure(&fault),
        };
    }
    match services.tokens.issue(&request).await {
        Ok(token) => {
            let body = TokenBody {
                access_token: token.access_token.expose_secret(),
                token_type: token.token_type,
                expires_in: token.expires_in,
                scope: &token.scope,
                issued_token_type: token.issued_type,
            };
            with_nonce(no_store(answer(&body)), token.dpop_nonce.as_deref())
        }
        Err(failure) => {
            let wanted = matches!(&failure, Failure::Refused(error) if error.code == ErrorCode::UseDpopNonce);
            let nonce = wanted.then(|| services.tokens.dpop.nonce(services.ambient.now()));
            with_nonce(oauth_failure(&failure), nonce.as_deref())
        }
    }
}

/// An answer with the nonce for the caller's next DPoP proof (RFC 9449 §8).
fn with_nonce(mut response: Response, nonce: Option<&str>) -> Response {
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, value);
    }
    response
}

/// JSON in one buffer that is long enough for nearly any token.
fn answer(body: &TokenBody<'_>) -> Response {
    let mut json = Vec::with_capacity(1_536);
    match serde_json::to_writer(&mut json, body) {
        Ok(()) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response(),
        Err(error) => Problem::from(&Fault::internal(error)).into_response(),
    }
}

/// What this server supports (RFC 8414).
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "OAuth",
    responses(
        (status = 200, description = "The metadata", body = Metadata, headers(("ETag" = String, description = "Its hash"))),
        (status = 304, description = "It has not changed since the ETag"),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metadata(State(services): State<Shared>, headers: HeaderMap) -> Response {
    let algorithms = services.keyring.algorithms(services.ambient.now());
    let (issuer, mtls) = (services.issuer.as_str(), services.mtls_url.as_deref());
    let document = discovery::metadata(issuer, mtls, services.admin.reach, algorithms);
    cacheable(&headers, &document, services.rotator.schedule())
}

/// The same, where OpenID Connect looks for it.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "OAuth",
    responses(
        (status = 200, description = "The metadata", body = Metadata, headers(("ETag" = String, description = "Its hash"))),
        (status = 304, description = "It has not changed since the ETag"),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn openid_configuration(services: State<Shared>, headers: HeaderMap) -> Response {
    metadata(services, headers).await
}

/// What this server's API says of itself as a protected resource (RFC 9728).
///
/// The path is the one that RFC 9728 §3.1 makes of the API's identifier. At the path without `/api/v1` there is
/// nothing: that would be about another resource, and clients must refuse such a document (§3.3).
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource/api/v1", tag = "OAuth",
    responses(
        (status = 200, description = "The metadata", body = ProtectedResource, headers(("ETag" = String, description = "Its hash"))),
        (status = 304, description = "It has not changed since the ETag"),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The API is not registered yet", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn protected_resource(State(services): State<Shared>, headers: HeaderMap) -> Response {
    let catalog = services.tokens.directory.catalog();
    let api = catalog.api().and_then(|api| protected_resource::document(services.issuer.as_str(), api));
    match api {
        Some(document) => cacheable(&headers, &document, services.rotator.schedule()),
        None => Problem::from(&Fault::unavailable("the API is not registered yet")).into_response(),
    }
}

/// Public keys (RFC 7517 §5).
#[derive(ToSchema)]
#[schema(example = json!({"keys": [{
    "kty": "EC", "use": "sig", "alg": "ES256", "kid": "Sg7b9rBJ0Hc2bV4gkPjGq3n1pXb0C7uN5sTj2aYwVdE", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}]}))]
#[expect(dead_code, reason = "describes the document for OpenAPI; runtime::keyring writes it")]
struct KeySet {
    /// The keys, also those that sign soon or no longer.
    keys: Vec<PublicKey>,
}

/// A public key. Which other members it has depends on `kty`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the document for OpenAPI; jose::jwk writes it")]
struct PublicKey {
    /// The kind of key: `EC`, `RSA`, `OKP` or `AKP`.
    kty: String,
    /// Names it in the header of a token.
    kid: KeyId,
    /// What it is used with.
    alg: Algorithm,
    /// What it is for.
    #[schema(rename = "use")]
    usage: String,
}

/// The public keys that verify tokens (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "OAuth",
    responses(
        (status = 200, description = "The key set", body = KeySet, headers(("ETag" = String, description = "Its hash"))),
        (status = 304, description = "It has not changed since the ETag"),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "This replica may not know the newest keys", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn jwks(State(services): State<Shared>, headers: HeaderMap) -> Response {
    let schedule = services.rotator.schedule();
    // An older set could lack a key that signs before whoever fetches it now fetches again.
    if let Err(fault) = services.tokens.directory.check_heard(schedule.staleness()) {
        return Problem::from(&fault).into_response();
    }
    cacheable(&headers, &services.keyring.jwks(services.ambient.now()), schedule)
}

/// The longest that anybody may keep a public document without asking again.
const MAX_AGE: Duration = Duration::from_mins(5);

/// How much longer while this server is away.
const STALE_IF_ERROR: Duration = Duration::from_hours(1);

/// A public document that verifiers may keep for a while, and keep using while this server is away: both together
/// for no longer than the schedule of the keys counts with.
fn cacheable<T: Serialize>(headers: &HeaderMap, document: &T, schedule: &Schedule) -> Response {
    let Ok(text) = serde_json::to_string(document) else {
        return Problem::from(&Fault::internal("a document cannot be written")).into_response();
    };
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let etag = format!("\"{}\"", BASE64URL.encode(&hash.as_ref()[..12]));
    let lifetime = MAX_AGE.min(schedule.verifier_cache());
    let away = STALE_IF_ERROR.min(schedule.verifier_cache().saturating_sub(lifetime)).as_secs();
    let lifetime = lifetime.as_secs();
    let caching =
        [(CACHE_CONTROL, format!("public, max-age={lifetime}, stale-if-error={away}")), (ETAG, etag.clone())];
    let unchanged = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag);
    if unchanged {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, "application/json")], text).into_response()
}
