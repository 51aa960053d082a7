//! Administration: the use-cases behind the REST API, the command line and the pages.
//!
//! Every use-case checks the permission itself, so that no way in can forget it, and writes the change,
//! its audit event and the note for the other replicas in one transaction. The ledger chains the event before
//! the answer leaves.

pub mod abandoned;
pub mod administrators;
pub mod assignments;
pub mod audit;
pub mod audit_check;
pub mod audit_export;
pub mod audit_tree;
pub mod audit_watch;
pub mod builtins;
pub mod client_certificates;
pub mod client_dry_run;
mod client_forms;
pub mod client_import;
pub mod client_keys;
pub mod clients;
mod credential_ends;
pub mod credential_use;
pub mod effective_permissions;
pub mod ending_credentials;
pub mod exchange_dry_run;
mod exchange_rule_forms;
pub mod exchange_rules;
pub mod explain;
mod external_accounts;
pub mod federated_credentials;
pub mod impact;
pub mod issuer_presets;
mod longest_lived;
pub mod object;
pub mod operators;
mod overtaken;
pub mod own_account;
mod resource_server_forms;
pub mod resource_servers;
pub mod restored;
pub mod revocations;
pub mod rewrap;
pub mod roles;
pub mod second_factor;
mod secret_forms;
pub mod secret_rotation;
pub mod secrets;
pub mod set_up;
pub mod sign_in;
pub mod sign_in_attempts;
pub mod signing_keys;
pub mod single_sign_on;
pub mod statistics;
pub mod token_use;
mod trusted_issuer_checks;
mod trusted_issuer_forms;
pub mod trusted_issuers;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::overtaken::Current;
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::CertificateReach;
use crate::domain::error::{Fault, FieldError};
use crate::domain::exchange_rule::Party;
use crate::domain::ids::{ClientUid, Permission, RoleUid};
use crate::domain::outside::Outside;
use crate::domain::text::check_text;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::runtime::ledger::Ledger;
use crate::runtime::refusals::Refusals;
use crate::runtime::rotator::Rotator;
use crate::storage::{ChangeKind, Cursor, Store, StoreError, Tx};

/// What the use-cases work on.
#[derive(Clone)]
pub struct Admin {
    /// Where everything is registered.
    pub store: Store,
    /// The server's directory, told at once of what changes here; absent on the command line.
    pub directory: Option<Arc<Directory>>,
    /// What keeps the signing keys in order.
    pub rotator: Arc<Rotator>,
    /// What records.
    pub ledger: Ledger,
    /// What records refusals.
    pub refusals: Refusals,
    /// Time and randomness.
    pub ambient: Ambient,
    /// The longest token lifetime that a resource server may ask for.
    pub longest: Duration,
    /// What this server knows of its callers' certificates.
    pub reach: CertificateReach,
    /// How long before its end a credential is said to end soon.
    pub warn_before: Duration,
    /// What a registration may have Jeton call.
    pub outside: Arc<Outside>,
    /// The keys of trusted issuers.
    pub issuer_keys: Arc<IssuerKeys>,
}

/// Who administers, and what they may do.
#[derive(Clone, Debug)]
pub struct By {
    /// For the audit.
    pub actor: Actor,
    /// For the audit.
    pub origin: Origin,
    /// What they may do.
    pub authority: Authority,
}

/// What an administrator may do.
#[derive(Clone, Debug)]
pub enum Authority {
    /// Everything: they have the database and the master key anyway.
    Full,
    /// What these permissions of the API allow.
    Only(BTreeSet<Permission>),
}

/// Why an administrative request was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Fields are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// A permission is missing.
    #[error("this needs the permission {permission}: {because}")]
    Forbidden {
        /// The permission that is missing.
        permission: String,
        /// What for.
        because: String,
    },
    /// There is no such thing.
    #[error("there is no {what} '{name}'")]
    NotFound {
        /// What sort of thing.
        what: &'static str,
        /// Its name, as asked for.
        name: String,
    },
    /// The request contradicts what is registered.
    #[error("{0}")]
    Conflict(String),
    /// A one-time link does not count. It does not say why: who made it up learns nothing.
    #[error("{}", set_up::VOID_LINK)]
    VoidLink,
    /// Somebody else changed it in between.
    #[error("it was changed in the meantime; read it again, then repeat the change on what it is now")]
    Stale {
        /// What it is now, where a caller who may read it named the version.
        current: Option<Box<Current>>,
    },
    /// No verdict could be reached.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a permission cannot be handed out.
const HANDS_OUT: &str = "nobody can hand out a permission of this API that they do not have";

/// Why a client cannot be changed.
const CHANGES_STRONGER: &str =
    "the client may do more in this API than you, so you can only take away from it: disable or delete it";

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Where a page starts and how long it is, as asked for.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// The most entries: 1 to 500, 50 when absent.
    pub limit: Option<u32>,
}

/// A change that is written but not committed, with what the audit and the replicas are to know of it.
struct Written {
    action: &'static str,
    target: String,
    before: Option<Value>,
    after: Option<Value>,
    change: ChangeKind,
}

// === impl Written ===

impl Written {
    /// What is at this name was that and is this, without secrets: a view never holds one.
    fn of<T: Serialize>(
        change: ChangeKind,
        action: &'static str,
        target: &impl fmt::Display,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Self {
        let (before, after) = (before.and_then(recorded), after.and_then(recorded));
        Self { action, target: target.to_string(), before, after, change }
    }

    /// The event of the change, and what it is of.
    fn event(self, by: &By) -> (Event, ChangeKind) {
        let Self { action, target, before, after, change } = self;
        (Event::Changed { actor: by.actor.clone(), action, target, before, after }, change)
    }
}

// === impl By ===

impl By {
    /// Jeton itself, at start-up.
    #[must_use]
    pub fn system() -> Self {
        Self { actor: Actor::System, origin: Origin::default(), authority: Authority::Full }
    }

    /// Whoever runs a command on the machine.
    #[must_use]
    pub fn command_line(user: String) -> Self {
        Self { actor: Actor::CommandLine { user }, origin: Origin::default(), authority: Authority::Full }
    }

    /// Whether they have the database and the master key anyway.
    const fn has_everything(&self) -> bool {
        matches!(self.authority, Authority::Full)
    }

    /// Whether they have this permission.
    #[must_use]
    pub fn holds(&self, permission: &str) -> bool {
        match &self.authority {
            Authority::Full => true,
            Authority::Only(permissions) => permissions.contains(permission),
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Refuses, and records the refusal, unless the administrator has the permission.
    async fn require(&self, by: &By, permission: &'static str) -> Result<(), AdminError> {
        if by.holds(permission) {
            return Ok(());
        }
        let because = match by.actor {
            Actor::Person { .. } => "your role does not have it",
            _ => "the token or the client's roles do not have it",
        };
        self.refuse(by, permission, because.to_owned()).await
    }

    /// Refuses, and records the refusal, unless the administrator has the permission: for a way in that asks several
    /// things before it does one. The use-case asks again.
    ///
    /// # Errors
    /// They do not have it, or that cannot be recorded.
    pub async fn permit(&self, by: &By, permission: &'static str) -> Result<(), AdminError> {
        self.require(by, permission).await
    }

    /// Refuses to hand out more than one has: whoever may write clients must not become administrator
    /// by giving that role, or by adding a secret to a client that has it.
    async fn require_all(
        &self,
        by: &By,
        permissions: &[&Permission],
        because: &str,
    ) -> Result<(), AdminError> {
        // What is about whoever asks gives nobody power over others.
        let gives = |permission: &&&Permission| permission.as_str() != builtin::OWN_SECRETS;
        let Some(beyond) = permissions.iter().filter(gives).find(|permission| !by.holds(permission.as_str()))
        else {
            return Ok(());
        };
        self.refuse(by, beyond.as_str(), because.to_owned()).await
    }

    /// [`Admin::require_all`] for the permissions of this API that roles put in reach, and a client's own: what
    /// roles give, what exchange rules let their callers have, and all of it for an operator of this API.
    async fn require_all_of(
        &self,
        by: &By,
        catalog: &Catalog,
        client: Option<ClientUid>,
        roles: &[RoleUid],
        because: &str,
    ) -> Result<(), AdminError> {
        if roles.iter().any(|role| catalog.role(*role).is_none()) {
            // Made or removed while this was on its way: what it gives is not known, so nothing is assumed.
            return Err(AdminError::moved());
        }
        let Some(api) = catalog.api() else { return Ok(()) };
        let held = catalog.holdings(roles);
        let mut permissions: BTreeSet<&Permission> =
            held.get(&api.uid).into_iter().flat_map(|given| given.keys().copied()).collect();
        let calls = |caller| match caller {
            Party::Client(uid) => client == Some(uid),
            Party::Role(uid) => roles.contains(&uid),
        };
        for rule in catalog.exchange_rules() {
            if rule.resource_server == api.uid && calls(rule.caller) {
                permissions.extend(&rule.permissions);
            }
        }
        if client.is_some_and(|client| catalog.operates(client, api.uid)) {
            permissions.extend(api.permissions.keys());
        }
        self.require_all(by, &permissions.into_iter().collect::<Vec<_>>(), because).await
    }

    async fn refuse(&self, by: &By, permission: &str, because: String) -> Result<(), AdminError> {
        let event = Event::AccessRefused {
            actor: Some(by.actor.clone()),
            claimed: None,
            permission: Some(permission.to_owned()),
            reason: format!("the permission {permission} is missing: {because}"),
            repeated: None,
        };
        self.refusals.record(self.event(by, event), true).await?;
        Err(AdminError::Forbidden { permission: permission.to_owned(), because })
    }

    async fn begin(&self) -> Result<Tx, AdminError> {
        Ok(self.store.begin().await?)
    }

    /// Makes a change durable with its audit event, and visible here before the answer leaves.
    async fn commit(&self, tx: Tx, by: &By, written: Written) -> Result<(), AdminError> {
        let (event, change) = written.event(by);
        self.finish(tx, by, event, &change).await
    }

    /// [`Admin::commit`] for a change that has an event of its own kind.
    async fn finish(&self, mut tx: Tx, by: &By, event: Event, change: &ChangeKind) -> Result<(), AdminError> {
        self.leave(&mut tx, by, event, change).await?;
        self.finish_all(tx, by).await
    }

    /// Writes the event of a change and the note for the other replicas beside it.
    async fn leave(&self, tx: &mut Tx, by: &By, event: Event, change: &ChangeKind) -> Result<(), AdminError> {
        tx.leave_event(self.ambient.uuid()?, &self.event(by, event).write_for_later()?).await?;
        Ok(tx.note_change(change, self.ambient.now()).await?)
    }

    /// Makes changes durable whose events were left beside them.
    async fn finish_all(&self, tx: Tx, by: &By) -> Result<(), AdminError> {
        tx.commit().await?;
        self.chain(by).await;
        self.catch_up(by).await;
        Ok(())
    }

    /// [`Admin::finish`] for what nothing in memory depends on: who is signed in, for example.
    async fn finish_quietly(&self, mut tx: Tx, by: &By, event: Event) -> Result<(), AdminError> {
        tx.leave_event(self.ambient.uuid()?, &self.event(by, event).write_for_later()?).await?;
        tx.commit().await?;
        self.chain(by).await;
        Ok(())
    }

    /// Has the ledger chain the event of what was committed.
    async fn chain(&self, by: &By) {
        // It is committed, and its event with it: that the ledger lags for a moment does not undo it.
        if let Err(error) = self.ledger.collect().await {
            let request_id = by.origin.request_id.as_deref();
            tracing::warn!(%error, request_id, "the change is stored, and its event will be chained later");
        }
    }

    /// Makes what was committed visible here.
    async fn catch_up(&self, by: &By) {
        if let Some(directory) = &self.directory {
            // It is committed: that the directory lags for a moment does not undo it.
            if let Err(error) = directory.catch_up().await {
                let request_id = by.origin.request_id.as_deref();
                tracing::warn!(%error, request_id, "the change is stored, but not visible yet");
            }
        }
    }

    fn event(&self, by: &By, event: Event) -> AuditEvent {
        AuditEvent { at: self.ambient.now(), origin: by.origin.clone(), event }
    }

    /// Every resource server and role, as fresh as the store's last change: what was registered on another
    /// replica a moment ago counts in what is decided here now.
    async fn catalog(&self) -> Result<Arc<Catalog>, AdminError> {
        match &self.directory {
            Some(directory) => {
                directory.catch_up().await?;
                Ok(directory.catalog())
            }
            None => Ok(Arc::new(self.store.catalog().await?)),
        }
    }
}

// === impl AdminError ===

impl AdminError {
    /// What a decision stands on was changed while it was made.
    const STALE: Self = Self::Stale { current: None };

    /// What a request names was changed while it was carried out, and it is not based on a version.
    fn moved() -> Self {
        Self::Conflict(
            "a role or resource server that it is about was changed in the meantime; try again".to_owned(),
        )
    }

    fn invalid(
        field: &'static str,
        problem: impl Into<String>,
        fix: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        Self::Invalid(vec![FieldError::new(field, problem, fix)])
    }

    fn not_a_cursor() -> Self {
        Self::invalid("cursor", "it is not a cursor", "pass next_cursor of the page before, unchanged")
    }

    fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AlreadyExists => {
                Self::Conflict("something with this name or identifier exists already".to_owned())
            }
            StoreError::InUse => Self::Conflict(
                "something else refers to it, or it refers to something that is gone; read both again"
                    .to_owned(),
            ),
            StoreError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<FieldError> for AdminError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

// === impl PageRequest ===

impl PageRequest {
    /// One entry more than asked for is read, to know whether there is a next page.
    fn cursor(&self) -> Result<(Cursor, usize), AdminError> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=500).contains(&limit) {
            return Err(AdminError::invalid("limit", format!("{limit} is not allowed"), "use 1 to 500"));
        }
        let after = match &self.cursor {
            None => String::new(),
            Some(cursor) => BASE64URL
                .decode(cursor)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .filter(|name| !name.contains('\0'))
                .ok_or_else(AdminError::not_a_cursor)?,
        };
        Ok((Cursor { after, limit: limit + 1 }, limit as usize))
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// A page of what is in memory, in the order of the names.
    fn of(mut all: Vec<T>, page: &PageRequest, name: impl Fn(&T) -> &str) -> Result<Self, AdminError> {
        let (cursor, limit) = page.cursor()?;
        all.retain(|item| name(item) > cursor.after.as_str());
        all.sort_by(|a, b| name(a).cmp(name(b)));
        Ok(Self::new(all, limit, name))
    }

    fn new(items: Vec<T>, limit: usize, name: impl Fn(&T) -> &str) -> Self {
        Self::numbered(items, limit, |item| name(item).to_owned())
    }

    /// A page whose entries have a place instead of a name.
    fn numbered(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| BASE64URL.encode(place(last)));
        Self { items, next_cursor }
    }
}

/// The body of a view, for the audit. A view never holds a secret.
fn recorded<T: Serialize>(view: &T) -> Option<Value> {
    serde_json::to_value(view).ok()
}

/// Whether a text is found in one of several, in any case.
fn found(text: &str, places: &[&str]) -> bool {
    let text = text.to_lowercase();
    places.iter().any(|place| place.to_lowercase().contains(&text))
}

/// Checks a text to search for.
fn check_search(field: &'static str, text: Option<&str>) -> Result<(), AdminError> {
    Ok(text.map_or(Ok(()), |text| check_text(field, text, 200))?)
}

/// Tells "set to nothing" (`null`) from "left alone" (absent) in an update.
#[expect(clippy::option_option, reason = "absent, null and a value are three different wishes")]
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// For what can be changed but not taken away: `null` is an error, not "left alone".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
