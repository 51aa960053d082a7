//! Client assertions as they are read before anything of them is believed (RFC 7523, RFC 10070).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::jose::ForeignKey;
use jeton::oauth::client_auth::assertion::Assertion;
use serde_json::Value;

/// A key that signs nothing in here, so nothing may seem to be signed with it.
const KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

pub(crate) fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        read(text);
        // A key is read with the same care.
        let _ = (ForeignKey::from_jwk(text), ForeignKey::from_pem(text));
    }
    // The same, with the parts in plain text: header, claims and signature in a line each.
    let mut parts = input.splitn(3, |byte| *byte == b'\n').map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut part = || parts.next().unwrap_or_default();
    read(&format!("{}.{}.{}", part(), part(), part()));
}

fn read(text: &str) {
    let Ok(assertion) = Assertion::read(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "an assertion has three parts");
    let object = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
        serde_json::from_slice(&bytes).expect("a part is JSON")
    };
    let (header, claims) = (object(parts[0]), object(parts[1]));
    // Another reader sees the same client, and no key in the header.
    assert_eq!(claims["sub"], assertion.client_id.as_str());
    for name in ["jwk", "jku", "x5c", "x5u", "crit"] {
        assert!(header.get(name).is_none(), "{name} was accepted");
    }
    let key = Arc::new(ForeignKey::from_jwk(KEY).expect("a key"));
    assert!(!assertion.is_signed_with(&key), "nobody has signed it");
    let _ = assertion.choose(&[key], |key| key);
}
