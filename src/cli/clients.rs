//! `jeton clients …`

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::arguments::{client_id, grant_type, pair, resource_server_name, role_name, timestamp};
use super::client_secrets::{self, Secret, shown_once};
use super::listed::all;
use super::{
    Offline, client_certificates, client_change, client_import, client_keys, client_roles,
    federated_credentials, output, try_client,
};
use crate::admin::client_certificates::{CertificateSubject, CertificateView};
use crate::admin::client_keys::KeyView;
use crate::admin::clients::{ClientView, CreateClient, UpdateClient};
use crate::admin::federated_credentials::FederatedCredentialView;
use crate::admin::secrets::{AddSecret, AddedSecret, SecretView};
use crate::domain::binding::TokenBinding;
use crate::domain::client::{AuthMethod, ClientKind, GrantType};
use crate::domain::ids::{ClientId, ResourceServerName, RoleName};
use crate::domain::time::Timestamp;
use crate::storage::ClientFilter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a client and add a generated secret, which is printed once.
    Create(Create),
    /// List clients.
    List {
        /// Only clients of this kind: service, machine, job or agent.
        #[arg(long)]
        kind: Option<ClientKind>,
        /// Only clients of this owner.
        #[arg(long)]
        owner: Option<String>,
        /// Only clients with this label.
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        label: Option<(String, String)>,
        /// Only clients with this text in the identifier, the description or the owner.
        #[arg(long)]
        text: Option<String>,
    },
    /// Show a client with its roles, what it operates, its keys and its secrets (not the secrets themselves).
    Show {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Change what is registered of a client.
    Change(Box<client_change::Change>),
    /// A client's roles.
    #[command(subcommand)]
    Role(client_roles::Role),
    /// Switch a client off. It gets no tokens from the next second on.
    Disable {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Switch a client on again.
    Enable {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
    },
    /// Say what a client would get for a token request, and why, without a token.
    Try(try_client::Try),
    /// Register many clients with the secrets that they have elsewhere: all of them, or none.
    Import(client_import::Import),
    /// List the credentials that end soon and that nothing has replaced.
    Ending,
    /// Let a client rotate its own secrets, or no longer.
    OwnSecrets {
        /// The client's identifier.
        #[arg(value_parser = client_id)]
        client_id: ClientId,
        /// Whether it may rotate its own secrets.
        #[arg(value_enum)]
        allowed: Allowed,
    },
    /// A client's secrets.
    #[command(subcommand)]
    Secret(Secret),
    /// A client's certificates, for `self_signed_tls_client_auth`.
    #[command(subcommand)]
    Certificate(client_certificates::Command),
    /// A client's public keys.
    #[command(subcommand)]
    Key(client_keys::Key),
    /// A client's federated credentials: which tokens of trusted issuers prove it.
    #[command(subcommand)]
    Federation(federated_credentials::Federation),
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its public identifier, which never changes.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    /// What sort of thing it is: service, machine, job or agent.
    #[arg(long, default_value = "service")]
    kind: ClientKind,
    /// A note for people, which `--text` of `list` finds.
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
    /// A grant it may use: `client_credentials`, `token-exchange` or `jwt-bearer`; may be repeated.
    /// `client_credentials` alone when absent.
    #[arg(long = "grant-type", value_name = "GRANT", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// A way to authenticate: `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `tls_client_auth`,
    /// `self_signed_tls_client_auth`, `federated_jwt`, `spiffe_jwt` or `spiffe_x509`; may be repeated. The first two
    /// when absent.
    #[arg(long = "auth-method", value_name = "METHOD")]
    auth_methods: Vec<AuthMethod>,
    /// An address or network it may call from; may be repeated.
    #[arg(long = "allow-from", value_name = "NETWORK")]
    allowed_networks: Vec<String>,
    /// The only client that may act for it, in token exchange.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    may_act: Option<ClientId>,
    /// Whether its tokens must be bound to a key that it proves: optional, dpop, mtls or either.
    #[arg(long, value_name = "BINDING", default_value = "optional")]
    token_binding: TokenBinding,
    /// The subject that its certificate must have, for `tls_client_auth`: KIND is `subject_dn`, `san_dns`, `san_uri`,
    /// `san_ip` or `san_email`.
    #[arg(long, value_name = "KIND=TEXT", value_parser = client_certificates::subject)]
    certificate_subject: Option<CertificateSubject>,
    /// When it ends, and gets no tokens any more; for example 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    expires_at: Option<Timestamp>,
    /// Whether it may add secrets of its own, each in place of an earlier one.
    #[arg(long)]
    may_rotate_own_secrets: bool,
    /// Where its public keys are published, as a JWK Set.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Refuse its assertions unless their header says that they are some (typ client-authentication+jwt).
    #[arg(long)]
    assertion_type_required: bool,
    /// Accept assertions of it that name the token endpoint as their audience.
    #[arg(long)]
    legacy_assertion_audience: bool,
    /// Add no secret: it will authenticate otherwise.
    #[arg(long)]
    no_secret: bool,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Allowed {
    /// It may.
    On,
    /// It may not.
    Off,
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
    certificates: Vec<CertificateView>,
    keys: Vec<KeyView>,
    federated_credentials: Vec<FederatedCredentialView>,
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Import(import) => client_import::run(import, offline, json).await,
        Command::Key(key) => client_keys::run(key, offline, json).await,
        Command::Federation(command) => federated_credentials::run(command, offline, json).await,
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
            let clients = all(async |page| admin.clients(by, &filter, &page).await).await?;
            output::rows(
                &clients,
                &["client_id", "kind", "owner", "enabled", "expires_at", "credentials_end_at", "description"],
                json,
            )
        }
        Command::Show { client_id } => {
            let shown = Shown {
                client: admin.client(by, &client_id).await?,
                roles: admin.client_roles(by, &client_id).await?,
                operates: admin.operated_by(by, &client_id).await?,
                secrets: admin.secrets(by, &client_id).await?,
                certificates: admin.certificates(by, &client_id).await?,
                keys: admin.keys(by, &client_id).await?,
                federated_credentials: admin.federated_credentials(by, &client_id).await?,
            };
            output::one(&shown, json)
        }
        Command::Change(change) => client_change::run(*change, offline, json).await,
        Command::Role(role) => client_roles::run(role, offline, json).await,
        Command::Disable { client_id } => {
            let client = admin.set_client_enabled(by, &client_id, false).await?;
            let line = format!("{client_id} is disabled: it gets no tokens from the next second on");
            output::now(&client, &line, json)
        }
        Command::Enable { client_id } => {
            let client = admin.set_client_enabled(by, &client_id, true).await?;
            output::now(&client, &format!("{client_id} is enabled"), json)
        }
        Command::Certificate(command) => client_certificates::run(command, offline, json).await,
        Command::Ending => {
            let found = admin.ending_credentials(by, Some(500)).await?;
            output::rows(&found, &["client_id", "credential", "credential_id", "expires_at"], json)
        }
        Command::OwnSecrets { client_id, allowed } => {
            let version = admin.client(by, &client_id).await?.version;
            let may = Some(allowed == Allowed::On);
            let update = UpdateClient { may_rotate_own_secrets: may, ..UpdateClient::default() };
            let client = admin.update_client(by, &client_id, version, update).await?;
            let may = if client.may_rotate_own_secrets { "may" } else { "may not" };
            output::now(&client, &format!("{client_id} {may} rotate its own secrets"), json)
        }
        Command::Secret(command) => client_secrets::run(command, offline, json).await,
    }
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
        client.tls_client_auth_subject = create.certificate_subject;
        client.jwks_uri = create.jwks_uri;
        client.assertion_type_required = create.assertion_type_required;
        client.legacy_assertion_audience = create.legacy_assertion_audience;
        client.expires_at = create.expires_at;
        client.may_rotate_own_secrets = create.may_rotate_own_secrets;
        if !create.grant_types.is_empty() {
            client.grant_types = create.grant_types.into_iter().collect();
        }
        if !create.auth_methods.is_empty() {
            client.auth_methods = create.auth_methods.into_iter().collect();
        }
        client
    }
}
