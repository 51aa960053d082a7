//! `/admin/audit`: what was done, by whom, and what was refused.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap};

use super::error::PageError;
use super::events::EventRow;
use super::form::{Form, Query};
use super::frame::Frame;
use super::guard::is_same_origin;
use super::listed::Listed;
use super::page_with;
use super::session::SignedIn;
use crate::admin::AdminError;
use crate::admin::audit::EventQuery;
use crate::admin::audit_watch::AuditState;
use crate::domain::audit::{Event, Outcome};
use crate::domain::error::{Fault, FieldError};
use crate::domain::time::Timestamp;
use crate::http::Shared;

/// Where this page is.
const AT: &str = "/audit";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/audit", get(list)).route("/audit/export", get(export))
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
    /// The query of the copy of what is listed.
    export: String,
    /// How far it is known to be as it was written.
    state: AuditState,
    now: Timestamp,
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
    let state = services.admin.audit_state(&session.by).await?;
    let any = std::iter::once(("", "Any"));
    let export = query.narrowed();
    let Listed { status, form, items, next } = Listed::new(query, found)?;
    let list = List {
        frame: session.frame("Audit", AT),
        form,
        kinds: any.clone().chain(Event::KINDS.iter().map(|kind| (*kind, *kind))).collect(),
        outcomes: any.chain(Outcome::ALL.iter().map(|one| (one.as_str(), one.as_str()))).collect(),
        events: items.into_iter().map(EventRow::from).collect(),
        next,
        export,
        state,
        now: services.ambient.now(),
    };
    Ok(page_with(status, &list))
}

/// The events that are listed, all of them, as a file. It is read while it is sent. Only our own page leads here: the
/// audit says who took a copy, so no link on another site may make somebody take one.
async fn export(
    State(services): State<Shared>,
    session: SignedIn,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, PageError> {
    if !is_same_origin(&headers, &services.issuer) {
        return Err(PageError::CrossSite);
    }
    let export = services.admin.export_audit(&session.by, wanted(&query)?).await?;
    // A fault breaks the download off, so that half a copy does not look like a whole one.
    let request_id = session.by.origin.request_id.clone();
    let lines = stream::try_unfold((export, request_id), async |(mut export, request_id)| {
        let next = export.next().await;
        let next = next.inspect_err(|fault| tracing::warn!(%fault, request_id, "an export broke off"));
        Ok::<_, Fault>(next?.map(|lines| (lines, (export, request_id))))
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"jeton-audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn wanted(query: &Query) -> Result<EventQuery, AdminError> {
    Ok(EventQuery {
        from: time(query, "from")?,
        to: time(query, "to")?,
        client_id: None,
        // What it did, and what was done to it: who asks for a client wants both.
        about: query.given("client_id"),
        person: query.given("person"),
        kind: query.given("kind"),
        outcome: query.given("outcome").map(|word| outcome(&word)).transpose()?,
        jti: query.given("jti"),
        txn: query.given("txn"),
    })
}

fn outcome(word: &str) -> Result<Outcome, AdminError> {
    let known = Outcome::from_word(word);
    known.ok_or_else(|| {
        let words: Vec<_> = Outcome::ALL.iter().map(|one| one.as_str()).collect();
        let fix = format!("use {}, or leave it out", words.join(" or "));
        FieldError::new("outcome", "there is no such outcome", fix).into()
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
