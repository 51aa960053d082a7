//! `/admin/audit`: what was done, by whom, and what was refused.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::error::PageError;
use super::events::EventRow;
use super::form::{Form, Query};
use super::frame::Frame;
use super::session::SignedIn;
use super::{page, page_with};
use crate::admin::AdminError;
use crate::admin::audit::EventQuery;
use crate::domain::audit::{Event, Outcome};
use crate::domain::error::FieldError;
use crate::domain::time::Timestamp;
use crate::http::Shared;

/// Where this page is.
const AT: &str = "/audit";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/audit", get(list))
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct List {
    frame: Frame,
    form: Form,
    kinds: Vec<(&'static str, &'static str)>,
    outcomes: Vec<(&'static str, &'static str)>,
    events: Vec<EventRow>,
    next: Option<String>,
    /// The same question to the API.
    api: String,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let found = match wanted(&query) {
        Ok(wanted) => services.admin.audit_events(&session.by, wanted, &query.page()).await,
        Err(error) => Err(error),
    };
    let any = std::iter::once(("", "Any"));
    let mut list = List {
        frame: session.frame("Audit", AT),
        form: Form::default(),
        kinds: any.clone().chain(Event::KINDS.iter().map(|kind| (*kind, *kind))).collect(),
        outcomes: any.chain(Outcome::ALL.iter().map(|one| (one.as_str(), one.as_str()))).collect(),
        events: Vec::new(),
        next: None,
        api: format!("{}/api/v1/audit-events", services.issuer.as_str()),
    };
    match found {
        Ok(found) => {
            list.next = query.next(found.next_cursor.as_deref());
            list.events = found.items.into_iter().map(EventRow::from).collect();
            list.form = query.0;
            Ok(page(&list))
        }
        Err(error) => {
            list.form = query.0.refused(error)?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &list))
        }
    }
}

fn wanted(query: &Query) -> Result<EventQuery, AdminError> {
    Ok(EventQuery {
        from: time(query, "from")?,
        to: time(query, "to")?,
        client_id: query.given("client_id"),
        kind: query.given("kind"),
        outcome: query.given("outcome").as_deref().and_then(Outcome::from_word),
        jti: query.given("jti"),
        txn: query.given("txn"),
    })
}

/// A time in UTC, as `datetime-local` sends it or as RFC 3339 has it.
fn time(query: &Query, name: &'static str) -> Result<Option<Timestamp>, AdminError> {
    let Some(text) = query.given(name) else { return Ok(None) };
    let written = [text.clone(), format!("{text}Z"), format!("{text}:00Z")];
    let read = written.iter().find_map(|text| Timestamp::parse(text).ok());
    read.map(Some).ok_or_else(|| {
        FieldError::new(name, "it is not a time", "write it as 2026-11-22T08:00, in UTC").into()
    })
}
