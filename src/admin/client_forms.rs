//! A client as the API and the command line take it and show it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};

use super::client_certificates::CertificateSubject;
use super::credential_use::CredentialUse;
use super::{nullable, present};
use crate::domain::binding::TokenBinding;
use crate::domain::catalog::Catalog;
use crate::domain::client::{AuthMethod, Client, ClientKind, GrantType, MOST_LABELS};
use crate::domain::credential::ends_soon;
use crate::domain::ids::{ClientId, ResourceServerName, RoleName};
use crate::domain::time::Timestamp;

/// A client to register.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateClient {
    /// Its public identifier, which never changes.
    pub client_id: ClientId,
    /// What sort of thing it is.
    #[serde(default = "service")]
    pub kind: ClientKind,
    /// A note for people; `text` of the list finds it.
    #[serde(default)]
    #[schema(
        example = "Sends invoices",
        max_length = 1000,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// The team or person who answers for it.
    #[serde(default)]
    #[schema(
        example = "team-finance",
        max_length = 255,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub owner: Option<String>,
    /// Free names and values for finding it.
    #[serde(default)]
    #[schema(schema_with = labels)]
    pub labels: BTreeMap<String, String>,
    /// Its end; never, when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The resource server, by name, of a token request that names none.
    #[serde(default)]
    pub default_resource_server: Option<ResourceServerName>,
    /// The grants it may use; `client_credentials` when absent.
    #[serde(default = "default_grant_types")]
    #[schema(value_type = Vec<GrantType>, min_items = 1)]
    pub grant_types: BTreeSet<GrantType>,
    /// The ways it may authenticate; both secret methods when absent.
    #[serde(default = "default_auth_methods")]
    #[schema(value_type = Vec<AuthMethod>, min_items = 1)]
    pub auth_methods: BTreeSet<AuthMethod>,
    /// Addresses or networks it may call from; anywhere when empty.
    #[serde(default)]
    #[schema(value_type = Vec<Network>, max_items = 100, example = json!(["10.0.0.0/8"]))]
    pub allowed_networks: Vec<String>,
    /// The client that alone may act for it (RFC 8693 §4.4), which need not exist yet; whoever an exchange rule
    /// allows, when absent.
    #[serde(default)]
    pub may_act: Option<ClientId>,
    /// Whether its tokens must be bound to a key that it proves.
    #[serde(default = "default_binding")]
    pub token_binding: TokenBinding,
    /// The subject that its certificate must have; `tls_client_auth` needs it.
    #[serde(default)]
    pub tls_client_auth_subject: Option<CertificateSubject>,
    /// Whether it may add secrets of its own at `/clients/self/secrets`, each in place of an earlier one.
    #[serde(default)]
    pub may_rotate_own_secrets: bool,
    /// Where the public keys are published that it signs assertions with (RFC 7517 §5). Not beside keys that are
    /// registered here.
    #[serde(default)]
    #[schema(
        max_length = 500,
        pattern = r"^https?://[^\s\u0000-\u0020]+$",
        example = "https://billing.example.com/jwks.json"
    )]
    pub jwks_uri: Option<String>,
    /// Whether an assertion must say that it is one (`typ` `client-authentication+jwt`).
    #[serde(default)]
    pub assertion_type_required: bool,
    /// Whether an assertion may name the token endpoint as its audience, as libraries did before RFC 10070.
    #[serde(default)]
    pub legacy_assertion_audience: bool,
    /// Its roles, by name.
    #[serde(default)]
    #[schema(value_type = Vec<RoleName>, max_items = 100, example = json!(["order-reader"]))]
    pub roles: Vec<RoleName>,
}

/// What to change of a client. What is absent stays; `null` takes away what can be absent.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateClient {
    /// What sort of thing it is.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = ClientKind)]
    pub kind: Option<ClientKind>,
    /// A note for people; `text` of the list finds it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "Sends invoices", max_length = 1000, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// The team or person who answers for it.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub owner: Option<Option<String>>,
    /// Free names and values for finding it; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(schema_with = labels)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether it may be used at all.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
    /// Its end.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
    /// The resource server, by name, of a token request that names none.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<ResourceServerName>)]
    pub default_resource_server: Option<Option<ResourceServerName>>,
    /// The grants it may use; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<GrantType>, min_items = 1)]
    pub grant_types: Option<BTreeSet<GrantType>>,
    /// The ways it may authenticate; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<AuthMethod>, min_items = 1)]
    pub auth_methods: Option<BTreeSet<AuthMethod>>,
    /// Addresses or networks it may call from; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<Network>, max_items = 100)]
    pub allowed_networks: Option<Vec<String>>,
    /// The client that alone may act for it (RFC 8693 §4.4).
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<ClientId>)]
    pub may_act: Option<Option<ClientId>>,
    /// Whether its tokens must be bound to a key that it proves.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = TokenBinding)]
    pub token_binding: Option<TokenBinding>,
    /// The subject that its certificate must have.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<CertificateSubject>)]
    pub tls_client_auth_subject: Option<Option<CertificateSubject>>,
    /// Whether it may add secrets of its own at `/clients/self/secrets`, each in place of an earlier one.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub may_rotate_own_secrets: Option<bool>,
    /// Where the public keys are published that it signs assertions with.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 500, pattern = r"^https?://[^\s\u0000-\u0020]+$", example = "https://billing.example.com/jwks.json")]
    pub jwks_uri: Option<Option<String>>,
    /// Whether an assertion must say that it is one.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub assertion_type_required: Option<bool>,
    /// Whether an assertion may name the token endpoint as its audience.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub legacy_assertion_audience: Option<bool>,
}

/// A client as people see it.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClientView {
    /// Its public identifier.
    pub client_id: ClientId,
    /// What sort of thing it is.
    pub kind: ClientKind,
    /// A note for people; `text` of the list finds it.
    #[schema(example = "Sends invoices")]
    pub description: String,
    /// The team or person who answers for it.
    #[schema(required = true, example = "team-finance")]
    pub owner: Option<String>,
    /// Free names and values for finding it.
    #[schema(example = json!({"env": "prod"}))]
    pub labels: BTreeMap<String, String>,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// Its end; never, when null.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    /// The resource server, by name, of a token request that names none.
    #[schema(required = true)]
    pub default_resource_server: Option<ResourceServerName>,
    /// The grants it may use.
    pub grant_types: BTreeSet<GrantType>,
    /// The ways it may authenticate.
    pub auth_methods: BTreeSet<AuthMethod>,
    /// Networks it may call from; anywhere when empty.
    #[schema(value_type = Vec<Network>)]
    pub allowed_networks: Vec<IpNet>,
    /// The client that alone may act for it (RFC 8693 §4.4); whoever an exchange rule allows, when null.
    #[schema(required = true)]
    pub may_act: Option<ClientId>,
    /// Whether its tokens must be bound to a key that it proves.
    pub token_binding: TokenBinding,
    /// The subject that its certificate must have; `tls_client_auth` needs it.
    #[schema(required = true)]
    pub tls_client_auth_subject: Option<CertificateSubject>,
    /// Whether it may add secrets of its own, each in place of an earlier one.
    pub may_rotate_own_secrets: bool,
    /// Where the public keys are published that it signs assertions with; it is registered with them, when null.
    #[schema(required = true)]
    pub jwks_uri: Option<String>,
    /// Whether an assertion must say that it is one (`typ` `client-authentication+jwt`).
    pub assertion_type_required: bool,
    /// Whether an assertion may name the token endpoint as its audience, as libraries did before RFC 10070.
    pub legacy_assertion_audience: bool,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it last got a token, up to a minute late; absent when it never has, as far as is counted, and in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When each of its credentials was last used, the latest first, 100 at most; absent when none was, as far as is
    /// counted, in lists and in answers to changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 100)]
    pub credential_uses: Vec<CredentialUse>,
    /// When the first of its credentials ends that count and that nothing has replaced. Absent where none ends, and in
    /// answers to changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub credentials_end_at: Option<Timestamp>,
    /// True where that is within `credentials.warn_before`; absent elsewhere, and in answers to changes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub expires_soon: bool,
}

/// An address or network, for OpenAPI.
#[derive(ToSchema)]
#[schema(max_length = 50, pattern = r"^[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?$", example = "10.0.0.0/8")]
#[expect(dead_code, reason = "describes the form for OpenAPI")]
struct Network(String);

/// Labels, for OpenAPI: what `check_labels` accepts.
fn labels() -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let name = text().pattern(Some("^[A-Za-z0-9._/-]+$")).min_length(Some(1)).max_length(Some(63)).build();
    let value = text().pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]*$")).max_length(Some(255)).build();
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Free names and values for finding it; replace all of them, in a change."))
        .property_names(Some(Schema::Object(name)))
        .additional_properties(Some(Schema::Object(value)))
        .max_properties(Some(MOST_LABELS))
        .examples([json!({ "env": "prod" })])
        .build()
}

fn service() -> ClientKind {
    ClientKind::Service
}

fn default_grant_types() -> BTreeSet<GrantType> {
    BTreeSet::from([GrantType::ClientCredentials])
}

fn default_auth_methods() -> BTreeSet<AuthMethod> {
    BTreeSet::from([AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost])
}

fn default_binding() -> TokenBinding {
    TokenBinding::Optional
}

// === impl CreateClient ===

impl CreateClient {
    /// A service with this identifier and every default.
    #[must_use]
    pub fn named(client_id: ClientId) -> Self {
        Self {
            client_id,
            kind: service(),
            description: String::new(),
            owner: None,
            labels: BTreeMap::new(),
            expires_at: None,
            default_resource_server: None,
            grant_types: default_grant_types(),
            auth_methods: default_auth_methods(),
            allowed_networks: Vec::new(),
            may_act: None,
            token_binding: default_binding(),
            tls_client_auth_subject: None,
            may_rotate_own_secrets: false,
            jwks_uri: None,
            assertion_type_required: false,
            legacy_assertion_audience: false,
            roles: Vec::new(),
        }
    }
}

// === impl ClientView ===

impl ClientView {
    pub(super) fn new(client: Client, catalog: &Catalog) -> Self {
        let default = client.default_resource_server.and_then(|uid| catalog.resource_server(uid));
        Self {
            default_resource_server: default.map(|server| server.name.clone()),
            client_id: client.client_id,
            kind: client.kind,
            description: client.description,
            owner: client.owner,
            labels: client.labels,
            enabled: client.enabled,
            expires_at: client.expires_at,
            grant_types: client.grant_types,
            auth_methods: client.auth_methods,
            allowed_networks: client.allowed_networks,
            may_act: client.may_act,
            token_binding: client.token_binding,
            tls_client_auth_subject: client.certificate_subject.as_ref().map(CertificateSubject::of),
            may_rotate_own_secrets: client.may_rotate_own_secrets,
            jwks_uri: client.jwks_uri,
            assertion_type_required: client.assertion_type_required,
            legacy_assertion_audience: client.legacy_assertion_audience,
            version: client.version,
            created_at: client.created_at,
            updated_at: client.updated_at,
            last_used_at: None,
            credential_uses: Vec::new(),
            credentials_end_at: None,
            expires_soon: false,
        }
    }

    /// The same, with when the first of its credentials ends.
    pub(super) fn ending(
        self,
        credentials_end_at: Option<Timestamp>,
        now: Timestamp,
        warn_before: Duration,
    ) -> Self {
        let expires_soon = ends_soon(credentials_end_at, now, warn_before);
        Self { credentials_end_at, expires_soon, ..self }
    }
}
