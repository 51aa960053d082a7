//! `/clients/{client_id}/keys`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, Contradiction, NoSuchThing, Refusals};
use crate::admin::client_keys::{AddKey, KeyView, UpdateKey};
use crate::admin::token_use::TokenUse;
use crate::domain::ids::{ClientId, CredentialId};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(update, remove))
        .routes(routes!(use_of_key))
}

/// List the public keys that a client is registered with, newest first.
#[utoipa::path(
    get, path = "/clients/{client_id}/keys", tag = "Client keys", operation_id = "list_client_keys",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "All of them, expired ones too", body = Vec<KeyView>),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<Vec<KeyView>>, Problem> {
    Ok(Json(services.admin.keys(&by, &client_id).await?))
}

/// Add a public key beside those that the client has.
#[utoipa::path(
    post, path = "/clients/{client_id}/keys", tag = "Client keys", operation_id = "add_client_key",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = AddKey,
    responses(
        (status = 201, description = "The key", body = KeyView),
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
    Body(new): Body<AddKey>,
) -> Result<(StatusCode, Json<KeyView>), Problem> {
    Ok((StatusCode::CREATED, Json(services.admin.add_key(&by, &client_id, new).await?)))
}

/// Change what is said of a key, or its end.
#[utoipa::path(
    patch, path = "/clients/{client_id}/keys/{key_id}", tag = "Client keys", operation_id = "update_client_key",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("key_id" = CredentialId, Path, description = "Which key"),
    ),
    request_body = UpdateKey,
    responses((status = 200, description = "The key as it is now", body = KeyView), NoSuchThing, BodyRefusals, Refusals),
    security(("token" = ["clients:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, key_id)): Named<(ClientId, CredentialId)>,
    Body(update): Body<UpdateKey>,
) -> Result<Json<KeyView>, Problem> {
    Ok(Json(services.admin.update_key(&by, &client_id, &key_id, update).await?))
}

/// Remove a key. It is refused everywhere within a second.
#[utoipa::path(
    delete, path = "/clients/{client_id}/keys/{key_id}", tag = "Client keys", operation_id = "remove_client_key",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("key_id" = CredentialId, Path, description = "Which key"),
    ),
    responses((status = 204, description = "It is gone"), NoSuchThing, Refusals),
    security(("token" = ["clients:write"]))
)]
async fn remove(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, key_id)): Named<(ClientId, CredentialId)>,
) -> Result<StatusCode, Problem> {
    services.admin.remove_key(&by, &client_id, &key_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say which tokens were got with a key: how many live, and whether there were some in the last hour.
#[utoipa::path(
    get, path = "/clients/{client_id}/keys/{key_id}/use", tag = "Client keys", operation_id = "client_key_use",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("key_id" = CredentialId, Path, description = "Which key"),
    ),
    responses((status = 200, description = "The tokens", body = TokenUse), NoSuchThing, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn use_of_key(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, key_id)): Named<(ClientId, CredentialId)>,
) -> Result<Json<TokenUse>, Problem> {
    Ok(Json(services.admin.credential_use(&by, &client_id, &key_id).await?))
}
