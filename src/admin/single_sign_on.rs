//! Signing in by another provider: sending somebody's browser there, and taking up what comes back.
//!
//! What ties the two together is kept in the store and in the browser, and neither is enough: the store has hashes
//! and a salt, the browser has 256 random bits, and what the provider is shown follows from both. It counts once, for
//! ten minutes, in that browser.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use secrecy::{ExposeSecret, SecretString};

use super::AdminError;
use super::sign_in::{Attempt, OpenedSession, SignIn, SignInError, hash, opener};
use super::sign_in_attempts::address_subject;
use crate::domain::audit::Origin;
use crate::domain::error::Fault;
use crate::domain::ids::AdministratorName;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::provider::{NotVouched, Proofs, Provider, Vouched};
use crate::runtime::refusals::network;
use crate::storage::SignInStart;

/// How long the provider, and whoever types a password there, may take.
pub const SIGN_IN_WITHIN: Duration = Duration::from_mins(10);

/// How many sign-ins of one network may be under way; with another one the oldest is dropped.
const OF_A_NETWORK: u32 = 50;

/// How many may be under way altogether.
const ALTOGETHER: i64 = 10_000;

/// The longest page to come back to, in bytes; from a longer one people come to the first page.
const LONGEST_NEXT: usize = 1_000;

/// Signing in by another provider.
#[derive(Clone)]
pub struct SingleSignOn {
    /// How people sign in otherwise, and what a sign-in opens.
    pub sign_in: SignIn,
    /// The provider.
    pub provider: Arc<Provider>,
    /// What people call it.
    pub label: Arc<str>,
}

/// A sign-in that has begun.
pub struct Begun {
    /// Where to send the browser.
    pub url: String,
    /// What the browser keeps until it comes back.
    pub browser: SecretString,
}

/// What the provider sent back with the browser.
#[derive(Default)]
pub struct Answer {
    /// What can be redeemed.
    pub code: Option<String>,
    /// What was sent there.
    pub state: Option<String>,
    /// Who says that it is from them (RFC 9207).
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// What it says twice, so that it is not known which counts (RFC 6749 §3.1).
    pub repeated: Option<&'static str>,
}

/// A sign-in that came back, and what became of it.
pub struct Finished {
    /// The page to go to.
    pub next: String,
    /// The session.
    pub session: OpenedSession,
}

/// Why somebody is not signed in, as far as they may know.
#[derive(Debug, thiserror::Error)]
pub enum SingleSignOnError {
    /// It was not begun in this browser, or has ended.
    #[error(
        "this sign-in was not begun in this browser, has ended already, or took longer than ten minutes: begin again"
    )]
    NotBegun,
    /// The provider says no.
    #[error("the provider did not sign you in ({0}): try again, or ask whoever looks after it")]
    Denied(String),
    /// Its answer does not hold.
    #[error("the provider's answer does not hold: try again; the audit has the reason")]
    NotTrusted,
    /// Its claims give no role.
    #[error(
        "the provider knows you, but does not say that you may administer this Jeton: ask whoever looks after your \
         account there to put you into the right group"
    )]
    NoRole,
    /// Its claims give no name that can be used here.
    #[error(
        "the provider does not say what to call you here: ask an administrator, who finds the reason in the audit"
    )]
    NoName,
    /// Somebody else has the name.
    #[error(
        "somebody else here is called '{0}': ask an administrator to register you under another name, with your \
         identity at the provider"
    )]
    NameTaken(AdministratorName),
    /// The account here is disabled.
    #[error("your account here is disabled: ask an administrator")]
    Disabled,
    /// Too many have failed from this address.
    #[error("there were too many attempts from your address")]
    TooMany {
        /// When the next one is looked at.
        opens_at: Timestamp,
    },
    /// Too many are under way.
    #[error("too many sign-ins are under way: try again in a few minutes, or sign in with a password")]
    Crowded,
    /// The provider does not answer, or nothing that can be used.
    #[error(transparent)]
    Away(Fault),
    /// Anything else.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

// === impl SingleSignOn ===

impl SingleSignOn {
    /// Begins a sign-in, in a browser that may have begun another one before.
    ///
    /// # Errors
    /// The provider or the database is away, or too many are under way.
    pub async fn begin(
        &self,
        origin: &Origin,
        before: Option<&str>,
        next: String,
    ) -> Result<Begun, SingleSignOnError> {
        // First, so that nothing is stored that leads nowhere.
        self.provider.reach().await.map_err(SingleSignOnError::Away)?;
        let admin = &self.sign_in.admin;
        let now = admin.ambient.now();
        if admin.store.sign_in_starts(now).await.map_err(AdminError::from)? >= ALTOGETHER {
            return Err(SingleSignOnError::Crowded);
        }
        let (state, state_hash) = opener(&admin.ambient)?;
        // The same browser keeps what it has: two of its windows may sign in at the same time.
        let (browser, browser_hash) = match before.and_then(|before| Some((before, hash(before)?))) {
            Some((before, hash)) => (SecretString::from(before.to_owned()), hash),
            None => opener(&admin.ambient)?,
        };
        let start = SignInStart {
            salt: admin.ambient.bytes::<32>()?.to_vec(),
            issuer: self.provider.issuer().to_owned(),
            next: if next.len() > LONGEST_NEXT { String::new() } else { next },
        };
        let proofs = proofs(&browser, &state, &start.salt)?;
        let url = self.provider.authorization_url(&proofs).await.map_err(SingleSignOnError::Away)?;
        let network = origin.address.map_or_else(|| "unknown".to_owned(), |at| network(at).to_string());
        let times = (now, now.plus(SIGN_IN_WITHIN));
        let mut tx = admin.begin().await?;
        tx.begin_sign_in((&state_hash, &browser_hash), &start, (&network, OF_A_NETWORK), times)
            .await
            .map_err(AdminError::from)?;
        tx.commit().await.map_err(AdminError::from)?;
        Ok(Begun { url, browser })
    }

    /// Takes up what the provider sent back: whoever it vouches for, and gives a role, is signed in.
    ///
    /// # Errors
    /// Why they are not. Every refusal is in the audit, with its exact reason.
    pub async fn finish(
        &self,
        attempt: &Attempt<'_>,
        browser: Option<&str>,
        answer: Answer,
    ) -> Result<Finished, SingleSignOnError> {
        let (start, proofs) = self.take(attempt.origin, browser, answer.state.as_deref()).await?;
        if start.issuer != self.provider.issuer() {
            let why = "it was begun with another provider, before the configuration was changed";
            return self.refuse(attempt.origin, why, SingleSignOnError::NotBegun).await;
        }
        if let Some(repeated) = answer.repeated {
            let why = format!("the provider's answer has '{repeated}' twice");
            return self.refuse(attempt.origin, &why, SingleSignOnError::NotTrusted).await;
        }
        if let Err(problem) = self.provider.check_sender(answer.issuer.as_deref()).await {
            return self.not_vouched(attempt.origin, problem).await;
        }
        let code = match answer {
            Answer { error: None, code: Some(code), .. } => code,
            Answer { error: None, code: None, .. } => {
                let why = "the provider sent neither a code nor an error";
                return self.refuse(attempt.origin, why, SingleSignOnError::NotTrusted).await;
            }
            Answer { error: Some(error), .. } => {
                let error = quoted(&error);
                let why = format!("the provider says: {error}");
                return self.refuse(attempt.origin, &why, SingleSignOnError::Denied(error)).await;
            }
        };
        let vouched = self.redeem(attempt.origin, code, &proofs).await?;
        let session = self.admit(attempt, &vouched).await?;
        Ok(Finished { next: start.next, session })
    }

    /// Takes the sign-in that was begun with this state in this browser. It is there once, whatever comes of it.
    async fn take(
        &self,
        origin: &Origin,
        browser: Option<&str>,
        state: Option<&str>,
    ) -> Result<(SignInStart, Proofs), SingleSignOnError> {
        let admin = &self.sign_in.admin;
        let Some((state, state_hash)) = state.and_then(|state| Some((state, hash(state)?))) else {
            let why = "the provider's answer has no state of ours";
            return self.refuse(origin, why, SingleSignOnError::NotBegun).await;
        };
        let now = admin.ambient.now();
        if let Some((browser, browser_hash)) = browser.and_then(|browser| Some((browser, hash(browser)?))) {
            let mut tx = admin.begin().await?;
            let start = tx.take_sign_in((&state_hash, &browser_hash), now).await.map_err(AdminError::from)?;
            tx.commit().await.map_err(AdminError::from)?;
            if let Some(start) = start {
                let secret = |text: &str| SecretString::from(text.to_owned());
                let proofs = proofs(&secret(browser), &secret(state), &start.salt)?;
                return Ok((start, proofs));
            }
        }
        let elsewhere = admin.store.has_sign_in_start(&state_hash, now).await.map_err(AdminError::from)?;
        let why = if elsewhere {
            "the sign-in was begun in another browser"
        } else {
            "the state was used before, has ended, or was never ours"
        };
        self.refuse(origin, why, SingleSignOnError::NotBegun).await
    }

    /// Redeems the code. It counts as an attempt of the address until it has succeeded: nobody makes Jeton ask the
    /// provider as often as they like.
    async fn redeem(
        &self,
        origin: &Origin,
        code: String,
        proofs: &Proofs,
    ) -> Result<Vouched, SingleSignOnError> {
        let subjects: Vec<_> = address_subject(origin).into_iter().collect();
        self.sign_in.count(origin, &subjects, None).await?;
        let redeemed = self.provider.redeem(code, proofs).await;
        // That the provider is away is nobody's failure.
        if !matches!(redeemed, Err(NotVouched::Refused(_))) {
            self.sign_in.take_back(&subjects).await?;
        }
        match redeemed {
            Ok(vouched) => Ok(vouched),
            Err(problem) => self.not_vouched(origin, problem).await,
        }
    }

    async fn not_vouched<T>(&self, origin: &Origin, problem: NotVouched) -> Result<T, SingleSignOnError> {
        match problem {
            NotVouched::Refused(why) => self.refuse(origin, &why, SingleSignOnError::NotTrusted).await,
            NotVouched::Fault(fault) => Err(SingleSignOnError::Away(fault)),
        }
    }

    /// Records why, and answers what they may know.
    async fn refuse<T>(
        &self,
        origin: &Origin,
        why: &str,
        error: SingleSignOnError,
    ) -> Result<T, SingleSignOnError> {
        self.refuse_person(origin, None, why, error).await
    }

    /// The same, for somebody whom the provider vouches for.
    pub(super) async fn refuse_person<T>(
        &self,
        origin: &Origin,
        person: Option<AdministratorName>,
        why: &str,
        error: SingleSignOnError,
    ) -> Result<T, SingleSignOnError> {
        self.sign_in.record_refusal(origin, person, &format!("single sign-on: {why}")).await?;
        Err(error)
    }
}

// === impl SingleSignOnError ===

impl From<SignInError> for SingleSignOnError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Refused | SignInError::Ended => Self::NotTrusted,
            SignInError::TooMany { opens_at } => Self::TooMany { opens_at },
            SignInError::Admin(error) => Self::Admin(error),
        }
    }
}

impl From<Fault> for SingleSignOnError {
    fn from(fault: Fault) -> Self {
        Self::Admin(fault.into())
    }
}

/// What the provider is shown: it follows from what the browser has, the state and the salt, so that whoever reads
/// the store cannot make it, nor whoever has only the browser.
fn proofs(browser: &SecretString, state: &SecretString, salt: &[u8]) -> Result<Proofs, Fault> {
    let key = BASE64URL
        .decode(browser.expose_secret())
        .map_err(|_| Fault::internal("what the browser has is not what was checked"))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let derived = |purpose: &[u8]| {
        let mut context = hmac::Context::with_key(&key);
        // Neither the purpose nor the salt has a length that anybody chooses.
        context.update(purpose);
        context.update(salt);
        context.update(state.expose_secret().as_bytes());
        SecretString::from(BASE64URL.encode(context.sign()))
    };
    Ok(Proofs { state: state.clone(), nonce: derived(b"nonce:"), verifier: derived(b"verifier:") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_is_shown_follows_from_all_three() {
        let secret = |byte: u8| SecretString::from(BASE64URL.encode([byte; 32]));
        let made = |browser: u8, state: u8, salt: u8| {
            let proofs = proofs(&secret(browser), &secret(state), &[salt; 32]).unwrap();
            assert_eq!(proofs.verifier.expose_secret().len(), 43, "RFC 7636 4.1");
            (proofs.nonce.expose_secret().to_owned(), proofs.verifier.expose_secret().to_owned())
        };
        let (nonce, verifier) = made(1, 2, 3);
        assert_ne!(nonce, verifier);
        assert_eq!(made(1, 2, 3), (nonce.clone(), verifier.clone()));
        for (other_nonce, other_verifier) in [made(9, 2, 3), made(1, 9, 3), made(1, 2, 9)] {
            assert!(other_nonce != nonce && other_verifier != verifier);
        }
    }
}
