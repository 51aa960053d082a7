//! `/resource-servers`

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
use crate::admin::resource_servers::{CreateResourceServer, ResourceServerView, UpdateResourceServer};
use crate::admin::{AdminError, Page};
use crate::domain::ids::ResourceServerName;
use crate::oauth::protected_resource::{self, ProtectedResource};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, delete))
        .routes(routes!(metadata))
}

/// List resource servers, in the order of their names.
#[utoipa::path(
    get, path = "/resource-servers", tag = "Resource servers", operation_id = "list_resource_servers", params(Search),
    responses((status = 200, description = "A page", body = Page<ResourceServerView>), FilterRefusals, Refusals),
    security(("token" = ["resource-servers:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<ResourceServerView>>, Problem> {
    let (text, page) = search.split();
    Ok(Json(services.admin.resource_servers(&by, text.as_deref(), &page).await?))
}

/// Register a resource server.
#[utoipa::path(
    post, path = "/resource-servers", tag = "Resource servers", operation_id = "create_resource_server", request_body = CreateResourceServer,
    responses(
        (status = 201, description = "It is there", body = ResourceServerView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["resource-servers:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateResourceServer>,
) -> Result<Response, Problem> {
    let view = services.admin.create_resource_server(&by, new).await?;
    let location = created_at("resource-servers", view.name.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read a resource server.
#[utoipa::path(
    get, path = "/resource-servers/{name}", tag = "Resource servers", operation_id = "read_resource_server",
    params(("name" = ResourceServerName, Path, description = "Its name")),
    responses(
        (status = 200, description = "The resource server", body = ResourceServerView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["resource-servers:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
) -> Result<Response, Problem> {
    let view = services.admin.resource_server(&by, &name).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change a resource server: what is absent stays, what is given replaces.
#[utoipa::path(
    patch, path = "/resource-servers/{name}", tag = "Resource servers", operation_id = "update_resource_server", request_body = UpdateResourceServer,
    params(
        ("name" = ResourceServerName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "It, changed", body = ResourceServerView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<ResourceServerView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["resource-servers:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
    Version(version): Version,
    Body(update): Body<UpdateResourceServer>,
) -> Result<Response, Problem> {
    let view = services.admin.update_resource_server(&by, &name, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove a resource server.
#[utoipa::path(
    delete, path = "/resource-servers/{name}", tag = "Resource servers", operation_id = "delete_resource_server",
    params(
        ("name" = ResourceServerName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "Somebody else changed it", body = Stale<ResourceServerView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["resource-servers:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_resource_server(&by, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read what a resource server says of itself (RFC 9728), for its operator to publish.
///
/// It belongs at the URL that RFC 9728 §3.1 makes of the identifier: `https://api.example.com/orders` has it at
/// `https://api.example.com/.well-known/oauth-protected-resource/orders`. Here it needs a permission, because what is
/// registered is nobody else's business.
#[utoipa::path(
    get, path = "/resource-servers/{name}/protected-resource-metadata", tag = "Resource servers",
    operation_id = "read_protected_resource_metadata",
    params(("name" = ResourceServerName, Path, description = "Its name")),
    responses(
        (status = 200, description = "The document", body = ProtectedResource),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["resource-servers:read"]))
)]
async fn metadata(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
) -> Result<Json<ProtectedResource>, Problem> {
    let server = services.admin.registered_resource_server(&by, &name).await?;
    let document = protected_resource::document(services.issuer.as_str(), &server);
    Ok(Json(document.ok_or_else(|| {
        AdminError::Conflict(format!(
            "the identifier of '{name}' is '{}', and only an https or http URL without a fragment has such a \
             document (RFC 9728 section 1.2)",
            server.identifier
        ))
    })?))
}
