//! Spans and log lines as OTLP has them (<https://opentelemetry.io/docs/specs/otlp/>): what is sent in one request, in
//! protobuf. The numbers are those of opentelemetry-proto 1.x, which are never given another meaning.

use std::borrow::Cow;

use tracing::Level;

use super::fields::Value;
use super::protobuf::Message;
use crate::domain::time::Timestamp;
use crate::domain::trace_context::{SpanId, TraceId};

/// Who made what is sent.
const SCOPE: &str = "jeton";

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A step of ours.
    Internal = 1,
    /// A request to this server.
    Server = 2,
    /// A request of this server.
    Client = 3,
}

/// A finished span.
#[derive(Debug)]
pub(super) struct SpanRecord {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<Parent>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) begun: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Whether it failed by our own fault.
    pub(super) failed: bool,
}

/// The span above.
#[derive(Debug)]
pub(super) enum Parent {
    Ours(SpanId),
    /// The caller's, with the `tracestate` that came along.
    Callers(SpanId, String),
}

/// A log line.
#[derive(Debug)]
pub(super) struct LineRecord {
    pub(super) at: Timestamp,
    pub(super) level: Level,
    pub(super) body: Option<Value>,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) span_id: Option<SpanId>,
}

/// What is sent to a path of its own.
pub(super) trait Signal: Sized + Send + 'static {
    /// What follows the collector's URL.
    const PATH: &str;
    /// What is wrong when it does not arrive.
    const AWAY: &str;
    /// How many bytes of memory it takes, about.
    fn size(&self) -> usize;
    /// The field of `ScopeSpans` or `ScopeLogs` that holds them is 2 for both.
    fn write(&self, message: &mut Message);
}

/// Who sends, the same in every request.
#[derive(Clone, Debug)]
pub(super) struct Resource(pub(super) Vec<(&'static str, Value)>);

/// One request (`ExportTraceServiceRequest`, `ExportLogsServiceRequest`: the numbers are the same).
pub(super) fn request<'r, T: Signal>(resource: &Resource, records: impl Iterator<Item = &'r T>) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |message| attributes(message, 1, &resource.0));
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, SCOPE);
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            for record in records {
                of_scope.message(2, |message| record.write(message));
            }
        });
    });
    request.into_bytes()
}

fn attributes(message: &mut Message, field: u8, attributes: &[(&'static str, Value)]) {
    for (name, value) in attributes {
        message.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |message| any(message, value));
        });
    }
}

/// An `AnyValue`.
fn any(message: &mut Message, value: &Value) {
    match value {
        Value::Text(text) => message.text(1, text),
        Value::Truth(truth) => message.number(2, u64::from(*truth)),
        Value::Whole(number) => message.number(3, number.cast_unsigned()),
        Value::Number(number) => message.fixed64(4, number.to_bits()),
    }
}

/// How many bytes of memory attributes take, about.
fn size(attributes: &Vec<(&'static str, Value)>) -> usize {
    let texts = attributes.iter().map(|(_, value)| value.length());
    attributes.capacity() * size_of::<(&str, Value)>() + texts.sum::<usize>()
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or_default().saturating_mul(1_000)
}

/// The flag of W3C Trace Context: what is sent is recorded.
const SAMPLED: u32 = 1;

/// That the next bit says something, and that the parent is elsewhere (`SpanFlags`).
const IS_REMOTE_KNOWN: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

// === impl SpanRecord ===

impl Signal for SpanRecord {
    const PATH: &str = "/v1/traces";
    const AWAY: &str = "spans do not reach the collector";

    fn size(&self) -> usize {
        let state = match &self.parent {
            Some(Parent::Callers(_, state)) => state.len(),
            _ => 0,
        };
        size_of::<Self>() + self.name.len() + state + size(&self.attributes)
    }

    fn write(&self, message: &mut Message) {
        message.bytes(1, self.trace_id.as_bytes());
        message.bytes(2, self.span_id.as_bytes());
        let mut flags = SAMPLED | IS_REMOTE_KNOWN;
        match &self.parent {
            Some(Parent::Callers(parent, state)) => {
                message.text(3, state);
                message.bytes(4, parent.as_bytes());
                flags |= IS_REMOTE;
            }
            Some(Parent::Ours(parent)) => message.bytes(4, parent.as_bytes()),
            None => {}
        }
        message.text(5, &self.name);
        message.number(6, self.kind as u64);
        message.fixed64(7, nanos(self.begun));
        message.fixed64(8, nanos(self.ended));
        attributes(message, 9, &self.attributes);
        if self.failed {
            message.message(15, |status| status.number(3, 2));
        }
        message.fixed32(16, flags);
    }
}

// === impl LineRecord ===

impl Signal for LineRecord {
    const PATH: &str = "/v1/logs";
    const AWAY: &str = "log lines do not reach the collector";

    fn size(&self) -> usize {
        size_of::<Self>() + self.body.as_ref().map_or(0, Value::length) + size(&self.attributes)
    }

    fn write(&self, message: &mut Message) {
        let severity = match self.level {
            Level::ERROR => 17,
            Level::WARN => 13,
            Level::INFO => 9,
            Level::DEBUG => 5,
            Level::TRACE => 1,
        };
        message.fixed64(1, nanos(self.at));
        message.number(2, severity);
        message.text(3, self.level.as_str());
        if let Some(body) = &self.body {
            message.message(5, |message| any(message, body));
        }
        attributes(message, 6, &self.attributes);
        if self.span_id.is_some() {
            message.fixed32(8, SAMPLED);
        }
        if let Some(trace_id) = &self.trace_id {
            message.bytes(9, trace_id.as_bytes());
        }
        if let Some(span_id) = &self.span_id {
            message.bytes(10, span_id.as_bytes());
        }
        message.fixed64(11, nanos(self.at));
    }
}
