//! Exchange rules, and what they hold on to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{both_stores, client, resource_server, role, uuid};
use crate::harness::{Database, START};
use jeton::domain::claim_conditions::{ClaimPath, Condition, Conditions, Pattern};
use jeton::domain::exchange_rule::{ExchangeMode, ExchangeRule, OutsideParty, Party, RuleSubject};
use jeton::domain::ids::{
    ExchangeRuleName, ExchangeRuleUid, Permission, TrustedIssuerName, TrustedIssuerUid,
};
use jeton::domain::resource::ResourceServer;
use jeton::domain::role::Role;
use jeton::domain::trust::{IssuerProfile, KeySource, Reuse, TrustedIssuer};
use jeton::jose::Algorithm;
use jeton::storage::{Store, StoreError};

both_stores!(an_exchange_rule_comes_back_as_it_went_in, what_an_exchange_rule_names_stays,);

/// A rule with everything that a rule can have.
fn exchange_rule(name: &str, caller: Party, subject: Party, server: &ResourceServer) -> ExchangeRule {
    ExchangeRule {
        uid: ExchangeRuleUid(uuid()),
        name: ExchangeRuleName::new(name).unwrap(),
        description: "größer\n".to_owned(),
        enabled: true,
        expires_at: Some(START.plus(Duration::from_micros(1))),
        caller,
        subject: subject.into(),
        actor: None,
        resource_server: server.uid,
        permissions: [Permission::new("read").unwrap()].into(),
        sources: [server.uid].into(),
        mode: ExchangeMode::Impersonation,
        max_depth: 10,
        token_lifetime: Some(Duration::from_secs(10)),
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

fn trusted_issuer() -> TrustedIssuer {
    TrustedIssuer {
        uid: TrustedIssuerUid(uuid()),
        name: TrustedIssuerName::new("ci").unwrap(),
        description: String::new(),
        enabled: true,
        profile: IssuerProfile::Jwt,
        issuer: "https://ci.example".to_owned(),
        keys: KeySource::Discovery,
        algorithms: [Algorithm::Es256].into(),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::ZERO,
        reuse: Reuse::Once,
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

fn outside_party(issuer: &TrustedIssuer, sub: &str) -> OutsideParty {
    let condition = Condition { claim: ClaimPath::new("sub").unwrap(), value: Pattern::new(sub).unwrap() };
    OutsideParty { trusted_issuer: issuer.uid, conditions: Conditions::new(vec![condition]).unwrap() }
}

async fn an_exchange_rule_comes_back_as_it_went_in(store: Store, _: Database) {
    let (server, other) = (resource_server("rs"), resource_server("other"));
    let role = role("r", &server);
    let (caller, subject) = (client("caller"), client("subject"));
    let mut one = exchange_rule("one", Party::Client(caller.uid), Party::Client(subject.uid), &server);
    let mut two = exchange_rule("two", Party::Role(role.uid), Party::Role(role.uid), &server);
    (two.expires_at, two.token_lifetime, two.enabled) = (None, None, false);
    let issuer = trusted_issuer();
    two.subject = RuleSubject::Outside(outside_party(&issuer, "job:*"));
    two.actor = Some(outside_party(&issuer, "robot"));
    let mut tx = store.begin().await.unwrap();
    for server in [&server, &other] {
        tx.insert_resource_server(server).await.unwrap();
    }
    tx.insert_role(&role).await.unwrap();
    for client in [&caller, &subject] {
        tx.insert_client(client).await.unwrap();
    }
    tx.insert_trusted_issuer(&issuer).await.unwrap();
    for rule in [&one, &two] {
        tx.insert_exchange_rule(rule).await.unwrap();
    }
    tx.commit().await.unwrap();
    let stored = async |rule: &ExchangeRule| store.exchange_rule(&rule.name).await.unwrap().unwrap();
    assert_eq!((&stored(&one).await, &stored(&two).await), (&one, &two));
    let mut all = store.all_exchange_rules().await.unwrap();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(all, [one.clone(), two.clone()]);
    let clients = async |first: &ExchangeRule, last: &ExchangeRule| {
        store.clients_in_exchange_rules(&first.name, &last.name).await.unwrap()
    };
    let expected = [(caller.uid, caller.client_id.clone()), (subject.uid, subject.client_id.clone())].into();
    assert_eq!(clients(&one, &two).await, expected);
    assert_eq!(clients(&one, &one).await, expected);
    assert!(clients(&two, &two).await.is_empty(), "it names a role and somebody from elsewhere");
    let mut tx = store.begin().await.unwrap();
    assert!(matches!(tx.delete_trusted_issuer(issuer.uid, 1).await, Err(StoreError::InUse)));
    drop(tx);

    let write = async |rule: &ExchangeRule| {
        let mut tx = store.begin().await.unwrap();
        let done = tx.update_exchange_rule(rule).await.unwrap();
        tx.commit().await.unwrap();
        done
    };
    (one.caller, one.subject) = (Party::Role(role.uid), RuleSubject::Outside(outside_party(&issuer, "a")));
    (one.expires_at, one.token_lifetime, one.enabled) = (None, None, false);
    (one.mode, one.max_depth, one.sources) = (ExchangeMode::Delegation, 1, [other.uid].into());
    (one.description, one.updated_at) = (String::new(), START.plus(Duration::from_micros(1)));
    assert!(write(&one).await);
    assert!(!write(&one).await, "the stored version is 2 by now");
    one.version = 2;
    assert_eq!(stored(&one).await, one);
    assert_eq!(stored(&two).await, two, "the other one stays");

    let mut taken = two.clone();
    taken.uid = ExchangeRuleUid(uuid());
    let mut tx = store.begin().await.unwrap();
    assert!(matches!(tx.insert_exchange_rule(&taken).await, Err(StoreError::AlreadyExists)));
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.delete_exchange_rule(one.uid, 1).await.unwrap());
    assert!(tx.delete_exchange_rule(one.uid, 2).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.all_exchange_rules().await.unwrap(), [two]);
}

async fn what_an_exchange_rule_names_stays(store: Store, _: Database) {
    let (server, source) = (resource_server("rs"), resource_server("source"));
    let role = role("r", &resource_server("unused"));
    let role = Role { permissions: BTreeSet::new(), ..role };
    let client = client("c");
    let mut naming = exchange_rule("rule", Party::Client(client.uid), Party::Role(role.uid), &server);
    naming.sources = [source.uid].into();
    let mut tx = store.begin().await.unwrap();
    for server in [&server, &source] {
        tx.insert_resource_server(server).await.unwrap();
    }
    tx.insert_role(&role).await.unwrap();
    tx.insert_client(&client).await.unwrap();
    tx.insert_exchange_rule(&naming).await.unwrap();
    tx.commit().await.unwrap();

    let in_use = |outcome: Result<_, StoreError>| matches!(outcome, Err(StoreError::InUse));
    let read = Permission::new("read").unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_client(client.uid, 1).await.map(drop)), "it calls");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_role(role.uid, 1).await.map(drop)), "it is the subject");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_permission(server.uid, &read).await), "it is let through");
    drop(tx);
    for server in [&server, &source] {
        let mut tx = store.begin().await.unwrap();
        assert!(in_use(tx.delete_resource_server(server.uid, 1).await.map(drop)), "{}", server.name);
    }
    let undefined = ExchangeRule { permissions: [Permission::new("none").unwrap()].into(), ..naming.clone() };
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.update_exchange_rule(&undefined).await.map(drop)), "it defines no such permission");
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_exchange_rule(naming.uid, 1).await.unwrap());
    assert!(tx.delete_client(client.uid, 1).await.unwrap());
    assert!(tx.delete_role(role.uid, 1).await.unwrap());
    for server in [&server, &source] {
        assert!(tx.delete_resource_server(server.uid, 1).await.unwrap());
    }
    tx.commit().await.unwrap();
}
