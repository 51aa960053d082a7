//! `/admin`

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::frame::Frame;
use super::page;
use super::session::SignedIn;
use crate::http::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/", get(show))
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
}

async fn show(session: SignedIn) -> Response {
    page(&Dashboard { frame: session.frame("Dashboard", "") })
}
