use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A signature algorithm that Jeton signs with (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9964).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; the default.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for verifiers that take nothing else.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519. RFC 9864 deprecates this name in favour of `Ed25519`, but Envoy 1.40 and `PyJWT` 2.15
    /// know only this one.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ML-DSA-65 (FIPS 204), which a quantum computer does not break. Few verifiers know it, and a token
    /// has 4.5 kB.
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
}

/// How long the modulus of a new RSA key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RsaBits {
    /// 2048 bits; the default, and the least that RFC 7518 §3.3 allows.
    #[default]
    Rsa2048,
    /// 3072 bits: three times the cost of a signature.
    Rsa3072,
    /// 4096 bits: seven times the cost of a signature.
    Rsa4096,
}

// === impl Algorithm ===

impl Algorithm {
    /// All of them, in the order in which they are listed everywhere.
    pub const ALL: &[Self] =
        &[Self::Es256, Self::Es384, Self::Rs256, Self::Ps256, Self::EdDsa, Self::MlDsa65];

    /// Those that a key always exists of: the default, and the one that every verifier knows. A key of
    /// another exists while something uses it.
    pub const ALWAYS: &[Self] = &[Self::Es256, Self::Rs256];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }

    /// The algorithm that a header or a key of somebody else names. RFC 9864 calls Ed25519 by its own name, and newer
    /// libraries sign so; it is the same algorithm.
    pub(super) fn named(text: &str) -> Option<Self> {
        if text == "Ed25519" { Some(Self::EdDsa) } else { text.parse().ok() }
    }
}

// Not derived: what is no text at all would be an error of the JSON, which names no field.
impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name)
    }
}

/// Reads an algorithm's name.
struct Name;

impl de::Visitor<'_> for Name {
    type Value = Algorithm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = Algorithm::ALL.iter().map(|algorithm| format!("`{algorithm}`")).collect();
        write!(f, "one of {}", names.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Algorithm, E> {
        let found = Algorithm::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    /// The name as it stands in `alg`, character by character (RFC 7515 §4.1.1).
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
            format!("'{text}' is not one of: {}", names.join(", "))
        })
    }
}

// === impl RsaBits ===

impl RsaBits {
    /// All of them, shortest first.
    pub const ALL: &[Self] = &[Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// The number.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }
}

impl fmt::Display for RsaBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bits().fmt(f)
    }
}

impl From<RsaBits> for u16 {
    fn from(bits: RsaBits) -> Self {
        bits.bits()
    }
}

impl TryFrom<u16> for RsaBits {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        number.to_string().parse()
    }
}

impl FromStr for RsaBits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|bits| bits.to_string() == text);
        found.ok_or_else(|| {
            let sizes: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("'{text}' is not one of: {}", sizes.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_everywhere() {
        for algorithm in Algorithm::ALL.iter().copied() {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.as_str());
            assert_eq!(serde_json::from_value::<Algorithm>(algorithm.as_str().into()).unwrap(), algorithm);
        }
        assert!(Algorithm::ALWAYS.iter().all(|algorithm| Algorithm::ALL.contains(algorithm)));
        assert!(Algorithm::ALL.is_sorted(), "listed in one order everywhere");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        for unknown in ["none", "es256", "HS256", "Ed25519", ""] {
            let error = unknown.parse::<Algorithm>().unwrap_err();
            assert_eq!(
                error,
                format!("'{unknown}' is not one of: ES256, ES384, RS256, PS256, EdDSA, ML-DSA-65")
            );
        }
    }

    #[test]
    fn rsa_keys_have_one_of_three_lengths() {
        for bits in RsaBits::ALL.iter().copied() {
            assert_eq!(bits.to_string().parse(), Ok(bits));
            assert_eq!(serde_json::to_value(bits).unwrap(), bits.bits());
            assert_eq!(serde_json::from_value::<RsaBits>(bits.bits().into()).unwrap(), bits);
        }
        assert_eq!("1024".parse::<RsaBits>().unwrap_err(), "'1024' is not one of: 2048, 3072, 4096");
        assert!(serde_json::from_str::<RsaBits>("2047").is_err());
    }
}
