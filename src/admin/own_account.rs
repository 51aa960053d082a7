//! What people change of their own account.

use secrecy::SecretString;
use serde_json::json;

use super::AdminError;
use super::Written;
use super::administrators::AdministratorView;
use super::sign_in::{Attempt, LiveSession, OpenedSession, SignIn, SignInError};
use crate::domain::password;
use crate::storage::ChangeKind;

/// Somebody's own account.
pub struct OwnAccount {
    /// As others see it.
    pub view: AdministratorView,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
}

// === impl SignIn ===

impl SignIn {
    /// The account of whoever has this session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn own_account(&self, live: &LiveSession) -> Result<OwnAccount, AdminError> {
        let known = self.stored(live).await?;
        let recovery_codes = self.admin.store.recovery_codes_left(known.uid).await?;
        Ok(OwnAccount { view: AdministratorView::new(&known), recovery_codes })
    }

    /// Replaces the password. Every other session ends, and this one goes on under another opener.
    ///
    /// # Errors
    /// The password before is wrong, or the new one is too easily guessed.
    pub async fn change_password(
        &self,
        attempt: &Attempt<'_>,
        live: &LiveSession,
        (before, after): (SecretString, SecretString),
    ) -> Result<OpenedSession, SignInError> {
        password::check("new_password", &after, live.name.as_str()).map_err(AdminError::from)?;
        let known = self.confirm_password(attempt.origin, live, before).await?;
        let hash =
            self.passwords.hash_password(after, &self.admin.ambient).await.map_err(AdminError::from)?;
        let mut tx = self.leave(attempt.origin, live, &known).await?;
        tx.set_password(known.uid, &hash, self.admin.ambient.now()).await.map_err(AdminError::from)?;
        let ended = tx.end_sessions_of(known.uid).await.map_err(AdminError::from)?;
        tx.void_links_of(known.uid).await.map_err(AdminError::from)?;
        let session = self.go_on(&mut tx, live, attempt).await?;
        let written = Written {
            action: "administrator.password",
            target: known.name.to_string(),
            before: None,
            after: Some(json!({ "sessions_ended": ended })),
            change: ChangeKind::Administrator,
        };
        self.admin.commit(tx, &live.by(attempt.origin.clone()), written).await?;
        Ok(session)
    }
}
