//! `/clients/{client_id}/secrets`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::{Problem, no_store};
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, Contradiction, NoSuchThing, Refusals};
use crate::admin::secrets::{AddSecret, AddedSecret, RotateSecret, RotatedSecret, SecretView, UpdateSecret};
use crate::domain::ids::{ClientId, SecretId};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(rotate))
        .routes(routes!(update, revoke))
        .routes(routes!(list_own, rotate_own))
}

/// List a client's secrets, newest first. The secrets themselves are never shown again.
#[utoipa::path(
    get, path = "/clients/{client_id}/secrets", tag = "Client secrets", operation_id = "list_client_secrets",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "All of them, expired ones too", body = Vec<SecretView>),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<Vec<SecretView>>, Problem> {
    Ok(Json(services.admin.secrets(&by, &client_id).await?))
}

/// Add a secret beside those that the client has. The answer is the only time it is shown.
#[utoipa::path(
    post, path = "/clients/{client_id}/secrets", tag = "Client secrets", operation_id = "add_client_secret",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = AddSecret,
    responses(
        (status = 201, description = "The secret", body = AddedSecret),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn add(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Body(new): Body<AddSecret>,
) -> Result<Response, Problem> {
    let added = services.admin.add_secret(&by, &client_id, new).await?;
    Ok(no_store((StatusCode::CREATED, Json(added)).into_response()))
}

/// Rotate: add a secret in place of others, which go on counting for a while. The answer is the only time it is shown.
#[utoipa::path(
    post, path = "/clients/{client_id}/secrets/rotate", tag = "Client secrets", operation_id = "rotate_client_secret",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = RotateSecret,
    responses(
        (status = 201, description = "The new secret, and those that it replaces", body = RotatedSecret),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn rotate(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Body(wanted): Body<RotateSecret>,
) -> Result<Response, Problem> {
    let rotated = services.admin.rotate_secret(&by, &client_id, wanted).await?;
    Ok(no_store((StatusCode::CREATED, Json(rotated)).into_response()))
}

/// Change a secret's description or its end: what is absent stays. The secret itself never changes.
#[utoipa::path(
    patch, path = "/clients/{client_id}/secrets/{secret_id}", tag = "Client secrets",
    operation_id = "update_client_secret",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("secret_id" = SecretId, Path, description = "Which secret"),
    ),
    request_body = UpdateSecret,
    responses(
        (status = 200, description = "It, changed", body = SecretView),
        NoSuchThing,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, secret_id)): Named<(ClientId, SecretId)>,
    Body(update): Body<UpdateSecret>,
) -> Result<Json<SecretView>, Problem> {
    Ok(Json(services.admin.update_secret(&by, &client_id, &secret_id, update).await?))
}

/// List the secrets of the client that asks, newest first, if its registration says that it may rotate them.
#[utoipa::path(
    get, path = "/clients/self/secrets", tag = "Client secrets", operation_id = "list_own_secrets",
    responses(
        (status = 200, description = "All of them, expired ones too", body = Vec<SecretView>),
        Refusals,
    ),
    security(("token" = ["secrets:self"]))
)]
async fn list_own(
    State(services): State<Shared>,
    Administrator(by): Administrator,
) -> Result<Json<Vec<SecretView>>, Problem> {
    Ok(Json(services.admin.own_secrets(&by).await?))
}

/// Rotate a secret of the client that asks, if its registration says that it may. The answer is the only time it is shown.
#[utoipa::path(
    post, path = "/clients/self/secrets", tag = "Client secrets", operation_id = "rotate_own_secret",
    request_body = RotateSecret,
    responses(
        (status = 201, description = "The new secret, and those that it replaces", body = RotatedSecret),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["secrets:self"]))
)]
async fn rotate_own(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(wanted): Body<RotateSecret>,
) -> Result<Response, Problem> {
    let rotated = services.admin.rotate_own_secret(&by, wanted).await?;
    Ok(no_store((StatusCode::CREATED, Json(rotated)).into_response()))
}

/// Revoke a secret. It is refused everywhere within a second.
#[utoipa::path(
    delete, path = "/clients/{client_id}/secrets/{secret_id}", tag = "Client secrets",
    operation_id = "revoke_client_secret",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("secret_id" = SecretId, Path, description = "Which secret"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn revoke(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, secret_id)): Named<(ClientId, SecretId)>,
) -> Result<StatusCode, Problem> {
    services.admin.revoke_secret(&by, &client_id, &secret_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
