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
use crate::domain::administrator::{AdministratorRole, Session, SignInRules, Stage};
use crate::domain::audit::{Actor, Origin};
use crate::domain::error::Fault;
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::text::quoted;
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
        if session.use_is_due(now) {
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

/// What attempts to sign in to an account are counted under.
pub(super) fn account(name: &str) -> String {
    format!("account {name}")
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
