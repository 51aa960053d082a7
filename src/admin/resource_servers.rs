//! Registering, reading, changing and removing resource servers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::overtaken::overtaken;
pub use super::resource_server_forms::{
    CreateResourceServer, PermissionView, ResourceServerView, UpdateResourceServer,
};
use super::{Admin, AdminError, By, Page, PageRequest, Written, check_search, exchange_rules, found};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::error::FieldError;
use crate::domain::ids::{Permission, ResourceServerName, ResourceServerUid};
use crate::domain::resource::ResourceServer;
use crate::domain::text::check_text;
use crate::storage::{ChangeKind, StoreError, Tx};

/// The most permissions of one resource server.
const MOST_PERMISSIONS: usize = 1_000;

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
        let mut errors = Vec::new();
        let server = ResourceServer {
            uid: ResourceServerUid(self.ambient.uuid()?),
            name: new.name,
            identifier: new.identifier,
            description: new.description,
            permissions: permissions(new.permissions, &mut errors),
            token_lifetime: Duration::from_secs(new.token_lifetime.into()),
            signing_algorithm: new.signing_algorithm,
            signing_algorithm_before: None,
            token_profile: new.token_profile,
            token_binding: new.token_binding,
            enabled: true,
            builtin: false,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        errors.extend(self.wrong_lifetime(server.token_lifetime));
        errors.extend(self.wrong_algorithm(server.signing_algorithm).await?);
        errors.extend(self.wrong_binding(server.token_binding, None));
        check(&server, errors)?;
        let mut tx = self.begin().await?;
        tx.insert_resource_server(&server).await.map_err(|error| taken(error, &server))?;
        let view = ResourceServerView::from(&server);
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "resource_server.create", &server.name, None, Some(&view)),
        )
        .await?;
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
        Ok((&self.registered_resource_server(by, name).await?).into())
    }

    /// A resource server as it is registered, for whoever makes something else of it than a view.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn registered_resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
    ) -> Result<ResourceServer, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_READ).await?;
        self.stored_resource_server(name).await
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
    /// Wrong fields, a permission that a role or an exchange rule still names, the built-in one, or somebody else changed it.
    pub async fn update_resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
        version: i64,
        update: UpdateResourceServer,
    ) -> Result<ResourceServerView, AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let catalog = self.catalog().await?;
        let before = self.changeable_resource_server(by, name, version).await?;
        let mut server = before.clone();
        let mut errors = Vec::new();
        if let Some(replacement) = update.permissions {
            server.permissions = permissions(replacement, &mut errors);
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
            errors.extend(self.wrong_algorithm(algorithm).await?);
            server.signing_algorithm = algorithm;
        }
        server.token_profile = update.token_profile.unwrap_or(server.token_profile);
        server.token_binding = update.token_binding.unwrap_or(server.token_binding);
        server.enabled = update.enabled.unwrap_or(server.enabled);
        server.updated_at = self.ambient.now();
        errors.extend(self.wrong_binding(server.token_binding, Some(before.token_binding)));
        if server.token_lifetime != before.token_lifetime {
            errors.extend(self.wrong_lifetime(server.token_lifetime));
        }
        check(&server, errors)?;

        let mut tx = self.begin().await?;
        if !tx.update_resource_server(&server).await.map_err(|error| taken(error, &server))? {
            drop(tx);
            return Err(self.overtaken_resource_server(by, name).await);
        }
        replace_permissions(&mut tx, &catalog, &before, &server).await?;
        server.version += 1;
        let view = ResourceServerView::from(&server);
        self.commit(
            tx,
            by,
            Written::of(
                ChangeKind::Catalog,
                "resource_server.update",
                name,
                Some(&(&before).into()),
                Some(&view),
            ),
        )
        .await?;
        self.provide_key(by, server.signing_algorithm).await;
        Ok(view)
    }

    /// Removes a resource server that still has the expected version.
    ///
    /// # Errors
    /// A role gives one of its permissions, a client defaults to it, an exchange rule names it, it is built in,
    /// or somebody else changed it.
    pub async fn delete_resource_server(
        &self,
        by: &By,
        name: &ResourceServerName,
        version: i64,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::RESOURCE_SERVERS_WRITE).await?;
        let server = self.changeable_resource_server(by, name, version).await?;
        let rules = exchange_rules::among(&*self.catalog().await?, |rule| {
            rule.resource_server == server.uid || rule.sources.contains(&server.uid)
        });
        let mut tx = self.begin().await?;
        let outcome = tx.delete_resource_server(server.uid, version).await;
        let removed = outcome.map_err(|error| match (error, rules) {
            (StoreError::InUse, Some(rules)) => AdminError::Conflict(format!(
                "exchange rules name the resource server '{name}' (among them {rules}); \
                 change or delete them first, or disable it"
            )),
            (StoreError::InUse, None) => AdminError::Conflict(format!(
                "roles give permissions of '{name}', or clients default to it; take those away first, or disable it"
            )),
            (other, _) => other.into(),
        })?;
        if !removed {
            drop(tx);
            return Err(self.overtaken_resource_server(by, name).await);
        }
        self.commit(
            tx,
            by,
            Written::of(
                ChangeKind::Catalog,
                "resource_server.delete",
                name,
                Some(&ResourceServerView::from(&server)),
                None,
            ),
        )
        .await
    }

    pub(super) async fn stored_resource_server(
        &self,
        name: &ResourceServerName,
    ) -> Result<ResourceServer, AdminError> {
        let found = self.store.resource_server(name).await?;
        found.ok_or_else(|| AdminError::not_found("resource server", name.as_str()))
    }

    async fn changeable_resource_server(
        &self,
        by: &By,
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
            return Err(self.overtaken_resource_server(by, name).await);
        }
        Ok(server)
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_resource_server(&self, by: &By, name: &ResourceServerName) -> AdminError {
        let now = self.stored_resource_server(name).await.map(|server| ResourceServerView::from(&server));
        overtaken(by, builtin::RESOURCE_SERVERS_READ, now, |view| view.version)
    }

    /// What is wrong with a lifetime. Only for a new value: a limit that was lowered later must not stand in the
    /// way of other changes.
    pub(super) fn wrong_lifetime(&self, lifetime: Duration) -> Option<FieldError> {
        let (seconds, longest) = (lifetime.as_secs(), self.longest.as_secs());
        let shortest = longest.min(10);
        let wrong = !(shortest..=longest).contains(&seconds);
        wrong.then(|| {
            FieldError::new(
                "token_lifetime",
                format!("{seconds} seconds are not allowed"),
                format!("use {shortest} to {longest} (tokens.max_lifetime in the configuration)"),
            )
        })
    }
}

/// Checks what holds for every resource server, new or changed, beside what was found wrong already.
fn check(server: &ResourceServer, mut errors: Vec<FieldError>) -> Result<(), AdminError> {
    errors.extend(check_text("description", &server.description, 1_000).err());
    for description in server.permissions.values() {
        errors.extend(check_text("permissions", description, 255).err());
    }
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}

/// The permissions as a map; the last word on the form of each is its type's. What is wrong with them is noted.
fn permissions(list: Vec<PermissionView>, errors: &mut Vec<FieldError>) -> BTreeMap<Permission, String> {
    let mut wrong = |problem: String, fix| errors.push(FieldError::new("permissions", problem, fix));
    let mut map = BTreeMap::new();
    if list.len() > MOST_PERMISSIONS {
        wrong(format!("{} permissions", list.len()), "use at most 1000");
        return map;
    }
    for PermissionView { permission, description } in list {
        if map.contains_key(&permission) {
            wrong(format!("'{permission}' stands twice"), "name each one once");
        }
        map.insert(permission, description);
    }
    map
}

async fn replace_permissions(
    tx: &mut Tx,
    catalog: &Catalog,
    before: &ResourceServer,
    after: &ResourceServer,
) -> Result<(), AdminError> {
    for gone in before.permissions.keys().filter(|permission| !after.permissions.contains_key(*permission)) {
        tx.delete_permission(before.uid, gone).await.map_err(|error| match error {
            StoreError::InUse => still_named(catalog, before, gone),
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

/// Why a permission cannot be removed.
fn still_named(catalog: &Catalog, server: &ResourceServer, gone: &Permission) -> AdminError {
    let rules = exchange_rules::among(catalog, |rule| {
        rule.resource_server == server.uid && rule.permissions.contains(gone)
    });
    let given = (server.uid, gone.clone());
    match rules {
        Some(rules) if !catalog.roles().any(|role| role.permissions.contains(&given)) => AdminError::invalid(
            "permissions",
            format!("exchange rules still let '{gone}' through (among them {rules})"),
            "take it out of those rules first",
        ),
        _ => AdminError::invalid(
            "permissions",
            format!("roles still give '{gone}'"),
            "take it out of those roles first",
        ),
    }
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
