//! Use-case: what a client may do where, and which of its roles let it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::client::Registration;
use crate::domain::ids::{ClientId, Identifier, Permission, ResourceServerName, RoleName};
use crate::domain::time::Timestamp;

/// What a client may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct EffectivePermissions {
    /// The client.
    pub client_id: ClientId,
    /// Where, in the order of the names. What is missing gives the client nothing.
    pub resource_servers: Vec<HeldAt>,
}

/// What a client may do at one resource server.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldAt {
    /// The resource server.
    pub resource_server: ResourceServerName,
    /// Its audience value.
    pub identifier: Identifier,
    /// Whether there are tokens for it now.
    pub enabled: bool,
    /// What it may do there.
    pub permissions: Vec<HeldPermission>,
}

/// One permission that a client has.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldPermission {
    /// The permission.
    pub permission: Permission,
    /// What it allows, for people.
    #[schema(example = "Read orders")]
    pub description: String,
    /// The client's roles that give it; none, where its registration does.
    pub roles: Vec<RoleName>,
}

// === impl Admin ===

impl Admin {
    /// What a client's roles give it, and where.
    ///
    /// # Errors
    /// `clients:read` is missing, there is no such client, or the database is away.
    pub async fn effective_permissions(
        &self,
        by: &By,
        client_id: &ClientId,
    ) -> Result<EffectivePermissions, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let registration = self.registered(client_id).await?;
        let catalog = self.catalog().await?;
        let resource_servers = held_by(&catalog, &registration, self.ambient.now());
        Ok(EffectivePermissions { client_id: client_id.clone(), resource_servers })
    }
}

/// What a client holds, in the order of the resource servers' names.
pub(super) fn held_by(catalog: &Catalog, registration: &Registration, now: Timestamp) -> Vec<HeldAt> {
    let mut holdings = catalog.holdings(&registration.roles);
    if registration.may_rotate_own_secrets(None) {
        holdings = catalog.with_own_secrets(holdings);
    }
    let held = holdings.into_iter().filter_map(|(uid, held)| {
        let server = catalog.resource_server(uid)?;
        let permissions = held.into_iter().map(|(permission, roles)| {
            let mut roles: Vec<RoleName> = roles.into_iter().cloned().collect();
            roles.sort();
            HeldPermission {
                permission: permission.clone(),
                description: server.permissions.get(permission).cloned().unwrap_or_default(),
                roles,
            }
        });
        Some(HeldAt {
            resource_server: server.name.clone(),
            identifier: server.identifier.clone(),
            enabled: server.check(now).is_ok(),
            permissions: permissions.collect(),
        })
    });
    let mut held: Vec<HeldAt> = held.collect();
    held.sort_by(|a, b| a.resource_server.cmp(&b.resource_server));
    held
}
