//! The rules of DESIGN §5 about somebody from elsewhere, by example.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::tests::{HOUR, NOW, asked, catalog, client, outcome, rule, scope, server_uid, token};
use super::*;
use crate::domain::claim_conditions::{ClaimPath, Condition, Conditions, Pattern};
use crate::domain::exchange_rule::OutsideParty;
use crate::domain::outside_identity;
use crate::domain::policy::Decision;

/// Lets client 1 pass on whom issuer 0 calls so, to resource server 1, which gives `a` and `b`.
fn outside_rule(name: &str, conditions: &[(&str, &str)]) -> ExchangeRule {
    ExchangeRule { subject: RuleSubject::Outside(party(0, conditions)), ..rule(name) }
}

pub(super) fn party(issuer: usize, conditions: &[(&str, &str)]) -> OutsideParty {
    let condition = |(claim, value): &(&str, &str)| Condition {
        claim: ClaimPath::new(claim).unwrap(),
        value: Pattern::new(value).unwrap(),
    };
    OutsideParty {
        trusted_issuer: outside_identity::tests::issuer(issuer).uid,
        conditions: Conditions::new(conditions.iter().map(condition).collect()).unwrap(),
    }
}

/// What a trusted issuer says, for this server to exchange.
pub(super) fn outside_token() -> SubjectToken {
    SubjectToken { audience: Vec::new(), scope: Scope::default(), from_outside: true, ..token(0, "") }
}

/// Client 1 passes on whom issuer 0 says this of, and somebody from elsewhere acts or not.
fn exchange_outside(
    rules: Vec<ExchangeRule>,
    (claims, actor): (&Value, Option<&OutsideIdentity>),
    token: &SubjectToken,
    asked: &Asked,
) -> Result<(Decision, Option<Act>), OAuthError> {
    let (caller, identity) = (client(1, &[0]), outside_identity::tests::identity(0, claims));
    outcome(Exchange {
        catalog: &catalog(rules),
        caller: &caller,
        actor: actor.map(|actor| (Actor::Outside(actor), NOW.plus(HOUR))),
        subject: Subject::Outside(&identity),
        token,
        asked,
        now: NOW,
    })
}

#[test]
fn somebody_from_elsewhere_has_what_the_rule_lets_through_and_no_role() {
    let claims = json!({ "sub": "job", "env": "prod" });
    let rules = vec![outside_rule("r", &[("env", "prod")])];
    let exchange = |asked| exchange_outside(rules.clone(), (&claims, None), &outside_token(), &asked);
    let (decision, act) = exchange(asked(1, "")).unwrap();
    assert_eq!((decision.scope, decision.roles), (scope("a b"), Vec::new()));
    assert_eq!(act.unwrap().actors().collect::<Vec<_>>(), ["client1"]);
    let refused = exchange(asked(1, "c")).unwrap_err();
    assert_eq!(
        (refused.code, &*refused.private),
        (ErrorCode::InvalidScope, "exchange rule 'r': 'c' is beyond the rule")
    );
    assert_eq!(exchange(asked(2, "")).unwrap_err().code, ErrorCode::InvalidTarget);
}

#[test]
fn a_rule_is_about_its_issuer_and_what_fulfils_its_conditions_alone() {
    let claims = json!({ "sub": "job", "env": "prod", "ref": "x" });
    let refusal = |rule: ExchangeRule| {
        let error =
            exchange_outside(vec![rule], (&claims, None), &outside_token(), &asked(1, "")).unwrap_err();
        assert_eq!((error.code, &*error.public), (ErrorCode::InvalidTarget, NOT_ALLOWED));
        error.private.into_owned()
    };
    let told = refusal(outside_rule("r", &[("sub", "job"), ("env", "test*")]));
    assert_eq!(
        told,
        "exchange rule 'r': the rule is not about this subject: the claim 'env' must be 'test*', and is 'prod'"
    );
    assert!(
        refusal(outside_rule("r", &[("team", "a")]))
            .contains("the claim 'team' must be 'a', and there is none")
    );
    let of_another = RuleSubject::Outside(party(1, &[("sub", "job")]));
    let told = refusal(ExchangeRule { subject: of_another, ..rule("r") });
    assert_eq!(told, "no exchange rule lets 'client1' pass on 'issuer0|job' there");
    refusal(rule("about-a-client"));
    // A client of the same name is another one.
    let (caller, mut subject) = (client(1, &[]), client(0, &[0]));
    subject.client.client_id = ClientId::new("issuer0|job").unwrap();
    let outcome = outcome(Exchange {
        catalog: &catalog(vec![outside_rule("r", &[("sub", "job")])]),
        caller: &caller,
        actor: None,
        subject: Subject::Client(&subject),
        token: &token(0, "a"),
        asked: &asked(1, ""),
        now: NOW,
    });
    assert_eq!(outcome.unwrap_err().code, ErrorCode::InvalidTarget);
}

#[test]
fn what_was_passed_on_of_somebody_from_elsewhere_bounds_it_there_and_is_addressed_as_ever() {
    let claims = json!({ "sub": "job" });
    let rule =
        ExchangeRule { sources: BTreeSet::from([server_uid(1)]), ..outside_rule("r", &[("sub", "job")]) };
    let exchange = |token| exchange_outside(vec![rule.clone()], (&claims, None), &token, &asked(1, ""));
    assert_eq!(exchange(token(1, "b c")).unwrap().0.scope, scope("b"));
    assert_eq!(exchange(token(0, "c")).unwrap().0.scope, scope("a b"), "for another audience, the rule");
    let refused = exchange(token(2, "a")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "it operates nothing there");
}

#[test]
fn an_actor_from_elsewhere_is_whom_the_rule_names_and_nobody_else_is() {
    let claims = json!({ "sub": "job" });
    let robot = outside_identity::tests::identity(1, &json!({ "sub": "robot" }));
    let plain = outside_rule("r", &[("sub", "job")]);
    let with = |issuer, sub| ExchangeRule { actor: Some(party(issuer, &[("sub", sub)])), ..plain.clone() };
    let refusal = |rule: &ExchangeRule, actor| {
        let outcome = exchange_outside(vec![rule.clone()], (&claims, actor), &outside_token(), &asked(1, ""));
        outcome.map(|(_, act)| serde_json::to_value(act).unwrap()).map_err(|error| error.private.into_owned())
    };
    assert_eq!(
        refusal(&with(1, "robot"), Some(&robot)).unwrap(),
        json!({
            "sub": "issuer1|robot",
            "sub_id": { "format": "iss_sub", "iss": "https://issuer1.example", "sub": "robot" },
        })
    );
    for (rule, actor, why) in [
        (&with(1, "robot"), None, "wants an actor token"),
        (&with(1, "other"), Some(&robot), "the rule is not about this actor: the claim 'sub'"),
        (&with(0, "robot"), Some(&robot), "another trusted issuer"),
        (&plain, Some(&robot), "names no such actor"),
    ] {
        let told = refusal(rule, actor).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn may_act_of_another_issuer_names_no_client_rfc8693_4_4() {
    let robot = outside_identity::tests::identity(1, &json!({ "sub": "client1" }));
    let client1 = ClientId::new("client1").unwrap();
    let named = |sub: &str, sub_id: Option<SubId>| {
        let may_act = MayAct { sub: sub.to_owned(), sub_id };
        [Actor::Client(&client1).is_named_by(&may_act), Actor::Outside(&robot).is_named_by(&may_act)]
    };
    let of = |iss: &str| Some(SubId::IssSub { iss: iss.to_owned(), sub: "client1".to_owned() });
    assert_eq!(named("client1", None), [true, false]);
    assert_eq!(
        named("client1", of("https://issuer1.example")),
        [false, false],
        "it is called otherwise here"
    );
    assert_eq!(named("issuer1|client1", None), [false, false], "that would be a client");
    assert_eq!(named("issuer1|client1", of("https://issuer1.example")), [false, true]);
    assert_eq!(named("issuer1|client1", of("https://before.example")), [false, false], "registered anew");
    assert_eq!(named("issuer0|client1", of("https://issuer1.example")), [false, false], "a namesake's");
    let unknown = json!({ "sub": "client1", "iss": "https://issuer1.example" });
    assert!(serde_json::from_value::<MayAct>(unknown).is_err(), "it must not be read as a client");
}
