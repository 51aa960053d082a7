//! Giving a client a role, and taking it away.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::AT;
use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, RoleName};
use crate::http::Shared;
use crate::http::pages::confirm::{Confirmation, leaning};
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/clients/{client_id}/roles", post(assign))
        .route("/clients/{client_id}/roles/{role}/remove", get(ask_unassign).post(unassign))
}

fn role(form: &Form) -> Result<RoleName, AdminError> {
    Ok(RoleName::new(form.text("role").trim()).map_err(|error| error.in_field("role"))?)
}

async fn assign(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let given = match role(&form) {
        Ok(role) => services.admin.assign_role(&session.by, &client_id, &role).await,
        Err(error) => Err(error),
    };
    let error = match given {
        Ok(()) => return Ok(done(&session.path(&["clients", client_id.as_str()]), "role-given")),
        Err(AdminError::NotFound { what: "role", name }) => {
            let problem = format!("there is no role '{name}'");
            FieldError::new("role", problem, "choose one of the list, or create it first").into()
        }
        Err(error) => error,
    };
    let form = form.refused(error)?;
    super::show::again(&services, &session, &client_id, form, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn taking_away(
    services: &Shared,
    session: &SignedIn,
    (client_id, role): (&str, &str),
) -> Result<(ClientId, RoleName, Confirmation), PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let client_id = ClientId::new(client_id).map_err(|_| PageError::NoSuchPage)?;
    let role = RoleName::new(role).map_err(|_| PageError::NoSuchPage)?;
    if !services.admin.client_roles(&session.by, &client_id).await?.contains(&role) {
        return Err(PageError::NoSuchPage);
    }
    let mut breaks = Vec::new();
    for at in services.admin.effective_permissions(&session.by, &client_id).await?.resource_servers {
        for held in at.permissions.iter().filter(|held| held.roles.iter().all(|other| *other == role)) {
            breaks.push(format!("It may no longer do {} at {}.", held.permission, at.resource_server));
        }
    }
    if breaks.is_empty() {
        breaks.push("Whatever the role gives it, another of its roles gives, too.".to_owned());
    }
    let used = services.admin.assignment_use(&session.by, &client_id, &role).await?;
    breaks.extend(leaning(&used, "have something from the role"));
    breaks.push("Tokens that are out keep what they say until they end.".to_owned());
    let confirmation = Confirmation {
        title: format!("Take the role {role} away from {client_id}?"),
        section: AT,
        breaks,
        button: "Take it away",
        name: Some(("the role's name", role.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    };
    Ok((client_id, role, confirmation))
}

async fn ask_unassign(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, role)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (_, _, confirmation) = taking_away(&services, &session, (&client_id, &role)).await?;
    Ok(confirmation.ask(&session))
}

async fn unassign(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, role)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (client_id, role, confirmation) = taking_away(&services, &session, (&client_id, &role)).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.unassign_role(&session.by, &client_id, &role).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "role-taken"))
}
