//! Resource servers and their permissions.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::{ResourceServerRow, permission};
use super::{Store, StoreError, Tx, of_thing, statements};
use crate::domain::ids::{Permission, ResourceServerName, ResourceServerUid};
use crate::domain::resource::ResourceServer;
use crate::jose::Algorithm;

statements! {
    RESOURCE_SERVER_BY_NAME = r"
        SELECT uid, name, identifier, description, token_lifetime, signing_algorithm,
               signing_algorithm_before, token_profile, token_binding, enabled, builtin, version, created_at,
               updated_at
        FROM resource_servers WHERE name = $1";

    ALL_RESOURCE_SERVERS = r"
        SELECT uid, name, identifier, description, token_lifetime, signing_algorithm,
               signing_algorithm_before, token_profile, token_binding, enabled, builtin, version, created_at,
               updated_at
        FROM resource_servers";

    ALL_PERMISSIONS = "SELECT resource_server, permission, description FROM permissions";

    PERMISSIONS_OF = r"
        SELECT resource_server, permission, description FROM permissions WHERE resource_server = $1";

    INSERT_RESOURCE_SERVER = r"
        INSERT INTO resource_servers (uid, name, identifier, description, token_lifetime,
            signing_algorithm, signing_algorithm_before, token_profile, enabled, builtin, version,
            created_at, updated_at, token_binding)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

    UPDATE_RESOURCE_SERVER = r"
        UPDATE resource_servers
        SET identifier = $3, description = $4, token_lifetime = $5, signing_algorithm = $6,
            signing_algorithm_before = $7, token_profile = $8, enabled = $9, version = version + 1,
            updated_at = $10, token_binding = $11
        WHERE uid = $1 AND version = $2";

    DELETE_RESOURCE_SERVER = "DELETE FROM resource_servers WHERE uid = $1 AND version = $2";

    PUT_PERMISSION = r"
        INSERT INTO permissions (resource_server, permission, description) VALUES ($1, $2, $3)
        ON CONFLICT (resource_server, permission) DO UPDATE SET description = excluded.description";

    DELETE_PERMISSION = "DELETE FROM permissions WHERE resource_server = $1 AND permission = $2";
}

type PermissionRow = (Uuid, String, String);

// === impl Store ===

impl Store {
    /// The resource server with this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn resource_server(
        &self,
        name: &ResourceServerName,
    ) -> Result<Option<ResourceServer>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, ResourceServerRow>(RESOURCE_SERVER_BY_NAME)
                .bind(name.as_str())
                .fetch_optional(pool)
                .await
        })?;
        let Some(row) = row else { return Ok(None) };
        let permissions: Vec<PermissionRow> = read!(self, pool => {
            sqlx::query_as(PERMISSIONS_OF).bind(row.uid).fetch_all(pool).await
        })?;
        assemble(vec![row], permissions)?.pop().transpose()
    }

    /// Every resource server.
    ///
    /// # Errors
    /// The database is away, or has one that this version does not understand.
    pub async fn all_resource_servers(&self) -> Result<Vec<ResourceServer>, StoreError> {
        self.each_resource_server().await?.into_iter().collect()
    }

    /// Every resource server, each as far as this version understands it.
    pub(super) async fn each_resource_server(
        &self,
    ) -> Result<Vec<Result<ResourceServer, StoreError>>, StoreError> {
        let rows = read!(self, pool => {
            sqlx::query_as::<_, ResourceServerRow>(ALL_RESOURCE_SERVERS).fetch_all(pool).await
        })?;
        let permissions: Vec<PermissionRow> =
            read!(self, pool => sqlx::query_as(ALL_PERMISSIONS).fetch_all(pool).await)?;
        assemble(rows, permissions)
    }
}

fn assemble(
    rows: Vec<ResourceServerRow>,
    permissions: Vec<PermissionRow>,
) -> Result<Vec<Result<ResourceServer, StoreError>>, StoreError> {
    let mut by_server: BTreeMap<Uuid, BTreeMap<Permission, String>> = BTreeMap::new();
    for (server, text, description) in permissions {
        by_server.entry(server).or_default().insert(permission(&text)?, description);
    }
    let whole = |row: ResourceServerRow| {
        let (permissions, name) = (by_server.remove(&row.uid).unwrap_or_default(), row.name.clone());
        row.with(permissions).map_err(of_thing("resource server", &name))
    };
    Ok(rows.into_iter().map(whole).collect())
}

// === impl Tx ===

impl Tx {
    /// Registers a resource server with its permissions.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the name or the identifier is taken.
    pub async fn insert_resource_server(&mut self, server: &ResourceServer) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_RESOURCE_SERVER,
            server.uid.0,
            server.name.as_str(),
            server.identifier.as_str(),
            &server.description,
            seconds(server),
            server.signing_algorithm.as_str(),
            server.signing_algorithm_before.map(Algorithm::as_str),
            server.token_profile.as_str(),
            server.enabled,
            server.builtin,
            server.version,
            server.created_at.as_micros(),
            server.updated_at.as_micros(),
            server.token_binding.as_str()
        )?;
        for (permission, description) in &server.permissions {
            self.put_permission(server.uid, permission, description).await?;
        }
        Ok(())
    }

    /// Replaces a resource server's fields if it still has `server.version`. Answers whether it did.
    /// Its permissions are put and deleted one by one.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the identifier is taken.
    pub async fn update_resource_server(&mut self, server: &ResourceServer) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            UPDATE_RESOURCE_SERVER,
            server.uid.0,
            server.version,
            server.identifier.as_str(),
            &server.description,
            seconds(server),
            server.signing_algorithm.as_str(),
            server.signing_algorithm_before.map(Algorithm::as_str),
            server.token_profile.as_str(),
            server.enabled,
            server.updated_at.as_micros(),
            server.token_binding.as_str()
        )?;
        Ok(changed == 1)
    }

    /// Removes a resource server with its permissions if it still has this version. Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a role gives one of its permissions, a client defaults to it, or an exchange
    /// rule names it.
    pub async fn delete_resource_server(
        &mut self,
        server: ResourceServerUid,
        version: i64,
    ) -> Result<bool, StoreError> {
        let changed = execute!(self, DELETE_RESOURCE_SERVER, server.0, version)?;
        Ok(changed == 1)
    }

    /// Defines a permission, or changes its description.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when the resource server is gone.
    pub async fn put_permission(
        &mut self,
        server: ResourceServerUid,
        permission: &Permission,
        description: &str,
    ) -> Result<(), StoreError> {
        execute!(self, PUT_PERMISSION, server.0, permission.as_str(), description)?;
        Ok(())
    }

    /// Removes a permission.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a role gives it, or an exchange rule lets it through.
    pub async fn delete_permission(
        &mut self,
        server: ResourceServerUid,
        permission: &Permission,
    ) -> Result<(), StoreError> {
        execute!(self, DELETE_PERMISSION, server.0, permission.as_str())?;
        Ok(())
    }
}

fn seconds(server: &ResourceServer) -> i64 {
    i64::try_from(server.token_lifetime.as_secs()).unwrap_or(i64::MAX)
}
