//! `/exchange-rules`
//!
//! `dry-run` is the name of no rule, so that a path below can have it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::error::{Problem, Stale};
use super::super::extract::{Administrator, Body, Filter, Named, Version};
use super::{
    BodyRefusals, Contradiction, FilterRefusals, NoSuchThing, Refusals, Search, VersionRefusals, created_at,
};
use crate::admin::Page;
use crate::admin::exchange_dry_run::{TriedExchange, TryExchange};
use crate::admin::exchange_rules::{CreateExchangeRule, ExchangeRuleView, UpdateExchangeRule};
use crate::domain::ids::ExchangeRuleName;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, delete))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(try_exchange))
}

/// List exchange rules, in the order of their names.
#[utoipa::path(
    get, path = "/exchange-rules", tag = "Exchange rules", operation_id = "list_exchange_rules", params(Search),
    responses((status = 200, description = "A page", body = Page<ExchangeRuleView>), FilterRefusals, Refusals),
    security(("token" = ["exchange-rules:read"]))
)]
async fn list(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Filter(search): Filter<Search>,
) -> Result<Json<Page<ExchangeRuleView>>, Problem> {
    let (text, page) = search.split();
    Ok(Json(services.admin.exchange_rules(&by, text.as_deref(), &page).await?))
}

/// Create an exchange rule: who may pass whose identity on, towards what (RFC 8693).
#[utoipa::path(
    post, path = "/exchange-rules", tag = "Exchange rules", operation_id = "create_exchange_rule", request_body = CreateExchangeRule,
    responses(
        (status = 201, description = "It is there", body = ExchangeRuleView, headers(
            ("ETag" = String, description = "Its version"),
            ("Location" = String, description = "Where it can be read, relative to this URL"),
        )),
        Contradiction,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["exchange-rules:write"]))
)]
async fn create(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(new): Body<CreateExchangeRule>,
) -> Result<Response, Problem> {
    let view = services.admin.create_exchange_rule(&by, new).await?;
    let location = created_at("exchange-rules", view.name.as_str());
    Ok((StatusCode::CREATED, Version::etag(view.version), location, Json(view)).into_response())
}

/// Read an exchange rule.
#[utoipa::path(
    get, path = "/exchange-rules/{name}", tag = "Exchange rules", operation_id = "read_exchange_rule",
    params(("name" = ExchangeRuleName, Path, description = "Its name")),
    responses(
        (status = 200, description = "The exchange rule", body = ExchangeRuleView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["exchange-rules:read"]))
)]
async fn read(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, Problem> {
    let view = services.admin.exchange_rule(&by, &name).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Change an exchange rule: what is absent stays, what is given replaces.
#[utoipa::path(
    patch, path = "/exchange-rules/{name}", tag = "Exchange rules", operation_id = "update_exchange_rule", request_body = UpdateExchangeRule,
    params(
        ("name" = ExchangeRuleName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the change is based on"),
    ),
    responses(
        (status = 200, description = "It, changed", body = ExchangeRuleView, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "Somebody else changed it", body = Stale<ExchangeRuleView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        BodyRefusals,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["exchange-rules:write"]))
)]
async fn update(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
    Version(version): Version,
    Body(update): Body<UpdateExchangeRule>,
) -> Result<Response, Problem> {
    let view = services.admin.update_exchange_rule(&by, &name, version, update).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Remove an exchange rule.
#[utoipa::path(
    delete, path = "/exchange-rules/{name}", tag = "Exchange rules", operation_id = "delete_exchange_rule",
    params(
        ("name" = ExchangeRuleName, Path, description = "Its name"),
        ("If-Match" = String, Header, pattern = r#"^"(?:0|[1-9][0-9]{0,17})"$"#, example = "\"1\"", description = "The ETag that the removal is based on"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "Somebody else changed it", body = Stale<ExchangeRuleView>, content_type = "application/problem+json"),
        NoSuchThing,
        Contradiction,
        VersionRefusals,
        Refusals,
    ),
    security(("token" = ["exchange-rules:write"]))
)]
async fn delete(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
    Version(version): Version,
) -> Result<StatusCode, Problem> {
    services.admin.delete_exchange_rule(&by, &name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Switch an exchange rule off: nothing is exchanged by it from now on. Needs no ETag: an emergency does not wait.
#[utoipa::path(
    post, path = "/exchange-rules/{name}/disable", tag = "Exchange rules", operation_id = "disable_exchange_rule",
    params(("name" = ExchangeRuleName, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is off", body = ExchangeRuleView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["exchange-rules:write"]))
)]
async fn disable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, Problem> {
    let view = services.admin.set_exchange_rule_enabled(&by, &name, false).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Switch an exchange rule on again.
#[utoipa::path(
    post, path = "/exchange-rules/{name}/enable", tag = "Exchange rules", operation_id = "enable_exchange_rule",
    params(("name" = ExchangeRuleName, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is on", body = ExchangeRuleView, headers(("ETag" = String, description = "Its version"))),
        NoSuchThing,
        Refusals,
    ),
    security(("token" = ["exchange-rules:write"]))
)]
async fn enable(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Named(name): Named<ExchangeRuleName>,
) -> Result<Response, Problem> {
    let view = services.admin.set_exchange_rule_enabled(&by, &name, true).await?;
    Ok((Version::etag(view.version), Json(view)).into_response())
}

/// Try an exchange: what it would give, and why, rule by rule and step by step. Nothing is issued.
#[utoipa::path(
    post, path = "/exchange-rules/dry-run", tag = "Exchange rules", operation_id = "try_exchange",
    request_body = TryExchange,
    responses(
        (status = 200, description = "What it would give", body = TriedExchange),
        NoSuchThing,
        BodyRefusals,
        Refusals,
    ),
    security(("token" = ["exchange-rules:read"]))
)]
async fn try_exchange(
    State(services): State<Shared>,
    Administrator(by): Administrator,
    Body(wanted): Body<TryExchange>,
) -> Result<Json<TriedExchange>, Problem> {
    Ok(Json(services.admin.try_exchange(&by, wanted).await?))
}
