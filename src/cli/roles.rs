//! `jeton roles …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::role_name;
use super::listed::all;
use super::{Offline, output};
use crate::admin::roles::{CreateRole, GivenPermission, RoleView, UpdateRole};
use crate::domain::error::FieldError;
use crate::domain::ids::{Permission, ResourceServerName, RoleName};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a role.
    Create {
        /// Its name, as it stands in tokens.
        #[arg(value_parser = role_name)]
        name: RoleName,
        /// A note for people, which `--text` of `list` finds.
        #[arg(long, default_value = "")]
        description: String,
        /// A permission it gives; may be repeated.
        #[arg(long = "permission", value_name = "RESOURCE_SERVER/PERMISSION", value_parser = given)]
        permissions: Vec<GivenPermission>,
    },
    /// List roles.
    List {
        /// Only roles with this text in the name or the description.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show a role.
    Show {
        /// The role's name.
        #[arg(value_parser = role_name)]
        name: RoleName,
    },
    /// Change a role: what is not named stays.
    Change(Change),
    /// Remove a role that no client has and no exchange rule names.
    Delete {
        /// The role's name.
        #[arg(value_parser = role_name)]
        name: RoleName,
    },
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// The role's name.
    #[arg(value_parser = role_name)]
    name: RoleName,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// A note for people, which `--text` of `list` finds.
    #[arg(long)]
    description: Option<String>,
    /// A permission it gives beside what it gives already; may be repeated.
    #[arg(long = "add-permission", value_name = "RESOURCE_SERVER/PERMISSION", value_parser = given)]
    added: Vec<GivenPermission>,
    /// A permission it gives no longer; may be repeated.
    #[arg(long = "remove-permission", value_name = "RESOURCE_SERVER/PERMISSION", value_parser = given)]
    removed: Vec<GivenPermission>,
}

// === impl Changes ===

impl Changes {
    /// The change, to a role as it was read.
    fn of(self, role: &RoleView) -> Result<UpdateRole, FieldError> {
        let Self { description, added, removed } = self;
        if let Some(missing) = removed.iter().find(|gone| !role.permissions.contains(gone)) {
            return Err(FieldError::new(
                "permissions",
                format!("the role does not give {}", written(missing)),
                format!("name one of those that `jeton roles show {}` lists", role.name),
            ));
        }
        let changes = !(added.is_empty() && removed.is_empty());
        let kept = role.permissions.iter().filter(|given| !removed.contains(given)).cloned();
        Ok(UpdateRole { description, permissions: changes.then(|| kept.chain(added).collect()) })
    }
}

pub(super) async fn run(
    command: Command,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        Command::Create { name, description, permissions } => {
            output::one(&admin.create_role(by, CreateRole { name, description, permissions }).await?, json)
        }
        Command::List { text } => {
            let text = text.as_deref();
            let roles = all(async |page| admin.roles(by, text, &page).await).await?;
            if json {
                return output::one(&roles, json);
            }
            let rows: Vec<_> = roles.iter().map(row).collect();
            output::rows(&rows, &["name", "builtin", "description", "permissions"], json)
        }
        Command::Show { name } => output::one(&admin.role(by, &name).await?, json),
        Command::Change(Change { name, changes }) => {
            let before = admin.role(by, &name).await?;
            let update = changes.of(&before)?;
            let after = admin.update_role(by, &name, before.version, update).await?;
            output::changed(&format!("the role {name}"), &before, &after, json)
        }
        Command::Delete { name } => {
            let version = admin.role(by, &name).await?.version;
            admin.delete_role(by, &name, version).await?;
            output::now(&json!({ "deleted": name }), &format!("the role {name} is gone"), json)
        }
    }
}

/// A role in a table, its permissions as they are typed.
fn row(role: &RoleView) -> serde_json::Value {
    let permissions: Vec<_> = role.permissions.iter().map(written).collect();
    json!({
        "name": role.name, "permissions": permissions, "builtin": role.builtin, "description": role.description,
    })
}

fn written(GivenPermission { resource_server, permission }: &GivenPermission) -> String {
    format!("{resource_server}/{permission}")
}

fn given(text: &str) -> Result<GivenPermission, String> {
    let (server, permission) =
        text.split_once('/').ok_or("write RESOURCE_SERVER/PERMISSION, for example orders/orders:read")?;
    Ok(GivenPermission {
        resource_server: ResourceServerName::new(server).map_err(|error| error.to_string())?,
        permission: Permission::new(permission).map_err(|error| error.to_string())?,
    })
}
