//! Which roles a client has.

use super::{Admin, AdminError, By, HANDS_OUT, Written};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, RoleName, RoleUid};
use crate::storage::ChangeKind;

// === impl Admin ===

impl Admin {
    /// A client's roles, by name.
    ///
    /// # Errors
    /// There is no such client.
    pub async fn client_roles(&self, by: &By, client_id: &ClientId) -> Result<Vec<RoleName>, AdminError> {
        self.require(by, builtin::CLIENTS_READ).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let roles = self.store.roles_of(client.uid).await?;
        let mut names: Vec<_> =
            roles.iter().filter_map(|uid| catalog.role(*uid)).map(|role| role.name.clone()).collect();
        names.sort();
        Ok(names)
    }

    /// Gives a client a role. Giving it twice is no error.
    ///
    /// # Errors
    /// No such client or role, or one that gives more than the administrator has.
    pub async fn assign_role(
        &self,
        by: &By,
        client_id: &ClientId,
        role: &RoleName,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let catalog = self.catalog().await?;
        let uid = role_uid(&catalog, role)?;
        self.require_all_of(by, &catalog, None, &[uid], HANDS_OUT).await?;
        let mut tx = self.begin().await?;
        if !tx.assign_role(client.uid, uid, self.ambient.now()).await? {
            return Ok(());
        }
        self.commit(
            tx,
            by,
            Written::of(
                ChangeKind::Client(client_id.clone()),
                "client.role.assign",
                client_id,
                None,
                Some(role),
            ),
        )
        .await
    }

    /// Takes a role away. Taking away what is not there is no error.
    ///
    /// # Errors
    /// No such client or role.
    pub async fn unassign_role(
        &self,
        by: &By,
        client_id: &ClientId,
        role: &RoleName,
    ) -> Result<(), AdminError> {
        self.require(by, builtin::CLIENTS_WRITE).await?;
        let client = self.stored_client(client_id).await?;
        let uid = role_uid(&*self.catalog().await?, role)?;
        let mut tx = self.begin().await?;
        if !tx.unassign_role(client.uid, uid).await? {
            return Ok(());
        }
        self.commit(
            tx,
            by,
            Written::of(
                ChangeKind::Client(client_id.clone()),
                "client.role.unassign",
                client_id,
                Some(role),
                None,
            ),
        )
        .await
    }
}

/// The keys of roles that a request names. What is wrong with them is noted.
pub(super) fn roles_named(
    catalog: &Catalog,
    names: &[RoleName],
    errors: &mut Vec<FieldError>,
) -> Vec<RoleUid> {
    let mut roles = Vec::new();
    for name in names {
        match catalog.role_named(name) {
            Some(role) => roles.push(role.uid),
            None => errors.push(FieldError::new(
                "roles",
                format!("there is no role '{name}'"),
                "create the role first",
            )),
        }
    }
    roles
}

fn role_uid(catalog: &Catalog, name: &RoleName) -> Result<RoleUid, AdminError> {
    catalog.role_named(name).map(|role| role.uid).ok_or_else(|| AdminError::not_found("role", name.as_str()))
}
