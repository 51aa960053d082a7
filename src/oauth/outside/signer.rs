//! Whose token it is: the trusted issuer that it names, and whose keys have signed it.

use std::fmt;
use std::sync::Arc;

use super::asked::{Asked, Judge, NotOne, Said};
use super::read::{Claimed, Signature};
use super::{Ground, NotAccepted, UsedAs};
use crate::domain::error::Fault;
use crate::domain::spiffe::SpiffeId;
use crate::domain::text::quoted;
use crate::domain::trust::{IssuerProfile, TrustedIssuer};
use crate::jose::Algorithm;
use crate::runtime::remote_keys::KeySet;

/// Why no trusted issuer is known to have signed a token.
pub(super) enum Unsigned {
    /// It does not say who has issued it.
    Nameless,
    /// Nobody that is trusted is called what it says.
    Unknown(String),
    /// Those that are, are disabled.
    Disabled(Vec<Arc<TrustedIssuer>>),
    /// Those that are enabled have not. Never empty.
    NotTheirs(Vec<Denial>),
    /// Several have this key, so that it may be of any of them. At least two.
    Shared(Vec<Arc<TrustedIssuer>>),
    /// Nobody can say now.
    Away(Fault),
}

/// Why one issuer has not signed a token.
pub(super) struct Denial {
    pub(super) issuer: Arc<TrustedIssuer>,
    pub(super) why: Why,
}

pub(super) enum Why {
    /// It does not sign with this.
    Algorithm(Algorithm),
    /// There are no keys of it.
    NoKeys(String),
    /// The token's key is none of these.
    KeyUnknown { kid: Option<String>, keys: Arc<KeySet> },
    /// It is another's signature.
    Forged { kid: Option<String> },
}

// === impl Ground ===

impl Ground<'_> {
    /// The issuer that has signed a token. Several may have one name: then their keys decide, and all of them are asked.
    /// How many there may be is bounded where they are registered ([`crate::domain::trust::MOST_OF_ONE_NAME`]).
    pub(super) async fn signer(
        &self,
        claimed: &Claimed,
        used_as: UsedAs,
    ) -> Result<Arc<TrustedIssuer>, Unsigned> {
        let mut asked = Asked::nobody();
        for issuer in self.named(claimed, used_as)? {
            if issuer.algorithms.contains(&claimed.algorithm) {
                let known = self.keys.keys(&issuer).await;
                asked.ask(issuer, known, claimed);
            } else {
                asked.denies(issuer, Why::Algorithm(claimed.algorithm));
            }
        }
        asked.only(self.keys, claimed).await.map_err(|not_one| match not_one {
            NotOne::Several(signers) => Unsigned::Shared(signers),
            NotOne::Away(fault) => Unsigned::Away(fault),
            NotOne::Nobody(denials) => {
                Unsigned::NotTheirs(denials.into_iter().map(|(issuer, why)| Denial { issuer, why }).collect())
            }
        })
    }

    /// The enabled issuers that a token may be of, by what it says: by its `iss`, or where it is a SPIFFE ID by the trust
    /// domain of its `sub`, which is what counts of a JWT-SVID.
    fn named(&self, claimed: &Claimed, used_as: UsedAs) -> Result<Vec<Arc<TrustedIssuer>>, Unsigned> {
        let by_iss = claimed.text("iss").filter(|_| used_as != UsedAs::SpiffeAssertion);
        let spiffe_id = claimed.spiffe_id();
        let by_domain = spiffe_id.as_ref().map(SpiffeId::trust_domain_id);
        let found = |name: Option<&str>, profile: IssuerProfile| {
            let of_name = name.into_iter().flat_map(|name| self.catalog.trusted_issuers_of(name));
            of_name.filter(|issuer| issuer.profile == profile).cloned().collect::<Vec<_>>()
        };
        let named = [found(by_iss, IssuerProfile::Jwt), found(by_domain, IssuerProfile::Spiffe)].concat();
        if named.is_empty() {
            let name = by_iss.or(by_domain);
            return Err(name.map_or(Unsigned::Nameless, |name| Unsigned::Unknown(quoted(name))));
        }
        let (enabled, disabled): (Vec<_>, Vec<_>) = named.into_iter().partition(|issuer| issuer.enabled);
        if enabled.is_empty() {
            return Err(Unsigned::Disabled(disabled));
        }
        Ok(enabled)
    }
}

// === impl Claimed ===

impl Judge<Why> for Claimed {
    fn says(&self, set: &Arc<KeySet>) -> Said<Why> {
        let kid = self.kid.clone();
        match self.signature(set) {
            Signature::Good => Said::Vouches,
            Signature::Wrong => Said::Denies(Why::Forged { kid }),
            Signature::KeyUnknown => Said::Lacks(Why::KeyUnknown { kid, keys: Arc::clone(set) }),
        }
    }

    fn without_keys(&self, why: String) -> Why {
        Why::NoKeys(why)
    }
}

// === impl Unsigned ===

impl Unsigned {
    /// What it means for a token that is presented as this.
    pub(super) fn refuse(self, used_as: UsedAs) -> NotAccepted {
        match self {
            Self::Away(fault) => NotAccepted::Fault(fault),
            // It may be meant as a client's own, and break the rule for that.
            Self::Unknown(_) if used_as == UsedAs::ClientAssertion => NotAccepted::Refused(
                format!("{self}; and as a client's own assertion it does not count, because the assertion's iss is not its sub")
                    .into(),
            ),
            refused => NotAccepted::Refused(refused.to_string().into()),
        }
    }
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => f.write_str("the token has no iss that is a text, and no SPIFFE ID as its sub"),
            Self::Unknown(name) => write!(f, "no trusted issuer is called '{name}', as the token says"),
            Self::Disabled(issuers) => {
                let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
                write!(f, "the trusted issuer {} is disabled", names.join(", "))
            }
            Self::NotTheirs(denials) => {
                for (place, denial) in denials.iter().enumerate() {
                    let between = if place == 0 { "" } else { "; " };
                    write!(f, "{between}{denial}")?;
                }
                Ok(())
            }
            Self::Shared(issuers) => {
                let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
                write!(
                    f,
                    "the trusted issuers {} have the same name and the same key, so nobody knows of which the token is: \
                     disable all of them but one",
                    names.join(" and ")
                )
            }
            Self::Away(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.issuer.name;
        let key = |kid: &Option<String>| match kid {
            Some(kid) => format!("key '{}'", quoted(kid)),
            None => "only key that fits".to_owned(),
        };
        match &self.why {
            Why::Algorithm(algorithm) => {
                write!(
                    f,
                    "the token is signed with {algorithm}, which the trusted issuer {name} does not use"
                )
            }
            Why::NoKeys(why) => write!(f, "there are no keys of the trusted issuer {name}: {why}"),
            Why::KeyUnknown { kid: Some(kid), .. } => {
                write!(f, "the trusted issuer {name} has no key with kid '{}' for the token", quoted(kid))
            }
            Why::KeyUnknown { kid: None, .. } => {
                write!(
                    f,
                    "the token has no kid, and not exactly one key of the trusted issuer {name} fits it"
                )
            }
            Why::Forged { kid } => {
                write!(
                    f,
                    "the token's signature is not that of the {} of the trusted issuer {name}",
                    key(kid)
                )
            }
        }
    }
}
