//! What holds for every request: an identifier, the caller's address, a log line.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use tower_service::Service;
use tracing::Instrument;

use super::Shared;
use super::client_certificate::ClientCertificate;
use super::connection::Peer;
use super::deadline;
use super::endpoints::{self, endpoint};
use super::error::{self, Broken, Problem, Refused};
use super::head;
use crate::domain::audit::Origin;
use crate::domain::error::FaultKind;
use crate::domain::trace_context::TraceParent;
use crate::oauth::access::Scheme;
use crate::runtime::meters::{Endpoint, Outcome};
use crate::telemetry::{Incoming, RequestTrace};

/// Who is on the other end, as far as the connection tells: the address as seen past trusted proxies, absent
/// when a proxy did not say; the `x-request-id` of the answer; the trace. Every request has it as an extension.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<Origin>);

/// The URL that stands for the issuer where certificates of clients are asked for. A request that came by there has
/// it as an extension.
#[derive(Clone, Debug)]
pub(super) struct Base(pub(super) Arc<str>);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The application, and around it what holds for every request. One service around all of it: a layer around
/// each route would cost every request three more allocations.
#[derive(Clone)]
pub struct Observed {
    pub(super) application: Router,
    pub(super) services: Shared,
    /// How large the headers of a request may be together, in bytes.
    pub(super) max_header_size: usize,
}

// === impl Observed ===

impl Observed {
    /// Answers a request.
    pub(super) fn answer(&self, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let Self { application, services, max_header_size } = self.clone();
        Box::pin(observe(services, request, application, max_header_size))
    }
}

async fn observe(
    services: Shared,
    mut request: Request,
    mut application: Router,
    max_header_size: usize,
) -> Response {
    let path = request.uri().path();
    let path = path.strip_prefix(services.issuer.path()).unwrap_or(path);
    let about = endpoint(path);
    let measured = services.tokens.traffic.begin(about);
    let request_id = request_id(&services, request.headers());
    let mut trace = trace(&services, &request, (about, path), &request_id);
    let span = trace.span().clone();
    let address = span.in_scope(|| identify(&services, &mut request));
    trace.came_from(address);
    let trace_id = trace.trace_id().map(|id| id.to_string());
    let origin = Origin { address, request_id: Some(request_id.clone()), trace_id };
    request.extensions_mut().insert(Caller(Arc::new(origin)));
    let method = request.method().clone();
    let uri = request.uri().clone();

    // Where the span is, every log line of this request carries its identifier; a fault's has it always.
    let mut response = if let Some(problem) = head::refusal(&request, max_header_size) {
        problem.into_response()
    } else {
        answered(application.call(request)).instrument(span.clone()).await
    };

    // The path only: a query may hold what a careless client put there.
    let (path, status) = (uri.path(), response.status().as_u16());
    span.in_scope(|| {
        if let Some(Broken(fault)) = response.extensions().get() {
            match fault.kind {
                FaultKind::Unavailable | FaultKind::Uncertain => {
                    tracing::warn!(%fault, path, status, request_id, "answered with a fault");
                }
                FaultKind::Internal | FaultKind::Setup => {
                    tracing::error!(%fault, path, status, request_id, "answered with a fault");
                }
            }
        }
        tracing::debug!(%method, path, status, took = ?measured.took(), request_id, "answered");
    });
    let outcome = outcome(&response);
    trace.end(status, outcome.as_str());
    measured.end(outcome);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a handler answers, also one that panics: that ends this request and no other.
async fn answered(answering: impl Future<Output = Result<Response, Infallible>>) -> Response {
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(Ok(response)) => response,
        Err(_) => error::panicked(),
    }
}

/// The trace of a request for this path below the issuer's, if it has one, and the span that its log lines are told in.
fn trace(
    services: &Shared,
    request: &Request,
    (about, path): (Endpoint, &str),
    request_id: &str,
) -> RequestTrace {
    let headers = request.headers();
    let parent = trace_parent(headers);
    // Without its parent it says nothing (W3C Trace Context §3.3).
    let state = parent.and_then(|_| combined(headers, "tracestate"));
    services.tracing.begin(&Incoming {
        method: endpoints::method(request.method()),
        endpoint: about.as_str(),
        route: endpoints::route(about, path),
        scheme: if services.issuer.as_str().starts_with("https:") { "https" } else { "http" },
        request_id,
        parent,
        state: state.as_deref(),
    })
}

/// Who is on the other end: remembers the certificate, and where the request came by; answers the address.
fn identify(services: &Shared, request: &mut Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| &info.0);
    let is_trusted =
        |address: &IpAddr| services.trusted_proxies.iter().any(|network| network.contains(address));
    let address = peer.map(|peer| peer.address.ip().to_canonical());
    let certificate = address.zip(peer).and_then(|(address, peer)| {
        let header = services.certificate_header.filter(|_| is_trusted(&address));
        ClientCertificate::find(header, peer.shown.as_deref(), request.headers(), &services.client_trust)
    });
    let is_mutual = certificate.is_some() || peer.is_some_and(|peer| peer.mutual);
    let address = address.and_then(|address| caller_address(address, request.headers(), is_trusted));
    if let Some(certificate) = certificate {
        tracing::debug!(certificate = ?certificate.0, "the caller has a certificate");
        request.extensions_mut().insert(certificate);
    }
    if let Some(url) = services.mtls_url.as_ref().filter(|_| is_mutual) {
        request.extensions_mut().insert(Base(Arc::clone(url)));
    }
    address
}

/// What became of a request, as it is counted.
fn outcome(response: &Response) -> Outcome {
    match (response.extensions().get::<Refused>(), response.status().as_u16()) {
        (Some(Refused(code)), _) => Outcome::Error(*code),
        (None, ..400) => Outcome::Ok,
        (None, 400..500) => Outcome::Refused,
        (None, 500..) => Outcome::Fault,
    }
}

/// What the API says is for the caller alone, and changes at any time. It challenges by the scheme that the request came
/// with (RFC 9449 §7.1); whoever refuses a permission knows nothing of schemes.
pub(super) async fn of_api(request: Request, next: Next) -> Response {
    let word = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split(' ').next());
    let scheme = word.and_then(Scheme::from_word);
    let answered = deadline::in_time(request, next).await;
    let mut response = answered.unwrap_or_else(|fault| Problem::from(&fault).into_response());
    if response.status() == StatusCode::FORBIDDEN
        && scheme == Some(Scheme::Dpop)
        && let Some(challenge) = response.headers().get(WWW_AUTHENTICATE).and_then(dpop_challenge)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a challenge for a bearer token says, for a bound one.
fn dpop_challenge(bearer: &HeaderValue) -> Option<HeaderValue> {
    let said = bearer.to_str().ok()?.strip_prefix("Bearer ")?;
    HeaderValue::try_from(format!("DPoP {said}, algs=\"{}\"", error::proof_algorithms())).ok()
}

/// The caller's own identifier if it is a harmless one, so that its logs and ours meet; else a new one.
fn request_id(services: &Shared, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    match given {
        Some(text) => text.to_owned(),
        None => services.ambient.request_id().unwrap_or_else(|_| "unknown".to_owned()),
    }
}

/// The trace that the request belongs to, if it says so once (W3C Trace Context §3.2).
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(single(headers, "traceparent")?)
}

/// What a header says that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())?.to_str().ok()
}

/// What a header says that may be there several times, which means the same as once with all of it (RFC 9110 §5.3).
fn combined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut all = headers.get_all(name).iter().map(HeaderValue::to_str);
    let first = all.next()?.ok()?;
    all.try_fold(Cow::Borrowed(first), |before, next| Some(Cow::Owned(format!("{before},{}", next.ok()?))))
}

/// The address of whoever stands before the trusted proxies: the last entry of `X-Forwarded-For` that
/// none of them added itself. What stands before that entry anybody could have written.
fn caller_address(peer: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let forwarded: Vec<_> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::to_str).collect();
    forwarded
        .iter()
        .rev()
        .flat_map(|value| value.as_ref().map_or("?", |text| *text).rsplit(','))
        .map(|entry| entry.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical()))
        .find(|address| address.is_none_or(|address| !is_trusted(&address)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> Option<IpAddr> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let trusted: IpNet = "10.0.0.0/8".parse().unwrap();
        caller_address(peer.parse().unwrap(), &headers, |address| trusted.contains(address))
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_500_without_its_words_and_the_next_is_answered() {
        let mut application = Router::new().fallback(async |uri: axum::http::Uri| {
            assert!(uri.path() != "/panics", "s3cret-word");
            "well"
        });
        let mut ask = async |path: &str| {
            let request = Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
            let answer = answered(application.call(request)).await;
            let (head, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, 10_000).await.unwrap();
            (head, String::from_utf8(body.to_vec()).unwrap())
        };
        let (head, body) = ask("/panics").await;
        assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(head.headers[http::header::CONTENT_TYPE], "application/problem+json");
        assert!(!body.contains("s3cret") && !body.contains("panic"), "{body}");
        let fault = &head.extensions.get::<Broken>().unwrap().0;
        assert!(!fault.to_string().contains("s3cret"), "{fault}, which is logged");
        let (head, body) = ask("/answers").await;
        assert_eq!((head.status, &*body), (StatusCode::OK, "well"));
    }

    #[test]
    fn two_traces_are_none() {
        let header = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.append("traceparent", header.clone());
        assert!(trace_parent(&headers).is_some_and(|parent| parent.sampled));
        headers.append("traceparent", header);
        assert_eq!(trace_parent(&headers), None);
    }

    #[test]
    fn what_a_state_says_in_parts_it_says_together_w3c_trace_context_3_3() {
        let state = |parts: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for part in parts {
                headers.append("tracestate", HeaderValue::from_bytes(part).unwrap());
            }
            combined(&headers, "tracestate").map(Cow::into_owned)
        };
        assert_eq!(state(&[]), None);
        assert_eq!(state(&[b"a=1,b=2"]).unwrap(), "a=1,b=2");
        assert_eq!(state(&[b"a=1", b"b=2,c=3", b"d=4"]).unwrap(), "a=1,b=2,c=3,d=4");
        assert_eq!(state(&[b"a=1", b"b=\xff"]), None);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(seen("192.0.2.1", &["198.51.100.1"]), address("192.0.2.1"));
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), address("198.51.100.1"));
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), address("198.51.100.1"));
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "198.51.100.1"]), address("198.51.100.1"));
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, nonsense"]), None);
        assert_eq!(seen("10.0.0.1", &[]), None);
    }
}
