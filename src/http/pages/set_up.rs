//! `/admin/set-up`: where a one-time link leads.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::{Form, SmallForm};
use super::frame::Frame;
use super::visitor::{Refused, Visitor, secret};
use super::{page, page_with};
use crate::admin::set_up::LinkFor;
use crate::domain::administrator::Stage;
use crate::domain::error::FieldError;
use crate::http::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/set-up", get(show).post(set_up))
}

#[derive(Template)]
#[template(path = "set-up.html")]
struct SetUpPage {
    frame: Frame,
    form: Form,
    /// Whose password it is; the first administrator chooses a name.
    name: Option<String>,
}

async fn show(State(services): State<Shared>, visitor: Visitor) -> Result<Response, PageError> {
    let link = visitor.asked("link");
    let name = name(services.sign_in.link_is_for(&link).await?);
    Ok(page(&SetUpPage { frame: visitor.frame("Set a password"), form: Form::of([("link", link)]), name }))
}

async fn set_up(
    State(services): State<Shared>,
    visitor: Visitor,
    SmallForm(form): SmallForm,
) -> Result<Response, PageError> {
    let (sign_in, link) = (&services.sign_in, form.text("link"));
    let name = name(sign_in.link_is_for(link).await?);
    let done = if form.text("password") == form.text("again") {
        let typed = (form.text("name"), secret(&form, "password"));
        sign_in.set_up(&visitor.attempt(), link, typed).await
    } else {
        Err(FieldError::new("again", "it is not the same", "type the password twice").into())
    };
    match done {
        Ok(opened) if opened.stage == Stage::SignedIn => Ok(visitor.go(&visitor.base(), Some(&opened))),
        Ok(opened) => Ok(visitor.go(&format!("{}/second-factor", visitor.base()), Some(&opened))),
        Err(error) => {
            let Refused { status, form, .. } = Refused::of(error, form.without(&["password", "again"]))?;
            Ok(page_with(status, &SetUpPage { frame: visitor.frame("Set a password"), form, name }))
        }
    }
}

fn name(link: LinkFor) -> Option<String> {
    match link {
        LinkFor::First => None,
        LinkFor::Registered(name) => Some(name.to_string()),
    }
}
