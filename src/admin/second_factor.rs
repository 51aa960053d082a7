//! Getting a second factor: somebody new after the password, and whoever has lost a device and kept the password and a
//! recovery code.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::sign_in::{Attempt, LiveSession, OpenedSession, SignIn, SignInError};
use super::{AdminError, Written};
use crate::domain::administrator::{Administrator, Stage};
use crate::domain::audit::SignInMethod;
use crate::domain::ids::AdministratorUid;
use crate::domain::second_factor::{self, Enrolment};
use crate::runtime::sealed;
use crate::storage::{ChangeKind, Tx};

/// What somebody has after getting a second factor.
pub struct Enrolled {
    /// Their session, which is whole now.
    pub session: OpenedSession,
    /// Each replaces one code, once. Shown once.
    pub recovery_codes: Vec<SecretString>,
}

// === impl SignIn ===

impl SignIn {
    /// Whether whoever has this session still has to get a second factor, instead of showing it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn needs_enrolment(&self, live: &LiveSession) -> Result<bool, AdminError> {
        Ok(self.stored(live).await?.second_factor.is_none())
    }

    /// What to show so that a device makes codes: with a new secret, or the one that was shown before.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn offer(
        &self,
        live: &LiveSession,
        host: &str,
        before: Option<&str>,
    ) -> Result<Enrolment, AdminError> {
        let secret = match before.and_then(second_factor::read_secret) {
            Some(secret) => secret,
            None => self.admin.ambient.bytes::<{ second_factor::SECRET }>()?.to_vec(),
        };
        Ok(second_factor::enrol(&secret, live.name.as_str(), host)?)
    }

    /// Takes the secret that was shown, once a code proves that the device has it. The secret comes back with the form,
    /// from the one person that it is for; nothing is kept of it until then.
    ///
    /// # Errors
    /// The code is not of this secret, or there is a second factor already, which somebody who knows only the
    /// password must not replace.
    pub async fn enrol(
        &self,
        attempt: &Attempt<'_>,
        live: &LiveSession,
        (secret, code): (&str, &str),
        password: Option<SecretString>,
    ) -> Result<Enrolled, SignInError> {
        let known = match (live.session.stage, password) {
            (Stage::SignedIn, Some(password)) => {
                self.confirm_password(attempt.origin, live, password).await?
            }
            (Stage::SignedIn, None) => return Err(SignInError::Refused),
            (Stage::SecondFactor, _) => self.stored(live).await?,
        };
        if live.session.stage == Stage::SecondFactor && known.second_factor.is_some() {
            let taken = "there is a second factor already; sign in with it, or with a recovery code";
            return Err(AdminError::Conflict(taken.to_owned()).into());
        }
        let again = "scan the picture again";
        let secret = second_factor::read_secret(secret)
            .ok_or_else(|| AdminError::invalid("code", "the secret was not what was shown", again))?;
        let now = self.admin.ambient.now();
        let step = second_factor::step_of(code, &secret, now).map_err(AdminError::from)?;
        let step = step.ok_or_else(|| {
            let fix = "type the six digits that the device shows now, and check that its clock is right";
            AdminError::invalid("code", "it is not the code of this secret", fix)
        })?;
        let purpose = sealed::second_factor(known.name.as_str());
        let envelope = self.master_keys.seal(&purpose, &secret).await.map_err(AdminError::from)?;
        let by = live.by(attempt.origin.clone());
        let mut tx = self.leave(attempt.origin, live, &known).await?;
        tx.set_second_factor(known.uid, Some(&envelope), step, now).await.map_err(AdminError::from)?;
        let recovery_codes = self.make_recovery_codes(&mut tx, known.uid).await?;
        let session = self.go_on(&mut tx, live, attempt).await?;
        if live.session.stage == Stage::SecondFactor {
            self.note_signed_in(&mut tx, known.uid, &by, SignInMethod::OneTimeCode).await?;
        }
        let had = known.second_factor.is_some();
        let change = written(&known, "administrator.second-factor", had);
        self.admin.commit(tx, &by, change).await?;
        Ok(Enrolled { session, recovery_codes })
    }

    /// Replaces all recovery codes, used or not.
    ///
    /// # Errors
    /// The password is wrong, or there is no second factor that they could replace.
    pub async fn renew_recovery_codes(
        &self,
        attempt: &Attempt<'_>,
        live: &LiveSession,
        password: SecretString,
    ) -> Result<Vec<SecretString>, SignInError> {
        let known = self.confirm_password(attempt.origin, live, password).await?;
        if known.second_factor.is_none() {
            let none = "there is no second factor that they could replace; get one first";
            return Err(AdminError::Conflict(none.to_owned()).into());
        }
        let mut tx = self.begin_for(attempt.origin, &known).await?;
        let codes = self.make_recovery_codes(&mut tx, known.uid).await?;
        let by = live.by(attempt.origin.clone());
        self.admin.commit(tx, &by, written(&known, "administrator.recovery-codes", true)).await?;
        Ok(codes)
    }

    async fn make_recovery_codes(
        &self,
        tx: &mut Tx,
        uid: AdministratorUid,
    ) -> Result<Vec<SecretString>, AdminError> {
        let mut codes = Vec::with_capacity(second_factor::RECOVERY_CODES);
        let mut hashes = Vec::with_capacity(second_factor::RECOVERY_CODES);
        for _ in 0..second_factor::RECOVERY_CODES {
            let code = second_factor::recovery_code(self.admin.ambient.bytes()?);
            hashes.extend(second_factor::recovery_hash(code.expose_secret()));
            codes.push(code);
        }
        tx.replace_recovery_codes(uid, &hashes).await?;
        Ok(codes)
    }

    pub(super) async fn stored(&self, live: &LiveSession) -> Result<Administrator, AdminError> {
        let found = self.admin.store.administrator(&live.name).await?;
        found
            .filter(|found| found.uid == live.administrator)
            .ok_or_else(|| AdminError::not_found("administrator", live.name.as_str()))
    }
}

fn written(known: &Administrator, action: &'static str, had: bool) -> Written {
    Written {
        action,
        target: known.name.to_string(),
        before: Some(json!({ "second_factor": had })),
        after: Some(json!({ "second_factor": true })),
        change: ChangeKind::Administrator,
    }
}
