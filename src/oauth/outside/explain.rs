//! What was looked at in a token, one step after the other: for an administrator who wants to know why it does not
//! count. It goes on after what does not hold, as far as that makes sense, and uses nothing up.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::judge::{CHECKS, Check, Judging};
use super::read::Claimed;
use super::signer::{Denial, Unsigned, Why};
use super::{Ground, OutsideToken, UsedAs};
use crate::domain::catalog::Catalog;
use crate::domain::spiffe::SpiffeId;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, KeySource, Reuse, TrustedIssuer};
use crate::domain::words::words;
use crate::jose::Object;

/// The most names or keys that a step lists.
const LISTED: usize = 10;

words! {
    /// How a step ended.
    Verdict {
        /// It is as it must be.
        Held = "held",
        /// It is not.
        Failed = "failed",
        /// It could not be looked at, because of what failed before.
        Skipped = "skipped",
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Step {
    /// The name of what was looked at.
    #[schema(example = "aud")]
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What it is.
    #[schema(example = "'https://sts.example.com'")]
    pub found: String,
    /// What it must be.
    #[schema(example = "'https://id.example.com' alone")]
    pub wanted: String,
    /// What to do about it, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// What came of a token.
#[derive(Default)]
pub struct Explained {
    /// What was looked at.
    pub steps: Vec<Step>,
    /// The issuer that it is of, or would be.
    pub issuer: Option<Arc<TrustedIssuer>>,
    /// It, if it counts.
    pub token: Option<OutsideToken>,
    /// What it says, if it does not.
    pub unbelieved: Option<Object>,
}

// === impl Step ===

impl Step {
    /// Something that is as it must be.
    #[must_use]
    pub fn held(check: impl Into<String>, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Held,
            found: found.into(),
            wanted: wanted.into(),
            mend: None,
        }
    }

    /// Something that is not, and what to do about it.
    #[must_use]
    pub fn failed(
        check: impl Into<String>,
        (found, wanted): (impl Into<String>, impl Into<String>),
        mend: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Failed, mend: Some(mend.into()), ..Self::held(check, found, wanted) }
    }

    /// Something that could not be looked at.
    #[must_use]
    pub fn skipped(check: impl Into<String>, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::held(check, found, wanted) }
    }
}

// === impl Explained ===

impl Explained {
    /// What the token says, believed or not.
    #[must_use]
    pub fn claims(&self) -> Option<&Object> {
        self.token.as_ref().map(|token| &token.claims).or(self.unbelieved.as_ref())
    }

    fn note(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Answers the issuer that the token would be of.
    fn note_unsigned(
        &mut self,
        ground: &Ground<'_>,
        (claimed, used_as, now): (&Claimed, UsedAs, Timestamp),
        unsigned: Unsigned,
    ) -> Option<Arc<TrustedIssuer>> {
        let found = said(claimed);
        match unsigned {
            Unsigned::Nameless | Unsigned::Unknown(_) => {
                let mend = nearest(ground.catalog, claimed, used_as);
                self.note(Step::failed("issuer", (found, "the issuer of a trusted issuer"), mend));
                self.note(Step::skipped("signature", "not verified", "of a key of the issuer"));
                None
            }
            Unsigned::Disabled(issuers) => {
                let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
                let names = names.join(", ");
                let mend = format!("enable the trusted issuer {names}");
                let found = format!("{found}: {names}, which is disabled");
                self.note(Step::failed("issuer", (found, "an enabled trusted issuer"), mend));
                self.note(Step::skipped("signature", "not verified", "of a key of the issuer"));
                issuers.into_iter().next()
            }
            Unsigned::NotTheirs(denials) => {
                let names: Vec<&str> = denials.iter().map(|denial| denial.issuer.name.as_str()).collect();
                self.note(Step::held("issuer", found, format!("trusted as {}", names.join(", "))));
                for denial in &denials {
                    self.note(denied(denial, now));
                }
                denials.into_iter().next().map(|denial| denial.issuer)
            }
            Unsigned::Shared(issuers) => {
                let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
                let names = names.join(" and ");
                self.note(Step::held("issuer", found, format!("trusted as {names}")));
                let found = format!("good, and of the same key of {names}");
                let mend = "disable all of them but one, or give each its own keys";
                self.note(Step::failed("signature", (found, "of a key of one trusted issuer"), mend));
                issuers.into_iter().next()
            }
            Unsigned::Away(fault) => {
                self.note(Step::held("issuer", found, "a trusted issuer"));
                let found = format!("away: {fault}");
                let mend = "see that this server can reach the place where the issuer's keys are; until then such tokens \
                            are answered with 503";
                self.note(Step::failed("keys", (found, "the issuer's keys"), mend));
                self.note(Step::skipped("signature", "not verified", "of a key of the issuer"));
                // The rest is looked at all the same, as what nobody has vouched for.
                meant(ground.catalog, claimed, used_as)
            }
        }
    }
}

/// Says of a token what holds and what does not, and what to do about it.
pub async fn explain(ground: &Ground<'_>, token: &str, used_as: UsedAs, now: Timestamp) -> Explained {
    let mut explained = Explained::default();
    let claimed = match Claimed::read(token.trim()) {
        Ok(claimed) => claimed,
        Err(why) => {
            let wanted = "a signed JWT in three parts, with a header that says alg and brings no key";
            let mend = "send the token as the platform hands it out, and nothing around it";
            explained.note(Step::failed("form", (why, wanted), mend));
            return explained;
        }
    };
    let header = format!(
        "alg {}, kid {}",
        claimed.algorithm,
        claimed.kid.as_deref().map_or_else(|| "absent".to_owned(), |kid| format!("'{}'", quoted(kid)))
    );
    explained.note(Step::held("form", header, "a signed JWT"));
    let signed = ground.signer(&claimed, used_as).await;
    let (issuer, believed) = match signed {
        Ok(issuer) => {
            explained.note(Step::held("issuer", said(&claimed), format!("trusted as {}", issuer.name)));
            explained.note(Step::held("signature", "good", format!("of a key of {}", issuer.name)));
            (Some(issuer), true)
        }
        Err(unsigned) => (explained.note_unsigned(ground, (&claimed, used_as, now), unsigned), false),
    };
    if let Some(issuer) = &issuer {
        let judging = Judging::new(&claimed, issuer, used_as, ground.audience(issuer, used_as), now);
        for check in CHECKS.iter().filter(|check| concerns(check, issuer)) {
            explained.note(looked_at(check, &judging));
        }
        explained.note(reuse(&claimed, issuer));
        if used_as == UsedAs::SubjectToken {
            let wanted = format!(
                "one that lets it through: `jeton exchange-rules try --subject-issuer {}` with what the token says",
                issuer.name
            );
            explained.note(Step::skipped("exchange rule", "not looked at", wanted));
        }
    }
    let counts = believed && explained.steps.iter().all(|step| step.verdict != Verdict::Failed);
    explained.issuer.clone_from(&issuer);
    match issuer.filter(|_| counts) {
        Some(issuer) => explained.token = OutsideToken::new(claimed, issuer),
        None => explained.unbelieved = Some(claimed.into_claims()),
    }
    explained
}

/// Whether a check says something about tokens of this issuer.
fn concerns(check: &Check, issuer: &TrustedIssuer) -> bool {
    check.name != "trust domain" || issuer.profile == IssuerProfile::Spiffe
}

fn looked_at(check: &Check, judging: &Judging<'_>) -> Step {
    let (found, wanted) = ((check.found)(judging), (check.wanted)(judging));
    if !(check.holds)(judging) {
        return Step::failed(check.name, (found, wanted), (check.mend)(judging));
    }
    Step::held(check.name, found, wanted)
}

/// The enabled issuer that a token would be of, by what it says alone.
fn meant(catalog: &Catalog, claimed: &Claimed, used_as: UsedAs) -> Option<Arc<TrustedIssuer>> {
    let by_iss = claimed.text("iss").filter(|_| used_as != UsedAs::SpiffeAssertion);
    let spiffe_id = claimed.spiffe_id();
    let by_domain = spiffe_id.as_ref().map(SpiffeId::trust_domain_id);
    let named = [(by_iss, IssuerProfile::Jwt), (by_domain, IssuerProfile::Spiffe)];
    let mut found = named.into_iter().filter_map(|(name, profile)| {
        let mut of_name = catalog.trusted_issuers_of(name?);
        of_name.find(|issuer| issuer.enabled && issuer.profile == profile)
    });
    found.next().cloned()
}

/// What an unknown issuer may be meant to be.
fn nearest(catalog: &Catalog, claimed: &Claimed, used_as: UsedAs) -> String {
    let named = claimed.text("iss").or(claimed.text("sub")).unwrap_or_default();
    if let Some(same) = catalog.trusted_issuers_of(named).next() {
        let name = &same.name;
        return match same.profile {
            IssuerProfile::Spiffe => format!(
                "the trusted issuer {name} is a SPIFFE trust domain, whose tokens are known by a sub that is a SPIFFE ID \
                 of it, whatever their iss: have the token made with one"
            ),
            IssuerProfile::Jwt => format!(
                "the trusted issuer {name} is no SPIFFE trust domain, and the token is looked at as a JWT-SVID: present \
                 it as {}, or register the trust domain of its sub",
                UsedAs::ClientAssertion
            ),
        };
    }
    let own = claimed.text("iss").is_some_and(|iss| claimed.text("sub") == Some(iss));
    if own && used_as == UsedAs::ClientAssertion {
        return "as its iss is its sub, it is a client's own assertion (private_key_jwt), of no trusted issuer: the \
                audit has the reason why it was refused"
            .to_owned();
    }
    let near = catalog.trusted_issuers().iter().find(|issuer| alike(&issuer.issuer) == alike(named));
    if let Some(near) = near {
        return format!(
            "the trusted issuer {} has the issuer '{}', which is another text: register it as the token says it, \
                 character by character",
            near.name, near.issuer
        );
    }
    let all = catalog.trusted_issuers().iter().take(LISTED);
    let all: Vec<String> = all.map(|issuer| format!("'{}' ({})", issuer.issuer, issuer.name)).collect();
    if all.is_empty() {
        return "register a trusted issuer: there is none".to_owned();
    }
    format!("register it as a trusted issuer; registered are {}", all.join(", "))
}

/// What two spellings of one issuer have in common.
fn alike(issuer: &str) -> String {
    let issuer = issuer.trim().to_lowercase();
    let without_scheme = issuer.split_once("://").map_or(&*issuer, |(_, rest)| rest);
    without_scheme.trim_end_matches('/').to_owned()
}

/// What the token says of its issuer.
fn said(claimed: &Claimed) -> String {
    match (claimed.text("iss"), claimed.text("sub")) {
        (Some(iss), _) => format!("iss '{}'", quoted(iss)),
        (None, Some(sub)) => format!("no iss, sub '{}'", quoted(sub)),
        (None, None) => "neither iss nor sub".to_owned(),
    }
}

fn denied(denial: &Denial, now: Timestamp) -> Step {
    let name = &denial.issuer.name;
    let wanted = format!("of a key of {name}");
    match &denial.why {
        Why::Algorithm(algorithm) => {
            let allowed: Vec<&str> = denial.issuer.algorithms.iter().map(|one| one.as_str()).collect();
            let mend = format!("allow {algorithm} for {name}, if it does sign with it");
            Step::failed("alg", (algorithm.to_string(), format!("one of: {}", allowed.join(", "))), mend)
        }
        Why::NoKeys(why) => {
            let mend = format!("correct where the keys of {name} are");
            Step::failed("keys", (format!("none: {why}"), format!("keys of {name}")), mend)
        }
        Why::KeyUnknown { kid, keys } => {
            let known: Vec<String> = keys
                .keys()
                .iter()
                .take(LISTED)
                .map(|key| format!("'{}' ({})", quoted(key.kid()), key.description()))
                .collect();
            let found = match kid {
                Some(kid) => format!("kid '{}'", quoted(kid)),
                None => "no kid".to_owned(),
            };
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let (learned, newer) = learned(&denial.issuer.keys);
            let ago = now.as_seconds().saturating_sub(keys.fetched_at().as_seconds());
            let wanted = format!("a key of {name}, {learned} at {}, {ago} s ago: {known}", keys.fetched_at());
            let mend = match kid {
                Some(_) => format!("{newer}; else another issuer of the same name has made the token"),
                None => "have the issuer name its key in the token (kid), or publish one alone that fits"
                    .to_owned(),
            };
            Step::failed("key", (found, wanted), mend)
        }
        Why::Forged { .. } => {
            let (_, newer) = learned(&denial.issuer.keys);
            let mend = format!("see that the token is whole; {newer}; else somebody else has made it");
            Step::failed("signature", ("not of the key that the token names", wanted), mend)
        }
    }
}

/// How an issuer's keys became known, and what to do if it has newer ones.
const fn learned(keys: &KeySource) -> (&'static str, &'static str) {
    match keys {
        KeySource::Inline(_) => ("registered", "if the issuer has new keys, register them"),
        KeySource::BundleFile(_) => {
            ("read", "if the trust domain has new keys, write its bundle into the file")
        }
        KeySource::Discovery | KeySource::JwksUri(_) | KeySource::BundleEndpoint(_) => {
            ("fetched", "if the issuer has just rotated, try again in half a minute")
        }
    }
}

/// Whether the token may be presented again. Whether it was, is not asked.
fn reuse(claimed: &Claimed, issuer: &TrustedIssuer) -> Step {
    let found = match claimed.text("jti") {
        Some(jti) => format!("jti '{}'", quoted(jti)),
        None => "no jti".to_owned(),
    };
    let wanted = match issuer.reuse {
        Reuse::Once => "it counts once",
        Reuse::WithoutJti if claimed.has("jti") => "it counts once, as it has a jti",
        Reuse::WithoutJti => "it counts until it ends, as it has no jti",
        Reuse::WithinLife => "it counts until it ends",
    };
    Step::held("reuse", found, wanted)
}
