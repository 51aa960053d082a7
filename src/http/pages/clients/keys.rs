//! A client's public keys: adding one beside the others, and removing one.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::AT;
use crate::admin::AdminError;
use crate::admin::client_keys::AddKey;
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
        .route("/clients/{client_id}/keys", post(add))
        .route("/clients/{client_id}/keys/{key_id}/remove", get(ask_remove).post(remove))
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

async fn removal(
    services: &Shared,
    session: &SignedIn,
    (client_id, key_id): (&str, &str),
) -> Result<(ClientId, CredentialId, Confirmation), PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let client_id = ClientId::new(client_id).map_err(|_| PageError::NoSuchPage)?;
    let key_id = CredentialId::new(key_id).map_err(|_| PageError::NoSuchPage)?;
    let keys = services.admin.keys(&session.by, &client_id).await?;
    let key = keys.iter().find(|key| key.key_id == key_id).ok_or(PageError::NoSuchPage)?;
    let others = keys.iter().filter(|other| !other.expired && other.key_id != key_id).count();
    let used = match key.last_used_at {
        Some(at) => format!("It was last used at {}.", when::minute(&at)),
        None => "As far as is counted, it was never used.".to_owned(),
    };
    let left = match others {
        0 => format!("{client_id} has no other key that counts: by private_key_jwt it gets no tokens then."),
        others => format!("{client_id} has {} left.", when::many(others, "other key")),
    };
    let tokens = services.admin.credential_use(&session.by, &client_id, &key_id).await?;
    let mut breaks =
        vec![format!("Whoever still signs with the key {key_id} is refused within a second."), used, left];
    breaks.extend(leaning(&tokens, "were got with it"));
    let confirmation = Confirmation {
        title: format!("Remove the key {key_id}?"),
        section: AT,
        breaks,
        button: "Remove the key",
        name: Some(("the key's name", key_id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    };
    Ok((client_id, key_id, confirmation))
}

async fn ask_remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, key_id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (_, _, confirmation) = removal(&services, &session, (&client_id, &key_id)).await?;
    Ok(confirmation.ask(&session))
}

async fn remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((client_id, key_id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (client_id, key_id, confirmation) = removal(&services, &session, (&client_id, &key_id)).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.remove_key(&session.by, &client_id, &key_id).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "key-removed"))
}
