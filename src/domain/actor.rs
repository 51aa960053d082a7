//! Who administers, as the audit names them.

use serde::Serialize;
use utoipa::ToSchema;

use super::client::AuthMethod;
use super::ids::{AdministratorName, ClientId, CredentialId};

/// Who administers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A client with a token for the API.
    Client {
        /// The client's identifier.
        #[schema(value_type = String)]
        client_id: ClientId,
        /// The token it used.
        jti: String,
    },
    /// A client that authenticated for this one request.
    Authenticated {
        /// The client's identifier.
        #[schema(value_type = String)]
        client_id: ClientId,
        /// How it authenticated.
        auth_method: AuthMethod,
        /// With which of its credentials.
        #[schema(value_type = String)]
        credential_id: CredentialId,
    },
    /// Somebody who has signed in to the pages.
    Person {
        /// The name that they sign in with.
        #[schema(value_type = String)]
        name: AdministratorName,
    },
    /// Somebody with access to the database and the master key, at the command line.
    CommandLine {
        /// The operating system's name for them.
        user: String,
    },
    /// Jeton itself, at start-up.
    System,
}

// === impl Actor ===

impl Actor {
    /// The client, if it is one.
    #[must_use]
    pub const fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::Client { client_id, .. } | Self::Authenticated { client_id, .. } => Some(client_id),
            Self::Person { .. } | Self::CommandLine { .. } | Self::System => None,
        }
    }
}
