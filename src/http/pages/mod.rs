//! The pages for people who administer: server-rendered, calling the same use-cases as the API.
//!
//! To add a page: a file here with `routes()` and a template that extends `layout.html`, one line in [`routes`], one
//! in [`frame::NAVIGATION`]. A handler takes [`session::SignedIn`] and answers [`page`] or a [`PageError`]; what holds for
//! every page (headers, cross-site requests, the look of errors) is done around it.

mod account;
mod administrators;
mod assets;
mod audit;
mod change;
mod clients;
mod confirm;
mod dashboard;
mod delegations;
mod error;
mod events;
mod exchange_rules;
mod form;
mod frame;
mod guard;
mod input;
mod listed;
mod resource_servers;
mod roles;
mod session;
mod set_up;
mod settings;
mod sign_in;
mod signing_keys;
mod single_sign_on;
mod trusted_issuers;
mod visitor;
mod when;

pub use self::single_sign_on::SSO_CALLBACK;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use http::StatusCode;

use self::error::PageError;
use super::{Shared, deadline};
use crate::domain::error::Fault;

/// Where the pages are, after the issuer's path.
pub(super) const AT: &str = "/admin";

/// Every page.
pub(super) fn routes(services: &Shared) -> Router<Shared> {
    Router::new()
        .merge(dashboard::routes())
        .merge(sign_in::routes())
        .merge(single_sign_on::routes().layer(from_fn(deadline::asks_others)))
        .merge(set_up::routes())
        .merge(account::routes())
        .merge(clients::routes())
        .merge(resource_servers::routes())
        .merge(roles::routes())
        .merge(exchange_rules::routes())
        .merge(trusted_issuers::routes().layer(from_fn(deadline::asks_others)))
        .merge(delegations::routes())
        .merge(signing_keys::routes().layer(from_fn(deadline::asks_others)))
        .merge(audit::routes())
        .merge(administrators::routes())
        .merge(settings::routes())
        .route("/assets/{tag}/{name}", get(assets::serve))
        // Not a fallback: the issuer's path makes this a router in a router in a router, where fallbacks are lost.
        .route("/{*anything}", any(no_such_page))
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(services.clone(), guard::around))
        .layer(map_request(remember_person))
}

/// A page. What holds for every answer is added around it.
fn page(template: &impl askama::Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page under another status: 422 for a form that comes back, for example.
fn page_with(status: StatusCode, template: &impl askama::Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => PageError::from(Fault::internal(format!("a template: {error}"))).into_response(),
    }
}

/// What was done, told on the page that follows.
const DONE: &[(&str, &str)] = &[
    ("registered", "It is registered."),
    ("created", "It is created."),
    ("changed", "The change is saved."),
    ("deleted", "It is deleted."),
    ("enabled", "It is enabled."),
    ("disabled", "It is disabled."),
    ("role-given", "It has the role now."),
    ("role-taken", "It no longer has the role."),
    ("secret-removed", "The secret is removed."),
    ("certificate-added", "The certificate is registered."),
    ("certificate-removed", "The certificate is removed."),
    ("key-added", "The key is added."),
    ("key-removed", "The key is removed."),
    ("federation-added", "Those tokens prove it now."),
    ("federation-removed", "The federated credential is removed."),
    ("tokens-revoked", "Its tokens are revoked."),
    ("rotated", "The next key is made. It signs after its lead."),
    ("key-revoked", "The key is revoked."),
    ("sessions-ended", "Their sessions are ended."),
    ("operator-added", "It operates the resource server now."),
    ("operator-removed", "It no longer operates the resource server."),
];

/// To a page that tells what was done: a word of [`DONE`]. Reading that page again does nothing again.
fn done(path: &str, word: &str) -> Response {
    Redirect::to(&format!("{path}?done={word}")).into_response()
}

/// What `?done=` stands for.
fn told(word: &str) -> Option<&'static str> {
    DONE.iter().find(|(other, _)| *other == word).map(|(_, text)| *text)
}

/// So that an error page can have the navigation of whoever is signed in.
async fn remember_person(mut request: Request) -> Request {
    request.extensions_mut().insert(session::Seen::default());
    request
}

/// `/admin/`, as people type it.
pub(super) async fn with_slash(State(services): State<Shared>) -> Redirect {
    Redirect::permanent(&session::base(&services.issuer))
}

async fn no_such_page() -> PageError {
    PageError::NoSuchPage
}

async fn no_such_method() -> PageError {
    PageError::NoSuchMethod
}
