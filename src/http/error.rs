//! The one place that turns errors into HTTP.

use axum::Json;
use axum::extract::OriginalUri;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::{AdminError, Current};
use crate::domain::builtin;
use crate::domain::error::{ErrorCode, Failure, Fault, FaultKind, FieldError, OAuthError};
use crate::oauth::access::{AccessError, Scheme};
use crate::oauth::{dpop, protected_resource};

/// Seconds after which a caller may try again while something is away.
const RETRY_SECONDS: &str = "2";

/// What to do about a body that did not arrive in time.
pub(super) const SLOW_BODY: &str = "the body did not arrive in time: send it at once, on a new connection";

/// The nonce for the caller's next DPoP proof (RFC 9449 §8.1).
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

// --- OAuth errors ---

/// An error answer of the token endpoint (RFC 6749 §5.2).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OAuthErrorBody {
    /// What went wrong, from a fixed list.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// What to do about it.
    error_description: String,
}

/// An answer that no cache may keep (RFC 6749 §5.1).
pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

impl From<&OAuthError> for OAuthErrorBody {
    fn from(error: &OAuthError) -> Self {
        Self { error: error.code.as_str(), error_description: error.description() }
    }
}

pub(super) fn oauth_error(status: StatusCode, error: &OAuthError) -> Response {
    let body = OAuthErrorBody::from(error);
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(Refused(error.code));
    if error.code == ErrorCode::InvalidClient {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"jeton\", charset=\"UTF-8\""));
    }
    if let Some(wait) = error.retry_after {
        // Rounded up: a moment too early is one more refusal.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    no_store(response)
}

pub(super) fn oauth_failure(failure: &Failure) -> Response {
    match failure {
        Failure::Refused(error) => {
            let status = match error.code {
                ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
                // RFC 6585 §4.
                ErrorCode::TemporarilyUnavailable => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::BAD_REQUEST,
            };
            oauth_error(status, error)
        }
        Failure::Fault(fault) => no_store(Problem::from(fault).into_response()),
    }
}

// --- Problems (RFC 9457) ---

/// What is wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldProblem {
    /// The field, as it was sent.
    field: String,
    /// What is wrong with it.
    problem: String,
    /// What to send instead.
    fix: String,
}

/// An error answer of the API (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Names the sort of problem; stable.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "urn:jeton:problem:invalid")]
    kind: Box<str>,
    /// The sort of problem in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16)]
    status: u16,
    /// What happened this time, and what to do.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// What it is now, for whoever came second.
    #[serde(flatten)]
    #[schema(ignore)]
    overtaken: Option<Box<Overtaken>>,
    #[serde(skip)]
    headers: Vec<(HeaderName, String)>,
    #[serde(skip)]
    fault: Option<Box<Fault>>,
}

/// What a thing is now, as extension members of a problem (RFC 9457 §3.2).
#[derive(Debug, Serialize)]
struct Overtaken {
    etag: String,
    current: Value,
}

/// The answer to a change that somebody else's has overtaken (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes for OpenAPI what a Problem writes")]
pub(super) struct Stale<T> {
    /// Names the sort of problem; stable.
    #[schema(rename = "type", example = "urn:jeton:problem:stale")]
    kind: String,
    /// The sort of problem in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened, and what to do.
    detail: String,
    /// The ETag to base the change on, once it fits what is there now. Only for who may read it.
    etag: Option<String>,
    /// What is there now, as reading it answers. Only for who may read it.
    current: Option<T>,
}

/// The error that an answer refuses with: an extension of the response, for what is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(pub(super) ErrorCode);

/// The fault behind an answer: an extension of the response, for the log.
#[derive(Clone, Debug)]
pub(super) struct Broken(pub(super) Fault);

// === impl Problem ===

impl Problem {
    /// A problem of this sort, in these words.
    pub(super) fn new(
        status: StatusCode,
        kind: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:jeton:problem:{kind}").into(),
            title,
            status: status.as_u16(),
            detail: detail.into().into(),
            errors: Vec::new(),
            overtaken: None,
            headers: Vec::new(),
            fault: None,
        }
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The request cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// Nothing is at this path.
    pub(super) fn no_such_path(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "There is no such path", detail)
    }

    /// The body is of a kind that is not read here.
    pub(super) fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The body is of another kind",
            "send Content-Type: application/json",
        )
    }

    /// The body is too large.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", "send at most 1 MiB")
    }

    /// The body did not arrive in time.
    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time", SLOW_BODY)
    }

    /// Fields are wrong.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let errors = errors
            .into_iter()
            .map(|error| FieldProblem {
                field: error.field.into(),
                problem: error.problem,
                fix: error.fix.into(),
            })
            .collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Fields are wrong", detail) }
    }

    /// A change needs the version it is based on (RFC 6585 §3).
    pub(super) fn precondition_required() -> Self {
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition-required",
            "The version is missing",
            "send If-Match with the ETag that you read, so that nobody's change is overwritten",
        )
    }

    /// There is no token (RFC 6750 §3). The challenge says where the API describes itself (RFC 9728 §5.1).
    pub(super) fn token_required(issuer: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "token-required",
            "A token is needed",
            "send Authorization: Bearer with an access token for this API (resource=<issuer>/api/v1)",
        )
        .header(WWW_AUTHENTICATE, format!("Bearer realm=\"jeton\"{}", described(issuer)))
    }

    /// A token that came under this scheme is refused (RFC 6750 §3, RFC 9449 §7.1). `nonce` is what the next
    /// proof must have, if that is why.
    pub(super) fn access(
        error: &AccessError,
        scheme: Scheme,
        issuer: &str,
        nonce: impl FnOnce() -> String,
    ) -> Self {
        let (code, reason, problem) = match error {
            AccessError::Fault(fault) => return fault.into(),
            AccessError::Invalid(reason) => (
                "invalid_token",
                (*reason).to_owned(),
                Self::new(StatusCode::UNAUTHORIZED, "token-invalid", "The token is not accepted", *reason),
            ),
            AccessError::Proof(error) => {
                let (reason, title) = (error.description(), "The DPoP proof is not accepted");
                let problem = Self::new(StatusCode::UNAUTHORIZED, "dpop-proof", title, reason.clone());
                let wanted = error.code == ErrorCode::UseDpopNonce;
                let problem = if wanted { problem.header(DPOP_NONCE, nonce()) } else { problem };
                (error.code.as_str(), reason, problem)
            }
        };
        let said = format!("realm=\"jeton\", error=\"{code}\", error_description=\"{reason}\"");
        let described = described(issuer);
        let challenge = match scheme {
            Scheme::Bearer => format!("Bearer {said}{described}"),
            Scheme::Dpop => {
                format!("DPoP {said}, algs=\"{}\"{described}", proof_algorithms())
            }
        };
        problem.header(WWW_AUTHENTICATE, challenge)
    }
}

/// What a proof may be signed with, for a challenge (RFC 9449 §7.1).
pub(super) fn proof_algorithms() -> String {
    let names: Vec<_> = dpop::ALGORITHMS.iter().map(|algorithm| algorithm.as_str()).collect();
    names.join(" ")
}

/// The entity tag of a version (RFC 9110 §8.8.3).
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The parameter of a challenge that says where the API describes itself (RFC 9728 §5.1).
fn described(issuer: &str) -> String {
    let url = protected_resource::metadata_url(&builtin::api_identifier(issuer));
    url.map(|url| format!(", resource_metadata=\"{url}\"")).unwrap_or_default()
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let headers = std::mem::take(&mut self.headers);
        let fault = self.fault.take();
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        if let Some(fault) = fault {
            response.extensions_mut().insert(Broken(*fault));
        }
        response
    }
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        let problem = match fault.kind {
            FaultKind::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
                "nothing was decided and nothing was changed; try again shortly",
            )
            .header(RETRY_AFTER, RETRY_SECONDS),
            FaultKind::Uncertain => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
                "it is not known whether it was done: look whether it was before you try again",
            )
            .header(RETRY_AFTER, RETRY_SECONDS),
            FaultKind::Internal | FaultKind::Setup => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something is broken here",
                "the server's log has the reason under this response's x-request-id",
            ),
        };
        Self { fault: Some(Box::new(fault.clone())), ..problem }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let detail = error.to_string();
        match error {
            AdminError::Invalid(errors) => Self::invalid(errors),
            AdminError::Forbidden { permission, .. } => {
                let challenge =
                    format!("Bearer realm=\"jeton\", error=\"insufficient_scope\", scope=\"{permission}\"");
                Self::new(StatusCode::FORBIDDEN, "forbidden", "A permission is missing", detail)
                    .header(WWW_AUTHENTICATE, challenge)
            }
            AdminError::NotFound { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
            }
            AdminError::Conflict(_) | AdminError::VoidLink => {
                Self::new(StatusCode::CONFLICT, "conflict", "It contradicts what is registered", detail)
            }
            AdminError::Stale { current } => {
                let problem =
                    Self::new(StatusCode::PRECONDITION_FAILED, "stale", "Somebody else changed it", detail);
                let overtaken = current.map(|current| {
                    let Current { version, representation } = *current;
                    Box::new(Overtaken { etag: etag(version), current: representation })
                });
                Self { overtaken, ..problem }
            }
            AdminError::Fault(fault) => (&fault).into(),
        }
    }
}

// --- What no handler answers ---

pub(super) async fn no_such_path() -> Problem {
    Problem::no_such_path(
        "openapi.yaml lists the API's paths, and /.well-known/oauth-authorization-server the others",
    )
}

/// axum adds the `Allow` header.
pub(super) async fn no_such_method(OriginalUri(uri): OriginalUri) -> Response {
    if uri.path().contains("/oauth2/") {
        let error = OAuthError::invalid_request("use POST (RFC 6749 section 3.2)");
        return oauth_error(StatusCode::METHOD_NOT_ALLOWED, &error);
    }
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no-such-method",
        "This path does not take this method",
        "the Allow header has those that it takes",
    )
    .into_response()
}

/// The message of a panic could hold anything, so it is not logged; the standard hook printed it.
pub(super) fn panicked() -> Response {
    Problem::from(&Fault::internal("a handler panicked")).into_response()
}
