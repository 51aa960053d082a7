//! `/admin/delegations`: who has acted for whom towards what, from real exchanges.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::error::PageError;
use super::form::{Form, Query};
use super::frame::Frame;
use super::page_with;
use super::session::SignedIn;
use crate::admin::statistics::{DelegationQuery, Delegations};
use crate::domain::tally::outsiders_issuer;
use crate::http::Shared;
use crate::http::pictures::{DelegationGraph, Edge, Node, delegation_graph};

/// Where this page is.
const AT: &str = "/delegations";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/delegations", get(show))
}

#[derive(Template)]
#[template(path = "delegations.html")]
struct Page {
    frame: Frame,
    form: Form,
    /// Nothing, where the question is wrong.
    found: Option<Delegations>,
    /// SVG, with every text in it escaped.
    picture: String,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let wanted = DelegationQuery { client_id: query.given("client_id"), ..DelegationQuery::default() };
    let (form, found) = match services.admin.delegations(&session.by, wanted).await {
        Ok(found) => (query.0, Some(found)),
        Err(error) => (query.0.refused(error)?, None),
    };
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let audit = session.path(&["audit"]);
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let node = |label: &str, href: Option<String>| Node { label: label.to_owned(), href };
    let client = |label: &str| node(label, Some(session.path(&["clients", label])));
    let edges: Vec<_> = found
        .iter()
        .flat_map(|found| &found.edges)
        .map(|edge| Edge {
            subject: match outsiders_issuer(&edge.subject) {
                None => client(&edge.subject),
                Some(_) => node(&edge.subject, None),
            },
            actor: client(&edge.actor),
            // It is told by its audience; its page is found by its name.
            audience: node(
                &edge.audience,
                edge.resource_server.as_ref().map(|name| session.path(&["resource-servers", name.as_str()])),
            ),
            href: Some(format!("{audit}?kind=token_issued&client_id={}", encoded(&edge.actor))),
            exchanges: edge.exchanges,
        })
        .collect();
    let title = "Who acts for whom towards what";
    let picture = delegation_graph(&DelegationGraph { id: "delegations", title, edges: &edges });
    Ok(page_with(status, &Page { frame: session.frame("Delegations", AT), form, found, picture }))
}
