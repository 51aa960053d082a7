//! Who acts, and who is meant, in the claims of a token: `act` and `may_act` (RFC 8693 §4), `sub_id` (RFC 9493).

use serde::{Deserialize, Serialize};

use super::ids::ClientId;

/// The most actors one behind the other that a rule may allow.
pub const MOST_ACTORS: u8 = 10;

/// The `sub_id` claim (RFC 9493 §4.1): who somebody from elsewhere is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum SubId {
    /// In the words of another issuer (§3.2.3): what it calls itself, and them.
    IssSub {
        /// What the issuer calls itself.
        iss: String,
        /// What it calls them.
        sub: String,
    },
    /// In ours (§3.2.7), where several issuers call themselves the same: their words would mean somebody at each.
    Opaque {
        /// What we call them.
        id: String,
    },
}

/// The `act` claim (RFC 8693 §4.1): who acts, and for whom they act if that is an actor again. Newest outermost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The actor. A client's id, unless there is a `sub_id`.
    pub sub: String,
    /// The actor in the words of another issuer, if it is somebody from elsewhere (RFC 9493 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_id: Option<SubId>,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// The `may_act` claim (RFC 8693 §4.4): who alone may act for the subject.
/// It names somebody as `act` will. What says more than that names somebody who is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// The actor. A client's id, unless there is a `sub_id`.
    pub sub: String,
    /// Who that is, if it is somebody from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_id: Option<SubId>,
}

// === impl Act ===

impl Act {
    /// It, and everything nested in it: newest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |act| act.act.as_deref())
    }

    /// Everybody who acts, newest first, as they are called.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        self.chain().map(|act| act.sub.as_str())
    }

    /// The client who acts; nothing, if that is somebody from elsewhere.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.sub_id.is_none().then_some(self.sub.as_str())
    }
}

// === impl MayAct ===

impl MayAct {
    /// This client alone.
    #[must_use]
    pub fn client(client_id: &ClientId) -> Self {
        Self { sub: client_id.to_string(), sub_id: None }
    }
}
