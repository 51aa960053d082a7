//! `/`, and the issuer's own path: nothing is there, but people type it.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::any;
use http::header::{ACCEPT, VARY};
use http::{HeaderMap, HeaderValue, Method};

use super::error::{Problem, no_store};
use super::extract::accepts;
use super::{Shared, docs, pages};

/// Of an issuer with a path also that, with and without a slash behind it.
pub(super) fn routes(path: &str) -> Router<Shared> {
    let roots = ["/".to_owned(), path.to_owned(), format!("{path}/")];
    let mut roots: Vec<_> = roots.into_iter().filter(|root| !root.is_empty()).collect();
    roots.dedup();
    roots.iter().fold(Router::new(), |router, root| router.route(root, any(answer)))
}

/// A browser is led to the pages; everybody else is told where things are.
async fn answer(State(services): State<Shared>, method: Method, headers: HeaderMap) -> Response {
    let issuer = &services.issuer;
    let mut response = if matches!(method, Method::GET | Method::HEAD) && accepts(&headers, "text/html") {
        Redirect::to(&format!("{}{}", issuer.path(), pages::AT)).into_response()
    } else {
        let (base, administration, description) = (issuer.as_str(), pages::AT, docs::AT);
        Problem::no_such_path(format!(
            "people administer at {base}{administration}, {base}{description} describes the API, and \
             {base}/.well-known/openid-configuration names the endpoints of OAuth"
        ))
        .into_response()
    };
    // A cache between must not hand what one gets to the other.
    response.headers_mut().insert(VARY, HeaderValue::from(ACCEPT));
    no_store(response)
}
