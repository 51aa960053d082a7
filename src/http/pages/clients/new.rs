//! Registering a client, with its first secret.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use super::fields::{self, Choices};
use super::secrets::Shown;
use crate::admin::clients::CreateClient;
use crate::admin::secrets::AddSecret;
use crate::domain::builtin;
use crate::http::Shared;
use crate::http::pages::change::Clash;
use crate::http::pages::error::PageError;
use crate::http::pages::form::Form;
use crate::http::pages::frame::Frame;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with};

pub(super) fn routes() -> Router<Shared> {
    // Beside the clients' own pages, so that a client may have any name.
    Router::new().route("/new-client", get(ask).post(create))
}

#[derive(Template)]
#[template(path = "clients/new.html")]
struct New {
    frame: Frame,
    form: Form,
    choices: Choices,
    clash: Option<Clash>,
}

async fn new(services: &Shared, session: &SignedIn, form: Form) -> Result<New, PageError> {
    let choices = Choices::read(services, session, &form).await?;
    Ok(New { frame: session.frame("Register a client", AT), form, choices, clash: None })
}

async fn ask(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    Ok(page(&new(&services, &session, fields::empty()).await?))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::CLIENTS_WRITE).await?;
    let created = match fields::create(&form) {
        Ok(wanted) => register(&services, &session, wanted).await,
        Err(error) => Err(error),
    };
    let client_id = match created {
        Ok(client_id) => client_id,
        Err(error) => {
            let form = form.refused_beside("client_id", error)?;
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &new(&services, &session, form).await?));
        }
    };
    if !form.has("secret", "yes") {
        return Ok(done(&session.path(&["clients", client_id.as_str()]), "registered"));
    }
    let secret = AddSecret { description: "the first".to_owned(), ..AddSecret::default() };
    Shown::add(&services, &session, &client_id, secret).await
}

async fn register(
    services: &Shared,
    session: &SignedIn,
    wanted: CreateClient,
) -> Result<crate::domain::ids::ClientId, crate::admin::AdminError> {
    services.admin.create_client(&session.by, wanted).await.map(|view| view.client_id)
}
