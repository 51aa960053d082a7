//! Use-case: what an exchange would give, and why, without a token.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::{GrantType, Registration};
use crate::domain::delegation::{Act, Considered, Exchange, MayAct, SubjectToken, Weighing};
use crate::domain::error::{ErrorCode, OAuthError};
use crate::domain::exchange_rule::{ExchangeMode, MOST_ACTORS};
use crate::domain::ids::{ClientId, ExchangeRuleName, Permission, ResourceServerName, RoleName};
use crate::domain::policy::{self, Asked, Decision};
use crate::domain::resource::ResourceServer;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;

/// An exchange to try.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryExchange {
    /// The client that would exchange.
    #[schema(value_type = String, example = "orders")]
    pub caller: ClientId,
    /// The client whose identity would be passed on.
    #[schema(value_type = String, example = "front")]
    pub subject: ClientId,
    /// The resource servers, by name, that the subject token is addressed to.
    #[schema(value_type = Vec<String>, example = json!(["orders"]))]
    pub audience: Vec<ResourceServerName>,
    /// What the subject token allows, space-separated; all that the subject's roles give there, when absent.
    #[serde(default)]
    pub subject_scope: Option<String>,
    /// Who acts in the subject token already, newest first.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub actors: Vec<ClientId>,
    /// How many seconds the subject token has left.
    #[serde(default = "usual_lifetime")]
    #[schema(example = 300)]
    pub expires_in: u32,
    /// What the new token would be for, by name; what the rules and the scope decide, when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "payments")]
    pub resource_server: Option<ResourceServerName>,
    /// What would be asked for, space-separated; all that can be had, when absent.
    #[serde(default)]
    #[schema(example = "payments:read")]
    pub scope: Option<String>,
}

const fn usual_lifetime() -> u32 {
    300
}

/// What an exchange would give, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedExchange {
    /// Whether there would be a token.
    pub allowed: bool,
    /// The `error` that the caller would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "invalid_scope")]
    pub error: Option<&'static str>,
    /// Why, in full: what only administrators are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TriedToken>,
    /// What was asked for; all that can be had, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// How many seconds the subject token has left: no token lives longer.
    pub subject_expires_in: u32,
    /// Every rule towards the resource server that is about this caller and subject, in the order of the names.
    pub rules: Vec<TriedRule>,
}

/// A token that an exchange would give.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedToken {
    /// The rule that allows it.
    #[schema(value_type = String)]
    pub rule: ExchangeRuleName,
    /// Whether the caller shows in it.
    pub mode: ExchangeMode,
    /// What it is for.
    pub audience: Vec<String>,
    /// What it allows, space-separated.
    pub scope: String,
    /// The subject's roles that give that.
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<RoleName>,
    /// Who acts in it, newest first.
    pub actors: Vec<String>,
    /// How many seconds it lives.
    pub expires_in: i64,
}

/// One rule, held against the exchange, step by step.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedRule {
    /// The rule.
    #[schema(value_type = String)]
    pub rule: ExchangeRuleName,
    /// Whether it allows the exchange.
    pub allows: bool,
    /// Why not, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
    /// What bounds the subject there: its roles alone, or the subject token as well, which is for that resource
    /// server already.
    #[schema(example = "roles")]
    pub bounded_by: &'static str,
    /// What the subject has there.
    #[schema(value_type = Vec<String>)]
    pub held: Vec<Permission>,
    /// What the rule lets through at most.
    #[schema(value_type = Vec<String>)]
    pub let_through: Vec<Permission>,
    /// Both: what can be had by this rule.
    #[schema(value_type = Vec<String>)]
    pub ceiling: Vec<Permission>,
    /// The most seconds that the rule lets a token live; the resource server's own lifetime, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_lifetime: Option<u64>,
    /// When the rule itself ends, and with it any token by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

// === impl Admin ===

impl Admin {
    /// What an exchange would give, with every step. Nothing is issued or recorded.
    ///
    /// # Errors
    /// `exchange-rules:read` is missing, something named is not registered, or the database is away.
    pub async fn try_exchange(&self, by: &By, wanted: TryExchange) -> Result<TriedExchange, AdminError> {
        self.require(by, builtin::EXCHANGE_RULES_READ).await?;
        // Nested as deep as there are actors, so there is an end to them.
        if wanted.actors.len() > usize::from(MOST_ACTORS) {
            let problem = format!("{} actors", wanted.actors.len());
            return Err(AdminError::invalid("actors", problem, "use at most 10: no token has more"));
        }
        let catalog = self.catalog().await?;
        let caller = self.registered(&wanted.caller).await?;
        let subject = self.registered(&wanted.subject).await?;
        let audience = servers(&catalog, &wanted.audience)?;
        let target = servers(&catalog, wanted.resource_server.as_slice())?;
        let asked = Asked {
            scope: scope("scope", wanted.scope.as_deref())?,
            resources: Vec::new(),
            audiences: target.iter().map(|server| server.identifier.to_string()).collect(),
        };
        let now = self.ambient.now();
        let held = catalog.holdings(&subject.roles);
        let given = audience.iter().filter_map(|server| held.get(&server.uid)).flat_map(|held| held.keys());
        let all = || given.map(|permission| (*permission).clone()).collect();
        let in_force = audience.iter().filter(|server| server.check(now).is_ok());
        let token = SubjectToken {
            audience: in_force.map(|server| server.uid).collect(),
            scope: scope("subject_scope", wanted.subject_scope.as_deref())?.unwrap_or_else(all),
            ends_at: now.plus(std::time::Duration::from_secs(wanted.expires_in.into())),
            act: wanted
                .actors
                .iter()
                .rev()
                .fold(None, |act, actor| Some(Act { sub: actor.to_string(), act: act.map(Box::new) })),
            may_act: subject.client.may_act.as_ref().map(|actor| MayAct { sub: actor.to_string() }),
        };
        let exchange = Exchange {
            catalog: &catalog,
            caller: &caller,
            actor: None,
            subject: &subject,
            token: &token,
            asked: &asked,
            now,
        };
        let Weighing { considered, outcome } = exchange.weigh();
        let outcome = check_parties(&caller, &subject, now).and(outcome);
        let outcome = outcome.and_then(|passage| {
            let decision = policy::decide(&catalog, &passage.grantee, &asked, self.longest, now)?;
            Ok(TriedToken::new(
                passage.rule.name.clone(),
                passage.rule.mode,
                passage.act.as_ref(),
                &decision,
                now,
            ))
        });
        let rules = considered.iter().map(TriedRule::from).collect();
        let requested = asked.scope.as_ref().map(ToString::to_string);
        let (token, refused) = match outcome {
            Ok(token) => (Some(token), None),
            Err(error) => (None, Some(error)),
        };
        Ok(TriedExchange {
            allowed: token.is_some(),
            error: refused.as_ref().map(|error| error.code.as_str()),
            reason: refused.map(|error| error.private.into_owned()),
            token,
            requested,
            subject_expires_in: wanted.expires_in,
            rules,
        })
    }

    pub(super) async fn registered(&self, client_id: &ClientId) -> Result<Registration, AdminError> {
        let registration = self.store.registration(client_id).await?;
        registration.ok_or_else(|| AdminError::not_found("client", client_id.as_str()))
    }
}

/// What refuses before any rule is asked.
fn check_parties(caller: &Registration, subject: &Registration, now: Timestamp) -> Result<(), OAuthError> {
    let refuse = |code, why: String| Err(OAuthError::new(code, "").because(why));
    if let Err(why) = caller.client.check(now) {
        return refuse(ErrorCode::InvalidClient, format!("the caller is {}", why.as_str()));
    }
    if !caller.client.grant_types.contains(&GrantType::TokenExchange) {
        let why = format!("the caller is not registered for the grant type {}", GrantType::TokenExchange);
        return refuse(ErrorCode::UnauthorizedClient, why);
    }
    match subject.client.check(now) {
        Err(why) => refuse(ErrorCode::InvalidRequest, format!("the subject is {}", why.as_str())),
        Ok(()) => Ok(()),
    }
}

fn servers(catalog: &Catalog, names: &[ResourceServerName]) -> Result<Vec<Arc<ResourceServer>>, AdminError> {
    let found = names.iter().collect::<BTreeSet<_>>().into_iter().map(|name| {
        let server = catalog.by_name(name).cloned();
        server.ok_or_else(|| AdminError::not_found("resource server", name.as_str()))
    });
    found.collect()
}

fn scope(field: &'static str, text: Option<&str>) -> Result<Option<Scope>, AdminError> {
    Scope::parse(text).map_err(|error| AdminError::invalid(field, "it is malformed", error.public))
}

// === impl TriedToken ===

impl TriedToken {
    fn new(
        rule: ExchangeRuleName,
        mode: ExchangeMode,
        act: Option<&Act>,
        decision: &Decision,
        now: Timestamp,
    ) -> Self {
        Self {
            rule,
            mode,
            audience: decision.audience.iter().map(ToString::to_string).collect(),
            scope: decision.scope.to_string(),
            roles: decision.roles.clone(),
            actors: act.into_iter().flat_map(Act::actors).map(str::to_owned).collect(),
            expires_in: decision.expires_at.as_seconds() - now.as_seconds(),
        }
    }
}

// === impl TriedRule ===

impl From<&Considered<'_>> for TriedRule {
    fn from(considered: &Considered<'_>) -> Self {
        Self {
            rule: considered.rule.name.clone(),
            allows: considered.objection.is_none(),
            objection: considered.objection.as_ref().map(|objection| objection.reason.clone()),
            bounded_by: if considered.had_already { "subject token and roles" } else { "roles" },
            held: considered.held.iter().cloned().collect(),
            let_through: considered.rule.permissions.iter().cloned().collect(),
            ceiling: considered.ceiling.iter().cloned().collect(),
            token_lifetime: considered.rule.token_lifetime.map(|lifetime| lifetime.as_secs()),
            expires_at: considered.rule.expires_at,
        }
    }
}
