//! `jeton clients role …`

use clap::Subcommand;

use super::arguments::{client_id, role_name};
use super::{Offline, output};
use crate::domain::ids::{ClientId, RoleName};

#[derive(Debug, Subcommand)]
pub(super) enum Role {
    /// Give a client a role. It counts from the next second on.
    Add {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The role's name.
        #[arg(value_parser = role_name)]
        role: RoleName,
    },
    /// Take a role away. It counts from the next second on; tokens that are in the world stay until they end.
    Remove {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// The role's name.
        #[arg(value_parser = role_name)]
        role: RoleName,
    },
    /// List a client's roles.
    List {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
}

pub(super) async fn run(
    command: Role,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let (client_id, role, has) = match command {
        Role::Add { client_id, role } => {
            admin.assign_role(by, &client_id, &role).await?;
            (client_id, role, true)
        }
        Role::Remove { client_id, role } => {
            admin.unassign_role(by, &client_id, &role).await?;
            (client_id, role, false)
        }
        Role::List { client_id } => {
            let roles = admin.client_roles(by, &client_id).await?;
            let rows: Vec<_> = roles.iter().map(|role| serde_json::json!({ "role": role })).collect();
            return output::rows(&rows, &["role"], json);
        }
    };
    if json {
        return output::one(&serde_json::json!({ "client_id": client_id, "role": role, "has": has }), true);
    }
    output::print(&format!("{client_id} {} the role {role}", if has { "has" } else { "no longer has" }))
}
