//! `jeton statistics …`

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{Offline, output};
use crate::admin::statistics::{
    DelegationQuery, StatisticsBy, StatisticsStep, TokenQuery, TokenSeries, TokenStatistics,
};
use crate::domain::time::Timestamp;
use crate::runtime::statistics::Statistics;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Count tokens and refusals over time.
    Tokens(Tokens),
    /// Show who has acted for whom towards what, from real token exchanges.
    Delegations {
        /// From the day of this time on; 30 days before the end, when absent.
        #[arg(long, value_name = "TIME", value_parser = timestamp)]
        from: Option<Timestamp>,
        /// Until the day of this time; until now, when absent.
        #[arg(long, value_name = "TIME", value_parser = timestamp)]
        to: Option<Timestamp>,
        /// Only exchanges with this client on either side.
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<String>,
    },
    /// Count everything anew, from what the audit still has.
    Rebuild,
}

#[derive(Debug, Args)]
pub(super) struct Tokens {
    /// From the hour or day of this time on; a day before the end when absent, and 30 days with `--step day`.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    from: Option<Timestamp>,
    /// Until the hour or day of this time; until now, when absent.
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    to: Option<Timestamp>,
    /// What one line stands for: hour or day.
    #[arg(long, default_value = "hour")]
    step: StatisticsStep,
    /// What the counts are split by: client, grant or outcome.
    #[arg(long, default_value = "outcome")]
    by: StatisticsBy,
    /// Count this client alone.
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
}

pub(super) async fn run(command: Command, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let Offline { admin, by, .. } = offline;
    match command {
        Command::Tokens(Tokens { from, to, step, by: told_apart, client }) => {
            let query = TokenQuery { from, to, step: Some(step), by: Some(told_apart), client_id: client };
            let statistics = admin.token_statistics(by, query).await?;
            if json { output::one(&statistics, true) } else { output::print(&table(&statistics)) }
        }
        Command::Delegations { from, to, client } => {
            let found = admin.delegations(by, DelegationQuery { from, to, client_id: client }).await?;
            if json {
                return output::one(&found, true);
            }
            output::rows(&found.edges, &["subject", "actor", "audience", "exchanges", "last_at"], false)
        }
        Command::Rebuild => {
            admin.recount().await?;
            let clock = Arc::clone(admin.rotator.clock());
            Statistics::new(admin.store.clone(), clock).once().await?;
            if json {
                return output::one(&serde_json::json!({ "counted": true }), true);
            }
            output::print("Everything is counted anew.")
        }
    }
}

/// A line for each step, but those in which nothing happened.
fn table(statistics: &TokenStatistics) -> String {
    let mut lines = vec![format!("{:<22}  {:>10}  {:>10}  OF THESE", "FROM", "TOKENS", "REFUSALS")];
    for (place, at) in statistics.times.iter().enumerate() {
        let count =
            |numbers: &dyn Fn(&TokenSeries) -> u64| statistics.series.iter().map(numbers).sum::<u64>();
        let tokens = count(&|series| series.tokens[place]);
        let refusals = count(&|series| series.refusals[place]);
        if tokens + refusals == 0 {
            continue;
        }
        let parts = statistics.series.iter().filter_map(|series| {
            let number = series.tokens[place] + series.refusals[place];
            (number > 0).then(|| format!("{} {number}", name(series)))
        });
        let parts: Vec<String> = parts.collect();
        lines.push(format!("{:<22}  {tokens:>10}  {refusals:>10}  {}", at.to_string(), parts.join(", ")));
    }
    if lines.len() == 1 {
        lines.push(format!("nothing from {} to {}", statistics.from, statistics.to));
    }
    if let Some(until) = statistics.counted_until {
        lines.push(format!("counted until {until}"));
    }
    lines.join("\n")
}

fn name(series: &TokenSeries) -> &str {
    match &series.name {
        Some(name) => name,
        None if series.rest => "(others)",
        None => "(not registered)",
    }
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "write a time such as 2027-01-01T00:00:00Z".to_owned())
}
