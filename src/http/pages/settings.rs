//! `/admin/settings`: what is in force. It is changed in the configuration, not here.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::frame::Frame;
use super::page;
use super::session::SignedIn;
use crate::config::ToldSetting;
use crate::http::Shared;

/// Where this page is.
const AT: &str = "/settings";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/settings", get(show))
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Show<'a> {
    frame: Frame,
    settings: &'a [ToldSetting],
    version: &'static str,
}

async fn show(State(services): State<Shared>, session: SignedIn) -> Response {
    let frame = session.frame("Settings", AT);
    page(&Show { frame, settings: &services.settings, version: env!("CARGO_PKG_VERSION") })
}
