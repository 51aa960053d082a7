//! `/administrators`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::{Problem, Stale, no_store};
use super::super::extract::{Administrator, Body, Filter, Named, Version};
use super::{
    BodyRefusals, Contradiction, FilterRefusals, NoSuchThing, Refusals, VersionRefusals, created_at,
};
use crate::admin::administrators::{AdministratorView, CreateAdministrator, Link, UpdateAdministrator};
use crate::admin::{Page, PageRequest};
use crate::domain::ids::AdministratorName;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, delete))
        .routes(routes!(make_link))
        .routes(routes!(end_sessions))
}

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// `next_cursor` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

/// List the people who administer, in the order of their names.
#[utoipa::path(
    get, path = "/administrators", tag = "Administrators", operation_id = "list_administrators", params(Which),
    responses(
        (status = 200, description = "A page", body = Page<AdministratorView>),
        FilterRefusals,
        Refusals,
    ),
    security(("token" = ["administrators:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(Which { cursor, limit }): Filter<Which>,
) -> Result<Json<Page<AdministratorView>>, Problem> {
    Ok(Json(services.admin.administrators(&by, &PageRequest { cursor, limit }).await?))
}

/// Register somebody who administers, with a role that may do no more than the caller. They can sign in once they
/// have set a password by a link.
#[utoipa::path(
    post, path = "/administrators", tag = "Administrators", operation_id = "create_administrator",
    request_body = CreateAdministrator,
    responses(
        (status = 201, description = "They are registered", body = AdministratorView, headers(
            ("ETag" = String, description = "The version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["administrators:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateAdministrator>,
) -> Result<Response, Problem> {
    let view = services.admin.create_administrator(&by, new).await?;
    let location = created_at("administrators", view.name.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read somebody who administers.
#[utoipa::path(
    get, path = "/administrators/{name}", tag = "Administrators", operation_id = "read_administrator",
    params(("name" = AdministratorName, Path, description = "Their name")),
    responses(
        (status = 200, description = "The administrator", body = AdministratorView, headers(("ETag" = String, description = "The version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["administrators:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<AdministratorName>,
) -> Result<Response, Problem> {
    let view = services.admin.administrator(&by, &name).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change somebody's role, or whether they may sign in. Disabling ends their sessions at once.
#[utoipa::path(
    patch, path = "/administrators/{name}", tag = "Administrators", operation_id = "update_administrator",
    request_body = UpdateAdministrator,
    params(
        ("name" = AdministratorName, Path, description = "Their name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "They, changed", body = AdministratorView, headers(("ETag" = String, description = "The version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<AdministratorView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["administrators:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<AdministratorName>,
    Version(version): Version,
    Body(update): Body<UpdateAdministrator>,
) -> Result<Response, Problem> {
    let view = services.admin.update_administrator(&by, &name, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove somebody who administers. Their sessions end at once; the audit keeps what they did.
#[utoipa::path(
    delete, path = "/administrators/{name}", tag = "Administrators", operation_id = "delete_administrator",
    params(
        ("name" = AdministratorName, Path, description = "Their name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "They are removed"),
        (status = 412, description = "Somebody else changed it", body = Stale<AdministratorView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["administrators:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<AdministratorName>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_administrator(&by, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a one-time link by which somebody sets a new password and a new second factor. Earlier links are void. The
/// answer is the only time it is shown.
#[utoipa::path(
    post, path = "/administrators/{name}/link", tag = "Administrators", operation_id = "make_administrator_link",
    params(("name" = AdministratorName, Path, description = "Their name")),
    responses(
        (status = 201, description = "The link", body = Link),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["administrators:write"]))
)]
async fn make_link(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<AdministratorName>,
) -> Result<Response, Problem> {
    let link = services.admin.link_for(&by, &name).await?;
    Ok(no_store((StatusCode::CREATED, Json(link)).into_response()))
}

/// Sign somebody out everywhere. They can sign in again with what they have.
#[utoipa::path(
    delete, path = "/administrators/{name}/sessions", tag = "Administrators", operation_id = "end_administrator_sessions",
    params(("name" = AdministratorName, Path, description = "Their name")),
    responses((status = 204, description = "They are signed out"), NoSuchThing, Refusals),
    security(("token" = ["administrators:write"]))
)]
async fn end_sessions(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<AdministratorName>,
) -> Result<StatusCode, Problem> {
    services.admin.end_sessions(&by, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
