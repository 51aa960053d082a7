//! Changing a client.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use super::actions::broken;
use super::fields::{self, Choices, LABELS};
use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::change::{Clash, removed, version};
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::frame::Frame;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}/edit", get(ask).post(change))
}

#[derive(Template)]
#[template(path = "clients/edit.html")]
struct Edit {
    frame: Frame,
    client_id: ClientId,
    form: Form,
    choices: Choices,
    clash: Option<Clash>,
}

async fn edit(
    services: &Shared,
    session: &SignedIn,
    client_id: ClientId,
    form: Form,
    clash: Option<Clash>,
) -> Result<Edit, PageError> {
    let choices = Choices::read(services, session, &form).await?;
    let frame = session.frame(format!("Change {client_id}"), AT);
    Ok(Edit { frame, client_id, form, choices, clash })
}

async fn ask(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let form = fields::stored(&services.admin.client(&session.by, &client_id).await?);
    Ok(page(&edit(&services, &session, client_id, form, None).await?))
}

/// What a change takes away, if it does.
async fn narrowing(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
    (typed, stored): (&Form, &Form),
) -> Result<Confirmation, PageError> {
    let mut breaks = Vec::new();
    for method in removed(typed, stored, "auth_methods") {
        breaks.push(format!("It can no longer authenticate by {method}."));
    }
    for grant in removed(typed, stored, "grant_types") {
        breaks.push(format!("It can no longer ask for tokens by {grant}."));
    }
    if !removed(typed, stored, "may_rotate_own_secrets").is_empty() {
        breaks.push("It can no longer rotate its own secrets.".to_owned());
    }
    for (field, text) in [
        ("allowed_networks", "It can call from these networks only."),
        ("expires_at", "From its new end on it gets no tokens."),
        ("may_act", "Nobody else than the client that is named may pass its identity on."),
        ("token_binding", "Whether its tokens are bound to a key changes: without a proof it may get none."),
        ("jwks_uri", "The keys that are published there count, and no others."),
        (
            "tls_client_auth_subject",
            "Certificates with another subject no longer prove that it is this client.",
        ),
        (
            "default_resource_server",
            "Requests that name nothing are answered with tokens for the new default.",
        ),
    ] {
        if !typed.agrees(stored, field) && !typed.text(field).trim().is_empty() {
            breaks.push(text.to_owned());
        }
    }
    let becomes = |field: &str, to: &str| !typed.agrees(stored, field) && typed.text(field) == to;
    if becomes("assertion_type_required", "true") {
        breaks.push("Its assertions count only when they say that they are some.".to_owned());
    }
    if becomes("legacy_assertion_audience", "false") {
        breaks
            .push("Its assertions count only when they name the issuer alone as their audience.".to_owned());
    }
    let default = "default_resource_server";
    if typed.text(default).trim().is_empty() && !stored.text(default).is_empty() {
        breaks.push("Requests that name nothing have no default any more.".to_owned());
    }
    if !breaks.is_empty() {
        breaks.extend(broken(&services.admin.client_impact(&session.by, client_id).await?));
    }
    Ok(Confirmation {
        title: format!("Change {client_id}, and take something away?"),
        section: AT,
        breaks,
        button: "Change it",
        name: Some(("the client's identifier", client_id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    })
}

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let stored = fields::stored(&services.admin.client(&session.by, &client_id).await?);
    let confirmation = narrowing(&services, &session, &client_id, (&form, &stored)).await?;
    if let Err(asked) = confirmation.before(&session, (&form, &stored)) {
        return Ok(*asked);
    }
    let changed = match fields::update(&form, &stored) {
        Ok(update) => services.admin.update_client(&session.by, &client_id, version(&form)?, update).await,
        Err(error) => Err(error),
    };
    let (status, form, clash) = match changed {
        Ok(_) => return Ok(done(&session.path(&["clients", client_id.as_str()]), "changed")),
        Err(AdminError::Stale { .. }) => {
            let stored = fields::stored(&services.admin.client(&session.by, &client_id).await?);
            let clash = Clash::new(form, &stored, LABELS);
            (StatusCode::PRECONDITION_FAILED, clash.form.clone(), Some(clash))
        }
        Err(error) => {
            (StatusCode::UNPROCESSABLE_ENTITY, form.refused_beside("default_resource_server", error)?, None)
        }
    };
    Ok(page_with(status, &edit(&services, &session, client_id, form, clash).await?))
}
