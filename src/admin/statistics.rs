//! Use-cases: how many tokens and refusals there were, and who has acted for whom.
//!
//! The numbers are counted from the audit by [`crate::runtime::statistics`], a moment after it happened. Everything
//! here reads small tables, however many events there are.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::ids::ResourceServerName;
use crate::domain::tally::ISSUED;
use crate::domain::text::check_text;
use crate::domain::time::{DAY, HOUR, Timestamp};
use crate::domain::words::words;
use crate::storage::{Counted, DAYS_KEPT, Delegation, HOURS_KEPT, Side, Span};

/// How many clients are told apart.
const CLIENTS: usize = 10;

/// How many days are looked at for them.
const CLIENT_DAYS: u32 = 31;

/// How many sorts of requests of each of these days: a client may be there with several.
const SORTS: u32 = 50;

/// For how many days delegations are answered.
const EDGE_DAYS: u32 = 31;

/// How many edges are answered.
const EDGES: u32 = 1_000;

words! {
    /// What one number stands for.
    StatisticsStep {
        /// An hour.
        Hour = "hour",
        /// A day, in UTC.
        Day = "day",
    }
}

words! {
    /// What is told apart.
    StatisticsBy {
        /// Clients: the ten with the most requests, of the last 31 days at most, and the rest together.
        Client = "client",
        /// Grant types.
        Grant = "grant",
        /// Tokens, and refusals by their `error`.
        Outcome = "outcome",
    }
}

/// Which tokens and refusals to count.
#[derive(Clone, Debug, Default)]
pub struct TokenQuery {
    /// From the hour or day of this time on.
    pub from: Option<Timestamp>,
    /// Until the hour or day of this time, all of it.
    pub to: Option<Timestamp>,
    /// What one number stands for.
    pub step: Option<StatisticsStep>,
    /// What is told apart.
    pub by: Option<StatisticsBy>,
    /// Of this client alone.
    pub client_id: Option<String>,
}

/// How many tokens and refusals there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenStatistics {
    /// When the first step begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// When the last step ends.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// What one number stands for.
    pub step: StatisticsStep,
    /// What is told apart.
    pub by: StatisticsBy,
    /// When each step begins.
    #[schema(value_type = Vec<String>, example = json!(["2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z"]))]
    pub times: Vec<Timestamp>,
    /// The numbers, most first.
    pub series: Vec<TokenSeries>,
    /// Until when everything is counted; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub counted_until: Option<Timestamp>,
}

/// Numbers that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenSeries {
    /// The client, the grant type (`other` for one that is none of ours or missing), or the outcome: `issued` or the
    /// `error`. Null for what no registered client has done.
    #[schema(example = "issued")]
    pub name: Option<String>,
    /// Whether these are the clients that are not told apart.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rest: bool,
    /// How many tokens in each step.
    #[schema(example = json!([120, 118]))]
    pub tokens: Vec<u64>,
    /// How many refusals in each step.
    #[schema(example = json!([0, 2]))]
    pub refusals: Vec<u64>,
}

/// Which delegations to show.
#[derive(Clone, Debug, Default)]
pub struct DelegationQuery {
    /// From the day of this time on.
    pub from: Option<Timestamp>,
    /// Until the day of this time, all of it.
    pub to: Option<Timestamp>,
    /// With this client on either side.
    pub client_id: Option<String>,
}

/// Who has acted for whom towards what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delegations {
    /// When the first day begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// When the last day ends.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Most exchanges first, 1,000 at most. Of a day on which there were more than 1,000, the others do not count.
    pub edges: Vec<DelegationView>,
    /// Whether there are more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Until when everything is counted; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub counted_until: Option<Timestamp>,
}

/// Somebody who has acted for somebody towards something, by real token exchanges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DelegationView {
    /// Whose identity was passed on: a client's, or that of `anybody of NAME`, whom the trusted issuer of this name vouches
    /// for.
    #[schema(example = "front")]
    pub subject: String,
    /// The client that passed it on.
    #[schema(example = "orders")]
    pub actor: String,
    /// The audience of the new tokens.
    #[schema(example = "https://payments.example")]
    pub audience: String,
    /// The resource server of this audience, while it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<ResourceServerName>,
    /// How many exchanges.
    pub exchanges: u64,
    /// When the last was.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

// === impl Admin ===

impl Admin {
    /// How many tokens and refusals there were, over time.
    ///
    /// # Errors
    /// `audit:read` is missing, the times are not ones that are kept, or the database is away.
    pub async fn token_statistics(&self, by: &By, query: TokenQuery) -> Result<TokenStatistics, AdminError> {
        self.require(by, builtin::AUDIT_READ).await?;
        check_text("client_id", query.client_id.as_deref().unwrap_or_default(), 255)?;
        let client_id = query.client_id.as_deref().filter(|client_id| !client_id.is_empty());
        let told_apart = query.by.unwrap_or(StatisticsBy::Outcome);
        let (span, step) = window(&query, self.ambient.now())?;
        let clients_apart = told_apart == StatisticsBy::Client && client_id.is_none();
        let mut series = Series::new(span, step);
        match client_id {
            Some(client_id) => {
                for counted in self.counted_of(client_id, span, step).await? {
                    let name = match told_apart {
                        StatisticsBy::Client => client_id.to_owned(),
                        StatisticsBy::Grant => counted.grant_type.clone(),
                        StatisticsBy::Outcome => counted.outcome.clone(),
                    };
                    series.add(&name, &counted);
                }
            }
            None if clients_apart => self.busiest(&mut series, span, step).await?,
            None => {
                for counted in self.store.token_totals(span, micros(step)).await? {
                    let name = if told_apart == StatisticsBy::Grant {
                        counted.grant_type.clone()
                    } else {
                        counted.outcome.clone()
                    };
                    series.add(&name, &counted);
                }
            }
        }
        Ok(TokenStatistics {
            from: span.from,
            to: span.to,
            step,
            by: told_apart,
            times: series.times.clone(),
            series: series.sorted(),
            counted_until: self.store.counted_until().await?,
        })
    }

    /// Who has acted for whom towards what.
    ///
    /// # Errors
    /// `audit:read` is missing, the times are not ones that are kept, or the database is away.
    pub async fn delegations(&self, by: &By, query: DelegationQuery) -> Result<Delegations, AdminError> {
        self.require(by, builtin::AUDIT_READ).await?;
        check_text("client_id", query.client_id.as_deref().unwrap_or_default(), 255)?;
        let client_id = query.client_id.as_deref().filter(|client_id| !client_id.is_empty());
        let wanted = TokenQuery {
            from: query.from,
            to: query.to,
            step: Some(StatisticsStep::Day),
            ..TokenQuery::default()
        };
        let (span, _) = window(&wanted, self.ambient.now())?;
        if span.from.plus(DAY * EDGE_DAYS) < span.to {
            let fix = format!("ask for {EDGE_DAYS} days at most");
            return Err(AdminError::invalid("from", "that is too long", fix));
        }
        let sides = match client_id {
            None => vec![Side::Any],
            Some(client_id) => vec![Side::Subject(client_id), Side::Actor(client_id)],
        };
        let (edges, more) = self.edges(span, &sides, EDGES).await?;
        let counted_until = self.store.counted_until().await?;
        Ok(Delegations { from: span.from, to: span.to, edges, more, counted_until })
    }

    /// Forgets what was counted, so that all of it is counted anew. Only whoever has the database does this: it
    /// changes nothing but numbers that the audit can tell again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recount(&self) -> Result<(), AdminError> {
        let mut tx = self.begin().await?;
        tx.uncount().await?;
        Ok(tx.commit().await?)
    }

    async fn counted_of(
        &self,
        client_id: &str,
        span: Span,
        step: StatisticsStep,
    ) -> Result<Vec<Counted>, AdminError> {
        Ok(match step {
            StatisticsStep::Hour => self.store.token_hours_of(client_id, span).await?,
            StatisticsStep::Day => self.store.token_days_of(client_id, span).await?,
        })
    }

    /// The edges of these days with a client on one of these sides, those with the most exchanges first; and whether
    /// there are more. Of each day only the most frequent are looked at.
    pub(super) async fn edges(
        &self,
        span: Span,
        sides: &[Side<'_>],
        most: u32,
    ) -> Result<(Vec<DelegationView>, bool), AdminError> {
        let mut found: BTreeMap<(String, String, String), DelegationView> = BTreeMap::new();
        let mut more = false;
        for day in days(span) {
            let mut today: BTreeMap<(String, String, String), DelegationView> = BTreeMap::new();
            for side in sides {
                // One more than is wanted tells whether there are more.
                let mut edges = self.store.delegations_of(day, side, most.saturating_add(1)).await?;
                more |= edges.len() > most as usize;
                edges.truncate(most as usize);
                // One that acts for itself is found on both sides.
                today.extend(edges.into_iter().map(DelegationView::from).map(|edge| (edge.key(), edge)));
            }
            for (key, edge) in today {
                match found.entry(key) {
                    Entry::Vacant(place) => drop(place.insert(edge)),
                    Entry::Occupied(mut before) => before.get_mut().add(&edge),
                }
            }
        }
        let mut edges: Vec<_> = found.into_values().collect();
        edges.sort_by_key(|edge| std::cmp::Reverse(edge.exchanges));
        more |= edges.len() > most as usize;
        edges.truncate(most as usize);
        let catalog = self.catalog().await?;
        for edge in &mut edges {
            edge.resource_server = catalog.by_identifier(&edge.audience).map(|server| server.name.clone());
        }
        Ok((edges, more))
    }

    /// The clients with the most requests, one by one, and the rest together.
    async fn busiest(&self, series: &mut Series, span: Span, step: StatisticsStep) -> Result<(), AdminError> {
        let newest = span.to.minus(DAY * CLIENT_DAYS).max(span.from);
        let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
        for day in days(Span { from: newest, to: span.to }) {
            for (client_id, number) in self.store.busiest_clients_of(day, SORTS).await? {
                *numbers.entry(client_id).or_default() += number;
            }
        }
        let mut busiest: Vec<_> = numbers.into_iter().collect();
        busiest.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
        for (client_id, _) in busiest.into_iter().take(CLIENTS) {
            for counted in self.counted_of(&client_id, span, step).await? {
                series.add(&client_id, &counted);
            }
        }
        series.rest(&self.store.token_totals(span, micros(step)).await?);
        Ok(())
    }
}

/// The steps that are asked for: whole ones, and not more than are kept.
fn window(query: &TokenQuery, now: Timestamp) -> Result<(Span, StatisticsStep), AdminError> {
    let step = query.step.unwrap_or(StatisticsStep::Hour);
    let (length, usual, most) = match step {
        StatisticsStep::Hour => (HOUR, DAY, DAY * HOURS_KEPT),
        StatisticsStep::Day => (DAY, DAY * 30, DAY * DAYS_KEPT),
    };
    let start = |at: Timestamp| match step {
        StatisticsStep::Hour => at.start_of_hour(),
        StatisticsStep::Day => at.start_of_day(),
    };
    let until = query.to.unwrap_or(now);
    // A step that ends at this very time is the last one.
    let to = if start(until) == until && query.to.is_some() { until } else { start(until).plus(length) };
    let from = query.from.map_or_else(|| start(to.minus(usual)), start);
    if from >= to {
        return Err(AdminError::invalid("from", "it is not before the end", "name a time before 'to'"));
    }
    if from.plus(most) < to {
        let (most, other) = match step {
            StatisticsStep::Hour => (HOURS_KEPT, ", or step=day"),
            StatisticsStep::Day => (DAYS_KEPT, ""),
        };
        let fix = format!("ask for {most} days at most{other}");
        return Err(AdminError::invalid("from", format!("that is too long for step={step}"), fix));
    }
    Ok((Span { from, to }, step))
}

/// The days that a span is in, by their beginnings.
fn days(span: Span) -> impl Iterator<Item = Timestamp> {
    let first = span.from.start_of_day();
    std::iter::successors(Some(first), |day| Some(day.plus(DAY))).take_while(move |day| *day < span.to)
}

const fn length(step: StatisticsStep) -> Duration {
    match step {
        StatisticsStep::Hour => HOUR,
        StatisticsStep::Day => DAY,
    }
}

fn micros(step: StatisticsStep) -> i64 {
    i64::try_from(length(step).as_micros()).unwrap_or(i64::MAX)
}

/// Series that grow.
struct Series {
    times: Vec<Timestamp>,
    places: HashMap<i64, usize>,
    named: BTreeMap<String, TokenSeries>,
    rest: Option<TokenSeries>,
}

// === impl Series ===

impl Series {
    fn new(span: Span, step: StatisticsStep) -> Self {
        let times: Vec<_> = std::iter::successors(Some(span.from), |at| Some(at.plus(length(step))))
            .take_while(|at| *at < span.to)
            .collect();
        let places = times.iter().enumerate().map(|(place, at)| (at.as_micros(), place)).collect();
        Self { times, places, named: BTreeMap::new(), rest: None }
    }

    fn empty(&self, name: Option<String>) -> TokenSeries {
        let zeros = vec![0; self.times.len()];
        TokenSeries { name, rest: false, tokens: zeros.clone(), refusals: zeros }
    }

    fn add(&mut self, name: &str, counted: &Counted) {
        let Some(place) = self.places.get(&counted.at).copied() else { return };
        if !self.named.contains_key(name) {
            let series = self.empty((!name.is_empty()).then(|| name.to_owned()));
            self.named.insert(name.to_owned(), series);
        }
        if let Some(series) = self.named.get_mut(name) {
            *series.number(counted, place) += counted.tokens.unsigned_abs();
        }
    }

    /// What is in these totals and in none of the series.
    fn rest(&mut self, totals: &[Counted]) {
        let mut rest = TokenSeries { rest: true, ..self.empty(None) };
        for counted in totals {
            if let Some(place) = self.places.get(&counted.at) {
                *rest.number(counted, *place) += counted.tokens.unsigned_abs();
            }
        }
        for series in self.named.values() {
            // A replica may have counted between the two questions.
            let less = |from: &mut u64, by: &u64| *from = from.saturating_sub(*by);
            rest.tokens.iter_mut().zip(&series.tokens).for_each(|(from, by)| less(from, by));
            rest.refusals.iter_mut().zip(&series.refusals).for_each(|(from, by)| less(from, by));
        }
        self.rest = (rest.sum() > 0).then_some(rest);
    }

    fn sorted(self) -> Vec<TokenSeries> {
        let mut series: Vec<_> = self.named.into_values().collect();
        // By name where they are as many: the order of the map stays.
        series.sort_by_key(|series| std::cmp::Reverse(series.sum()));
        series.extend(self.rest);
        series
    }
}

// === impl TokenSeries ===

impl TokenSeries {
    fn sum(&self) -> u64 {
        self.tokens.iter().chain(&self.refusals).sum()
    }

    fn number(&mut self, counted: &Counted, place: usize) -> &mut u64 {
        if counted.outcome == ISSUED { &mut self.tokens[place] } else { &mut self.refusals[place] }
    }
}

// === impl DelegationView ===

impl DelegationView {
    fn key(&self) -> (String, String, String) {
        (self.subject.clone(), self.actor.clone(), self.audience.clone())
    }

    fn add(&mut self, other: &Self) {
        self.exchanges += other.exchanges;
        self.last_at = self.last_at.max(other.last_at);
    }
}

impl From<Delegation> for DelegationView {
    fn from(edge: Delegation) -> Self {
        Self {
            subject: edge.subject,
            actor: edge.actor,
            audience: edge.audience,
            resource_server: None,
            exchanges: edge.exchanges.unsigned_abs(),
            last_at: Timestamp::from_micros(edge.last_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn query(from: Option<&str>, to: Option<&str>, step: StatisticsStep) -> TokenQuery {
        TokenQuery { from: from.map(at), to: to.map(at), step: Some(step), ..TokenQuery::default() }
    }

    #[test]
    fn a_window_is_of_whole_steps() {
        use StatisticsStep::{Day, Hour};
        let now = at("2026-11-27T12:34:56Z");
        for (query, from, to) in [
            (query(None, None, Hour), "2026-11-26T13:00:00Z", "2026-11-27T13:00:00Z"),
            (query(None, None, Day), "2026-10-29T00:00:00Z", "2026-11-28T00:00:00Z"),
            (query(Some("2026-11-27T01:59:00Z"), None, Hour), "2026-11-27T01:00:00Z", "2026-11-27T13:00:00Z"),
            (
                query(Some("2026-11-01T00:00:00Z"), Some("2026-11-02T00:00:00Z"), Day),
                "2026-11-01T00:00:00Z",
                "2026-11-02T00:00:00Z",
            ),
        ] {
            let (span, _) = window(&query, now).unwrap();
            assert_eq!((span.from, span.to), (at(from), at(to)), "{query:?}");
        }
        for (query, fix) in [
            (query(Some("2026-11-01T00:00:00Z"), None, Hour), "14 days at most, or step=day"),
            (query(Some("2025-01-01T00:00:00Z"), None, Day), "400 days at most"),
            (query(Some("2026-11-28T00:00:00Z"), None, Hour), "before 'to'"),
        ] {
            let error = window(&query, now).unwrap_err().to_string();
            assert!(error.contains(fix), "{error}");
        }
    }

    #[test]
    fn the_rest_is_what_no_series_has() {
        let hour = |hour: i64| Timestamp::from_seconds(hour * 3_600);
        let mut series = Series::new(Span { from: hour(1), to: hour(3) }, StatisticsStep::Hour);
        let counted = |at, outcome: &str, tokens| Counted {
            at: hour(at).as_micros(),
            grant_type: String::new(),
            outcome: outcome.to_owned(),
            tokens,
        };
        series.add("a", &counted(1, ISSUED, 3));
        series.add("", &counted(2, "invalid_client", 9));
        series.add("a", &counted(7, ISSUED, 3));
        series.rest(&[counted(1, ISSUED, 5), counted(2, "invalid_client", 9)]);
        let all: Vec<_> =
            series.sorted().into_iter().map(|s| (s.name, s.rest, s.tokens, s.refusals)).collect();
        let a = || Some("a".to_owned());
        assert_eq!(
            all,
            [
                (None, false, vec![0, 0], vec![0, 9]),
                (a(), false, vec![3, 0], vec![0, 0]),
                (None, true, vec![2, 0], vec![0, 0]),
            ]
        );
    }
}
