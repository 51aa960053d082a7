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
    let subject = claims["sub"].as_str().unwrap().to_owned();
    let claims = Object::parse(claims.to_string().as_bytes()).unwrap();
    OutsideIdentity::new(Arc::new(issuer(n)), subject, claims).unwrap()
}

fn known(catalog: &Catalog) -> impl FnOnce(&TrustedIssuerName) -> Option<Arc<TrustedIssuer>> {
    move |name: &TrustedIssuerName| catalog.trusted_issuer_named(name).cloned()
}

#[test]
fn a_token_of_ours_names_them_and_finds_them_again() {
    let catalog = Catalog::default().with_trust(vec![issuer(0), issuer(1)]);
    for subject in ["a", "a|b", "repo:o/r:ref:refs/heads/main", "ä"] {
        let identity = identity(1, &json!({ "sub": subject, "other": 1 }));
        assert_eq!(identity.sub(), format!("issuer1|{subject}"));
        let sub_id = json!({ "format": "iss_sub", "iss": "https://issuer1.example", "sub": subject });
        assert_eq!(serde_json::to_value(identity.sub_id()).unwrap(), sub_id, "RFC 9493 section 3.2.3");
        let again = OutsideIdentity::of_ours(known(&catalog), &identity.sub(), NOW, NOW).unwrap();
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
    let of_ours = |sub: &str, made| OutsideIdentity::of_ours(known(&catalog), sub, made, NOW).map(|_| ());
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
        assert!(OutsideIdentity::new(Arc::new(issuer(0)), bad.to_owned(), claims).is_err(), "{bad:?}");
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
    let may_act = |claim: Value| identity(0, &json!({ "sub": "a", "may_act": claim })).may_act("https://us");
    let read = |claim| may_act(claim).unwrap().map(|may_act| (may_act.sub, may_act.iss));
    assert_eq!(
        read(json!({ "sub": "b" })),
        Some(("b".to_owned(), Some("https://issuer0.example".to_owned())))
    );
    assert_eq!(read(json!({ "sub": "b", "iss": "https://us" })), Some(("b".to_owned(), None)));
    assert!(may_act(json!("b")).is_err());
    assert_eq!(identity(0, &json!({ "sub": "a" })).may_act("https://us").unwrap(), None);
}
