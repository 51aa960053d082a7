use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use super::Algorithm;

/// The public part of one of our keys (RFC 7517 §4), for publishing and for storing beside the sealed
/// private part.
///
/// Its members and their order are fixed: `use` (always `sig`), `alg`, `kid`, `kty` and what that key type
/// has. It cannot hold a private member, whatever was read; `alg` fits the key type, and every member has the
/// length that it has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Read")]
pub struct PublicJwk {
    #[serde(rename = "use")]
    usage: Usage,
    alg: Algorithm,
    kid: String,
    #[serde(flatten)]
    members: Members,
}

/// A JWK Set (RFC 7517 §5) of such keys.
///
/// Reading one leaves out the keys that are of another kind, lack a member or do not fit together, as that
/// section wants: what is new must not make the rest unreadable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ReadSet")]
pub struct PublicJwkSet {
    /// The keys.
    pub keys: Vec<PublicJwk>,
}

/// What a key type has, base64url without padding, by `kty`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub(super) enum Members {
    /// RFC 7518 §6.2.1.
    #[serde(rename = "EC")]
    Ec { crv: Curve, x: String, y: String },
    /// RFC 7518 §6.3.1.
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    /// RFC 8037 §2.
    #[serde(rename = "OKP")]
    Okp { crv: Curve, x: String },
    /// RFC 9964: the algorithm is part of the key.
    #[serde(rename = "AKP")]
    Akp {
        #[serde(rename = "pub")]
        public: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    Ed25519,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Usage {
    #[default]
    #[serde(rename = "sig")]
    Signature,
}

/// A key as somebody wrote it, and nothing compared yet.
#[derive(Deserialize)]
struct Read {
    #[serde(rename = "use", default)]
    usage: Usage,
    alg: Algorithm,
    kid: String,
    #[serde(flatten)]
    members: Members,
}

#[derive(Deserialize)]
struct ReadSet {
    keys: Vec<serde_json::Value>,
}

// === impl PublicJwk ===

impl PublicJwk {
    /// A key that has just been made: its `kid` is its thumbprint.
    pub(super) fn new(alg: Algorithm, members: Members) -> Self {
        let kid = members.thumbprint(alg);
        Self { usage: Usage::Signature, alg, kid, members }
    }

    /// The public part of an elliptic-curve pair that something else has made: the uncompressed point (SEC 1
    /// §2.3.3), or of Ed25519 its 32 bytes (RFC 8032 §5.1.5). `None` when it is not for this algorithm.
    #[must_use]
    pub fn from_point(alg: Algorithm, point: &[u8]) -> Option<Self> {
        let members = match alg {
            Algorithm::Es256 | Algorithm::Es384 => {
                let coordinates = point.strip_prefix(&[4])?;
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let crv = if alg == Algorithm::Es384 { Curve::P384 } else { Curve::P256 };
                Members::Ec { crv, x: BASE64URL.encode(x), y: BASE64URL.encode(y) }
            }
            Algorithm::EdDsa => Members::Okp { crv: Curve::Ed25519, x: BASE64URL.encode(point) },
            Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::MlDsa65 => return None,
        };
        members.fit(alg).then(|| Self::new(alg, members))
    }

    /// The public part of an RSA pair that something else has made, both numbers big-endian. `None` when it is not
    /// for this algorithm, or shorter than 2048 bits.
    #[must_use]
    pub fn from_rsa(alg: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        // RFC 7518 §6.3.1.1: without leading zeros.
        let number = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            BASE64URL.encode(&bytes[zeros..])
        };
        let members = Members::Rsa { n: number(modulus), e: number(exponent) };
        members.fit(alg).then(|| Self::new(alg, members))
    }

    /// The key's identifier, the `kid` of the tokens that it signs.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.kid
    }

    /// The one algorithm that it may be used with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.alg
    }

    /// The SHA-256 thumbprint (RFC 7638 §3, RFC 9964 for `AKP`), as base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        self.members.thumbprint(self.alg)
    }

    pub(super) const fn members(&self) -> &Members {
        &self.members
    }
}

impl TryFrom<Read> for PublicJwk {
    type Error = String;

    fn try_from(Read { usage, alg, kid, members }: Read) -> Result<Self, String> {
        if !members.fit(alg) {
            return Err(format!("these are not the members of a key for {alg}"));
        }
        Ok(Self { usage, alg, kid, members })
    }
}

// === impl PublicJwkSet ===

impl PublicJwkSet {
    /// The key of this identifier.
    #[must_use]
    pub fn find(&self, key_id: &str) -> Option<&PublicJwk> {
        self.keys.iter().find(|key| key.kid == key_id)
    }
}

impl From<ReadSet> for PublicJwkSet {
    fn from(read: ReadSet) -> Self {
        Self { keys: read.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() }
    }
}

// === impl Members ===

impl Members {
    /// Whether they are those of a key for this algorithm, each of the right length. An RSA key has at least
    /// 2048 bits (RFC 7518 §3.3).
    pub(super) fn fit(&self, alg: Algorithm) -> bool {
        match (self, alg) {
            (Self::Ec { crv: Curve::P256, x, y }, Algorithm::Es256) => length(x) == 32 && length(y) == 32,
            (Self::Ec { crv: Curve::P384, x, y }, Algorithm::Es384) => length(x) == 48 && length(y) == 48,
            (Self::Rsa { n, e }, Algorithm::Rs256 | Algorithm::Ps256) => length(n) >= 256 && length(e) > 0,
            (Self::Okp { crv: Curve::Ed25519, x }, Algorithm::EdDsa) => length(x) == 32,
            (Self::Akp { public }, Algorithm::MlDsa65) => length(public) == 1_952,
            _ => false,
        }
    }

    /// How long an RSA modulus is; nothing, of another key.
    pub(super) fn modulus_bits(&self) -> usize {
        let Self::Rsa { n, .. } = self else { return 0 };
        let n = BASE64URL.decode(n).unwrap_or_default();
        let zeros = n.first().map_or(0, |first| first.leading_zeros() as usize);
        (n.len() * 8).saturating_sub(zeros)
    }

    /// What RFC 7638 §3.2 requires of each key type, in the order of the names and without white space. The
    /// values are base64url or names, which need no escaping.
    pub(super) fn thumbprint(&self, alg: Algorithm) -> String {
        let text = match self {
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, crv.as_str())
            }
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Okp { crv, x } => format!(r#"{{"crv":"{}","kty":"OKP","x":"{x}"}}"#, crv.as_str()),
            Self::Akp { public } => format!(r#"{{"alg":"{alg}","kty":"AKP","pub":"{public}"}}"#),
        };
        BASE64URL.encode(digest(&SHA256, text.as_bytes()))
    }
}

/// Of what a member holds; 0 when it is not base64url.
fn length(member: &str) -> usize {
    BASE64URL.decode(member).map_or(0, |bytes| bytes.len())
}

// === impl Curve ===

impl Curve {
    /// The `crv` value, as it is serialised.
    const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::KEYS;
    use super::super::{SigningKey, VerifyingKey};
    use super::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Result<PublicJwk, serde_json::Error> {
        serde_json::from_str(&value.to_string())
    }

    #[test]
    fn a_jwk_reads_back_and_its_members_stand_in_one_order() {
        for key in KEYS.iter() {
            let jwk = key.public_jwk();
            let text = serde_json::to_string(&jwk).unwrap();
            assert_eq!(serde_json::from_str::<PublicJwk>(&text).unwrap(), jwk);
            let value: Value = serde_json::from_str(&text).unwrap();
            let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            let (kty, own): (_, &[&str]) = match key.algorithm() {
                Algorithm::Es256 | Algorithm::Es384 => ("EC", &["crv", "x", "y"]),
                Algorithm::Rs256 | Algorithm::Ps256 => ("RSA", &["n", "e"]),
                Algorithm::EdDsa => ("OKP", &["crv", "x"]),
                Algorithm::MlDsa65 => ("AKP", &["pub"]),
            };
            assert_eq!(names, [&["use", "alg", "kid", "kty"], own].concat());
            assert_eq!((&value["kty"], &value["use"]), (&json!(kty), &json!("sig")));
            assert_eq!(value["alg"], key.algorithm().as_str());
            assert_eq!(value["kid"], jwk.thumbprint());
        }
    }

    /// Rows and published sets were written by jsonwebtoken's type before.
    #[test]
    fn what_jsonwebtoken_wrote_reads_and_is_written_the_same() {
        for key in KEYS.iter().filter(|key| key.algorithm() != Algorithm::MlDsa65) {
            let ours = serde_json::to_string(&key.public_jwk()).unwrap();
            let theirs: jsonwebtoken::jwk::Jwk = serde_json::from_str(&ours).unwrap();
            assert_eq!(serde_json::to_string(&theirs).unwrap(), ours);
            let sha256 = jsonwebtoken::jwk::ThumbprintHash::SHA256;
            assert_eq!(theirs.thumbprint(sha256).unwrap(), key.public_jwk().key_id());
        }
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        let kid = |value| read(&value).unwrap().thumbprint();
        // RFC 7638 §3.1.
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPeb\
                  WKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368Q\
                  QMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2\
                  NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(kid(rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 appendix A.3.
        let okp = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        assert_eq!(kid(okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 9964's example key has the seed of zeros; its PKCS #8 is RFC 9881's.
        let pkcs8 = [
            &[0x30, 0x34, 2, 1, 0, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 0x12][..],
            &[4, 0x22, 0x80, 0x20],
            &[0; 32],
        ];
        let key = SigningKey::from_pkcs8(Algorithm::MlDsa65, &pkcs8.concat()).unwrap();
        assert_eq!(key.to_pkcs8().unwrap().as_slice(), pkcs8.concat());
        assert_eq!(key.public_jwk().key_id(), "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM");
    }

    #[test]
    fn what_another_program_made_is_the_same_key() {
        let bytes = |member: &Value| BASE64URL.decode(member.as_str().unwrap()).unwrap();
        for key in KEYS.iter() {
            let (alg, jwk) = (key.algorithm(), key.public_jwk());
            let value = serde_json::to_value(&jwk).unwrap();
            let made = |other| match alg {
                Algorithm::Es256 | Algorithm::Es384 => {
                    let point = [vec![4], bytes(&value["x"]), bytes(&value["y"])].concat();
                    assert_eq!(PublicJwk::from_point(other, &point[1..]), None);
                    assert_eq!(PublicJwk::from_point(other, &point[..point.len() - 2]), None);
                    PublicJwk::from_point(other, &point)
                }
                Algorithm::EdDsa => PublicJwk::from_point(other, &bytes(&value["x"])),
                Algorithm::Rs256 | Algorithm::Ps256 => {
                    let n = [vec![0], bytes(&value["n"])].concat();
                    assert_eq!(PublicJwk::from_rsa(other, &n[2..], &[1, 0, 1]), None);
                    PublicJwk::from_rsa(other, &n, &[0, 1, 0, 1])
                }
                Algorithm::MlDsa65 => None,
            };
            assert_eq!(made(alg), Some(jwk).filter(|_| alg != Algorithm::MlDsa65));
            assert_eq!(made(Algorithm::MlDsa65), None);
        }
    }

    #[test]
    fn only_public_members_are_kept() {
        for key in KEYS.iter() {
            let mut value = serde_json::to_value(key.public_jwk()).unwrap();
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "x5c", "key_ops", "new"] {
                value[private] = json!("AAAA");
            }
            assert_eq!(read(&value).unwrap(), key.public_jwk());
        }
    }

    #[test]
    fn an_algorithm_that_is_not_for_the_key_is_refused_rfc8725_3_1() {
        for key in KEYS.iter() {
            for other in Algorithm::ALL.iter().copied().filter(|other| *other != key.algorithm()) {
                let mut value = serde_json::to_value(key.public_jwk()).unwrap();
                value["alg"] = json!(other);
                let rsa = |algorithm| matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256);
                assert_eq!(read(&value).is_ok(), rsa(key.algorithm()) && rsa(other), "{value}");
            }
        }
    }

    #[test]
    fn a_jwk_that_lacks_or_garbles_a_member_is_refused() {
        for key in KEYS.iter() {
            let good = serde_json::to_value(key.public_jwk()).unwrap();
            for name in good.as_object().unwrap().keys() {
                let mut value = good.clone();
                value.as_object_mut().unwrap().shift_remove(name);
                assert_eq!(read(&value).is_ok(), name == "use", "{} without {name}", key.algorithm());
                for wrong in [json!(5), json!(null), json!([])] {
                    value[name] = wrong;
                    assert!(read(&value).is_err(), "{value}");
                }
                if name == "kid" {
                    continue;
                }
                // A quotation mark in a member would make two keys of one thumbprint.
                let text = good[name].as_str().unwrap();
                for wrong in ["", "AAAA", "enc", &format!("{text}="), &format!("{text}\""), &text[1..]] {
                    value[name] = json!(wrong);
                    let short_but_a_number =
                        name == "e" && BASE64URL.decode(wrong).is_ok_and(|e| !e.is_empty());
                    assert_eq!(read(&value).is_ok(), short_but_a_number, "{name} = {wrong}");
                }
            }
            let twice = good.to_string().replacen('{', &format!("{{\"kty\":{},", good["kty"]), 1);
            assert!(serde_json::from_str::<PublicJwk>(&twice).is_err(), "{twice}");
        }
    }

    #[test]
    fn a_set_is_read_without_the_keys_that_cannot_be_used_rfc7517_5() {
        let mut keys: Vec<Value> =
            KEYS.iter().map(|key| serde_json::to_value(key.public_jwk()).unwrap()).collect();
        keys.insert(0, json!({"kty": "new", "kid": "a"}));
        keys.insert(2, json!({"kty": "oct", "alg": "HS256", "kid": "b", "k": "AAAA"}));
        keys.push(json!("nonsense"));
        let set: PublicJwkSet = serde_json::from_value(json!({"keys": keys, "new": 1})).unwrap();
        assert_eq!(set.keys, KEYS.iter().map(SigningKey::public_jwk).collect::<Vec<_>>());
        for key in KEYS.iter() {
            let jwk = key.public_jwk();
            assert_eq!(set.find(jwk.key_id()), Some(&jwk));
            assert!(VerifyingKey::from_jwk(&jwk).is_ok());
        }
        assert_eq!(set.find("b"), None);
        assert!(serde_json::from_str::<PublicJwkSet>("{}").is_err());
        assert!(serde_json::from_str::<PublicJwkSet>(r#"{"keys":{}}"#).is_err());
    }
}
