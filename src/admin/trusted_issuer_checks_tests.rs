use serde_json::json;

use super::*;

const ES256: &str = r#"{"kty":"EC","crv":"P-256","x":"Y5yau0DGWZoFSkwOoFf2-hcNQDRVm_9KFnXOVkUbi08","y":"nErdNp6vYqg-aQJqMXzvkc3dRk2JFRQG9UV7M03lgp0"}"#;

fn key(more: &Value) -> Value {
    let mut key: Value = serde_json::from_str(ES256).unwrap();
    key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    key
}

fn refused(profile: IssuerProfile, issuer: &str, keys: KeysFrom) -> Vec<String> {
    let outside = Outside::default();
    let mut checks = Checks { outside: &outside, own: Some("https://own.example"), errors: Vec::new() };
    let algorithms = ForeignKey::ALGORITHMS.iter().copied().collect();
    checks.issuer(profile, issuer);
    let source = checks.keys((profile, issuer), keys, &algorithms);
    let fields: Vec<_> = checks.errors.iter().map(|error| error.field.to_string()).collect();
    assert!(source.is_some() || !fields.is_empty());
    fields
}

#[test]
fn keys_are_where_the_profile_can_have_them() {
    let (jwt, spiffe) = (IssuerProfile::Jwt, IssuerProfile::Spiffe);
    let (url, domain) = ("https://a.example", "spiffe://example.org");
    let uri = |from| KeysFrom::at(from, "https://a.example/k".to_owned());
    for (profile, issuer, keys, wrong) in [
        (jwt, url, KeysFrom::discovery(), vec![]),
        (jwt, url, uri(KeyPlace::JwksUri), vec![]),
        (jwt, "kubernetes/serviceaccount", uri(KeyPlace::JwksUri), vec![]),
        (jwt, "kubernetes/serviceaccount", KeysFrom::discovery(), vec!["issuer"]),
        (jwt, "http://a.example", KeysFrom::discovery(), vec!["issuer"]),
        (jwt, "https://10.0.0.1", KeysFrom::discovery(), vec!["issuer"]),
        (jwt, url, uri(KeyPlace::BundleEndpoint), vec!["keys.from"]),
        (jwt, url, KeysFrom::file("a.json".to_owned()), vec!["keys.from"]),
        (jwt, url, uri(KeyPlace::Discovery), vec!["keys.uri"]),
        (jwt, url, KeysFrom { from: KeyPlace::JwksUri, ..KeysFrom::discovery() }, vec!["keys.uri"]),
        (jwt, url, KeysFrom::at(KeyPlace::JwksUri, "http://a.example/k".to_owned()), vec!["keys.uri"]),
        (jwt, "https://own.example/", uri(KeyPlace::JwksUri), vec!["issuer"]),
        (spiffe, domain, uri(KeyPlace::BundleEndpoint), vec![]),
        (spiffe, domain, KeysFrom::file("example.org.json".to_owned()), vec![]),
        (spiffe, domain, KeysFrom::discovery(), vec!["keys.from"]),
        (spiffe, domain, uri(KeyPlace::JwksUri), vec!["keys.from"]),
    ] {
        assert_eq!(refused(profile, issuer, keys), wrong, "{issuer}");
    }
    for issuer in ["spiffe://", "spiffe://a/b", "spiffe://A.example", "spiffe://a:1", "https://a.example"] {
        assert_eq!(refused(spiffe, issuer, uri(KeyPlace::BundleEndpoint)), ["issuer"], "{issuer}");
    }
}

#[test]
fn keys_that_are_registered_are_public_and_some_can_be_used() {
    let algorithms = BTreeSet::from([Algorithm::Es256]);
    let check = |profile, set: Value| check_set(profile, &set, &algorithms);
    let (jwt, spiffe) = (IssuerProfile::Jwt, IssuerProfile::Spiffe);
    assert!(check(jwt, json!({ "keys": [key(&json!({})), { "kty": "new" }] })).is_ok());
    assert!(check(spiffe, json!({ "keys": [key(&json!({ "use": "jwt-svid", "kid": "k" }))] })).is_ok());
    let authority = key(&json!({ "use": "x509-svid", "x5c": ["AAAA"] }));
    assert!(check(spiffe, json!({ "keys": [authority] })).is_ok());
    let private = key(&json!({ "d": "c2VjcmV0" }));
    let bundled = key(&json!({ "use": "x509-svid", "x5c": ["AAAA"], "d": "c2VjcmV0" }));
    let large = json!({ "keys": [key(&json!({})), { "x": "y".repeat(LARGEST_SET) }] });
    for (profile, set, said) in [
        (jwt, json!({ "keys": [key(&json!({})), private] }), "key 2 holds a private"),
        (jwt, json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }), "private or a shared"),
        (spiffe, json!({ "keys": [bundled] }), "private"),
        (spiffe, json!({ "keys": [key(&json!({}))] }), "no key of use jwt-svid"),
        (jwt, json!({ "keys": [] }), "no key for these algorithms"),
        (jwt, json!({ "keys": [key(&json!({ "use": "enc" }))] }), "no key that can be used"),
        (jwt, json!([]), "no JWK Set"),
        (jwt, json!({ "keys": {} }), "no JWK Set"),
        (jwt, large, "over 64 KiB"),
    ] {
        let error = check(profile, set).unwrap_err();
        assert!(error.problem.contains(said), "{error}");
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
    let other = BTreeSet::from([Algorithm::Rs256]);
    assert!(check_set(jwt, &json!({ "keys": [key(&json!({}))] }), &other).is_err());
}
