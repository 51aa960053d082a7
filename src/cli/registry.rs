//! `jeton resource-servers …` and `jeton roles …`

use clap::{Args, Subcommand};

use super::arguments::seconds;
use super::{Offline, output};
use crate::admin::PageRequest;
use crate::admin::resource_servers::{CreateResourceServer, PermissionView};
use crate::admin::roles::{CreateRole, GivenPermission};
use crate::domain::binding::TokenBinding;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, Identifier, Permission, ResourceServerName, RoleName};
use crate::domain::resource::TokenProfile;
use crate::jose::Algorithm;

#[derive(Debug, Subcommand)]
pub(super) enum ResourceServers {
    /// Register a resource server.
    Create(Create),
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
    /// The audience of its tokens.
    #[arg(long, value_parser = identifier)]
    identifier: Identifier,
    /// For people.
    #[arg(long, default_value = "")]
    description: String,
    /// A permission and its description; may be repeated.
    #[arg(long = "permission", value_name = "NAME[=DESCRIPTION]", value_parser = permission)]
    permissions: Vec<PermissionView>,
    /// Seconds that its tokens live.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    token_lifetime: Option<u32>,
    /// What its tokens are signed with: ES256, ES384, RS256, PS256, EdDSA or ML-DSA-65.
    #[arg(long, value_name = "ALG", default_value = "ES256")]
    signing_algorithm: Algorithm,
    /// The shape of its tokens: at+jwt, or jwt for clouds that take a plain OIDC token.
    #[arg(long, value_name = "PROFILE", default_value = "at+jwt")]
    token_profile: TokenProfile,
    /// Whether its tokens must be bound to a key of the client that gets them: optional or dpop.
    #[arg(long, value_name = "BINDING", default_value = "optional")]
    token_binding: TokenBinding,
}

#[derive(Debug, Subcommand)]
pub(super) enum Operators {
    /// Make a client an operator.
    Add {
        /// Of which resource server.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
        /// Which client.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Let a client no longer operate it.
    Remove {
        /// Which resource server.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
        /// Which client.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// List the clients that operate it.
    List {
        /// Which resource server.
        #[arg(value_parser = resource_server_name)]
        name: ResourceServerName,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Roles {
    /// Create a role.
    Create {
        /// Its name, as it stands in tokens.
        #[arg(value_parser = role_name)]
        name: RoleName,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
        /// A permission it gives; may be repeated.
        #[arg(long = "permission", value_name = "RESOURCE_SERVER/PERMISSION", value_parser = given)]
        permissions: Vec<GivenPermission>,
    },
}

pub(super) async fn resource_servers(
    command: ResourceServers,
    offline: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        ResourceServers::Create(create) => {
            output::one(&admin.create_resource_server(by, create.into()).await?, json)
        }
        ResourceServers::Operators(command) => operators(command, offline, json).await,
    }
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
            let mut operators = Vec::new();
            let mut page = PageRequest { cursor: None, limit: Some(500) };
            loop {
                let next = admin.operators(by, &name, &page).await?;
                operators.extend(next.items);
                page.cursor = next.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
            return output::rows(&operators, &["client_id", "assigned_at"], json);
        }
    };
    if json {
        let outcome = serde_json::json!({
            "resource_server": name, "client_id": client_id, "operates": operates,
        });
        return output::one(&outcome, json);
    }
    output::print(&format!("{client_id} {} {name}", if operates { "operates" } else { "no longer operates" }))
}

pub(super) async fn roles(
    command: Roles,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let Roles::Create { name, description, permissions } = command;
    output::one(&admin.create_role(by, CreateRole { name, description, permissions }).await?, json)
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

fn client_id(text: &str) -> Result<ClientId, FieldError> {
    ClientId::new(text)
}

fn resource_server_name(text: &str) -> Result<ResourceServerName, FieldError> {
    ResourceServerName::new(text)
}

fn role_name(text: &str) -> Result<RoleName, FieldError> {
    RoleName::new(text)
}

fn identifier(text: &str) -> Result<Identifier, FieldError> {
    Identifier::new(text)
}

fn permission(text: &str) -> Result<PermissionView, FieldError> {
    let (name, description) = text.split_once('=').unwrap_or((text, ""));
    Ok(PermissionView { permission: Permission::new(name)?, description: description.to_owned() })
}

fn given(text: &str) -> Result<GivenPermission, String> {
    let (server, permission) =
        text.split_once('/').ok_or("write RESOURCE_SERVER/PERMISSION, for example orders/orders:read")?;
    Ok(GivenPermission {
        resource_server: ResourceServerName::new(server).map_err(|error| error.to_string())?,
        permission: Permission::new(permission).map_err(|error| error.to_string())?,
    })
}
