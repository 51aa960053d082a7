//! `/trusted-issuers`
//!
//! `presets` and `explain` are names of no issuer, so that paths below can have them.

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
use crate::admin::impact::TrustedIssuerImpact;
use crate::admin::issuer_presets::PresetView;
use crate::admin::trusted_issuers::{CreateTrustedIssuer, TrustedIssuerView, UpdateTrustedIssuer};
use crate::domain::ids::TrustedIssuerName;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, delete))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(presets))
        .routes(routes!(impact))
}

/// List trusted issuers, in the order of their names.
#[utoipa::path(
    get, path = "/trusted-issuers", tag = "Trusted issuers", operation_id = "list_trusted_issuers", params(Search),
    responses((status = 200, description = "A page", body = Page<TrustedIssuerView>), FilterRefusals, Refusals),
    security(("token" = ["trusted-issuers:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<TrustedIssuerView>>, Problem> {
    let (text, page) = search.split();
    Ok(Json(services.admin.trusted_issuers(&by, text.as_deref(), &page).await?))
}

/// Register a trusted issuer: whose tokens count here, and with which keys. They prove nobody yet: that do the federated
/// credentials of clients.
#[utoipa::path(
    post, path = "/trusted-issuers", tag = "Trusted issuers", operation_id = "create_trusted_issuer", request_body = CreateTrustedIssuer,
    responses(
        (status = 201, description = "It is there", body = TrustedIssuerView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateTrustedIssuer>,
) -> Result<Response, Problem> {
    let view = services.admin.create_trusted_issuer(&by, new).await?;
    let location = created_at("trusted-issuers", view.name.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read a trusted issuer.
#[utoipa::path(
    get, path = "/trusted-issuers/{name}", tag = "Trusted issuers", operation_id = "read_trusted_issuer",
    params(("name" = TrustedIssuerName, Path, description = "Its name")),
    responses(
        (status = 200, description = "The trusted issuer", body = TrustedIssuerView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, Problem> {
    let view = services.admin.trusted_issuer(&by, &name).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change a trusted issuer: what is absent stays, what is given replaces.
#[utoipa::path(
    patch, path = "/trusted-issuers/{name}", tag = "Trusted issuers", operation_id = "update_trusted_issuer", request_body = UpdateTrustedIssuer,
    params(
        ("name" = TrustedIssuerName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "It, changed", body = TrustedIssuerView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<TrustedIssuerView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
    Version(version): Version,
    Body(update): Body<UpdateTrustedIssuer>,
) -> Result<Response, Problem> {
    let view = services.admin.update_trusted_issuer(&by, &name, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove a trusted issuer that nothing names.
#[utoipa::path(
    delete, path = "/trusted-issuers/{name}", tag = "Trusted issuers", operation_id = "delete_trusted_issuer",
    params(
        ("name" = TrustedIssuerName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "Somebody else changed it", body = Stale<TrustedIssuerView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_trusted_issuer(&by, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Switch a trusted issuer off: its tokens count nowhere from now on. Needs no ETag: an emergency does not wait.
#[utoipa::path(
    post, path = "/trusted-issuers/{name}/disable", tag = "Trusted issuers", operation_id = "disable_trusted_issuer",
    params(("name" = TrustedIssuerName, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is off", body = TrustedIssuerView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:write"]))
)]
async fn disable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, Problem> {
    let view = services.admin.set_trusted_issuer_enabled(&by, &name, false).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Switch a trusted issuer on again.
#[utoipa::path(
    post, path = "/trusted-issuers/{name}/enable", tag = "Trusted issuers", operation_id = "enable_trusted_issuer",
    params(("name" = TrustedIssuerName, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is on", body = TrustedIssuerView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:write"]))
)]
async fn enable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Response, Problem> {
    let view = services.admin.set_trusted_issuer_enabled(&by, &name, true).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// List what is known about the tokens of platforms: what their issuers are registered with, and what names a workload.
#[utoipa::path(
    get, path = "/trusted-issuers/presets", tag = "Trusted issuers", operation_id = "list_issuer_presets",
    responses((status = 200, description = "All of them", body = Vec<PresetView>), Refusals),
    security(("token" = ["trusted-issuers:read"]))
)]
async fn presets(
    State(services): State<Shared>,
    Administrator(by): Administrator,
) -> Result<Json<Vec<PresetView>>, Problem> {
    Ok(Json(services.admin.issuer_presets(&by).await?))
}

/// Say what breaks when a trusted issuer is disabled: how many federated credentials name it and of which clients, and
/// which exchange rules.
#[utoipa::path(
    get, path = "/trusted-issuers/{name}/impact", tag = "Trusted issuers", operation_id = "trusted_issuer_impact",
    params(("name" = TrustedIssuerName, Path, description = "Its name")),
    responses((status = 200, description = "What breaks", body = TrustedIssuerImpact), NoSuchThing, Refusals),
    security(("token" = ["trusted-issuers:read"]))
)]
async fn impact(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<TrustedIssuerName>,
) -> Result<Json<TrustedIssuerImpact>, Problem> {
    Ok(Json(services.admin.trusted_issuer_impact(&by, &name).await?))
}
