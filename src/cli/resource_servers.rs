//! `jeton resource-servers …`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::{client_id, resource_server_name, seconds};
use super::listed::all;
use super::{Offline, output};
use crate::admin::resource_servers::{
    CreateResourceServer, PermissionView, ResourceServerView, UpdateResourceServer,
};
use crate::domain::binding::TokenBinding;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, Identifier, Permission, ResourceServerName};
use crate::domain::resource::TokenProfile;
use crate::jose::Algorithm;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a resource server.
    Create(Create),
    /// List resource servers.
    List {
        /// Only resource servers with this text in the name, the identifier or the description.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show a resource server.
    Show {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
    /// Change a resource server: what is not named stays.
    Change(Box<Change>),
    /// Switch a resource server off. No tokens are issued for it from the next second on.
    Disable {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
    /// Switch a resource server on again.
    Enable {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
    /// Remove a resource server that no role, client or exchange rule names.
    Delete {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
    /// The clients that operate a resource server: they may introspect its tokens, and exchange tokens addressed
    /// to it.
    #[command(subcommand)]
    Operators(Operators),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its short name, which never changes.
    #[arg(value_parser = resource_server_name)]
    name: ResourceServerName,
    /// The audience of its tokens: usually its URL, but any text.
    #[arg(long, value_parser = identifier)]
    identifier: Identifier,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long, default_value = "")]
    description: String,
    /// A permission and its description; may be repeated.
    #[arg(long = "permission", value_name = "NAME[=DESCRIPTION]", value_parser = permission)]
    permissions: Vec<PermissionView>,
    /// How many seconds its tokens live; 300, when absent.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    token_lifetime: Option<u32>,
    /// What its tokens are signed with: ES256, ES384, RS256, PS256, EdDSA or ML-DSA-65.
    #[arg(long, value_name = "ALG", default_value = "ES256")]
    signing_algorithm: Algorithm,
    /// The shape of its tokens: at+jwt, or jwt for clouds that take a plain OIDC token.
    #[arg(long, value_name = "PROFILE", default_value = "at+jwt")]
    token_profile: TokenProfile,
    /// Whether its tokens must be bound to a key of the client that gets them: optional, dpop, mtls or either.
    #[arg(long, value_name = "BINDING", default_value = "optional")]
    token_binding: TokenBinding,
}

#[derive(Debug, Subcommand)]
pub(super) enum Operators {
    /// Make a client an operator.
    Add {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Let a client no longer operate it.
    Remove {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// List the clients that operate it.
    List {
        /// The resource server's name.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// The resource server's name.
    #[arg(value_parser = resource_server_name)]
    name: ResourceServerName,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// The audience of its tokens. Tokens for the old one stay valid until they end.
    #[arg(long, value_parser = identifier)]
    identifier: Option<Identifier>,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long)]
    description: Option<String>,
    /// A permission beside those that there are, or another description of one that there is; may be repeated.
    #[arg(long = "add-permission", value_name = "NAME[=DESCRIPTION]", value_parser = described)]
    added: Vec<Described>,
    /// A permission that no role gives and no exchange rule lets through any more; may be repeated.
    #[arg(long = "remove-permission", value_name = "NAME", value_parser = permission_name)]
    removed: Vec<Permission>,
    /// How many seconds its tokens live.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    token_lifetime: Option<u32>,
    /// What its tokens are signed with: ES256, ES384, RS256, PS256, EdDSA or ML-DSA-65.
    #[arg(long, value_name = "ALG")]
    signing_algorithm: Option<Algorithm>,
    /// The shape of its tokens: at+jwt, or jwt for clouds that take a plain OIDC token.
    #[arg(long, value_name = "PROFILE")]
    token_profile: Option<TokenProfile>,
    /// Whether its tokens must be bound to a key of the client that gets them: optional, dpop, mtls or either.
    #[arg(long, value_name = "BINDING")]
    token_binding: Option<TokenBinding>,
}

/// A permission, and what is said of it.
type Described = (Permission, Option<String>);

// === impl Changes ===

impl Changes {
    /// The change, to a resource server as it was read.
    fn of(self, server: &ResourceServerView) -> Result<UpdateResourceServer, FieldError> {
        let permissions = changed_permissions(server, self.added, &self.removed)?;
        Ok(UpdateResourceServer {
            identifier: self.identifier,
            description: self.description,
            permissions,
            token_lifetime: self.token_lifetime,
            signing_algorithm: self.signing_algorithm,
            token_profile: self.token_profile,
            token_binding: self.token_binding,
            enabled: None,
        })
    }
}

/// All permissions as they are then; nothing, when they stay.
fn changed_permissions(
    server: &ResourceServerView,
    added: Vec<Described>,
    removed: &[Permission],
) -> Result<Option<Vec<PermissionView>>, FieldError> {
    if added.is_empty() && removed.is_empty() {
        return Ok(None);
    }
    let pairs = server.permissions.iter().cloned().map(|view| (view.permission, view.description));
    let mut all: BTreeMap<_, _> = pairs.collect();
    for gone in removed {
        if all.remove(gone).is_none() {
            return Err(FieldError::new(
                "permissions",
                format!("'{}' defines no permission '{gone}'", server.name),
                format!("name one of those that `jeton resource-servers show {}` lists", server.name),
            ));
        }
    }
    for (permission, description) in added {
        let said = all.entry(permission).or_default();
        *said = description.unwrap_or(std::mem::take(said));
    }
    Ok(Some(
        all.into_iter().map(|(permission, description)| PermissionView { permission, description }).collect(),
    ))
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Create(create) => output::one(&admin.create_resource_server(by, create.into()).await?, json),
        Command::List { text } => {
            let text = text.as_deref();
            let servers = all(async |page| admin.resource_servers(by, text, &page).await).await?;
            if json {
                return output::one(&servers, json);
            }
            let rows: Vec<_> = servers.iter().map(row).collect();
            let columns =
                ["name", "identifier", "token_lifetime", "enabled", "builtin", "description", "permissions"];
            output::rows(&rows, &columns, json)
        }
        Command::Show { name } => output::one(&admin.resource_server(by, &name).await?, json),
        Command::Change(change) => {
            let Change { name, changes } = *change;
            let before = admin.resource_server(by, &name).await?;
            let update = changes.of(&before)?;
            let after = admin.update_resource_server(by, &name, before.version, update).await?;
            output::changed(&format!("the resource server {name}"), &before, &after, json)
        }
        Command::Disable { name } => switch(offline, &name, false, json).await,
        Command::Enable { name } => switch(offline, &name, true, json).await,
        Command::Delete { name } => {
            let version = admin.resource_server(by, &name).await?.version;
            admin.delete_resource_server(by, &name, version).await?;
            output::now(&json!({ "deleted": name }), &format!("the resource server {name} is gone"), json)
        }
        Command::Operators(command) => operators(command, offline, json).await,
    }
}

async fn switch(
    Offline { admin, by, .. }: &Offline,
    name: &ResourceServerName,
    enabled: bool,
    json: bool,
) -> anyhow::Result<()> {
    let version = admin.resource_server(by, name).await?.version;
    let update = UpdateResourceServer { enabled: Some(enabled), ..UpdateResourceServer::default() };
    let view = admin.update_resource_server(by, name, version, update).await?;
    let line = if enabled {
        format!("the resource server {name} is enabled")
    } else {
        format!("the resource server {name} is disabled: no tokens are issued for it from the next second on")
    };
    output::now(&view, &line, json)
}

/// A resource server in a table, its permissions by name alone.
fn row(server: &ResourceServerView) -> serde_json::Value {
    let permissions: Vec<_> = server.permissions.iter().map(|view| &view.permission).collect();
    json!({
        "name": server.name, "identifier": server.identifier, "permissions": permissions,
        "token_lifetime": server.token_lifetime, "enabled": server.enabled, "builtin": server.builtin,
        "description": server.description,
    })
}

async fn operators(
    command: Operators,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let (name, client_id, operates) = match command {
        Operators::Add { name, client_id } => {
            admin.add_operator(by, &name, &client_id).await?;
            (name, client_id, true)
        }
        Operators::Remove { name, client_id } => {
            admin.remove_operator(by, &name, &client_id).await?;
            (name, client_id, false)
        }
        Operators::List { name } => {
            let operators = all(async |page| admin.operators(by, &name, &page).await).await?;
            return output::rows(&operators, &["client_id", "assigned_at"], json);
        }
    };
    let outcome = json!({ "resource_server": name, "client_id": client_id, "operates": operates });
    let operates = if operates { "operates" } else { "no longer operates" };
    output::now(&outcome, &format!("{client_id} {operates} {name}"), json)
}

// === impl Create ===

impl From<Create> for CreateResourceServer {
    fn from(create: Create) -> Self {
        let mut server = Self::named(create.name, create.identifier);
        server.description = create.description;
        server.permissions = create.permissions;
        server.token_lifetime = create.token_lifetime.unwrap_or(server.token_lifetime);
        server.signing_algorithm = create.signing_algorithm;
        server.token_profile = create.token_profile;
        server.token_binding = create.token_binding;
        server
    }
}

fn identifier(text: &str) -> Result<Identifier, FieldError> {
    Identifier::new(text)
}

fn permission(text: &str) -> Result<PermissionView, FieldError> {
    let (permission, description) = described(text)?;
    Ok(PermissionView { permission, description: description.unwrap_or_default() })
}

fn permission_name(text: &str) -> Result<Permission, FieldError> {
    Permission::new(text)
}

fn described(text: &str) -> Result<Described, FieldError> {
    let (name, description) =
        text.split_once('=').map_or((text, None), |(name, said)| (name, Some(said.to_owned())));
    Ok((Permission::new(name)?, description))
}
