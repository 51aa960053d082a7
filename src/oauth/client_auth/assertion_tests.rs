use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::binding::TokenBinding;
use crate::domain::client::ClientKind;
use crate::domain::ids::ClientUid;
use crate::jose::{RsaBits, SigningKey};

const NOW: i64 = 1_795_334_400;
const ISSUER: &str = "https://id.example.com";

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::Es256, RsaBits::default()).unwrap());

fn client() -> Client {
    let at = Timestamp::from_seconds(0);
    Client {
        uid: ClientUid(uuid::Uuid::nil()),
        client_id: ClientId::new("billing").unwrap(),
        description: String::new(),
        kind: ClientKind::Service,
        owner: None,
        labels: std::collections::BTreeMap::new(),
        enabled: true,
        expires_at: None,
        default_resource_server: None,
        grant_types: std::collections::BTreeSet::new(),
        auth_methods: std::collections::BTreeSet::new(),
        allowed_networks: Vec::new(),
        may_act: None,
        token_binding: TokenBinding::Optional,
        jwks_uri: None,
        assertion_type_required: false,
        legacy_assertion_audience: false,
        certificate_subject: None,
        may_rotate_own_secrets: false,
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

fn signed(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let signature = KEY.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", BASE64URL.encode(signature))
}

fn claims() -> Value {
    json!({ "iss": "billing", "sub": "billing", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "a" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().shift_remove(name);
    claims
}

fn judged_by(client: &Client, header: &str, claims: &Value) -> Result<Held, Reason> {
    Assertion::read(&signed(header, &claims.to_string()))?.judge(&Expected {
        issuer: ISSUER,
        token_endpoint: "https://id.example.com/oauth2/token",
        client,
        max_lifetime: Duration::from_hours(1),
        now: Timestamp::from_seconds(NOW),
    })
}

fn judged(claims: &Value) -> Result<Held, Reason> {
    judged_by(&client(), r#"{"alg":"ES256"}"#, claims)
}

#[test]
fn what_it_must_say_rfc7523_3() {
    for good in [
        claims(),
        with("aud", json!([ISSUER])),
        without("iat"),
        with("exp", json!(NOW + 1)),
        with("exp", json!(NOW + 3_600)),
        with("exp", json!(NOW + 3_630)),
        with("exp", json!(f64::from(60) + 1_795_334_400.5)),
        with("iat", json!(NOW + 30)),
        with("nbf", json!(NOW + 30)),
        with("nbf", json!(NOW - 5_000)),
        with("jti", json!("x".repeat(256))),
        with("extra", json!({"a": [1]})),
    ] {
        assert!(judged(&good).is_ok(), "{good}: {:?}", judged(&good));
    }
    for (bad, reason) in [
        (without("iss"), "no iss"),
        (without("sub"), "no sub"),
        (without("aud"), "no aud"),
        (without("exp"), "no exp"),
        (without("jti"), "no jti"),
        (with("iss", json!("other")), "iss is not its sub"),
        (with("iss", json!(5)), "iss is not a text"),
        (with("sub", json!(["billing"])), "no sub that is a text"),
        (with("sub", json!("a b")), "no client_id"),
        (with("exp", json!(NOW)), "has ended"),
        (with("exp", json!(NOW - 10)), "has ended"),
        (with("exp", json!(NOW + 3_631)), "over 3600 s ahead"),
        (with("exp", json!((NOW + 60).to_string())), "exp is no time"),
        (with("exp", json!(1e300)), "exp is no time"),
        (with("exp", json!(-5)), "exp is no time"),
        (with("exp", json!(null)), "exp is no time"),
        (with("iat", json!("now")), "iat is no time"),
        (with("iat", json!(NOW + 31)), "iat is over 30 s ahead"),
        (with("nbf", json!(NOW + 31)), "nbf is over 30 s ahead"),
        (with("nbf", json!(true)), "nbf is no time"),
        (with("jti", json!("")), "jti has not"),
        (with("jti", json!("x".repeat(257))), "jti has not"),
        (with("jti", json!(7)), "jti is not a text"),
    ] {
        let refused = judged(&bad).unwrap_err();
        assert!(refused.contains(reason), "{bad}: {refused}");
    }
}

#[test]
fn the_issuer_is_its_only_audience_rfc10070() {
    let endpoint = "https://id.example.com/oauth2/token";
    for bad in [
        json!(endpoint),
        json!([ISSUER, endpoint]),
        json!([ISSUER, ISSUER]),
        json!([ISSUER, "https://other.example"]),
        json!([]),
        json!(""),
        json!("https://id.example.com/"),
        json!("https://ID.example.com"),
        json!([[ISSUER]]),
        json!({"a": ISSUER}),
        json!(null),
    ] {
        assert!(judged(&with("aud", bad.clone())).is_err(), "{bad}");
    }
    let legacy = Client { legacy_assertion_audience: true, ..client() };
    let judged = |aud: Value| judged_by(&legacy, r#"{"alg":"ES256"}"#, &with("aud", aud));
    assert!(!judged(json!(ISSUER)).unwrap().legacy_audience, "the switch was not needed");
    for old in [json!(endpoint), json!([endpoint]), json!([ISSUER, endpoint])] {
        assert!(judged(old.clone()).unwrap().legacy_audience, "{old}");
    }
    for bad in
        [json!([endpoint, "https://other.example"]), json!([]), json!("https://id.example.com/oauth2/revoke")]
    {
        assert!(judged(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn the_type_of_another_token_is_refused_rfc8725_3_11() {
    let strict = Client { assertion_type_required: true, ..client() };
    for (typ, plain, required) in [
        ("", true, false),
        (r#","typ":"JWT""#, true, false),
        (r#","typ":"jwt""#, true, false),
        (r#","typ":"application/jwt""#, true, false),
        (r#","typ":"client-authentication+jwt""#, true, true),
        (r#","typ":"Application/Client-Authentication+JWT""#, true, true),
        (r#","typ":"at+jwt""#, false, false),
        (r#","typ":"dpop+jwt""#, false, false),
        (r#","typ":"""#, false, false),
        (r#","typ":"client-authentication""#, false, false),
        (r#","typ":5"#, false, false),
        (r#","typ":null"#, false, false),
    ] {
        let header = format!(r#"{{"alg":"ES256"{typ}}}"#);
        assert_eq!(judged_by(&client(), &header, &claims()).is_ok(), plain, "{typ}");
        assert_eq!(judged_by(&strict, &header, &claims()).is_ok(), required, "{typ}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_not_read() {
    let good = signed(r#"{"alg":"ES256"}"#, &claims().to_string());
    assert!(Assertion::read(&good).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for bad in [
        String::new(),
        "..".to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{}", parts[2]),
        parts[..2].join("."),
        format!(" {good}"),
        format!("{good}="),
        json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string(),
        json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]})
            .to_string(),
        "x".repeat(9_000),
    ] {
        let outcome = Assertion::read(&bad);
        assert!(outcome.is_err() || !outcome.unwrap().is_signed_with(&public()), "{bad}");
    }
    for nested in [r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":1}}"#, r#"[1,{"a":null,"b":[],"a":null}]"#] {
        let claims = claims().to_string().replacen('{', &format!(r#"{{"nested":{nested},"#), 1);
        assert!(Assertion::read(&signed(r#"{"alg":"ES256"}"#, &claims)).is_err(), "{nested}");
    }
    let nested = with("nested", json!({ "a": [null, true, -1, 1.5, "x", { "a": {} }], "b": { "a": 1 } }));
    assert!(Assertion::read(&signed(r#"{"alg":"ES256"}"#, &nested.to_string())).is_ok());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"ES512"}"#,
        r#"{"alg":"ML-DSA-65"}"#,
        "{}",
        r#"{"alg":"ES256","crit":["exp"]}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"ES256","x":1,"x":1}"#,
        r#"{"alg":"ES256","jwk":{}}"#,
        r#"{"alg":"ES256","jku":"https://a.example"}"#,
        r#"{"alg":"ES256","x5u":"https://a.example"}"#,
        r#"{"alg":"ES256","x5c":["AA"]}"#,
        r#"["ES256"]"#,
        "nonsense",
    ] {
        assert!(Assertion::read(&signed(header, &claims().to_string())).is_err(), "{header}");
    }
    for payload in [
        r#"{"sub":"billing","sub":"other"}"#,
        r#"{"sub":"billing","iss":"a","iss":"b"}"#,
        r#"["sub"]"#,
        "",
        "sub",
        r#"{"sub":"billing"}x"#,
    ] {
        assert!(Assertion::read(&signed(r#"{"alg":"ES256"}"#, payload)).is_err(), "{payload}");
    }
}

fn public() -> ForeignKey {
    ForeignKey::from_jwk(&serde_json::to_string(&KEY.public_jwk()).unwrap()).unwrap()
}

fn keys(kids: &[Option<&str>]) -> Vec<Arc<ForeignKey>> {
    let mut jwk = serde_json::to_value(KEY.public_jwk()).unwrap();
    kids.iter()
        .map(|kid| {
            jwk["kid"] = json!(kid.unwrap_or("unnamed"));
            Arc::new(ForeignKey::from_jwk(&jwk.to_string()).unwrap())
        })
        .collect()
}

#[test]
fn a_kid_names_one_key_and_without_one_only_one_may_fit() {
    let choose = |header: &str, keys: &[Arc<ForeignKey>]| {
        Assertion::read(&signed(header, &claims().to_string())).unwrap().choose(keys, |key| key)
    };
    let (two, one) = (keys(&[Some("a"), Some("b")]), keys(&[Some("a")]));
    assert_eq!(choose(r#"{"alg":"ES256","kid":"b"}"#, &two), Ok(1));
    assert!(choose(r#"{"alg":"ES256","kid":"c"}"#, &two).is_err());
    assert!(choose(r#"{"alg":"ES256","kid":"B"}"#, &two).is_err());
    assert_eq!(choose(r#"{"alg":"ES256"}"#, &one), Ok(0));
    assert!(choose(r#"{"alg":"ES256"}"#, &two).is_err(), "two fit");
    assert!(choose(r#"{"alg":"ES256"}"#, &[]).is_err());
    assert!(choose(r#"{"alg":"ES256","kid":"a"}"#, &keys(&[Some("a"), Some("a")])).is_err());
    // The algorithm is the key's (RFC 8725 §3.1).
    for other in ["ES384", "RS256", "PS256", "EdDSA", "Ed25519"] {
        assert!(choose(&format!(r#"{{"alg":"{other}","kid":"a"}}"#), &one).is_err(), "{other}");
    }
}

#[test]
fn a_jti_counts_for_its_client_and_ends_with_the_assertion() {
    let held = judged(&claims()).unwrap();
    assert_eq!(held.used.expires_at, Timestamp::from_seconds(NOW + 60).plus(REMEMBERED));
    let other = Client { client_id: ClientId::new("b").unwrap(), ..client() };
    let mut of_other = with("sub", json!("b"));
    of_other["iss"] = json!("b");
    let of_other = judged_by(&other, r#"{"alg":"ES256"}"#, &of_other).unwrap();
    assert_ne!(held.used.id, of_other.used.id);
    // Neither does a part of the id pass for a part of the jti.
    let dotted = Client { client_id: ClientId::new("b.a").unwrap(), ..client() };
    let id = |client: &Client, jti: &str| {
        let name = client.client_id.as_str();
        let claims = json!({ "iss": name, "sub": name, "aud": ISSUER, "exp": NOW + 60, "jti": jti });
        judged_by(client, r#"{"alg":"ES256"}"#, &claims).unwrap().used.id
    };
    assert_ne!(id(&dotted, "c"), id(&other, "a.c"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}", header in "\\PC{0,40}", payload in "\\PC{0,60}") {
        let _ = Assertion::read(&text);
        let _ = Assertion::read(&format!("{}.{}.AA", BASE64URL.encode(&header), BASE64URL.encode(&payload)));
        let payload = format!(r#"{{"sub":"billing","exp":{payload}}}"#);
        if let Ok(assertion) = Assertion::read(&signed(r#"{"alg":"ES256"}"#, &payload)) {
            let _ = assertion.judge(&Expected {
                issuer: ISSUER, token_endpoint: "", client: &client(), max_lifetime: Duration::ZERO,
                now: Timestamp::from_seconds(NOW),
            });
        }
    }

    #[test]
    fn a_changed_assertion_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let good = signed(r#"{"alg":"ES256"}"#, &claims().to_string());
        let at = at.index(good.len());
        let mut wrong = good.clone();
        wrong.replace_range(at..=at, &to);
        let accepted = Assertion::read(&wrong).is_ok_and(|wrong| wrong.is_signed_with(&public()));
        prop_assert_eq!(accepted, wrong == good);
    }
}
