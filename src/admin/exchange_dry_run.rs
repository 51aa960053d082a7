//! Use-case: what an exchange would give, and why, without a token.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::catalog::{Catalog, Holdings};
use crate::domain::client::{GrantType, Registration};
use crate::domain::delegation::{Act, Actor, Considered, Exchange, MayAct, Subject, SubjectToken, Weighing};
use crate::domain::error::{ErrorCode, OAuthError};
use crate::domain::exchange_rule::{ExchangeMode, MOST_ACTORS};
use crate::domain::ids::{
    ClientId, ExchangeRuleName, Permission, ResourceServerName, RoleName, TrustedIssuerName,
};
use crate::domain::outside_identity::OutsideIdentity;
use crate::domain::policy::{self, Asked, Decision};
use crate::domain::resource::ResourceServer;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::jose::Object;

/// An exchange to try.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "caller": "orders", "subject": "billing", "audience": ["orders"], "scope": "stock:read" }))]
pub struct TryExchange {
    /// The client that would exchange.
    pub caller: ClientId,
    /// The client whose identity would be passed on.
    #[serde(default)]
    pub subject: Option<ClientId>,
    /// Instead of that: somebody from elsewhere.
    #[serde(default)]
    pub outside_subject: Option<TryOutside>,
    /// Who would act by an actor token of a trusted issuer.
    #[serde(default)]
    pub outside_actor: Option<TryOutside>,
    /// The resource servers, by name, that the subject token is addressed to. Of somebody from elsewhere: none, if it is
    /// the trusted issuer's token, and those of ours if it is one from an earlier exchange.
    #[serde(default)]
    #[schema(example = json!(["orders"]))]
    pub audience: Vec<ResourceServerName>,
    /// What the subject token allows, space-separated; all that the subject's roles give there, when absent. Of somebody
    /// from elsewhere: nothing, when absent.
    #[serde(default)]
    #[schema(max_length = 65536)]
    pub subject_scope: Option<String>,
    /// Who acts in the subject token already, newest first.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub actors: Vec<ClientId>,
    /// How many seconds the subject token has left.
    #[serde(default = "usual_lifetime")]
    #[schema(maximum = 4_294_967_295_u32, example = 300)]
    pub expires_in: u32,
    /// What the new token would be for, by name; what the rules and the scope decide, when absent.
    #[serde(default)]
    pub resource_server: Option<ResourceServerName>,
    /// What would be asked for, space-separated; all that can be had, when absent.
    #[serde(default)]
    #[schema(example = "stock:read")]
    pub scope: Option<String>,
}

/// Somebody from elsewhere, to try.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "trusted_issuer": "cluster", "claims": { "sub": "system:serviceaccount:shop:robot" } }))]
pub struct TryOutside {
    /// Who vouches for them.
    pub trusted_issuer: TrustedIssuerName,
    /// What the issuer's token says: at least `sub`. `iss` need not be said.
    #[schema(value_type = Object)]
    pub claims: Map<String, Value>,
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
    pub rule: ExchangeRuleName,
    /// Whether the caller shows in it.
    pub mode: ExchangeMode,
    /// What it is for.
    pub audience: Vec<String>,
    /// What it allows, space-separated.
    pub scope: String,
    /// The subject's roles that give that.
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
    pub rule: ExchangeRuleName,
    /// Whether it allows the exchange.
    pub allows: bool,
    /// Why not, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objection: Option<String>,
    /// What bounds the subject there: its roles, or the rule alone if it is from elsewhere; and the subject token as
    /// well, if that is for that resource server already.
    #[schema(example = "roles")]
    pub bounded_by: &'static str,
    /// What the subject has there.
    pub held: Vec<Permission>,
    /// What the rule lets through at most.
    pub let_through: Vec<Permission>,
    /// Both: what can be had by this rule.
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
        let whose = self.whose(&catalog, &wanted).await?;
        let actor = match &wanted.outside_actor {
            Some(actor) => Some(outside_identity(&catalog, "outside_actor", actor)?),
            None => None,
        };
        let audience = servers(&catalog, &wanted.audience)?;
        let target = servers(&catalog, wanted.resource_server.as_slice())?;
        let asked = Asked {
            scope: scope("scope", wanted.scope.as_deref())?,
            resources: Vec::new(),
            audiences: target.iter().map(|server| server.identifier.to_string()).collect(),
        };
        let now = self.ambient.now();
        let subject = match &whose {
            Whose::Client(registration) => Subject::Client(registration),
            Whose::Outside(identity) => Subject::Outside(identity),
        };
        let held = match subject {
            Subject::Client(registration) => catalog.holdings(&registration.roles),
            Subject::Outside(_) => Holdings::new(),
        };
        let given = audience.iter().filter_map(|server| held.get(&server.uid)).flat_map(|held| held.keys());
        let all = || given.map(|permission| (*permission).clone()).collect();
        let in_force = audience.iter().filter(|server| server.check(now).is_ok());
        let token = SubjectToken {
            audience: in_force.map(|server| server.uid).collect(),
            scope: scope("subject_scope", wanted.subject_scope.as_deref())?.unwrap_or_else(all),
            from_outside: audience.is_empty() && matches!(subject, Subject::Outside(_)),
            ends_at: now.plus(std::time::Duration::from_secs(wanted.expires_in.into())),
            act: wanted.actors.iter().rev().fold(None, |act, actor| {
                Some(Act { sub: actor.to_string(), sub_id: None, act: act.map(Box::new) })
            }),
            may_act: may_act(&catalog, subject)?,
        };
        let exchange = Exchange {
            catalog: &catalog,
            caller: &caller,
            actor: actor.as_ref().map(|actor| (Actor::Outside(actor), token.ends_at)),
            subject,
            token: &token,
            asked: &asked,
            now,
        };
        let Weighing { considered, outcome } = exchange.weigh();
        let outcome = check_parties(&caller, (subject, actor.as_ref()), now).and(outcome);
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
        let outside = matches!(subject, Subject::Outside(_));
        let rules = considered.iter().map(|considered| TriedRule::new(considered, outside)).collect();
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

    async fn whose(&self, catalog: &Catalog, wanted: &TryExchange) -> Result<Whose, AdminError> {
        match (&wanted.subject, &wanted.outside_subject) {
            (Some(client_id), None) => Ok(Whose::Client(Box::new(self.registered(client_id).await?))),
            (None, Some(outside)) => {
                Ok(Whose::Outside(outside_identity(catalog, "outside_subject", outside)?))
            }
            (subject, _) => {
                let problem = if subject.is_some() { "there are two subjects" } else { "it is missing" };
                let fix = "name either a client as subject, or somebody from elsewhere as outside_subject";
                Err(AdminError::invalid("subject", problem, fix))
            }
        }
    }

    pub(super) async fn registered(&self, client_id: &ClientId) -> Result<Registration, AdminError> {
        let registration = self.store.registration(client_id).await?;
        registration.ok_or_else(|| AdminError::not_found("client", client_id.as_str()))
    }
}

/// Whose identity would be passed on.
enum Whose {
    Client(Box<Registration>),
    Outside(OutsideIdentity),
}

/// Whom a token of a trusted issuer with these claims would be about.
fn outside_identity(
    catalog: &Catalog,
    field: &'static str,
    wanted: &TryOutside,
) -> Result<OutsideIdentity, AdminError> {
    let name = &wanted.trusted_issuer;
    let issuer = catalog.trusted_issuer_named(name).cloned();
    let issuer = issuer.ok_or_else(|| AdminError::not_found("trusted issuer", name.as_str()))?;
    let invalid = |problem: &str| {
        Err(AdminError::invalid(field, problem.to_owned(), "write the claims of a token, with its sub"))
    };
    let mut claims = wanted.claims.clone();
    claims.entry("iss").or_insert_with(|| issuer.issuer.as_str().into());
    let Some(subject) = claims.get("sub").and_then(Value::as_str).map(str::to_owned) else {
        return invalid("its claims have no sub");
    };
    let Some(claims) = Object::parse(Value::Object(claims).to_string().as_bytes()) else {
        return invalid("its claims are no object");
    };
    OutsideIdentity::new(catalog, issuer, subject, claims)
        .map_err(|error| AdminError::invalid(field, error.public, "use another sub"))
}

/// Who alone may act for the subject.
fn may_act(catalog: &Catalog, subject: Subject<'_>) -> Result<Option<MayAct>, AdminError> {
    let api = catalog.api().map_or("", |api| api.identifier.as_str());
    match subject {
        Subject::Client(registration) => Ok(registration.client.may_act.as_ref().map(MayAct::client)),
        Subject::Outside(identity) => identity.may_act(builtin::issuer_of(api), catalog).map_err(|error| {
            AdminError::invalid("outside_subject", error.public, "write may_act as an object with a sub")
        }),
    }
}

/// What refuses before any rule is asked.
fn check_parties(
    caller: &Registration,
    (subject, actor): (Subject<'_>, Option<&OutsideIdentity>),
    now: Timestamp,
) -> Result<(), OAuthError> {
    let refuse = |code, why: String| Err(OAuthError::new(code, "").because(why));
    if let Err(why) = caller.client.check(now) {
        return refuse(ErrorCode::InvalidClient, format!("the caller is {}", why.as_str()));
    }
    if !caller.client.grant_types.contains(&GrantType::TokenExchange) {
        let why = format!("the caller is not registered for the grant type {}", GrantType::TokenExchange);
        return refuse(ErrorCode::UnauthorizedClient, why);
    }
    let mut issuers = actor.into_iter().map(|identity| &identity.issuer).collect::<Vec<_>>();
    match subject {
        Subject::Client(registration) => {
            if let Err(why) = registration.client.check(now) {
                return refuse(ErrorCode::InvalidRequest, format!("the subject is {}", why.as_str()));
            }
        }
        Subject::Outside(identity) => issuers.push(&identity.issuer),
    }
    for issuer in issuers {
        if let Err(why) = issuer.check(now) {
            let why = format!("the trusted issuer '{}' is {}", issuer.name, why.as_str());
            return refuse(ErrorCode::InvalidRequest, why);
        }
    }
    Ok(())
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

impl TriedRule {
    fn new(considered: &Considered<'_>, outside: bool) -> Self {
        Self {
            rule: considered.rule.name.clone(),
            allows: considered.objection.is_none(),
            objection: considered.objection.as_ref().map(|objection| objection.reason.clone()),
            bounded_by: match (outside, considered.had_already) {
                (false, false) => "roles",
                (false, true) => "subject token and roles",
                (true, false) => "rule",
                (true, true) => "subject token and rule",
            },
            held: considered.held.iter().cloned().collect(),
            let_through: considered.rule.permissions.iter().cloned().collect(),
            ceiling: considered.ceiling.iter().cloned().collect(),
            token_lifetime: considered.rule.token_lifetime.map(|lifetime| lifetime.as_secs()),
            expires_at: considered.rule.expires_at,
        }
    }
}
