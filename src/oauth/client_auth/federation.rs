//! Which client a token of a trusted issuer is of: what the methods and the grant share that take one.
//!
//! The token is verified first, so that whoever makes one up has no client looked for. Then the client is the one that
//! the request names, or the only one that has a federated credential whose conditions all hold.

use serde::Deserialize;

use super::{Caller, Claim, Identified, Presentation, Presented, Proof, Seeking, Verified, admit};
use crate::domain::client::Registration;
use crate::domain::error::{Failure, Fault, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::domain::trust::{FederatedCredential, TrustedIssuer};
use crate::jose::{Object, Unverified};
use crate::oauth::Boxed;
use crate::oauth::outside::{LONGEST, NotAccepted, OutsideToken, Reason, UsedAs};
use crate::runtime::federation::NoMatches;

/// The most clients that are looked at because a token may be of them.
const MOST_CANDIDATES: usize = 200;

/// A token that is presented as somebody's proof, as it was sent. Its `Debug` form does not hold it.
struct Unproven {
    token: String,
    used_as: UsedAs,
}

/// A token, or a certificate, that counts, of whomever it is.
#[derive(Debug)]
pub(super) struct Believed {
    pub(super) token: OutsideToken,
    /// What ends with it, if what it proves does.
    pub(super) not_after: Option<Timestamp>,
}

/// A token as proof of the client that the request names, or of whomever it is.
pub(super) fn presented(
    request: &Presentation<'_>,
    token: &str,
    used_as: UsedAs,
) -> Result<Presented, OAuthError> {
    let named = request.form.get("client_id").map(ClientId::new).transpose();
    let client_id = named.map_err(|_| OAuthError::invalid_client("the client_id is not one"))?;
    Ok(Presented { client_id, proof: Box::new(Unproven { token: token.to_owned(), used_as }) })
}

/// Whether an assertion says that somebody else than its subject has issued it. What cannot be read does not say so.
pub(super) fn is_about_another(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Parties {
        iss: String,
        sub: String,
    }
    // Whoever reads it refuses what is longer.
    if token.len() > LONGEST {
        return false;
    }
    let parties = Unverified::parse(token).ok().and_then(|token| token.claimed::<Parties>());
    parties.is_some_and(|parties| parties.iss != parties.sub)
}

// === impl Unproven ===

impl std::fmt::Debug for Unproven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unproven").field("used_as", &self.used_as).finish_non_exhaustive()
    }
}

impl Proof for Unproven {
    fn identify<'a>(&'a self, seeking: Seeking<'a>) -> Option<Boxed<'a, Result<Identified, Failure>>> {
        Some(Box::pin(async move {
            let outside = &seeking.verifiers.outside;
            let token = outside.verify(&self.token, self.used_as, seeking.caller.now).await;
            let token = token.map_err(refused)?;
            let client_id = match named(&seeking, &token).await? {
                Some(named) => named.clone(),
                None => find(&seeking, &token).await?,
            };
            Ok(Identified { client_id, proof: Box::new(Believed { token, not_after: None }) })
        }))
    }

    fn verify<'a>(&'a self, _claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        // What is verified is what `identify` has put in its place.
        Box::pin(async { Err(Fault::internal("a token of a trusted issuer was not verified").into()) })
    }
}

pub(super) fn refused(problem: NotAccepted) -> Failure {
    match problem {
        NotAccepted::Refused(reason) => OAuthError::invalid_client(reason).into(),
        NotAccepted::Fault(fault) => fault.into(),
    }
}

// === impl Believed ===

impl Believed {
    /// Whether it is the claimed client's.
    pub(super) fn prove(&self, claim: Claim<'_>) -> Result<Verified, Failure> {
        let registration = claim.registration;
        let registration = registration
            .ok_or_else(|| OAuthError::invalid_client("there is no client to check it against"))?;
        let proven = credential(registration, self.token.says(), claim.now);
        let proven = proven.map_err(OAuthError::invalid_client)?;
        Ok(Verified {
            credential_id: proven.credential_id.clone(),
            not_after: [proven.expires_at, self.not_after].into_iter().flatten().min(),
            used: self.token.used.clone(),
            legacy_audience: false,
        })
    }
}

impl Proof for Believed {
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        let outcome = self.prove(claim);
        Box::pin(async move { outcome })
    }
}

/// The client's federated credential that a token fulfils.
///
/// # Errors
/// It has none of this issuer whose conditions hold, or that one is expired.
pub fn credential<'r>(
    registration: &'r Registration,
    (issuer, claims): (&TrustedIssuer, &Object),
    now: Timestamp,
) -> Result<&'r FederatedCredential, Reason> {
    let of_issuer = registration.federated.iter().filter(|one| one.trusted_issuer == issuer.uid);
    let mut fulfilled = of_issuer.filter(|one| one.conditions.hold(claims)).peekable();
    let Some(first) = fulfilled.peek().copied() else {
        return Err(format!(
            "the client has no federated credential of {} whose conditions hold for the token",
            issuer.name
        )
        .into());
    };
    let lapsed = |one: &FederatedCredential| one.check(now).err();
    fulfilled.find(|one| lapsed(one).is_none()).ok_or_else(|| {
        let why = lapsed(first).map_or("not in force", |why| why.as_str());
        format!("federated credential {} is {why}", first.credential_id).into()
    })
}

/// The client that the request names beside a token. The draft for SPIFFE wants the SPIFFE ID there: where no client is
/// called so, it says no more than the token (decision 036).
async fn named<'s>(seeking: &Seeking<'s>, token: &OutsideToken) -> Result<Option<&'s ClientId>, Fault> {
    let Some(named) = seeking.named else { return Ok(None) };
    let says_more = !token.is_called(named) || seeking.directory.client(named).await?.is_some();
    Ok(says_more.then_some(named))
}

/// The only client that a token can be of.
pub(super) async fn find(seeking: &Seeking<'_>, token: &OutsideToken) -> Result<ClientId, Failure> {
    let candidates = seeking.directory.matches().candidates(token.issuer.uid, &token.claims).await;
    let candidates = candidates.map_err(|problem| match problem {
        NoMatches::Fault(fault) => Failure::from(fault),
        problem @ (NoMatches::TooMany(_) | NoMatches::TooManyClients) => {
            OAuthError::invalid_client(problem.to_string()).into()
        }
    })?;
    let issuer = &token.issuer.name;
    if candidates.len() > MOST_CANDIDATES {
        let reason =
            format!("over {MOST_CANDIDATES} clients could match a token of {issuer}: send client_id");
        return Err(OAuthError::invalid_client(reason).into());
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for client_id in candidates {
        let Some(registration) = seeking.directory.client(&client_id).await? else { continue };
        match fits(seeking, &registration, token) {
            Ok(_) => found.push(client_id),
            Err(reason) => others.push(format!("{client_id}: {reason}")),
        }
    }
    match &found[..] {
        [only] => Ok(only.clone()),
        [] if others.is_empty() => {
            let reason = format!("no client has a federated credential that this token of {issuer} fulfils");
            Err(OAuthError::invalid_client(reason).into())
        }
        [] => {
            others.truncate(5);
            let reason = format!("no client is proven by this token of {issuer}: {}", others.join("; "));
            Err(OAuthError::invalid_client(reason).into())
        }
        several => {
            let names: Vec<&str> = several.iter().take(5).map(ClientId::as_str).collect();
            let reason = format!(
                "{} clients have federated credentials that this token of {issuer} fulfils, among them {}: send \
                 client_id, or make their conditions differ",
                several.len(),
                names.join(", ")
            );
            Err(OAuthError::invalid_client(reason).into())
        }
    }
}

fn fits(
    seeking: &Seeking<'_>,
    registration: &Registration,
    token: &OutsideToken,
) -> Result<CredentialId, Reason> {
    let Caller { now, .. } = seeking.caller;
    // Whoever no method and no grant lets take such tokens is kept in memory without credentials: that is the reason then.
    if registration.federated.is_empty() {
        admit(Some(registration), seeking.method, seeking.caller)?;
    }
    // What a token of somebody else's does not fulfil says nothing about that client.
    let credential = credential(registration, token.says(), now)?;
    admit(Some(registration), seeking.method, seeking.caller)?;
    Ok(credential.credential_id.clone())
}
