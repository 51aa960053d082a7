//! `/clients`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::{Problem, Stale};
use super::super::extract::{Administrator, Body, Filter, Named, Version};
use super::{
    BodyRefusals, Contradiction, FilterRefusals, NoSuchThing, Refusals, VersionRefusals, created_at,
};
use crate::admin::clients::{ClientView, CreateClient, UpdateClient};
use crate::admin::{Page, PageRequest};
use crate::domain::client::ClientKind;
use crate::domain::error::FieldError;
use crate::domain::ids::ClientId;
use crate::storage::ClientFilter;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, delete))
        .routes(routes!(disable))
        .routes(routes!(enable))
}

/// Which page of the clients, and which clients.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Of this kind.
    kind: Option<ClientKind>,
    /// Of this owner.
    #[param(max_length = 200, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    owner: Option<String>,
    /// With this label, as `name=value`.
    #[param(
        example = "team=finance",
        pattern = r"^[A-Za-z0-9._/-]{1,63}=[^\u0000-\u001f\u007f-\u009f]{0,255}$"
    )]
    label: Option<String>,
    /// With this text in the identifier, the description or the owner, in any case.
    #[param(max_length = 200, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    q: Option<String>,
    /// Switched on, or off.
    enabled: Option<bool>,
    /// `next_cursor` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

fn label(text: &str) -> Result<(String, String), Problem> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Problem::invalid(vec![FieldError::new(
            "label",
            "it has no '='",
            "write label=name=value, for example label=team=finance",
        )])
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

/// List clients, in the order of their identifiers.
#[utoipa::path(
    get, path = "/clients", tag = "Clients", operation_id = "list_clients", params(Search),
    responses((status = 200, description = "A page", body = Page<ClientView>), FilterRefusals, Refusals),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<ClientView>>, Problem> {
    let label = search.label.as_deref().map(label).transpose()?;
    let filter = ClientFilter {
        kind: search.kind,
        owner: search.owner.filter(|owner| !owner.is_empty()),
        label,
        text: search.q.filter(|text| !text.is_empty()),
        enabled: search.enabled,
    };
    let page = PageRequest { cursor: search.cursor, limit: search.limit };
    Ok(Json(services.admin.clients(&by, &filter, &page).await?))
}

/// Register a client.
#[utoipa::path(
    post, path = "/clients", tag = "Clients", operation_id = "create_client", request_body = CreateClient,
    responses(
        (status = 201, description = "It is there", body = ClientView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateClient>,
) -> Result<Response, Problem> {
    let view = services.admin.create_client(&by, new).await?;
    let location = created_at("clients", view.client_id.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read a client.
#[utoipa::path(
    get, path = "/clients/{client_id}", tag = "Clients", operation_id = "read_client",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "The client", body = ClientView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Response, Problem> {
    let view = services.admin.client(&by, &client_id).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change a client: what is absent stays, what is given replaces.
#[utoipa::path(
    patch, path = "/clients/{client_id}", tag = "Clients", operation_id = "update_client", request_body = UpdateClient,
    params(
        ("client_id" = ClientId, Path, description = "Its identifier, percent-encoded"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "It, changed", body = ClientView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<ClientView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Version(version): Version,
    Body(update): Body<UpdateClient>,
) -> Result<Response, Problem> {
    let view = services.admin.update_client(&by, &client_id, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove a client.
#[utoipa::path(
    delete, path = "/clients/{client_id}", tag = "Clients", operation_id = "delete_client",
    params(
        ("client_id" = ClientId, Path, description = "Its identifier, percent-encoded"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "Somebody else changed it", body = Stale<ClientView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_client(&by, &client_id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Switch a client off: it gets no tokens and its tokens open nothing here. Needs no ETag: an emergency does not wait.
#[utoipa::path(
    post, path = "/clients/{client_id}/disable", tag = "Clients", operation_id = "disable_client",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "It is off", body = ClientView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn disable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Response, Problem> {
    let view = services.admin.set_client_enabled(&by, &client_id, false).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Switch a client on again.
#[utoipa::path(
    post, path = "/clients/{client_id}/enable", tag = "Clients", operation_id = "enable_client",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "It is on", body = ClientView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn enable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Response, Problem> {
    let view = services.admin.set_client_enabled(&by, &client_id, true).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}
