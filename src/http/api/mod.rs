//! The REST API, one file per resource. Handlers translate; the use-cases in [`crate::admin`] decide.

mod administrators;
mod audit_events;
mod client_certificates;
mod client_keys;
mod client_roles;
mod client_secrets;
mod clients;
mod ending_credentials;
mod exchange_rules;
mod explain;
mod federated_credentials;
mod impact;
mod operators;
mod resource_servers;
mod revocations;
mod roles;
mod signing_keys;
mod statistics;
mod trusted_issuers;

use axum::middleware::from_fn;
use http::HeaderName;
use http::header::LOCATION;
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses};
use utoipa_axum::router::OpenApiRouter;

use super::Shared;
use super::deadline;
use super::error::Problem;
use crate::admin::PageRequest;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(clients::routes())
        .merge(client_secrets::routes())
        .merge(client_certificates::routes())
        .merge(client_keys::routes())
        .merge(federated_credentials::routes())
        .merge(client_roles::routes())
        .merge(ending_credentials::routes())
        .merge(resource_servers::routes())
        .merge(operators::routes())
        .merge(revocations::routes())
        .merge(roles::routes())
        .merge(exchange_rules::routes())
        .merge(explain::routes().layer(from_fn(deadline::asks_others)))
        .merge(trusted_issuers::routes())
        .merge(signing_keys::routes().layer(from_fn(deadline::asks_others)))
        .merge(administrators::routes())
        .merge(audit_events::routes())
        .merge(statistics::routes())
        .merge(impact::routes())
}

/// Where a new thing can be read (RFC 9110 §10.2.2), relative to the collection's parent.
fn created_at(collection: &str, name: &str) -> [(HeaderName, String); 1] {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    [(LOCATION, format!("{collection}/{name}"))]
}

/// Declares answers that operations share, for OpenAPI: a problem (RFC 9457) for each status.
macro_rules! refusals {
    ($($(#[$doc:meta])* $group:ident { $($(#[$case_doc:meta])* $case:ident = $status:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "describes the answers for OpenAPI")]
        enum $group {
            $($(#[$case_doc])* #[response(status = $status, content_type = "application/problem+json")] $case(Problem)),+
        }
    )+};
}

refusals! {
    /// What any operation can answer besides its own answers.
    Refusals {
        /// The request cannot be read.
        Malformed = 400,
        /// There is no token, or it is not accepted (RFC 6750 §3).
        Unauthorized = 401,
        /// A permission is missing.
        Forbidden = 403,
        /// Something is broken here.
        Internal = 500,
        /// Temporarily unavailable. The detail says whether something may have been changed.
        Unavailable = 503,
    }

    /// Where a body is read.
    BodyRefusals {
        /// The body is over 1 MiB.
        TooLarge = 413,
        /// The body is not JSON.
        MediaType = 415,
        /// Fields are wrong.
        Invalid = 422,
    }

    /// Where something is named.
    NoSuchThing {
        /// There is none.
        NotFound = 404,
    }

    /// Where what is asked for may contradict what is registered.
    Contradiction {
        /// A taken name, too many of a kind, or something still refers to it.
        Conflict = 409,
    }

    /// Where a list is filtered.
    FilterRefusals {
        /// Filters are wrong.
        Invalid = 422,
    }

    /// Where If-Match is needed.
    VersionRefusals {
        /// If-Match is missing.
        NoVersion = 428,
    }
}

/// Which page of a list, and which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// With this text in the name or the description, in any case.
    #[param(max_length = 200, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    q: Option<String>,
    /// `next_cursor` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

// === impl Search ===

impl Search {
    fn split(self) -> (Option<String>, PageRequest) {
        (self.q.filter(|text| !text.is_empty()), PageRequest { cursor: self.cursor, limit: self.limit })
    }
}
