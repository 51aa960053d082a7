//! Metrics as `OpenMetrics` text.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::described::{Kind, Metric};
use crate::runtime::meters::Distribution;

/// A metric with what it says now.
#[derive(Debug)]
pub(super) struct Family {
    of: &'static Metric,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// In the order of the metric's labels.
    labels: Vec<&'static str>,
    value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Whole(u64),
    Number(f64),
    Distribution(Distribution),
}

/// Everything that is told.
#[derive(Debug)]
pub(super) struct Exposition(pub(super) Vec<Family>);

// === impl Value ===

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Self {
        Self::Distribution(distribution)
    }
}

// === impl Family ===

impl Family {
    /// Of a metric that has no labels.
    pub(super) fn single(of: &'static Metric, value: impl Into<Value>) -> Self {
        Self::new(of, [([], value)])
    }

    /// With a value for each of these labels.
    pub(super) fn new<const N: usize, V: Into<Value>>(
        of: &'static Metric,
        samples: impl IntoIterator<Item = ([&'static str; N], V)>,
    ) -> Self {
        debug_assert_eq!(of.labels.len(), N, "{}", of.name);
        let samples = samples
            .into_iter()
            .map(|(labels, value)| Sample { labels: labels.to_vec(), value: value.into() })
            .collect();
        Self { of, samples }
    }
}

// === impl Sample ===

impl Sample {
    fn encode(&self, of: &Metric, encoder: &mut MetricEncoder<'_>) -> std::fmt::Result {
        let labels: Vec<(&str, &str)> = of.labels.iter().copied().zip(self.labels.iter().copied()).collect();
        if of.kind == Kind::Info {
            return encoder.encode_info(&labels);
        }
        if labels.is_empty() {
            return self.encode_value(of.kind, encoder);
        }
        self.encode_value(of.kind, &mut encoder.encode_family(&labels)?)
    }

    fn encode_value(&self, kind: Kind, encoder: &mut MetricEncoder<'_>) -> std::fmt::Result {
        let none = None::<&Exemplar<NoLabelSet, f64>>;
        match (&self.value, kind) {
            (Value::Whole(number), Kind::Counter) => encoder.encode_counter(number, none),
            (Value::Number(number), Kind::Counter) => encoder.encode_counter(number, none),
            (Value::Whole(number), _) => encoder.encode_gauge(number),
            (Value::Number(number), _) => encoder.encode_gauge(number),
            (Value::Distribution(distribution), kind) => {
                let scale = if kind == Kind::Durations { 1e6 } else { 1.0 };
                let bounds = distribution.buckets.iter();
                let buckets = bounds.map(|(bound, count)| (scaled(*bound, scale), *count));
                let buckets: Vec<_> = buckets.chain([(f64::INFINITY, distribution.beyond)]).collect();
                let sum = scaled(distribution.sum, scale);
                encoder.encode_histogram::<NoLabelSet>(sum, distribution.count(), &buckets, None)
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sums of microseconds stay exact for 285 years")]
fn scaled(number: u64, scale: f64) -> f64 {
    number as f64 / scale
}

// === impl Exposition ===

impl Exposition {
    /// The text, with its end.
    pub(super) fn encode(self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut body = String::with_capacity(64 * 1_024);
        text::encode(&mut body, &registry)?;
        Ok(body)
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for Family { of, samples } in &self.0 {
            let unit = of.unit.map(|unit| Unit::Other(unit.to_owned()));
            let kind = match of.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram | Kind::Durations => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let help = format!("{}.", of.help);
            let mut metric = encoder.encode_descriptor(of.bare_name(), &help, unit.as_ref(), kind)?;
            for sample in samples {
                sample.encode(of, &mut metric)?;
            }
        }
        Ok(())
    }
}
