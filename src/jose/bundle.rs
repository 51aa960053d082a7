//! SPIFFE bundles (SPIFFE Trust Domain and Bundle §4): a JWK Set in which every key says what sort of document it is for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use serde_json::value::RawValue;

use super::foreign::MOST;
use super::{ForeignKey, Object};

/// What the identities of a trust domain are proven with.
#[derive(Debug, Default)]
pub struct Bundle {
    /// What JWT-SVIDs are signed with. Each has the `kid` that the bundle gives it.
    pub keys: Vec<ForeignKey>,
    /// The certificates that X.509-SVIDs lead to, in DER, as they stand in the bundle.
    pub authorities: Vec<Vec<u8>>,
    /// Grows with every change, as far as the publisher says.
    pub sequence: Option<u64>,
    /// How often its publisher wants it to be asked for.
    pub refresh_hint: Option<Duration>,
}

/// Reads one. Entries of unknown types and uses, and those without a use, are left out (§4.1.3, §4.2.2); so are those
/// that cannot be used. `None` when it is no JWK Set at all.
#[must_use]
pub fn read_bundle(json: &[u8]) -> Option<Bundle> {
    #[derive(serde::Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
        spiffe_sequence: Option<Value>,
        spiffe_refresh_hint: Option<Value>,
    }
    // RFC 8259 §8.1, also where nobody looks: what serde skips it does not check.
    let set: Set<'_> = serde_json::from_str(std::str::from_utf8(json).ok()?).ok()?;
    let whole = |number: Option<Value>| number.and_then(|number| number.as_u64());
    let mut bundle = Bundle {
        sequence: whole(set.spiffe_sequence),
        refresh_hint: whole(set.spiffe_refresh_hint).map(Duration::from_secs),
        ..Bundle::default()
    };
    let entries = set.keys.into_iter().take(MOST).filter_map(|entry| Object::parse(entry.get().as_bytes()));
    for entry in entries {
        match entry.get("use").and_then(Value::as_str) {
            // Without `kid` no JWT-SVID could name it (JWT-SVID §6.1).
            Some("jwt-svid") if entry.get("kid").is_some() => {
                bundle.keys.extend(ForeignKey::of_use(entry, "jwt-svid"));
            }
            Some("x509-svid") => bundle.authorities.extend(authority(&entry)),
            _ => {}
        }
    }
    Some(bundle)
}

/// The first certificate of `x5c`; the others are ignored (X509-SVID §6.2).
fn authority(entry: &Object) -> Option<Vec<u8>> {
    let first = entry.get("x5c")?.as_array()?.first()?.as_str()?;
    BASE64.decode(first).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"Y5yau0DGWZoFSkwOoFf2-hcNQDRVm_9KFnXOVkUbi08","y":"nErdNp6vYqg-aQJqMXzvkc3dRk2JFRQG9UV7M03lgp0"}"#;

    fn entry(more: &Value) -> Value {
        let mut entry: Value = serde_json::from_str(EC).unwrap();
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    }

    fn read(keys: &[Value], more: &Value) -> Bundle {
        let mut set = json!({ "keys": keys });
        for (name, value) in more.as_object().unwrap() {
            set[name] = value.clone();
        }
        read_bundle(set.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn keys_count_for_what_their_use_says() {
        let bundle = read(
            &[
                entry(&json!({ "use": "jwt-svid", "kid": "a" })),
                entry(&json!({ "use": "x509-svid", "x5c": ["AQID", "BAUG"] })),
                // None of these: no use, another, another in its letters, none that can be named, nothing in it.
                entry(&json!({ "kid": "b" })),
                entry(&json!({ "use": "sig", "kid": "c" })),
                entry(&json!({ "use": "JWT-SVID", "kid": "d" })),
                entry(&json!({ "use": "wit-svid", "kid": "e" })),
                entry(&json!({ "use": "jwt-svid" })),
                entry(&json!({ "use": "jwt-svid", "kid": "f", "d": "AAAA" })),
                entry(&json!({ "use": "x509-svid" })),
                entry(&json!({ "use": "x509-svid", "x5c": [] })),
                entry(&json!({ "use": "x509-svid", "x5c": "AQID" })),
                entry(&json!({ "use": "x509-svid", "x5c": ["_-"] })),
                json!({ "kty": "new", "use": "jwt-svid", "kid": "g" }),
                json!("nonsense"),
            ],
            &json!({ "spiffe_sequence": 7, "spiffe_refresh_hint": 300, "new": {} }),
        );
        assert_eq!(bundle.keys.iter().map(ForeignKey::kid).collect::<Vec<_>>(), ["a"]);
        assert_eq!(bundle.authorities, [[1, 2, 3]]);
        assert_eq!((bundle.sequence, bundle.refresh_hint), (Some(7), Some(Duration::from_mins(5))));
    }

    #[test]
    fn what_it_says_beside_its_keys_may_be_missing_or_odd() {
        for odd in [json!({}), json!({ "spiffe_sequence": -1, "spiffe_refresh_hint": "soon" })] {
            let bundle = read(&[], &odd);
            assert_eq!((bundle.sequence, bundle.refresh_hint), (None, None));
        }
        for none in ["{}", "[]", "", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(read_bundle(none.as_bytes()).is_none(), "{none}");
        }
    }

    /// Keys without a use are ignored (SPIFFE Trust Domain and Bundle §4.2.2).
    #[test]
    fn a_jwk_set_without_uses_has_nothing_for_spiffe() {
        let plain = read(&[entry(&json!({ "kid": "a", "alg": "ES256" }))], &json!({}));
        assert!(plain.keys.is_empty() && plain.authorities.is_empty());
    }
}
