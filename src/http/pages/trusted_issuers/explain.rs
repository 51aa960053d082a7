//! `/admin/trusted-issuers/explain`: why a token counts here or does not, step by step.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::AT;
use crate::admin::explain::{ExplainAssertion, ExplainedAssertion};
use crate::domain::builtin;
use crate::http::Shared;
use crate::http::pages::error::PageError;
use crate::http::pages::form::Form;
use crate::http::pages::frame::Frame;
use crate::http::pages::input::Input;
use crate::http::pages::session::SignedIn;
use crate::http::pages::{page, page_with};
use crate::oauth::outside::{UsedAs, Verdict};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/trusted-issuers/explain", get(ask).post(explain))
}

#[derive(Template)]
#[template(path = "trusted-issuers/explain.html")]
struct Page {
    frame: Frame,
    form: Form,
    uses: Vec<(&'static str, &'static str)>,
    explained: Option<ExplainedAssertion>,
}

// === impl Page ===

impl Page {
    fn new(session: &SignedIn, form: Form, explained: Option<ExplainedAssertion>) -> Self {
        let told = |used_as: &UsedAs| match used_as {
            UsedAs::ClientAssertion => (used_as.as_str(), "A client's proof of who it is"),
            UsedAs::SpiffeAssertion => (used_as.as_str(), "The same, as a JWT-SVID"),
            UsedAs::Grant => (used_as.as_str(), "An authorization grant"),
            UsedAs::SubjectToken => (used_as.as_str(), "Subject or actor of an exchange"),
        };
        let frame = session.frame("Why does a token not count?", AT);
        Self { frame, form, uses: UsedAs::ALL.iter().map(told).collect(), explained }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what a template passes")]
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn verdict(&self, verdict: &Verdict) -> (&'static str, &'static str) {
        match verdict {
            Verdict::Held => ("on", "holds"),
            Verdict::Failed => ("off", "fails"),
            Verdict::Skipped => ("", "not looked at"),
        }
    }
}

async fn ask(State(services): State<Shared>, session: SignedIn) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_READ).await?;
    let form = Form::of([("used_as", UsedAs::ClientAssertion.as_str().to_owned())]);
    Ok(page(&Page::new(&session, form, None)))
}

/// By POST, though nothing is changed: a token does not belong into a URL. It is not shown again.
async fn explain(
    State(services): State<Shared>,
    session: SignedIn,
    form: Form,
) -> Result<Response, PageError> {
    services.admin.permit(&session.by, builtin::TRUSTED_ISSUERS_READ).await?;
    let wanted: Result<ExplainAssertion, _> =
        Input::new(&form).text("assertion").optional("client_id").text("used_as").read();
    let explained = match wanted {
        Ok(wanted) => services.admin.explain(&session.by, wanted).await,
        Err(error) => Err(error),
    };
    let form = form.without(&["assertion"]);
    match explained {
        Ok(explained) => Ok(page(&Page::new(&session, form, Some(explained)))),
        Err(error) => {
            let again = Page::new(&session, form.refused(error)?, None);
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again))
        }
    }
}
