//! What would this client get? The dry run of a token request, with its reasons.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use crate::admin::client_dry_run::{TriedRequest, TryToken};
use crate::domain::ids::ClientId;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named, Query};
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{page, page_with};

pub(super) fn routes() -> Router<Shared> {
    // A question that changes nothing, so it can be sent to somebody as a link.
    Router::new().route("/clients/{client_id}/try", get(ask))
}

#[derive(Template)]
#[template(path = "clients/try.html")]
struct DryRun {
    frame: Frame,
    path: String,
    form: Form,
    tried: Option<TriedRequest>,
    /// The claims of the token, as JSON.
    claims: String,
}

async fn ask(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    query: Query,
) -> Result<Response, PageError> {
    let wanted: Result<TryToken, _> =
        Input::new(&query.0).optional("scope").lines("resource").lines("audience").read();
    let tried = match wanted {
        Ok(wanted) => services.admin.try_token(&session.by, &client_id, wanted).await,
        Err(error) => Err(error),
    };
    let mut shown = DryRun {
        frame: session.frame(format!("What would {client_id} get?"), AT),
        path: session.path(&["clients", client_id.as_str()]),
        form: Form::default(),
        tried: None,
        claims: String::new(),
    };
    match tried {
        Ok(tried) => {
            let claims =
                tried.token.as_ref().and_then(|token| serde_json::to_string_pretty(&token.claims).ok());
            shown.claims = claims.unwrap_or_default();
            shown.tried = Some(tried);
            shown.form = query.0;
            Ok(page(&shown))
        }
        Err(error) => {
            shown.form = query.0.refused(error)?;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
        }
    }
}
