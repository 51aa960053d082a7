//! Which clients operate a resource server.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};

use super::AT;
use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, ResourceServerName};
use crate::http::Shared;
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, when};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/resource-servers/{name}/operators", post(add))
        .route("/resource-servers/{name}/operators/{client_id}/remove", get(ask_remove).post(remove))
}

fn client(form: &Form) -> Result<ClientId, AdminError> {
    Ok(ClientId::new(form.text("client_id").trim())?)
}

async fn add(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let added = match client(&form) {
        Ok(client_id) => services.admin.add_operator(&session.by, &name, &client_id).await,
        Err(error) => Err(error),
    };
    let error = match added {
        Ok(()) => return Ok(done(&session.path(&["resource-servers", name.as_str()]), "operator-added")),
        Err(AdminError::NotFound { what: "client", name }) => {
            FieldError::new("client_id", format!("there is no client '{name}'"), "register it first").into()
        }
        Err(error) => error,
    };
    super::again(&services, &session, &name, form.refused_beside("client_id", error)?).await
}

async fn removal(
    services: &Shared,
    session: &SignedIn,
    (name, client_id): (&str, &str),
) -> Result<(ResourceServerName, ClientId, Confirmation), PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    let name = ResourceServerName::new(name).map_err(|_| PageError::NoSuchPage)?;
    let client_id = ClientId::new(client_id).map_err(|_| PageError::NoSuchPage)?;
    let audience = services.admin.resource_server(&session.by, &name).await?.identifier.to_string();
    let impact = services.admin.client_impact(&session.by, &client_id).await?;
    let mut breaks = vec![
        format!("{client_id} hears no more whether tokens for {name} count: each is told to be inactive."),
        format!("Where no rule names {name} as a source, it can exchange tokens for {name} no more."),
    ];
    for edge in impact.passes_on.iter().filter(|edge| edge.audience != audience) {
        breaks.push(format!(
            "In the last day it has passed on the identity of {} towards {}, {}.",
            edge.subject,
            edge.audience,
            when::many(edge.exchanges, "time")
        ));
    }
    if impact.passes_on.is_empty() {
        breaks.push("In the last day it has exchanged no token.".to_owned());
    }
    let used = services.admin.resource_server_impact(&session.by, &name).await?;
    let least = if used.at_least { "at least " } else { "" };
    let (clients, tokens) = (when::many(used.clients, "client"), when::many(used.tokens, "token"));
    breaks.push(format!("In this hour and the one before, {least}{clients} got {tokens} for {name}."));
    let confirmation = Confirmation {
        title: format!("Remove {client_id} as an operator of {name}?"),
        section: AT,
        breaks,
        button: "Remove the operator",
        name: Some(("the client's identifier", client_id.to_string())),
        version: None,
        back: session.path(&["resource-servers", name.as_str()]),
    };
    Ok((name, client_id, confirmation))
}

async fn ask_remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((name, client_id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let (_, _, confirmation) = removal(&services, &session, (&name, &client_id)).await?;
    Ok(confirmation.ask(&session))
}

async fn remove(
    State(services): State<Shared>,
    session: SignedIn,
    Path((name, client_id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, PageError> {
    let (name, client_id, confirmation) = removal(&services, &session, (&name, &client_id)).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.remove_operator(&session.by, &name, &client_id).await?;
    Ok(done(&session.path(&["resource-servers", name.as_str()]), "operator-removed"))
}
