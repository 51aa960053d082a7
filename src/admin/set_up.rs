//! One-time links: the first administrator of all, and whoever was given a link to set a password.

use secrecy::SecretString;

use super::administrators::{AdministratorView, LINK_LASTS, written};
use super::sign_in::{Attempt, OpenedSession, SignIn, account, hash, opener};
use super::{AdminError, By};
use crate::domain::administrator::{Administrator, AdministratorRole, Stage};
use crate::domain::audit::{Actor, SignInMethod};
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::password;
use crate::storage::{StoredLink, Tx};

/// Why a link does not count. It does not say which of these: who made it up learns nothing.
pub(super) const VOID_LINK: &str = "this link was used, its time is over, or a newer one has replaced it: have another \
    one made (`jeton admin reset-password NAME`; for the first administrator, restart the server or use `jeton admin \
    create`)";

/// Who a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFor {
    /// The first administrator, who chooses a name.
    First,
    /// Somebody who is registered.
    Registered(AdministratorName),
}

// === impl SignIn ===

impl SignIn {
    /// The link that makes the first administrator, while there is none. Another one made before is void, whichever
    /// replica made it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn first_link(&self) -> Result<Option<SecretString>, AdminError> {
        if self.admin.store.has_administrators().await? {
            return Ok(None);
        }
        let (text, hash) = opener(&self.admin.ambient)?;
        let url = self.admin.link_url(&text).await?;
        let now = self.admin.ambient.now();
        let link = StoredLink { administrator: None, ends_at: now.plus(LINK_LASTS) };
        let mut tx = self.admin.begin().await?;
        tx.replace_link(&hash, &link, now).await?;
        tx.commit().await?;
        Ok(Some(url))
    }

    /// Who a link is for.
    ///
    /// # Errors
    /// It is void, or the database is away.
    pub async fn link_is_for(&self, text: &str) -> Result<LinkFor, AdminError> {
        match self.link(text).await?.1 {
            None => Ok(LinkFor::First),
            Some(known) => Ok(LinkFor::Registered(known.name)),
        }
    }

    /// Sets a password by a link, which is used up; and with it everything else that somebody signed in with before
    /// ends: sessions, second factor, recovery codes.
    ///
    /// # Errors
    /// The link is void, the name not allowed, or the password too easily guessed.
    pub async fn set_up(
        &self,
        attempt: &Attempt<'_>,
        text: &str,
        (name, password): (&str, SecretString),
    ) -> Result<OpenedSession, AdminError> {
        let (hash, known) = self.link(text).await?;
        let name = match &known {
            Some(known) => known.name.clone(),
            None => AdministratorName::new(name.trim())?,
        };
        password::check("password", &password, name.as_str())?;
        let password = self.passwords.hash_password(password, &self.admin.ambient).await?;
        let now = self.admin.ambient.now();
        let by = By {
            actor: Actor::Person { name: name.clone() },
            origin: attempt.origin.clone(),
            ..By::system()
        };
        let mut tx = self.admin.begin().await?;
        if !tx.use_link(&hash, now).await? {
            return Err(AdminError::VoidLink);
        }
        let (uid, change) = if let Some(known) = &known {
            self.replace(&mut tx, known, &password).await?;
            let before = AdministratorView::new(known);
            let after = AdministratorView { password: true, second_factor: false, ..before.clone() };
            (known.uid, written("administrator.set-up", &name, Some(&before), Some(&after)))
        } else {
            let first = Administrator {
                uid: AdministratorUid(self.admin.ambient.uuid()?),
                name: name.clone(),
                role: AdministratorRole::Administrator,
                enabled: true,
                password_hash: Some(password),
                second_factor: None,
                code_step: 0,
                external: None,
                signed_in_at: None,
                version: 1,
                created_at: now,
                updated_at: now,
            };
            self.admin.insert_administrator(&mut tx, &first).await?;
            // Asked here, for the link may have been made while somebody else was.
            tx.stop_changes().await?;
            if tx.has_administrators_beside(first.uid).await? {
                return Err(AdminError::VoidLink);
            }
            tx.void_first_links().await?;
            let view = AdministratorView::new(&first);
            (first.uid, written("administrator.create", &name, None, Some(&view)))
        };
        self.begin(tx, (uid, &by), attempt, change).await
    }

    async fn begin(
        &self,
        mut tx: Tx,
        (uid, by): (AdministratorUid, &By),
        attempt: &Attempt<'_>,
        change: super::Written,
    ) -> Result<OpenedSession, AdminError> {
        let stage = self.stage_after_password(false);
        let opened = self.open_session(&mut tx, uid, stage, (attempt.origin, attempt.agent)).await?;
        if stage == Stage::SignedIn {
            self.note_signed_in(&mut tx, uid, by, SignInMethod::Link).await?;
        }
        self.admin.commit(tx, by, change).await?;
        Ok(opened)
    }

    async fn replace(
        &self,
        tx: &mut Tx,
        known: &Administrator,
        hash: &SecretString,
    ) -> Result<(), AdminError> {
        let now = self.admin.ambient.now();
        tx.set_password(known.uid, hash, now).await?;
        tx.set_second_factor(known.uid, None, known.code_step, now).await?;
        tx.replace_recovery_codes(known.uid, &[]).await?;
        tx.end_sessions_of(known.uid).await?;
        tx.void_links_of(known.uid).await?;
        tx.clear_attempts(&account(known.name.as_str())).await?;
        Ok(())
    }

    async fn link(&self, text: &str) -> Result<([u8; 32], Option<Administrator>), AdminError> {
        let hash = hash(text).ok_or(AdminError::VoidLink)?;
        let link = self.admin.store.administrator_link(&hash, self.admin.ambient.now()).await?;
        match link.ok_or(AdminError::VoidLink)?.administrator {
            None => Ok((hash, None)),
            Some(uid) => {
                let known = self.admin.store.administrator_by_uid(uid).await?;
                Ok((hash, Some(known.filter(|known| known.enabled).ok_or(AdminError::VoidLink)?)))
            }
        }
    }
}
