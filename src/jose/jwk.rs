use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use super::Algorithm;

/// The public part of one of our keys (RFC 7517 §4), for publishing and for storing beside the sealed
/// private part.
///
/// Its members and their order are fixed: `use` (always `sig`), `alg`, `kid`, `kty` and what that key type
/// has. It cannot hold a private member, whatever was read. `alg` fits the key type.
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
        let fits = match &members {
            Members::Ec { crv: Curve::P256, .. } => alg == Algorithm::Es256,
            Members::Ec { crv: Curve::P384, .. } => alg == Algorithm::Es384,
            Members::Rsa { .. } => matches!(alg, Algorithm::Rs256 | Algorithm::Ps256),
            Members::Okp { crv: Curve::Ed25519, .. } => alg == Algorithm::EdDsa,
            Members::Akp { .. } => alg == Algorithm::MlDsa65,
            Members::Ec { .. } | Members::Okp { .. } => false,
        };
        if !fits {
            return Err(format!("the algorithm {alg} is not one for this type of key"));
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
    /// What RFC 7638 §3.2 requires of each key type, in the order of the names and without white space. The
    /// values are base64url or names, which need no escaping.
    fn thumbprint(&self, alg: Algorithm) -> String {
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
