//! `/revocations`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body};
use super::{BodyRefusals, NoSuchThing, Refusals};
use crate::admin::revocations::{RevocationView, RevokeTokens};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(revoke))
}

/// Take back a token, a chain of tokens, or everything that a client has until now. It counts within a second on
/// every replica, wherever this server is asked.
#[utoipa::path(
    post, path = "/revocations", tag = "Revocations", operation_id = "revoke_tokens", request_body = RevokeTokens,
    responses(
        (status = 201, description = "They count no longer", body = RevocationView),
        NoSuchThing,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["tokens:revoke"]))
)]
async fn revoke(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(wanted): Body<RevokeTokens>,
) -> Result<Response, Problem> {
    let view = services.admin.revoke_tokens(&by, wanted).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}
