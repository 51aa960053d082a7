//! Token exchange (RFC 8693): a service passes an identity on, never wider than it got it.
//!
//! Which exchanges there are, [`crate::domain::delegation`] decides; here the request is read and its tokens are
//! verified: our own, and those of trusted issuers ([`outside`]).

mod ours;
mod outside;

use super::{Context, Grant, Resolved};
use crate::domain::binding::Confirmation;
use crate::domain::client::GrantType;
use crate::domain::delegation::{Actor, Exchange, Subject, SubjectToken};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::exchange_record::{ExchangeRecord, OutsideTokenRecord};
use crate::domain::ids::ClientId;
use crate::domain::outside_identity::OutsideIdentity;
use crate::domain::time::Timestamp;
use crate::oauth::Boxed;
use crate::oauth::live::About;
use crate::storage::UsedId;

/// The type of an access token (RFC 8693 §3): one of ours.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The type of a JWT (RFC 8693 §3): one of ours, which are JWTs, or a trusted issuer's.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The type of an ID token (RFC 8693 §3): a trusted issuer's, because this server makes none.
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

pub(super) struct TokenExchange;

/// A token of the request, which says what it is (RFC 8693 §2.1).
#[derive(Clone, Copy)]
struct Presented<'a> {
    /// Which parameter it is.
    name: &'static str,
    token: &'a str,
    token_type: &'static str,
}

/// A subject token that was verified.
struct Passed {
    about: About,
    token: SubjectToken,
    /// The chain that it belongs to; a trusted issuer's belongs to none.
    txn: Option<String>,
    origin: Origin,
}

/// Who acts, when somebody says so.
struct Acts {
    who: Who,
    ends_at: Timestamp,
    origin: Origin,
}

enum Who {
    Client(ClientId),
    Outside(OutsideIdentity),
}

/// Which token it was.
enum Origin {
    /// One of ours, with this `jti`.
    Ours(String),
    /// A trusted issuer's, with what of it counts once.
    Outside(OutsideTokenRecord, Option<UsedId>),
}

// === impl TokenExchange ===

impl Grant for TokenExchange {
    fn grant_type(&self) -> GrantType {
        GrantType::TokenExchange
    }

    fn resolve<'a>(&'a self, context: &'a Context<'a>) -> Boxed<'a, Result<Resolved<'a>, Failure>> {
        Box::pin(resolve(context))
    }

    /// Of the client's assertion and the exchanged tokens one came for the second time.
    fn used_before(&self) -> OAuthError {
        OAuthError::invalid_request(
            "the client's assertion, or a trusted issuer's token, was used before: get a new one for every request",
        )
    }
}

async fn resolve<'a>(context: &'a Context<'a>) -> Result<Resolved<'a>, Failure> {
    let issued_type = match context.form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => {
            return Err(OAuthError::invalid_request(format!(
                "requested_token_type can be {ACCESS_TOKEN} or {JWT}"
            ))
            .into());
        }
    };
    let presented = presented(context, "subject_token")?
        .ok_or_else(|| OAuthError::invalid_request("subject_token is missing (RFC 8693 section 2.1)"))?;
    let actor = self::presented(context, "actor_token")?;
    let passed = subject_token(context, presented).await?;
    let actor = match actor {
        Some(presented) => Some(actor_token(context, presented).await?),
        None => None,
    };
    let exchange = Exchange {
        catalog: context.catalog,
        caller: &context.client.registration,
        actor: actor.as_ref().map(|actor| (actor.who.actor(), actor.ends_at)),
        subject: passed.about.subject(),
        token: &passed.token,
        asked: context.asked,
        now: context.now,
    };
    let mut passage = exchange.pass()?;
    // As for every other grant: what a secret got ends with it.
    let ends = [passage.grantee.not_after, context.client.credential.not_after];
    passage.grantee.not_after = ends.into_iter().flatten().min();
    let (subject, sub_id) = match passed.about.subject() {
        Subject::Client(registration) => (registration.client.client_id.to_string(), None),
        Subject::Outside(identity) => (identity.sub(), Some(identity.sub_id())),
    };
    let (subject_jti, subject_token, used) = passed.origin.parts();
    let (actor_jti, actor_token, used_too) = actor.map_or((None, None, None), |actor| actor.origin.parts());
    Ok(Resolved {
        subject,
        sub_id,
        txn: passed.txn,
        grantee: passage.grantee,
        act: passage.act,
        may_act: passed.token.may_act.clone(),
        exchange: Some(Box::new(ExchangeRecord {
            rule: passage.rule.name.clone(),
            mode: passage.rule.mode,
            subject_jti,
            subject_token,
            actor_jti,
            actor_token,
        })),
        issued_type: Some(issued_type),
        used: used.into_iter().chain(used_too).collect(),
    })
}

/// A token and its type, which come together or not at all.
fn presented<'a>(context: &Context<'a>, name: &'static str) -> Result<Option<Presented<'a>>, OAuthError> {
    let type_name = format!("{name}_type");
    let token_type = match (context.form.get(name), context.form.get(&type_name)) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(OAuthError::invalid_request(format!("{name} needs {type_name} beside it")));
        }
        (None, Some(_)) => {
            return Err(OAuthError::invalid_request(format!("{type_name} needs {name} beside it")));
        }
        (Some(token), Some(token_type)) => {
            let known = [ACCESS_TOKEN, JWT, ID_TOKEN].into_iter().find(|known| *known == token_type);
            known.map(|token_type| Presented { name, token, token_type })
        }
    };
    token_type.map(Some).ok_or_else(|| {
        OAuthError::invalid_request(format!(
            "{type_name} can be {ACCESS_TOKEN} of a token that this server issued, {ID_TOKEN} of a trusted issuer's, \
             or {JWT} of either"
        ))
    })
}

async fn subject_token(context: &Context<'_>, presented: Presented<'_>) -> Result<Passed, Failure> {
    match ours::verified(context, presented).await? {
        Some(live) => ours::subject(context, presented, live).map_err(Failure::from),
        None => outside::subject(context, presented).await,
    }
}

async fn actor_token(context: &Context<'_>, presented: Presented<'_>) -> Result<Acts, Failure> {
    match ours::verified(context, presented).await? {
        Some(live) => ours::actor(context, presented, live).map_err(Failure::from),
        None => outside::actor(context, presented).await,
    }
}

/// Refuses an actor token that is bound to a key which cannot be proven here, or in which somebody acts already. A
/// request has one DPoP proof, and that is for the subject token; its certificate is proven for both.
fn check_actor(
    context: &Context<'_>,
    presented: Presented<'_>,
    cnf: Option<&Confirmation>,
    acts: bool,
) -> Result<(), OAuthError> {
    let proven = |cnf: &Confirmation| {
        cnf.jkt.is_none() && context.possession.check_proven(cnf, presented.token, presented.name).is_ok()
    };
    if cnf.is_some_and(|cnf| !proven(cnf)) {
        return Err(no_actor("actor_token: it is bound to a key, which cannot be proven here"));
    }
    if acts {
        return Err(no_actor("actor_token: somebody else acts in it already"));
    }
    Ok(())
}

/// The refusal of an actor token that counts, but not for this.
fn no_actor(why: &'static str) -> OAuthError {
    OAuthError::invalid_request("the actor_token does not say who acts here").because(why)
}

// === impl Who ===

impl Who {
    fn actor(&self) -> Actor<'_> {
        match self {
            Self::Client(client_id) => Actor::Client(client_id),
            Self::Outside(identity) => Actor::Outside(identity),
        }
    }
}

// === impl Origin ===

impl Origin {
    fn parts(self) -> (Option<String>, Option<OutsideTokenRecord>, Option<UsedId>) {
        match self {
            Self::Ours(jti) => (Some(jti), None, None),
            Self::Outside(record, used) => (None, Some(record), used),
        }
    }
}
