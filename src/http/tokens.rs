//! What becomes of tokens that were issued: introspection and revocation.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::error::{OAuthErrorBody, Problem, no_store, oauth_error, oauth_failure};
use super::extract::ClientCall;
use crate::domain::error::Failure;
use crate::oauth::introspection::Introspection;

/// The media type of a signed answer (RFC 9701 §4).
const SIGNED: &str = "application/token-introspection+jwt";

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(introspect)).routes(routes!(revoke))
}

/// What a request to introspect or to revoke may hold (RFC 7662 §2.1, RFC 7009 §2.1).
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the form for OpenAPI; the form itself is read strictly by oauth::form"
)]
struct AboutToken {
    /// The token.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9…")]
    token: String,
    /// Ignored: there is one sort of token.
    #[schema(value_type = String, required = false, example = "access_token")]
    token_type_hint: Option<String>,
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
}

/// Ask whether a token counts (RFC 7662).
///
/// For clients that operate one of the token's resource servers, and for those with the permission
/// `tokens:introspect`. Everybody else hears `{"active":false}`, as of every token that does not count.
#[utoipa::path(
    post, path = "/oauth2/introspect", tag = "OAuth",
    request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Whether it counts; a signed JWT when Accept names application/token-introspection+jwt (RFC 9701)", body = Introspection),
        (status = 400, description = "The request is malformed", body = OAuthErrorBody),
        (status = 401, description = "Client authentication failed", body = OAuthErrorBody),
        (status = 413, description = "The body is over 64 KiB", body = OAuthErrorBody),
        (status = 429, description = "Too many authentications have failed from here; try again after the seconds of Retry-After", body = OAuthErrorBody, headers(("Retry-After" = u64, description = "Seconds until another attempt is looked at"))),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable; no verdict", body = Problem, content_type = "application/problem+json"),
    ),
    security(("client" = []))
)]
async fn introspect(State(services): State<Shared>, call: ClientCall) -> Response {
    let request = call.request();
    if let Some((status, error)) = call.unread() {
        return match services.introspection.gate.refuse(&request, None, error).await {
            Failure::Refused(error) => oauth_error(status, &error),
            fault @ Failure::Fault(_) => oauth_failure(&fault),
        };
    }
    match services.introspection.introspect(&request).await {
        Ok((answer, asker)) if call.accepts(SIGNED) => {
            match services.introspection.sign(&answer, &asker, services.ambient.now()).await {
                Ok(jwt) => no_store(([(CONTENT_TYPE, SIGNED)], jwt).into_response()),
                Err(fault) => Problem::from(&fault).into_response(),
            }
        }
        Ok((answer, _)) => no_store(Json(answer).into_response()),
        Err(failure) => oauth_failure(&failure),
    }
}

/// Take a token back (RFC 7009).
///
/// Only the client that it was issued to can. A token that does not count is a success, too.
#[utoipa::path(
    post, path = "/oauth2/revoke", tag = "OAuth",
    request_body(content = AboutToken, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It counts no longer, if it did"),
        (status = 400, description = "The request is malformed, or the token was issued to another client", body = OAuthErrorBody),
        (status = 401, description = "Client authentication failed", body = OAuthErrorBody),
        (status = 413, description = "The body is over 64 KiB", body = OAuthErrorBody),
        (status = 429, description = "Too many authentications have failed from here; try again after the seconds of Retry-After", body = OAuthErrorBody, headers(("Retry-After" = u64, description = "Seconds until another attempt is looked at"))),
        (status = 500, description = "Something is broken here", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable; nothing was revoked", body = Problem, content_type = "application/problem+json"),
    ),
    security(("client" = []))
)]
async fn revoke(State(services): State<Shared>, call: ClientCall) -> Response {
    let request = call.request();
    if let Some((status, error)) = call.unread() {
        return match services.revocation.gate.refuse(&request, None, error).await {
            Failure::Refused(error) => oauth_error(status, &error),
            fault @ Failure::Fault(_) => oauth_failure(&fault),
        };
    }
    match services.revocation.revoke(&request).await {
        Ok(()) => no_store(StatusCode::OK.into_response()),
        Err(failure) => oauth_failure(&failure),
    }
}
