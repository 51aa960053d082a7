//! `/signing-keys`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, Contradiction, NoSuchThing, Refusals};
use crate::admin::signing_keys::{KeyRingView, RevokedKeyView, RotateSigningKey, SigningKeysView};
use crate::domain::ids::KeyId;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(rotate)).routes(routes!(revoke))
}

/// List the signing keys, by algorithm.
#[utoipa::path(
    get, path = "/signing-keys", tag = "Signing keys", operation_id = "list_signing_keys",
    responses((status = 200, description = "All of them", body = SigningKeysView), Refusals),
    security(("token" = ["signing-keys:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
) -> Result<Json<SigningKeysView>, Problem> {
    Ok(Json(services.admin.signing_keys(&by).await?))
}

/// Make the next key of an algorithm before its time. It is published now, and signs when every verifier has it.
#[utoipa::path(
    post, path = "/signing-keys/rotate", tag = "Signing keys", operation_id = "rotate_signing_key",
    request_body = RotateSigningKey,
    responses(
        (status = 201, description = "The keys of the algorithm", body = KeyRingView),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["signing-keys:write"]))
)]
async fn rotate(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(wanted): Body<RotateSigningKey>,
) -> Result<Response, Problem> {
    let ring = services.admin.rotate_signing_key(&by, wanted.algorithm).await?;
    Ok((StatusCode::CREATED, Json(ring)).into_response())
}

/// Withdraw a key that somebody else may have. A fresh one signs at once if it was the one that did.
#[utoipa::path(
    post, path = "/signing-keys/{kid}/revoke", tag = "Signing keys", operation_id = "revoke_signing_key",
    params(("kid" = KeyId, Path, description = "Its identifier")),
    responses(
        (status = 200, description = "It is withdrawn", body = RevokedKeyView),
        NoSuchThing,
        Contradiction,
        Refusals,
    ),
    security(("token" = ["signing-keys:write"]))
)]
async fn revoke(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(kid): Named<String>,
) -> Result<Json<RevokedKeyView>, Problem> {
    Ok(Json(services.admin.revoke_signing_key(&by, &kid).await?))
}
