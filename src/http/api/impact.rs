//! What breaks without something, and what a client gets.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, NoSuchThing, Refusals};
use crate::admin::client_dry_run::{TriedRequest, TryToken};
use crate::admin::effective_permissions::EffectivePermissions;
use crate::admin::impact::{ClientImpact, ResourceServerImpact, RoleImpact};
use crate::admin::token_use::TokenUse;
use crate::domain::ids::{ClientId, ExchangeRuleName, ResourceServerName, RoleName};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(of_client))
        .routes(routes!(of_resource_server))
        .routes(routes!(of_role))
        .routes(routes!(use_of_role))
        .routes(routes!(use_of_exchange_rule))
        .routes(routes!(effective_permissions))
        .routes(routes!(try_token))
}

/// Say what breaks when a client is disabled or deleted: which of its tokens live, and who works with it.
#[utoipa::path(
    get, path = "/clients/{client_id}/impact", tag = "Clients", operation_id = "client_impact",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses((status = 200, description = "What breaks", body = ClientImpact), NoSuchThing, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn of_client(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<ClientImpact>, Problem> {
    Ok(Json(services.admin.client_impact(&by, &client_id).await?))
}

/// Say what breaks when a resource server is disabled or deleted: which clients use it.
#[utoipa::path(
    get, path = "/resource-servers/{name}/impact", tag = "Resource servers", operation_id = "resource_server_impact",
    params(("name" = ResourceServerName, Path, description = "Its name")),
    responses((status = 200, description = "What breaks", body = ResourceServerImpact), NoSuchThing, Refusals),
    security(("token" = ["resource-servers:read"]))
)]
async fn of_resource_server(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
) -> Result<Json<ResourceServerImpact>, Problem> {
    Ok(Json(services.admin.resource_server_impact(&by, &name).await?))
}

/// Say what breaks when a role is deleted: who has it, and what it gives them.
#[utoipa::path(
    get, path = "/roles/{name}/impact", tag = "Roles", operation_id = "role_impact",
    params(("name" = RoleName, Path, description = "Its name")),
    responses((status = 200, description = "What breaks", body = RoleImpact), NoSuchThing, Refusals),
    security(("token" = ["roles:read"]))
)]
async fn of_role(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<RoleName>,
) -> Result<Json<RoleImpact>, Problem> {
    Ok(Json(services.admin.role_impact(&by, &name).await?))
}

/// Say which tokens lean on a role: how many live, and who got some in the last hour.
#[utoipa::path(
    get, path = "/roles/{name}/use", tag = "Roles", operation_id = "role_use",
    params(("name" = RoleName, Path, description = "Its name")),
    responses((status = 200, description = "The tokens", body = TokenUse), NoSuchThing, Refusals),
    security(("token" = ["roles:read"]))
)]
async fn use_of_role(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<RoleName>,
) -> Result<Json<TokenUse>, Problem> {
    Ok(Json(services.admin.role_use(&by, &name).await?))
}

/// Say which tokens were exchanged by a rule: how many live, and who got some in the last hour.
#[utoipa::path(
    get, path = "/exchange-rules/{name}/use", tag = "Exchange rules", operation_id = "exchange_rule_use",
    params(("name" = ExchangeRuleName, Path, description = "Its name")),
    responses((status = 200, description = "The tokens", body = TokenUse), NoSuchThing, Refusals),
    security(("token" = ["exchange-rules:read"]))
)]
async fn use_of_exchange_rule(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Json<TokenUse>, Problem> {
    Ok(Json(services.admin.exchange_rule_use(&by, &name).await?))
}

/// Say what a client may do at each resource server, and which of its roles let it.
#[utoipa::path(
    get, path = "/clients/{client_id}/effective-permissions", tag = "Clients", operation_id = "effective_permissions",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses((status = 200, description = "What it may do", body = EffectivePermissions), NoSuchThing, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn effective_permissions(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<EffectivePermissions>, Problem> {
    Ok(Json(services.admin.effective_permissions(&by, &client_id).await?))
}

/// Say what a client would get for a token request, and why, without a token. Nothing is issued or recorded.
#[utoipa::path(
    post, path = "/clients/{client_id}/dry-run", tag = "Clients", operation_id = "try_token",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = TryToken,
    responses((status = 200, description = "What it would get", body = TriedRequest), NoSuchThing, BodyRefusals, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn try_token(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Body(wanted): Body<TryToken>,
) -> Result<Json<TriedRequest>, Problem> {
    Ok(Json(services.admin.try_token(&by, &client_id, wanted).await?))
}
