//! What is recorded of a request: where it came from, and what it asked for.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Origin {
    /// The `x-request-id` of the response; absent for the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The caller's trace (W3C Trace Context), when it sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Refusals that were counted instead of being recorded one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Repeated {
    /// How many.
    pub count: u64,
    /// The `x-request-id` of their answers, a hundred at most.
    pub request_ids: Vec<String>,
}

/// What a token request asked for, in its own words, shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AskedFor {
    /// The parameter `scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The parameter `resource`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// The parameter `audience`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
}

// === impl Origin ===

impl Origin {
    pub(super) fn is_nothing(&self) -> bool {
        self == &Self::default()
    }
}
