//! Registering, reading, changing and removing resource servers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, AdminError, By, Page, PageRequest, Written, check_search, found, present, recorded};
use crate::domain::builtin;
use crate::domain::error::FieldError;
use crate::domain::ids::{Identifier, Permission, ResourceServerName, ResourceServerUid};
use crate::domain::resource::{DEFAULT_TOKEN_LIFETIME, ResourceServer, TokenProfile};
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::jose::Algorithm;
use crate::storage::{ChangeKind, StoreError, Tx};

/// The most permissions of one resource server.
const MOST_PERMISSIONS: usize = 1_000;

/// A permission with its description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionView {
    /// The scope value.
    #[schema(value_type = String, example = "orders:read")]
    pub permission: Permission,
    /// For people.
    #[serde(default)]
    #[schema(example = "Read orders")]
    pub description: String,
}

/// A resource server to register.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateResourceServer {
    /// Its short name, which never changes.
    #[schema(value_type = String, example = "orders")]
    pub name: ResourceServerName,
    /// The audience of its tokens: usually an absolute URI, but any text.
    #[schema(value_type = String, example = "https://orders.example.com")]
    pub identifier: Identifier,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub description: String,
    /// What a token can allow there.
    #[serde(default)]
    pub permissions: Vec<PermissionView>,
    /// Seconds that its tokens live.
    #[serde(default = "default_lifetime")]
    #[schema(minimum = 10, example = 300)]
    pub token_lifetime: u32,
    /// What its tokens are signed with.
    #[serde(default = "default_algorithm")]
    pub signing_algorithm: Algorithm,
    /// The shape of its tokens.
    #[serde(default = "default_profile")]
    pub token_profile: TokenProfile,
}

/// What to change of a resource server. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateResourceServer {
    /// The audience of its tokens. Tokens for the old one stay valid until they end.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub identifier: Option<Identifier>,
    /// For people.
    #[serde(deserialize_with = "present")]
    pub description: Option<String>,
    /// What a token can allow there; replaces all of them.
    #[serde(deserialize_with = "present")]
    pub permissions: Option<Vec<PermissionView>>,
    /// Seconds that its tokens live.
    #[serde(deserialize_with = "present")]
    pub token_lifetime: Option<u32>,
    /// What its tokens are signed with.
    #[serde(deserialize_with = "present")]
    pub signing_algorithm: Option<Algorithm>,
    /// The shape of its tokens.
    #[serde(deserialize_with = "present")]
    pub token_profile: Option<TokenProfile>,
    /// Whether tokens for it are issued.
    #[serde(deserialize_with = "present")]
    pub enabled: Option<bool>,
}

/// A resource server as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResourceServerView {
    /// Its short name.
    #[schema(value_type = String, example = "orders")]
    pub name: ResourceServerName,
    /// The audience of its tokens.
    #[schema(value_type = String, example = "https://orders.example.com")]
    pub identifier: Identifier,
    /// For people.
    pub description: String,
    /// What a token can allow there.
    pub permissions: Vec<PermissionView>,
    /// Seconds that its tokens live.
    pub token_lifetime: u64,
    /// What its tokens are signed with.
    pub signing_algorithm: Algorithm,
    /// The shape of its tokens.
    pub token_profile: TokenProfile,
    /// Whether tokens for it are issued.
    pub enabled: bool,
    /// Jeton's own API.
    pub builtin: bool,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn default_lifetime() -> u32 {
    u32::try_from(DEFAULT_TOKEN_LIFETIME.as_secs()).unwrap_or(300)
}

fn default_algorithm() -> Algorithm {
    Algorithm::Es256
}

fn default_profile() -> TokenProfile {
    TokenProfile::AccessToken
}

// === impl CreateResourceServer ===

impl CreateResourceServer {
    /// A resource server with this name and audience and every default.
    #[must_use]
    pub fn named(name: ResourceServerName, identifier: Identifier) -> Self {
        Self {
            name,
            identifier,
            description: String::new(),
            permissions: Vec::new(),
            token_lifetime: default_lifetime(),
            signing_algorithm: default_algorithm(),
            token_profile: default_profile(),
        }
    }
}

// === impl ResourceServerView ===

impl From<&ResourceServer> for ResourceServerView {
    fn from(server: &ResourceServer) -> Self {
        Self {
            name: server.name.clone(),
            identifier: server.identifier.clone(),
            description: server.description.clone(),
            permissions: server
                .permissions
                .iter()
                .map(|(permission, description)| PermissionView {
                    permission: permission.clone(),
                    description: description.clone(),
                })
                .collect(),
            token_lifetime: server.token_lifetime.as_secs(),
            signing_algorithm: server.signing_algorithm,
            token_profile: server.token_profile,
            enabled: server.enabled,
            builtin: server.builtin,
            version: server.version,
            created_at: server.created_at,
            updated_at: server.updated_at,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Registers a resource server.
    ///
    /// # Errors
    /// Wrong fields, or a taken name or identifier.
    pub async fn create_resource_server(
        &self,
        by: &By,
        new: CreateResourceServer,
    ) -> Result<ResourceServerView, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let now = self.ambient.now();
        let server = ResourceServer {
            uid: ResourceServerUid(self.ambient.uuid()?),
            name: new.name,
            identifier: new.identifier,
            description: new.description,
            permissions: permissions(new.permissions)?,
            token_lifetime: Duration::from_secs(new.token_lifetime.into()),
            signing_algorithm: new.signing_algorithm,
            signing_algorithm_before: None,
            token_profile: new.token_profile,
            enabled: true,
            builtin: false,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        check(&server)?;
        self.check_lifetime(&server)?;
        self.check_algorithm(server.signing_algorithm).await?;
        let mut tx = self.begin().await?;
        tx.insert_resource_server(&server).await.map_err(|error| taken(error, &server))?;
        let view = ResourceServerView::from(&server);
        self.commit(tx, by, written("resource_server.create", &server.name, None, Some(&view))).await?;
        self.provide_key(by, server.signing_algorithm).await;
        Ok(view)
    }

    /// A resource server.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
    ) -> Result<ResourceServerView, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_READ).await?;
        Ok((&self.stored_resource_server(name).await?).into())
    }

    /// A page of resource servers, in the order of their names.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn resource_servers(
        &self,
        by: &By,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<ResourceServerView>, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_READ).await?;
        check_search("q", text)?;
        let catalog = self.catalog().await?;
        let views = catalog
            .resource_servers()
            .filter(|server| {
                let places = [server.name.as_str(), server.identifier.as_str(), &server.description];
                text.is_none_or(|text| found(text, &places))
            })
            .map(|server| ResourceServerView::from(&**server))
            .collect();
        Page::of(views, page, |view| view.name.as_str())
    }

    /// Changes a resource server that still has the expected version.
    ///
    /// # Errors
    /// Wrong fields, a permission that a role still gives, the built-in one, or somebody else changed it.
    pub async fn update_resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
        version: i64,
        update: UpdateResourceServer,
    ) -> Result<ResourceServerView, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let before = self.changeable_resource_server(name, version).await?;
        let mut server = before.clone();
        if let Some(replacement) = update.permissions {
            server.permissions = permissions(replacement)?;
        }
        server.identifier = update.identifier.unwrap_or(server.identifier);
        server.description = update.description.unwrap_or(server.description);
        server.token_lifetime = update
            .token_lifetime
            .map_or(server.token_lifetime, |seconds| Duration::from_secs(seconds.into()));
        if let Some(algorithm) = update.signing_algorithm.filter(|new| *new != before.signing_algorithm) {
            // Switched twice in a row, it is still signed with what it was at first.
            if self.rotator.signs_with(before.signing_algorithm) {
                server.signing_algorithm_before = Some(before.signing_algorithm);
            }
            self.check_algorithm(algorithm).await?;
            server.signing_algorithm = algorithm;
        }
        server.token_profile = update.token_profile.unwrap_or(server.token_profile);
        server.enabled = update.enabled.unwrap_or(server.enabled);
        server.updated_at = self.ambient.now();
        check(&server)?;
        if server.token_lifetime != before.token_lifetime {
            self.check_lifetime(&server)?;
        }

        let mut tx = self.begin().await?;
        if !tx.update_resource_server(&server).await.map_err(|error| taken(error, &server))? {
            return Err(AdminError::Stale);
        }
        replace_permissions(&mut tx, &before, &server).await?;
        server.version += 1;
        let view = ResourceServerView::from(&server);
        self.commit(tx, by, written("resource_server.update", name, Some(&(&before).into()), Some(&view)))
            .await?;
        self.provide_key(by, server.signing_algorithm).await;
        Ok(view)
    }

    /// Removes a resource server that still has the expected version.
    ///
    /// # Errors
    /// A role gives one of its permissions, a client defaults to it, it is built in, or somebody else
    /// changed it.
    pub async fn delete_resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
        version: i64,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let server = self.changeable_resource_server(name, version).await?;
        let mut tx = self.begin().await?;
        let removed = tx.delete_resource_server(server.uid, version).await.map_err(|error| match error {
            StoreError::InUse => AdminError::Conflict(format!(
                "roles give permissions of '{name}', or clients default to it; take those away first, or disable it"
            )),
            other => other.into(),
        })?;
        if !removed {
            return Err(AdminError::Stale);
        }
        self.commit(tx, by, written("resource_server.delete", name, Some(&(&server).into()), None)).await
    }

    async fn stored_resource_server(&self, name: &ResourceServerName) -> Result<ResourceServer, AdminError> {
        let found = self.store.resource_server(name).await?;
        found.ok_or_else(|| AdminError::not_found("resource server", name.as_str()))
    }

    async fn changeable_resource_server(
        &self,
        name: &ResourceServerName,
        version: i64,
    ) -> Result<ResourceServer, AdminError> {
        let server = self.stored_resource_server(name).await?;
        if server.builtin {
            return Err(AdminError::Conflict(format!(
                "'{name}' is Jeton's own API and cannot be changed or removed"
            )));
        }
        if server.version != version {
            return Err(AdminError::Stale);
        }
        Ok(server)
    }

    /// Only for a new value: a limit that was lowered later must not stand in the way of other changes.
    fn check_lifetime(&self, server: &ResourceServer) -> Result<(), AdminError> {
        const SHORTEST: u64 = 10;
        let (seconds, longest) = (server.token_lifetime.as_secs(), self.longest.as_secs());
        if (SHORTEST..=longest).contains(&seconds) {
            return Ok(());
        }
        Err(AdminError::invalid(
            "token_lifetime",
            format!("{seconds} seconds are not allowed"),
            format!("use {SHORTEST} to {longest} (tokens.max_lifetime in the configuration)"),
        ))
    }
}

fn check(server: &ResourceServer) -> Result<(), AdminError> {
    let mut errors: Vec<FieldError> =
        check_text("description", &server.description, 1_000).err().into_iter().collect();
    for description in server.permissions.values() {
        errors.extend(check_text("permissions", description, 255).err());
    }
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}

/// The permissions as a map; the last word on the form of each is its type's.
fn permissions(list: Vec<PermissionView>) -> Result<BTreeMap<Permission, String>, AdminError> {
    if list.len() > MOST_PERMISSIONS {
        return Err(AdminError::invalid(
            "permissions",
            format!("{} permissions", list.len()),
            "use at most 1000",
        ));
    }
    let mut map = BTreeMap::new();
    for PermissionView { permission, description } in list {
        if map.contains_key(&permission) {
            return Err(AdminError::invalid(
                "permissions",
                format!("'{permission}' stands twice"),
                "name each one once",
            ));
        }
        map.insert(permission, description);
    }
    Ok(map)
}

async fn replace_permissions(
    tx: &mut Tx,
    before: &ResourceServer,
    after: &ResourceServer,
) -> Result<(), AdminError> {
    for gone in before.permissions.keys().filter(|permission| !after.permissions.contains_key(*permission)) {
        tx.delete_permission(before.uid, gone).await.map_err(|error| match error {
            StoreError::InUse => AdminError::invalid(
                "permissions",
                format!("roles still give '{gone}'"),
                "take it out of those roles first",
            ),
            other => other.into(),
        })?;
    }
    for (permission, description) in &after.permissions {
        if before.permissions.get(permission) != Some(description) {
            tx.put_permission(after.uid, permission, description).await?;
        }
    }
    Ok(())
}

fn taken(error: StoreError, server: &ResourceServer) -> AdminError {
    match error {
        StoreError::AlreadyExists => AdminError::Conflict(format!(
            "a resource server with the name '{}' or the identifier '{}' is registered already",
            server.name, server.identifier
        )),
        other => other.into(),
    }
}

fn written(
    action: &'static str,
    name: &ResourceServerName,
    before: Option<&ResourceServerView>,
    after: Option<&ResourceServerView>,
) -> Written {
    Written {
        action,
        target: name.to_string(),
        before: before.and_then(recorded),
        after: after.and_then(recorded),
        change: ChangeKind::Catalog,
    }
}
