//! Trying an exchange: what it would give, rule by rule, with each step's reasons.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use crate::admin::exchange_dry_run::{TriedExchange, TryExchange};
use crate::admin::{AdminError, PageRequest};
use crate::domain::error::FieldError;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Query};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{page, page_with};

/// How many resource servers are suggested.
const SUGGESTED: u32 = 200;

pub(super) fn routes() -> Router<Shared> {
    // A question that changes nothing, so it can be sent to somebody as a link. No rule has this name.
    Router::new().route("/exchange-rules/dry-run", get(ask))
}

#[derive(Template)]
#[template(path = "exchange-rules/dry-run.html")]
struct DryRun {
    frame: Frame,
    form: Form,
    tried: Option<TriedExchange>,
    resource_servers: Vec<String>,
}

async fn ask(State(services): State<Shared>, session: SignedIn, query: Query) -> Result<Response, PageError> {
    let servers = PageRequest { cursor: None, limit: Some(SUGGESTED) };
    let servers = services.admin.resource_servers(&session.by, None, &servers).await?;
    let resource_servers = servers.items.into_iter().map(|server| server.name.to_string()).collect();
    let frame = session.frame("Try an exchange", AT);
    let mut form = query.0;
    if ["caller", "subject", "outside_subject"].iter().all(|field| form.text(field).is_empty()) {
        form.replace("expires_in", "300");
        return Ok(page(&DryRun { frame, form, tried: None, resource_servers }));
    }
    let wanted: Result<TryExchange, _> = wanted(&form);
    let tried = match wanted {
        Ok(wanted) => services.admin.try_exchange(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(tried) => Ok(page(&DryRun { frame, form, tried: Some(tried), resource_servers })),
        Err(error) => {
            let form = refused(form, error)?;
            let again = DryRun { frame, form, tried: None, resource_servers };
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again))
        }
    }
}

fn wanted(form: &Form) -> Result<TryExchange, AdminError> {
    let input = Input::new(form).text("caller");
    // Empty where somebody from elsewhere is meant.
    let elsewhere = form.text("subject").trim().is_empty() && !form.text("outside_subject").trim().is_empty();
    let input = if elsewhere { input } else { input.text("subject") };
    input
        .claims("outside_subject", "outside_subject_claims")
        .claims("outside_actor", "outside_actor_claims")
        .lines("audience")
        .optional("subject_scope")
        .lines("actors")
        .count("expires_in")
        .optional("resource_server")
        .optional("scope")
        .read()
}

/// What is named and not registered stands beside the field that names it.
fn refused(form: Form, error: AdminError) -> Result<Form, PageError> {
    let AdminError::NotFound { what, name } = &error else { return form.refused(error) };
    let fields: &[&'static str] = match *what {
        "client" => &["caller", "subject"],
        "trusted issuer" => &["outside_subject", "outside_actor"],
        _ => &["resource_server", "audience"],
    };
    let names = |field: &str| form.whole(field).lines().any(|line| line.trim() == name);
    let field = fields.iter().find(|field| names(field)).copied().unwrap_or(fields[0]);
    let error = FieldError::new(field, format!("there is no {what} '{name}'"), "register it first");
    Ok(form.with_error(error))
}
