//! A client's public keys: adding one beside the others.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;

use crate::admin::AdminError;
use crate::admin::client_keys::AddKey;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}/keys", post(add))
}

async fn add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let added = match read(&form) {
        Ok(new) => services.admin.add_key(&session.by, &client_id, new).await,
        Err(error) => Err(error),
    };
    match added {
        Ok(_) => Ok(done(&session.path(&["clients", client_id.as_str()]), "key-added")),
        Err(AdminError::Invalid(errors)) => {
            let errors = errors.into_iter().map(|error| {
                let field = match &*error.field {
                    "jwk" | "pem" => "key",
                    "description" => "key_description",
                    _ => "key_days",
                };
                error.in_field(field)
            });
            again(&services, &session, &client_id, form, AdminError::Invalid(errors.collect())).await
        }
        Err(error @ AdminError::Conflict(_)) => again(&services, &session, &client_id, form, error).await,
        Err(other) => Err(other.into()),
    }
}

fn read(form: &Form) -> Result<AddKey, AdminError> {
    let mut new = AddKey::of_text(form.text("key"))?;
    form.text("key_description").trim().clone_into(&mut new.description);
    let days = form.text("key_days").trim();
    if !days.is_empty() {
        let seconds = days.parse::<u32>().ok().and_then(|days| days.checked_mul(86_400));
        let wrong = || {
            let fix = "use 1 to 49000, or leave it empty";
            AdminError::from(FieldError::new("key_days", "it is not a number of days", fix))
        };
        new.expires_in = Some(seconds.ok_or_else(wrong)?);
    }
    Ok(new)
}

/// The client's page once more. What was typed as the key is not shown again: it may be a private one.
async fn again(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
    mut form: Form,
    error: AdminError,
) -> Result<Response, PageError> {
    form.replace("key", "");
    let form = form.refused_beside("key", error)?;
    super::show::again(services, session, client_id, form, StatusCode::UNPROCESSABLE_ENTITY).await
}
