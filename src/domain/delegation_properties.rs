//! The rules of DESIGN §5, by property: over random registries and chains, authority only narrows.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::outside_tests::{outside_token, party};
use super::tests::{
    NOW, PERMISSIONS, client, identifier, outcome, permission, role, rule, server, server_uid, token,
};
use super::*;
use crate::domain::exchange_rule::{OutsideParty, Party, RuleSubject};
use crate::domain::ids::{ClientUid, ExchangeRuleName, RoleUid};
use crate::domain::outside_identity;
use crate::domain::policy::Decision;

/// Whose identity goes along a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Client0,
    /// Whom issuer 0 calls `job`.
    Job,
}

/// A registry with three resource servers.
#[derive(Clone, Debug)]
struct World {
    roles: Vec<Vec<(usize, usize)>>,
    /// The roles of each client.
    clients: Vec<BTreeSet<usize>>,
    operators: BTreeSet<(usize, usize)>,
    rules: Vec<(usize, ExchangeRule)>,
}

const SERVERS: usize = 3;
const ROLES: usize = 3;
const CLIENTS: usize = 3;

fn parties() -> impl Strategy<Value = Party> {
    prop_oneof![
        // Few, so that several rules are about the same exchange.
        4 => (0..2_usize).prop_map(|n| Party::Client(ClientUid(Uuid::from_u128(n as u128)))),
        1 => (0..ROLES).prop_map(|n| Party::Role(RoleUid(Uuid::from_u128(n as u128)))),
    ]
}

fn outside_parties() -> impl Strategy<Value = OutsideParty> {
    (0..2_usize, 0..2_usize).prop_map(|(issuer, n)| party(issuer, &[("sub", ["job*", "other"][n])]))
}

fn subjects() -> impl Strategy<Value = RuleSubject> {
    prop_oneof![parties().prop_map(RuleSubject::from), outside_parties().prop_map(RuleSubject::Outside),]
}

prop_compose! {
    fn rules()(
        caller in parties(), subject in subjects(), target in 0..SERVERS,
        permissions in prop::collection::btree_set(0..PERMISSIONS.len(), 1..4),
        sources in prop::collection::btree_set(0..SERVERS, 0..3),
        impersonation in any::<bool>(), max_depth in 1_u8..4, lifetime in prop::option::of(10_u64..400),
        end in prop::option::of(1_i64..600), enabled in prop::bool::weighted(0.9),
        actor in prop::option::weighted(0.1, outside_parties()),
    ) -> ExchangeRule {
        ExchangeRule {
            caller,
            subject,
            actor,
            resource_server: server_uid(target),
            permissions: permissions.iter().map(|n| permission(PERMISSIONS[*n])).collect(),
            sources: sources.into_iter().map(server_uid).collect(),
            mode: if impersonation { ExchangeMode::Impersonation } else { ExchangeMode::Delegation },
            max_depth,
            token_lifetime: lifetime.map(Duration::from_secs),
            expires_at: end.map(|second| Timestamp::from_seconds(NOW.as_seconds() + second)),
            enabled,
            ..rule("r")
        }
    }
}

prop_compose! {
    fn worlds()(
        roles in prop::collection::vec(
            prop::collection::vec((0..SERVERS, 0..PERMISSIONS.len()), 0..8), ROLES),
        clients in prop::collection::vec(prop::collection::btree_set(0..ROLES, 0..3), CLIENTS),
        operators in prop::collection::btree_set((0..CLIENTS, 0..SERVERS), 0..8),
        rules in prop::collection::vec(rules(), 1..16),
    ) -> World {
        World { roles, clients, operators, rules: rules.into_iter().enumerate().collect() }
    }
}

/// One hop: who exchanges, towards what, and for which scope.
#[derive(Clone, Debug)]
struct Hop {
    caller: usize,
    target: Option<usize>,
    scope: Option<BTreeSet<usize>>,
}

prop_compose! {
    fn hops()(
        caller in 0..CLIENTS, target in prop::option::weighted(0.8, 0..SERVERS),
        scope in prop::option::of(prop::collection::btree_set(0..PERMISSIONS.len(), 1..3)),
    ) -> Hop {
        Hop { caller, target, scope }
    }
}

impl World {
    fn catalog(&self) -> Catalog {
        let given = self.roles.iter().enumerate().map(|(n, given)| {
            let given: Vec<_> = given.iter().map(|(server, p)| (*server, PERMISSIONS[*p])).collect();
            role(n, &given)
        });
        let rules = self.rules.iter().map(|(n, rule)| ExchangeRule {
            name: ExchangeRuleName::new(format!("r{n:02}")).unwrap(),
            ..rule.clone()
        });
        let operators = self.operators.iter();
        let operators =
            operators.map(|(n, server)| (ClientUid(Uuid::from_u128(*n as u128)), server_uid(*server)));
        Catalog::new((0..SERVERS).map(server).collect(), given.collect())
            .with_exchange(rules.collect(), operators)
    }

    fn client(&self, n: usize) -> Registration {
        client(n, &self.clients[n].iter().copied().collect::<Vec<_>>())
    }

    fn hop(
        &self,
        (whose, token): (Whose, &SubjectToken),
        hop: &Hop,
    ) -> Result<(Decision, Option<Act>), OAuthError> {
        self.ask((whose, token), hop.caller, &hop.asked())
    }

    fn ask(
        &self,
        (whose, token): (Whose, &SubjectToken),
        caller: usize,
        asked: &Asked,
    ) -> Result<(Decision, Option<Act>), OAuthError> {
        let (catalog, caller, subject) = (self.catalog(), self.client(caller), self.client(0));
        let (catalog, job) = (&catalog, job());
        let subject = match whose {
            Whose::Client0 => Subject::Client(&subject),
            Whose::Job => Subject::Outside(&job),
        };
        outcome(Exchange { catalog, caller: &caller, actor: None, subject, token, asked, now: NOW })
    }

    /// Every world that lacks one rule, or what one role gives, one client's roles or its resource servers.
    fn each_with_less(&self) -> Vec<Self> {
        let without = |remove: &dyn Fn(&mut Self)| {
            let mut less = self.clone();
            remove(&mut less);
            less
        };
        let mut all = Vec::new();
        for n in 0..self.rules.len() {
            all.push(without(&|less| drop(less.rules.remove(n))));
        }
        for n in 0..ROLES {
            all.push(without(&|less| less.roles[n].clear()));
        }
        for n in 0..CLIENTS {
            all.push(without(&|less| less.clients[n].clear()));
            all.push(without(&|less| less.operators.retain(|(client, _)| *client != n)));
        }
        all
    }

    /// Whether a rule is about it.
    fn is_about(&self, whose: Whose, rule: &ExchangeRule) -> bool {
        match (whose, &rule.subject) {
            (Whose::Client0, RuleSubject::Party(party)) => party.is(&self.client(0)),
            (Whose::Job, RuleSubject::Outside(party)) => party.objection(&job()).is_none(),
            _ => false,
        }
    }

    /// What the subject's roles give at a resource server.
    fn given(&self, server: usize) -> BTreeSet<&'static str> {
        let roles = self.clients[0].iter().flat_map(|role| &self.roles[*role]);
        roles.filter(|(at, _)| *at == server).map(|(_, p)| PERMISSIONS[*p]).collect()
    }
}

fn job() -> OutsideIdentity {
    outside_identity::tests::identity(0, &serde_json::json!({ "sub": "job" }))
}

impl Hop {
    fn asked(&self) -> Asked {
        let scope = self.scope.as_ref();
        Asked {
            scope: scope.map(|values| values.iter().map(|n| permission(PERMISSIONS[*n])).collect()),
            resources: self.target.map(identifier).into_iter().collect(),
            audiences: Vec::new(),
        }
    }
}

fn whoses() -> impl Strategy<Value = Whose> {
    prop_oneof![Just(Whose::Client0), Just(Whose::Job)]
}

/// The token that a chain begins with.
fn start_with(whose: Whose, start: usize, had: Scope) -> SubjectToken {
    match whose {
        Whose::Client0 => SubjectToken { scope: had, ..token(start, "") },
        Whose::Job => outside_token(),
    }
}

/// The token that an outcome becomes.
fn becomes(decision: &Decision, act: Option<Act>) -> (SubjectToken, usize) {
    let target = (0..SERVERS).find(|n| decision.audience[0].as_str() == identifier(*n)).unwrap();
    let audience = vec![server_uid(target)];
    let token = SubjectToken {
        audience,
        scope: decision.scope.clone(),
        from_outside: false,
        ends_at: decision.expires_at,
        act,
        may_act: None,
    };
    (token, target)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Along any chain: scopes, audience and end are within input ∩ rule ∩ roles, and the actors grow by the caller.
    #[test]
    fn authority_only_narrows(
        world in worlds(), start in 0..SERVERS, had in prop::collection::btree_set(0..PERMISSIONS.len(), 1..4),
        whose in whoses(), lifetime in 1_u64..400, hops in prop::collection::vec(hops(), 1..6),
    ) {
        let had: Scope = had.iter().map(|n| permission(PERMISSIONS[*n])).collect();
        let mut token = SubjectToken { ends_at: NOW.plus(Duration::from_secs(lifetime)), ..start_with(whose, start, had) };
        for hop in &hops {
            let Ok((decision, act)) = world.hop((whose, &token), hop) else { continue };
            let before = token.act.as_ref().map_or_else(Vec::new, |act| act.actors().map(str::to_owned).collect());
            let after: Vec<_> = act.iter().flat_map(|act| act.actors().map(str::to_owned)).collect();
            let (next, target) = becomes(&decision, act);
            prop_assert_eq!(decision.audience.len(), 1);
            prop_assert!(hop.target.is_none_or(|asked| asked == target), "for what was asked");
            prop_assert!(decision.expires_at <= token.ends_at);
            let given = world.given(target);
            for value in decision.scope.iter() {
                let by_a_role = whose == Whose::Client0;
                prop_assert!(!by_a_role || given.contains(value.as_str()), "'{}' is beyond the roles", value);
                if token.audience.contains(&server_uid(target)) {
                    prop_assert!(token.scope.contains(value.as_str()), "'{}' is beyond the token", value);
                }
            }
            prop_assert!(whose == Whose::Client0 || decision.roles.is_empty(), "no role stands behind it");
            let asked = hop.asked().scope;
            prop_assert!(asked.is_none_or(|asked| asked == decision.scope), "nothing is left out in silence");
            let caller = format!("client{}", hop.caller);
            let allowed = world.rules.iter().map(|(_, rule)| rule).find(|rule| {
                rule.check(NOW).is_ok()
                    && rule.caller.is(&world.client(hop.caller)) && world.is_about(whose, rule) && rule.actor.is_none()
                    && rule.resource_server == server_uid(target)
                    && decision.scope.iter().all(|value| rule.permissions.contains(value))
                    && rule.expires_at.is_none_or(|end| decision.expires_at <= end)
                    && rule.token_lifetime.is_none_or(|lifetime| decision.expires_at <= NOW.plus(lifetime))
                    && (token.from_outside || token.audience.iter().any(|server| {
                        let operated = (0..SERVERS).any(|n| {
                            server_uid(n) == *server && world.operators.contains(&(hop.caller, n))
                        });
                        operated || rule.sources.contains(server)
                    }))
                    && after == match rule.mode {
                        ExchangeMode::Delegation => [vec![caller.clone()], before.clone()].concat(),
                        ExchangeMode::Impersonation => before.clone(),
                    }
                    && after.len() <= usize::from(rule.max_depth)
            });
            prop_assert!(allowed.is_some(), "one rule alone allows all of it");
            token = next;
        }
    }

    /// Whatever a registry gives that lacks a rule, a role, a client's role or an operator, the whole one gives too.
    #[test]
    fn removing_anything_never_widens_anything(
        world in worlds(), start in 0..SERVERS, had in prop::collection::btree_set(0..PERMISSIONS.len(), 1..4),
        whose in whoses(), hop in hops(),
    ) {
        let had: Scope = had.iter().map(|n| permission(PERMISSIONS[*n])).collect();
        let token = start_with(whose, start, had);
        for less in world.each_with_less() {
            let Ok((decision, _)) = less.hop((whose, &token), &hop) else { continue };
            let explicit = Asked {
                scope: Some(decision.scope.clone()),
                resources: decision.audience.iter().map(ToString::to_string).collect(),
                audiences: Vec::new(),
            };
            let whole = world.ask((whose, &token), hop.caller, &explicit);
            let Ok((whole, _)) = whole else { return Err(TestCaseError::fail(format!("refused before: {whole:?}"))) };
            prop_assert!(whole.expires_at >= decision.expires_at);
        }
    }
}
