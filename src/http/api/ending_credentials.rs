//! `/ending-credentials`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Filter};
use super::{FilterRefusals, Refusals};
use crate::admin::ending_credentials::EndingCredentialView;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Bounds {
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

/// List the credentials that end within `credentials.warn_before` and that nothing has replaced, soonest first.
#[utoipa::path(
    get, path = "/ending-credentials", tag = "Clients", operation_id = "list_ending_credentials",
    params(Bounds),
    responses(
        (status = 200, description = "Those that end first", body = Vec<EndingCredentialView>),
        FilterRefusals,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(bounds): Filter<Bounds>,
) -> Result<Json<Vec<EndingCredentialView>>, Problem> {
    Ok(Json(services.admin.ending_credentials(&by, bounds.limit).await?))
}
