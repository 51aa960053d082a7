//! JWTs as our own tokens are read: the compact form, the header, the claims (RFC 7515, RFC 7519, RFC 9068).
//!
//! And as client assertions are (RFC 7523 §2.2), by whichever method reads them. Another reader of claims is a call
//! beside [`claims`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::domain::claims::AccessTokenClaims;
use jeton::jose::{PublicJwk, TokenType, Unverified, VerifyingKey};
use jeton::oauth::form::Form;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

/// A key that signs nothing in here, so nothing may seem to be signed with it.
const KEY: &str = r#"{"use":"sig","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","kty":"OKP",
    "crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// A header as another reader sees it. What stands in members that nobody asks for need not be a number that can be
/// computed with.
struct Header(BTreeMap<String, Box<RawValue>>);

impl Header {
    fn read(json: &[u8]) -> Self {
        Self(serde_json::from_slice(json).expect("a header is a JSON object"))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|member| serde_json::from_str(member.get()).ok())
    }
}

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
    let header = Header::read(&header);
    assert_eq!(token.key_id(), header.text("kid").as_deref());
    assert!(header.text("alg").is_some() && !header.0.contains_key("crit"), "an unfit header was accepted");
    if token.is(TokenType::AccessToken) {
        let typ = header.text("typ").expect("a type is a text").to_ascii_lowercase();
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
    let part = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
    let parts: Vec<&str> = text.split('.').collect();
    let claims: Value = serde_json::from_slice(&part(parts[1])).expect("a payload is JSON");
    assert_eq!(claims["sub"], client_id.as_str());
    let typ = Header::read(&part(parts[0])).text("typ").unwrap_or_default().to_ascii_lowercase();
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
