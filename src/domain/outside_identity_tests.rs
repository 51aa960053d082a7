//! Whom tokens of ours mean by somebody from elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::catalog::Catalog;
use crate::domain::ids::TrustedIssuerUid;
use crate::domain::trust::{IssuerProfile, KeySource, Reuse};

pub(in crate::domain) const NOW: Timestamp = Timestamp::from_seconds(1_000);

pub(in crate::domain) fn issuer(n: usize) -> TrustedIssuer {
    TrustedIssuer {
        uid: TrustedIssuerUid(Uuid::from_u128(n as u128)),
        name: TrustedIssuerName::new(format!("issuer{n}")).unwrap(),
        description: String::new(),
        enabled: true,
        profile: IssuerProfile::Jwt,
        issuer: format!("https://issuer{n}.example"),
        keys: KeySource::Discovery,
        algorithms: BTreeSet::new(),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::ZERO,
        reuse: Reuse::WithinLife,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(in crate::domain) fn identity(n: usize, claims: &Value) -> OutsideIdentity {
    identity_at(&Catalog::default(), issuer(n), claims)
}

fn identity_at(catalog: &Catalog, issuer: TrustedIssuer, claims: &Value) -> OutsideIdentity {
    let subject = claims["sub"].as_str().unwrap().to_owned();
    let claims = Object::parse(claims.to_string().as_bytes()).unwrap();
    OutsideIdentity::new(catalog, Arc::new(issuer), subject, claims).unwrap()
}

/// One that calls itself as issuer 0 does.
fn namesake(n: usize) -> TrustedIssuer {
    TrustedIssuer { issuer: issuer(0).issuer, ..issuer(n) }
}

#[test]
fn a_token_of_ours_names_them_and_finds_them_again() {
    let catalog = Catalog::default().with_trust(vec![issuer(0), issuer(1)]);
    for subject in ["a", "a|b", "repo:o/r:ref:refs/heads/main", "ä"] {
        let identity = identity(1, &json!({ "sub": subject, "other": 1 }));
        assert_eq!(identity.sub(), format!("issuer1|{subject}"));
        let sub_id = json!({ "format": "iss_sub", "iss": "https://issuer1.example", "sub": subject });
        assert_eq!(serde_json::to_value(identity.sub_id()).unwrap(), sub_id, "RFC 9493 section 3.2.3");
        let again = OutsideIdentity::of_ours(&catalog, &identity.sub(), NOW, NOW).unwrap();
        assert_eq!((again.issuer.uid, again.subject.as_str()), (identity.issuer.uid, subject));
        assert_eq!(again.claims.get("sub"), Some(&json!(subject)));
        assert_eq!(again.claims.get("iss"), Some(&json!("https://issuer1.example")));
        assert_eq!(again.claims.get("other"), None, "no more is known of them");
        assert_eq!(issuer_in(&identity.sub()), "issuer1");
    }
}

#[test]
fn an_issuer_that_is_gone_anew_or_disabled_vouches_for_nobody() {
    let made = Timestamp::from_seconds(900);
    let disabled = TrustedIssuer { enabled: false, ..issuer(1) };
    let catalog = Catalog::default().with_trust(vec![issuer(0), disabled]);
    let of_ours = |sub: &str, made| OutsideIdentity::of_ours(&catalog, sub, made, NOW).map(|_| ());
    assert_eq!(of_ours("issuer0|a", NOW), Ok(()));
    assert!(of_ours("issuer0|a", made).unwrap_err().contains("another one of the same name"));
    assert!(of_ours("issuer1|a", NOW).unwrap_err().contains("disabled"));
    for gone in ["issuer2|a", "issuer0", "", "|a", "no name|a"] {
        assert!(of_ours(gone, NOW).unwrap_err().contains("gone"), "{gone}");
    }
}

#[test]
fn a_subject_fits_into_a_token_of_ours() {
    for bad in ["", "a\nb", &"x".repeat(501)] {
        let claims = Object::parse(b"{}").unwrap();
        let made = OutsideIdentity::new(&Catalog::default(), Arc::new(issuer(0)), bad.to_owned(), claims);
        assert!(made.is_err(), "{bad:?}");
    }
}

#[test]
fn their_act_is_in_the_issuers_words_and_ends_rfc8693_4_1() {
    let act = json!({ "sub": "robot", "act": { "sub": "human", "iss": "https://other.example" } });
    let nested = identity(0, &json!({ "sub": "a", "act": act })).act().unwrap().unwrap();
    assert_eq!(
        serde_json::to_value(&nested).unwrap(),
        json!({
            "sub": "issuer0|robot",
            "sub_id": { "format": "iss_sub", "iss": "https://issuer0.example", "sub": "robot" },
            "act": {
                "sub": "issuer0|human",
                "sub_id": { "format": "iss_sub", "iss": "https://other.example", "sub": "human" },
            },
        })
    );
    assert_eq!(nested.chain().filter_map(Act::client).count(), 0, "none of them is a client");
    assert_eq!(identity(0, &json!({ "sub": "a" })).act().unwrap(), None);
    let deep = (0..11).fold(json!({ "sub": "x" }), |act, _| json!({ "sub": "x", "act": act }));
    for bad in [json!("x"), json!({}), json!({ "sub": 1 }), json!({ "sub": "x", "iss": 1 }), deep] {
        assert!(identity(0, &json!({ "sub": "a", "act": bad })).act().is_err(), "{bad}");
    }
}

#[test]
fn their_may_act_means_somebody_of_their_issuer_unless_it_says_ours_rfc8693_4_4() {
    let catalog = Catalog::default().with_trust(vec![issuer(0), issuer(1)]);
    let may_act = |claim: Value| {
        let identity = identity_at(&catalog, issuer(0), &json!({ "sub": "a", "may_act": claim }));
        identity.may_act("https://us", &catalog)
    };
    let read = |claim| serde_json::to_value(may_act(claim).unwrap()).unwrap();
    let of = |n: usize| {
        let iss = format!("https://issuer{n}.example");
        let sub_id = json!({ "format": "iss_sub", "iss": iss, "sub": "b" });
        json!({ "sub": format!("issuer{n}|b"), "sub_id": sub_id })
    };
    assert_eq!(read(json!({ "sub": "b" })), of(0));
    assert_eq!(read(json!({ "sub": "b", "iss": "https://issuer0.example" })), of(0));
    assert_eq!(read(json!({ "sub": "b", "iss": "https://issuer1.example" })), of(1));
    assert_eq!(read(json!({ "sub": "b", "iss": "https://us" })), json!({ "sub": "b" }));
    assert!(may_act(json!("b")).is_err());
    let unknown = may_act(json!({ "sub": "b", "iss": "https://nobody.example" })).unwrap_err();
    assert!(unknown.private.contains("no trusted issuer is called so"), "{}", unknown.private);
    assert_eq!(identity(0, &json!({ "sub": "a" })).may_act("https://us", &catalog).unwrap(), None);
}

/// Clusters that all call themselves the same, and have a service account of one name each.
#[test]
fn of_issuers_of_one_name_everybody_is_told_apart() {
    let catalog = Catalog::default().with_trust(vec![issuer(0), namesake(1), issuer(2)]);
    let says = json!({ "sub": "pod", "may_act": { "sub": "robot" }, "act": { "sub": "human" } });
    let [first, second] = [issuer(0), namesake(1)].map(|issuer| identity_at(&catalog, issuer, &says));
    let opaque = |id: &str| SubId::Opaque { id: id.to_owned() };
    assert_eq!((first.sub_id(), second.sub_id()), (opaque("issuer0|pod"), opaque("issuer1|pod")));
    assert_eq!(second.act().unwrap().unwrap().sub_id, Some(opaque("issuer1|human")));
    let json = serde_json::to_value(second.sub_id()).unwrap();
    assert_eq!(json, json!({ "format": "opaque", "id": "issuer1|pod" }), "RFC 9493 section 3.2.7");

    // Whoever is meant is one of them.
    let robots =
        [issuer(0), namesake(1)].map(|issuer| identity_at(&catalog, issuer, &json!({ "sub": "robot" })));
    for (place, subject) in [first, second].iter().enumerate() {
        let may_act = subject.may_act("https://us", &catalog).unwrap().unwrap();
        let named = [0, 1].map(|robot: usize| robots[robot].is_named_by(&may_act));
        assert_eq!(named, [place == 0, place == 1], "{may_act:?}");
    }
    // By their common name another issuer means nobody that is known.
    let other = json!({ "sub": "x", "may_act": { "sub": "robot", "iss": issuer(0).issuer } });
    let refused = identity_at(&catalog, issuer(2), &other).may_act("https://us", &catalog).unwrap_err();
    assert!(refused.private.contains("several trusted issuers are called so"), "{}", refused.private);
    let again = OutsideIdentity::of_ours(&catalog, "issuer1|pod", NOW, NOW).unwrap();
    assert_eq!((again.issuer.uid, again.sub_id()), (issuer(1).uid, opaque("issuer1|pod")));
    // One that is disabled may be enabled again: nobody becomes another by that.
    let disabled = TrustedIssuer { enabled: false, ..namesake(1) };
    let catalog = Catalog::default().with_trust(vec![issuer(0), disabled]);
    assert_eq!(identity_at(&catalog, issuer(0), &says).sub_id(), opaque("issuer0|pod"));
}
