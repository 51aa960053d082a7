//! Log lines for a collector.

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::export::Queue;
use super::fields::{Fields, Value};
use super::otlp::LineRecord;
use super::requests::Named;
use crate::runtime::clock::Ambient;

/// Whose lines are about sending lines, so that each would make more of them.
const OF_SENDING: [&str; 5] = ["h2", "hyper", "hyper_util", "reqwest", "rustls"];

/// The target of lines that stay on this machine: they hold something that is not to be kept elsewhere.
pub const STAYS_HERE: &str = "jeton::stays_here";

/// Hands them to the queue.
pub(super) struct LineRecords {
    pub(super) queue: Queue<LineRecord>,
    pub(super) ambient: Ambient,
}

/// Whether a line with this target is sent.
fn leaves(target: &str) -> bool {
    target != STAYS_HERE && target.split("::").next().is_none_or(|maker| !OF_SENDING.contains(&maker))
}

// === impl LineRecords ===

impl<S> Layer<S> for LineRecords
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if !leaves(metadata.target()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let body = fields.take_message();
        let named = Named::of_event(event, &context);
        let says_request = fields.text("request_id").is_some();
        let mut attributes = fields.into_pairs();
        attributes.push(("code.namespace", Value::Text(metadata.target().to_owned().into())));
        if let Some(named) = named.as_ref().filter(|_| !says_request) {
            attributes.push(("request_id", Value::Text(named.request.to_string().into())));
        }
        self.queue.push(LineRecord {
            at: self.ambient.now(),
            level: *metadata.level(),
            body,
            attributes,
            trace_id: named.as_ref().and_then(|named| named.trace),
            span_id: named.as_ref().and_then(|named| named.span),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_sending_and_what_is_to_stay_is_not_sent() {
        assert!(leaves("jeton::http::middleware") && leaves("sqlx::query") && leaves("hypersonic"));
        for stays in ["hyper", "hyper_util::client::pool", "rustls::client", STAYS_HERE] {
            assert!(!leaves(stays), "{stays}");
        }
    }
}
