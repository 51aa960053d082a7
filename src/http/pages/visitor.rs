//! Whoever opens a page that does not need a whole sign-in, and what becomes of an attempt.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::error::PageError;
use super::form::Form;
use super::frame::{Frame, Person};
use super::session::{Cookie, base, person, presented};
use crate::admin::AdminError;
use crate::admin::sign_in::{Attempt, LiveSession, OpenedSession, SignInError};
use crate::config::Issuer;
use crate::domain::administrator::Stage;
use crate::domain::audit::Origin;
use crate::http::Shared;

/// Whoever opens a page, signed in or not.
pub(super) struct Visitor {
    /// Their session, if there is one, at whatever stage.
    pub(super) session: Option<LiveSession>,
    /// Where they come from.
    pub(super) origin: Arc<Origin>,
    agent: String,
    issuer: Issuer,
    query: String,
    /// What a sign-in by another provider was begun with here.
    pub(super) begun: Option<String>,
}

/// What to say when an attempt was refused, beside the form.
pub(super) struct Refused {
    /// The status.
    pub(super) status: StatusCode,
    /// The form, with what is wrong with its fields.
    pub(super) form: Form,
    /// What is wrong apart from the fields.
    pub(super) trouble: Option<String>,
    retry_after: Option<i64>,
}

// === impl Visitor ===

impl Visitor {
    /// An attempt of theirs to sign in.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        Attempt { origin: &self.origin, agent: &self.agent }
    }

    /// The frame of a page for them.
    pub(super) fn frame(&self, title: impl Into<String>) -> Frame {
        let person: Option<Person> = self.session.as_ref().map(person);
        Frame::new(title, self.base(), person, "-")
    }

    /// Where the pages are.
    pub(super) fn base(&self) -> String {
        base(&self.issuer)
    }

    /// Where this Jeton is, as people say it.
    pub(super) fn host(&self) -> &str {
        self.issuer.as_str().split_once("://").map_or("", |(_, rest)| rest)
    }

    /// A parameter of the query; nothing as good as none.
    pub(super) fn asked(&self, name: &str) -> String {
        self.parameters(name).next().unwrap_or_default()
    }

    /// Every value that a parameter of the query has.
    pub(super) fn parameters(&self, name: &str) -> impl Iterator<Item = String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(move |(other, _)| other == name).map(|(_, value)| value.into_owned())
    }

    /// Their session, which waits for the second factor.
    ///
    /// # Errors
    /// There is none that does: the page is no use to them.
    pub(super) fn halfway(&self) -> Result<&LiveSession, Box<Response>> {
        match &self.session {
            Some(session) if session.session.stage == Stage::SecondFactor => Ok(session),
            Some(_) => Err(Box::new(self.go(&self.base(), None))),
            None => Err(Box::new(self.go(&format!("{}/sign-in", self.base()), None))),
        }
    }

    /// Where to go after signing in: one of our own pages.
    pub(super) fn next(&self, wanted: &str) -> String {
        let base = self.base();
        let ours =
            wanted.strip_prefix(&base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
                && wanted.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if ours { wanted.to_owned() } else { base }
    }

    /// To another page, with another session.
    pub(super) fn go(&self, to: &str, opened: Option<&OpenedSession>) -> Response {
        // `next` has let only what fits through.
        let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
        let response = (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response();
        match opened {
            Some(opened) => self.with_session(response, &opened.opener),
            None => response,
        }
    }

    /// The answer, with the cookie of another session.
    pub(super) fn with_session(&self, response: Response, opener: &SecretString) -> Response {
        self.with_cookie(response, Cookie::Session, Some(opener.expose_secret()))
    }

    /// The answer, which takes the cookie away.
    pub(super) fn without_session(&self, response: Response) -> Response {
        self.with_cookie(response, Cookie::Session, None)
    }

    /// The answer, which gives a cookie this value, or takes it away.
    pub(super) fn with_cookie(
        &self,
        mut response: Response,
        cookie: Cookie,
        value: Option<&str>,
    ) -> Response {
        if let Ok(mut value) = HeaderValue::try_from(cookie.set(&self.issuer, value)) {
            value.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, value);
        }
        response
    }
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, PageError> {
        let (session, origin) = presented(parts, services).await?;
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let begun = Cookie::SingleSignOn.find(&parts.headers, &services.issuer).map(ToOwned::to_owned);
        Ok(Self { session, origin, agent: agent.to_owned(), issuer: services.issuer.clone(), query, begun })
    }
}

// === impl Refused ===

impl Refused {
    /// What to say about a refusal: `wrong` when what was shown is not right. Whatever is none is handed back.
    pub(super) fn new(
        error: SignInError,
        form: Form,
        wrong: &str,
        services: &Shared,
    ) -> Result<Self, PageError> {
        match error {
            SignInError::Refused => Ok(Self {
                status: StatusCode::UNAUTHORIZED,
                form,
                trouble: Some(wrong.to_owned()),
                retry_after: None,
            }),
            SignInError::TooMany { opens_at } => {
                let seconds = services.sign_in.seconds_until(opens_at);
                Ok(Self {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    form,
                    trouble: Some(format!(
                        "There were too many attempts. This one was not looked at: try again in {seconds} seconds."
                    )),
                    retry_after: Some(seconds),
                })
            }
            SignInError::Ended => Err(PageError::NotSignedIn { next: String::new() }),
            SignInError::Admin(error) => Self::of(error, form),
        }
    }

    /// What to say about wrong fields.
    pub(super) fn of(error: AdminError, form: Form) -> Result<Self, PageError> {
        let form = form.refused(error)?;
        Ok(Self { status: StatusCode::UNPROCESSABLE_ENTITY, form, trouble: None, retry_after: None })
    }

    /// The answer, told when to come back.
    pub(super) fn answer(retry_after: Option<i64>, mut response: Response) -> Response {
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Seconds until the next attempt is looked at.
    pub(super) const fn retry_after(&self) -> Option<i64> {
        self.retry_after
    }
}

/// A field that nobody sees again.
pub(super) fn secret(form: &Form, name: &str) -> SecretString {
    SecretString::from(form.text(name).to_owned())
}
