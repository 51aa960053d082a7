//! Keys, tokens and JWKs of every algorithm together.
//!
//! The keys are made once: an RSA key takes up to a second.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A key of each algorithm, the RSA ones of 2048 bits.
pub(super) static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    Algorithm::ALL
        .iter()
        .map(|algorithm| SigningKey::generate(*algorithm, RsaBits::Rsa2048).unwrap())
        .collect()
});

fn public(key: &SigningKey) -> VerifyingKey {
    VerifyingKey::from_jwk(&key.public_jwk()).unwrap()
}

fn accepted(token: &str, key: &VerifyingKey) -> bool {
    Unverified::parse(token).and_then(|unverified| unverified.verify::<Value>(key)).is_ok()
}

/// The token with another character at this place.
fn changed(token: &str, at: usize) -> String {
    let mut wrong = token.as_bytes().to_vec();
    wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(wrong).unwrap()
}

fn signed_by_its_stored_form(key: &SigningKey) {
    let stored = SigningKey::from_pkcs8(key.algorithm(), &key.to_pkcs8().unwrap()).unwrap();
    assert_eq!(stored.public_jwk(), key.public_jwk());
    assert_eq!(stored.to_pkcs8().unwrap(), key.to_pkcs8().unwrap());
    let token = sign(TokenType::AccessToken, "k", &stored, &json!({"sub": "a"})).unwrap();
    let unverified = Unverified::parse(&token).unwrap();
    assert_eq!(unverified.key_id(), Some("k"));
    assert!(unverified.is(TokenType::AccessToken));
    assert!(!unverified.is(TokenType::Jwt));
    assert_eq!(unverified.verify::<Value>(&public(key)).unwrap()["sub"], "a");
}

#[test]
fn a_stored_key_signs_what_its_public_part_verifies() {
    for (key, algorithm) in KEYS.iter().zip(Algorithm::ALL) {
        assert_eq!(key.algorithm(), *algorithm);
        signed_by_its_stored_form(key);
    }
}

#[test]
fn rsa_keys_of_every_length_work_with_both_paddings() {
    for bits in [RsaBits::Rsa3072, RsaBits::Rsa4096] {
        let key = SigningKey::generate(Algorithm::Rs256, bits).unwrap();
        let pss = SigningKey::from_pkcs8(Algorithm::Ps256, &key.to_pkcs8().unwrap()).unwrap();
        for key in [&key, &pss] {
            assert_eq!(key.sign(b"").unwrap().len(), usize::from(bits.bits()) / 8);
            signed_by_its_stored_form(key);
        }
        assert!(!accepted(&sign(TokenType::Jwt, "k", &key, &json!({})).unwrap(), &public(&pss)));
    }
}

#[test]
fn a_stored_key_is_read_as_its_own_algorithm_only() {
    for key in KEYS.iter() {
        let pkcs8 = key.to_pkcs8().unwrap();
        for other in Algorithm::ALL.iter().copied().filter(|other| *other != key.algorithm()) {
            // PKCS #8 does not tell the padding; which it is, is stored beside it.
            let rsa = |algorithm| matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256);
            let both_rsa = rsa(key.algorithm()) && rsa(other);
            assert_eq!(
                SigningKey::from_pkcs8(other, &pkcs8).is_ok(),
                both_rsa,
                "{} as {other}",
                key.algorithm()
            );
        }
        assert!(SigningKey::from_pkcs8(key.algorithm(), &pkcs8[..pkcs8.len() - 1]).is_err());
        assert!(SigningKey::from_pkcs8(key.algorithm(), b"").is_err());
    }
}

/// The last character has unused bits, which must be zero (RFC 4648 §3.5), so no other one means the same.
#[test]
fn any_changed_character_is_refused() {
    for key in KEYS.iter() {
        let token = sign(TokenType::Jwt, "k", key, &json!({"sub": "a"})).unwrap();
        let public = public(key);
        assert!(accepted(&token, &public));
        // Each one where that is short and quick, some in the middle of long signatures.
        let step = if key.algorithm() == Algorithm::Es256 { 1 } else { token.len() / 50 };
        let ends = (0..100).chain(token.len() - 10..token.len());
        for at in ends.chain((0..token.len()).step_by(step)) {
            assert!(!accepted(&changed(&token, at), &public), "{}: character {at}", key.algorithm());
        }
    }
}

/// Found by fuzzing: in a member that nobody asks for it went unnoticed.
#[test]
fn claims_are_utf8_rfc7519_7_2() {
    #[derive(serde::Deserialize)]
    struct Asked {
        sub: String,
    }
    let claims = |payload: &[u8]| {
        let token = format!("{}.{}.", BASE64URL.encode(r#"{"alg":"ES256"}"#), BASE64URL.encode(payload));
        Unverified::parse(&token).unwrap().claimed::<Asked>().map(|asked| asked.sub)
    };
    assert_eq!(claims(br#"{"sub":"a","other":"b"}"#).as_deref(), Some("a"));
    assert_eq!(claims(b"{\"sub\":\"a\",\"other\":\"\xff\"}"), None);
}

#[test]
fn a_token_cannot_choose_its_algorithm_rfc8725_3_1() {
    for own in KEYS.iter() {
        for other in KEYS.iter().filter(|other| other.algorithm() != own.algorithm()) {
            let (own_key, other_key) = (public(own), public(other));
            let pair = format!("{} and {}", own.algorithm(), other.algorithm());
            let token = sign(TokenType::Jwt, "k", own, &json!({})).unwrap();
            assert!(!accepted(&token, &other_key), "{pair}: another key's");
            // A good signature, under a header that names the other algorithm.
            let input = SigningInput::new(TokenType::Jwt, other.algorithm(), "k", &json!({})).unwrap();
            let signature = own.sign(input.as_bytes()).unwrap();
            let token = input.attach(&signature);
            assert!(!accepted(&token, &own_key), "{pair}: the key's own signature");
            assert!(!accepted(&token, &other_key), "{pair}: the named algorithm's key");
        }
    }
}

/// RFC 9864 §7, RFC 8725 §3.1: two paddings of one RSA key are two keys.
#[test]
fn one_rsa_key_verifies_with_one_padding() {
    let key = &KEYS[2];
    assert_eq!(key.algorithm(), Algorithm::Rs256);
    let mut jwk = serde_json::to_value(key.public_jwk()).unwrap();
    jwk["alg"] = json!("PS256");
    let pss = VerifyingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    for named in [Algorithm::Rs256, Algorithm::Ps256] {
        let input = SigningInput::new(TokenType::Jwt, named, "k", &json!({})).unwrap();
        let signature = key.sign(input.as_bytes()).unwrap();
        let token = input.attach(&signature);
        assert_eq!(accepted(&token, &public(key)), named == Algorithm::Rs256);
        assert!(!accepted(&token, &pss));
    }
}

#[test]
fn a_public_key_is_no_secret_for_hmac_rfc8725_2_1() {
    use aws_lc_rs::hmac;
    for key in KEYS.iter() {
        let secret = serde_json::to_vec(&key.public_jwk()).unwrap();
        for name in ["HS256", key.algorithm().as_str()] {
            let header = BASE64URL.encode(json!({"alg": name, "kid": "k"}).to_string());
            let signed = format!("{header}.{}", BASE64URL.encode("{}"));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            assert!(!accepted(&format!("{signed}.{}", BASE64URL.encode(tag)), &public(key)));
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused_rfc8725_3_2() {
    for name in ["none", "None", "NONE", "nOnE", "", "ES256", "ML-DSA-65"] {
        let unsigned = format!("{}.e30", BASE64URL.encode(json!({"alg": name}).to_string()));
        for token in [format!("{unsigned}."), unsigned.clone(), format!("{unsigned}.AAAA")] {
            for key in KEYS.iter() {
                assert!(!accepted(&token, &public(key)), "{token}");
            }
        }
    }
}

#[test]
fn a_compact_jws_has_three_parts_of_base64url_without_padding_rfc7515_7_1() {
    for key in KEYS.iter() {
        let public = public(key);
        let token = sign(TokenType::Jwt, "k", key, &json!({"sub": "a"})).unwrap();
        let [header, payload, signature]: [&str; 3] =
            token.split('.').collect::<Vec<_>>().try_into().unwrap();
        for wrong in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{token}."),
            format!(".{token}"),
            format!("{header}..{payload}.{signature}"),
            format!("{token}.{signature}"),
            format!("{header}.{payload}.{signature}.{signature}.{signature}"),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}=.{signature}"),
            format!("{token}="),
            format!("{token}=="),
            format!("{token}\n"),
            format!(" {token}"),
            format!("{token}A"),
            token[..token.len() - 1].to_owned(),
            token.replace('.', ". "),
        ] {
            assert!(!accepted(&wrong, &public), "{wrong}");
        }
        // The number of parts counts before anything is believed of them.
        let four = format!("{header}.{payload}.{payload}.{signature}");
        for wrong in [&format!("{header}.{payload}"), &four] {
            assert_eq!(Unverified::parse(wrong).err(), Some(JwtError::Malformed), "{wrong}");
        }
        // What was signed, but with padding.
        let padded = base64::engine::general_purpose::URL_SAFE.encode(json!({"sub": "a"}).to_string());
        assert!(padded.ends_with('='));
        let signed = format!("{header}.{padded}");
        let signature = key.sign(signed.as_bytes()).unwrap();
        assert!(!accepted(&format!("{signed}.{}", BASE64URL.encode(signature)), &public));
    }
}

/// The example of RFC 7515 appendix A.3.
#[test]
fn the_rfc_s_own_es256_token_verifies_rfc7515_a_3() {
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "a",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let key = VerifyingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let token = "eyJhbGciOiJFUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let unverified = Unverified::parse(token).unwrap();
    assert_eq!(unverified.key_id(), None);
    assert_eq!(unverified.verify::<Value>(&key).unwrap()["iss"], "joe");
}

#[test]
fn a_token_is_written_into_one_buffer() {
    for key in KEYS.iter() {
        let claims = json!({"iss": "https://auth.example.com", "scope": "a ".repeat(150)});
        let input =
            SigningInput::new(TokenType::AccessToken, key.algorithm(), &"k".repeat(43), &claims).unwrap();
        let before = input.as_bytes().as_ptr();
        let signature = key.sign(input.as_bytes()).unwrap();
        let token = input.attach(&signature);
        assert_eq!(token.as_ptr(), before, "{}", key.algorithm());
    }
}

#[test]
fn neither_form_of_a_key_shows_the_private_part() {
    for key in KEYS.iter() {
        let shown = format!("SigningKey {{ algorithm: {:?}, .. }}", key.algorithm());
        assert_eq!(format!("{key:?}"), shown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_signed_is_what_is_read(
        of in 0..KEYS.len(),
        key_id in ".{0,60}",
        claims in prop::collection::btree_map(".{0,10}", ".{0,40}", 0..8),
    ) {
        let key = &KEYS[of];
        let token = sign(TokenType::AccessToken, &key_id, key, &claims).unwrap();
        let unverified = Unverified::parse(&token).unwrap();
        prop_assert_eq!(unverified.key_id(), Some(&*key_id));
        prop_assert_eq!(unverified.verify(&public(key)), Ok(claims));
    }

    #[test]
    fn a_token_with_some_bytes_changed_is_refused(
        of in 0..KEYS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[A-Za-z0-9_.=-]"), 1..5),
    ) {
        let key = &KEYS[of];
        let token = sign(TokenType::Jwt, "k", key, &json!({"sub": "a", "scope": "b c"})).unwrap();
        let mut wrong = token.clone().into_bytes();
        for (at, character) in changes {
            let at = at.index(wrong.len());
            wrong[at] = character.as_bytes()[0];
        }
        let wrong = String::from_utf8(wrong).unwrap();
        prop_assert_eq!(accepted(&wrong, &public(key)), wrong == token);
    }

    #[test]
    fn nothing_makes_the_parser_panic(
        text in r"[\PC.]{0,80}",
        header in r#"(\{("alg"|"kid"|[a-z":,{}\[\]0-9]|"ES256"){0,20}\}?)"#,
        payload in "[A-Za-z0-9_-]{0,20}",
    ) {
        let _ = Unverified::parse(&text).map(|unverified| unverified.claimed::<Value>());
        let token = format!("{}.{payload}.AAAA", BASE64URL.encode(header));
        prop_assert!(!accepted(&token, &public(&KEYS[0])));
    }
}

/// An implementation that is not ours says the same of every signature.
#[test]
fn jsonwebtoken_verifies_the_same_tokens() {
    use jsonwebtoken::Algorithm as Theirs;
    let theirs = |algorithm| match algorithm {
        Algorithm::Es256 => Some(Theirs::ES256),
        Algorithm::Es384 => Some(Theirs::ES384),
        Algorithm::Rs256 => Some(Theirs::RS256),
        Algorithm::Ps256 => Some(Theirs::PS256),
        Algorithm::EdDsa => Some(Theirs::EdDSA),
        Algorithm::MlDsa65 => None,
    };
    for key in KEYS.iter() {
        let Some(algorithm) = theirs(key.algorithm()) else { continue };
        let jwk = serde_json::from_value(serde_json::to_value(key.public_jwk()).unwrap()).unwrap();
        let their_key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let token = sign(TokenType::AccessToken, "k", key, &json!({"sub": "a"})).unwrap();
        for token in [token.clone(), changed(&token, token.len() - 9), changed(&token, token.len() - 30)] {
            let (message, signature) = token.rsplit_once('.').unwrap();
            let good =
                jsonwebtoken::crypto::verify(signature, message.as_bytes(), &their_key, algorithm).unwrap();
            assert_eq!(accepted(&token, &public(key)), good, "{} {token}", key.algorithm());
        }
    }
}
