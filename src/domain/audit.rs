//! What is recorded: one enum, one JSON form.
//!
//! An event is written once and never changed. Fields may be added; readers must ignore those they do
//! not know. No field ever holds a secret, a hash of one, or a token.

use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::client::{AuthMethod, GrantType};
use super::ids::{ClientId, KeyId, RoleName, SecretId};
use super::time::Timestamp;
use crate::jose::Algorithm;

/// One recorded event.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Its own identifier; ordered by time.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// What happened.
    pub event: Event,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin {
    /// The `x-request-id` of the response; absent for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A token was issued.
    TokenIssued {
        /// The authenticated client.
        client_id: ClientId,
        /// How it authenticated.
        auth_method: AuthMethod,
        /// Which of its secrets it used.
        secret_id: SecretId,
        /// The grant.
        grant_type: GrantType,
        /// The request's own words.
        asked: AskedFor,
        /// Who the token is about.
        subject: String,
        /// The resource servers' identifiers.
        audience: Vec<String>,
        /// The granted permissions, space-separated.
        scope: String,
        /// The contributing roles.
        roles: Vec<RoleName>,
        /// The token's identifier.
        jti: String,
        /// The chain's identifier.
        txn: String,
        /// The token's end.
        expires_at: Timestamp,
        /// The key that signed it.
        kid: KeyId,
    },
    /// A token request was refused.
    TokenRefused {
        /// Who the caller said it is, if it said so in a readable way.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<ClientId>,
        /// Whether that was proven.
        authenticated: bool,
        /// The grant type, as sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        grant_type: Option<String>,
        /// The request's own words.
        asked: AskedFor,
        /// The `error` that was answered.
        error: &'static str,
        /// Why, in full.
        reason: String,
    },
    /// An administrator was refused by the API.
    AccessRefused {
        /// Who.
        actor: Actor,
        /// The permission that was missing.
        permission: String,
    },
    /// Something registered was changed.
    Changed {
        /// Who changed it.
        actor: Actor,
        /// What was done, for example `client.create`.
        action: &'static str,
        /// What it was done to: a client id or a name.
        target: String,
        /// The changed part before, without secrets.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<serde_json::Value>,
        /// The changed part after, without secrets.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<serde_json::Value>,
    },
    /// A signing key was made.
    KeyCreated {
        /// The key.
        kid: KeyId,
        /// Its algorithm.
        algorithm: Algorithm,
        /// When it starts to sign.
        activates_at: Timestamp,
    },
}

/// What a token request asked for, in its own words, shortened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AskedFor {
    /// `scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `resource`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// `audience`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
}

/// Who administers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A client with a token for the API.
    Client {
        /// Which.
        client_id: ClientId,
        /// The token it used.
        jti: String,
    },
    /// Somebody with access to the database and the master key, at the command line.
    CommandLine {
        /// The operating system's name for them.
        user: String,
    },
    /// Jeton itself, at start-up.
    System,
}

// === impl Event ===

impl Event {
    /// The `kind` column.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TokenIssued { .. } => "token_issued",
            Self::TokenRefused { .. } => "token_refused",
            Self::AccessRefused { .. } => "access_refused",
            Self::Changed { .. } => "changed",
            Self::KeyCreated { .. } => "key_created",
        }
    }

    /// The `outcome` column.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::TokenRefused { .. } | Self::AccessRefused { .. } => "refused",
            _ => "success",
        }
    }

    /// The `client_id` column: the client that did it.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::TokenIssued { client_id, .. } => Some(client_id),
            Self::TokenRefused { client_id, .. } => client_id.as_ref(),
            Self::AccessRefused { actor, .. } | Self::Changed { actor, .. } => match actor {
                Actor::Client { client_id, .. } => Some(client_id),
                _ => None,
            },
            Self::KeyCreated { .. } => None,
        }
    }

    /// The `jti` column: the token that it is about.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        match self {
            Self::TokenIssued { jti, .. } => Some(jti),
            _ => None,
        }
    }

    /// The `txn` column: the chain that it belongs to.
    #[must_use]
    pub fn txn(&self) -> Option<&str> {
        match self {
            Self::TokenIssued { txn, .. } => Some(txn),
            _ => None,
        }
    }
}
