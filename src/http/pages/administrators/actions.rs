//! What is done about somebody's account. What takes something from them says first what that is, and asks for the name.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::AT;
use super::new::Shown;
use crate::admin::administrators::{AdministratorView, UpdateAdministrator};
use crate::domain::administrator::AdministratorRole;
use crate::domain::builtin;
use crate::domain::ids::AdministratorName;
use crate::http::Shared;
use crate::http::pages::change::version;
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::done;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/administrators/{name}/role", get(ask_role).post(change_role))
        .route("/administrators/{name}/disable", get(ask_disable).post(disable))
        .route("/administrators/{name}/enable", post(enable))
        .route("/administrators/{name}/link", get(ask_link).post(make_link))
        .route("/administrators/{name}/end-sessions", get(ask_end_sessions).post(end_sessions))
        .route("/administrators/{name}/delete", get(ask_delete).post(delete))
}

/// What is about to be done, but for its words.
async fn asked(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<(Confirmation, AdministratorView), PageError> {
    services.admin.permit(&session.by, builtin::ADMINISTRATORS_WRITE).await?;
    let view = services.admin.administrator(&session.by, name).await?;
    let mut breaks = Vec::new();
    if session.person.name == *name {
        breaks.push("This is your own account: it is you whom this is done to.".to_owned());
    }
    let confirmation = Confirmation {
        title: String::new(),
        section: AT,
        breaks,
        button: "",
        name: Some(("their name", name.to_string())),
        version: Some(view.version),
        back: session.path(&["administrators", name.as_str()]),
    };
    Ok((confirmation, view))
}

fn saying(asked: Confirmation, title: String, button: &'static str, breaks: &[&str]) -> Confirmation {
    let breaks = asked.breaks.into_iter().chain(breaks.iter().map(|text| (*text).to_owned())).collect();
    Confirmation { title, breaks, button, ..asked }
}

fn told(session: &SignedIn, name: &AdministratorName, word: &str) -> Response {
    done(&session.path(&["administrators", name.as_str()]), word)
}

/// The role that they do not have.
fn other(role: AdministratorRole) -> AdministratorRole {
    match role {
        AdministratorRole::Administrator => AdministratorRole::Auditor,
        AdministratorRole::Auditor => AdministratorRole::Administrator,
    }
}

async fn role_change(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<(Confirmation, AdministratorRole), PageError> {
    let (asked, view) = asked(services, session, name).await?;
    let role = other(view.role);
    let breaks: &[&str] = match role {
        AdministratorRole::Auditor => &[
            "From now on they see everything and change nothing, in the pages that they have open too.",
            "What they have registered and changed stays as it is.",
        ],
        AdministratorRole::Administrator => {
            &["From now on they may do everything, this included: register and remove administrators."]
        }
    };
    let (title, button) = match role {
        AdministratorRole::Auditor => (format!("Make {name} an auditor?"), "Make them an auditor"),
        AdministratorRole::Administrator => {
            (format!("Make {name} an administrator?"), "Make them an administrator")
        }
    };
    Ok((saying(asked, title, button, breaks), role))
}

async fn ask_role(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    Ok(role_change(&services, &session, &name).await?.0.ask(&session))
}

async fn change_role(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    form: Form,
) -> Result<Response, PageError> {
    let (confirmation, role) = role_change(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    let update = UpdateAdministrator { role: Some(role), ..UpdateAdministrator::default() };
    services.admin.update_administrator(&session.by, &name, version(&form)?, update).await?;
    Ok(told(&session, &name, "changed"))
}

async fn disabling(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<Confirmation, PageError> {
    let (asked, _) = asked(services, session, name).await?;
    let breaks = &[
        "Their sessions end at once, and they cannot sign in. A link that was made for them is void.",
        "What they have registered and changed stays as it is. Enabling the account undoes this.",
    ];
    Ok(saying(asked, format!("Disable {name}?"), "Disable the account", breaks))
}

async fn ask_disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    Ok(disabling(&services, &session, &name).await?.ask(&session))
}

async fn disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = disabling(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    switch(&services, &session, &name, (version(&form)?, false)).await
}

async fn enable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    let (_, view) = asked(&services, &session, &name).await?;
    switch(&services, &session, &name, (view.version, true)).await
}

async fn switch(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
    (version, enabled): (i64, bool),
) -> Result<Response, PageError> {
    let update = UpdateAdministrator { enabled: Some(enabled), ..UpdateAdministrator::default() };
    services.admin.update_administrator(&session.by, name, version, update).await?;
    Ok(told(session, name, if enabled { "enabled" } else { "disabled" }))
}

async fn linking(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<Confirmation, PageError> {
    let (asked, _) = asked(services, session, name).await?;
    let breaks = &[
        "The link lets whoever opens it set a new password and a new second factor for this account, once, within a day.",
        "When it is used, the old password, the old second factor and every session end. Until then they count.",
        "A link that was made for them before is void at once.",
    ];
    let asked = saying(asked, format!("Make a link for {name}?"), "Make the link", breaks);
    Ok(Confirmation { version: None, ..asked })
}

async fn ask_link(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    Ok(linking(&services, &session, &name).await?.ask(&session))
}

async fn make_link(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = linking(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    Shown::make(&services, &session, &name).await
}

async fn ending(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<Confirmation, PageError> {
    let (asked, _) = asked(services, session, name).await?;
    let breaks = &["They are signed out everywhere at once. They can sign in again with what they have."];
    let asked = saying(asked, format!("End the sessions of {name}?"), "End their sessions", breaks);
    Ok(Confirmation { version: None, ..asked })
}

async fn ask_end_sessions(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    Ok(ending(&services, &session, &name).await?.ask(&session))
}

async fn end_sessions(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = ending(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.end_sessions(&session.by, &name).await?;
    Ok(told(&session, &name, "sessions-ended"))
}

async fn deletion(
    services: &Shared,
    session: &SignedIn,
    name: &AdministratorName,
) -> Result<Confirmation, PageError> {
    let (asked, _) = asked(services, session, name).await?;
    let breaks = &[
        "The account is gone for good, and their sessions end at once.",
        "What they have registered and changed stays as it is, and the audit keeps their name.",
    ];
    Ok(saying(asked, format!("Delete {name}?"), "Delete the account", breaks))
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
) -> Result<Response, PageError> {
    Ok(deletion(&services, &session, &name).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<AdministratorName>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = deletion(&services, &session, &name).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_administrator(&session.by, &name, version(&form)?).await?;
    Ok(done(&session.path(&["administrators"]), "deleted"))
}
