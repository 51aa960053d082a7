//! `/trusted-issuers/explain`, which is the name of no trusted issuer.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body};
use super::{BodyRefusals, Refusals};
use crate::admin::explain::{ExplainAssertion, ExplainedAssertion};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Say of a token of a trusted issuer why it counts here or does not, step by step, and how to mend it. Nothing is issued
/// or used up, and the token is not written down.
#[utoipa::path(
    post, path = "/trusted-issuers/explain", tag = "Trusted issuers", operation_id = "explain_assertion",
    request_body = ExplainAssertion,
    responses(
        (status = 200, description = "What was looked at", body = ExplainedAssertion),
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["trusted-issuers:read"]))
)]
async fn explain(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(wanted): Body<ExplainAssertion>,
) -> Result<Json<ExplainedAssertion>, Problem> {
    Ok(Json(services.admin.explain(&by, wanted).await?))
}
