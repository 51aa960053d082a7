//! Signing in to the pages, and staying so.
//!
//! What opens a session or a link is 256 random bits, of which the store has the SHA-256 only: whoever reads the
//! database cannot use what stands there.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use secrecy::{ExposeSecret, SecretString};

use super::{Admin, AdminError, Authority, By};
use crate::domain::administrator::{Administrator, AdministratorRole, Session, SignInRules, Stage};
use crate::domain::audit::{Actor, Event, Origin, SignInMethod};
use crate::domain::error::Fault;
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::master_key::MasterKeys;
use crate::runtime::secrets::SecretVerifier;
use crate::storage::{StoredSession, Tx};

/// What signing in works on.
#[derive(Clone)]
pub struct SignIn {
    /// The use-cases, and what records.
    pub admin: Admin,
    /// Checks passwords where they hold up nothing else.
    pub passwords: Arc<SecretVerifier>,
    /// Seals the second factors.
    pub master_keys: MasterKeys,
    /// How long a sign-in lasts, and what it takes.
    pub rules: SignInRules,
}

/// Whoever presents a session that lasts.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Their name.
    pub name: AdministratorName,
    /// What they may do.
    pub role: AdministratorRole,
    /// The session.
    pub session: Session,
    pub(super) administrator: AdministratorUid,
    pub(super) hash: [u8; 32],
}

/// Where an attempt to sign in comes from.
pub struct Attempt<'a> {
    /// For the audit.
    pub origin: &'a Origin,
    /// The browser, as it calls itself.
    pub agent: &'a str,
}

/// Why somebody is not signed in. What is answered is the same for a name that nobody has.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// What they showed is not right.
    #[error("it is not right")]
    Refused,
    /// The session in which they showed it has ended meanwhile.
    #[error("the session has ended")]
    Ended,
    /// There were too many attempts; this one was not looked at.
    #[error("too many attempts")]
    TooMany {
        /// When the next one is looked at.
        opens_at: Timestamp,
    },
    /// Anything else.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// What opens a session: for the cookie, and nowhere else.
pub struct OpenedSession {
    /// 256 random bits in base64url.
    pub opener: SecretString,
    /// How far the sign-in has come.
    pub stage: Stage,
}

// === impl SignIn ===

impl SignIn {
    /// The session that this opens, if it lasts and whoever has it may still sign in. Its use is noted.
    ///
    /// # Errors
    /// The database is away.
    pub async fn session(&self, opener: &str) -> Result<Option<LiveSession>, AdminError> {
        let Some(hash) = hash(opener) else { return Ok(None) };
        let now = self.admin.ambient.now();
        let stored = self.admin.store.administrator_session(&hash).await?;
        let Some(StoredSession { session, administrator, name, role }) =
            stored.filter(|stored| stored.session.lasts(now, &self.rules))
        else {
            return Ok(None);
        };
        if session.use_is_due(now, &self.rules) {
            let mut tx = self.admin.begin().await?;
            tx.note_session_use(&hash, now).await?;
            tx.commit().await?;
        }
        Ok(Some(LiveSession { name, role, session, administrator, hash }))
    }

    /// Begins a session in a transaction that records why.
    pub(super) async fn open_session(
        &self,
        tx: &mut Tx,
        administrator: AdministratorUid,
        stage: Stage,
        (origin, agent): (&Origin, &str),
    ) -> Result<OpenedSession, AdminError> {
        let (opener, hash) = opener(&self.admin.ambient)?;
        let now = self.admin.ambient.now();
        let session = Session {
            handle: self.admin.ambient.request_id()?,
            stage,
            address: origin.address.map(|address| address.to_string()),
            agent: quoted(agent),
            created_at: now,
            used_at: now,
            ends_at: self.rules.end(stage, now),
        };
        tx.insert_administrator_session(&hash, administrator, &session).await?;
        Ok(OpenedSession { opener, stage })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sign_out(&self, live: &LiveSession, origin: &Origin) -> Result<(), AdminError> {
        let mut tx = self.admin.begin().await?;
        if !tx.end_session(&live.hash).await? {
            return Ok(());
        }
        let by = live.by(origin.clone());
        let event = Event::SignedOut { actor: by.actor.clone(), sessions: 1 };
        self.admin.finish_quietly(tx, &by, event).await
    }

    /// Ends every session of whoever has this one, itself among them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sign_out_everywhere(&self, live: &LiveSession, origin: &Origin) -> Result<(), AdminError> {
        let mut tx = self.admin.begin().await?;
        let sessions = tx.end_sessions_of(live.administrator).await?;
        let by = live.by(origin.clone());
        let event = Event::SignedOut { actor: by.actor.clone(), sessions };
        self.admin.finish_quietly(tx, &by, event).await
    }

    /// Ends one of their own sessions.
    ///
    /// # Errors
    /// There is no such session, or the database is away.
    pub async fn end_session(
        &self,
        live: &LiveSession,
        handle: &str,
        origin: &Origin,
    ) -> Result<(), AdminError> {
        let mut tx = self.admin.begin().await?;
        if !tx.end_session_of(live.administrator, handle).await? {
            return Err(AdminError::not_found("session", quoted(handle)));
        }
        let by = live.by(origin.clone());
        let event = Event::SignedOut { actor: by.actor.clone(), sessions: 1 };
        self.admin.finish_quietly(tx, &by, event).await
    }

    /// The sessions of whoever has this one that last, newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sessions(&self, live: &LiveSession) -> Result<Vec<Session>, AdminError> {
        let now = self.admin.ambient.now();
        let mut sessions = self.admin.store.administrator_sessions(live.administrator).await?;
        sessions.retain(|session| session.lasts(now, &self.rules));
        Ok(sessions)
    }

    /// Begins a transaction in which a session ends, for whoever goes on under another opener ([`Self::go_on`]), and
    /// their account stays what it was when it was read.
    ///
    /// # Errors
    /// The session has ended meanwhile: what ended it must not be undone. Or the account was changed, or the database
    /// is away.
    pub(super) async fn leave(
        &self,
        origin: &Origin,
        live: &LiveSession,
        known: &Administrator,
    ) -> Result<Tx, SignInError> {
        let mut tx = self.begin_for(origin, known).await?;
        if tx.end_session(&live.hash).await.map_err(AdminError::from)? {
            return Ok(tx);
        }
        drop(tx);
        let why = "the session had ended while this was looked at";
        self.record_refusal(origin, Some(live.name.clone()), why).await?;
        Err(SignInError::Ended)
    }

    /// Begins the session by which somebody goes on who has left one ([`Self::leave`]): whoever knew the opener of
    /// that one has nothing.
    pub(super) async fn go_on(
        &self,
        tx: &mut Tx,
        live: &LiveSession,
        attempt: &Attempt<'_>,
    ) -> Result<OpenedSession, AdminError> {
        self.open_session(tx, live.administrator, Stage::SignedIn, (attempt.origin, attempt.agent)).await
    }

    /// Leaves the event that somebody is signed in, in the transaction that does it.
    pub(super) async fn note_signed_in(
        &self,
        tx: &mut Tx,
        administrator: AdministratorUid,
        by: &By,
        how: SignInMethod,
    ) -> Result<(), AdminError> {
        tx.note_sign_in(administrator, self.admin.ambient.now()).await?;
        let event = Event::SignedIn { actor: by.actor.clone(), how };
        let event = self.admin.event(by, event).write_for_later()?;
        Ok(tx.leave_event(self.admin.ambient.uuid()?, &event).await?)
    }

    /// How far somebody comes who has shown the password.
    pub(super) fn stage_after_password(&self, has_second_factor: bool) -> Stage {
        if has_second_factor || self.rules.second_factor_required {
            Stage::SecondFactor
        } else {
            Stage::SignedIn
        }
    }

    /// Signs somebody in without asking for anything: for tests of what stands behind it, and for the command that
    /// has the database anyway.
    ///
    /// # Errors
    /// There is nobody of this name, or the database is away.
    pub async fn open_for(&self, by: &By, name: &AdministratorName) -> Result<OpenedSession, AdminError> {
        if !by.has_everything() {
            return Err(AdminError::Conflict("only whoever has the database may do this".to_owned()));
        }
        let found = self.admin.store.administrator(name).await?;
        let found = found.ok_or_else(|| AdminError::not_found("administrator", name.as_str()))?;
        let mut tx = self.admin.begin().await?;
        let opened = self.open_session(&mut tx, found.uid, Stage::SignedIn, (&by.origin, "")).await?;
        tx.commit().await?;
        Ok(opened)
    }
}

// === impl LiveSession ===

impl LiveSession {
    /// Whoever has it, as the use-cases take them. Before the second factor they may do nothing.
    #[must_use]
    pub fn by(&self, origin: Origin) -> By {
        let permissions = match self.session.stage {
            Stage::SignedIn => self.role.permissions(),
            Stage::SecondFactor => std::collections::BTreeSet::new(),
        };
        By {
            actor: Actor::Person { name: self.name.clone() },
            origin,
            authority: Authority::Only(permissions),
        }
    }
}

/// What attempts to sign in to an account are counted under: the hash of what was typed, which may be a password in
/// the wrong field.
pub(super) fn account(name: &str) -> String {
    format!("account {}", BASE64URL.encode(digest(&SHA256, name.as_bytes())))
}

/// 256 random bits, and what the store has of them.
pub(super) fn opener(ambient: &Ambient) -> Result<(SecretString, [u8; 32]), Fault> {
    let opener = SecretString::from(BASE64URL.encode(ambient.bytes::<32>()?));
    let hash =
        hash(opener.expose_secret()).ok_or_else(|| Fault::internal("an opener of the wrong length"))?;
    Ok((opener, hash))
}

/// What the store has of an opener; nothing for what cannot be one.
pub(super) fn hash(opener: &str) -> Option<[u8; 32]> {
    let bytes: [u8; 32] = BASE64URL.decode(opener).ok()?.try_into().ok()?;
    digest(&SHA256, &bytes).as_ref().try_into().ok()
}
