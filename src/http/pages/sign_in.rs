//! `/admin/sign-in`, `/admin/second-factor`, `/admin/sign-out`

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};

use super::error::PageError;
use super::form::{Form, SmallForm};
use super::frame::Frame;
use super::visitor::{Refused, Visitor, secret};
use super::{page, page_with};
use crate::domain::administrator::Stage;
use crate::domain::second_factor::Enrolment;
use crate::http::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/sign-in", get(show).post(sign_in))
        .route("/second-factor", get(show_second).post(second_factor))
        .route("/sign-out", post(sign_out))
}

/// The same whoever it was: the page must not tell who is registered.
const WRONG: &str = "The name or the password is wrong.";

const WRONG_CODE: &str = "The code is wrong, or was used before. Wait for the next one.";

#[derive(Template)]
#[template(path = "sign-in.html")]
pub(super) struct SignInPage {
    frame: Frame,
    form: Form,
    trouble: Option<String>,
    /// What the other provider is called by which people may sign in.
    sso: Option<Arc<str>>,
}

#[derive(Template)]
#[template(path = "second-factor.html")]
struct SecondFactorPage {
    frame: Frame,
    form: Form,
    trouble: Option<String>,
}

/// The picture and the secret of a new second factor.
#[derive(Template)]
#[template(path = "enrol.html")]
pub(super) struct EnrolPage {
    pub(super) frame: Frame,
    pub(super) form: Form,
    pub(super) trouble: Option<String>,
    pub(super) offer: Enrolment,
    /// Where the form goes, after the pages' own path.
    pub(super) action: &'static str,
    /// Whether the password is asked for too.
    pub(super) confirm: bool,
}

/// Recovery codes, at the one moment when they are shown.
#[derive(Template)]
#[template(path = "recovery-codes.html")]
pub(super) struct RecoveryCodesPage {
    pub(super) frame: Frame,
    pub(super) codes: Vec<SecretString>,
    /// Where to go on to.
    pub(super) next: String,
}

// === impl SignInPage ===

impl SignInPage {
    pub(super) fn new(services: &Shared, visitor: &Visitor, form: Form, trouble: Option<String>) -> Self {
        let sso = services.sso.as_ref().map(|sso| Arc::clone(&sso.label));
        Self { frame: visitor.frame("Sign in"), form, trouble, sso }
    }
}

async fn show(State(services): State<Shared>, visitor: Visitor) -> Response {
    let next = visitor.asked("next");
    match &visitor.session {
        Some(session) if session.session.stage == Stage::SignedIn => visitor.go(&visitor.next(&next), None),
        _ => {
            let form = Form::of([("next", next)]);
            page(&SignInPage::new(&services, &visitor, form, None))
        }
    }
}

async fn sign_in(
    State(services): State<Shared>,
    visitor: Visitor,
    SmallForm(form): SmallForm,
) -> Result<Response, PageError> {
    let password = secret(&form, "password");
    match services.sign_in.by_password(&visitor.attempt(), form.text("name"), password).await {
        Ok(opened) if opened.stage == Stage::SignedIn => {
            Ok(visitor.go(&visitor.next(form.text("next")), Some(&opened)))
        }
        Ok(opened) => Ok(visitor.go(&second_step(&visitor, form.text("next")), Some(&opened))),
        Err(error) => {
            let refused = Refused::new(error, form.without(&["password"]), WRONG, &services)?;
            let retry_after = refused.retry_after();
            let Refused { status, form, trouble, .. } = refused;
            let whole = SignInPage::new(&services, &visitor, form, trouble);
            Ok(Refused::answer(retry_after, page_with(status, &whole)))
        }
    }
}

fn second_step(visitor: &Visitor, next: &str) -> String {
    let next: String = url::form_urlencoded::byte_serialize(visitor.next(next).as_bytes()).collect();
    format!("{}/second-factor?next={next}", visitor.base())
}

async fn show_second(State(services): State<Shared>, visitor: Visitor) -> Result<Response, PageError> {
    let live = match visitor.halfway() {
        Ok(live) => live,
        Err(elsewhere) => return Ok(*elsewhere),
    };
    let form = Form::of([("next", visitor.asked("next"))]);
    if services.sign_in.needs_enrolment(live).await? {
        let offer = services.sign_in.offer(live, visitor.host(), None)?;
        return Ok(page(&enrol_page(&visitor, form, None, offer)));
    }
    Ok(page(&SecondFactorPage { frame: visitor.frame("Second factor"), form, trouble: None }))
}

fn enrol_page(visitor: &Visitor, form: Form, trouble: Option<String>, offer: Enrolment) -> EnrolPage {
    let frame = visitor.frame("Get a second factor");
    EnrolPage { frame, form, trouble, offer, action: "/second-factor", confirm: false }
}

async fn second_factor(
    State(services): State<Shared>,
    visitor: Visitor,
    SmallForm(form): SmallForm,
) -> Result<Response, PageError> {
    let live = match visitor.halfway() {
        Ok(live) => live,
        Err(elsewhere) => return Ok(*elsewhere),
    };
    let next = visitor.next(form.text("next"));
    let (sign_in, attempt) = (&services.sign_in, visitor.attempt());
    if sign_in.needs_enrolment(live).await? {
        let shown = form.text("secret").to_owned();
        match sign_in.enrol(&attempt, live, (&shown, form.text("code")), None).await {
            Ok(enrolled) => {
                let whole = RecoveryCodesPage {
                    frame: visitor.frame("Recovery codes"),
                    codes: enrolled.recovery_codes,
                    next,
                };
                return Ok(visitor.with_session(page(&whole), &enrolled.session.opener));
            }
            Err(error) => {
                let Refused { status, form, trouble, .. } = Refused::new(error, form, WRONG_CODE, &services)?;
                let offer = sign_in.offer(live, visitor.host(), Some(&shown))?;
                return Ok(page_with(status, &enrol_page(&visitor, form, trouble, offer)));
            }
        }
    }
    match sign_in.by_second_factor(&attempt, live, form.text("code")).await {
        Ok(opened) => Ok(visitor.go(&next, Some(&opened))),
        Err(error) => {
            let refused = Refused::new(error, form.without(&["code"]), WRONG_CODE, &services)?;
            let retry_after = refused.retry_after();
            let Refused { status, form, trouble, .. } = refused;
            let whole = SecondFactorPage { frame: visitor.frame("Second factor"), form, trouble };
            Ok(Refused::answer(retry_after, page_with(status, &whole)))
        }
    }
}

async fn sign_out(State(services): State<Shared>, visitor: Visitor) -> Result<Response, PageError> {
    if let Some(live) = &visitor.session {
        services.sign_in.sign_out(live, &visitor.origin).await?;
    }
    let answer = visitor.go(&format!("{}/sign-in", visitor.base()), None);
    Ok(visitor.without_session(answer))
}
