//! A client's certificates: registering one beside the others.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;

use crate::admin::AdminError;
use crate::admin::client_certificates::AddCertificate;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}/certificates", post(add))
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
