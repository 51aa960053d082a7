//! What a request is called in the log, and its trace.
//!
//! A request has one span of `tracing`, which exists where somebody listens: log lines as JSON, a log at the level of
//! debugging, or a collector. Elsewhere nothing is made for it. Whether it is also recorded for the collector is decided
//! before, by its caller or by a share; of one that is not, nothing is written down.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::field::Empty;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Span, Subscriber};
use tracing_subscriber::filter::{DynFilterFn, LevelFilter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::{Layer, Registry};

use super::Teller;
use super::export::{Exported, Figures, Queue};
use super::fields::{Fields, Value};
use super::otlp::{Kind, Parent, SpanRecord};
use crate::config::Share;
use crate::domain::time::Timestamp;
use crate::domain::trace_context::{SpanId, TraceId, TraceParent};
use crate::runtime::clock::Ambient;
use crate::runtime::spans::{AUTH_METHOD, CLIENT_ID, FETCH_KEYS, GRANT_TYPE, PHASE, RECORDED, REQUEST};

/// The longest `tracestate` that goes on (W3C Trace Context §3.3.1.5 asks for as much).
const LONGEST_STATE: usize = 512;

/// What begins the traces of requests.
#[derive(Clone, Default)]
pub struct Tracing(Option<Arc<Recorder>>);

/// Records for the collector.
pub(super) struct Recorder {
    pub(super) spans: Queue<SpanRecord>,
    pub(super) lines: Arc<Figures>,
    pub(super) sampled: Share,
    pub(super) ambient: Ambient,
}

/// What is known of a request when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The method, or `_OTHER` for one that nobody knows.
    pub method: &'static str,
    /// What it asks for, as it is counted.
    pub endpoint: &'static str,
    /// The paths that are counted so.
    pub route: &'static str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The `x-request-id` of the answer.
    pub request_id: &'a str,
    /// Its caller's trace.
    pub parent: Option<TraceParent>,
    /// The `tracestate` that came along.
    pub state: Option<&'a str>,
}

/// A request from its beginning to its end. Dropped before [`RequestTrace::end`], whoever asked has gone away.
pub struct RequestTrace {
    span: Span,
    trace_id: Option<TraceId>,
    recorded: Option<(Arc<Recorder>, SpanRecord)>,
}

/// What a request is called.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The `x-request-id` of its answer.
    pub(super) request: Arc<str>,
    pub(super) trace: Option<TraceId>,
    /// Its span, if it is recorded.
    pub(super) span: Option<SpanId>,
}

/// What a request's span carries.
struct Request {
    named: Named,
    /// What is told of it on its way.
    told: Fields,
    /// How many spans are below.
    phases: u64,
}

/// What the span of a phase carries.
struct Phase {
    trace_id: TraceId,
    span_id: SpanId,
    above: SpanId,
    begun: Timestamp,
}

/// Hears what is told of recorded requests, and records their phases.
struct Hearing(Arc<Recorder>);

// === impl Tracing ===

impl Tracing {
    pub(super) fn by(recorder: Arc<Recorder>) -> Self {
        Self(Some(recorder))
    }

    /// Nothing is recorded.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// A request has come in.
    #[must_use]
    pub fn begin(&self, incoming: &Incoming<'_>) -> RequestTrace {
        let recorded = self.0.as_ref().and_then(|recorder| {
            let record = recorder.begin(incoming)?;
            Some((Arc::clone(recorder), record))
        });
        macro_rules! span {
            ($target:expr) => {
                tracing::debug_span!(
                    target: $target,
                    "request",
                    id = incoming.request_id,
                    { GRANT_TYPE } = Empty,
                    { AUTH_METHOD } = Empty,
                    { CLIENT_ID } = Empty,
                )
            };
        }
        // What is not recorded is made for log lines alone, where they ask for it.
        let span = if recorded.is_some() { span!(RECORDED) } else { span!(REQUEST) };
        let of_caller = incoming.parent.map(|parent| parent.trace_id);
        let trace_id = recorded.as_ref().map(|(_, record)| record.trace_id).or(of_caller);
        span.with_subscriber(|(id, dispatch)| {
            let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id))
            else {
                return;
            };
            let named = Named {
                request: incoming.request_id.into(),
                trace: trace_id,
                span: recorded.as_ref().map(|(_, record)| record.span_id),
            };
            span.extensions_mut().insert(Request { named, told: Fields::default(), phases: 0 });
        });
        RequestTrace { span, trace_id, recorded }
    }

    /// What has become of what was recorded: of spans, and of log lines.
    #[must_use]
    pub fn exported(&self) -> [Exported; 2] {
        let read = |signal, figures: Option<&Figures>| Exported::read(signal, figures);
        let recorder = self.0.as_ref();
        [
            read("traces", recorder.map(|recorder| recorder.spans.figures().as_ref())),
            read("logs", recorder.map(|recorder| recorder.lines.as_ref())),
        ]
    }
}

// === impl Recorder ===

impl Recorder {
    /// What makes spans of what is done for recorded requests, and of nothing else.
    pub(super) fn hearing(self: &Arc<Self>) -> Teller {
        let filter = DynFilterFn::new(|metadata, context: &Context<'_, Registry>| match metadata.target() {
            RECORDED => true,
            PHASE => context.lookup_current().is_some_and(|span| recorded_above(&span).is_some()),
            _ => false,
        });
        let filter = filter
            .with_callsite_filter(|metadata: &'static Metadata<'static>| match metadata.target() {
                RECORDED => Interest::always(),
                PHASE => Interest::sometimes(),
                _ => Interest::never(),
            })
            .with_max_level_hint(LevelFilter::TRACE);
        Hearing(Arc::clone(self)).with_filter(filter).boxed()
    }

    /// The span of a request, if it is to be recorded.
    fn begin(&self, incoming: &Incoming<'_>) -> Option<SpanRecord> {
        let parent = incoming.parent.as_ref();
        if parent.is_some_and(|parent| !parent.sampled) {
            return None;
        }
        // Without randomness there is no trace, and the request goes on.
        let drawn: [u8; 24] = self.ambient.bytes().ok()?;
        let (trace, span) = drawn.split_first_chunk::<16>()?;
        let (trace, span_id) = (TraceId::new(*trace), SpanId::new(span.try_into().ok()?));
        let (trace_id, parent) = match parent {
            Some(parent) => {
                let state = incoming.state.filter(|state| state.len() <= LONGEST_STATE).unwrap_or_default();
                (parent.trace_id, Some(Parent::Callers(parent.span_id, state.to_owned())))
            }
            None if self.sampled.has(trace.randomness()) => (trace, None),
            None => return None,
        };
        let now = self.ambient.now();
        let text = |text: &'static str| Value::Text(text.into());
        let mut attributes = Vec::with_capacity(16);
        attributes.extend([
            ("http.request.method", text(incoming.method)),
            ("http.route", text(incoming.route)),
            ("url.scheme", text(incoming.scheme)),
            ("jeton.endpoint", text(incoming.endpoint)),
            ("jeton.request_id", Value::Text(incoming.request_id.to_owned().into())),
        ]);
        Some(SpanRecord {
            trace_id,
            span_id,
            parent,
            name: format!("{} {}", incoming.method, incoming.route).into(),
            kind: Kind::Server,
            begun: now,
            ended: now,
            attributes,
            failed: false,
        })
    }
}

/// The recorded request that a span belongs to, and the span right above.
fn recorded_above<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Option<(Named, SpanId)> {
    let mut above = None;
    for span in span.scope() {
        let extensions = span.extensions();
        if let Some(phase) = extensions.get::<Phase>() {
            above = above.or(Some(phase.span_id));
        }
        if let Some(request) = extensions.get::<Request>() {
            let own = request.named.span?;
            return Some((request.named.clone(), above.unwrap_or(own)));
        }
    }
    None
}

// === impl RequestTrace ===

impl RequestTrace {
    /// What its log lines are told in.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// The trace that it belongs to: its caller's, or one that begins here.
    #[must_use]
    pub const fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// It came from here.
    pub fn came_from(&mut self, address: Option<IpAddr>) {
        if let (Some((_, record)), Some(address)) = (&mut self.recorded, address) {
            record.attributes.push(("client.address", Value::Text(address.to_string().into())));
        }
    }

    /// It is answered by this status. What is our own fault is an error, what is the caller's is not.
    pub fn end(mut self, status: u16, outcome: &'static str) {
        if let Some((_, record)) = &mut self.recorded {
            record.attributes.push(("http.response.status_code", Value::Whole(i64::from(status))));
            if status >= 500 {
                record.failed = true;
                record.attributes.push(("error.type", Value::Text(status.to_string().into())));
            }
        }
        self.send(outcome);
    }

    fn send(&mut self, outcome: &'static str) {
        let Some((recorder, mut record)) = self.recorded.take() else { return };
        let told = self.span.with_subscriber(|(id, dispatch)| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            let mut extensions = span.extensions_mut();
            Some(std::mem::take(&mut extensions.get_mut::<Request>()?.told))
        });
        record.attributes.extend(told.flatten().unwrap_or_default().into_pairs());
        record.attributes.push(("jeton.outcome", Value::Text(outcome.into())));
        record.ended = recorder.ambient.now();
        recorder.spans.push(record);
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        self.send("gone");
    }
}

// === impl Named ===

impl Named {
    /// The request that an event belongs to.
    pub(super) fn of_event<S>(event: &Event<'_>, context: &Context<'_, S>) -> Option<Self>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        context
            .event_scope(event)?
            .find_map(|span| span.extensions().get::<Request>().map(|request| request.named.clone()))
    }
}

// === impl Hearing ===

impl<S> Layer<S> for Hearing
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != PHASE {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let Some((named, above)) = span.parent().and_then(|span| recorded_above(&span)) else { return };
        let (Some(trace_id), Some(request)) = (named.trace, named.span) else { return };
        let number = span.scope().find_map(|span| {
            let mut extensions = span.extensions_mut();
            let request = extensions.get_mut::<Request>()?;
            request.phases += 1;
            Some(request.phases)
        });
        let Some(number) = number else { return };
        let begun = self.0.ambient.now();
        let phase = Phase { trace_id, span_id: request.beside(number), above, begun };
        span.extensions_mut().insert(phase);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(request) = extensions.get_mut::<Request>()
            && request.named.span.is_some()
        {
            values.record(&mut request.told);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(phase) = span.extensions_mut().remove::<Phase>() else { return };
        let name = span.name();
        self.0.spans.push(SpanRecord {
            trace_id: phase.trace_id,
            span_id: phase.span_id,
            parent: Some(Parent::Ours(phase.above)),
            name: name.into(),
            kind: if name == FETCH_KEYS { Kind::Client } else { Kind::Internal },
            begun: phase.begun,
            ended: self.0.ambient.now(),
            attributes: Vec::new(),
            failed: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::runtime::issuers::Outbound;
    use crate::telemetry::export::{Collector, queue};
    use crate::telemetry::otlp::Resource;

    const CALLERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    /// What is recorded of one request with this header, of which somebody asks for keys and then goes away.
    fn recorded(traceparent: &str) -> Vec<SpanRecord> {
        let endpoint = "http://127.0.0.1:1".to_owned();
        let outbound = Outbound::new(&endpoint).unwrap();
        let collector = Collector { outbound, endpoint, headers: HeaderMap::new() };
        let (spans, mut sending) = queue(collector, Resource(Vec::new()));
        let (lines, ambient) = (Arc::default(), Ambient::system());
        let recorder = Arc::new(Recorder { spans, lines, sampled: Share::ALL, ambient });
        with_default(tracing_subscriber::registry().with(vec![recorder.hearing()]), || {
            let trace = Tracing::by(recorder).begin(&Incoming {
                method: "POST",
                endpoint: "token",
                route: "/oauth2/token",
                scheme: "https",
                request_id: "the-request",
                parent: TraceParent::parse(traceparent),
                state: None,
            });
            let unsampled = traceparent.ends_with("-00");
            assert_eq!(trace.span().is_disabled(), unsampled, "no span is made that nobody hears");
            trace.span().in_scope(|| {
                tracing::trace_span!(target: PHASE, "authenticate").in_scope(|| {
                    tracing::trace_span!(target: PHASE, FETCH_KEYS).in_scope(|| ());
                });
                Span::current().record(CLIENT_ID, "billing");
            });
            drop(trace);
            // Outside of a request there are no phases.
            tracing::trace_span!(target: PHASE, FETCH_KEYS).in_scope(|| ());
        });
        let mut records = Vec::new();
        sending.take_along(&mut records);
        records.into_iter().map(|waiting| waiting.record).collect()
    }

    #[test]
    fn whoever_goes_away_leaves_a_trace_with_its_phases() {
        let records = recorded(&format!("{CALLERS}-01"));
        let [keys, authenticate, request] = &records[..] else { panic!("{records:?}") };
        let below = |span: &SpanRecord, above: &SpanRecord| {
            matches!(span.parent, Some(Parent::Ours(parent)) if parent == above.span_id)
                && span.trace_id == above.trace_id
                && span.span_id != above.span_id
        };
        assert!(below(keys, authenticate) && below(authenticate, request), "{records:?}");
        assert_eq!(
            (keys.kind, authenticate.kind, request.kind),
            (Kind::Client, Kind::Internal, Kind::Server)
        );
        let callers = TraceParent::parse(&format!("{CALLERS}-01")).unwrap();
        assert_eq!(request.trace_id, callers.trace_id);
        assert!(matches!(&request.parent, Some(Parent::Callers(parent, _)) if *parent == callers.span_id));
        let told = |wanted: &str, value: &'static str| {
            request.attributes.contains(&("jeton.outcome", Value::Text("gone".into())))
                && request
                    .attributes
                    .iter()
                    .any(|(name, told)| *name == wanted && *told == Value::Text(value.into()))
        };
        assert!(told(CLIENT_ID, "billing"), "{request:?}");
    }

    #[test]
    fn what_the_caller_does_not_record_is_not_recorded_and_has_no_phases() {
        assert!(recorded(&format!("{CALLERS}-00")).is_empty());
        assert_eq!(recorded("not-a-traceparent").len(), 3);
    }
}
