//! `/clients/{client_id}/federated-credentials`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, Contradiction, NoSuchThing, Refusals};
use crate::admin::federated_credentials::{
    AddFederatedCredential, FederatedCredentialView, UpdateFederatedCredential,
};
use crate::admin::token_use::TokenUse;
use crate::domain::ids::{ClientId, CredentialId};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(update, remove))
        .routes(routes!(use_of_credential))
}

/// List the federated credentials of a client, newest first: which tokens of trusted issuers prove it.
#[utoipa::path(
    get, path = "/clients/{client_id}/federated-credentials", tag = "Federated credentials", operation_id = "list_federated_credentials",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "All of them, expired ones too", body = Vec<FederatedCredentialView>),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<Vec<FederatedCredentialView>>, Problem> {
    Ok(Json(services.admin.federated_credentials(&by, &client_id).await?))
}

/// Say that tokens of a trusted issuer prove a client, beside the credentials that it has. Read the warnings in the answer:
/// they say whom the conditions mean beside those that are meant.
#[utoipa::path(
    post, path = "/clients/{client_id}/federated-credentials", tag = "Federated credentials", operation_id = "add_federated_credential",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = AddFederatedCredential,
    responses(
        (status = 201, description = "The credential", body = FederatedCredentialView),
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
    Body(new): Body<AddFederatedCredential>,
) -> Result<(StatusCode, Json<FederatedCredentialView>), Problem> {
    Ok((StatusCode::CREATED, Json(services.admin.add_federated_credential(&by, &client_id, new).await?)))
}

/// Change what is said of a federated credential, or its end.
#[utoipa::path(
    patch, path = "/clients/{client_id}/federated-credentials/{credential_id}", tag = "Federated credentials", operation_id = "update_federated_credential",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("credential_id" = CredentialId, Path, description = "Which credential"),
    ),
    request_body = UpdateFederatedCredential,
    responses((status = 200, description = "The credential as it is now", body = FederatedCredentialView), NoSuchThing, BodyRefusals, Refusals),
    security(("token" = ["clients:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, credential_id)): Named<(ClientId, CredentialId)>,
    Body(update): Body<UpdateFederatedCredential>,
) -> Result<Json<FederatedCredentialView>, Problem> {
    Ok(Json(services.admin.update_federated_credential(&by, &client_id, &credential_id, update).await?))
}

/// Remove a federated credential. What it proved is refused everywhere within a second.
#[utoipa::path(
    delete, path = "/clients/{client_id}/federated-credentials/{credential_id}", tag = "Federated credentials", operation_id = "remove_federated_credential",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("credential_id" = CredentialId, Path, description = "Which credential"),
    ),
    responses((status = 204, description = "It is gone"), NoSuchThing, Refusals),
    security(("token" = ["clients:write"]))
)]
async fn remove(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, credential_id)): Named<(ClientId, CredentialId)>,
) -> Result<StatusCode, Problem> {
    services.admin.remove_federated_credential(&by, &client_id, &credential_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say which tokens were got by a federated credential: how many live, and whether there were some in the last hour.
#[utoipa::path(
    get, path = "/clients/{client_id}/federated-credentials/{credential_id}/use", tag = "Federated credentials", operation_id = "federated_credential_use",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("credential_id" = CredentialId, Path, description = "Which credential"),
    ),
    responses((status = 200, description = "The tokens", body = TokenUse), NoSuchThing, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn use_of_credential(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, credential_id)): Named<(ClientId, CredentialId)>,
) -> Result<Json<TokenUse>, Problem> {
    Ok(Json(services.admin.credential_use(&by, &client_id, &credential_id).await?))
}
