//! `jeton clients …`

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Offline, client_keys, output, try_client};
use crate::admin::PageRequest;
use crate::admin::client_keys::KeyView;
use crate::admin::clients::{ClientView, CreateClient};
use crate::admin::secrets::{AddSecret, AddedSecret, SecretView};
use crate::domain::binding::TokenBinding;
use crate::domain::client::{AuthMethod, ClientKind, GrantType};
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, ResourceServerName, RoleName, SecretId};
use crate::domain::time::Timestamp;
use crate::storage::ClientFilter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a client and add a generated secret, which is printed once.
    Create(Create),
    /// List clients.
    List {
        /// Of this kind.
        #[arg(long)]
        kind: Option<ClientKind>,
        /// Of this owner.
        #[arg(long)]
        owner: Option<String>,
        /// With this label.
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        label: Option<(String, String)>,
        /// With this text in the identifier, the description or the owner.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show a client with its roles, what it operates, its keys and its secrets (not the secrets themselves).
    Show {
        /// Which.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Switch a client off. It gets no tokens from the next second on.
    Disable {
        /// Which.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Switch a client on again.
    Enable {
        /// Which.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Say what a client would get for a token request, and why, without a token.
    Try(try_client::Try),
    /// A client's secrets.
    #[command(subcommand)]
    Secret(Secret),
    /// A client's public keys.
    #[command(subcommand)]
    Key(client_keys::Key),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its public identifier, which never changes.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// What sort of thing it is: service, machine, job or agent.
    #[arg(long, default_value = "service")]
    kind: ClientKind,
    /// For people.
    #[arg(long, default_value = "")]
    description: String,
    /// The team or person who answers for it.
    #[arg(long)]
    owner: Option<String>,
    /// A label; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A role; may be repeated.
    #[arg(long = "role", value_name = "ROLE", value_parser = role_name)]
    roles: Vec<RoleName>,
    /// The resource server of a token request that names none.
    #[arg(long, value_name = "NAME", value_parser = resource_server_name)]
    default_resource_server: Option<ResourceServerName>,
    /// A grant it may use; may be repeated. `client_credentials` alone when absent; `token-exchange` for short.
    #[arg(long = "grant-type", value_name = "GRANT", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// A way to authenticate; may be repeated. Both secret methods when absent.
    #[arg(long = "auth-method", value_name = "METHOD")]
    auth_methods: Vec<AuthMethod>,
    /// An address or network it may call from; may be repeated.
    #[arg(long = "allow-from", value_name = "NETWORK")]
    allowed_networks: Vec<String>,
    /// The client that alone may act for it.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    may_act: Option<ClientId>,
    /// Whether its tokens must be bound to a key that it proves: optional or dpop.
    #[arg(long, value_name = "BINDING", default_value = "optional")]
    token_binding: TokenBinding,
    /// Its end, for example 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    expires_at: Option<Timestamp>,
    /// Where its public keys are published.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Refuse assertions that do not say that they are some (typ client-authentication+jwt).
    #[arg(long)]
    assertion_type_required: bool,
    /// Accept assertions that name the token endpoint as their audience.
    #[arg(long)]
    legacy_assertion_audience: bool,
    /// Add no secret.
    #[arg(long)]
    no_secret: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Add a generated secret, which is printed once.
    Add {
        /// Whose.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
        /// Its end in seconds from now.
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u32>,
    },
    /// Revoke a secret. It is refused everywhere from the next second on.
    Revoke {
        /// Whose.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// Which; `jeton clients show` lists them.
        #[arg(value_parser = secret_id)]
        secret_id: SecretId,
    },
}

/// A new client with its secret.
#[derive(Serialize)]
struct Created {
    client: ClientView,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<AddedSecret>,
}

/// A client with what belongs to it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    client: ClientView,
    roles: Vec<RoleName>,
    operates: Vec<ResourceServerName>,
    secrets: Vec<SecretView>,
    keys: Vec<KeyView>,
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Key(key) => client_keys::run(key, offline, json).await,
        Command::Try(wanted) => try_client::run(wanted, offline, json).await,
        Command::Create(create) => {
            let with_secret = !create.no_secret;
            let client = admin.create_client(by, create.into()).await?;
            let secret = if with_secret {
                Some(admin.add_secret(by, &client.client_id, AddSecret::default()).await?)
            } else {
                None
            };
            output::one(&Created { client, secret }, json)?;
            if with_secret && !json {
                shown_once();
            }
            Ok(())
        }
        Command::List { kind, owner, label, text } => {
            let filter = ClientFilter { kind, owner, label, text, enabled: None };
            let mut clients = Vec::new();
            let mut page = PageRequest { cursor: None, limit: Some(500) };
            loop {
                let next = admin.clients(by, &filter, &page).await?;
                clients.extend(next.items);
                page.cursor = next.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
            output::rows(
                &clients,
                &["client_id", "kind", "owner", "enabled", "expires_at", "description"],
                json,
            )
        }
        Command::Show { client_id } => {
            let shown = Shown {
                client: admin.client(by, &client_id).await?,
                roles: admin.client_roles(by, &client_id).await?,
                operates: admin.operated_by(by, &client_id).await?,
                secrets: admin.secrets(by, &client_id).await?,
                keys: admin.keys(by, &client_id).await?,
            };
            output::one(&shown, json)
        }
        Command::Disable { client_id } => {
            output::one(&admin.set_client_enabled(by, &client_id, false).await?, json)
        }
        Command::Enable { client_id } => {
            output::one(&admin.set_client_enabled(by, &client_id, true).await?, json)
        }
        Command::Secret(Secret::Add { client_id, description, expires_in }) => {
            let new = AddSecret { description, expires_in, ..AddSecret::default() };
            output::one(&admin.add_secret(by, &client_id, new).await?, json)?;
            if !json {
                shown_once();
            }
            Ok(())
        }
        Command::Secret(Secret::Revoke { client_id, secret_id }) => {
            admin.revoke_secret(by, &client_id, &secret_id).await?;
            if json {
                return output::one(&serde_json::json!({ "revoked": secret_id }), json);
            }
            output::print(&format!("secret {secret_id} of {client_id} is revoked"))
        }
    }
}

fn shown_once() {
    eprintln!("\nThe secret is not stored and cannot be shown again.");
}

// === impl Create ===

impl From<Create> for CreateClient {
    fn from(create: Create) -> Self {
        let mut client = Self::named(create.client_id);
        client.kind = create.kind;
        client.description = create.description;
        client.owner = create.owner;
        client.labels = create.labels.into_iter().collect();
        client.roles = create.roles;
        client.default_resource_server = create.default_resource_server;
        client.allowed_networks = create.allowed_networks;
        client.may_act = create.may_act;
        client.token_binding = create.token_binding;
        client.jwks_uri = create.jwks_uri;
        client.assertion_type_required = create.assertion_type_required;
        client.legacy_assertion_audience = create.legacy_assertion_audience;
        client.expires_at = create.expires_at;
        if !create.grant_types.is_empty() {
            client.grant_types = create.grant_types.into_iter().collect();
        }
        if !create.auth_methods.is_empty() {
            client.auth_methods = create.auth_methods.into_iter().collect();
        }
        client
    }
}

fn client_id(text: &str) -> Result<ClientId, FieldError> {
    ClientId::new(text)
}

/// The short name is the end of the registered one, which nobody types.
fn grant_type(text: &str) -> Result<GrantType, String> {
    let short = GrantType::ALL.iter().find(|grant| grant.as_str().rsplit(':').next() == Some(text));
    short.map_or_else(|| text.parse(), |grant| Ok(*grant))
}

fn role_name(text: &str) -> Result<RoleName, FieldError> {
    RoleName::new(text)
}

fn resource_server_name(text: &str) -> Result<ResourceServerName, FieldError> {
    ResourceServerName::new(text)
}

fn secret_id(text: &str) -> Result<SecretId, FieldError> {
    SecretId::new(text)
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "write a time such as 2027-01-01T00:00:00Z".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
