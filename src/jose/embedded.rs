//! A JWS whose key stands in its own header (`jwk`, RFC 7515 §4.1.3).
//!
//! Such a key says nothing about who signed; it is what is being proven. So this is an API of its own, and
//! [`Unverified::verify`] never looks at `jwk`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::jwk::Members;
use super::{Algorithm, JwtError, Object, PublicJwk, Unverified, VerifyingKey};

/// The private members of every key type (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2; RFC 9964).
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// The most bytes of an RSA modulus, and of its exponent: what a verification costs grows with both, and
/// whoever sends the key chooses them.
const MODULUS: usize = 512;
const EXPONENT: usize = 4;

/// What somebody has signed with a key that was sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven<T> {
    /// The claims.
    pub claims: T,
    /// The key's SHA-256 thumbprint (RFC 7638 §3), as base64url.
    pub thumbprint: String,
}

/// A JWS does not prove the key in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The header names an algorithm that is not allowed here.
    #[error("alg is not one that is accepted")]
    Algorithm,
    /// There is no `jwk`.
    #[error("the header has no jwk")]
    NoKey,
    /// It holds a private key, which whoever reads it could use from now on.
    #[error("jwk has a private member")]
    PrivateKey,
    /// Its members do not make a public key for the algorithm.
    #[error("jwk is not a public key for alg, of an accepted size")]
    Key,
    /// The signature is another key's, or the claims have another shape.
    #[error("the signature is not that of the key in jwk, or the claims do not have their form")]
    NotVerified,
}

// === impl Unverified ===

impl Unverified<'_> {
    /// Checks the signature with the key in the header, which must be a public one for one of these
    /// algorithms, and reads the claims. What `kid`, `jku`, `x5u` and `x5c` say is not asked.
    ///
    /// # Errors
    /// Another algorithm, no key, a private or unfit key, or the signature is not its own.
    pub fn prove<T: DeserializeOwned>(&self, algorithms: &[Algorithm]) -> Result<Proven<T>, ProofError> {
        let algorithm = self.header.algorithm;
        if !algorithms.contains(&algorithm) {
            return Err(ProofError::Algorithm);
        }
        let written = self.header.jwk.as_ref().ok_or(ProofError::NoKey)?;
        let written = Object::parse(written.get().as_bytes()).ok_or(ProofError::Key)?;
        let jwk = public(written, algorithm)?;
        let key = VerifyingKey::from_jwk(&jwk).map_err(|_| ProofError::Key)?;
        let claims = self.verify(&key).map_err(|_: JwtError| ProofError::NotVerified)?;
        Ok(Proven { claims, thumbprint: jwk.thumbprint() })
    }
}

/// The public key that a JWK holds, for one algorithm.
fn public(written: Object, algorithm: Algorithm) -> Result<PublicJwk, ProofError> {
    if has_private(&written) {
        return Err(ProofError::PrivateKey);
    }
    // What the key says that it is for, it is for (RFC 7517 §4.2, §4.4).
    let is_for = |value: &Value| value.as_str().and_then(Algorithm::named) == Some(algorithm);
    if written.get("use").is_some_and(|value| value != "sig") || !written.get("alg").is_none_or(is_for) {
        return Err(ProofError::Key);
    }
    let members: Members = written.read().map_err(|_| ProofError::Key)?;
    if !members.fit(algorithm) || !acceptable(&members, MODULUS) {
        return Err(ProofError::Key);
    }
    Ok(PublicJwk::new(algorithm, members))
}

/// Whether a JWK has a private member, whatever that holds.
pub(super) fn has_private(written: &Object) -> bool {
    PRIVATE.iter().any(|name| written.get(name).is_some())
}

/// Whether verifying with it costs no more than it should, with a modulus of so many bytes at most, and it has one
/// form only: of a number with zeros before it there would be another thumbprint.
pub(super) fn acceptable(members: &Members, modulus: usize) -> bool {
    let Members::Rsa { n, e } = members else { return true };
    let (Ok(n), Ok(e)) = (BASE64URL.decode(n), BASE64URL.decode(e)) else { return false };
    // 2048 bits at least: `fit` has counted the bytes, so the first bit decides.
    let long_enough = n.len() > 256 || n.first().is_some_and(|first| first & 0x80 != 0);
    let plain = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
    // Odd and above 2^16 (FIPS 186-5 §5.1).
    let odd = e.last().is_some_and(|last| last & 1 == 1);
    let large = (3..=EXPONENT).contains(&e.len());
    plain(&n) && long_enough && n.len() <= modulus && plain(&e) && odd && large
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::KEYS;
    use super::super::{RsaBits, SigningKey, TokenType};
    use super::*;

    const ASYMMETRIC: &[Algorithm] =
        &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa];

    /// The public members of a key, and nothing else.
    fn jwk(key: &SigningKey) -> Value {
        let mut jwk = serde_json::to_value(key.public_jwk()).unwrap();
        for name in ["use", "alg", "kid"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        jwk
    }

    /// A JWS with this text as its header.
    fn signed(key: &SigningKey, header: &str) -> String {
        let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(r#"{"jti":"a"}"#));
        let signature = key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }

    fn with_jwk(key: &SigningKey, jwk: &Value) -> String {
        signed(key, &json!({"typ": "dpop+jwt", "alg": key.algorithm(), "jwk": jwk}).to_string())
    }

    fn proven(token: &str) -> Result<Proven<Value>, ProofError> {
        Unverified::parse(token).unwrap().prove(ASYMMETRIC)
    }

    #[test]
    fn a_key_of_each_algorithm_proves_itself_rfc9449_4_3() {
        for key in KEYS.iter().filter(|key| ASYMMETRIC.contains(&key.algorithm())) {
            let token = with_jwk(key, &jwk(key));
            let proof = proven(&token).unwrap();
            assert_eq!(proof.claims["jti"], "a");
            assert_eq!(proof.thumbprint, key.public_jwk().thumbprint());
            assert!(Unverified::parse(&token).unwrap().is(TokenType::DpopProof));
        }
    }

    /// The proof of RFC 9449 §4.1, and the thumbprint of its key in §6.1.
    #[test]
    fn the_rfc_s_own_proof_verifies_rfc9449_4_1() {
        let token = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik\
            VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR\
            nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE\
            QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj\
            oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia\
            WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg\
            4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        let proof = proven(token).unwrap();
        assert_eq!(
            proof.claims,
            json!({
                "jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": "https://server.example.com/token",
                "iat": 1_562_262_616,
            })
        );
        assert_eq!(proof.thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn a_private_member_is_refused_whatever_it_holds_rfc9449_4_3() {
        for key in KEYS.iter().filter(|key| ASYMMETRIC.contains(&key.algorithm())) {
            for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
                for value in [json!("AQ"), json!(null), json!("")] {
                    let mut jwk = jwk(key);
                    jwk[name] = value;
                    assert_eq!(proven(&with_jwk(key, &jwk)), Err(ProofError::PrivateKey), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        let key = &KEYS[0];
        assert_eq!(key.algorithm(), Algorithm::Es256);
        let good = jwk(key);
        let changed = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            jwk
        };
        for wrong in [
            json!(null),
            json!("a"),
            json!([good.clone()]),
            json!({}),
            json!({"kty": "oct"}),
            changed("kty", json!("RSA")),
            changed("kty", json!(null)),
            changed("crv", json!("P-384")),
            changed("crv", json!("secp256k1")),
            changed("x", json!("AQ")),
            changed("x", json!(5)),
            changed("x", json!(format!("{}=", good["x"].as_str().unwrap()))),
            // Beside the curve: y is wrong.
            changed("y", json!(BASE64URL.encode([7; 32]))),
            changed("alg", json!("ES384")),
            changed("alg", json!(null)),
            changed("use", json!("enc")),
            jwk(&KEYS[1]),
            jwk(&KEYS[2]),
            jwk(&KEYS[4]),
        ] {
            assert!(proven(&with_jwk(key, &wrong)).is_err(), "{wrong}");
        }
        for harmless in [
            changed("alg", json!("ES256")),
            changed("use", json!("sig")),
            changed("kid", json!("a")),
            changed("ext", json!(true)),
            changed("key_ops", json!(["verify"])),
        ] {
            assert!(proven(&with_jwk(key, &harmless)).is_ok(), "{harmless}");
        }
        // Another key's signature.
        let other = SigningKey::generate(Algorithm::Es256, RsaBits::default()).unwrap();
        assert_eq!(proven(&with_jwk(key, &jwk(&other))), Err(ProofError::NotVerified));
    }

    #[test]
    fn a_member_of_the_key_stands_once_rfc7517_4() {
        let key = &KEYS[0];
        let good = jwk(key).to_string();
        let inner = &good[1..good.len() - 1];
        for wrong in [format!(r#"{{{inner},"kty":"EC"}}"#), format!(r#"{{"z":1,{inner},"\u007a":1}}"#)] {
            let header = format!(r#"{{"alg":"ES256","jwk":{wrong}}}"#);
            assert_eq!(proven(&signed(key, &header)), Err(ProofError::Key), "{wrong}");
        }
        let header = format!(r#"{{"alg":"ES256","jwk":{good},"jwk":{good}}}"#);
        assert_eq!(Unverified::parse(&signed(key, &header)).err(), Some(JwtError::Malformed));
        assert_eq!(proven(&signed(key, r#"{"alg":"ES256"}"#)), Err(ProofError::NoKey));
    }

    #[test]
    fn an_algorithm_must_be_one_of_the_wanted() {
        let quantum = &KEYS[5];
        assert_eq!(quantum.algorithm(), Algorithm::MlDsa65);
        let token = with_jwk(quantum, &jwk(quantum));
        assert_eq!(proven(&token), Err(ProofError::Algorithm));
        assert!(Unverified::parse(&token).unwrap().prove::<Value>(Algorithm::ALL).is_ok());
        for name in ["none", "HS256", "ES256K"] {
            let header = json!({"alg": name, "jwk": jwk(&KEYS[0])}).to_string();
            let token = signed(&KEYS[0], &header);
            assert_eq!(Unverified::parse(&token).err(), Some(JwtError::UnsupportedHeader), "{name}");
        }
    }

    #[test]
    fn an_rsa_key_has_one_form_and_a_bounded_cost() {
        let form = |n: Vec<u8>, e: &[u8]| {
            acceptable(&Members::Rsa { n: BASE64URL.encode(n), e: BASE64URL.encode(e) }, MODULUS)
        };
        let modulus = |length: usize, first: u8| {
            let mut n = vec![0xff; length];
            n[0] = first;
            n
        };
        let usual: &[u8] = &[1, 0, 1];
        assert!(form(modulus(256, 0x80), usual), "2048 bits");
        assert!(!form(modulus(256, 0x7f), usual), "2047 bits");
        assert!(form(modulus(257, 1), usual), "2049 bits");
        assert!(form(modulus(512, 0xff), usual), "4096 bits");
        assert!(!form(modulus(513, 1), usual), "4097 bits");
        assert!(!form(modulus(300, 0), usual), "a zero before it");
        for bad in [&[][..], &[3], &[1, 1], &[1, 0, 0], &[0, 1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert!(!form(modulus(256, 0x80), bad), "{bad:?}");
        }
        assert!(form(modulus(256, 0x80), &[0xff, 0xff, 0xff, 0xff]));
        // The library knows nothing of that bound, so it is this one that holds.
        let large = SigningKey::generate(Algorithm::Rs256, RsaBits::Rsa4096).unwrap();
        assert!(proven(&with_jwk(&large, &jwk(&large))).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_header_makes_it_panic_or_accept(text in r#"(\{("alg"|"jwk"|"kty"|"EC"|[a-z":,{}\[\]0-9]|"ES256"){0,30}\}?)"#) {
            let token = signed(&KEYS[0], &text);
            if let Ok(unverified) = Unverified::parse(&token) {
                prop_assert!(unverified.prove::<Value>(ASYMMETRIC).is_err());
            }
        }

        #[test]
        fn a_changed_proof_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let token = with_jwk(&KEYS[0], &jwk(&KEYS[0]));
            let at = at.index(token.len());
            let mut wrong = token.clone();
            wrong.replace_range(at..=at, &to);
            let accepted = Unverified::parse(&wrong).is_ok_and(|wrong| wrong.prove::<Value>(ASYMMETRIC).is_ok());
            prop_assert_eq!(accepted, wrong == token);
        }
    }
}
