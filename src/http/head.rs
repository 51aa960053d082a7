//! How large the head of a request may be. What is far over that hyper refuses itself, without a text.

use axum::extract::Request;
use http::StatusCode;

use super::error::Problem;

/// How many lines of headers a request may have. Hyper's own limit for HTTP/1.
const HEADER_LINES: usize = 100;

/// How long a URL may be: what RFC 9110 §4.1 recommends to take. The longest of ours are pages with filters.
const URI: usize = 8_192;

/// Why a request is not looked at, if it is not.
pub(super) fn refusal(request: &Request, max_header_size: usize) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > URI {
        return Some(Problem::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            "The URL is too long",
            format!("send a URL of at most {URI} bytes"),
        ));
    }
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > max_header_size || headers.len() > HEADER_LINES {
        return Some(Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers-too-large",
            "The headers are too large",
            format!("send at most {HEADER_LINES} headers of {max_header_size} bytes together"),
        ));
    }
    None
}
