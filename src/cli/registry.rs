//! `jeton resource-servers …` and `jeton roles …`

use clap::Subcommand;

use super::{Offline, output};
use crate::admin::resource_servers::{CreateResourceServer, PermissionView};
use crate::admin::roles::{CreateRole, GivenPermission};
use crate::domain::error::FieldError;
use crate::domain::ids::{Identifier, Permission, ResourceServerName, RoleName};
use crate::domain::resource::TokenProfile;
use crate::jose::Algorithm;

#[derive(Debug, Subcommand)]
pub(super) enum ResourceServers {
    /// Register a resource server.
    Create {
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
        #[arg(long, value_name = "SECONDS")]
        token_lifetime: Option<u32>,
        /// What its tokens are signed with: ES256, ES384, RS256, PS256, EdDSA or ML-DSA-65.
        #[arg(long, value_name = "ALG", default_value = "ES256")]
        signing_algorithm: Algorithm,
        /// The shape of its tokens: at+jwt, or jwt for clouds that take a plain OIDC token.
        #[arg(long, value_name = "PROFILE", default_value = "at+jwt")]
        token_profile: TokenProfile,
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
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let ResourceServers::Create {
        name,
        identifier,
        description,
        permissions,
        token_lifetime,
        signing_algorithm,
        token_profile,
    } = command;
    let mut new = CreateResourceServer::named(name, identifier);
    new.description = description;
    new.permissions = permissions;
    new.token_lifetime = token_lifetime.unwrap_or(new.token_lifetime);
    new.signing_algorithm = signing_algorithm;
    new.token_profile = token_profile;
    output::one(&admin.create_resource_server(by, new).await?, json)
}

pub(super) async fn roles(
    command: Roles,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let Roles::Create { name, description, permissions } = command;
    output::one(&admin.create_role(by, CreateRole { name, description, permissions }).await?, json)
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
