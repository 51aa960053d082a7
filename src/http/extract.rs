//! What handlers take out of a request, each with its own clear refusal.

use std::error::Error;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, OriginalUri, Path, Query, Request};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::client_certificate::ClientCertificate;
use super::connection::Peer;
use super::deadline::Deadline;
use super::error::{Problem, SLOW_BODY, etag};
use super::json;
use super::middleware::{Base, Caller};
use super::{API_BODY, Shared, TOKEN_BODY};
use crate::admin::{Authority, By};
use crate::domain::audit::{Actor, Origin};
use crate::domain::error::{Fault, OAuthError};
use crate::oauth::access::{Presented, Scheme};
use crate::oauth::request::ClientRequest;

/// Whoever calls the API, proven by a token, and by a DPoP proof when that is bound.
pub(super) struct Administrator(pub(super) By);

/// A call of an endpoint that clients authenticate at.
pub(super) struct ClientCall {
    parts: Parts,
    origin: Arc<Origin>,
    body: Result<Bytes, Unread>,
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The path's parameters.
pub(super) struct Named<T>(pub(super) T);

/// The query's parameters.
pub(super) struct Filter<T>(pub(super) T);

/// The version that a change is based on, from `If-Match`.
pub(super) struct Version(pub(super) i64);

// === impl Caller ===

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| (&Fault::internal("the request was not observed")).into())
    }
}

// === impl Administrator ===

impl FromRequestParts<Shared> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        let Caller(origin) = Caller::from_request_parts(parts, services).await?;
        let issuer = &services.issuer;
        let token_required = || Problem::token_required(issuer.as_str());
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let header = headers.next().ok_or_else(token_required)?;
        if headers.next().is_some() {
            return Err(Problem::malformed("send one Authorization header"));
        }
        let (scheme, token) = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .and_then(|(scheme, token)| Some((Scheme::from_word(scheme)?, token.trim())))
            .ok_or_else(token_required)?;
        let proofs: Vec<&[u8]> = parts.headers.get_all("dpop").iter().map(HeaderValue::as_bytes).collect();
        // The URL as callers use it: a proxy may have changed Host, and what is nested sees a part of the path.
        let base = parts.extensions.get::<Base>().map_or(issuer.as_str(), |base| &base.0);
        let path = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |uri| uri.0.path());
        let path = path.strip_prefix(issuer.path()).unwrap_or(path);
        let url = format!("{base}{path}");
        let certificate = ClientCertificate::of(&parts.extensions).map_err(Problem::malformed)?;
        let method = parts.method.as_str();
        let presented = Presented { scheme, token, proofs: &proofs, method, url: &url, certificate };
        let principal = services.access.principal(&presented, &origin).await.map_err(|error| {
            Problem::access(&error, scheme, issuer.as_str(), || {
                services.access.dpop.nonce(services.ambient.now())
            })
        })?;
        Ok(Self(By {
            actor: Actor::Client { client_id: principal.client_id, jti: principal.jti },
            origin: (*origin).clone(),
            authority: Authority::Only(principal.permissions),
        }))
    }
}

// === impl ClientCall ===

impl ClientCall {
    /// The request as the protocol takes it.
    pub(super) fn request(&self) -> ClientRequest<'_> {
        let headers = &self.parts.headers;
        ClientRequest {
            content_type: headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            authorization: headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect(),
            dpop: headers.get_all("dpop").iter().map(HeaderValue::as_bytes).collect(),
            query: self.parts.uri.query(),
            body: self.body.as_ref().map_or(&[], |bytes| &bytes[..]),
            base: self.parts.extensions.get::<Base>().map(|base| &*base.0),
            certificate: ClientCertificate::of(&self.parts.extensions).ok().flatten(),
            origin: &self.origin,
        }
    }

    /// Why the request could not be read, if it could not.
    pub(super) fn unread(&self) -> Option<(StatusCode, OAuthError)> {
        if let Err(text) = ClientCertificate::of(&self.parts.extensions) {
            return Some((StatusCode::BAD_REQUEST, OAuthError::invalid_request(text)));
        }
        let (status, text) = match self.body.as_ref().err()? {
            Unread::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is over 64 KiB"),
            Unread::TooSlow => (StatusCode::REQUEST_TIMEOUT, SLOW_BODY),
            Unread::BrokeOff => (StatusCode::BAD_REQUEST, "the body broke off"),
        };
        Some((status, OAuthError::invalid_request(text)))
    }

    /// Whether the caller wants this media type, and says so.
    pub(super) fn accepts(&self, media_type: &str) -> bool {
        accepts(&self.parts.headers, media_type)
    }
}

/// Whether a request wants this media type, and says so.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| wants(range, media_type))
}

/// Whether a media range names this media type, and does not say that it is not acceptable (RFC 9110 §12.4.2).
fn wants(range: &str, media_type: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(media_type));
    let is_refused = |part: &str| {
        part.split_once('=').is_some_and(|(name, weight)| {
            name.trim().eq_ignore_ascii_case("q")
                && weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
        })
    };
    is_named && !parts.any(is_refused)
}

impl FromRequest<Shared> for ClientCall {
    type Rejection = Problem;

    async fn from_request(request: Request, services: &Shared) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(origin) = Caller::from_request_parts(&mut parts, services).await?;
        let body = bounded(&parts, body, TOKEN_BODY).await;
        Ok(Self { parts, origin, body })
    }
}

// === impl Body ===

impl<T: DeserializeOwned + ToSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(CONTENT_TYPE).map(|value| {
            value
                .to_str()
                .unwrap_or_default()
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        });
        let (parts, body) = request.into_parts();
        let bytes = bounded(&parts, body, API_BODY).await.map_err(|unread| match unread {
            Unread::TooLarge => Problem::too_large(),
            Unread::TooSlow => Problem::slow_body(),
            Unread::BrokeOff => Problem::malformed("the body broke off"),
        })?;
        match is_json.as_deref() {
            Some("application/json") => {}
            // Nothing at all stands for an empty object, where every field may be left out.
            None if bytes.is_empty() => {}
            _ => return Err(Problem::media_type()),
        }
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        json::read(text).map(Self)
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is, or says that it is, over the limit.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The connection ended first.
    BrokeOff,
}

/// Reads a body of at most `limit` bytes, which has to arrive in time. One that declares more is refused at once,
/// without waiting for what would be thrown away.
pub(super) async fn bounded(parts: &Parts, body: axum::body::Body, limit: usize) -> Result<Bytes, Unread> {
    let declared =
        parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Unread::TooLarge);
    }
    let body = axum::body::to_bytes(body, limit);
    let read = match parts.extensions.get::<ConnectInfo<Peer>>() {
        None => body.await,
        Some(ConnectInfo(Peer { link, .. })) => {
            let awaited = link.awaits_body();
            let reading = timeout(link.body_timeout(), body);
            let read = match parts.extensions.get::<Deadline>() {
                None => reading.await,
                Some(deadline) => deadline.besides(link.body_timeout(), reading).await,
            };
            drop(awaited);
            read.map_err(|_| {
                link.has_slow_body();
                Unread::TooSlow
            })?
        }
    };
    read.map_err(|error| {
        // The only other error that it can have is that the connection broke.
        let too_large = error.source().is_some_and(<dyn Error>::is::<LengthLimitError>);
        if too_large { Unread::TooLarge } else { Unread::BrokeOff }
    })
}

// === impl Named ===

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::malformed(rejection.body_text()))?;
        Ok(Self(value))
    }
}

// === impl Filter ===

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Filter<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await.map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::malformed(format!("the query: {reason}"))
        })?;
        Ok(Self(value))
    }
}

// === impl Version ===

impl<S: Send + Sync> FromRequestParts<S> for Version {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all(IF_MATCH).iter();
        let header = headers.next().ok_or_else(Problem::precondition_required)?;
        header
            .to_str()
            .ok()
            .filter(|_| headers.next().is_none())
            .and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'))
            // An ETag is compared as it was handed out (RFC 9110 §8.8.3): "01" is not "1".
            .and_then(|tag| tag.parse::<i64>().ok().filter(|version| version.to_string() == tag))
            .map(Self)
            .ok_or_else(|| Problem::malformed("If-Match must be one ETag as it was read, quotes included"))
    }
}

// === impl Version ===

impl Version {
    /// The header that hands a version out.
    pub(super) fn etag(version: i64) -> [(HeaderName, String); 1] {
        [(ETAG, etag(version))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_weight_is_not_wanted_rfc9110_12_4_2() {
        let jwt = "application/token-introspection+jwt";
        for (range, wanted) in [
            ("application/token-introspection+jwt", true),
            (" Application/Token-Introspection+JWT ", true),
            ("application/token-introspection+jwt;q=0.001", true),
            ("application/token-introspection+jwt; profile=x; q=1", true),
            ("application/token-introspection+jwt;q=0", false),
            ("application/token-introspection+jwt; Q=0.000", false),
            ("application/token-introspection+jwt; profile=x ; q = 0", false),
            ("application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants(range, jwt), wanted, "{range}");
        }
    }
}
