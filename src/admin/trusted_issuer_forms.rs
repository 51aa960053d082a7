//! A trusted issuer as the API and the command line take it and show it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::object::object;
use super::{nullable, present};
use crate::domain::condition_warnings;
use crate::domain::ids::{Identifier, TrustedIssuerName};
use crate::domain::time::Timestamp;
use crate::domain::trust::{IssuerProfile, KeySource, Reuse, TrustedIssuer};
use crate::domain::words::words;
use crate::jose::Algorithm;

words! {
    /// Where keys are from.
    KeyPlace {
        /// Where the issuer's metadata says.
        Discovery = "discovery",
        /// A JWK Set at a URL.
        JwksUri = "jwks_uri",
        /// They are registered themselves.
        Inline = "inline",
        /// A SPIFFE bundle in a file.
        BundleFile = "bundle_file",
        /// A SPIFFE bundle at a URL.
        BundleEndpoint = "bundle_endpoint",
    }
}

/// Where an issuer's keys are: what `from` needs beside it, and nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schema(example = json!({ "from": "jwks_uri", "uri": "https://idp.example.com/jwks.json" }))]
pub struct KeysFrom {
    /// Which sort of place.
    pub from: KeyPlace,
    /// The URL, for `jwks_uri` and `bundle_endpoint`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, max_length = 500, example = "https://idp.example.com/jwks.json")]
    pub uri: Option<String>,
    /// The JWK Set (RFC 7517 section 5), or the SPIFFE bundle, for `inline`: public keys alone, 64 KiB at most.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub jwks: Option<Value>,
    /// The file's name in the directory `federation.bundle_dir`, for `bundle_file`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, max_length = 255, pattern = r"^(?!\.)[A-Za-z0-9._-]+$", example = "example.org.json")]
    pub file: Option<String>,
}

object!(KeysFrom);

/// A trusted issuer to register.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "github-actions", "description": "Workflows of the organization",
    "issuer": "https://token.actions.githubusercontent.com", "keys": { "from": "discovery" }, "max_lifetime": 3600
}))]
pub struct CreateTrustedIssuer {
    /// Its name here, which never changes.
    pub name: TrustedIssuerName,
    /// A note for people; `text` of the list finds it.
    #[serde(default)]
    #[schema(
        example = "Workflows of the organization",
        max_length = 1000,
        pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$"
    )]
    pub description: String,
    /// What its tokens are. It never changes.
    #[serde(default = "default_profile")]
    pub profile: IssuerProfile,
    /// What its tokens say as `iss`, character by character; of a SPIFFE trust domain `spiffe://` and its name. It never
    /// changes. Several may have the same, with keys of their own.
    #[schema(value_type = String, example = "https://token.actions.githubusercontent.com", min_length = 1, max_length = 500)]
    pub issuer: Identifier,
    /// Where its keys are.
    pub keys: KeysFrom,
    /// What its tokens may be signed with; all that are accepted, when absent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Algorithm>>, min_items = 1, example = json!(["RS256"]))]
    pub algorithms: Option<Vec<Algorithm>>,
    /// The one audience that its tokens must have; our issuer identifier, when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = json!(null), min_length = 1, max_length = 500)]
    pub audience: Option<Identifier>,
    /// The most seconds from a token's `iat` to its `exp`.
    #[serde(default = "default_lifetime")]
    #[schema(minimum = 60, maximum = 31_536_000, example = 86_400)]
    pub max_lifetime: u32,
    /// The seconds that its clock may be off.
    #[serde(default = "default_leeway")]
    #[schema(minimum = 0, maximum = 300, example = 30)]
    pub leeway: u32,
    /// Whether a token may be presented again within its life.
    #[serde(default = "default_reuse")]
    pub reuse: Reuse,
    /// Whether its tokens count.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// What to change of a trusted issuer. What is absent stays.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateTrustedIssuer {
    /// A note for people; `text` of the list finds it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String, example = "Workflows of the organization", max_length = 1000, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    pub description: Option<String>,
    /// Where its keys are; replaces all of it.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = KeysFrom)]
    pub keys: Option<KeysFrom>,
    /// What its tokens may be signed with; replaces all of them.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Vec<Algorithm>, min_items = 1, example = json!(["RS256"]))]
    pub algorithms: Option<Vec<Algorithm>>,
    /// The one audience that its tokens must have; `null` for our issuer identifier.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = json!(null), min_length = 1, max_length = 500)]
    pub audience: Option<Option<Identifier>>,
    /// The most seconds from a token's `iat` to its `exp`.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = u32, minimum = 60, maximum = 31_536_000, example = 86_400)]
    pub max_lifetime: Option<u32>,
    /// The seconds that its clock may be off.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = u32, minimum = 0, maximum = 300, example = 30)]
    pub leeway: Option<u32>,
    /// Whether a token may be presented again within its life.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Reuse)]
    pub reuse: Option<Reuse>,
    /// Whether its tokens count.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
}

/// A trusted issuer as people see it.
#[derive(Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "github-actions", "description": "Workflows of the organization", "profile": "jwt",
    "issuer": "https://token.actions.githubusercontent.com", "keys": { "from": "discovery" },
    "algorithms": ["ES256", "ES384", "RS256", "PS256", "EdDSA"], "audience": null, "max_lifetime": 3600, "leeway": 30,
    "reuse": "once", "enabled": true, "warnings": [], "version": 1,
    "created_at": "2026-11-22T08:00:00Z", "updated_at": "2026-11-22T08:00:00Z",
}))]
pub struct TrustedIssuerView {
    /// Its name here.
    pub name: TrustedIssuerName,
    /// A note for people; `text` of the list finds it.
    #[schema(example = "Workflows of the organization")]
    pub description: String,
    /// What its tokens are.
    pub profile: IssuerProfile,
    /// What its tokens say as `iss`; of a SPIFFE trust domain its id.
    #[schema(example = "https://token.actions.githubusercontent.com")]
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeysFrom,
    /// What its tokens may be signed with.
    pub algorithms: BTreeSet<Algorithm>,
    /// The one audience that its tokens must have; our issuer identifier, when null.
    #[schema(required = true)]
    pub audience: Option<String>,
    /// The most seconds from a token's `iat` to its `exp`.
    #[schema(example = 86_400)]
    pub max_lifetime: u64,
    /// The seconds that its clock may be off.
    #[schema(example = 30)]
    pub leeway: u64,
    /// Whether a token may be presented again within its life.
    pub reuse: Reuse,
    /// Whether its tokens count.
    pub enabled: bool,
    /// What is odd about it, a sentence each. Nothing is refused for it.
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// Counts changes; the `ETag`.
    pub version: i64,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn default_profile() -> IssuerProfile {
    IssuerProfile::Jwt
}

fn default_lifetime() -> u32 {
    86_400
}

fn default_leeway() -> u32 {
    30
}

fn default_reuse() -> Reuse {
    Reuse::Once
}

fn enabled() -> bool {
    true
}

// === impl CreateTrustedIssuer ===

impl CreateTrustedIssuer {
    /// An issuer with every default.
    #[must_use]
    pub fn named(name: TrustedIssuerName, issuer: Identifier, keys: KeysFrom) -> Self {
        Self {
            name,
            description: String::new(),
            profile: default_profile(),
            issuer,
            keys,
            algorithms: None,
            audience: None,
            max_lifetime: default_lifetime(),
            leeway: default_leeway(),
            reuse: default_reuse(),
            enabled: enabled(),
        }
    }
}

// === impl KeysFrom ===

impl KeysFrom {
    /// Keys where the issuer's metadata says.
    #[must_use]
    pub const fn discovery() -> Self {
        Self { from: KeyPlace::Discovery, uri: None, jwks: None, file: None }
    }

    /// Keys at a URL: a JWK Set, or a SPIFFE bundle.
    #[must_use]
    pub const fn at(from: KeyPlace, uri: String) -> Self {
        Self { from, uri: Some(uri), jwks: None, file: None }
    }

    /// These keys.
    #[must_use]
    pub const fn inline(jwks: Value) -> Self {
        Self { from: KeyPlace::Inline, uri: None, jwks: Some(jwks), file: None }
    }

    /// A SPIFFE bundle in a file of this name.
    #[must_use]
    pub const fn file(name: String) -> Self {
        Self { from: KeyPlace::BundleFile, uri: None, jwks: None, file: Some(name) }
    }
}

impl From<&KeySource> for KeysFrom {
    fn from(source: &KeySource) -> Self {
        match source {
            KeySource::Discovery => Self::discovery(),
            KeySource::JwksUri(url) => Self::at(KeyPlace::JwksUri, url.clone()),
            KeySource::Inline(set) => Self::inline(serde_json::from_str(set).unwrap_or_default()),
            KeySource::BundleFile(name) => Self::file(name.clone()),
            KeySource::BundleEndpoint(url) => Self::at(KeyPlace::BundleEndpoint, url.clone()),
        }
    }
}

// === impl TrustedIssuerView ===

impl From<&TrustedIssuer> for TrustedIssuerView {
    fn from(issuer: &TrustedIssuer) -> Self {
        Self {
            name: issuer.name.clone(),
            description: issuer.description.clone(),
            profile: issuer.profile,
            issuer: issuer.issuer.clone(),
            keys: (&issuer.keys).into(),
            algorithms: issuer.algorithms.clone(),
            audience: issuer.audience.clone(),
            max_lifetime: issuer.max_lifetime.as_secs(),
            leeway: issuer.leeway.as_secs(),
            reuse: issuer.reuse,
            enabled: issuer.enabled,
            warnings: condition_warnings::of_issuer(issuer),
            version: issuer.version,
            created_at: issuer.created_at,
            updated_at: issuer.updated_at,
        }
    }
}
