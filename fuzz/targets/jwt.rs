//! JWTs as our own tokens are read: the compact form, the header, the claims (RFC 7515, RFC 7519, RFC 9068).
//!
//! And as client assertions are (RFC 7523 §2.2), by whichever method reads them. Another reader of claims is a call
//! beside [`claims`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::domain::claims::AccessTokenClaims;
use jeton::jose::{PublicJwk, TokenType, Unverified, VerifyingKey};
use jeton::oauth::form::Form;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded::Serializer;

/// A key that signs nothing in here, so nothing may seem to be signed with it.
const KEY: &str = r#"{"use":"sig","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","kty":"OKP",
    "crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

pub(crate) fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        read(text);
    }
    // The same, with the parts in plain text: header, claims and signature in a line each.
    let mut parts = input.splitn(3, |byte| *byte == b'\n').map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut part = || parts.next().unwrap_or_default();
    read(&format!("{}.{}.{}", part(), part(), part()));
}

fn read(text: &str) {
    as_assertion(text);
    let Ok(token) = Unverified::parse(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWT has three parts");
    // What is accepted as a header is one object to another reader too, and says the same there.
    let header = URL_SAFE_NO_PAD.decode(parts[0]).expect("a header is base64url");
    let header: Value = serde_json::from_slice(&header).expect("a header is JSON");
    assert_eq!(token.key_id(), header["kid"].as_str());
    assert!(header["alg"].is_string() && header.get("crit").is_none(), "an unfit header was accepted");
    if token.is(TokenType::AccessToken) {
        let typ = header["typ"].as_str().expect("a type is a text").to_ascii_lowercase();
        assert!(typ == "at+jwt" || typ == "application/at+jwt", "'{typ}' is no access token");
        assert!(!token.is(TokenType::DpopProof), "a token has one type");
    }
    let key: PublicJwk = serde_json::from_str(KEY).expect("a JWK");
    let key = VerifyingKey::from_jwk(&key).expect("a key");
    assert!(!token.is_signed_by(&key) && token.verify::<Value>(&key).is_err(), "nobody has signed it");
    claims::<AccessTokenClaims>(&token);
}

/// A client that an assertion presents is the one that it says it is of, and it is no other kind of token.
fn as_assertion(text: &str) {
    let mut body = Serializer::new(String::new());
    body.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    body.append_pair("client_assertion", text);
    let form = Form::parse(body.finish().as_bytes()).expect("a form");
    let Ok(presented) = super::present(&[], &form) else { return };
    // What somebody else says about a client is looked at once it is known who said it.
    let Some(client_id) = presented.client_id else { return };
    let part = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
        serde_json::from_slice(&bytes).expect("a part is JSON")
    };
    let parts: Vec<&str> = text.split('.').collect();
    let (header, claims) = (part(parts[0]), part(parts[1]));
    assert_eq!(claims["sub"], client_id.as_str());
    let typ = header["typ"].as_str().unwrap_or_default().to_ascii_lowercase();
    assert!(
        !["at+jwt", "dpop+jwt"].contains(&typ.trim_start_matches("application/")),
        "'{typ}' is no assertion"
    );
}

/// Claims that can be read stay the same when they are written again.
fn claims<T: DeserializeOwned + Serialize>(token: &Unverified<'_>) {
    let Some(claims) = token.claimed::<T>() else { return };
    let written = serde_json::to_value(&claims).expect("claims can be written");
    let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("claims can be written"), written);
}
