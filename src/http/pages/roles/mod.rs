//! `/admin/roles`: roles, who has them, and what they give.

mod edit;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::{Form, Named, Query};
use super::frame::Frame;
use super::listed::Listed;
use super::session::SignedIn;
use super::{page, page_with};
use crate::admin::impact::RoleImpact;
use crate::admin::roles::RoleView;
use crate::domain::ids::RoleName;
use crate::http::Shared;

/// Where these pages are.
const AT: &str = "/roles";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/roles", get(list)).route("/roles/{name}", get(show)).merge(edit::routes())
}

#[derive(Template)]
#[template(path = "roles/list.html")]
struct List {
    frame: Frame,
    form: Form,
    roles: Vec<RoleView>,
    next: Option<String>,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let found = services.admin.roles(&session.by, query.given("q").as_deref(), &query.page()).await;
    let frame = session.frame("Roles", AT).telling(&query);
    let Listed { status, form, items: roles, next } = Listed::new(query, found)?;
    Ok(page_with(status, &List { frame, form, roles, next }))
}

#[derive(Template)]
#[template(path = "roles/show.html")]
struct Show {
    frame: Frame,
    path: String,
    role: RoleView,
    impact: RoleImpact,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<RoleName>,
    query: Query,
) -> Result<Response, PageError> {
    Ok(page(&Show {
        frame: session.frame(name.as_str(), AT).telling(&query),
        path: session.path(&["roles", name.as_str()]),
        role: services.admin.role(&session.by, &name).await?,
        impact: services.admin.role_impact(&session.by, &name).await?,
    }))
}
