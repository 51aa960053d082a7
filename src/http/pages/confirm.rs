//! Before something is taken away: what breaks, and the name to be typed.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::form::Form;
use super::frame::Frame;
use super::session::SignedIn;
use super::{page, page_with};
use crate::domain::error::FieldError;

/// What is about to be done.
pub(super) struct Confirmation {
    /// As a question: the page's title.
    pub(super) title: String,
    /// The entry of the navigation.
    pub(super) section: &'static str,
    /// What breaks, a sentence each.
    pub(super) breaks: Vec<String>,
    /// What the button says.
    pub(super) button: &'static str,
    /// What has to be typed, and what that is; nothing for what can be undone at once.
    pub(super) name: Option<(&'static str, String)>,
    /// The version that is taken away, where that matters.
    pub(super) version: Option<i64>,
    /// Where to go instead.
    pub(super) back: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page<'a> {
    frame: Frame,
    confirmation: &'a Confirmation,
    form: &'a Form,
}

// === impl Confirmation ===

impl Confirmation {
    /// The page that asks.
    pub(super) fn ask(&self, session: &SignedIn) -> Response {
        let mut form = Form::default();
        if let Some(version) = self.version {
            form.put("version", version.to_string());
        }
        page(&self.page(session, &form))
    }

    /// Whether the form says what had to be typed; else it is asked again.
    pub(super) fn check(&self, session: &SignedIn, form: &Form) -> Result<(), Box<Response>> {
        let Some((what, name)) = &self.name else { return Ok(()) };
        if form.text("name").trim() == name {
            return Ok(());
        }
        let error = FieldError::new("name", format!("it is not {what}"), format!("type {name}"));
        let form = form.clone().with_error(error);
        Err(Box::new(page_with(StatusCode::UNPROCESSABLE_ENTITY, &self.page(session, &form))))
    }

    fn page<'a>(&'a self, session: &SignedIn, form: &'a Form) -> Page<'a> {
        Page { frame: session.frame(self.title.clone(), self.section), confirmation: self, form }
    }
}
