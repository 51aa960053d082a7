//! Registering somebody, and the one-time link by which they set their password.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{AT, may};
use crate::admin::administrators::{CreateAdministrator, Link};
use crate::domain::administrator::AdministratorRole;
use crate::domain::builtin;
use crate::domain::ids::AdministratorName;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::Form;
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, page, page_with};

pub(super) fn routes() -> Router<Shared> {
    // Beside the people's own pages, so that somebody may have any name.
    Router::new().route("/new-administrator", get(ask).post(create))
}

#[derive(Template)]
#[template(path = "administrators/new.html")]
struct Register {
    frame: Frame,
    form: Form,
    roles: Vec<(&'static str, &'static str)>,
}

// === impl Register ===

impl Register {
    fn new(session: &SignedIn, form: Form) -> Self {
        let roles = AdministratorRole::ALL.iter().map(|role| (role.as_str(), may(*role))).collect();
        Self { frame: session.frame("Register an administrator", AT), form, roles }
    }
}

/// The page with a link, the one time that it is shown.
#[derive(Template)]
#[template(path = "administrators/link.html")]
pub(super) struct Shown {
    frame: Frame,
    link: Link,
}

// === impl Shown ===

impl Shown {
    /// Makes a link and answers the page that shows it.
    pub(super) async fn make(
        services: &Shared,
        session: &SignedIn,
        name: &AdministratorName,
    ) -> Result<Response, PageError> {
        let link = services.admin.link_for(&session.by, name).await?;
        Ok(page(&Self { frame: session.frame(format!("A link for {name}"), AT), link }))
    }
}

async fn ask(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ADMINISTRATORS_WRITE).await?;
    let form = Form::of([("role", AdministratorRole::Auditor.as_str().to_owned())]);
    Ok(page(&Register::new(&session, form)))
}

async fn create(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::ADMINISTRATORS_WRITE).await?;
    let wanted: Result<CreateAdministrator, _> =
        Input::new(&form).text("name").text("role").put("external", external(&form)).read();
    let created = match wanted {
        Ok(wanted) => services.admin.create_administrator(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    match created {
        // Somebody else vouches for them, so they need no password.
        Ok(view) if view.external.is_some() => {
            Ok(done(&session.path(&["administrators", view.name.as_str()]), "registered"))
        }
        Ok(view) => Shown::make(&services, &session, &view.name).await,
        Err(error) => {
            let new = Register::new(&session, form.refused_beside("name", error)?);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &new))
        }
    }
}

/// Who else vouches for them, when one of the two fields says so.
fn external(form: &Form) -> Value {
    let [issuer, subject] = ["external.issuer", "external.subject"].map(|name| form.text(name).trim());
    if issuer.is_empty() && subject.is_empty() {
        return Value::Null;
    }
    json!({ "issuer": issuer, "subject": subject })
}
