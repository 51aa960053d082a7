//! `/audit-events`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::Problem;
use super::super::extract::{Administrator, Filter};
use super::{FilterRefusals, Refusals};
use crate::admin::audit::{AuditEventView, EventQuery};
use crate::admin::audit_watch::AuditState;
use crate::admin::{Page, PageRequest};
use crate::domain::audit::Outcome;
use crate::domain::time::Timestamp;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(state))
}

/// Which page of the audit, and which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Recorded at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Recorded before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Done or tried by this client.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    client_id: Option<String>,
    /// Done or tried by this client, or done to it: registered or changed, its tokens taken back.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    about: Option<String>,
    /// Done or tried by this person: an administrator's name, or whoever ran the command, as the event says it.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    person: Option<String>,
    /// Of this kind.
    #[param(example = "token_refused")]
    kind: Option<String>,
    /// With this outcome.
    outcome: Option<Outcome>,
    /// About this token, or done with it.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    jti: Option<String>,
    /// Of this chain of tokens.
    #[param(max_length = 255, pattern = r"^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$")]
    txn: Option<String>,
    /// `next_cursor` of the page before.
    #[param(pattern = r"^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
    /// The most entries.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
}

/// List audit events, newest first.
#[utoipa::path(
    get, path = "/audit-events", tag = "Audit", operation_id = "list_audit_events", params(Search),
    responses((status = 200, description = "A page", body = Page<AuditEventView>), FilterRefusals, Refusals),
    security(("token" = ["audit:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<AuditEventView>>, Problem> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let query = EventQuery {
        from: search.from,
        to: search.to,
        client_id: given(search.client_id),
        about: given(search.about),
        person: given(search.person),
        kind: given(search.kind),
        outcome: search.outcome,
        jti: given(search.jti),
        txn: given(search.txn),
    };
    let page = PageRequest { cursor: search.cursor, limit: search.limit };
    Ok(Json(services.admin.audit_events(&by, query, &page).await?))
}

/// Say how far the audit is known to be as it was written: what the last check of all of it found, and until when events
/// are signed for.
#[utoipa::path(
    get, path = "/audit-state", tag = "Audit", operation_id = "audit_state",
    responses((status = 200, description = "How far", body = AuditState), Refusals),
    security(("token" = ["audit:read"]))
)]
async fn state(
    State(services): State<Shared>,
    Administrator(by): Administrator,
) -> Result<Json<AuditState>, Problem> {
    Ok(Json(services.admin.audit_state(&by).await?))
}
