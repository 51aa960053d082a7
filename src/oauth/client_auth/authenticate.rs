//! Who has sent a request: `identify → look up → verify`, the one way for every endpoint.
//!
//! From the outside inwards: [`authenticate`] finds out who is claimed and what is registered of them, [`within_limits`]
//! stops where too much has failed, [`try_each_way`] goes through what the request can mean, [`Way::verify`] checks one
//! proof, and [`admit`] says whether this client may try it at all.

use std::sync::Arc;

use super::guard::{self, Stake};
use super::{Authenticated, Caller, Claim, Method, Offered, Verified, Verifiers, Way, no_credential};
use crate::domain::client::{AuthMethod, GrantType, Registration};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::runtime::directory::Directory;
use crate::runtime::failures::Source;

/// How an authentication has ended, with what is recorded of it in any case.
#[derive(Debug)]
pub struct Attempted {
    /// Whom it was said or found to be of.
    pub claimed: Option<Claimed>,
    /// How the client authenticates, as far as is known.
    pub method: Option<AuthMethod>,
    /// Who it is; or `invalid_client`, `invalid_grant`, or when too much has failed `temporarily_unavailable`, with the
    /// reason for the audit only; or a fault.
    pub outcome: Result<Authenticated, Failure>,
}

/// Who a request says it is from.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The name, whosever it is.
    pub client_id: ClientId,
    /// Whether there is a client of this name, where that was looked up.
    pub known: bool,
}

/// Who has to prove that they are a client, admitted or not.
struct Claimant<'a> {
    client_id: &'a ClientId,
    /// What is registered under this name.
    registration: Option<Arc<Registration>>,
    caller: Caller,
}

/// Finds out who has sent a request, and checks it.
pub async fn authenticate(
    verifiers: &Verifiers,
    directory: &Directory,
    mut offered: Offered,
    caller: Caller,
) -> Attempted {
    if let Err(failure) = offered.identify(verifiers, directory, caller).await {
        let source = Source::new(offered.client_id.as_ref(), caller.address);
        let failure = guard::counted(&verifiers.failures, source, failure);
        let known = is_known(directory, offered.client_id.as_ref()).await;
        return offered.attempted(known, Err(failure));
    }
    let Some(client_id) = offered.client_id.clone() else {
        return offered.attempted(false, Err(no_credential().into()));
    };
    let registration = match directory.client(&client_id).await {
        Ok(registration) => registration,
        Err(fault) => return offered.attempted(false, Err(fault.into())),
    };
    let known = registration.is_some();
    offered.meant_for(registration.as_deref());
    let claimant = Claimant { client_id: &client_id, registration, caller };
    let outcome = within_limits(verifiers, &offered.ways, claimant).await;
    if outcome.is_err() && known {
        directory.look_as_if_unknown(&client_id).await;
    }
    offered.attempted(known, outcome)
}

/// Whether whom a failed request names is a client, as far as can be said now: for the audit, and in the same time.
async fn is_known(directory: &Directory, named: Option<&ClientId>) -> bool {
    let Some(named) = named else { return false };
    let known = directory.client(named).await.is_ok_and(|registration| registration.is_some());
    if known {
        directory.look_as_if_unknown(named).await;
    }
    known
}

/// Checks what was presented, unless too much has failed for that, and counts it if this fails too.
async fn within_limits(
    verifiers: &Verifiers,
    ways: &[Way],
    claimant: Claimant<'_>,
) -> Result<Authenticated, Failure> {
    let (client_id, caller) = (claimant.client_id, claimant.caller);
    let stake = ways.first().map_or(Stake::Little, |way| way.proof.stake(verifiers, client_id));
    let check = try_each_way(verifiers, ways, claimant);
    guard::limited(&verifiers.failures, stake, client_id, caller, check).await
}

/// The first way that holds proves the client. If none does, the last one's refusal stands; a fault ends it, because it
/// says nothing of the client.
async fn try_each_way(
    verifiers: &Verifiers,
    ways: &[Way],
    claimant: Claimant<'_>,
) -> Result<Authenticated, Failure> {
    let mut refusal = no_credential().into();
    for way in ways {
        match way.verify(verifiers, &claimant).await {
            Ok(credential) => {
                let registration = claimant.registration;
                let registration =
                    registration.ok_or_else(|| OAuthError::invalid_client("no client has this client_id"))?;
                let (method, by_grant) = (way.method.name(), way.method.is_grant());
                return Ok(Authenticated { registration, method, credential, by_grant });
            }
            Err(fault @ Failure::Fault(_)) => return Err(fault),
            Err(refused) => refusal = refused,
        }
    }
    Err(refusal)
}

// === impl Way ===

impl Way {
    /// Checks the proof of a claimant, also of one who is not admitted: the time that it takes must not tell who is
    /// registered.
    async fn verify(&self, verifiers: &Verifiers, claimant: &Claimant<'_>) -> Result<Verified, Failure> {
        let &Claimant { client_id, ref registration, caller } = claimant;
        let admitted = admit(registration.as_deref(), self.method, caller);
        let registration = admitted.as_ref().ok().copied();
        let verified = self.proof.verify(Claim { verifiers, client_id, registration, now: caller.now }).await;
        // Why nobody was admitted goes before what was wrong with the proof; a fault goes before both.
        if let (Err(reason), Ok(_) | Err(Failure::Refused(_))) = (&admitted, &verified) {
            return Err(OAuthError::invalid_client(reason.clone()).into());
        }
        verified
    }
}

/// Whether the client may try at all: the one place where *absent*, *disabled* and *expired* refuse.
pub(super) fn admit<'a>(
    registration: Option<&'a Registration>,
    method: &dyn Method,
    caller: Caller,
) -> Result<&'a Registration, String> {
    let registration = registration.ok_or("no client has this client_id")?;
    let client = &registration.client;
    client.check(caller.now).map_err(|why| format!("the client is {}", why.as_str()))?;
    if !method.is_for(client) {
        let what = if method.is_grant() { GrantType::JwtBearer.as_str() } else { method.name().as_str() };
        return Err(format!("the client is not registered for {what}"));
    }
    if !client.may_call_from(caller.address) {
        return Err("the caller's address is outside the client's allowed networks".to_owned());
    }
    Ok(registration)
}
