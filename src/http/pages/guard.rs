//! What holds for every page: where a request that changes something may come from, the headers of every answer, and
//! the look of errors.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, HOST, LOCATION, ORIGIN, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::error::{self, Explained, MustSignIn, PageError};
use super::session::{Seen, base};
use crate::config::Issuer;
use crate::http::Shared;
use crate::http::deadline;
use crate::http::middleware::Caller;

/// Nothing from elsewhere, nothing inline, nothing in a frame. Pico CSS has pictures in `data:` URLs.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const YEAR_OF_HTTPS: &str = "max-age=31536000";

/// The same in every answer of the pages.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Around every page.
pub(super) async fn around(State(services): State<Shared>, request: Request, next: Next) -> Response {
    let issuer = &services.issuer;
    let seen = request.extensions().get::<Seen>().cloned().unwrap_or_default();
    let request_id =
        request.extensions().get::<Caller>().and_then(|Caller(origin)| origin.request_id.clone());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let (by_htmx, is_part) = (request.headers().contains_key("hx-request"), is_part(request.headers()));
    let mut response = if reads || is_same_origin(request.headers(), issuer) {
        let answered = deadline::in_time(request, next).await;
        answered.unwrap_or_else(|fault| PageError::from(fault).into_response())
    } else {
        PageError::CrossSite.into_response()
    };
    if let Some(MustSignIn(wanted)) = response.extensions().get().cloned() {
        response = sign_in_first(issuer, &wanted, reads, by_htmx, response);
    }
    if let Some(explained) = response.extensions().get::<Explained>().cloned() {
        let (mut parts, _) = response.into_parts();
        let words = (request_id.as_deref().unwrap_or("unknown"), is_part);
        let whole = error::render(parts.status, &explained, (base(issuer), &seen), words);
        parts.headers.extend(whole.headers().clone());
        response = Response::from_parts(parts, whole.into_body());
    }
    finish(response, issuer)
}

/// To the page where one signs in, if that helps whoever asked: a browser that opens a page, or htmx.
fn sign_in_first(
    issuer: &Issuer,
    wanted: &str,
    reads: bool,
    by_htmx: bool,
    mut refused: Response,
) -> Response {
    // What a form was about to do is not done later, by following a link.
    let next: String = if reads && !by_htmx {
        url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect()
    } else {
        String::new()
    };
    let query = if next.is_empty() { String::new() } else { format!("?next={next}") };
    let Ok(to) = HeaderValue::try_from(format!("{}/sign-in{query}", base(issuer))) else { return refused };
    if by_htmx {
        refused.headers_mut().insert(HeaderName::from_static("hx-redirect"), to);
        return refused;
    }
    if reads {
        return (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response();
    }
    refused
}

fn finish(mut response: Response, issuer: &Issuer) -> Response {
    let status = response.status();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // A link that sets a password has its secret in the address.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if issuer.as_str().starts_with("https:") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(YEAR_OF_HTTPS));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("2"));
    }
    response
}

/// htmx wants a part of a page, and says so.
fn is_part(headers: &HeaderMap) -> bool {
    headers.get("hx-request-type").is_some_and(|value| value == "partial")
}

/// Whether one of our own pages sent this. Every current browser says so in `Sec-Fetch-Site`, which no page can
/// forge; one that does not has `Origin`. Whoever sends neither is no browser, and has the API.
pub(super) fn is_same_origin(headers: &HeaderMap, issuer: &Issuer) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next().map(HeaderValue::as_bytes), sites.next()) {
        (Some(b"same-origin"), None) => true,
        (None | Some(b"none"), None) => has_our_origin(headers, issuer),
        _ => false,
    }
}

fn has_our_origin(headers: &HeaderMap, issuer: &Issuer) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next().and_then(|value| value.to_str().ok()), origins.next()) else {
        return false;
    };
    let ours = issuer.as_str().strip_suffix(issuer.path()).unwrap_or(issuer.as_str());
    if origin == ours {
        return true;
    }
    // Loopback has several names, and whoever listens there may be opened under any. Others than these a page
    // elsewhere could have pointed here (DNS rebinding).
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
    ours.starts_with("http:") && is_loopback && origin.strip_prefix("http://") == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(issuer: &str, lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_same_origin(&headers, &Issuer::parse(issuer).unwrap())
    }

    #[test]
    fn only_our_own_pages_change_something() {
        let issuer = "https://id.example.com/tenant";
        assert!(allowed(issuer, &[("sec-fetch-site", "same-origin")]));
        assert!(allowed(issuer, &[("origin", "https://id.example.com")]));
        assert!(allowed(issuer, &[("sec-fetch-site", "none"), ("origin", "https://id.example.com")]));
        for refused in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://id.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "https://id.example.com.evil.example")],
            &[("origin", "https://id.example.com"), ("origin", "https://evil.example")],
            &[("origin", "http://localhost:8080"), ("host", "localhost:8080")],
        ] {
            assert!(!allowed(issuer, refused), "{refused:?}");
        }
    }

    #[test]
    fn loopback_has_several_names() {
        let issuer = "http://127.0.0.1:8080";
        assert!(allowed(issuer, &[("origin", "http://localhost:8080"), ("host", "localhost:8080")]));
        assert!(allowed(issuer, &[("origin", "http://[::1]:8080"), ("host", "[::1]:8080")]));
        for refused in [
            &[("origin", "http://evil.example:8080"), ("host", "evil.example:8080")][..],
            &[("origin", "http://localhost:9090"), ("host", "localhost:8080")],
            &[("origin", "http://localhost:8080")],
        ] {
            assert!(!allowed(issuer, refused), "{refused:?}");
        }
    }
}
