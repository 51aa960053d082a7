//! `/clients/{client_id}/certificates`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Body, Named};
use super::{BodyRefusals, Contradiction, NoSuchThing, Refusals};
use crate::admin::client_certificates::{AddCertificate, CertificateView, UpdateCertificate};
use crate::domain::ids::{ClientId, CredentialId};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(update, remove))
}

/// List the certificates that a client may authenticate by (`self_signed_tls_client_auth`), newest first.
#[utoipa::path(
    get, path = "/clients/{client_id}/certificates", tag = "Client certificates",
    operation_id = "list_client_certificates",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    responses(
        (status = 200, description = "All of them, expired ones too", body = Vec<CertificateView>),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
) -> Result<Json<Vec<CertificateView>>, Problem> {
    Ok(Json(services.admin.certificates(&by, &client_id).await?))
}

/// Register a certificate beside those that the client has: whoever holds its key is the client.
#[utoipa::path(
    post, path = "/clients/{client_id}/certificates", tag = "Client certificates",
    operation_id = "add_client_certificate",
    params(("client_id" = ClientId, Path, description = "Its identifier, percent-encoded")),
    request_body = AddCertificate,
    responses(
        (status = 201, description = "It is registered", body = CertificateView),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn add(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(client_id): Named<ClientId>,
    Body(new): Body<AddCertificate>,
) -> Result<(StatusCode, Json<CertificateView>), Problem> {
    let added = services.admin.add_certificate(&by, &client_id, new).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// Change what is said of a certificate, or its end here.
#[utoipa::path(
    patch, path = "/clients/{client_id}/certificates/{certificate_id}", tag = "Client certificates",
    operation_id = "update_client_certificate",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("certificate_id" = CredentialId, Path, description = "Which certificate"),
    ),
    request_body = UpdateCertificate,
    responses(
        (status = 200, description = "The certificate as it is now", body = CertificateView),
        NoSuchThing,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, certificate_id)): Named<(ClientId, CredentialId)>,
    Body(update): Body<UpdateCertificate>,
) -> Result<Json<CertificateView>, Problem> {
    Ok(Json(services.admin.update_certificate(&by, &client_id, &certificate_id, update).await?))
}

/// Remove a certificate. It is refused everywhere within a second.
#[utoipa::path(
    delete, path = "/clients/{client_id}/certificates/{certificate_id}", tag = "Client certificates",
    operation_id = "remove_client_certificate",
    params(
        ("client_id" = ClientId, Path, description = "The client's identifier, percent-encoded"),
        ("certificate_id" = CredentialId, Path, description = "Which certificate"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["clients:write"]))
)]
async fn remove(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named((client_id, certificate_id)): Named<(ClientId, CredentialId)>,
) -> Result<StatusCode, Problem> {
    services.admin.remove_certificate(&by, &client_id, &certificate_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
