//! Roles and what they give.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::engine::{execute, read};
use super::rows::{RoleRow, permission};
use super::{Store, StoreError, Tx, statements, understood};
use crate::domain::catalog::{Catalog, Sort};
use crate::domain::ids::{Permission, ResourceServerUid, RoleName, RoleUid};
use crate::domain::role::Role;

statements! {
    ROLE_BY_NAME = r"
        SELECT uid, name, description, builtin, version, created_at, updated_at
        FROM roles WHERE name = $1";

    ALL_ROLES = "SELECT uid, name, description, builtin, version, created_at, updated_at FROM roles";

    ALL_ROLE_PERMISSIONS = "SELECT role, resource_server, permission FROM role_permissions";

    PERMISSIONS_OF_ROLE = r"
        SELECT role, resource_server, permission FROM role_permissions WHERE role = $1";

    INSERT_ROLE = r"
        INSERT INTO roles (uid, name, description, builtin, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";

    UPDATE_ROLE = r"
        UPDATE roles SET description = $3, version = version + 1, updated_at = $4
        WHERE uid = $1 AND version = $2";

    DELETE_ROLE = "DELETE FROM roles WHERE uid = $1 AND version = $2";

    ADD_ROLE_PERMISSION = r"
        INSERT INTO role_permissions (role, resource_server, permission) VALUES ($1, $2, $3)
        ON CONFLICT (role, resource_server, permission) DO NOTHING";

    REMOVE_ROLE_PERMISSION = r"
        DELETE FROM role_permissions WHERE role = $1 AND resource_server = $2 AND permission = $3";
}

type GivenRow = (Uuid, Uuid, String);

// === impl Store ===

impl Store {
    /// The role with this name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn role(&self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        let row = read!(self, pool => {
            sqlx::query_as::<_, RoleRow>(ROLE_BY_NAME).bind(name.as_str()).fetch_optional(pool).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let given: Vec<GivenRow> = read!(self, pool => {
            sqlx::query_as(PERMISSIONS_OF_ROLE).bind(row.uid).fetch_all(pool).await
        })?;
        Ok(assemble(vec![row], given)?.pop())
    }

    /// Every role.
    ///
    /// # Errors
    /// The database is away.
    pub async fn all_roles(&self) -> Result<Vec<Role>, StoreError> {
        let rows = read!(self, pool => sqlx::query_as::<_, RoleRow>(ALL_ROLES).fetch_all(pool).await)?;
        let given: Vec<GivenRow> =
            read!(self, pool => sqlx::query_as(ALL_ROLE_PERMISSIONS).fetch_all(pool).await)?;
        assemble(rows, given)
    }

    /// Every resource server, role, exchange rule and trusted issuer that this version understands. What a newer one has
    /// registered beside it must not keep everything else from being read.
    ///
    /// # Errors
    /// The database is away.
    pub async fn catalog(&self) -> Result<Catalog, StoreError> {
        // What others point to last: a role that points to a newer one than was read would seem broken.
        let mut unread = BTreeSet::new();
        let exchange = understood(self.each_exchange_rule().await?, Sort::ExchangeRule, &mut unread);
        let (operators, roles) = (self.all_operators().await?, self.all_roles().await?);
        let trusted = understood(self.each_trusted_issuer().await?, Sort::TrustedIssuer, &mut unread);
        let servers = understood(self.each_resource_server().await?, Sort::ResourceServer, &mut unread);
        let catalog = Catalog::new(servers, roles).with_exchange(exchange, operators).with_trust(trusted);
        Ok(catalog.without(unread))
    }
}

fn assemble(rows: Vec<RoleRow>, given: Vec<GivenRow>) -> Result<Vec<Role>, StoreError> {
    let mut by_role: BTreeMap<Uuid, BTreeSet<(ResourceServerUid, Permission)>> = BTreeMap::new();
    for (role, server, text) in given {
        by_role.entry(role).or_default().insert((ResourceServerUid(server), permission(&text)?));
    }
    rows.into_iter()
        .map(|row| {
            let permissions = by_role.remove(&row.uid).unwrap_or_default();
            row.with(permissions)
        })
        .collect()
}

// === impl Tx ===

impl Tx {
    /// Creates a role with what it gives.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when the name is taken, [`StoreError::InUse`] when one of its
    /// permissions is not defined.
    pub async fn insert_role(&mut self, role: &Role) -> Result<(), StoreError> {
        execute!(
            self,
            INSERT_ROLE,
            role.uid.0,
            role.name.as_str(),
            &role.description,
            role.builtin,
            role.version,
            role.created_at.as_micros(),
            role.updated_at.as_micros()
        )?;
        for (server, permission) in &role.permissions {
            self.add_role_permission(role.uid, *server, permission).await?;
        }
        Ok(())
    }

    /// Replaces a role's fields if it still has `role.version`. Answers whether it did. What it gives is
    /// added and removed one by one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn update_role(&mut self, role: &Role) -> Result<bool, StoreError> {
        let changed = execute!(
            self,
            UPDATE_ROLE,
            role.uid.0,
            role.version,
            &role.description,
            role.updated_at.as_micros()
        )?;
        Ok(changed == 1)
    }

    /// Removes a role if it still has this version. Answers whether it did.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a client has it, or an exchange rule names it.
    pub async fn delete_role(&mut self, role: RoleUid, version: i64) -> Result<bool, StoreError> {
        let changed = execute!(self, DELETE_ROLE, role.0, version)?;
        Ok(changed == 1)
    }

    /// Lets a role give a permission.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when the role or the permission is gone.
    pub async fn add_role_permission(
        &mut self,
        role: RoleUid,
        server: ResourceServerUid,
        permission: &Permission,
    ) -> Result<(), StoreError> {
        self.role_permission(ADD_ROLE_PERMISSION, role, server, permission).await
    }

    /// Lets a role no longer give a permission.
    ///
    /// # Errors
    /// The database is away.
    pub async fn remove_role_permission(
        &mut self,
        role: RoleUid,
        server: ResourceServerUid,
        permission: &Permission,
    ) -> Result<(), StoreError> {
        self.role_permission(REMOVE_ROLE_PERMISSION, role, server, permission).await
    }

    async fn role_permission(
        &mut self,
        sql: &'static str,
        role: RoleUid,
        server: ResourceServerUid,
        permission: &Permission,
    ) -> Result<(), StoreError> {
        execute!(self, sql, role.0, server.0, permission.as_str())?;
        Ok(())
    }
}
