//! The REST API, one file per resource. Handlers translate; the use-cases in [`crate::admin`] decide.

mod client_roles;
mod client_secrets;
mod clients;
mod resource_servers;
mod roles;

use http::HeaderName;
use http::header::LOCATION;
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses};
use utoipa_axum::router::OpenApiRouter;

use super::Shared;
use super::error::Problem;
use crate::admin::PageRequest;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(clients::routes())
        .merge(client_secrets::routes())
        .merge(client_roles::routes())
        .merge(resource_servers::routes())
        .merge(roles::routes())
}

/// Where a new thing can be read (RFC 9110 §10.2.2), relative to the collection's parent.
fn created_at(collection: &str, name: &str) -> [(HeaderName, String); 1] {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    [(LOCATION, format!("{collection}/{name}"))]
}

/// What any operation can answer besides its own answers.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers for OpenAPI")]
enum Refusals {
    /// The request cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// There is no token, or it is not accepted (RFC 6750 §3).
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// A permission is missing.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The body is over 1 MiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
    /// Something is broken here.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// Temporarily unavailable; nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Which page of a list, and which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// With this text in the name or the description, in any case.
    q: Option<String>,
    /// `next_cursor` of the page before.
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
