//! A resource server as the API and the command line take it and show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::object::object;
use super::present;
use crate::domain::binding::TokenBinding;
use crate::domain::ids::{Identifier, Permission, ResourceServerName};
use crate::domain::resource::{DEFAULT_TOKEN_LIFETIME, ResourceServer, TokenProfile};
use crate::domain::time::Timestamp;
use crate::jose::Algorithm;

/// A permission with its description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct PermissionView {
    /// The scope value.
    pub permission: Permission,
    /// What it lets a client do, for people; Jeton only shows it.
    #[serde(default)]
    #[schema(
        example = "Read orders",
        max_length = 255,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
}

object!(PermissionView);

/// A resource server to register.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateResourceServer {
    /// Its short name, which never changes.
    pub name: ResourceServerName,
    /// The audience of its tokens: usually an absolute URI, but any text.
    pub identifier: Identifier,
    /// A note for people; `text` of the list finds it.
    #[serde(default)]
    #[schema(
        example = "The orders",
        max_length = 1000,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// What a token can allow there.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub permissions: Vec<PermissionView>,
    /// Seconds that its tokens live.
    #[serde(default = "default_lifetime")]
    #[schema(minimum = 10, maximum = 4_294_967_295_u32, example = 300)]
    pub token_lifetime: u32,
    /// What its tokens are signed with.
    #[serde(default = "default_algorithm")]
    pub signing_algorithm: Algorithm,
    /// The shape of its tokens.
    #[serde(default = "default_profile")]
    pub token_profile: TokenProfile,
    /// Whether its tokens must be bound to a key of the client that gets them.
    #[serde(default = "default_binding")]
    pub token_binding: TokenBinding,
}

/// What to change of a resource server. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateResourceServer {
    /// The audience of its tokens. Tokens for the old one stay valid until they end.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Identifier)]
    pub identifier: Option<Identifier>,
    /// A note for people; `text` of the list finds it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "The orders", max_length = 1000, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// What a token can allow there; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<PermissionView>, max_items = 1000)]
    pub permissions: Option<Vec<PermissionView>>,
    /// Seconds that its tokens live.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = u32, minimum = 10, maximum = 4_294_967_295_u32)]
    pub token_lifetime: Option<u32>,
    /// What its tokens are signed with.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Algorithm)]
    pub signing_algorithm: Option<Algorithm>,
    /// The shape of its tokens.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = TokenProfile)]
    pub token_profile: Option<TokenProfile>,
    /// Whether its tokens must be bound to a key of the client that gets them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = TokenBinding)]
    pub token_binding: Option<TokenBinding>,
    /// Whether tokens for it are issued.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
}

/// A resource server as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResourceServerView {
    /// Its short name.
    pub name: ResourceServerName,
    /// The audience of its tokens.
    pub identifier: Identifier,
    /// A note for people; `text` of the list finds it.
    #[schema(example = "The orders")]
    pub description: String,
    /// What a token can allow there.
    pub permissions: Vec<PermissionView>,
    /// Seconds that its tokens live.
    #[schema(example = 300)]
    pub token_lifetime: u64,
    /// What its tokens are signed with.
    pub signing_algorithm: Algorithm,
    /// The shape of its tokens.
    pub token_profile: TokenProfile,
    /// Whether its tokens must be bound to a key of the client that gets them.
    pub token_binding: TokenBinding,
    /// Whether tokens for it are issued.
    pub enabled: bool,
    /// Jeton's own API.
    pub builtin: bool,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn default_lifetime() -> u32 {
    u32::try_from(DEFAULT_TOKEN_LIFETIME.as_secs()).unwrap_or(300)
}

fn default_algorithm() -> Algorithm {
    Algorithm::Es256
}

fn default_profile() -> TokenProfile {
    TokenProfile::AccessToken
}

fn default_binding() -> TokenBinding {
    TokenBinding::Optional
}

// === impl CreateResourceServer ===

impl CreateResourceServer {
    /// A resource server with this name and audience and every default.
    #[must_use]
    pub fn named(name: ResourceServerName, identifier: Identifier) -> Self {
        Self {
            name,
            identifier,
            description: String::new(),
            permissions: Vec::new(),
            token_lifetime: default_lifetime(),
            signing_algorithm: default_algorithm(),
            token_profile: default_profile(),
            token_binding: default_binding(),
        }
    }
}

// === impl ResourceServerView ===

impl From<&ResourceServer> for ResourceServerView {
    fn from(server: &ResourceServer) -> Self {
        Self {
            name: server.name.clone(),
            identifier: server.identifier.clone(),
            description: server.description.clone(),
            permissions: server
                .permissions
                .iter()
                .map(|(permission, description)| PermissionView {
                    permission: permission.clone(),
                    description: description.clone(),
                })
                .collect(),
            token_lifetime: server.token_lifetime.as_secs(),
            signing_algorithm: server.signing_algorithm,
            token_profile: server.token_profile,
            token_binding: server.token_binding,
            enabled: server.enabled,
            builtin: server.builtin,
            version: server.version,
            created_at: server.created_at,
            updated_at: server.updated_at,
        }
    }
}
