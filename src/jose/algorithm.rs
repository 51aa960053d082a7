use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signature algorithm that Jeton signs with (RFC 7518 §3.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; the default.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for verifiers that take nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

// === impl Algorithm ===

impl Algorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Es256, Self::Rs256];

    /// Those of which there is always a key. Of the others there is one while a resource server uses it.
    pub const ALWAYS: &[Self] = &[Self::Es256, Self::Rs256];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) const fn for_verification(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not one of: ES256, RS256"))
    }
}
