//! A client's secrets: adding one beside the others, so that a rotation has no gap.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};

use super::AT;
use crate::admin::AdminError;
use crate::admin::secrets::{AddSecret, AddedSecret, SecretView};
use crate::domain::builtin;
use crate::domain::client::{AuthMethod, GrantType};
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::page;
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/clients/{client_id}/secrets", post(add))
}

/// The page with a secret, the one time that it is shown.
#[derive(Template)]
#[template(path = "clients/secret.html")]
pub(super) struct Shown {
    frame: Frame,
    client_id: ClientId,
    secret: SecretString,
    view: SecretView,
    /// Those that it replaces.
    replaces: Vec<SecretView>,
    /// How many other secrets count.
    others: usize,
    /// A request for a token; nothing where the client gets none for itself.
    command: Option<String>,
}

// === impl Shown ===

impl Shown {
    /// Adds a secret and answers the page that shows it.
    pub(super) async fn add(
        services: &Shared,
        session: &SignedIn,
        client_id: &ClientId,
        new: AddSecret,
    ) -> Result<Response, PageError> {
        let added = services.admin.add_secret(&session.by, client_id, new).await?;
        Self::once(services, session, client_id, (added, Vec::new())).await
    }

    /// Answers the page that shows a secret that was just added.
    pub(super) async fn once(
        services: &Shared,
        session: &SignedIn,
        client_id: &ClientId,
        (added, replaces): (AddedSecret, Vec<SecretView>),
    ) -> Result<Response, PageError> {
        let secret = added.client_secret.ok_or(PageError::NoSuchPage)?;
        let client = services.admin.client(&session.by, client_id).await?;
        let secrets = services.admin.secrets(&session.by, client_id).await?;
        let goes = |other: &SecretView| replaces.iter().any(|old| old.secret_id == other.secret_id);
        let others = secrets
            .iter()
            .filter(|other| !other.expired && other.secret_id != added.view.secret_id && !goes(other));
        let others = others.count();
        let command = client
            .grant_types
            .contains(&GrantType::ClientCredentials)
            .then(|| command(services.issuer.as_str(), client_id, &client.auth_methods))
            .flatten();
        Ok(page(&Self {
            frame: session.frame(format!("The secret of {client_id}"), AT),
            client_id: client_id.clone(),
            secret,
            view: added.view,
            replaces,
            others,
            command,
        }))
    }
}

/// A request for a token, up to the secret: what stands for it is put in by the template.
fn command(
    issuer: &str,
    client_id: &ClientId,
    methods: &std::collections::BTreeSet<AuthMethod>,
) -> Option<String> {
    // Form-urlencoded, as RFC 6749 §2.3.1 wants it; then no shell finds anything in it either.
    let client_id: String = url::form_urlencoded::byte_serialize(client_id.as_str().as_bytes()).collect();
    let grant = format!("{issuer}/oauth2/token -d grant_type=client_credentials");
    if methods.contains(&AuthMethod::ClientSecretBasic) {
        Some(format!("curl {grant} -u {client_id}:"))
    } else if methods.contains(&AuthMethod::ClientSecretPost) {
        Some(format!("curl {grant} -d client_id={client_id} -d client_secret="))
    } else {
        None
    }
}

async fn add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let days = form.text("days").trim().to_owned();
    let wanted: Result<AddSecret, _> = Input::new(&form).text("description").read();
    let ends = if days.is_empty() {
        Ok(None)
    } else {
        let seconds = days.parse::<u32>().ok().and_then(|days| days.checked_mul(86_400));
        seconds.map(Some).ok_or_else(|| {
            AdminError::from(crate::domain::error::FieldError::new(
                "days",
                "it is not a number of days",
                "use 1 to 49000, or leave it empty",
            ))
        })
    };
    let added = match (wanted, ends) {
        (Ok(wanted), Ok(expires_in)) => {
            let wanted = AddSecret { expires_in, ..wanted };
            Shown::add(&services, &session, &client_id, wanted).await
        }
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    };
    match added {
        Err(PageError::Admin(error @ (AdminError::Invalid(_) | AdminError::Conflict(_)))) => {
            let form = form.refused_beside("description", error)?;
            super::show::again(&services, &session, &client_id, form, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        other => other,
    }
}
