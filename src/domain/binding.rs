//! Binding a token to a key of whoever presents it, so that a stolen one is worth nothing (RFC 7800).

use serde::{Deserialize, Serialize};

use super::words::words;

words! {
    /// Whether a token must be bound, as a client or a resource server says.
    TokenBinding {
        /// Bound when the request proves a key, else not.
        Optional = "optional",
        /// Bound by DPoP (RFC 9449), or there is no token.
        Dpop = "dpop",
    }
}

/// The `cnf` claim (RFC 7800 §3.1): the key that a token is bound to.
///
/// Members that this version does not know are kept as *unknown*, so that a binding that cannot be checked is
/// refused and never lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The RFC 7638 thumbprint of the DPoP key (RFC 9449 §6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

// === impl Confirmation ===

impl Confirmation {
    /// By a DPoP key with this thumbprint.
    #[must_use]
    pub fn dpop(jkt: String) -> Self {
        Self { jkt: Some(jkt), ..Self::default() }
    }
}
