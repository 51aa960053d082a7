//! Log lines as JSON, one object a line. Whatever a request leads to names the request and its trace.

use std::io::Write;

use serde::Serialize;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::requests::Named;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;

/// Writes them.
pub(super) struct JsonLines<W> {
    pub(super) ambient: Ambient,
    pub(super) writer: W,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Timestamp,
    level: &'static str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    fields: &'a Fields,
}

// === impl JsonLines ===

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let named = Named::of_event(event, &context);
        // What is told after the answer, while its body is sent, says itself which request it is about.
        let said = fields.text("request_id");
        let line = Line {
            timestamp: self.ambient.now(),
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            request_id: named.as_ref().map(|named| named.request.as_ref()).or(said),
            trace_id: named.as_ref().and_then(|named| named.trace).map(|id| id.to_string()),
            span_id: named.as_ref().and_then(|named| named.span).map(|id| id.to_string()),
            fields: &fields,
        };
        // Whoever cannot write to the log has nobody to tell.
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        let _ = self.writer.make_writer_for(event.metadata()).write_all(&text);
    }
}
