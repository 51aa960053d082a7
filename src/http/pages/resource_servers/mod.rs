//! `/admin/resource-servers`: APIs that accept tokens, their permissions, and who operates them.

mod edit;
mod operators;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::error::PageError;
use super::form::{Form, Named, Query};
use super::frame::Frame;
use super::listed::Listed;
use super::session::SignedIn;
use super::{page, page_with};
use crate::admin::PageRequest;
use crate::admin::impact::ResourceServerImpact;
use crate::admin::operators::OperatorView;
use crate::admin::resource_servers::ResourceServerView;
use crate::domain::ids::ResourceServerName;
use crate::http::Shared;

/// Where these pages are.
const AT: &str = "/resource-servers";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/resource-servers", get(list))
        .route("/resource-servers/{name}", get(show))
        .merge(edit::routes())
        .merge(operators::routes())
}

#[derive(Template)]
#[template(path = "resource-servers/list.html")]
struct List {
    frame: Frame,
    form: Form,
    servers: Vec<ResourceServerView>,
    next: Option<String>,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let text = query.given("q");
    let found = services.admin.resource_servers(&session.by, text.as_deref(), &query.page()).await;
    let frame = session.frame("Resource servers", AT).telling(&query);
    let Listed { status, form, items: servers, next } = Listed::new(query, found)?;
    Ok(page_with(status, &List { frame, form, servers, next }))
}

#[derive(Template)]
#[template(path = "resource-servers/show.html")]
struct Show {
    frame: Frame,
    path: String,
    form: Form,
    server: ResourceServerView,
    impact: ResourceServerImpact,
    operators: Vec<OperatorView>,
    more_operators: bool,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    query: Query,
) -> Result<Response, PageError> {
    let mut shown = read(&services, &session, &name, Form::default()).await?;
    shown.frame = shown.frame.telling(&query);
    Ok(page(&shown))
}

/// The page once more, with a form of it that has to be mended.
async fn again(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
    form: Form,
) -> Result<Response, PageError> {
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &read(services, session, name, form).await?))
}

async fn read(
    services: &Shared,
    session: &SignedIn,
    name: &ResourceServerName,
    form: Form,
) -> Result<Show, PageError> {
    let (admin, by) = (&services.admin, &session.by);
    let operators = admin.operators(by, name, &PageRequest { cursor: None, limit: Some(100) }).await?;
    Ok(Show {
        frame: session.frame(name.as_str(), AT),
        path: session.path(&["resource-servers", name.as_str()]),
        form,
        server: admin.resource_server(by, name).await?,
        impact: admin.resource_server_impact(by, name).await?,
        more_operators: operators.next_cursor.is_some(),
        operators: operators.items,
    })
}
