//! `/admin/exchange-rules`: who may pass whose identity on, towards what, and trying that.

mod dry_run;
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
use crate::admin::exchange_rules::{ExchangeRuleView, OutsideName, PartyName, SubjectName};
use crate::admin::federated_credentials::ClaimCondition;
use crate::domain::ids::ExchangeRuleName;
use crate::http::Shared;

/// Where these pages are.
const AT: &str = "/exchange-rules";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/exchange-rules", get(list))
        .route("/exchange-rules/{name}", get(show))
        .merge(dry_run::routes())
        .merge(edit::routes())
}

/// A party in words.
fn party(party: &PartyName) -> String {
    match (&party.client, &party.role) {
        (Some(client), _) => format!("client {client}"),
        (None, Some(role)) => format!("whoever has the role {role}"),
        (None, None) => "nobody".to_owned(),
    }
}

/// A subject in words.
fn subject(subject: &SubjectName) -> String {
    let conditions = subject.conditions.as_deref().unwrap_or_default();
    match &subject.trusted_issuer {
        Some(issuer) => elsewhere(issuer.as_str(), conditions),
        None => party(&PartyName { client: subject.client.clone(), role: subject.role.clone() }),
    }
}

/// Somebody from elsewhere in words.
fn outside(outside: &OutsideName) -> String {
    elsewhere(outside.trusted_issuer.as_str(), &outside.conditions)
}

fn elsewhere(issuer: &str, conditions: &[ClaimCondition]) -> String {
    let conditions: Vec<_> = conditions.iter().map(|it| format!("{} is {}", it.claim, it.value)).collect();
    format!("whoever {issuer} vouches for, if {}", conditions.join(" and "))
}

#[derive(Template)]
#[template(path = "exchange-rules/list.html")]
struct List {
    frame: Frame,
    form: Form,
    rules: Vec<ExchangeRuleView>,
    next: Option<String>,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let text = query.given("q");
    let found = services.admin.exchange_rules(&session.by, text.as_deref(), &query.page()).await;
    let frame = session.frame("Exchange rules", AT).telling(&query);
    let Listed { status, form, items: rules, next } = Listed::new(query, found)?;
    Ok(page_with(status, &List { frame, form, rules, next }))
}

#[derive(Template)]
#[template(path = "exchange-rules/show.html")]
struct Show {
    frame: Frame,
    path: String,
    rule: ExchangeRuleView,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ExchangeRuleName>,
    query: Query,
) -> Result<Response, PageError> {
    Ok(page(&Show {
        frame: session.frame(name.as_str(), AT).telling(&query),
        path: session.path(&["exchange-rules", name.as_str()]),
        rule: services.admin.exchange_rule(&session.by, &name).await?,
    }))
}
