//! Before something is taken away: what breaks, and the name to be typed.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::form::Form;
use super::frame::Frame;
use super::session::SignedIn;
use super::{page, page_with, when};
use crate::admin::token_use::TokenUse;
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
    /// What was typed before, where a change is asked about.
    kept: Vec<(&'a str, &'a str)>,
}

/// How many clients are named.
const NAMED: usize = 10;

/// The tokens that lean on something, in sentences: `3 tokens that were exchanged by it live now`.
pub(super) fn leaning(used: &TokenUse, how: &str) -> Vec<String> {
    let least = if used.at_least { "At least " } else { "" };
    let live = if used.live_tokens == 1 { "lives" } else { "live" };
    let mut sentences =
        vec![format!("{least}{} that {how} {live} now.", when::many(used.live_tokens, "token"))];
    for using in used.last_hour.iter().take(NAMED) {
        let tokens = when::many(using.tokens, "token");
        sentences.push(format!("In the last hour {} got {tokens} of that sort.", using.client_id));
    }
    match used.last_hour.len() {
        0 => sentences.push("In the last hour nobody got one.".to_owned()),
        clients if clients > NAMED => {
            sentences.push(format!("And so did {}.", when::many(clients - NAMED, "more client")));
        }
        _ => {}
    }
    sentences
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

    /// Asks once, if anything breaks, before the change of a form is made: what was typed is kept on the page that asks.
    pub(super) fn before(
        &self,
        session: &SignedIn,
        (typed, stored): (&Form, &Form),
    ) -> Result<(), Box<Response>> {
        // Somebody else has changed it: both versions come first.
        let overtaken = typed.text("version") != stored.text("version");
        match (self.breaks.is_empty() || overtaken, typed.was_sent("name")) {
            (true, _) => Ok(()),
            (false, true) => self.check(session, typed),
            (false, false) => Err(Box::new(page(&self.page(session, typed)))),
        }
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
        let kept = form.rest(&["name", "version"]);
        Page { frame: session.frame(self.title.clone(), self.section), confirmation: self, form, kept }
    }
}
