//! `/clients/{client_id}/roles`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Named};
use super::{Contradiction, NoSuchThing, Refusals};
use crate::domain::ids::{ClientId, RoleName};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(assign, unassign))
}

/// List a client's roles, by name.
#[utoipa::path(
    get, path = "/clients/{client_id}/roles", tag = "Client roles", operation_id = "list_client_roles",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "All of them", body = Vec<RoleName>),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<Vec<RoleName>>, Problem> {
    Ok(Json(services.admin.client_roles(&by, &client_id).await?))
}

/// Give a client a role. Giving it twice is no error.
#[utoipa::path(
    put, path = "/clients/{client_id}/roles/{role}", tag = "Client roles", operation_id = "assign_client_role",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("role" = RoleName, Path, description = "The role's name"),
    ),
    responses(
        (status = 204, description = "The client has it"),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn assign(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, role)): Named<(ClientId, RoleName)>,
) -> Result<StatusCode, Problem> {
    services.admin.assign_role(&by, &client_id, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a role away. Taking away what is not there is no error.
#[utoipa::path(
    delete, path = "/clients/{client_id}/roles/{role}", tag = "Client roles", operation_id = "unassign_client_role",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("role" = RoleName, Path, description = "The role's name"),
    ),
    responses(
        (status = 204, description = "The client does not have it"),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn unassign(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, role)): Named<(ClientId, RoleName)>,
) -> Result<StatusCode, Problem> {
    services.admin.unassign_role(&by, &client_id, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}
