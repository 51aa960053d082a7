//! What holds for every request: an identifier, the caller's address, a log line.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderMap};
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use tracing::Instrument;

use super::Shared;

/// Who is on the other end, as far as the connection tells. Every request has it as an extension.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The address, seen past trusted proxies; absent when a proxy did not say.
    pub(super) address: Option<IpAddr>,
    /// The `x-request-id` of the answer.
    pub(super) request_id: Arc<str>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(State(services): State<Shared>, mut request: Request, next: Next) -> Response {
    let started = services.ambient.now();
    let request_id = request_id(&services, request.headers());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let address = peer.and_then(|peer| caller_address(peer, request.headers(), &services.trusted_proxies));
    request.extensions_mut().insert(Caller { address, request_id: Arc::clone(&request_id) });
    let method = request.method().clone();
    // The path only: a query may hold what a careless client put there.
    let path = request.uri().path().to_owned();

    // Every log line of this request carries its identifier, as answers and audit events do; at the level
    // of errors, so that it is there whatever the log's level is.
    let span = tracing::error_span!("request", id = &*request_id);
    let mut response = next.run(request).instrument(span).await;

    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let micros = services.ambient.now().as_micros() - started.as_micros();
    tracing::debug!(%method, path, status = response.status().as_u16(), micros, request_id = &*request_id, "answered");
    response
}

/// What the API says is for the caller alone, and changes at any time.
pub(super) async fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The caller's own identifier if it is a harmless one, so that its logs and ours meet; else a new one.
fn request_id(services: &Shared, headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    match given {
        Some(text) => Arc::from(text),
        None => services.ambient.token_id().map_or_else(|_| Arc::from("unknown"), Arc::from),
    }
}

/// The address of whoever stands before the trusted proxies: the last entry of `X-Forwarded-For` that
/// none of them added itself. What stands before that entry anybody could have written.
fn caller_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
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
    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> Option<IpAddr> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        caller_address(peer.parse().unwrap(), &headers, &["10.0.0.0/8".parse().unwrap()])
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
