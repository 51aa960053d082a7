//! `/resource-servers/{name}/operators`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Filter, Named};
use super::{Contradiction, FilterRefusals, NoSuchThing, Refusals};
use crate::admin::operators::OperatorView;
use crate::admin::{Page, PageRequest};
use crate::domain::ids::{ClientId, ResourceServerName};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(add, remove))
}

/// Which page of the operators.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Place {
    /// `next_cursor` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

/// List the clients that operate a resource server, in the order of their identifiers.
#[utoipa::path(
    get, path = "/resource-servers/{name}/operators", tag = "Operators", operation_id = "list_operators",
    params(("name" = ResourceServerName, Path, description = "The resource server's name"), Place),
    responses(
        (status = 200, description = "A page", body = Page<OperatorView>),
        NoSuchThing,
        FilterRefusals,
        Refusals,
    ),
    security(("token" = ["resource-servers:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ResourceServerName>,
    Filter(place): Filter<Place>,
) -> Result<Json<Page<OperatorView>>, Problem> {
    let page = PageRequest { cursor: place.cursor, limit: place.limit };
    Ok(Json(services.admin.operators(&by, &name, &page).await?))
}

/// Make a client an operator: it may introspect the resource server's tokens, and exchange tokens addressed to it. Doing it twice is no error.
#[utoipa::path(
    put, path = "/resource-servers/{name}/operators/{client_id}", tag = "Operators", operation_id = "add_operator",
    params(
        ("name" = ResourceServerName, Path, description = "The resource server's name"),
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
    ),
    responses(
        (status = 204, description = "The client operates it"),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["resource-servers:write"]))
)]
async fn add(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((name, client_id)): Named<(ResourceServerName, ClientId)>,
) -> Result<StatusCode, Problem> {
    services.admin.add_operator(&by, &name, &client_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a client no longer operate a resource server. Doing it where it does not is no error.
#[utoipa::path(
    delete, path = "/resource-servers/{name}/operators/{client_id}", tag = "Operators", operation_id = "remove_operator",
    params(
        ("name" = ResourceServerName, Path, description = "The resource server's name"),
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
    ),
    responses(
        (status = 204, description = "The client does not operate it"),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["resource-servers:write"]))
)]
async fn remove(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((name, client_id)): Named<(ResourceServerName, ClientId)>,
) -> Result<StatusCode, Problem> {
    services.admin.remove_operator(&by, &name, &client_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
