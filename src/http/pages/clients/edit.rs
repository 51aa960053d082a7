//! Changing a client.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use super::fields::{self, Choices, LABELS};
use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::change::{Clash, version};
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
    let choices = Choices::read(services, session).await?;
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

async fn change(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let stored = fields::stored(&services.admin.client(&session.by, &client_id).await?);
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
