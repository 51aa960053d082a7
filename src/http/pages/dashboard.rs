//! `/admin`: what is there, and what happened in the last day.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::error::PageError;
use super::form::Query;
use super::frame::Frame;
use super::page;
use super::session::SignedIn;
use crate::admin::ending_credentials::EndingCredentialView;
use crate::admin::statistics::{StatisticsBy, StatisticsStep, TokenQuery, TokenSeries, TokenStatistics};
use crate::domain::builtin;
use crate::domain::time::Timestamp;
use crate::http::Shared;
use crate::http::pictures::{BarSeries, BarStep, Bars, stacked_bars};

/// How many credentials that end soon are shown.
const ENDING: u32 = 10;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/", get(show))
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
    /// The credentials that end next, if that is soon.
    ending: Vec<EndingCredentialView>,
    /// Nothing, for whoever may not read the audit.
    statistics: Option<Statistics>,
}

/// The last day, in numbers and pictures.
struct Statistics {
    tokens: u64,
    refusals: u64,
    /// SVG, with every text in it escaped: by outcome, by client, by grant.
    pictures: Vec<Picture>,
    counted_until: Option<Timestamp>,
}

struct Picture {
    title: &'static str,
    svg: String,
}

async fn show(
    State(services): State<Shared>,
    session: SignedIn,
    query: Query,
) -> Result<Response, PageError> {
    let mut ending = Vec::new();
    if session.can(builtin::CLIENTS_READ) {
        ending = services.admin.ending_credentials(&session.by, Some(ENDING)).await?;
    }
    let mut statistics = None;
    if session.can(builtin::AUDIT_READ) {
        statistics = Some(read(&services, &session).await?);
    }
    Ok(page(&Dashboard { frame: session.frame("Dashboard", "").telling(&query), ending, statistics }))
}

async fn read(services: &Shared, session: &SignedIn) -> Result<Statistics, PageError> {
    let mut pictures = Vec::new();
    let (mut tokens, mut refusals, mut counted_until) = (0, 0, None);
    for (by, id, title) in [
        (StatisticsBy::Outcome, "by-outcome", "Tokens and refusals of the last day"),
        (StatisticsBy::Client, "by-client", "By client"),
        (StatisticsBy::Grant, "by-grant", "By grant"),
    ] {
        let query = TokenQuery { by: Some(by), step: Some(StatisticsStep::Hour), ..TokenQuery::default() };
        let found = services.admin.token_statistics(&session.by, query).await?;
        let sum = |numbers: fn(&TokenSeries) -> &Vec<u64>| found.series.iter().flat_map(numbers).sum();
        (tokens, refusals, counted_until) = (sum(|s| &s.tokens), sum(|s| &s.refusals), found.counted_until);
        pictures.push(Picture { title, svg: picture(&found, id, title) });
    }
    Ok(Statistics { tokens, refusals, pictures, counted_until })
}

fn picture(found: &TokenStatistics, id: &str, title: &str) -> String {
    let mut series = Vec::new();
    for counted in &found.series {
        let name = match (&counted.name, counted.rest) {
            (Some(name), _) => name.clone(),
            (None, true) => "the others".to_owned(),
            (None, false) => "nobody registered".to_owned(),
        };
        for (refusals, values) in [(false, &counted.tokens), (true, &counted.refusals)] {
            if values.iter().any(|value| *value > 0) {
                let name = if refusals && found.by != StatisticsBy::Outcome {
                    format!("{name}, refused")
                } else {
                    name.clone()
                };
                series.push(BarSeries { name, refusals, values: values.clone() });
            }
        }
    }
    stacked_bars(&Bars { id, title, step: BarStep::Hour, times: &found.times, series: &series })
}
