//! Rows as the database has them, and their way into the domain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::SecretString;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{StoreError, corrupt};
use crate::domain::binding::TokenBinding;
use crate::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use crate::domain::client::{AuthMethod, Client, ClientKind, ClientSecret, GrantType, Registration};
use crate::domain::ids::{
    ClientId, ClientUid, Identifier, Permission, ResourceServerName, ResourceServerUid, RoleName, RoleUid,
    SecretId,
};
use crate::domain::resource::{ResourceServer, TokenProfile};
use crate::domain::role::Role;
use crate::domain::secret::SecretOrigin;
use crate::domain::time::Timestamp;
use crate::jose::Algorithm;

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(FromRow)]
pub(super) struct ClientRow {
    pub(super) uid: Uuid,
    client_id: String,
    description: String,
    kind: String,
    owner: Option<String>,
    labels: Json<BTreeMap<String, String>>,
    enabled: bool,
    expires_at: Option<i64>,
    default_resource_server: Option<Uuid>,
    grant_types: Json<BTreeSet<GrantType>>,
    auth_methods: Json<BTreeSet<AuthMethod>>,
    allowed_networks: Json<Vec<ipnet::IpNet>>,
    may_act: Option<String>,
    token_binding: String,
    certificate_subject_kind: Option<String>,
    certificate_subject: Option<String>,
    may_rotate_own_secrets: bool,
    jwks_uri: Option<String>,
    assertion_type_required: bool,
    legacy_assertion_audience: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

/// A client in a list.
#[derive(FromRow)]
pub(super) struct ListedClientRow {
    #[sqlx(flatten)]
    pub(super) client: ClientRow,
    pub(super) credentials_end_at: Option<i64>,
}

// === impl ClientRow ===

impl TryFrom<ClientRow> for Client {
    type Error = StoreError;

    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        Ok(Self {
            uid: ClientUid(row.uid),
            client_id: client_id(&row.client_id)?,
            description: row.description,
            kind: ClientKind::from_word(&row.kind).ok_or_else(|| corrupt("client kind", &row.kind))?,
            owner: row.owner,
            labels: row.labels.0,
            enabled: row.enabled,
            expires_at: row.expires_at.map(Timestamp::from_micros),
            default_resource_server: row.default_resource_server.map(ResourceServerUid),
            grant_types: row.grant_types.0,
            auth_methods: row.auth_methods.0,
            allowed_networks: row.allowed_networks.0,
            may_act: row.may_act.as_deref().map(client_id).transpose()?,
            token_binding: token_binding(&row.token_binding)?,
            certificate_subject: certificate_subject(row.certificate_subject_kind, row.certificate_subject)?,
            may_rotate_own_secrets: row.may_rotate_own_secrets,
            jwks_uri: row.jwks_uri,
            assertion_type_required: row.assertion_type_required,
            legacy_assertion_audience: row.legacy_assertion_audience,
            version: row.version,
            created_at: Timestamp::from_micros(row.created_at),
            updated_at: Timestamp::from_micros(row.updated_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct SecretRow {
    secret_id: String,
    hash: String,
    origin: String,
    description: String,
    created_at: i64,
    expires_at: Option<i64>,
    replaced_by: Option<String>,
}

// === impl SecretRow ===

impl TryFrom<SecretRow> for ClientSecret {
    type Error = StoreError;

    fn try_from(row: SecretRow) -> Result<Self, StoreError> {
        Ok(Self {
            secret_id: secret_id(&row.secret_id)?,
            hash: SecretString::from(row.hash),
            origin: SecretOrigin::from_word(&row.origin)
                .ok_or_else(|| corrupt("secret origin", &row.origin))?,
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_micros),
            replaced_by: row.replaced_by.as_deref().map(secret_id).transpose()?,
        })
    }
}

/// A client beside one of its secrets and one of its roles.
#[derive(FromRow)]
pub(super) struct RegistrationRow {
    #[sqlx(flatten)]
    client: ClientRow,
    secret_id: Option<String>,
    hash: Option<String>,
    origin: Option<String>,
    secret_description: Option<String>,
    secret_created_at: Option<i64>,
    secret_expires_at: Option<i64>,
    replaced_by: Option<String>,
    role: Option<Uuid>,
}

// === impl RegistrationRow ===

impl RegistrationRow {
    /// The one client that all rows are about, with each secret and role once.
    pub(super) fn together(rows: Vec<Self>) -> Result<Option<Registration>, StoreError> {
        let mut secrets: Vec<ClientSecret> = Vec::new();
        let mut roles = BTreeSet::new();
        let mut client = None;
        for row in rows {
            roles.extend(row.role.map(RoleUid));
            let known = |id: &str| secrets.iter().any(|secret| secret.secret_id.as_str() == id);
            if let Some(secret_id) = row.secret_id.filter(|id| !known(id)) {
                let secret = SecretRow {
                    secret_id,
                    hash: row.hash.unwrap_or_default(),
                    origin: row.origin.unwrap_or_default(),
                    description: row.secret_description.unwrap_or_default(),
                    created_at: row.secret_created_at.unwrap_or_default(),
                    expires_at: row.secret_expires_at,
                    replaced_by: row.replaced_by,
                };
                secrets.push(secret.try_into()?);
            }
            if client.is_none() {
                client = Some(Client::try_from(row.client)?);
            }
        }
        Ok(client.map(|client| Registration {
            client,
            secrets,
            keys: Vec::new(),
            roles: roles.into_iter().collect(),
            certificates: Vec::new(),
            federated: Vec::new(),
        }))
    }
}

#[derive(FromRow)]
pub(super) struct ResourceServerRow {
    pub(super) uid: Uuid,
    pub(super) name: String,
    identifier: String,
    description: String,
    token_lifetime: i64,
    signing_algorithm: String,
    signing_algorithm_before: Option<String>,
    token_profile: String,
    token_binding: String,
    enabled: bool,
    builtin: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

// === impl ResourceServerRow ===

impl ResourceServerRow {
    pub(super) fn with(
        self,
        permissions: BTreeMap<Permission, String>,
    ) -> Result<ResourceServer, StoreError> {
        Ok(ResourceServer {
            uid: ResourceServerUid(self.uid),
            name: ResourceServerName::new(&self.name).map_err(|_| corrupt("name", &self.name))?,
            identifier: Identifier::new(&self.identifier)
                .map_err(|_| corrupt("identifier", &self.identifier))?,
            description: self.description,
            permissions,
            token_lifetime: Duration::from_secs(self.token_lifetime.unsigned_abs()),
            signing_algorithm: algorithm(&self.signing_algorithm)?,
            signing_algorithm_before: self.signing_algorithm_before.as_deref().map(algorithm).transpose()?,
            token_profile: TokenProfile::from_word(&self.token_profile)
                .ok_or_else(|| corrupt("token profile", &self.token_profile))?,
            token_binding: token_binding(&self.token_binding)?,
            enabled: self.enabled,
            builtin: self.builtin,
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct RoleRow {
    pub(super) uid: Uuid,
    name: String,
    description: String,
    builtin: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

// === impl RoleRow ===

impl RoleRow {
    pub(super) fn with(
        self,
        permissions: BTreeSet<(ResourceServerUid, Permission)>,
    ) -> Result<Role, StoreError> {
        Ok(Role {
            uid: RoleUid(self.uid),
            name: RoleName::new(&self.name).map_err(|_| corrupt("name", &self.name))?,
            description: self.description,
            permissions,
            builtin: self.builtin,
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

/// A permission as stored; its text was checked when it was registered.
pub(super) fn permission(text: &str) -> Result<Permission, StoreError> {
    Permission::new(text).map_err(|_| corrupt("permission", text))
}

fn secret_id(text: &str) -> Result<SecretId, StoreError> {
    SecretId::new(text).map_err(|_| corrupt("secret id", text))
}

pub(super) fn client_id(text: &str) -> Result<ClientId, StoreError> {
    ClientId::new(text).map_err(|_| corrupt("client id", text))
}

fn certificate_subject(
    kind: Option<String>,
    text: Option<String>,
) -> Result<Option<ExpectedSubject>, StoreError> {
    let Some((kind, text)) = kind.zip(text) else { return Ok(None) };
    let kind = SubjectKind::from_word(&kind).ok_or_else(|| corrupt("kind of subject", &kind))?;
    ExpectedSubject::new(kind, &text).map(Some).map_err(|_| corrupt("subject", &text))
}

fn token_binding(word: &str) -> Result<TokenBinding, StoreError> {
    TokenBinding::from_word(word).ok_or_else(|| corrupt("token binding", word))
}

pub(super) fn algorithm(word: &str) -> Result<Algorithm, StoreError> {
    word.parse().map_err(|_| corrupt("signing algorithm", word))
}

/// An identifier as it is stored, and since when it is possible, where a restore matters to it.
pub(super) struct IdRow<'a> {
    pub(super) purpose: &'a str,
    pub(super) id: &'a str,
    pub(super) expires_at: Timestamp,
    pub(super) possible_since: Option<Timestamp>,
}
