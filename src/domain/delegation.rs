//! Token exchange: whether an identity may be passed on, and how much of it (DESIGN §5). Pure.
//!
//! What comes out is a ceiling for [`super::policy`], which decides as for any other token. The ceiling is
//! everything that stands behind the exchange at once:
//!
//! ```text
//! what the subject token had (for its own audience)  ∩  what the subject's roles still give
//!                                                    ∩  what one exchange rule lets through
//! until the earliest end of the subject token, the actor token, the subject, the rule and its lifetime
//! ```
//!
//! Behind somebody from elsewhere no role stands: what the rule lets through is all that they have, and what was
//! passed on of it bounds it for the audience that it was passed on to.
//!
//! One rule alone must allow all of it, so that what a token carries can be told from one line of the registry.
//! Without a rule there is nothing. Of several that allow an exchange the one counts whose token lives longest (when
//! no scope is asked for, first the one that lets most through): so whatever a registry with a rule less gives, the
//! whole one gave as well, which is property-tested below.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::acting::SubId;
pub use super::acting::{Act, MayAct};
use super::catalog::{Catalog, Holdings};
use super::client::Registration;
use super::error::{ErrorCode, OAuthError};
use super::exchange_rule::{ExchangeMode, ExchangeRule, RuleSubject};
use super::ids::{ClientId, Permission, ResourceServerUid, RoleName};
use super::outside_identity::OutsideIdentity;
use super::policy::{self, Asked, Grantee, NOT_ALLOWED};
use super::resource::ResourceServer;
use super::scope::Scope;
use super::text::{quoted, shortened};
use super::time::Timestamp;

/// Whose identity is passed on.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A client's.
    Client(&'a Registration),
    /// That of somebody from elsewhere.
    Outside(&'a OutsideIdentity),
}

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// A client.
    Client(&'a ClientId),
    /// Somebody from elsewhere.
    Outside(&'a OutsideIdentity),
}

/// What a verified subject token says that matters here.
#[derive(Clone, Debug)]
pub struct SubjectToken {
    /// The resource servers that it is addressed to, as far as they are in force.
    pub audience: Vec<ResourceServerUid>,
    /// What it allows there.
    pub scope: Scope,
    /// Whether a trusted issuer made it, for this server to exchange: then a rule alone says who may.
    pub from_outside: bool,
    /// Its end.
    pub ends_at: Timestamp,
    /// Who acts in it already.
    pub act: Option<Act>,
    /// Who alone may.
    pub may_act: Option<MayAct>,
}

/// A wish to pass an identity on. Everybody in it is authenticated or verified, and in force.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'c, 'a> {
    /// What is registered.
    pub catalog: &'c Catalog,
    /// Who exchanges.
    pub caller: &'a Registration,
    /// Who an actor token is about, and that token's end; the caller acts when there is none.
    pub actor: Option<(Actor<'a>, Timestamp)>,
    /// Whose identity it is.
    pub subject: Subject<'a>,
    /// The token that proves that.
    pub token: &'a SubjectToken,
    /// What is asked for.
    pub asked: &'a Asked,
    /// When.
    pub now: Timestamp,
}

/// What an exchange may become.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// The rule that allows it.
    pub rule: &'a ExchangeRule,
    /// The ceiling, for the decision.
    pub grantee: Grantee<'a>,
    /// Who acts in the new token.
    pub act: Option<Act>,
}

/// One rule, held against an exchange.
#[derive(Clone, Debug)]
pub struct Considered<'a> {
    /// The rule.
    pub rule: &'a ExchangeRule,
    /// Whether the subject token bounds `held`, because it is for this resource server already; else the subject's
    /// roles alone do, or for somebody from elsewhere the rule.
    pub had_already: bool,
    /// What the subject has at the rule's resource server.
    pub held: Scope,
    /// What of it the rule lets through.
    pub ceiling: Scope,
    /// Why the rule does not allow the exchange, if it does not.
    pub objection: Option<Objection>,
}

/// Why a rule does not allow an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    code: ErrorCode,
    /// What the caller may know.
    public: Cow<'static, str>,
    /// What the administrator is told.
    pub reason: String,
}

/// All that was considered of an exchange, for whoever wants to know why.
#[derive(Debug)]
pub struct Weighing<'a> {
    /// Every rule towards the resource server that is about this caller and subject; for somebody from elsewhere, that
    /// is about the caller and the same trusted issuer.
    pub considered: Vec<Considered<'a>>,
    /// What came out.
    pub outcome: Result<Passage<'a>, OAuthError>,
}

// === impl Actor ===

impl Actor<'_> {
    /// Whether it is whom a token's `may_act` names.
    fn is_named_by(self, may_act: &MayAct) -> bool {
        match self {
            Self::Client(client_id) => may_act.sub_id.is_none() && may_act.sub == client_id.as_str(),
            Self::Outside(identity) => identity.is_named_by(may_act),
        }
    }

    fn sub(self) -> String {
        match self {
            Self::Client(client_id) => client_id.to_string(),
            Self::Outside(identity) => identity.sub(),
        }
    }

    fn sub_id(self) -> Option<SubId> {
        match self {
            Self::Client(_) => None,
            Self::Outside(identity) => Some(identity.sub_id()),
        }
    }
}

// === impl Subject ===

impl Subject<'_> {
    fn sub(self) -> String {
        match self {
            Self::Client(registration) => registration.client.client_id.to_string(),
            Self::Outside(identity) => identity.sub(),
        }
    }

    /// Whether a rule is about it, or about others of its issuer: which of them, its conditions say, and that they do
    /// not hold is worth telling.
    fn concerns(self, rule: &ExchangeRule) -> bool {
        match (self, &rule.subject) {
            (Self::Client(registration), RuleSubject::Party(party)) => party.is(registration),
            (Self::Outside(identity), RuleSubject::Outside(party)) => party.is_of_issuer(identity),
            _ => false,
        }
    }
}

// === impl Exchange ===

impl<'c, 'a> Exchange<'c, 'a> {
    /// Whether the identity may be passed on, and how much of it.
    ///
    /// # Errors
    /// `invalid_target` when no rule allows it, `invalid_scope` when the rule does not allow as much,
    /// `invalid_request` when this subject token cannot be used for it (RFC 8693 §2.2.2).
    pub fn pass(self) -> Result<Passage<'c>, OAuthError> {
        self.weigh().outcome
    }

    /// [`Exchange::pass`], with everything that was considered.
    #[must_use]
    pub fn weigh(self) -> Weighing<'c> {
        let mut considered = Vec::new();
        let outcome = self.decide(&mut considered);
        Weighing { considered, outcome }
    }

    fn decide(self, considered: &mut Vec<Considered<'c>>) -> Result<Passage<'c>, OAuthError> {
        let actor = self.actor();
        if let Some(may_act) = self.token.may_act.as_ref().filter(|may_act| !actor.is_named_by(may_act)) {
            return Err(OAuthError::invalid_request("the subject token's may_act does not name this actor")
                .because(format!(
                    "may_act names '{}', and '{}' acts",
                    shortened(&may_act.sub),
                    actor.sub()
                )));
        }
        if let Some(target) = self.named_target()? {
            self.consider(target, considered);
        } else {
            for target in self.targets_of_rules() {
                self.consider(target, considered);
            }
            self.refuse_ambiguity(considered)?;
        }
        let allowed = considered.iter().filter(|considered| considered.objection.is_none());
        let most = |considered: &Considered<'_>| {
            let asked = self.asked.scope.is_some();
            (if asked { 0 } else { considered.ceiling.iter().count() }, self.rule_ends_at(considered.rule))
        };
        let best = allowed.reduce(|best, next| if most(next) > most(best) { next } else { best });
        let allowed = best.ok_or_else(|| self.refusal(considered))?;
        let grantee = self.grantee(allowed.rule, &allowed.ceiling);
        // A JWT counts whole seconds. That is nothing about the caller's credentials.
        if grantee.not_after.is_some_and(|end| end.as_seconds() <= self.now.as_seconds()) {
            return Err(policy::ended());
        }
        Ok(Passage { rule: allowed.rule, grantee, act: self.act(allowed.rule.mode) })
    }

    fn actor(&self) -> Actor<'a> {
        self.actor.map_or(Actor::Client(&self.caller.client.client_id), |(actor, _)| actor)
    }

    /// Whether a rule is about this caller, and about this subject or others of its issuer.
    fn concerns(&self, rule: &ExchangeRule) -> bool {
        rule.caller.is(self.caller) && self.subject.concerns(rule)
    }

    /// The one resource server that is asked for by name.
    fn named_target(&self) -> Result<Option<&'c Arc<ResourceServer>>, OAuthError> {
        let mut named = self.asked.resources.iter().chain(&self.asked.audiences);
        let Some(first) = named.next() else { return Ok(None) };
        if named.any(|other| other != first) {
            return Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "exchange a token for one resource server at a time: name one with resource or audience",
            ));
        }
        let refuse = |why: String| OAuthError::new(ErrorCode::InvalidTarget, NOT_ALLOWED).because(why);
        let target = self
            .catalog
            .by_identifier(first)
            .ok_or_else(|| refuse(format!("no resource server has the identifier '{}'", shortened(first))))?;
        target
            .check(self.now)
            .map_err(|why| refuse(format!("resource server '{}' is {}", target.name, why.as_str())))?;
        Ok(Some(target))
    }

    fn targets_of_rules(&self) -> Vec<&'c Arc<ResourceServer>> {
        let rules = self.catalog.exchange_rules().iter();
        let about_us = rules.filter(|rule| self.concerns(rule));
        let targets = about_us.filter_map(|rule| self.catalog.resource_server(rule.resource_server));
        let mut targets: Vec<_> = targets.filter(|target| target.check(self.now).is_ok()).collect();
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        targets.dedup_by(|a, b| a.uid == b.uid);
        targets
    }

    /// Holds every rule towards a resource server that is about this caller and subject against the exchange.
    fn consider(&self, target: &'c ResourceServer, considered: &mut Vec<Considered<'c>>) {
        let had_already = self.token.audience.contains(&target.uid);
        for rule in self.catalog.exchange_rules_towards(target.uid).filter(|rule| self.concerns(rule)) {
            let given = self.given_at(rule);
            let held = given.keys().filter(|value| !had_already || self.token.scope.contains(value.as_str()));
            let held: Scope = held.map(|value| (*value).clone()).collect();
            let allowed = held.iter().filter(|permission| rule.permissions.contains(*permission));
            let ceiling: Scope = allowed.cloned().collect();
            let objection = self.objection(rule, target, &ceiling);
            considered.push(Considered { rule, had_already, held, ceiling, objection });
        }
    }

    /// What the subject has at a rule's resource server whatever its token says, and through which roles: by its
    /// roles; if it is from elsewhere, by the rule and no role.
    fn given_at(&self, rule: &'c ExchangeRule) -> BTreeMap<&'c Permission, Vec<&'c RoleName>> {
        match self.subject {
            Subject::Client(registration) => {
                let mut holdings = self.catalog.holdings(&registration.roles);
                holdings.remove(&rule.resource_server).unwrap_or_default()
            }
            Subject::Outside(_) => {
                rule.permissions.iter().map(|permission| (permission, Vec::new())).collect()
            }
        }
    }

    /// Why a rule about this caller, subject and resource server does not allow the exchange.
    fn objection(
        &self,
        rule: &'c ExchangeRule,
        target: &ResourceServer,
        ceiling: &Scope,
    ) -> Option<Objection> {
        let object = |code, public: &'static str, reason: String| {
            Some(Objection { code, public: public.into(), reason })
        };
        if let Err(why) = rule.check(self.now) {
            return object(ErrorCode::InvalidTarget, NOT_ALLOWED, format!("the rule is {}", why.as_str()));
        }
        if let Some(reason) = self.stranger(rule) {
            return object(ErrorCode::InvalidTarget, NOT_ALLOWED, reason);
        }
        if rule.mode == ExchangeMode::Impersonation && self.actor.is_some() {
            return object(
                ErrorCode::InvalidRequest,
                "an actor_token cannot be used here: the new token will not name an actor",
                "the rule is for impersonation, and there is an actor token".to_owned(),
            );
        }
        if !self.is_addressed_to_caller(rule) {
            return object(
                ErrorCode::InvalidRequest,
                "the subject token is not addressed to this client: it must operate the token's audience",
                "the caller operates none of the subject token's resource servers, and the rule names none of them \
                 in sources"
                    .to_owned(),
            );
        }
        let depth = self.act(rule.mode).map_or(0, |act| act.actors().count());
        if depth > usize::from(rule.max_depth) {
            return object(
                ErrorCode::InvalidRequest,
                "the subject token has been passed on too often to be passed on again",
                format!("{depth} would act one for another, and the rule allows {}", rule.max_depth),
            );
        }
        match &self.asked.scope {
            Some(scope) => {
                scope.iter().find(|value| !ceiling.contains(value.as_str())).map(|value| Objection {
                    code: ErrorCode::InvalidScope,
                    public: format!("the scope value '{value}' cannot be passed on here").into(),
                    reason: self.why_beyond(rule, target, value),
                })
            }
            None if ceiling.is_empty() => object(
                ErrorCode::InvalidTarget,
                NOT_ALLOWED,
                format!("nothing that the subject has at '{}' is let through", target.name),
            ),
            None => None,
        }
    }

    /// Why a rule is not about these people from elsewhere, if it is not.
    fn stranger(&self, rule: &ExchangeRule) -> Option<String> {
        if let (Subject::Outside(identity), RuleSubject::Outside(party)) = (self.subject, &rule.subject)
            && let Some(why) = party.objection(identity)
        {
            return Some(format!("the rule is not about this subject: {why}"));
        }
        match (self.actor.map(|(actor, _)| actor), &rule.actor) {
            (Some(Actor::Outside(identity)), Some(party)) => {
                party.objection(identity).map(|why| format!("the rule is not about this actor: {why}"))
            }
            (Some(Actor::Outside(_)), None) => {
                Some("the actor token is a trusted issuer's, and the rule names no such actor".to_owned())
            }
            (_, Some(_)) => Some("the rule wants an actor token of a trusted issuer".to_owned()),
            (_, None) => None,
        }
    }

    fn is_addressed_to_caller(&self, rule: &ExchangeRule) -> bool {
        if self.token.from_outside {
            return true;
        }
        let caller = self.caller.client.uid;
        let mut audience = self.token.audience.iter();
        audience.any(|server| self.catalog.operates(caller, *server) || rule.sources.contains(server))
    }

    fn why_beyond(&self, rule: &'c ExchangeRule, target: &ResourceServer, value: &Permission) -> String {
        if !rule.permissions.contains(value) {
            return format!("'{value}' is beyond the rule");
        }
        if self.given_at(rule).contains_key(value) {
            format!("'{value}' is beyond the subject token")
        } else {
            format!("no role of the subject gives '{value}' at '{}'", target.name)
        }
    }

    /// Several resource servers that all could be meant are as good as none.
    fn refuse_ambiguity(&self, considered: &[Considered<'_>]) -> Result<(), OAuthError> {
        let allowed = considered.iter().filter(|considered| considered.objection.is_none());
        let mut targets: Vec<_> = allowed.map(|considered| considered.rule.resource_server).collect();
        targets.dedup();
        if targets.len() < 2 {
            return Ok(());
        }
        let servers = targets.iter().take(5).filter_map(|uid| self.catalog.resource_server(*uid));
        let names: Vec<_> = servers.map(|server| server.identifier.as_str()).collect();
        Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            format!("name the resource server with resource or audience; one of: {}", names.join(", ")),
        ))
    }

    /// The nearest miss decides what is told: a wrong scope is worth telling, and that there is no rule is not.
    fn refusal(&self, considered: &[Considered<'_>]) -> OAuthError {
        let rank = |objection: &Objection| match objection.code {
            ErrorCode::InvalidScope => 0,
            ErrorCode::InvalidRequest => 1,
            _ => 2,
        };
        let objections =
            considered.iter().filter_map(|considered| Some((considered, considered.objection.as_ref()?)));
        let nearest = objections.min_by_key(|(_, objection)| rank(objection));
        match nearest {
            Some((considered, objection)) => OAuthError::new(objection.code, objection.public.clone())
                .because(format!("exchange rule '{}': {}", considered.rule.name, objection.reason)),
            None => OAuthError::new(ErrorCode::InvalidTarget, NOT_ALLOWED).because(format!(
                "no exchange rule lets '{}' pass on '{}' there",
                self.caller.client.client_id,
                quoted(&self.subject.sub())
            )),
        }
    }

    /// The latest end of a token under a rule.
    fn rule_ends_at(&self, rule: &ExchangeRule) -> Timestamp {
        let ends = [rule.expires_at, rule.token_lifetime.map(|lifetime| self.now.plus(lifetime))];
        ends.into_iter().flatten().min().unwrap_or(Timestamp::from_micros(i64::MAX))
    }

    /// Who acts in the new token: the actor in front of everybody who did before.
    fn act(&self, mode: ExchangeMode) -> Option<Act> {
        let before = self.token.act.clone();
        match mode {
            ExchangeMode::Impersonation => before,
            ExchangeMode::Delegation => {
                let actor = self.actor();
                Some(Act { sub: actor.sub(), sub_id: actor.sub_id(), act: before.map(Box::new) })
            }
        }
    }

    fn grantee(&self, rule: &'c ExchangeRule, ceiling: &Scope) -> Grantee<'c> {
        let mut held = self.given_at(rule);
        held.retain(|permission, _| ceiling.contains(permission.as_str()));
        let subject_ends_at = match self.subject {
            Subject::Client(registration) => registration.client.expires_at,
            Subject::Outside(_) => None,
        };
        let ends = [
            Some(self.token.ends_at),
            self.actor.map(|(_, ends_at)| ends_at),
            self.caller.client.expires_at,
            subject_ends_at,
            Some(self.rule_ends_at(rule)),
        ];
        Grantee {
            holdings: Holdings::from([(rule.resource_server, held)]),
            default_resource_server: Some(rule.resource_server),
            not_after: ends.into_iter().flatten().min(),
            passed_on: true,
        }
    }
}

#[cfg(test)]
#[path = "delegation_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "delegation_outside_tests.rs"]
mod outside_tests;

#[cfg(test)]
#[path = "delegation_properties.rs"]
mod properties;
