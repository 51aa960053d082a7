//! A role: a named set of permissions across resource servers. The only way to a permission.

use std::collections::BTreeSet;

use super::ids::{Permission, ResourceServerUid, RoleName, RoleUid};
use super::time::Timestamp;

/// A registered role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Database key.
    pub uid: RoleUid,
    /// Its name, as it stands in tokens.
    pub name: RoleName,
    /// A note for people, which decides nothing.
    pub description: String,
    /// What it gives, and where.
    pub permissions: BTreeSet<(ResourceServerUid, Permission)>,
    /// `administrator` or `auditor`, which cannot be changed or removed.
    pub builtin: bool,
    /// Counts changes; the `ETag` of the API.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
