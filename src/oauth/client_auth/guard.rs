//! Limits on failed authentications, around the check itself (decision 032).

use super::{Authenticated, Caller};
use crate::domain::error::{ErrorCode, Failure, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::runtime::failures::{Failures, Limit, Limited, Source};

/// What a check is worth to whoever guesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stake {
    /// It costs little, and what it looks for cannot be guessed: it is always made, so a right credential passes.
    Little,
    /// It costs much, or what it looks for could be guessed.
    Much,
    /// The same, but the answer is in memory: this credential was proven before.
    Proven(CredentialId),
}

/// Makes the check, unless too much has failed for that, and counts what fails.
///
/// Everything depends on what is *claimed*: a client that there is not is limited like one that there is.
pub(super) async fn limited(
    failures: &Failures,
    stake: Stake,
    client_id: &ClientId,
    caller: Caller,
    check: impl Future<Output = Result<Authenticated, Failure>>,
) -> Result<Authenticated, Failure> {
    let source = Source::new(Some(client_id), caller.address);
    let known_here = match &stake {
        Stake::Little => true,
        Stake::Much => false,
        // Known from elsewhere is not enough: then anybody anywhere could try as many guesses as they like, and be
        // told by the answer which one is right.
        Stake::Proven(credential_id) => failures.was_proven(source, credential_id),
    };
    if !known_here && let Some(limited) = failures.reached(source) {
        return Err(too_many(limited, "the credential was not checked").into());
    }
    match check.await {
        Ok(authenticated) => {
            if stake != Stake::Little {
                failures.proven(source, &authenticated.credential.credential_id);
            }
            Ok(authenticated)
        }
        Err(failure) => Err(counted(failures, source, failure)),
    }
}

/// Counts a failed authentication, and says what is answered to it.
pub(super) fn counted(failures: &Failures, source: Source<'_>, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(error) if error.code == ErrorCode::InvalidClient => match failures.failed(source) {
            Some(limited) => too_many(limited, &error.private).into(),
            None => error.into(),
        },
        other => other,
    }
}

fn too_many(limited: Limited, reason: &str) -> OAuthError {
    let of = match limited.limit {
        Limit::Client => "this client at this address",
        Limit::Address => "all clients at this address",
    };
    let setting = limited.limit.as_str();
    OAuthError::too_many_failures(
        limited.retry_after,
        format!("too many authentications of {of} have failed (limits.failures_per_{setting}): {reason}"),
    )
}
