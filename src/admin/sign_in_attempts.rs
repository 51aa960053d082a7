//! Password and second factor of whoever signs in, and how often that may be tried.
//!
//! An attempt is counted before it is looked at, for the account and for the address, in the store: many at once, or
//! on several replicas, are no more than one after the other. A name that nobody has is counted and costs like any.

use secrecy::SecretString;

use super::sign_in::{Attempt, LiveSession, OpenedSession, SignIn, SignInError, account};
use super::{AdminError, By};
use crate::domain::administrator::{Administrator, Stage};
use crate::domain::audit::{Actor, Event, Origin, SignInMethod};
use crate::domain::back_off::{Counted, FORGOTTEN_AFTER};
use crate::domain::ids::AdministratorName;
use crate::domain::second_factor;
use crate::domain::time::Timestamp;
use crate::runtime::refusals::network;
use crate::runtime::sealed;
use crate::storage::Tx;

// === impl SignIn ===

impl SignIn {
    /// Checks name and password, and begins a session: a whole one, or one that waits for the second factor.
    ///
    /// # Errors
    /// They are not right, there were too many attempts, or the database is away.
    pub async fn by_password(
        &self,
        attempt: &Attempt<'_>,
        name: &str,
        password: SecretString,
    ) -> Result<OpenedSession, SignInError> {
        let typed = name.trim().to_lowercase();
        let known = match AdministratorName::new(&typed) {
            Ok(name) => self.admin.store.administrator(&name).await.map_err(AdminError::from)?,
            Err(_) => None,
        };
        let claimed = known.as_ref().map(|known| known.name.clone());
        self.count(attempt.origin, &subjects(attempt.origin, &typed), claimed.as_ref()).await?;
        let hash = known.as_ref().and_then(|known| known.password_hash.clone());
        let right = self.passwords.verify_password(password, hash).await.map_err(AdminError::from)?;
        let known = match known {
            Some(known) if right && known.enabled => known,
            Some(known) => {
                let why = match (known.enabled, &known.password_hash, &known.external) {
                    (false, ..) => "the account is disabled",
                    (true, None, Some(_)) => "the account has no password: it signs in by its provider",
                    (true, None, None) => "the account has no password yet",
                    (true, Some(_), _) => "the password is wrong",
                };
                return self.refuse_sign_in(attempt.origin, claimed, why).await;
            }
            None => return self.refuse_sign_in(attempt.origin, None, "there is nobody of this name").await,
        };
        let stage = self.stage_after_password(known.second_factor.is_some());
        let mut tx = self.begin_for(attempt.origin, &known).await?;
        let opened = self.open_session(&mut tx, known.uid, stage, (attempt.origin, attempt.agent)).await?;
        for subject in subjects(attempt.origin, &typed) {
            // Only this attempt was none: wrong codes keep counting however often the password is repeated.
            tx.take_attempt_back(&subject.0).await.map_err(AdminError::from)?;
        }
        if stage == Stage::SignedIn {
            tx.clear_attempts(&account(&typed)).await.map_err(AdminError::from)?;
            let by = by(&known.name, attempt.origin);
            self.note_signed_in(&mut tx, known.uid, &by, SignInMethod::Password).await?;
        }
        tx.commit().await.map_err(AdminError::from)?;
        self.admin.chain(&by(&known.name, attempt.origin)).await;
        Ok(opened)
    }

    /// Checks a one-time code or a recovery code, and goes on to a whole session.
    ///
    /// # Errors
    /// It is not right or was used, there were too many attempts, or the database is away.
    pub async fn by_second_factor(
        &self,
        attempt: &Attempt<'_>,
        live: &LiveSession,
        code: &str,
    ) -> Result<OpenedSession, SignInError> {
        let name = live.name.as_str();
        self.count(attempt.origin, &subjects(attempt.origin, name), Some(&live.name)).await?;
        let known = self.admin.store.administrator(&live.name).await.map_err(AdminError::from)?;
        let Some(known) = known.filter(|known| known.uid == live.administrator && known.enabled) else {
            return self.refuse_sign_in(attempt.origin, Some(live.name.clone()), "the account is gone").await;
        };
        let step = self.code_step(&known, code).await?;
        let mut tx = self.leave(attempt.origin, live, &known).await?;
        let counts = match (step, second_factor::recovery_hash(code)) {
            (Some(step), _) => {
                tx.count_code(known.uid, step).await.map(|new| new.then_some(SignInMethod::OneTimeCode))
            }
            (None, Some(hash)) if known.second_factor.is_some() => {
                let found = tx.count_recovery_code(known.uid, &hash).await;
                found.map(|found| found.then_some(SignInMethod::RecoveryCode))
            }
            (None, _) => Ok(None),
        };
        let Some(how) = counts.map_err(AdminError::from)? else {
            drop(tx);
            let why = if step.is_some() { "the one-time code was used before" } else { "the code is wrong" };
            return self.refuse_sign_in(attempt.origin, Some(live.name.clone()), why).await;
        };
        let opened = self.go_on(&mut tx, live, attempt).await?;
        // In the order in which attempts are counted.
        for (subject, _) in subjects(attempt.origin, name) {
            tx.take_attempt_back(&subject).await.map_err(AdminError::from)?;
        }
        tx.clear_attempts(&account(name)).await.map_err(AdminError::from)?;
        let by = by(&live.name, attempt.origin);
        self.note_signed_in(&mut tx, known.uid, &by, how).await?;
        tx.commit().await.map_err(AdminError::from)?;
        self.admin.chain(&by).await;
        Ok(opened)
    }

    /// Begins a transaction in which an account stays what it was when it was read and something was checked against
    /// it: a password that was replaced meanwhile opens nothing.
    ///
    /// # Errors
    /// The account was changed, which is refused as if what was checked were wrong; or the database is away.
    pub(super) async fn begin_for(&self, origin: &Origin, known: &Administrator) -> Result<Tx, SignInError> {
        let mut tx = self.admin.begin().await?;
        if tx.hold_administrator(known.uid, known.version).await.map_err(AdminError::from)? {
            return Ok(tx);
        }
        drop(tx);
        let why = "the account was changed while this was looked at";
        self.refuse_sign_in(origin, Some(known.name.clone()), why).await
    }

    /// Checks the password of somebody who is signed in, before they change what they sign in with: an open browser
    /// is not enough for that.
    pub(super) async fn confirm_password(
        &self,
        origin: &Origin,
        live: &LiveSession,
        password: SecretString,
    ) -> Result<Administrator, SignInError> {
        let name = live.name.as_str();
        self.count(origin, &subjects(origin, name), Some(&live.name)).await?;
        let known = self.admin.store.administrator(&live.name).await.map_err(AdminError::from)?;
        let known = known.filter(|known| known.uid == live.administrator);
        let hash = known.as_ref().and_then(|known| known.password_hash.clone());
        let right = self.passwords.verify_password(password, hash).await.map_err(AdminError::from)?;
        let Some(known) = known.filter(|known| right && known.enabled) else {
            let why = "the password was wrong when the account was to be changed";
            return self.refuse_sign_in(origin, Some(live.name.clone()), why).await;
        };
        self.take_back(&subjects(origin, name)).await?;
        Ok(known)
    }

    /// Counts an attempt that succeeded no longer.
    pub(super) async fn take_back(&self, subjects: &[(String, Counted)]) -> Result<(), AdminError> {
        let mut tx = self.admin.begin().await?;
        for (subject, _) in subjects {
            tx.take_attempt_back(subject).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The step that a one-time code of this person belongs to.
    pub(super) async fn code_step(
        &self,
        known: &Administrator,
        code: &str,
    ) -> Result<Option<i64>, AdminError> {
        let Some(sealed) = &known.second_factor else { return Ok(None) };
        let purpose = sealed::second_factor(known.name.as_str());
        let secret = self.master_keys.open(&purpose, sealed).await?;
        Ok(second_factor::step_of(code, &secret, self.admin.ambient.now())?)
    }

    /// Counts an attempt for what [`subjects`] gives, unless one of them has to wait.
    pub(super) async fn count(
        &self,
        origin: &Origin,
        subjects: &[(String, Counted)],
        claimed: Option<&AdministratorName>,
    ) -> Result<(), SignInError> {
        let now = self.admin.ambient.now();
        let mut opens_at = None;
        let mut tx = self.admin.begin().await?;
        // Always in this order, so that no two wait for each other.
        for (subject, counted) in subjects {
            let failures =
                tx.count_attempt(subject, now, now.minus(FORGOTTEN_AFTER)).await.map_err(AdminError::from)?;
            if let Some(failures) = failures {
                // As if it fails; whoever succeeds takes it back.
                let until = now.plus(counted.wait(failures));
                tx.shut_attempts(subject, until).await.map_err(AdminError::from)?;
            } else {
                opens_at = tx.attempts_open_at(subject).await.map_err(AdminError::from)?;
                break;
            }
        }
        tx.commit().await.map_err(AdminError::from)?;
        match opens_at {
            None => Ok(()),
            Some(opens_at) => {
                let why = "there were too many attempts before; this one was not looked at";
                self.record_refusal(origin, claimed.cloned(), why).await?;
                Err(SignInError::TooMany { opens_at })
            }
        }
    }

    async fn refuse_sign_in<T>(
        &self,
        origin: &Origin,
        claimed: Option<AdministratorName>,
        why: &str,
    ) -> Result<T, SignInError> {
        self.record_refusal(origin, claimed, why).await?;
        Err(SignInError::Refused)
    }

    /// Records that somebody was not signed in, and why.
    pub(super) async fn record_refusal(
        &self,
        origin: &Origin,
        claimed_name: Option<AdministratorName>,
        why: &str,
    ) -> Result<(), AdminError> {
        let known = claimed_name.is_some();
        let event = Event::SignInRefused { claimed_name, reason: why.to_owned(), repeated: None };
        let by = By { origin: origin.clone(), ..By::system() };
        Ok(self.admin.refusals.record(self.admin.event(&by, event), known).await?)
    }

    /// When the next attempt is looked at, in seconds from now, at least one.
    #[must_use]
    pub fn seconds_until(&self, opens_at: Timestamp) -> i64 {
        let micros = opens_at.as_micros() - self.admin.ambient.now().as_micros();
        micros.div_euclid(1_000_000).saturating_add(1).max(1)
    }
}

/// Whoever has just proven to be of this name.
fn by(name: &AdministratorName, origin: &Origin) -> By {
    By { actor: Actor::Person { name: name.clone() }, origin: origin.clone(), ..By::system() }
}

/// What an attempt is counted for: the address if it is known, then the account.
fn subjects(origin: &Origin, name: &str) -> Vec<(String, Counted)> {
    address_subject(origin).into_iter().chain([(account(name), Counted::Account)]).collect()
}

/// What attempts of an address are counted under: of IPv6 the network, as whoever has one address has them all.
pub(super) fn address_subject(origin: &Origin) -> Option<(String, Counted)> {
    origin.address.map(|address| (format!("address {}", network(address)), Counted::Address))
}
