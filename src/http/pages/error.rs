//! Errors as pages. A handler answers a [`PageError`]; the page around its text is made by [`super::guard`], which
//! knows who is signed in.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::frame::Frame;
use super::{page_with, session};
use crate::admin::AdminError;
use crate::domain::error::{Fault, FaultKind, FieldError};
use crate::http::error::Broken;

/// Why a page was not answered with what it asked for.
#[derive(Debug)]
pub(super) enum PageError {
    /// What a use-case said.
    Admin(AdminError),
    /// Nobody is signed in.
    NotSignedIn {
        /// The page to come back to.
        next: String,
    },
    /// The request cannot be read.
    Malformed(String),
    /// The body is too large.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// Another site sent it.
    CrossSite,
    /// There is no such page.
    NoSuchPage,
    /// The page does not take this method.
    NoSuchMethod,
}

/// An error in words, left in the extensions of an answer that has no body yet.
#[derive(Clone, Debug)]
pub(super) struct Explained {
    title: &'static str,
    text: String,
    advice: &'static str,
    errors: Vec<FieldError>,
}

/// Somebody has to sign in first, left in the extensions of an answer.
#[derive(Clone, Debug)]
pub(super) struct MustSignIn(pub(super) String);

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    error: &'a Explained,
    request_id: &'a str,
}

/// For a part of a page, which htmx puts into its place.
#[derive(Template)]
#[template(path = "error-part.html")]
struct ErrorPart<'a> {
    error: &'a Explained,
    request_id: &'a str,
}

// === impl PageError ===

impl From<AdminError> for PageError {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}

impl From<Fault> for PageError {
    fn from(fault: Fault) -> Self {
        Self::Admin(AdminError::Fault(fault))
    }
}

impl PageError {
    fn explained(&self) -> (StatusCode, Explained) {
        let say = |status, title, text: String, advice| {
            (status, Explained { title, text, advice, errors: Vec::new() })
        };
        match self {
            Self::Admin(error) => explained(error),
            Self::NotSignedIn { .. } => say(
                StatusCode::UNAUTHORIZED,
                "Please sign in",
                "Nobody is signed in here, or the sign-in has ended.".to_owned(),
                "Sign in, then try again.",
            ),
            Self::Malformed(text) => say(
                StatusCode::BAD_REQUEST,
                "The request cannot be read",
                format!("{text}."),
                "Go back, reload the page, and try again.",
            ),
            Self::TooLarge => say(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too much was sent",
                "A form may have at most 1 MiB and 2,000 fields; one to sign in with, 64 KiB.".to_owned(),
                "Go back and shorten it.",
            ),
            Self::TooSlow => say(
                StatusCode::REQUEST_TIMEOUT,
                "The form did not arrive in time",
                "The connection is slow, or has broken off.".to_owned(),
                "Go back, and send it again.",
            ),
            Self::CrossSite => say(
                StatusCode::FORBIDDEN,
                "This came from another site",
                "Another site, or none that the browser names, sent this. Nothing was changed.".to_owned(),
                "Open the page here, at the address of the issuer (JETON_ISSUER), and try again.",
            ),
            Self::NoSuchPage => say(
                StatusCode::NOT_FOUND,
                "There is no such page",
                "Nothing is at this address.".to_owned(),
                "The navigation leads to everything that there is.",
            ),
            Self::NoSuchMethod => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "This page does not take that",
                "It can be read, or sent a form, but not this way.".to_owned(),
                "Open it from the navigation.",
            ),
        }
    }
}

fn explained(error: &AdminError) -> (StatusCode, Explained) {
    let text = format!("{error}.");
    let say = |status, title, text, advice| (status, Explained { title, text, advice, errors: Vec::new() });
    match error {
        AdminError::Invalid(errors) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Explained {
                title: "Something is not right yet",
                text: "Nothing was changed.".to_owned(),
                advice: "Go back and change what is named here.",
                errors: errors.clone(),
            },
        ),
        AdminError::Forbidden { .. } => say(
            StatusCode::FORBIDDEN,
            "You may not do this",
            text,
            "Ask an administrator. That it was tried is in the audit.",
        ),
        AdminError::NotFound { .. } => say(
            StatusCode::NOT_FOUND,
            "There is no such thing",
            text,
            "Somebody may have removed it in the meantime; the audit says who.",
        ),
        AdminError::Conflict(_) => say(
            StatusCode::CONFLICT,
            "It contradicts what is registered",
            text,
            "Nothing was changed.",
        ),
        AdminError::VoidLink => {
            say(StatusCode::CONFLICT, "This link does not count any more", text, "Nothing was changed.")
        }
        AdminError::Stale { .. } => say(
            StatusCode::PRECONDITION_FAILED,
            "Somebody else changed it",
            "It was changed after you opened it. Nothing of theirs was overwritten, and nothing of yours is done."
                .to_owned(),
            "Open it again, look at what it is now, and repeat your change on that.",
        ),
        AdminError::Fault(fault) => match fault.kind {
            FaultKind::Unavailable => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "Away for a moment",
                "The database, or something else that is needed, does not answer. Nothing was changed.".to_owned(),
                "Try again in a few seconds. Clients may get tokens meanwhile.",
            ),
            FaultKind::Uncertain => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "Away for a moment",
                "The database did not answer in time. Whether it was done is not known.".to_owned(),
                "Look whether it was done before you try again.",
            ),
            FaultKind::Internal | FaultKind::Setup => say(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something is broken here",
                "This is not your doing.".to_owned(),
                "The server's log has the reason under the request's number.",
            ),
        },
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, explained) = self.explained();
        let mut response = status.into_response();
        let extensions = response.extensions_mut();
        extensions.insert(explained);
        match self {
            Self::NotSignedIn { next } => drop(extensions.insert(MustSignIn(next))),
            Self::Admin(AdminError::Fault(fault)) => drop(extensions.insert(Broken(fault))),
            _ => {}
        }
        response
    }
}

/// The page of an error.
pub(super) fn render(
    status: StatusCode,
    error: &Explained,
    (base, session::Seen(seen)): (String, &session::Seen),
    (request_id, is_part): (&str, bool),
) -> Response {
    if is_part {
        return page_with(status, &ErrorPart { error, request_id });
    }
    let frame = Frame::new(error.title, base, seen.get().cloned(), "-");
    page_with(status, &ErrorPage { frame, error, request_id })
}
