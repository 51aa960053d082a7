//! `jeton clients change`

use clap::Args;

use super::arguments::{client_id, grant_type, pair, resource_server_name, timestamp};
use super::{Offline, client_certificates, output};
use crate::admin::client_certificates::CertificateSubject;
use crate::admin::clients::UpdateClient;
use crate::domain::binding::TokenBinding;
use crate::domain::client::{AuthMethod, ClientKind, GrantType};
use crate::domain::ids::{ClientId, ResourceServerName};
use crate::domain::time::Timestamp;

/// What is not named stays. What repeats replaces all of its sort.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// The client's identifier.
    #[arg(value_parser = client_id)]
    client_id: ClientId,
    #[command(flatten)]
    changes: Changes,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// What sort of thing it is: service, machine, job or agent.
    #[arg(long)]
    kind: Option<ClientKind>,
    /// A note for people, which `--text` of `list` finds.
    #[arg(long)]
    description: Option<String>,
    /// The team or person who answers for it.
    #[arg(long)]
    owner: Option<String>,
    /// Nobody answers for it.
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    /// A label; may be repeated, and replaces all labels.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A grant it may use: `client_credentials`, `token-exchange` or `jwt-bearer`; may be repeated, and replaces all
    /// grants.
    #[arg(long = "grant-type", value_name = "GRANT", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// A way to authenticate, as in `clients create`; may be repeated, and replaces all of them.
    #[arg(long = "auth-method", value_name = "METHOD")]
    auth_methods: Vec<AuthMethod>,
    /// An address or network it may call from; may be repeated, and replaces all of them.
    #[arg(long = "allow-from", value_name = "NETWORK")]
    allowed_networks: Vec<String>,
    /// It may call from anywhere.
    #[arg(long, conflicts_with = "allowed_networks")]
    allow_from_anywhere: bool,
    /// The resource server of a token request that names none.
    #[arg(long, value_name = "NAME", value_parser = resource_server_name)]
    default_resource_server: Option<ResourceServerName>,
    /// A token request that names none has no resource server of its own.
    #[arg(long, conflicts_with = "default_resource_server")]
    no_default_resource_server: bool,
    /// The only client that may act for it, in token exchange.
    #[arg(long, value_name = "CLIENT_ID", value_parser = client_id)]
    may_act: Option<ClientId>,
    /// Whoever an exchange rule allows may act for it.
    #[arg(long, conflicts_with = "may_act")]
    no_may_act: bool,
    /// Whether its tokens must be bound to a key that it proves: optional, dpop, mtls or either.
    #[arg(long, value_name = "BINDING")]
    token_binding: Option<TokenBinding>,
    /// The subject that its certificate must have, for `tls_client_auth`, as in `clients create`.
    #[arg(long, value_name = "KIND=TEXT", value_parser = client_certificates::subject)]
    certificate_subject: Option<CertificateSubject>,
    /// No subject is expected of its certificate. As long as it has the method `tls_client_auth` it needs one.
    #[arg(long, conflicts_with = "certificate_subject")]
    no_certificate_subject: bool,
    /// When it ends, and gets no tokens any more; for example 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    expires_at: Option<Timestamp>,
    /// It has no end.
    #[arg(long, conflicts_with = "expires_at")]
    never_expires: bool,
    /// Where its public keys are published, as a JWK Set.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Its public keys are published nowhere.
    #[arg(long, conflicts_with = "jwks_uri")]
    no_jwks_uri: bool,
    /// Whether an assertion must say that it is one (typ client-authentication+jwt): true or false.
    #[arg(long, value_name = "BOOL")]
    assertion_type_required: Option<bool>,
    /// Whether an assertion may name the token endpoint as its audience: true or false.
    #[arg(long, value_name = "BOOL")]
    legacy_assertion_audience: Option<bool>,
}

pub(super) async fn run(
    Change { client_id, changes }: Change,
    Offline { admin, by, .. }: &Offline,
    json: bool,
) -> anyhow::Result<()> {
    let before = admin.client(by, &client_id).await?;
    let after = admin.update_client(by, &client_id, before.version, changes.into()).await?;
    output::changed(client_id.as_str(), &before, &after, json)
}

/// A new value, none any more, or nothing to change.
#[expect(clippy::option_option, reason = "what a change of a client takes")]
fn or_none<T>(value: Option<T>, none: bool) -> Option<Option<T>> {
    if none { Some(None) } else { value.map(Some) }
}

/// What was named at all.
fn all<T, C: FromIterator<T>>(values: Vec<T>) -> Option<C> {
    (!values.is_empty()).then(|| values.into_iter().collect())
}

// === impl Changes ===

impl From<Changes> for UpdateClient {
    fn from(changes: Changes) -> Self {
        let networks = all(changes.allowed_networks);
        Self {
            kind: changes.kind,
            description: changes.description,
            owner: or_none(changes.owner, changes.no_owner),
            labels: all(changes.labels),
            enabled: None,
            expires_at: or_none(changes.expires_at, changes.never_expires),
            default_resource_server: or_none(
                changes.default_resource_server,
                changes.no_default_resource_server,
            ),
            grant_types: all(changes.grant_types),
            auth_methods: all(changes.auth_methods),
            allowed_networks: if changes.allow_from_anywhere { Some(Vec::new()) } else { networks },
            may_act: or_none(changes.may_act, changes.no_may_act),
            token_binding: changes.token_binding,
            tls_client_auth_subject: or_none(changes.certificate_subject, changes.no_certificate_subject),
            may_rotate_own_secrets: None,
            jwks_uri: or_none(changes.jwks_uri, changes.no_jwks_uri),
            assertion_type_required: changes.assertion_type_required,
            legacy_assertion_audience: changes.legacy_assertion_audience,
        }
    }
}
