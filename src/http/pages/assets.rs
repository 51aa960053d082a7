//! Style sheets and scripts, built in, so that the pages need nothing from elsewhere.
//!
//! Each has a path with a tag that changes with its bytes, so a browser may keep it for ever.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::error::PageError;
use crate::http::pictures;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    tag: u64,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $media_type:expr, $file:literal) => {
        asset!($name, $media_type, = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $file)))
    };
    ($name:literal, $media_type:expr, = $bytes:expr) => {{
        const BYTES: &[u8] = $bytes;
        Asset { name: $name, media_type: $media_type, bytes: BYTES, tag: tag(BYTES) }
    }};
}

static ASSETS: [Asset; 5] = [
    asset!("pico.css", CSS, "vendor/pico.min.css"),
    asset!("admin.css", CSS, "admin.css"),
    asset!("pictures.css", CSS, = pictures::CSS.as_bytes()),
    asset!("htmx.js", SCRIPT, "vendor/htmx.min.js"),
    asset!("admin.js", SCRIPT, "admin.js"),
];

/// The FNV-1a hash. It tells versions of our own files apart, and protects nothing.
const fn tag(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash ^= bytes[at] as u64;
        hash = hash.wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Where an asset is, under the pages' own path. A name that is none is a bug that a test finds.
pub(super) fn path(name: &str) -> String {
    let tag = ASSETS.iter().find(|asset| asset.name == name).map_or(0, |asset| asset.tag);
    format!("/assets/{tag:016x}/{name}")
}

/// `GET /assets/{tag}/{name}`
pub(super) async fn serve(Path((tag, name)): Path<(String, String)>) -> Result<Response, PageError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name && format!("{:016x}", asset.tag) == tag);
    let asset = asset.ok_or(PageError::NoSuchPage)?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.bytes).into_response())
}
