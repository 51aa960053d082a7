//! Token exchange (RFC 8693): a service passes an identity on, never wider than it got it.
//!
//! Which exchanges there are, [`crate::domain::delegation`] decides; here the request is read and its tokens are
//! verified.

use super::{Context, Grant, Resolved};
use crate::domain::audit::ExchangeRecord;
use crate::domain::binding::Confirmation;
use crate::domain::client::{GrantType, Registration};
use crate::domain::delegation::{Exchange, SubjectToken};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::jose::TokenType;
use crate::oauth::live::{LiveError, LiveToken};
use crate::oauth::{Boxed, client_auth};

/// The type of an access token (RFC 8693 §3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The type of a JWT (RFC 8693 §3). Ours are both.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) struct TokenExchange;

/// Who acts, when somebody says so.
struct ActorToken {
    client_id: ClientId,
    jti: String,
    ends_at: Timestamp,
}

// === impl TokenExchange ===

impl Grant for TokenExchange {
    fn grant_type(&self) -> GrantType {
        GrantType::TokenExchange
    }

    fn resolve<'a>(&'a self, context: &'a Context<'a>) -> Boxed<'a, Result<Resolved<'a>, Failure>> {
        Box::pin(resolve(context))
    }
}

async fn resolve<'a>(context: &'a Context<'a>) -> Result<Resolved<'a>, Failure> {
    let form = context.form;
    let issued_type = match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => {
            return Err(OAuthError::invalid_request(format!(
                "requested_token_type can be {ACCESS_TOKEN} or {JWT}"
            ))
            .into());
        }
    };
    let presented = pair(context, "subject_token")?
        .ok_or_else(|| OAuthError::invalid_request("subject_token is missing (RFC 8693 section 2.1)"))?;
    let actor = pair(context, "actor_token")?;
    let live = live(context, presented, "subject_token").await?;
    // The new token is bound to the same keys: the binding is never lost.
    if let Some(cnf) = &live.claims.cnf {
        context.possession.check_proven(cnf, presented, "subject_token")?;
    }
    // It may be from before that was wanted.
    let wanted = live.audience.iter().map(|server| server.token_binding);
    let mut wanted = wanted.chain([live.subject.client.token_binding, live.client.client.token_binding]);
    if let Some(needs) = wanted.find(|binding| !binding.is_met_by(live.claims.cnf.as_ref())) {
        let needs = needs.needs().unwrap_or_default();
        return Err(OAuthError::invalid_request(format!(
            "the subject_token must be bound to a key: ask for a new one with {needs}"
        ))
        .into());
    }
    let actor = match actor {
        Some(presented) => Some(actor_token(context, presented).await?),
        None => None,
    };
    let token = SubjectToken {
        audience: live.audience.iter().map(|server| server.uid).collect(),
        scope: live.scope,
        ends_at: Timestamp::from_seconds(live.claims.exp),
        act: live.claims.act,
        may_act: live.claims.may_act.clone(),
    };
    let caller: &Registration = &context.client.registration;
    let exchange = Exchange {
        catalog: context.catalog,
        caller,
        actor: actor.as_ref().map(|actor| (&actor.client_id, actor.ends_at)),
        subject: &live.subject,
        token: &token,
        asked: context.asked,
        now: context.now,
    };
    let mut passage = exchange.pass()?;
    // As for every other grant: what a secret got ends with it.
    let ends = [passage.grantee.not_after, context.client.credential.not_after];
    passage.grantee.not_after = ends.into_iter().flatten().min();
    Ok(Resolved {
        subject: live.claims.sub,
        txn: Some(live.claims.txn),
        grantee: passage.grantee,
        act: passage.act,
        may_act: live.claims.may_act,
        exchange: Some(ExchangeRecord {
            rule: passage.rule.name.clone(),
            mode: passage.rule.mode,
            subject_jti: live.claims.jti,
            actor_jti: actor.map(|actor| actor.jti),
        }),
        issued_type: Some(issued_type),
        used: Vec::new(),
        used_before: client_auth::used_before,
    })
}

/// A token and its type, which come together or not at all.
fn pair<'a>(context: &Context<'a>, name: &'static str) -> Result<Option<&'a str>, OAuthError> {
    let type_name = format!("{name}_type");
    match (context.form.get(name), context.form.get(&type_name)) {
        (None, None) => Ok(None),
        (Some(token), Some(ACCESS_TOKEN | JWT)) => Ok(Some(token)),
        (Some(_), Some(_)) => Err(OAuthError::invalid_request(format!(
            "{type_name} can be {ACCESS_TOKEN} or {JWT}, of a token that this server issued"
        ))),
        (Some(_), None) => Err(OAuthError::invalid_request(format!("{name} needs {type_name} beside it"))),
        (None, Some(_)) => Err(OAuthError::invalid_request(format!("{type_name} needs {name} beside it"))),
    }
}

/// A token that this server issued and that counts.
async fn live(context: &Context<'_>, token: &str, name: &'static str) -> Result<LiveToken, Failure> {
    let refuse = |why: &str| {
        OAuthError::invalid_request(format!("the {name} is not accepted; send a current one of this server"))
            .because(format!("{name}: {why}"))
    };
    match context.tokens.check(token, context.now).await {
        Ok(live) if live.token_type != TokenType::AccessToken => {
            Err(refuse("it is not an access token").into())
        }
        Ok(live) if live.gives_nothing() => {
            Err(refuse("no role of its subject gives what it allows any more").into())
        }
        Ok(live) => Ok(live),
        Err(LiveError::NotLive(dead)) => Err(refuse(dead.reason).into()),
        Err(LiveError::Fault(fault)) => Err(fault.into()),
    }
}

/// Who acts according to an actor token: somebody who gave it to the caller, or the caller itself.
async fn actor_token(context: &Context<'_>, token: &str) -> Result<ActorToken, Failure> {
    let live = live(context, token, "actor_token").await?;
    let refuse = |why: &'static str| {
        OAuthError::invalid_request("the actor_token does not say who acts here").because(why)
    };
    let caller = &context.client.registration.client;
    let is_own = live.claims.client_id == caller.client_id;
    if !is_own && !live.audience.iter().any(|server| context.catalog.operates(caller.uid, server.uid)) {
        return Err(refuse("actor_token: neither the caller's own nor addressed to what it operates").into());
    }
    // A request has one DPoP proof, and that is for the subject token. Its certificate is proven for both.
    let proven = |cnf: &Confirmation| {
        cnf.jkt.is_none() && context.possession.check_proven(cnf, token, "actor_token").is_ok()
    };
    if live.claims.cnf.as_ref().is_some_and(|cnf| !proven(cnf)) {
        return Err(refuse("actor_token: it is bound to a key, which cannot be proven here").into());
    }
    if live.claims.act.is_some() {
        return Err(refuse("actor_token: somebody else acts in it already").into());
    }
    Ok(ActorToken {
        client_id: live.subject.client.client_id.clone(),
        jti: live.claims.jti,
        ends_at: Timestamp::from_seconds(live.claims.exp),
    })
}
