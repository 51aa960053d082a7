//! DPoP proofs (RFC 9449 §4.3): the header as somebody sends it, and claims that are signed by their key.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::domain::time::Timestamp;
use jeton::jose::{Algorithm, RsaBits, SigningKey};
use jeton::oauth::dpop::{Dpop, Expected, Proof};
use jeton::runtime::nonces::Nonces;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A key that is there to sign whatever claims come.
static KEY: LazyLock<(SigningKey, String)> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::EdDsa, RsaBits::default()).expect("a key");
    let jwk = serde_json::to_value(key.public_jwk()).expect("a JWK");
    let header =
        json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}});
    (key, URL_SAFE_NO_PAD.encode(header.to_string()))
});

const URL: &str = "https://id.example.com/oauth2/token";
const NOW: i64 = 1_795_334_400;

pub(crate) fn run(input: &[u8]) {
    let _ = check(input);
    // The same in plain text: header and claims in a line each. Nobody has signed it.
    let mut parts = input.splitn(2, |byte| *byte == b'\n').map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut part = || parts.next().unwrap_or_default();
    let unsigned = format!("{}.{}.{}", part(), part(), URL_SAFE_NO_PAD.encode([7; 64]));
    assert_eq!(check(unsigned.as_bytes()), None, "nobody has signed it");
    if input.first() == Some(&b'{') {
        signed(input);
    }
}

/// The signature holds, so the claims are looked at. What is accepted says all that it must say.
fn signed(claims: &[u8]) {
    let (key, header) = &*KEY;
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(message.as_bytes()).expect("a signature");
    let Some(proof) = check(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).as_bytes()) else {
        return;
    };
    // What nobody asks for need not be a number that can be computed with.
    let claims: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(claims).expect("accepted claims are JSON");
    let claim = |name: &str| serde_json::from_str(claims[name].get()).unwrap_or(Value::Null);
    assert_eq!(claim("htm"), "POST");
    assert!((NOW - 60..=NOW + 10).contains(&claim("iat").as_i64().expect("a time")), "it is of now");
    assert!(claim("jti").as_str().is_some_and(|jti| !jti.is_empty()), "it has an identifier");
    let htu = claim("htu").as_str().expect("a URL").to_ascii_lowercase();
    assert!(htu.starts_with("https://") && !htu.contains('@'), "'{htu}' is another's");
    assert_eq!(proof.jkt.len(), 43, "a SHA-256 thumbprint");
}

fn check(header: &[u8]) -> Option<Proof> {
    let dpop = Dpop::new(Nonces::new(&[7; 32]).into(), false);
    let now = Timestamp::from_seconds(NOW);
    let expected = Expected { method: "POST", url: URL, access_token: None, now };
    dpop.check(&[header], &expected).ok().flatten()
}
