//! Binding a token to a key of whoever presents it, so that a stolen one is worth nothing (RFC 7800).

use serde::{Deserialize, Serialize};

use super::words::words;

words! {
    /// Whether a token must be bound, as a client or a resource server says.
    TokenBinding {
        /// Bound by whatever the request proves, which may be nothing.
        Optional = "optional",
        /// Bound by DPoP (RFC 9449), or there is no token.
        Dpop = "dpop",
        /// Bound to the certificate of mutual TLS (RFC 8705 §3), or there is no token.
        Mtls = "mtls",
        /// Bound by DPoP or to a certificate, or there is no token.
        Either = "either",
    }
}

// === impl TokenBinding ===

impl TokenBinding {
    /// Whether a token with this confirmation, or without one, is bound as is wanted.
    #[must_use]
    pub fn is_met_by(self, cnf: Option<&Confirmation>) -> bool {
        let dpop = cnf.is_some_and(|cnf| cnf.jkt.is_some());
        let mtls = cnf.is_some_and(|cnf| cnf.x5t_s256.is_some());
        match self {
            Self::Optional => true,
            Self::Dpop => dpop,
            Self::Mtls => mtls,
            Self::Either => dpop || mtls,
        }
    }

    /// What a request must bring for it; nothing, where it may bring nothing.
    #[must_use]
    pub const fn needs(self) -> Option<&'static str> {
        match self {
            Self::Optional => None,
            Self::Dpop => Some("a DPoP proof (RFC 9449 section 5)"),
            Self::Mtls => Some("a client certificate (RFC 8705 section 3)"),
            Self::Either => Some("a DPoP proof (RFC 9449) or a client certificate (RFC 8705)"),
        }
    }
}

/// The `cnf` claim (RFC 7800 §3.1): the keys that a token is bound to, each of which must be proven.
///
/// Members that this version does not know are kept as *unknown*, so that a binding that cannot be checked is
/// refused and never lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The RFC 7638 thumbprint of the DPoP key (RFC 9449 §6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// The thumbprint of the certificate (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

// === impl Confirmation ===

impl Confirmation {
    /// By a DPoP key and a certificate with these thumbprints; nothing, by neither.
    #[must_use]
    pub fn of(jkt: Option<String>, x5t_s256: Option<String>) -> Option<Self> {
        let bound = jkt.is_some() || x5t_s256.is_some();
        bound.then(|| Self { jkt, x5t_s256, ..Self::default() })
    }

    /// Whether it names a key, and none in a way that this version does not know.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        self.unknown.is_empty() && (self.jkt.is_some() || self.x5t_s256.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bound(jkt: bool, x5t: bool) -> Option<Confirmation> {
        Confirmation::of(jkt.then(|| "k".to_owned()), x5t.then(|| "x".to_owned()))
    }

    #[test]
    fn a_token_is_bound_as_is_wanted_or_not() {
        use TokenBinding::{Dpop, Either, Mtls, Optional};
        for (jkt, x5t, met) in [
            (false, false, &[Optional][..]),
            (true, false, &[Optional, Dpop, Either]),
            (false, true, &[Optional, Mtls, Either]),
            (true, true, TokenBinding::ALL),
        ] {
            let cnf = bound(jkt, x5t);
            for wanted in TokenBinding::ALL {
                assert_eq!(wanted.is_met_by(cnf.as_ref()), met.contains(wanted), "{wanted} {cnf:?}");
            }
        }
    }

    #[test]
    fn its_members_are_those_of_rfc8705_3_1_and_rfc9449_6_1() {
        assert_eq!(bound(false, false), None);
        let both = bound(true, true).unwrap();
        assert_eq!(serde_json::to_value(&both).unwrap(), json!({"jkt": "k", "x5t#S256": "x"}));
        assert_eq!(
            serde_json::from_value::<Confirmation>(json!({"jkt": "k", "x5t#S256": "x"})).unwrap(),
            both
        );
        assert!(both.is_understood());
        for other in [json!({}), json!({"jkt": "k", "jwk": {}}), json!({"x5t#s256": "x"})] {
            assert!(!serde_json::from_value::<Confirmation>(other).unwrap().is_understood());
        }
    }
}
