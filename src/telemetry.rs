//! Logs, on standard error, so that standard output stays for what a command answers; and, where a collector is
//! configured, traces and the same lines by OpenTelemetry.

mod asked;
mod export;
mod fields;
mod json_lines;
mod line_records;
mod otlp;
mod protobuf;
mod requests;

pub use self::export::Exported;
pub use self::line_records::STAYS_HERE;
pub use self::requests::{Incoming, RequestTrace, Tracing};

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use self::asked::Asked;
use self::export::{Collector, Figures, queue};
use self::fields::Value;
use self::json_lines::JsonLines;
use self::line_records::LineRecords;
use self::otlp::Resource;
use self::requests::Recorder;
use crate::config::{Config, LogFormat, Otlp};
use crate::domain::error::Fault;
use crate::runtime::clock::Ambient;
use crate::runtime::issuers::Outbound;
use crate::runtime::spans::REQUEST;

/// Takes what is told somewhere.
type Teller = Box<dyn Layer<Registry> + Send + Sync>;

/// What decides which lines are told, and can be replaced.
type Filter = Asked<reload::Layer<EnvFilter, Registry>>;

/// What sets the level of the log while the program runs.
#[derive(Clone)]
pub struct LogLevel(Arc<[Box<Set>]>);

type Set = dyn Fn(&str) -> Result<(), reload::Error> + Send + Sync;

/// How long a stopping program waits for the last spans and lines, if it has so long.
const FLUSH: Duration = Duration::from_secs(2);

/// The log, and what is sent to a collector.
pub struct Telemetry {
    level: LogLevel,
    tracing: Tracing,
    sending: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// Starts logging. With a runtime, which has to live until [`Telemetry::flush`], what is configured is sent to a
/// collector as well.
///
/// # Errors
/// TLS to the collector needs certificates that are not there.
pub fn start(config: &Config, exports_on: Option<&Handle>) -> Result<Telemetry, Fault> {
    let (mut tellers, mut levels) = (Vec::new(), Vec::new());
    tellers.push(on_standard_error(config, &mut levels));
    let mut telemetry = Telemetry {
        level: LogLevel(Arc::new([])),
        tracing: Tracing::off(),
        sending: Vec::new(),
        stop: CancellationToken::new(),
    };
    if let Some((otlp, runtime)) = config.otlp.as_ref().zip(exports_on) {
        tellers.extend(telemetry.export(otlp, &config.log_level, runtime, &mut levels)?);
    }
    telemetry.level = LogLevel(levels.into());
    // A second start (tests in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(tellers).try_init();
    Ok(telemetry)
}

fn on_standard_error(config: &Config, levels: &mut Vec<Box<Set>>) -> Teller {
    match config.log_format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
            lines.with_filter(reloadable(&config.log_level, filter, levels)).boxed()
        }
        LogFormat::Json => {
            let lines = JsonLines { ambient: Ambient::system(), writer: std::io::stderr };
            lines.with_filter(reloadable(&config.log_level, naming, levels)).boxed()
        }
    }
}

fn reloadable(level: &str, filter: fn(&str) -> EnvFilter, levels: &mut Vec<Box<Set>>) -> Filter {
    let (layer, handle) = reload::Layer::new(filter(level));
    levels.push(Box::new(move |level| handle.reload(filter(level))));
    Asked(layer)
}

/// `level` was checked when the configuration was read; a wrong one falls back to `info`.
fn filter(level: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // PostgreSQL's "already exists, skipping" at every start is news to nobody.
    with(filter, "sqlx::postgres::notice=warn")
}

/// The same, where every line of a request names it, whatever the level.
fn naming(level: &str) -> EnvFilter {
    with(filter(level), &format!("{REQUEST}=debug"))
}

fn with(filter: EnvFilter, directive: &str) -> EnvFilter {
    match directive.parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// Another level from now on.
    ///
    /// # Errors
    /// Nothing is logged here any more.
    pub fn set(&self, level: &str) -> Result<(), impl fmt::Display + use<>> {
        self.0.iter().try_for_each(|set| set(level))
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// What sets the level of the log.
    #[must_use]
    pub const fn level(&self) -> &LogLevel {
        &self.level
    }

    /// What begins the traces of requests.
    #[must_use]
    pub const fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    /// Sends what is left, and ends: within two seconds, or in this time if it is shorter.
    pub async fn flush(self, at_most: Duration) {
        self.stop.cancel();
        let sent = async {
            for sending in self.sending {
                // One that panicked has nothing left to send.
                let _ = sending.await;
            }
        };
        if timeout(FLUSH.min(at_most), sent).await.is_err() {
            tracing::warn!("the last spans and log lines did not reach the collector in time");
        }
    }

    /// What sends to a collector. Whether it is there is not asked.
    fn export(
        &mut self,
        otlp: &Otlp,
        level: &str,
        runtime: &Handle,
        levels: &mut Vec<Box<Set>>,
    ) -> Result<Vec<Teller>, Fault> {
        let ambient = Ambient::system();
        let collector = Collector {
            outbound: Outbound::new(&otlp.endpoint)?,
            endpoint: otlp.endpoint.clone(),
            headers: headers(otlp)?,
        };
        let resource = Resource(vec![
            ("service.name", Value::Text(otlp.service_name.clone().into())),
            ("service.version", Value::Text(env!("CARGO_PKG_VERSION").into())),
            ("service.instance.id", Value::Text(ambient.uuid()?.to_string().into())),
        ]);
        let (spans, sending) = queue(collector.clone(), resource.clone());
        self.sending.push(runtime.spawn(sending.run(self.stop.clone())));
        let mut lines = (Arc::new(Figures::default()), None);
        if otlp.logs {
            let (queue, sending) = queue(collector, resource);
            self.sending.push(runtime.spawn(sending.run(self.stop.clone())));
            let figures = Arc::clone(queue.figures());
            let records = LineRecords { queue, ambient: ambient.clone() };
            lines = (figures, Some(records.with_filter(reloadable(level, naming, levels)).boxed()));
        }
        let (figures, records) = lines;
        let recorder = Arc::new(Recorder { spans, lines: figures, sampled: otlp.sampled, ambient });
        let hearing = recorder.hearing();
        self.tracing = Tracing::by(recorder);
        Ok(std::iter::once(hearing).chain(records).collect())
    }
}

/// What the collector wants to be sent along, so that nothing prints it.
fn headers(otlp: &Otlp) -> Result<HeaderMap, Fault> {
    let header = |(name, value): &(String, secrecy::SecretString)| {
        let name = HeaderName::try_from(name).map_err(Fault::internal)?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(Fault::internal)?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    otlp.headers.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use serde_json::Value as Json;
    use tracing::Level;
    use tracing::subscriber::with_default;
    use tracing_subscriber::fmt;

    use super::*;
    use crate::domain::trace_context::TraceParent;
    use crate::runtime::spans::{PHASE, RECORDED, SIGN};

    fn incoming(parent: &str) -> Incoming<'_> {
        Incoming {
            method: "POST",
            endpoint: "token",
            route: "/oauth2/token",
            scheme: "https",
            request_id: "the-request",
            parent: TraceParent::parse(parent),
            state: None,
        }
    }

    #[test]
    fn nothing_is_made_for_a_request_where_nobody_listens() {
        let text = fmt::layer().with_writer(std::io::sink).with_filter(filter("info")).boxed();
        with_default(tracing_subscriber::registry().with(vec![text]), || {
            let trace = Tracing::off().begin(&incoming("-"));
            assert!(trace.span().is_disabled() && trace.trace_id().is_none());
            assert!(tracing::trace_span!(target: PHASE, SIGN).is_disabled());
            assert!(!tracing::enabled!(target: RECORDED, Level::DEBUG));
        });
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_lines_name_their_request_at_every_level() {
        const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let written = Written::default();
        let writer = written.clone();
        let lines = JsonLines { ambient: Ambient::system(), writer: move || writer.clone() };
        let lines = lines.with_filter(naming("error")).boxed();
        with_default(tracing_subscriber::registry().with(vec![lines]), || {
            let trace = Tracing::off().begin(&incoming(PARENT));
            trace.span().in_scope(|| {
                tracing::debug_span!("another")
                    .in_scope(|| tracing::error!(count = 3, why = %"so", "within"));
                tracing::warn!("not at this level");
            });
            tracing::error!(request_id = "said", "while the body is sent");
            tracing::error!("about \"nobody\"\n");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [within, later, nobody] = &lines[..] else { panic!("{text}") };
        assert_eq!((&within["request_id"], &within["level"]), (&"the-request".into(), &"ERROR".into()));
        assert_eq!(within["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(within["fields"], serde_json::json!({ "count": 3, "why": "so", "message": "within" }));
        assert_eq!(later["request_id"], "said");
        assert!(nobody.get("request_id").is_none() && nobody.get("trace_id").is_none(), "{nobody}");
        assert_eq!(nobody["fields"]["message"], "about \"nobody\"\n");
    }
}
