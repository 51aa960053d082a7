//! Rotating a client's secrets.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;

use super::AT;
use super::secrets::Shown;
use crate::admin::AdminError;
use crate::admin::secrets::{RotateSecret, SecretView, USUAL_OVERLAP};
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, SecretId};
use crate::http::Shared;
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;
use crate::http::pages::when;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}/rotate-secret", post(rotate))
}

/// What a rotation asks for.
fn wanted(form: &Form) -> Result<RotateSecret, AdminError> {
    let hours = form.text("overlap_hours").trim();
    let overlap = match hours {
        "" => None,
        hours => {
            let seconds = hours.parse::<u32>().ok().and_then(|hours| hours.checked_mul(3_600));
            Some(seconds.ok_or_else(|| {
                FieldError::new(
                    "overlap_hours",
                    "it is not a number of hours",
                    "use 0 to 8760, or leave it empty",
                )
            })?)
        }
    };
    let named = Some(form.text("replaces").trim()).filter(|name| !name.is_empty());
    let named = named.map(SecretId::new).transpose().map_err(|error| error.in_field("replaces"))?;
    Ok(RotateSecret {
        description: form.text("rotated_description").trim().to_owned(),
        secret_ids: named.into_iter().collect(),
        overlap,
        ..RotateSecret::default()
    })
}

/// What becomes of the old secret, in sentences.
fn confirmation(
    session: &SignedIn,
    client_id: &ClientId,
    secrets: &[SecretView],
    wanted: &RotateSecret,
) -> Confirmation {
    let counts = || secrets.iter().filter(|secret| !secret.expired);
    let usual = || counts().find(|secret| secret.replaced_by.is_none()).or_else(|| counts().next());
    let named = wanted.secret_ids.first();
    let old = named.map_or_else(usual, |named| secrets.iter().find(|secret| secret.secret_id == *named));
    let overlap = wanted.overlap.map_or(USUAL_OVERLAP.as_secs(), u64::from);
    let span = when::span(i64::try_from(overlap).unwrap_or(i64::MAX));
    let mut breaks = Vec::new();
    match old {
        Some(old) => {
            let name = &old.secret_id;
            breaks.push(if overlap == 0 {
                format!("Whoever uses the secret {name} is refused within a second.")
            } else {
                format!("Whoever still uses the secret {name} in {span} is refused from then on.")
            });
            breaks.push(match old.last_used_at {
                Some(at) => format!("It was last used at {}.", when::minute(&at)),
                None => "As far as is counted, it was never used.".to_owned(),
            });
        }
        None => breaks.push("It has no secret that counts, so the new one replaces none.".to_owned()),
    }
    Confirmation {
        title: format!("Rotate the secret of {client_id}?"),
        section: AT,
        breaks,
        button: "Rotate the secret",
        name: Some(("the client's identifier", client_id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    }
}

async fn rotate(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let secrets = services.admin.secrets(&session.by, &client_id).await?;
    let rotated = match wanted(&form) {
        Ok(wanted) => {
            let confirmation = confirmation(&session, &client_id, &secrets, &wanted);
            if let Err(asked) = confirmation.before(&session, (&form, &Form::default())) {
                return Ok(*asked);
            }
            services.admin.rotate_secret(&session.by, &client_id, wanted).await
        }
        Err(error) => Err(error),
    };
    match rotated {
        Ok(rotated) => Shown::once(&services, &session, &client_id, (rotated.added, rotated.replaces)).await,
        Err(error @ (AdminError::Invalid(_) | AdminError::Conflict(_))) => {
            let form = form.refused_beside("rotated_description", in_form(error))?;
            super::show::again(&services, &session, &client_id, form, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(other) => Err(other.into()),
    }
}

/// The errors under the names that the fields have beside those of another form.
fn in_form(error: AdminError) -> AdminError {
    let AdminError::Invalid(errors) = error else { return error };
    let renamed = errors.into_iter().map(|error| match &*error.field {
        "description" => error.in_field("rotated_description"),
        "overlap" => error.in_field("overlap_hours"),
        _ => error,
    });
    AdminError::Invalid(renamed.collect())
}
