//! `/admin/account`: what people change of their own account.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};

use super::error::PageError;
use super::form::Form;
use super::frame::Frame;
use super::session::SignedIn;
use super::sign_in::{EnrolPage, RecoveryCodesPage};
use super::visitor::{Refused, Visitor, secret};
use super::{page, page_with};
use crate::admin::own_account::OwnAccount;
use crate::domain::administrator::Session;
use crate::domain::error::FieldError;
use crate::http::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/second-factor", get(show_second_factor).post(change_second_factor))
        .route("/account/recovery-codes", post(renew_recovery_codes))
        .route("/account/sessions/{handle}/end", post(end_session))
        .route("/account/sign-out-everywhere", post(sign_out_everywhere))
}

const WRONG: &str = "The password is wrong.";

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    form: Form,
    trouble: Option<String>,
    account: OwnAccount,
    sessions: Vec<Session>,
    /// The handle of the session that this page is shown in.
    current: String,
}

async fn whole(
    services: &Shared,
    session: &SignedIn,
    (form, trouble): (Form, Option<String>),
) -> Result<AccountPage, PageError> {
    Ok(AccountPage {
        frame: session.frame("Your account", "/account"),
        form,
        trouble,
        account: services.sign_in.own_account(&session.session).await?,
        sessions: services.sign_in.sessions(&session.session).await?,
        current: session.session.session.handle.clone(),
    })
}

async fn show(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    Ok(page(&whole(&services, &session, (Form::default(), None)).await?))
}

async fn change_password(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
    form: Form,
) -> Result<Response, PageError> {
    let done = if form.text("new_password") == form.text("again") {
        let passwords = (secret(&form, "password"), secret(&form, "new_password"));
        services.sign_in.change_password(&visitor.attempt(), &session.session, passwords).await
    } else {
        let error = FieldError::new("again", "it is not the same", "type the new password twice");
        Err(crate::admin::AdminError::from(error).into())
    };
    match done {
        Ok(opened) => Ok(visitor.go(&format!("{}/account", visitor.base()), Some(&opened))),
        Err(error) => {
            let form = form.without(&["password", "new_password", "again"]);
            refused(&services, &session, Refused::new(error, form, WRONG, &services)?).await
        }
    }
}

async fn refused(services: &Shared, session: &SignedIn, refused: Refused) -> Result<Response, PageError> {
    let retry_after = refused.retry_after();
    let Refused { status, form, trouble, .. } = refused;
    let whole = whole(services, session, (form, trouble)).await?;
    Ok(Refused::answer(retry_after, page_with(status, &whole)))
}

async fn show_second_factor(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let offer = services.sign_in.offer(&session.session, visitor.host(), None)?;
    Ok(page(&EnrolPage {
        frame: session.frame("Get a new second factor", "/account"),
        form: Form::default(),
        trouble: None,
        offer,
        action: "/account/second-factor",
        confirm: true,
    }))
}

async fn change_second_factor(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
    form: Form,
) -> Result<Response, PageError> {
    let (shown, password) = (form.text("secret").to_owned(), secret(&form, "password"));
    let proof = (shown.as_str(), form.text("code"));
    let attempt = visitor.attempt();
    match services.sign_in.enrol(&attempt, &session.session, proof, Some(password)).await {
        Ok(enrolled) => {
            let whole = RecoveryCodesPage {
                frame: session.frame("Recovery codes", "/account"),
                codes: enrolled.recovery_codes,
                next: format!("{}/account", visitor.base()),
            };
            Ok(visitor.with_session(page(&whole), &enrolled.session.opener))
        }
        Err(error) => {
            let refused = Refused::new(error, form.without(&["password"]), WRONG, &services)?;
            let retry_after = refused.retry_after();
            let Refused { status, form, trouble, .. } = refused;
            let offer = services.sign_in.offer(&session.session, visitor.host(), Some(&shown))?;
            let whole = EnrolPage {
                frame: session.frame("Get a new second factor", "/account"),
                form,
                trouble,
                offer,
                action: "/account/second-factor",
                confirm: true,
            };
            Ok(Refused::answer(retry_after, page_with(status, &whole)))
        }
    }
}

async fn renew_recovery_codes(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
    form: Form,
) -> Result<Response, PageError> {
    let password = secret(&form, "password");
    match services.sign_in.renew_recovery_codes(&visitor.attempt(), &session.session, password).await {
        Ok(codes) => Ok(page(&RecoveryCodesPage {
            frame: session.frame("Recovery codes", "/account"),
            codes,
            next: format!("{}/account", visitor.base()),
        })),
        Err(error) => {
            let form = form.without(&["password"]);
            refused(&services, &session, Refused::new(error, form, WRONG, &services)?).await
        }
    }
}

async fn end_session(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
    Path(handle): Path<String>,
) -> Result<Response, PageError> {
    services.sign_in.end_session(&session.session, &handle, &visitor.origin).await?;
    Ok(visitor.go(&format!("{}/account", visitor.base()), None))
}

async fn sign_out_everywhere(
    State(services): State<Shared>,
    session: SignedIn,
    visitor: Visitor,
) -> Result<Response, PageError> {
    services.sign_in.sign_out_everywhere(&session.session, &visitor.origin).await?;
    let answer = visitor.go(&format!("{}/sign-in", visitor.base()), None);
    Ok(visitor.without_session(answer))
}
