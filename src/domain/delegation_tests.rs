//! The rules of DESIGN §5, by example and by property: over random registries and chains, authority only narrows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::binding::TokenBinding;
use crate::domain::client::{Client, ClientKind};
use crate::domain::exchange_rule::Party;
use crate::domain::ids::{
    ClientUid, ExchangeRuleName, ExchangeRuleUid, Identifier, ResourceServerName, RoleName, RoleUid,
};
use crate::domain::policy::{self, Decision};
use crate::domain::resource::TokenProfile;
use crate::domain::role::Role;
use crate::jose::Algorithm;

const NOW: Timestamp = Timestamp::from_seconds(1_000);
const HOUR: Duration = Duration::from_hours(1);
const PERMISSIONS: [&str; 4] = ["a", "b", "c", "d"];

fn server_uid(n: usize) -> ResourceServerUid {
    ResourceServerUid(Uuid::from_u128(n as u128))
}

fn permission(text: &str) -> Permission {
    Permission::new(text).unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse(Some(text)).unwrap().unwrap_or_default()
}

fn identifier(n: usize) -> String {
    format!("https://rs{n}.example")
}

fn server(n: usize) -> ResourceServer {
    ResourceServer {
        uid: server_uid(n),
        name: ResourceServerName::new(format!("rs{n}")).unwrap(),
        identifier: Identifier::new(identifier(n)).unwrap(),
        description: String::new(),
        permissions: PERMISSIONS.iter().map(|text| (permission(text), String::new())).collect(),
        token_lifetime: Duration::from_mins(5),
        signing_algorithm: Algorithm::Es256,
        signing_algorithm_before: None,
        token_profile: TokenProfile::AccessToken,
        token_binding: TokenBinding::Optional,
        enabled: true,
        builtin: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn role(n: usize, permissions: &[(usize, &str)]) -> Role {
    Role {
        uid: RoleUid(Uuid::from_u128(n as u128)),
        name: RoleName::new(format!("role{n}")).unwrap(),
        description: String::new(),
        permissions: permissions
            .iter()
            .map(|(server, text)| (server_uid(*server), permission(text)))
            .collect(),
        builtin: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn client(n: usize, roles: &[usize]) -> Registration {
    let client = Client {
        uid: ClientUid(Uuid::from_u128(n as u128)),
        client_id: ClientId::new(format!("client{n}")).unwrap(),
        description: String::new(),
        kind: ClientKind::Service,
        owner: None,
        labels: BTreeMap::new(),
        enabled: true,
        expires_at: None,
        default_resource_server: None,
        grant_types: BTreeSet::new(),
        auth_methods: BTreeSet::new(),
        allowed_networks: Vec::new(),
        may_act: None,
        token_binding: TokenBinding::Optional,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    let roles = roles.iter().map(|role| RoleUid(Uuid::from_u128(*role as u128))).collect();
    Registration { client, secrets: Vec::new(), roles }
}

/// Lets client 1 pass client 0 on to resource server 1, which gives `a` and `b`.
fn rule(name: &str) -> ExchangeRule {
    ExchangeRule {
        uid: ExchangeRuleUid(Uuid::nil()),
        name: ExchangeRuleName::new(name).unwrap(),
        description: String::new(),
        enabled: true,
        expires_at: None,
        caller: Party::Client(ClientUid(Uuid::from_u128(1))),
        subject: Party::Client(ClientUid(Uuid::from_u128(0))),
        resource_server: server_uid(1),
        permissions: BTreeSet::from([permission("a"), permission("b")]),
        sources: BTreeSet::new(),
        mode: ExchangeMode::Delegation,
        max_depth: 5,
        token_lifetime: None,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// Client 0 has `a`, `b` and `c` at resource server 1, and client 1 operates resource server 0.
fn catalog(rules: Vec<ExchangeRule>) -> Catalog {
    let given = role(0, &[(0, "a"), (1, "a"), (1, "b"), (1, "c")]);
    let operators = [(ClientUid(Uuid::from_u128(1)), server_uid(0))];
    Catalog::new(vec![server(0), server(1), server(2)], vec![given]).with_exchange(rules, operators)
}

fn token(server: usize, allowed: &str) -> SubjectToken {
    SubjectToken {
        audience: vec![server_uid(server)],
        scope: scope(allowed),
        ends_at: NOW.plus(HOUR),
        act: None,
        may_act: None,
    }
}

fn asked(server: usize, values: &str) -> Asked {
    Asked {
        scope: Scope::parse(Some(values)).unwrap(),
        resources: vec![identifier(server)],
        audiences: Vec::new(),
    }
}

/// The pipeline without signatures: the exchange, then the decision.
fn outcome(exchange: Exchange<'_>) -> Result<(Decision, Option<Act>), OAuthError> {
    let passage = exchange.pass()?;
    let decision = policy::decide(exchange.catalog, &passage.grantee, exchange.asked, HOUR, exchange.now)?;
    Ok((decision, passage.act))
}

/// Client 1 exchanges client 0's token.
fn exchange(
    catalog: &Catalog,
    token: &SubjectToken,
    asked: &Asked,
) -> Result<(Decision, Option<Act>), OAuthError> {
    let (caller, subject) = (client(1, &[]), client(0, &[0]));
    let exchange =
        Exchange { catalog, caller: &caller, actor: None, subject: &subject, token, asked, now: NOW };
    outcome(exchange)
}

fn refusal(catalog: &Catalog, token: &SubjectToken, asked: &Asked) -> (&'static str, String) {
    let error = exchange(catalog, token, asked).unwrap_err();
    (error.code.as_str(), error.private.into_owned())
}

// === By example ===

#[test]
fn a_rule_lets_through_what_the_subject_has_and_no_more() {
    let catalog = catalog(vec![rule("r")]);
    let (decision, act) = exchange(&catalog, &token(0, "a"), &asked(1, "")).unwrap();
    assert_eq!(decision.scope, scope("a b"), "c is beyond the rule");
    assert_eq!(act.unwrap().actors().collect::<Vec<_>>(), ["client1"]);
    let refused = refusal(&catalog, &token(0, "a"), &asked(1, "a c"));
    assert_eq!(refused, ("invalid_scope", "exchange rule 'r': 'c' is beyond the rule".to_owned()));
    let refused = refusal(&catalog, &token(0, "a"), &asked(1, "d"));
    assert_eq!(refused.0, "invalid_scope");
}

#[test]
fn without_a_rule_there_is_no_token() {
    let disabled = ExchangeRule { enabled: false, ..rule("r") };
    let expired = ExchangeRule { expires_at: Some(NOW), ..rule("r") };
    let elsewhere = ExchangeRule { resource_server: server_uid(2), ..rule("r") };
    let others = Party::Role(RoleUid(Uuid::from_u128(9)));
    let of_others = ExchangeRule { caller: others, ..rule("r") };
    let about_others = ExchangeRule { subject: others, ..rule("r") };
    let mut texts = BTreeSet::new();
    for rules in [vec![], vec![disabled], vec![expired], vec![elsewhere], vec![of_others], vec![about_others]]
    {
        let error = exchange(&catalog(rules), &token(0, "a"), &asked(1, "a")).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidTarget);
        texts.insert(error.public.into_owned());
    }
    let unknown = exchange(&catalog(vec![]), &token(0, "a"), &asked(7, "")).unwrap_err();
    texts.insert(unknown.public.into_owned());
    assert_eq!(texts.len(), 1, "asking tells nobody which of them it is: {texts:?}");
}

#[test]
fn for_the_audience_that_it_had_the_token_s_own_scope_bounds_it() {
    let operated = ExchangeRule { sources: BTreeSet::from([server_uid(1)]), ..rule("r") };
    let catalog = catalog(vec![operated]);
    let (decision, _) = exchange(&catalog, &token(1, "a c"), &asked(1, "")).unwrap();
    assert_eq!(decision.scope, scope("a"));
    let refused = refusal(&catalog, &token(1, "a c"), &asked(1, "b"));
    assert_eq!(refused, ("invalid_scope", "exchange rule 'r': 'b' is beyond the subject token".to_owned()));
}

#[test]
fn the_subject_token_is_addressed_to_whoever_operates_its_audience() {
    let (code, reason) = refusal(&catalog(vec![rule("r")]), &token(2, "a"), &asked(1, ""));
    assert_eq!(code, "invalid_request");
    assert!(reason.contains("operates none"), "{reason}");
    let named = ExchangeRule { sources: BTreeSet::from([server_uid(2)]), ..rule("r") };
    assert!(exchange(&catalog(vec![named]), &token(2, "a"), &asked(1, "")).is_ok(), "or the rule names it");
    let nowhere = SubjectToken { audience: Vec::new(), ..token(0, "a") };
    assert_eq!(refusal(&catalog(vec![rule("r")]), &nowhere, &asked(1, "")).0, "invalid_request");
}

#[test]
fn may_act_is_obeyed_rfc8693_4_4() {
    let may_act = |sub: &str| SubjectToken { may_act: Some(MayAct { sub: sub.to_owned() }), ..token(0, "a") };
    let catalog = catalog(vec![rule("r")]);
    assert!(exchange(&catalog, &may_act("client1"), &asked(1, "")).is_ok());
    let refused = refusal(&catalog, &may_act("client2"), &asked(1, ""));
    assert_eq!(refused, ("invalid_request", "may_act names 'client2', and 'client1' acts".to_owned()));
}

#[test]
fn actors_are_nested_newest_outermost_and_counted_rfc8693_4_1() {
    let before = Act { sub: "y".to_owned(), act: Some(Box::new(Act { sub: "x".to_owned(), act: None })) };
    let passed_on = SubjectToken { act: Some(before.clone()), ..token(0, "a") };
    let (_, act) = exchange(&catalog(vec![rule("r")]), &passed_on, &asked(1, "")).unwrap();
    assert_eq!(act.unwrap().actors().collect::<Vec<_>>(), ["client1", "y", "x"]);
    let shallow = ExchangeRule { max_depth: 2, ..rule("r") };
    let (code, reason) = refusal(&catalog(vec![shallow]), &passed_on, &asked(1, ""));
    assert_eq!(code, "invalid_request");
    assert!(reason.contains("3 would act one for another, and the rule allows 2"), "{reason}");
    let silent = ExchangeRule { mode: ExchangeMode::Impersonation, max_depth: 2, ..rule("r") };
    let (_, act) = exchange(&catalog(vec![silent]), &passed_on, &asked(1, "")).unwrap();
    assert_eq!(act, Some(before), "an incoming chain is kept");
}

#[test]
fn an_actor_token_says_who_acts_and_ends_it() {
    let (caller, subject, actor) = (client(1, &[]), client(0, &[0]), ClientId::new("robot").unwrap());
    let (token, asked) = (token(0, "a"), asked(1, "a"));
    let with = |catalog: &Catalog| {
        let ends_at = NOW.plus(Duration::from_secs(30));
        let actor = Some((&actor, ends_at));
        outcome(Exchange {
            catalog,
            caller: &caller,
            actor,
            subject: &subject,
            token: &token,
            asked: &asked,
            now: NOW,
        })
    };
    let (decision, act) = with(&catalog(vec![rule("r")])).unwrap();
    assert_eq!(act.unwrap().sub, "robot");
    assert_eq!(decision.expires_at, NOW.plus(Duration::from_secs(30)));
    let silent = ExchangeRule { mode: ExchangeMode::Impersonation, ..rule("r") };
    assert_eq!(with(&catalog(vec![silent])).unwrap_err().code, ErrorCode::InvalidRequest);
}

#[test]
fn the_earliest_end_counts() {
    let soon = NOW.plus(Duration::from_secs(20));
    let ends_soon = SubjectToken { ends_at: soon, ..token(0, "a") };
    let plain = catalog(vec![rule("r")]);
    assert_eq!(exchange(&plain, &ends_soon, &asked(1, "")).unwrap().0.expires_at, soon);
    let short = ExchangeRule { token_lifetime: Some(Duration::from_secs(20)), ..rule("r") };
    assert_eq!(exchange(&catalog(vec![short]), &token(0, "a"), &asked(1, "")).unwrap().0.expires_at, soon);
    let ending = ExchangeRule { expires_at: Some(soon), ..rule("r") };
    assert_eq!(exchange(&catalog(vec![ending]), &token(0, "a"), &asked(1, "")).unwrap().0.expires_at, soon);
}

#[test]
fn one_resource_server_at_a_time_and_the_rules_tell_which() {
    let catalog = catalog(vec![rule("r")]);
    let nothing_named = Asked::default();
    let (decision, _) = exchange(&catalog, &token(0, "a"), &nothing_named).unwrap();
    assert_eq!(decision.audience[0].as_str(), identifier(1));
    let both = Asked { resources: vec![identifier(1), identifier(2)], ..Asked::default() };
    assert_eq!(refusal(&catalog, &token(0, "a"), &both).0, "invalid_target");
    let twice = Asked { resources: vec![identifier(1)], audiences: vec![identifier(1)], ..Asked::default() };
    assert!(exchange(&catalog, &token(0, "a"), &twice).is_ok());
}

#[test]
fn of_several_rules_the_widest_counts() {
    let short = ExchangeRule { token_lifetime: Some(Duration::from_secs(20)), ..rule("a-short") };
    let narrow = ExchangeRule { permissions: BTreeSet::from([permission("a")]), ..rule("b-narrow") };
    let catalog = catalog(vec![short, narrow]);
    let lifetime = |scope: &str| {
        let (decision, _) = exchange(&catalog, &token(0, "a"), &asked(1, scope)).unwrap();
        (decision.scope.to_string(), decision.expires_at.as_seconds() - NOW.as_seconds())
    };
    assert_eq!(lifetime(""), ("a b".to_owned(), 20), "the one that lets most through");
    assert_eq!(lifetime("a"), ("a".to_owned(), 300), "the one that lasts longest");
    assert_eq!(lifetime("b"), ("b".to_owned(), 20));
}

// === By property ===

/// A registry with four resource servers.
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

prop_compose! {
    fn rules()(
        caller in parties(), subject in parties(), target in 0..SERVERS,
        permissions in prop::collection::btree_set(0..PERMISSIONS.len(), 1..4),
        sources in prop::collection::btree_set(0..SERVERS, 0..3),
        impersonation in any::<bool>(), max_depth in 1_u8..4, lifetime in prop::option::of(10_u64..400),
        end in prop::option::of(1_i64..600), enabled in prop::bool::weighted(0.9),
    ) -> ExchangeRule {
        ExchangeRule {
            caller,
            subject,
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

    fn hop(&self, token: &SubjectToken, hop: &Hop) -> Result<(Decision, Option<Act>), OAuthError> {
        self.ask(token, hop.caller, &hop.asked())
    }

    fn ask(
        &self,
        token: &SubjectToken,
        caller: usize,
        asked: &Asked,
    ) -> Result<(Decision, Option<Act>), OAuthError> {
        let (catalog, caller, subject) = (self.catalog(), self.client(caller), self.client(0));
        let catalog = &catalog;
        outcome(Exchange { catalog, caller: &caller, actor: None, subject: &subject, token, asked, now: NOW })
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

    /// What the subject's roles give at a resource server.
    fn given(&self, server: usize) -> BTreeSet<&'static str> {
        let roles = self.clients[0].iter().flat_map(|role| &self.roles[*role]);
        roles.filter(|(at, _)| *at == server).map(|(_, p)| PERMISSIONS[*p]).collect()
    }
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

/// The token that an outcome becomes.
fn becomes(decision: &Decision, act: Option<Act>) -> (SubjectToken, usize) {
    let target = (0..SERVERS).find(|n| decision.audience[0].as_str() == identifier(*n)).unwrap();
    let audience = vec![server_uid(target)];
    let token = SubjectToken {
        audience,
        scope: decision.scope.clone(),
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
        lifetime in 1_u64..400, hops in prop::collection::vec(hops(), 1..6),
    ) {
        let had: Scope = had.iter().map(|n| permission(PERMISSIONS[*n])).collect();
        let mut token = SubjectToken { scope: had, ends_at: NOW.plus(Duration::from_secs(lifetime)), ..token(start, "") };
        for hop in &hops {
            let Ok((decision, act)) = world.hop(&token, hop) else { continue };
            let before = token.act.as_ref().map_or_else(Vec::new, |act| act.actors().map(str::to_owned).collect());
            let after: Vec<_> = act.iter().flat_map(|act| act.actors().map(str::to_owned)).collect();
            let (next, target) = becomes(&decision, act);
            prop_assert_eq!(decision.audience.len(), 1);
            prop_assert!(hop.target.is_none_or(|asked| asked == target), "for what was asked");
            prop_assert!(decision.expires_at <= token.ends_at);
            let given = world.given(target);
            for value in decision.scope.iter() {
                prop_assert!(given.contains(value.as_str()), "'{}' is beyond the roles", value);
                if token.audience.contains(&server_uid(target)) {
                    prop_assert!(token.scope.contains(value.as_str()), "'{}' is beyond the token", value);
                }
            }
            let asked = hop.asked().scope;
            prop_assert!(asked.is_none_or(|asked| asked == decision.scope), "nothing is left out in silence");
            let caller = format!("client{}", hop.caller);
            let allowed = world.rules.iter().map(|(_, rule)| rule).find(|rule| {
                rule.check(NOW).is_ok()
                    && rule.caller.is(&world.client(hop.caller)) && rule.subject.is(&world.client(0))
                    && rule.resource_server == server_uid(target)
                    && decision.scope.iter().all(|value| rule.permissions.contains(value))
                    && rule.expires_at.is_none_or(|end| decision.expires_at <= end)
                    && rule.token_lifetime.is_none_or(|lifetime| decision.expires_at <= NOW.plus(lifetime))
                    && token.audience.iter().any(|server| {
                        let operated = (0..SERVERS).any(|n| {
                            server_uid(n) == *server && world.operators.contains(&(hop.caller, n))
                        });
                        operated || rule.sources.contains(server)
                    })
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
        hop in hops(),
    ) {
        let had: Scope = had.iter().map(|n| permission(PERMISSIONS[*n])).collect();
        let token = SubjectToken { scope: had, ..token(start, "") };
        for less in world.each_with_less() {
            let Ok((decision, _)) = less.hop(&token, &hop) else { continue };
            let explicit = Asked {
                scope: Some(decision.scope.clone()),
                resources: decision.audience.iter().map(ToString::to_string).collect(),
                audiences: Vec::new(),
            };
            let whole = world.ask(&token, hop.caller, &explicit);
            let Ok((whole, _)) = whole else { return Err(TestCaseError::fail(format!("refused before: {whole:?}"))) };
            prop_assert!(whole.expires_at >= decision.expires_at);
        }
    }
}
