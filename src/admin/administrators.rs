//! People who administer. What they sign in with they set themselves, by a one-time link.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::overtaken::overtaken;
use super::sign_in::{account, opener};
use super::{Admin, AdminError, By, Page, PageRequest, Written, present};
use crate::domain::administrator::{Administrator, AdministratorRole, ExternalIdentity};
use crate::domain::builtin;
use crate::domain::ids::{AdministratorName, AdministratorUid, Permission};
use crate::domain::single_sign_on::{check_provider, is_subject};
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, StoreError, StoredLink, Tx};

/// How long a link may be used.
pub const LINK_LASTS: Duration = Duration::from_hours(24);

/// Why somebody cannot be made or changed.
const STRONGER: &str = "nobody can make an account that may do more than they may themselves";

/// Why an account cannot be taken over.
const TAKES_OVER: &str =
    "the account may do more than you, so you can only take away from it: disable or delete it";

/// Somebody to register.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAdministrator {
    /// What they sign in with, and what the audit calls them; it never changes.
    pub name: AdministratorName,
    /// What they may do.
    #[schema(value_type = String, example = "auditor")]
    pub role: AdministratorRole,
    /// Who else vouches for them: then they need no password.
    #[serde(default)]
    pub external: Option<ExternalView>,
}

/// What to change of an administrator. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateAdministrator {
    /// What they may do.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "auditor")]
    pub role: Option<AdministratorRole>,
    /// Whether they may sign in. `false` ends their sessions at once.
    #[serde(deserialize_with = "present")]
    pub enabled: Option<bool>,
}

/// An identity at another provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalView {
    /// The provider's issuer identifier.
    #[schema(example = "https://sso.example.com")]
    pub issuer: String,
    /// The `sub` there.
    pub subject: String,
}

/// An administrator as others see them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdministratorView {
    /// What they sign in with.
    pub name: AdministratorName,
    /// What they may do.
    #[schema(value_type = String, example = "auditor")]
    pub role: AdministratorRole,
    /// Whether they may sign in.
    pub enabled: bool,
    /// Whether they have set a password.
    pub password: bool,
    /// Whether they have a second factor.
    pub second_factor: bool,
    /// Who else vouches for them.
    pub external: Option<ExternalView>,
    /// When they last signed in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_in_at: Option<Timestamp>,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When they were registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When they were last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A one-time link by which somebody sets their password, at the one moment when it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// Whose password it sets.
    pub name: AdministratorName,
    /// The link. Hand it over where nobody else reads it.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String, example = "https://id.example.com/admin/set-up?link=…")]
    pub link: SecretString,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// The one place that writes a link into an answer.
fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

// === impl AdministratorView ===

impl AdministratorView {
    pub(super) fn new(administrator: &Administrator) -> Self {
        let external = administrator.external.as_ref();
        Self {
            name: administrator.name.clone(),
            role: administrator.role,
            enabled: administrator.enabled,
            password: administrator.password_hash.is_some(),
            second_factor: administrator.second_factor.is_some(),
            external: external.map(|identity| ExternalView {
                issuer: identity.issuer.clone(),
                subject: identity.subject.clone(),
            }),
            signed_in_at: administrator.signed_in_at,
            version: administrator.version,
            created_at: administrator.created_at,
            updated_at: administrator.updated_at,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Registers somebody. They can sign in once they have set a password, by a link ([`Admin::link_for`]).
    ///
    /// # Errors
    /// A taken name, or a role beyond the administrator's own.
    pub async fn create_administrator(
        &self,
        by: &By,
        new: CreateAdministrator,
    ) -> Result<AdministratorView, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_WRITE).await?;
        self.require_as_strong(by, new.role, STRONGER).await?;
        let external = new.external.map(check_external).transpose()?;
        let now = self.ambient.now();
        let administrator = Administrator {
            uid: AdministratorUid(self.ambient.uuid()?),
            name: new.name,
            role: new.role,
            enabled: true,
            password_hash: None,
            second_factor: None,
            code_step: 0,
            external,
            signed_in_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.begin().await?;
        self.insert_administrator(&mut tx, &administrator).await?;
        if administrator.role == AdministratorRole::Administrator {
            // There is somebody now, so nobody is made by the link of a first start.
            tx.void_first_links().await?;
        }
        let view = AdministratorView::new(&administrator);
        self.commit(tx, by, written("administrator.create", &view.name, None, Some(&view))).await?;
        Ok(view)
    }

    pub(super) async fn insert_administrator(
        &self,
        tx: &mut Tx,
        administrator: &Administrator,
    ) -> Result<(), AdminError> {
        tx.insert_administrator(administrator).await.map_err(|error| match error {
            StoreError::AlreadyExists => AdminError::Conflict(format!(
                "an administrator '{}', or one with that external identity, exists already",
                administrator.name
            )),
            other => other.into(),
        })
    }

    /// Somebody.
    ///
    /// # Errors
    /// There is nobody of this name.
    pub async fn administrator(
        &self,
        by: &By,
        name: &AdministratorName,
    ) -> Result<AdministratorView, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_READ).await?;
        Ok(AdministratorView::new(&self.stored_administrator(name).await?))
    }

    /// A page of administrators, in the order of their names.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn administrators(
        &self,
        by: &By,
        page: &PageRequest,
    ) -> Result<Page<AdministratorView>, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_READ).await?;
        let (cursor, limit) = page.cursor()?;
        let found = self.store.administrators(&cursor).await?;
        let views = found.iter().map(AdministratorView::new).collect();
        Ok(Page::new(views, limit, |view: &AdministratorView| view.name.as_str()))
    }

    /// Changes the role or the standing of somebody who still has the expected version. Disabling ends their sessions,
    /// and either voids their links.
    ///
    /// # Errors
    /// More than the administrator may do themselves, the last one who may change anything, or somebody else changed
    /// it.
    pub async fn update_administrator(
        &self,
        by: &By,
        name: &AdministratorName,
        version: i64,
        update: UpdateAdministrator,
    ) -> Result<AdministratorView, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_WRITE).await?;
        let before = self.stored_administrator(name).await?;
        if before.version != version {
            return Err(self.overtaken_administrator(by, name).await);
        }
        let mut changed = before.clone();
        changed.role = update.role.unwrap_or(before.role);
        changed.enabled = update.enabled.unwrap_or(before.enabled);
        changed.updated_at = self.ambient.now();
        // Giving a role is making that account; switching one on is handing it out again.
        if changed.role != before.role || (changed.enabled && !before.enabled) {
            self.require_as_strong(by, changed.role, STRONGER).await?;
        }
        let mut tx = self.begin().await?;
        if !tx.update_administrator(&changed).await? {
            drop(tx);
            return Err(self.overtaken_administrator(by, name).await);
        }
        if !changed.enabled {
            tx.end_sessions_of(changed.uid).await?;
        }
        if !changed.enabled || changed.role != before.role {
            // Made by whoever may as much as the role before, for somebody who was to have that.
            tx.void_links_of(changed.uid).await?;
        }
        if before.administers() && !changed.administers() {
            require_others(&mut tx, by, &before).await?;
        }
        changed.version += 1;
        let (before, view) = (AdministratorView::new(&before), AdministratorView::new(&changed));
        self.commit(tx, by, written("administrator.update", name, Some(&before), Some(&view))).await?;
        Ok(view)
    }

    /// Removes somebody who still has the expected version. Their sessions end at once.
    ///
    /// # Errors
    /// The last one who may change anything, or somebody else changed it.
    pub async fn delete_administrator(
        &self,
        by: &By,
        name: &AdministratorName,
        version: i64,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::ADMINISTRATORS_WRITE).await?;
        let administrator = self.stored_administrator(name).await?;
        if administrator.version != version {
            return Err(self.overtaken_administrator(by, name).await);
        }
        let mut tx = self.begin().await?;
        if !tx.delete_administrator(administrator.uid, version).await? {
            drop(tx);
            return Err(self.overtaken_administrator(by, name).await);
        }
        if administrator.administers() {
            require_others(&mut tx, by, &administrator).await?;
        }
        let view = AdministratorView::new(&administrator);
        self.commit(tx, by, written("administrator.delete", name, Some(&view), None)).await
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_administrator(&self, by: &By, name: &AdministratorName) -> AdminError {
        let now = self.stored_administrator(name).await.map(|stored| AdministratorView::new(&stored));
        overtaken(by, builtin::ADMINISTRATORS_READ, now, |view| view.version)
    }

    /// Makes a link by which somebody sets a new password, and with it a new second factor: for a new account, a
    /// forgotten password, and a lost device. What they have counts until they use it. Earlier links are void, and
    /// attempts that failed are forgotten.
    ///
    /// # Errors
    /// Somebody who may do more than the administrator, or is disabled.
    pub async fn link_for(&self, by: &By, name: &AdministratorName) -> Result<Link, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_WRITE).await?;
        let administrator = self.stored_administrator(name).await?;
        self.require_as_strong(by, administrator.role, TAKES_OVER).await?;
        if let Some(ExternalIdentity { issuer, .. }) = &administrator.external {
            return Err(AdminError::Conflict(format!(
                "'{name}' signs in by {issuer} and has no password here: a forgotten one is reset there"
            )));
        }
        if !administrator.enabled {
            return Err(AdminError::Conflict(format!("'{name}' is disabled; enable the account first")));
        }
        let (text, hash) = opener(&self.ambient)?;
        let now = self.ambient.now();
        let link = StoredLink { administrator: Some(administrator.uid), ends_at: now.plus(LINK_LASTS) };
        let url = self.link_url(&text).await?;
        let mut tx = self.begin().await?;
        if !tx.hold_administrator(administrator.uid, administrator.version).await? {
            // Who may make the link was decided on the role from before.
            return Err(AdminError::Conflict(format!("'{name}' was changed in the meantime; try again")));
        }
        tx.replace_link(&hash, &link, now).await?;
        tx.clear_attempts(&account(name.as_str())).await?;
        self.commit(tx, by, written("administrator.link", name, None, None)).await?;
        Ok(Link { name: name.clone(), link: url, expires_at: link.ends_at })
    }

    /// Signs somebody out everywhere. Answers how many sessions ended.
    ///
    /// # Errors
    /// There is nobody of this name.
    pub async fn end_sessions(&self, by: &By, name: &AdministratorName) -> Result<u64, AdminError> {
        self.require(by, builtin::ADMINISTRATORS_WRITE).await?;
        let administrator = self.stored_administrator(name).await?;
        let mut tx = self.begin().await?;
        let sessions = tx.end_sessions_of(administrator.uid).await?;
        let ended = Written {
            after: Some(serde_json::json!({ "sessions": sessions })),
            ..written("administrator.sessions.end", name, None, None)
        };
        self.commit(tx, by, ended).await?;
        Ok(sessions)
    }

    /// Where a link leads: to the issuer, whose API is registered under its URL.
    pub(super) async fn link_url(&self, opener: &SecretString) -> Result<SecretString, AdminError> {
        let issuer = self.issuer().await?;
        Ok(SecretString::from(format!("{issuer}/admin/set-up?link={}", opener.expose_secret())))
    }

    /// The issuer, as far as it is known: a command may run before any server.
    ///
    /// # Errors
    /// It is not known.
    pub async fn issuer(&self) -> Result<String, AdminError> {
        let catalog = self.catalog().await?;
        let identifier = catalog.api().map(|api| api.identifier.as_str()).unwrap_or_default();
        let issuer = identifier.strip_suffix("/api/v1").filter(|issuer| issuer.starts_with("http"));
        issuer.map(ToOwned::to_owned).ok_or_else(|| {
            AdminError::Conflict(
                "the issuer identifier of this server is not known, because none has been started on this database: set \
                 JETON_ISSUER to the URL that callers use, or start the server once"
                    .to_owned(),
            )
        })
    }

    async fn stored_administrator(&self, name: &AdministratorName) -> Result<Administrator, AdminError> {
        let found = self.store.administrator(name).await?;
        found.ok_or_else(|| AdminError::not_found("administrator", name.as_str()))
    }

    /// Refuses unless whoever asks may do all that this role may.
    async fn require_as_strong(
        &self,
        by: &By,
        role: AdministratorRole,
        because: &str,
    ) -> Result<(), AdminError> {
        let permissions = role.permissions();
        let permissions: Vec<&Permission> = permissions.iter().collect();
        self.require_all(by, &permissions, because).await
    }
}

/// Refuses to leave nobody who may change anything and can sign in. Whoever has the database may. It asks in the
/// transaction that takes it from somebody, when no other can do the same: of two at once, one is refused.
async fn require_others(tx: &mut Tx, by: &By, than: &Administrator) -> Result<(), AdminError> {
    if by.has_everything() {
        return Ok(());
    }
    tx.stop_changes().await?;
    if tx.is_administered_beside(than.uid).await? {
        return Ok(());
    }
    Err(AdminError::Conflict(format!(
        "'{}' is the last administrator who can sign in and may change anything: register another one first, who sets \
         a password, or use `jeton admin` on the machine",
        than.name
    )))
}

fn check_external(external: ExternalView) -> Result<ExternalIdentity, AdminError> {
    let ExternalView { issuer, subject } = external;
    if let Err(fix) = check_provider(&issuer) {
        return Err(AdminError::invalid("external.issuer", "it is not what a provider calls itself", fix));
    }
    if !is_subject(&subject) {
        return Err(AdminError::invalid(
            "external.subject",
            "it is not a subject",
            "use the 'sub' that the provider puts into this person's tokens",
        ));
    }
    Ok(ExternalIdentity { issuer, subject })
}

pub(super) fn written(
    action: &'static str,
    name: &AdministratorName,
    before: Option<&AdministratorView>,
    after: Option<&AdministratorView>,
) -> Written {
    Written::of(ChangeKind::Administrator, action, name, before, after)
}
