//! `/metrics`, for Prometheus and whatever else reads `OpenMetrics`, on a listener of its own: it needs no token, so
//! it stays where only the operator's network reaches it.
//!
//! What there is, [`described`] says, once, for the scrape and for docs/metrics.md. What is true now, [`gathered`]
//! reads. A label's value is a word of ours, never one that a caller sent: that is its type.

mod described;
mod exposition;
mod gathered;
mod reference;

pub use self::reference::reference;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;

use self::exposition::Exposition;
use super::Shared;
use super::error::{Problem, no_such_method, no_such_path};
use crate::domain::error::Fault;

/// What `OpenMetrics` 1.0 calls itself.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics as a server of their own.
pub fn metrics(services: Shared) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(services)
}

async fn scrape(State(services): State<Shared>) -> Response {
    match Exposition(gathered::families(&services)).encode() {
        Ok(body) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => Problem::from(&Fault::internal(error)).into_response(),
    }
}
