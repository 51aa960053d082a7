//! `/docs`: the API as a page, and its OpenAPI description as YAML and JSON. Everything is made once, when it is first
//! asked for, of the description that the routes have; the page has no script and needs nothing from elsewhere.

mod view;

use std::sync::Arc;

use askama::Template;
use aws_lc_rs::digest;
use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::OnceCell;
use utoipa::openapi::{OpenApi, ServerBuilder};

use self::view::Page;
use super::error::Problem;
use super::{Shared, openapi};
use crate::domain::error::Fault;

/// Where the page is, under the issuer's path.
pub(super) const AT: &str = "/docs";

/// Nothing but our own style sheet, and nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The style sheet.
const STYLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/docs.css"));

/// One file, with the tag of its bytes.
struct File {
    media_type: &'static str,
    bytes: Bytes,
    etag: String,
}

/// What `/docs` serves.
struct Files {
    page: File,
    style: File,
    yaml: File,
    json: File,
}

/// The same files for every thread.
#[derive(Default)]
pub(super) struct Docs(OnceCell<Files>);

// === impl File ===

impl File {
    fn new(media_type: &'static str, text: String) -> Self {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let etag = format!("\"{}\"", BASE64URL.encode(&hash.as_ref()[..12]));
        Self { media_type, bytes: text.into(), etag }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known =
            known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        // Asked again each time, so that an upgrade shows at once.
        let caching = [(CACHE_CONTROL, "no-cache".to_owned()), (ETAG, self.etag.clone())];
        if known.any(|tag| tag == self.etag) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        (caching, [(CONTENT_TYPE, self.media_type)], self.bytes.clone()).into_response()
    }
}

// === impl Files ===

impl Files {
    fn new(mut openapi: OpenApi, issuer: &str) -> Result<Self, String> {
        let server = ServerBuilder::new().url(issuer).description(Some("The issuer")).build();
        openapi.servers = Some(vec![server]);
        let value = serde_json::to_value(&openapi).map_err(|error| error.to_string())?;
        let page = Page::new(&value).render().map_err(|error| error.to_string())?;
        let yaml = openapi.to_yaml().map_err(|error| error.to_string())?;
        Ok(Self {
            page: File::new("text/html; charset=utf-8", page),
            style: File::new("text/css; charset=utf-8", STYLE.to_owned()),
            // RFC 9512.
            yaml: File::new("application/yaml", yaml),
            json: File::new("application/json", value.to_string()),
        })
    }
}

// === impl Docs ===

impl Docs {
    async fn files(&self, issuer: &str) -> Result<&Files, Fault> {
        let make = || async {
            let issuer = issuer.to_owned();
            // It takes a tenth of a second and some ten megabytes, which a thread that serves has no time for.
            let made = tokio::task::spawn_blocking(move || Files::new(openapi(), &issuer)).await;
            made.map_err(Fault::internal)?.map_err(Fault::internal)
        };
        self.0.get_or_try_init(make).await
    }
}

/// The routes of the page.
pub(super) fn routes(docs: &Arc<Docs>) -> Router<Shared> {
    let serve = |which: fn(&Files) -> &File| {
        let docs = Arc::clone(docs);
        get(move |State(services): State<Shared>, headers: HeaderMap| async move {
            match docs.files(services.issuer.as_str()).await {
                Ok(files) => which(files).answer(&headers),
                Err(fault) => Problem::from(&fault).into_response(),
            }
        })
    };
    Router::new()
        .route(AT, serve(|files| &files.page))
        .route(&format!("{AT}/docs.css"), serve(|files| &files.style))
        .route(&format!("{AT}/openapi.yaml"), serve(|files| &files.yaml))
        .route(&format!("{AT}/openapi.json"), serve(|files| &files.json))
        .layer(map_response(strict))
}

/// What a browser may do with it.
async fn strict(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
