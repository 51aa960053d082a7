//! `/statistics`

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
use crate::admin::statistics::{
    DelegationQuery, Delegations, StatisticsBy, StatisticsStep, TokenQuery, TokenStatistics,
};
use crate::domain::time::Timestamp;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(tokens)).routes(routes!(delegations))
}

/// Which tokens and refusals to count.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Tokens {
    /// From the hour or day of this time on; a day before the end, or 30 with `step=day`, when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Until the hour or day of this time, all of it; until now, when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// What one number stands for: an hour, for 14 days at most and when absent, or a day, for 400.
    step: Option<StatisticsStep>,
    /// What is told apart; outcomes, when absent.
    by: Option<StatisticsBy>,
    /// Of this client alone.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    client_id: Option<String>,
}

/// Which delegations to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Edges {
    /// From the day of this time on; 30 days before the end, when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Until the day of this time, all of it; until now, when absent. 31 days at most.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// With this client on either side.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    client_id: Option<String>,
}

/// Count tokens and refusals over time. The numbers are up to a minute behind the audit.
#[utoipa::path(
    get, path = "/statistics/tokens", tag = "Statistics", operation_id = "count_tokens", params(Tokens),
    responses((status = 200, description = "The numbers", body = TokenStatistics), FilterRefusals, Refusals),
    security(("token" = ["audit:read"]))
)]
async fn tokens(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(wanted): Filter<Tokens>,
) -> Result<Json<TokenStatistics>, Problem> {
    let Tokens { from, to, step, by: told_apart, client_id } = wanted;
    let query = TokenQuery { from, to, step, by: told_apart, client_id };
    Ok(Json(services.admin.token_statistics(&by, query).await?))
}

/// Show who has acted for whom towards what, from real token exchanges, up to a minute behind the audit.
#[utoipa::path(
    get, path = "/statistics/delegations", tag = "Statistics", operation_id = "list_delegations", params(Edges),
    responses((status = 200, description = "The edges", body = Delegations), FilterRefusals, Refusals),
    security(("token" = ["audit:read"]))
)]
async fn delegations(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(Edges { from, to, client_id }): Filter<Edges>,
) -> Result<Json<Delegations>, Problem> {
    Ok(Json(services.admin.delegations(&by, DelegationQuery { from, to, client_id }).await?))
}
