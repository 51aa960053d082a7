//! docs/metrics.md.

use std::fmt::Write as _;

use super::described::{Kind, Metric, SECTIONS};

const BEGINNING: &str = "# Metrics

<!-- `jeton metrics` prints this file; a test compares. Change src/http/metrics/described.rs instead. -->

What [`/metrics`](observability.md#metrics) tells. A label has a value of a fixed list, never one that a caller sent. \
A counter's samples are called as here with `_total`, an info's with `_info`, a histogram's with `_bucket`, `_count` \
and `_sum`. Each process counts for itself, from its start on.
";

/// What there is to read, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = BEGINNING.to_owned();
    for section in SECTIONS {
        let _ = write!(text, "\n## {}\n\n| name | type | labels | |\n|---|---|---|---|\n", section.title);
        for metric in section.metrics {
            text.push_str(&row(metric));
        }
    }
    text
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram | Kind::Durations => "histogram",
        Kind::Info => "info",
    };
    let unit = metric.unit.map(|unit| format!(", {unit}")).unwrap_or_default();
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind}{unit} | {} | {}. |\n", metric.name, labels.join(", "), metric.help)
}
