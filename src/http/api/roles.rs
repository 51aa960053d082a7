//! `/roles`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::{Problem, Stale};
use super::super::extract::{Administrator, Body, Filter, Named, Version};
use super::{
    BodyRefusals, Contradiction, FilterRefusals, NoSuchThing, Refusals, Search, VersionRefusals, created_at,
};
use crate::admin::Page;
use crate::admin::roles::{CreateRole, RoleView, UpdateRole};
use crate::domain::ids::RoleName;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, update, delete))
}

/// List roles, in the order of their names.
#[utoipa::path(
    get, path = "/roles", tag = "Roles", operation_id = "list_roles", params(Search),
    responses((status = 200, description = "A page", body = Page<RoleView>), FilterRefusals, Refusals),
    security(("token" = ["roles:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<RoleView>>, Problem> {
    let (text, page) = search.split();
    Ok(Json(services.admin.roles(&by, text.as_deref(), &page).await?))
}

/// Create a role.
#[utoipa::path(
    post, path = "/roles", tag = "Roles", operation_id = "create_role", request_body = CreateRole,
    responses(
        (status = 201, description = "It is there", body = RoleView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["roles:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateRole>,
) -> Result<Response, Problem> {
    let view = services.admin.create_role(&by, new).await?;
    let location = created_at("roles", view.name.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read a role.
#[utoipa::path(
    get, path = "/roles/{name}", tag = "Roles", operation_id = "read_role",
    params(("name" = RoleName, Path, description = "Its name")),
    responses(
        (status = 200, description = "The role", body = RoleView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["roles:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<RoleName>,
) -> Result<Response, Problem> {
    let view = services.admin.role(&by, &name).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change a role: what is absent stays, what is given replaces.
#[utoipa::path(
    patch, path = "/roles/{name}", tag = "Roles", operation_id = "update_role", request_body = UpdateRole,
    params(
        ("name" = RoleName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "It, changed", body = RoleView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<RoleView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["roles:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<RoleName>,
    Version(version): Version,
    Body(update): Body<UpdateRole>,
) -> Result<Response, Problem> {
    let view = services.admin.update_role(&by, &name, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove a role.
#[utoipa::path(
    delete, path = "/roles/{name}", tag = "Roles", operation_id = "delete_role",
    params(
        ("name" = RoleName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "Somebody else changed it", body = Stale<RoleView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["roles:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<RoleName>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_role(&by, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
