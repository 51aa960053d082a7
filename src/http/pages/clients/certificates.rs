//! A client's certificates: registering one beside the others, and removing one.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::AT;
use crate::admin::AdminError;
use crate::admin::client_certificates::AddCertificate;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, CredentialId};
use crate::http::Shared;
use crate::http::pages::confirm::{Confirmation, leaning};
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, when};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/clients/{client_id}/certificates", post(add))
        .route("/clients/{client_id}/certificates/{certificate_id}/remove", get(ask_remove).post(remove))
}

/// The fields of the form, whose names differ from those of the form for secrets beside it.
const DESCRIPTION: &str = "certificate_description";

async fn add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let new = AddCertificate {
        certificate: form.whole("certificate"),
        description: form.text(DESCRIPTION).trim().to_owned(),
        expires_at: None,
        expires_in: None,
    };
    let error = match services.admin.add_certificate(&session.by, &client_id, new).await {
        Ok(_) => return Ok(done(&session.path(&["clients", client_id.as_str()]), "certificate-added")),
        Err(AdminError::Invalid(errors)) => {
            let here = |error: FieldError| {
                if error.field == "description" { error.in_field(DESCRIPTION) } else { error }
            };
            AdminError::Invalid(errors.into_iter().map(here).collect())
        }
        Err(other) => other,
    };
    let form = form.refused_beside("certificate", error)?;
    super::show::again(&services, &session, &client_id, form, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn removal(
    services: &Shared,
    session: &SignedIn,
    (client_id, certificate_id): (&str, &str),
) -> Result<(ClientId, CredentialId, Confirmation), PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let client_id = ClientId::new(client_id).map_err(|_| PageError::NoSuchPage)?;
    let certificate_id = CredentialId::new(certificate_id).map_err(|_| PageError::NoSuchPage)?;
    let certificates = services.admin.certificates(&session.by, &client_id).await?;
    let certificate = certificates.iter().find(|one| one.certificate_id == certificate_id);
    let certificate = certificate.ok_or(PageError::NoSuchPage)?;
    let others = certificates.iter().filter(|other| !other.expired && other.certificate_id != certificate_id);
    let used = match certificate.last_used_at {
        Some(at) => format!("It was last used at {}.", when::minute(&at)),
        None => "As far as is counted, it was never used.".to_owned(),
    };
    let left = match others.count() {
        0 => format!("{client_id} has no other certificate that counts."),
        others => format!("{client_id} has {} left.", when::many(others, "other certificate")),
    };
    let tokens = services.admin.credential_use(&session.by, &client_id, &certificate_id).await?;
    let mut breaks = vec![
        format!(
            "Whoever still uses the certificate {certificate_id} ({}) is refused within a second.",
            certificate.subject
        ),
        used,
        left,
    ];
    breaks.extend(leaning(&tokens, "were got with it"));
    let confirmation = Confirmation {
        title: format!("Remove the certificate {certificate_id}?"),
        section: AT,
        breaks,
        button: "Remove the certificate",
        name: Some(("the certificate's name", certificate_id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    };
    Ok((client_id, certificate_id, confirmation))
}

async fn ask_remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, certificate_id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (_, _, confirmation) = removal(&services, &session, (&client_id, &certificate_id)).await?;
    Ok(confirmation.ask(&session))
}

async fn remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, certificate_id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (client_id, certificate_id, confirmation) =
        removal(&services, &session, (&client_id, &certificate_id)).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.remove_certificate(&session.by, &client_id, &certificate_id).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "certificate-removed"))
}
