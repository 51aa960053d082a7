//! Keys, tokens and JWKs of every algorithm together.
//!
//! The keys are made once: an RSA key takes up to a second.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

/// A key of each algorithm, the RSA ones of 2048 bits.
static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
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
