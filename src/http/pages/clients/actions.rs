//! Switching a client off and on, taking its tokens back, deleting it: each says first what breaks.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::AT;
use crate::admin::impact::ClientImpact;
use crate::admin::revocations::RevokeTokens;
use crate::domain::builtin;
use crate::domain::ids::ClientId;
use crate::domain::revocation::RevokedKind;
use crate::http::Shared;
use crate::http::pages::change::version;
use crate::http::pages::confirm::Confirmation;
use crate::http::pages::error::PageError;
use crate::http::pages::form::{Form, Named};
use crate::http::pages::session::SignedIn;
use crate::http::pages::{done, when};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/clients/{client_id}/disable", get(ask_disable).post(disable))
        .route("/clients/{client_id}/enable", post(enable))
        .route("/clients/{client_id}/revoke-tokens", get(ask_revoke).post(revoke))
        .route("/clients/{client_id}/delete", get(ask_delete).post(delete))
}

/// What breaks without a client, in sentences.
pub(super) fn broken(impact: &ClientImpact) -> Vec<String> {
    let client_id = &impact.client_id;
    let least = if impact.at_least { "at least " } else { "" };
    let mut sentences =
        vec![format!("{client_id} has {least}{} that live now.", when::many(impact.live_tokens, "token"))];
    for used in &impact.resource_servers {
        let name = used.resource_server.as_ref().map_or(used.identifier.as_str(), |name| name.as_str());
        let tokens = when::many(used.tokens, "token");
        sentences.push(format!("In the last hour it got {least}{tokens} for {name}."));
    }
    if impact.resource_servers.is_empty() {
        sentences.push("In the last hour it got no tokens.".to_owned());
    }
    for delegation in &impact.passed_on_by {
        let (actor, audience) = (&delegation.actor, &delegation.audience);
        sentences.push(format!("{actor} passes its identity on towards {audience}."));
    }
    for delegation in &impact.passes_on {
        let (subject, audience) = (&delegation.subject, &delegation.audience);
        sentences.push(format!("It passes on the identity of {subject} towards {audience}."));
    }
    for name in &impact.operates {
        sentences.push(format!("It operates {name}: it asks here whether tokens for it count."));
    }
    sentences
}

async fn confirmation(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
    permission: &'static str,
) -> Result<(Confirmation, ClientImpact), PageError> {
    services.admin.permit(&session.by, permission).await?;
    let impact = services.admin.client_impact(&session.by, client_id).await?;
    let confirmation = Confirmation {
        title: String::new(),
        section: AT,
        breaks: broken(&impact),
        button: "",
        name: Some(("the client's identifier", client_id.to_string())),
        version: None,
        back: session.path(&["clients", client_id.as_str()]),
    };
    Ok((confirmation, impact))
}

async fn disabling(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
) -> Result<Confirmation, PageError> {
    let (mut asked, _) = confirmation(services, session, client_id, builtin::CLIENTS_WRITE).await?;
    asked.breaks.push(
        "From now on it gets no tokens, and those that it has count no longer here. Enabling it undoes that."
            .to_owned(),
    );
    Ok(Confirmation { title: format!("Disable {client_id}?"), button: "Disable it", ..asked })
}

async fn ask_disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
) -> Result<Response, PageError> {
    Ok(disabling(&services, &session, &client_id).await?.ask(&session))
}

async fn disable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = disabling(&services, &session, &client_id).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.set_client_enabled(&session.by, &client_id, false).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "disabled"))
}

async fn enable(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
) -> Result<Response, PageError> {
    services.admin.set_client_enabled(&session.by, &client_id, true).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "enabled"))
}

async fn revoking(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
) -> Result<Confirmation, PageError> {
    let (mut asked, _) = confirmation(services, session, client_id, builtin::TOKENS_REVOKE).await?;
    asked.breaks.push("Whoever asks this server about them hears within a second that they do not count; verifiers that only look at signatures accept them until they end.".to_owned());
    asked.breaks.push("It may get new tokens at once. To stop that, disable it.".to_owned());
    Ok(Confirmation {
        title: format!("Revoke the tokens of {client_id}?"),
        button: "Revoke its tokens",
        ..asked
    })
}

async fn ask_revoke(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
) -> Result<Response, PageError> {
    Ok(revoking(&services, &session, &client_id).await?.ask(&session))
}

async fn revoke(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = revoking(&services, &session, &client_id).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    let wanted = RevokeTokens { kind: RevokedKind::Client, subject: client_id.to_string() };
    services.admin.revoke_tokens(&session.by, wanted).await?;
    Ok(done(&session.path(&["clients", client_id.as_str()]), "tokens-revoked"))
}

async fn deletion(
    services: &Shared,
    session: &SignedIn,
    client_id: &ClientId,
) -> Result<Confirmation, PageError> {
    let (mut asked, impact) = confirmation(services, session, client_id, builtin::CLIENTS_WRITE).await?;
    for rule in &impact.rules {
        asked
            .breaks
            .push(format!("The exchange rule {rule} names it: it cannot be deleted before that does not."));
    }
    asked
        .breaks
        .push("Its secrets and roles go with it, for good. What it did stays in the audit.".to_owned());
    let version = services.admin.client(&session.by, client_id).await?.version;
    let (title, button) = (format!("Delete {client_id}?"), "Delete it");
    Ok(Confirmation { title, button, version: Some(version), ..asked })
}

async fn ask_delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
) -> Result<Response, PageError> {
    Ok(deletion(&services, &session, &client_id).await?.ask(&session))
}

async fn delete(
    State(services): State<Shared>,
    session: SignedIn,
    Named(client_id): Named<ClientId>,
    form: Form,
) -> Result<Response, PageError> {
    let confirmation = deletion(&services, &session, &client_id).await?;
    if let Err(again) = confirmation.check(&session, &form) {
        return Ok(*again);
    }
    services.admin.delete_client(&session.by, &client_id, version(&form)?).await?;
    Ok(done(&session.path(&["clients"]), "deleted"))
}
