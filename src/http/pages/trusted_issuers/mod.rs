//! `/admin/trusted-issuers`: whose tokens count beside our own.

mod edit;
mod explain;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::{Form, Named, Query};
use super::frame::Frame;
use super::listed::Listed;
use super::session::SignedIn;
use super::{page, page_with};
use crate::admin::impact::TrustedIssuerImpact;
use crate::admin::trusted_issuers::{KeyPlace, KeysFrom, TrustedIssuerView};
use crate::domain::ids::TrustedIssuerName;
use crate::domain::trust::{IssuerProfile, Reuse};
use crate::http::Shared;

/// Where these pages are.
const AT: &str = "/trusted-issuers";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/trusted-issuers", get(list))
        .route("/trusted-issuers/{name}", get(show))
        .merge(edit::routes())
        .merge(explain::routes())
}

/// Where keys are, in words.
fn place(keys: &KeysFrom) -> String {
    let (uri, file) = (keys.uri.as_deref().unwrap_or_default(), keys.file.as_deref().unwrap_or_default());
    match keys.from {
        KeyPlace::Discovery => "where the issuer's metadata says".to_owned(),
        KeyPlace::JwksUri => format!("at {uri}"),
        KeyPlace::Inline => "registered here".to_owned(),
        KeyPlace::BundleFile => format!("the bundle in the file {file}"),
        KeyPlace::BundleEndpoint => format!("the bundle at {uri}"),
    }
}

/// What sort of tokens, in words.
fn profile(profile: IssuerProfile) -> &'static str {
    match profile {
        IssuerProfile::Jwt => "JWTs with iss, sub, aud, exp and iat",
        IssuerProfile::Spiffe => "SVIDs of a SPIFFE trust domain",
    }
}

/// Whether a token counts twice, in words.
fn reuse(reuse: Reuse) -> &'static str {
    match reuse {
        Reuse::Once => "never",
        Reuse::WithoutJti => "only one that has no jti, as long as it lives",
        Reuse::WithinLife => "as long as it lives",
    }
}

#[derive(Template)]
#[template(path = "trusted-issuers/list.html")]
struct List {
    frame: Frame,
    form: Form,
    issuers: Vec<TrustedIssuerView>,
    next: Option<String>,
}

async fn list(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let text = query.given("q");
    let found = services.admin.trusted_issuers(&session.by, text.as_deref(), &query.page()).await;
    let frame = session.frame("Trusted issuers", AT).telling(&query);
    let Listed { status, form, items: issuers, next } = Listed::new(query, found)?;
    Ok(page_with(status, &List { frame, form, issuers, next }))
}

#[derive(Template)]
#[template(path = "trusted-issuers/show.html")]
struct Show {
    frame: Frame,
    path: String,
    issuer: TrustedIssuerView,
    used: TrustedIssuerImpact,
    /// Keys that are registered themselves, for people.
    keys: Option<String>,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    Named(name): Named<TrustedIssuerName>,
    query: Query,
) -> Result<Response, PageError> {
    let issuer = services.admin.trusted_issuer(&session.by, &name).await?;
    Ok(page(&Show {
        frame: session.frame(name.as_str(), AT).telling(&query),
        path: session.path(&["trusted-issuers", name.as_str()]),
        keys: issuer.keys.jwks.as_ref().and_then(|set| serde_json::to_string_pretty(set).ok()),
        used: services.admin.trusted_issuer_impact(&session.by, &name).await?,
        issuer,
    }))
}
