//! `/admin/sign-in/sso`: to the OpenID provider, and back.
//!
//! Both are reached by following links, from wherever: what comes back counts only in the browser that was sent.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use secrecy::ExposeSecret;

use super::error::PageError;
use super::form::Form;
use super::page_with;
use super::session::Cookie;
use super::sign_in::SignInPage;
use super::visitor::{Refused, Visitor};
use crate::admin::single_sign_on::{Answer, SingleSignOn, SingleSignOnError};
use crate::http::Shared;

/// Where the provider sends people back to, after the issuer.
pub const SSO_CALLBACK: &str = "/admin/sign-in/sso/callback";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/sign-in/sso", get(begin)).route("/sign-in/sso/callback", get(finish))
}

async fn begin(State(services): State<Shared>, visitor: Visitor) -> Result<Response, PageError> {
    let sso = configured(&services)?;
    let next = visitor.next(&visitor.asked("next"));
    match sso.begin(&visitor.origin, visitor.begun.as_deref(), next).await {
        Ok(begun) => {
            let answer = visitor.go(&begun.url, None);
            Ok(visitor.with_cookie(answer, Cookie::SingleSignOn, Some(begun.browser.expose_secret())))
        }
        Err(error) => refused(&services, &visitor, sso, error),
    }
}

async fn finish(State(services): State<Shared>, visitor: Visitor) -> Result<Response, PageError> {
    let sso = configured(&services)?;
    match sso.finish(&visitor.attempt(), visitor.begun.as_deref(), answer(&visitor)).await {
        // The other cookie stays: another window may be under way with it, and by itself it opens nothing.
        Ok(finished) => Ok(visitor.go(&visitor.next(&finished.next), Some(&finished.session))),
        Err(error) => refused(&services, &visitor, sso, error),
    }
}

/// Single sign-on, where there is any.
fn configured(services: &Shared) -> Result<&SingleSignOn, PageError> {
    services.sso.as_ref().ok_or(PageError::NoSuchPage)
}

/// What the provider sent back with the browser.
fn answer(visitor: &Visitor) -> Answer {
    let mut repeated = None;
    let mut once = |name: &'static str| {
        let mut values = visitor.parameters(name);
        let value = values.next();
        if values.next().is_some() {
            repeated = Some(name);
        }
        value
    };
    let (code, state, issuer, error) = (once("code"), once("state"), once("iss"), once("error"));
    Answer { code, state, issuer, error, repeated }
}

/// The page to sign in on, with why this did not.
fn refused(
    services: &Shared,
    visitor: &Visitor,
    sso: &SingleSignOn,
    error: SingleSignOnError,
) -> Result<Response, PageError> {
    let (mut status, mut retry_after) = (StatusCode::FORBIDDEN, None);
    let mut text = sentence(&error.to_string());
    match error {
        SingleSignOnError::NotBegun => status = StatusCode::BAD_REQUEST,
        SingleSignOnError::TooMany { opens_at } => {
            let seconds = sso.sign_in.seconds_until(opens_at);
            status = StatusCode::TOO_MANY_REQUESTS;
            text = format!("{text} Try again in {seconds} seconds.");
            retry_after = Some(seconds);
        }
        SingleSignOnError::Crowded => {
            status = StatusCode::SERVICE_UNAVAILABLE;
            retry_after = Some(60);
        }
        SingleSignOnError::Away(fault) => {
            let request_id = visitor.origin.request_id.as_deref();
            tracing::warn!(%fault, request_id, "nobody can sign in by single sign-on");
            status = StatusCode::SERVICE_UNAVAILABLE;
            text = format!(
                "{} does not answer as it should at the moment, so nobody can be signed in by it. Try again in a \
                 minute, or sign in with a password.",
                sso.label
            );
            retry_after = Some(10);
        }
        SingleSignOnError::Admin(error) => return Err(error.into()),
        SingleSignOnError::Denied(_)
        | SingleSignOnError::NotTrusted
        | SingleSignOnError::NoRole
        | SingleSignOnError::NoName
        | SingleSignOnError::NameTaken(_)
        | SingleSignOnError::Disabled => {}
    }
    let form = Form::of([("next", visitor.asked("next"))]);
    let whole = SignInPage::new(services, visitor, form, Some(text));
    Ok(Refused::answer(retry_after, page_with(status, &whole)))
}

/// An error's words as people read them.
fn sentence(words: &str) -> String {
    let mut characters = words.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect::<String>() + ".")
}
