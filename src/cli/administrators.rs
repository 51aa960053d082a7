//! `jeton admin …`: people who administer, with the database and the master key in reach.

use clap::Subcommand;

use super::listed::all;
use super::{Offline, output};
use crate::admin::administrators::{CreateAdministrator, UpdateAdministrator};
use crate::domain::administrator::AdministratorRole;
use crate::domain::error::FieldError;
use crate::domain::ids::AdministratorName;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register somebody, and print a one-time link by which they set their password.
    Create {
        /// What they sign in with, and what the audit calls them.
        #[arg(value_parser = name)]
        name: AdministratorName,
        /// What they may do: administrator or auditor.
        #[arg(long)]
        role: AdministratorRole,
    },
    /// List who administers.
    List,
    /// Print a one-time link by which somebody sets a new password and a new second factor. What they have counts
    /// until they use it.
    ResetPassword {
        /// The administrator's name.
        #[arg(value_parser = name)]
        name: AdministratorName,
    },
    /// Let somebody no longer sign in. Their sessions end at once.
    Disable {
        /// The administrator's name.
        #[arg(value_parser = name)]
        name: AdministratorName,
    },
    /// Let somebody sign in again.
    Enable {
        /// The administrator's name.
        #[arg(value_parser = name)]
        name: AdministratorName,
    },
    /// Remove somebody. The audit keeps what they did.
    Delete {
        /// The administrator's name.
        #[arg(value_parser = name)]
        name: AdministratorName,
    },
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Create { name, role } => {
            // Before anybody is made whom no link can be printed for.
            admin.issuer().await?;
            let new = CreateAdministrator { name: name.clone(), role, external: None };
            admin.create_administrator(by, new).await?;
            output::one(&admin.link_for(by, &name).await?, json)
        }
        Command::List => {
            let people = all(async |page| admin.administrators(by, &page).await).await?;
            let columns = ["name", "role", "enabled", "password", "second_factor", "signed_in_at"];
            output::rows(&people, &columns, json)
        }
        Command::ResetPassword { name } => output::one(&admin.link_for(by, &name).await?, json),
        Command::Disable { name } => switch(offline, &name, false, json).await,
        Command::Enable { name } => switch(offline, &name, true, json).await,
        Command::Delete { name } => {
            let version = admin.administrator(by, &name).await?.version;
            admin.delete_administrator(by, &name, version).await?;
            let gone = serde_json::json!({ "name": name, "deleted": true });
            output::now(&gone, &format!("{name} is removed"), json)
        }
    }
}

async fn switch(
    Offline { admin, by, .. }: &Offline,
    name: &AdministratorName,
    enabled: bool,
    json: bool,
) -> anyhow::Result<()> {
    let version = admin.administrator(by, name).await?.version;
    let update = UpdateAdministrator { role: None, enabled: Some(enabled) };
    let view = admin.update_administrator(by, name, version, update).await?;
    let line = if enabled {
        format!("{name} is enabled")
    } else {
        format!("{name} is disabled, and signed out everywhere")
    };
    output::now(&view, &line, json)
}

fn name(text: &str) -> Result<AdministratorName, FieldError> {
    AdministratorName::new(text)
}
