//! The rules of DESIGN §5, by example.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_000);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const PERMISSIONS: [&str; 4] = ["a", "b", "c", "d"];

pub(super) fn server_uid(n: usize) -> ResourceServerUid {
    ResourceServerUid(Uuid::from_u128(n as u128))
}

pub(super) fn permission(text: &str) -> Permission {
    Permission::new(text).unwrap()
}

pub(super) fn scope(text: &str) -> Scope {
    Scope::parse(Some(text)).unwrap().unwrap_or_default()
}

pub(super) fn identifier(n: usize) -> String {
    format!("https://rs{n}.example")
}

pub(super) fn server(n: usize) -> ResourceServer {
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

pub(super) fn role(n: usize, permissions: &[(usize, &str)]) -> Role {
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

pub(super) fn client(n: usize, roles: &[usize]) -> Registration {
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
        certificate_subject: None,
        may_rotate_own_secrets: false,
        jwks_uri: None,
        assertion_type_required: false,
        legacy_assertion_audience: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    let roles = roles.iter().map(|role| RoleUid(Uuid::from_u128(*role as u128))).collect();
    Registration {
        client,
        secrets: Vec::new(),
        keys: Vec::new(),
        roles,
        certificates: Vec::new(),
        federated: Vec::new(),
    }
}

/// Lets client 1 pass client 0 on to resource server 1, which gives `a` and `b`.
pub(super) fn rule(name: &str) -> ExchangeRule {
    ExchangeRule {
        uid: ExchangeRuleUid(Uuid::nil()),
        name: ExchangeRuleName::new(name).unwrap(),
        description: String::new(),
        enabled: true,
        expires_at: None,
        caller: Party::Client(ClientUid(Uuid::from_u128(1))),
        subject: Party::Client(ClientUid(Uuid::from_u128(0))).into(),
        actor: None,
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
pub(super) fn catalog(rules: Vec<ExchangeRule>) -> Catalog {
    let given = role(0, &[(0, "a"), (1, "a"), (1, "b"), (1, "c")]);
    let operators = [(ClientUid(Uuid::from_u128(1)), server_uid(0))];
    Catalog::new(vec![server(0), server(1), server(2)], vec![given]).with_exchange(rules, operators)
}

pub(super) fn token(server: usize, allowed: &str) -> SubjectToken {
    SubjectToken {
        audience: vec![server_uid(server)],
        scope: scope(allowed),
        from_outside: false,
        ends_at: NOW.plus(HOUR),
        act: None,
        may_act: None,
    }
}

pub(super) fn asked(server: usize, values: &str) -> Asked {
    Asked {
        scope: Scope::parse(Some(values)).unwrap(),
        resources: vec![identifier(server)],
        audiences: Vec::new(),
    }
}

/// The pipeline without signatures: the exchange, then the decision.
pub(super) fn outcome(exchange: Exchange<'_, '_>) -> Result<(Decision, Option<Act>), OAuthError> {
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
    let exchange = Exchange {
        catalog,
        caller: &caller,
        actor: None,
        subject: Subject::Client(&subject),
        token,
        asked,
        now: NOW,
    };
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
    let about_others = ExchangeRule { subject: others.into(), ..rule("r") };
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
    let may_act = |sub: &str| SubjectToken {
        may_act: Some(MayAct { sub: sub.to_owned(), sub_id: None }),
        ..token(0, "a")
    };
    let catalog = catalog(vec![rule("r")]);
    assert!(exchange(&catalog, &may_act("client1"), &asked(1, "")).is_ok());
    let refused = refusal(&catalog, &may_act("client2"), &asked(1, ""));
    assert_eq!(refused, ("invalid_request", "may_act names 'client2', and 'client1' acts".to_owned()));
}

#[test]
fn actors_are_nested_newest_outermost_and_counted_rfc8693_4_1() {
    let acts = |sub: &str, act| Act { sub: sub.to_owned(), sub_id: None, act };
    let before = acts("y", Some(Box::new(acts("x", None))));
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
        let actor = Some((Actor::Client(&actor), ends_at));
        outcome(Exchange {
            catalog,
            caller: &caller,
            actor,
            subject: Subject::Client(&subject),
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
