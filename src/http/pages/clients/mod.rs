//! `/admin/clients`: clients, and all that is done with one.

mod actions;
mod certificates;
mod credential;
mod dry_run;
mod edit;
mod federation;
mod fields;
mod keys;
mod new;
mod roles;
mod rotation;
mod secrets;
mod show;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::{Form, Query};
use super::frame::Frame;
use super::listed::Listed;
use super::page_with;
use super::session::SignedIn;
use crate::admin::clients::ClientView;
use crate::domain::client::ClientKind;
use crate::domain::error::FieldError;
use crate::http::Shared;
use crate::storage::ClientFilter;

/// Where these pages are.
const AT: &str = "/clients";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/clients", get(list))
        .merge(new::routes())
        .merge(show::routes())
        .merge(edit::routes())
        .merge(actions::routes())
        .merge(secrets::routes())
        .merge(certificates::routes())
        .merge(keys::routes())
        .merge(credential::routes())
        .merge(federation::routes())
        .merge(rotation::routes())
        .merge(roles::routes())
        .merge(dry_run::routes())
}

#[derive(Template)]
#[template(path = "clients/list.html")]
struct List {
    frame: Frame,
    /// What was searched for.
    form: Form,
    kinds: Vec<(&'static str, &'static str)>,
    states: [(&'static str, &'static str); 3],
    clients: Vec<ClientView>,
    next: Option<String>,
    /// Whether anything narrows the list.
    filtered: bool,
}

/// Clients, with what narrows the list.
async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let found = match filter(&query) {
        Ok(filter) => services.admin.clients(&session.by, &filter, &query.page()).await,
        Err(error) => Err(error.into()),
    };
    let names = ["q", "kind", "owner", "label", "state"];
    let filtered = names.iter().any(|name| query.given(name).is_some());
    let frame = session.frame("Clients", AT).telling(&query);
    let Listed { status, form, items: clients, next } = Listed::new(query, found)?;
    let states = [("", "Any"), ("enabled", "Enabled"), ("disabled", "Disabled")];
    Ok(page_with(status, &List { frame, form, kinds: kinds(), states, clients, next, filtered }))
}

fn kinds() -> Vec<(&'static str, &'static str)> {
    let all = ClientKind::ALL.iter().map(|kind| (kind.as_str(), kind.as_str()));
    std::iter::once(("", "Any")).chain(all).collect()
}

fn filter(query: &Query) -> Result<ClientFilter, FieldError> {
    let label = query.given("label").map(|label| match label.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(FieldError::new("label", "it has no '='", "write name=value, for example team=finance")),
    });
    Ok(ClientFilter {
        kind: query.given("kind").as_deref().and_then(ClientKind::from_word),
        owner: query.given("owner"),
        label: label.transpose()?,
        text: query.given("q"),
        enabled: query.given("state").map(|state| state == "enabled"),
    })
}
