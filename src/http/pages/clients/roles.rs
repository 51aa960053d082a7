//! Giving a client a role, and taking it away.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;

use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, RoleName};
use crate::http::Shared;
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/clients/{client_id}/roles", post(assign))
        .route("/clients/{client_id}/roles/remove", post(unassign))
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

async fn unassign(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    services.admin.unassign_role(&session.by, &client_id, &role(&form)?).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "role-taken"))
}
