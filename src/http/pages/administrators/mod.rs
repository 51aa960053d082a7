//! `/admin/administrators`: the people who administer, and what others do about their accounts.

mod actions;
mod new;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::{Named, Query};
use super::frame::Frame;
use super::listed::Listed;
use super::session::SignedIn;
use super::{page, page_with};
use crate::admin::administrators::AdministratorView;
use crate::domain::administrator::AdministratorRole;
use crate::domain::ids::AdministratorName;
use crate::http::Shared;

/// Where these pages are.
const AT: &str = "/administrators";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/administrators", get(list))
        .route("/administrators/{name}", get(show))
        .merge(new::routes())
        .merge(actions::routes())
}

/// What somebody may do, in words.
const fn may(role: AdministratorRole) -> &'static str {
    match role {
        AdministratorRole::Administrator => "administrator: everything",
        AdministratorRole::Auditor => "auditor: see everything and change nothing",
    }
}

#[derive(Template)]
#[template(path = "administrators/list.html")]
struct List {
    frame: Frame,
    people: Vec<AdministratorView>,
    next: Option<String>,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let found = services.admin.administrators(&session.by, &query.page()).await;
    let frame = session.frame("Administrators", AT).telling(&query);
    let Listed { status, items: people, next, .. } = Listed::new(query, found)?;
    Ok(page_with(status, &List { frame, people, next }))
}

#[derive(Template)]
#[template(path = "administrators/show.html")]
struct Show {
    frame: Frame,
    path: String,
    person: AdministratorView,
}

// === impl Show ===

impl Show {
    /// Why they cannot sign in, if they cannot.
    fn stands(&self) -> Option<&'static str> {
        match (self.person.enabled, self.person.password || self.person.external.is_some()) {
            (false, _) => Some("The account is disabled: they cannot sign in."),
            (true, false) => Some("They have not set a password yet. Their link does that; it lasts a day."),
            (true, true) => None,
        }
    }
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    query: Query,
) -> Result<Response, PageError> {
    Ok(page(&Show {
        frame: session.frame(name.as_str(), AT).telling(&query),
        path: session.path(&["administrators", name.as_str()]),
        person: services.admin.administrator(&session.by, &name).await?,
    }))
}
