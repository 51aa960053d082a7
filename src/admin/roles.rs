//! Creating, reading, changing and removing roles.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::object::object;
use super::overtaken::overtaken;
use super::{
    Admin, AdminError, By, HANDS_OUT, Page, PageRequest, Written, check_search, exchange_rules, found,
    present,
};
use crate::domain::builtin;
use crate::domain::catalog::Catalog;
use crate::domain::error::FieldError;
use crate::domain::exchange_rule::Party;
use crate::domain::ids::{Permission, ResourceServerName, ResourceServerUid, RoleName, RoleUid};
use crate::domain::role::Role;
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;
use crate::storage::{ChangeKind, StoreError};

/// A permission at a resource server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct GivenPermission {
    /// The resource server, by name.
    pub resource_server: ResourceServerName,
    /// The scope value.
    pub permission: Permission,
}

object!(GivenPermission);

/// A role to create.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    /// Its name, as it stands in tokens; it never changes.
    pub name: RoleName,
    /// A note for people; `text` of the list finds it.
    #[serde(default)]
    #[schema(
        example = "Reads orders",
        max_length = 1000,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// What it gives.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub permissions: Vec<GivenPermission>,
}

/// What to change of a role. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRole {
    /// A note for people; `text` of the list finds it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "Reads orders", max_length = 1000, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// What it gives; replaces all of it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<GivenPermission>, max_items = 1000)]
    pub permissions: Option<Vec<GivenPermission>>,
}

/// A role as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoleView {
    /// Its name.
    pub name: RoleName,
    /// A note for people; `text` of the list finds it.
    #[schema(example = "Reads orders")]
    pub description: String,
    /// What it gives.
    pub permissions: Vec<GivenPermission>,
    /// `administrator` or `auditor`.
    pub builtin: bool,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

// === impl RoleView ===

impl RoleView {
    fn new(role: &Role, catalog: &Catalog) -> Self {
        let mut permissions: Vec<_> = role
            .permissions
            .iter()
            .filter_map(|(server, permission)| {
                catalog.resource_server(*server).map(|server| GivenPermission {
                    resource_server: server.name.clone(),
                    permission: permission.clone(),
                })
            })
            .collect();
        // They are kept in the order of hidden database keys; people see names.
        permissions
            .sort_by(|a, b| (&a.resource_server, &a.permission).cmp(&(&b.resource_server, &b.permission)));
        Self {
            name: role.name.clone(),
            description: role.description.clone(),
            permissions,
            builtin: role.builtin,
            version: role.version,
            created_at: role.created_at,
            updated_at: role.updated_at,
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Creates a role.
    ///
    /// # Errors
    /// Wrong fields, a taken name, unknown permissions, or ones beyond the administrator's own.
    pub async fn create_role(&self, by: &By, new: CreateRole) -> Result<RoleView, AdminError> {
        self.require(by, builtin::ROLES_WRITE).await?;
        let catalog = self.catalog().await?;
        let mut errors = Vec::new();
        let permissions = given(&catalog, &new.permissions, &mut errors);
        check(&new.description, errors)?;
        let now = self.ambient.now();
        let role = Role {
            uid: RoleUid(self.ambient.uuid()?),
            name: new.name,
            description: new.description,
            permissions,
            builtin: false,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        self.require_permissions_within(by, &catalog, &role.permissions).await?;
        let mut tx = self.begin().await?;
        tx.insert_role(&role).await.map_err(|error| match error {
            StoreError::AlreadyExists => {
                AdminError::Conflict(format!("a role '{}' exists already", role.name))
            }
            other => other.into(),
        })?;
        let view = RoleView::new(&role, &catalog);
        self.commit(tx, by, Written::of(ChangeKind::Catalog, "role.create", &role.name, None, Some(&view)))
            .await?;
        Ok(view)
    }

    /// A role.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn role(&self, by: &By, name: &RoleName) -> Result<RoleView, AdminError> {
        self.require(by, builtin::ROLES_READ).await?;
        Ok(RoleView::new(&self.stored_role(name).await?, &*self.catalog().await?))
    }

    /// A page of roles, in the order of their names.
    ///
    /// # Errors
    /// A wrong cursor or limit.
    pub async fn roles(
        &self,
        by: &By,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<RoleView>, AdminError> {
        self.require(by, builtin::ROLES_READ).await?;
        check_search("q", text)?;
        let catalog = self.catalog().await?;
        let views = catalog
            .roles()
            .filter(|role| text.is_none_or(|text| found(text, &[role.name.as_str(), &role.description])))
            .map(|role| RoleView::new(role, &catalog))
            .collect();
        Page::of(views, page, |view: &RoleView| view.name.as_str())
    }

    /// Changes a role that still has the expected version.
    ///
    /// # Errors
    /// Wrong fields, permissions beyond the administrator's own, a built-in role, or somebody else changed it.
    pub async fn update_role(
        &self,
        by: &By,
        name: &RoleName,
        version: i64,
        update: UpdateRole,
    ) -> Result<RoleView, AdminError> {
        self.require(by, builtin::ROLES_WRITE).await?;
        let catalog = self.catalog().await?;
        let before = self.changeable_role(by, name, version).await?;
        let mut role = before.clone();
        let mut errors = Vec::new();
        if let Some(replacement) = update.permissions {
            role.permissions = given(&catalog, &replacement, &mut errors);
        }
        role.description = update.description.unwrap_or(role.description);
        role.updated_at = self.ambient.now();
        check(&role.description, errors)?;
        let added = role.permissions.difference(&before.permissions).cloned().collect();
        self.require_permissions_within(by, &catalog, &added).await?;

        let mut tx = self.begin().await?;
        if !tx.update_role(&role).await? {
            drop(tx);
            return Err(self.overtaken_role(by, name).await);
        }
        for (server, permission) in before.permissions.difference(&role.permissions) {
            tx.remove_role_permission(role.uid, *server, permission).await?;
        }
        for (server, permission) in role.permissions.difference(&before.permissions) {
            tx.add_role_permission(role.uid, *server, permission).await?;
        }
        role.version += 1;
        let view = RoleView::new(&role, &catalog);
        let before = RoleView::new(&before, &catalog);
        self.commit(
            tx,
            by,
            Written::of(ChangeKind::Catalog, "role.update", name, Some(&before), Some(&view)),
        )
        .await?;
        Ok(view)
    }

    /// Removes a role that still has the expected version.
    ///
    /// # Errors
    /// A client has it, an exchange rule names it, it is built in, or somebody else changed it.
    pub async fn delete_role(&self, by: &By, name: &RoleName, version: i64) -> Result<(), AdminError> {
        self.require(by, builtin::ROLES_WRITE).await?;
        let role = self.changeable_role(by, name, version).await?;
        let holders = self.store.clients_with_role(role.uid, 5).await?;
        let named = Party::Role(role.uid);
        let rules = exchange_rules::among(&*self.catalog().await?, |rule| rule.names(named));
        let mut tx = self.begin().await?;
        let removed = tx.delete_role(role.uid, version).await.map_err(|error| match (error, rules) {
            (StoreError::InUse, Some(rules)) if holders.is_empty() => AdminError::Conflict(format!(
                "exchange rules name the role '{name}' (among them {rules}); change or delete them first"
            )),
            (StoreError::InUse, _) => AdminError::Conflict(format!(
                "clients still have the role '{name}' (among them {}); take it away from them first",
                holders.join(", ")
            )),
            (other, _) => other.into(),
        })?;
        if !removed {
            drop(tx);
            return Err(self.overtaken_role(by, name).await);
        }
        let view = RoleView::new(&role, &*self.catalog().await?);
        self.commit(tx, by, Written::of(ChangeKind::Catalog, "role.delete", name, Some(&view), None)).await
    }

    async fn stored_role(&self, name: &RoleName) -> Result<Role, AdminError> {
        self.store.role(name).await?.ok_or_else(|| AdminError::not_found("role", name.as_str()))
    }

    async fn changeable_role(&self, by: &By, name: &RoleName, version: i64) -> Result<Role, AdminError> {
        let role = self.stored_role(name).await?;
        if role.builtin {
            return Err(AdminError::Conflict(format!(
                "the role '{name}' is built in and cannot be changed or removed"
            )));
        }
        if role.version != version {
            return Err(self.overtaken_role(by, name).await);
        }
        Ok(role)
    }

    /// Why a change is refused that is based on another version.
    async fn overtaken_role(&self, by: &By, name: &RoleName) -> AdminError {
        let now = async { Ok(RoleView::new(&self.stored_role(name).await?, &*self.catalog().await?)) };
        overtaken(by, builtin::ROLES_READ, now.await, |view| view.version)
    }

    async fn require_permissions_within(
        &self,
        by: &By,
        catalog: &Catalog,
        permissions: &BTreeSet<(ResourceServerUid, Permission)>,
    ) -> Result<(), AdminError> {
        let api = catalog.api().map(|server| server.uid);
        let of_api: Vec<_> = permissions
            .iter()
            .filter(|(server, _)| Some(*server) == api)
            .map(|(_, permission)| permission)
            .collect();
        self.require_all(by, &of_api, HANDS_OUT).await
    }
}

/// Checks what else there is in a form, beside what was found wrong already.
fn check(description: &str, mut errors: Vec<FieldError>) -> Result<(), AdminError> {
    errors.extend(check_text("description", description, 1_000).err());
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}

/// The permissions that a form names. What is wrong with them is noted.
fn given(
    catalog: &Catalog,
    list: &[GivenPermission],
    errors: &mut Vec<FieldError>,
) -> BTreeSet<(ResourceServerUid, Permission)> {
    const MOST: usize = 1_000;
    let mut wrong = |problem: String, fix| errors.push(FieldError::new("permissions", problem, fix));
    let mut permissions = BTreeSet::new();
    if list.len() > MOST {
        wrong(format!("{} permissions", list.len()), "use at most 1000");
        return permissions;
    }
    for GivenPermission { resource_server, permission } in list {
        match catalog.by_name(resource_server) {
            None => wrong(format!("there is no resource server '{resource_server}'"), "register it first"),
            Some(server) if !server.permissions.contains_key(permission) => wrong(
                format!("'{resource_server}' defines no permission '{permission}'"),
                "add it to the resource server first",
            ),
            Some(server) => drop(permissions.insert((server.uid, permission.clone()))),
        }
    }
    permissions
}
