//! Tokens of ours in an exchange.

use super::super::Context;
use super::{ACCESS_TOKEN, Acts, ID_TOKEN, Origin, Passed, Presented, Who, check_actor, no_actor};
use crate::domain::delegation::SubjectToken;
use crate::domain::error::{Failure, OAuthError};
use crate::domain::time::Timestamp;
use crate::jose::TokenType;
use crate::oauth::live::{About, LiveError, LiveToken, NOT_OURS};

/// A token that this server issued and that counts; nothing, when it is not ours and may be a trusted issuer's.
pub(super) async fn verified(
    context: &Context<'_>,
    Presented { name, token, token_type }: Presented<'_>,
) -> Result<Option<LiveToken>, Failure> {
    if token_type == ID_TOKEN {
        return Ok(None);
    }
    let refuse = |why: &str| {
        OAuthError::invalid_request(format!("the {name} is not accepted; send a current one of this server"))
            .because(format!("{name}: {why}"))
    };
    match context.tokens.check(token, context.now).await {
        Ok(live) if live.token_type != TokenType::AccessToken => {
            Err(refuse("it is not an access token").into())
        }
        Ok(live) if live.gives_nothing() => Err(refuse(match live.about {
            About::Client(_) => "no role of its subject gives what it allows any more",
            About::Outside { .. } => "no rule lets what it allows of its subject through any more",
        })
        .into()),
        Ok(live) => Ok(Some(live)),
        Err(LiveError::NotLive(dead)) if dead.reason == NOT_OURS && token_type != ACCESS_TOKEN => Ok(None),
        Err(LiveError::NotLive(dead)) => Err(refuse(dead.reason).into()),
        Err(LiveError::Fault(fault)) => Err(fault.into()),
    }
}

/// Whose identity it passes on.
pub(super) fn subject(
    context: &Context<'_>,
    presented: Presented<'_>,
    live: LiveToken,
) -> Result<Passed, OAuthError> {
    // The new token is bound to the same keys: the binding is never lost.
    if let Some(cnf) = &live.claims.cnf {
        context.possession.check_proven(cnf, presented.token, presented.name)?;
    }
    // It may be from before that was wanted.
    let wanted = live.audience.iter().map(|server| server.token_binding);
    let of_subject = live.about.client().map(|subject| subject.client.token_binding);
    let mut wanted = wanted.chain(of_subject).chain([live.client.client.token_binding]);
    if let Some(needs) = wanted.find(|binding| !binding.is_met_by(live.claims.cnf.as_ref())) {
        let needs = needs.needs().unwrap_or_default();
        return Err(OAuthError::invalid_request(format!(
            "the subject_token must be bound to a key: ask for a new one with {needs}"
        )));
    }
    Ok(Passed {
        token: SubjectToken {
            audience: live.audience.iter().map(|server| server.uid).collect(),
            scope: live.scope,
            from_outside: false,
            ends_at: Timestamp::from_seconds(live.claims.exp),
            act: live.claims.act,
            may_act: live.claims.may_act,
        },
        about: live.about,
        txn: Some(live.claims.txn),
        origin: Origin::Ours(live.claims.jti),
    })
}

/// Who acts according to it: somebody who gave it to the caller, or the caller itself.
pub(super) fn actor(
    context: &Context<'_>,
    presented: Presented<'_>,
    live: LiveToken,
) -> Result<Acts, OAuthError> {
    let caller = &context.client.registration.client;
    let is_own = live.claims.client_id == caller.client_id;
    if is_own && !live.claims.is_of_itself() {
        return Err(no_actor("actor_token: the caller has got it in somebody else's place"));
    }
    if !is_own && !live.audience.iter().any(|server| context.catalog.operates(caller.uid, server.uid)) {
        return Err(no_actor("actor_token: neither the caller's own nor addressed to what it operates"));
    }
    check_actor(context, presented, live.claims.cnf.as_ref(), live.claims.act.is_some())?;
    Ok(Acts {
        who: match live.about {
            About::Client(registration) => Who::Client(registration.client.client_id.clone()),
            About::Outside { identity, .. } => Who::Outside(identity),
        },
        ends_at: Timestamp::from_seconds(live.claims.exp),
        origin: Origin::Ours(live.claims.jti),
    })
}
