//! Which clients operate a resource server.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;

use crate::admin::AdminError;
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, ResourceServerName};
use crate::http::Shared;
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/resource-servers/{name}/operators", post(add))
        .route("/resource-servers/{name}/operators/remove", post(remove))
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

async fn remove(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<ResourceServerName>,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::RESOURCE_SERVERS_WRITE).await?;
    services.admin.remove_operator(&session.by, &name, &client(&form)?).await?;
    Ok(done(&session.path(&["resource-servers", name.as_str()]), "operator-removed"))
}
