//! `[server]`: what connections and stopping may take.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Config, Settings};
use crate::domain::schedule::Span;

/// What connections may take, and how the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the headers of a request may take, from their first byte; of the first one from the connection's start.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a connection may be kept without a request.
    pub idle_timeout: Duration,
    /// How long an answer may wait to be read.
    pub write_timeout: Duration,
    /// How many connections may be open; by the limit on descriptors, if nobody says.
    pub max_connections: Option<NonZeroUsize>,
    /// How many of them may come from one address; a quarter, if nobody says.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// How large the headers of a request may be together, in bytes; by what is sent there, if nobody says.
    pub max_header_size: Option<usize>,
    /// How many requests may be under way on one connection of HTTP/2.
    pub max_streams: u32,
    /// How long the server goes on when it was told to stop, while it says that it is not ready.
    pub drain_delay: Duration,
    /// How long it may take to stop after that.
    pub shutdown_deadline: Duration,
}

/// The longest that any of these may be: what takes longer is no limit.
const LONGEST: Duration = Duration::from_hours(1);

/// What [`Serving::max_header_size`] may be: hyper needs 8 KiB, and more than a MiB is no limit.
const HEADER_SIZES: std::ops::RangeInclusive<usize> = 8_192..=1_048_576;

impl Default for Serving {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_connections: None,
            max_connections_per_address: None,
            max_header_size: None,
            max_streams: 100,
            drain_delay: Duration::ZERO,
            shutdown_deadline: Duration::from_secs(15),
        }
    }
}

// === impl Serving ===

impl Serving {
    /// How long a server may take to stop from the moment that it is told to.
    #[must_use]
    pub const fn longest_stop(&self) -> Duration {
        self.drain_delay.saturating_add(self.shutdown_deadline)
    }
}

// === impl Config ===

impl Config {
    /// How large the headers of a request may be together, in bytes. A proxy's with certificates are larger.
    #[must_use]
    pub fn max_header_size(&self) -> usize {
        let usual = if self.tls.header.is_some() { 131_072 } else { 32_768 };
        self.serving.max_header_size.unwrap_or(usual)
    }

    /// What is in force of these settings.
    pub(super) fn serving_told(&self) -> [(&'static str, String); 12] {
        let serving = &self.serving;
        let span = |span: Duration| Span(span).to_string();
        let by = |usual: &str, given: Option<NonZeroUsize>| {
            given.map_or_else(|| usual.to_owned(), |given| given.to_string())
        };
        [
            ("server.threads", by("by the cores", self.server_threads)),
            ("server.handshake_timeout", span(serving.handshake_timeout)),
            ("server.header_timeout", span(serving.header_timeout)),
            ("server.body_timeout", span(serving.body_timeout)),
            ("server.idle_timeout", span(serving.idle_timeout)),
            ("server.write_timeout", span(serving.write_timeout)),
            ("server.max_connections", by("by the limit on descriptors", serving.max_connections)),
            (
                "server.max_connections_per_address",
                by("a quarter of all", serving.max_connections_per_address),
            ),
            ("server.max_header_size", self.max_header_size().to_string()),
            ("server.max_streams", serving.max_streams.to_string()),
            ("server.drain_delay", span(serving.drain_delay)),
            ("server.shutdown_deadline", span(serving.shutdown_deadline)),
        ]
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn serving(&mut self) -> Serving {
        let usual = Serving::default();
        let mut span =
            |name: &str, least, usual| self.take(name, |text| span_of(text, least)).unwrap_or(usual);
        let least = Duration::from_millis(1);
        let mut serving = Serving {
            handshake_timeout: span("server.handshake_timeout", least, usual.handshake_timeout),
            header_timeout: span("server.header_timeout", least, usual.header_timeout),
            body_timeout: span("server.body_timeout", least, usual.body_timeout),
            idle_timeout: span("server.idle_timeout", least, usual.idle_timeout),
            write_timeout: span("server.write_timeout", least, usual.write_timeout),
            drain_delay: span("server.drain_delay", Duration::ZERO, usual.drain_delay),
            // The ledger's last batch and its checkpoint need a moment in any case.
            shutdown_deadline: span(
                "server.shutdown_deadline",
                Duration::from_secs(1),
                usual.shutdown_deadline,
            ),
            ..usual
        };
        serving.max_connections = self.take("server.max_connections", connections);
        serving.max_connections_per_address = self.take("server.max_connections_per_address", connections);
        serving.max_header_size = self.take("server.max_header_size", |text| {
            let size = text.parse().ok().filter(|size| HEADER_SIZES.contains(size));
            size.ok_or_else(|| {
                format!("write a number of bytes from {} to {}", HEADER_SIZES.start(), HEADER_SIZES.end())
            })
        });
        let streams = self.take("server.max_streams", |text| {
            let streams = text.parse().ok().filter(|streams| (1..=10_000).contains(streams));
            streams.ok_or_else(|| "write a number from 1 to 10000".to_owned())
        });
        Serving { max_streams: streams.unwrap_or(usual.max_streams), ..serving }
    }
}

fn span_of(text: &str, least: Duration) -> Result<Duration, String> {
    let Span(span) = text.parse()?;
    let fits = (least..=LONGEST).contains(&span);
    fits.then_some(span).ok_or_else(|| format!("write a time from {} to {}", Span(least), Span(LONGEST)))
}

fn connections(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= 1_000_000);
    count.ok_or_else(|| "write a number of connections from 1 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(name: &str, value: &str) -> Result<Serving, String> {
        let environment = [(format!("JETON_SERVER__{name}"), value.to_owned())];
        Config::load(None, environment).map(|config| config.serving).map_err(|error| error.to_string())
    }

    #[test]
    fn times_and_numbers_have_their_bounds() {
        assert_eq!(serving("THREADS", "1").unwrap(), Serving::default());
        assert_eq!(serving("HEADER_TIMEOUT", "250ms").unwrap().header_timeout, Duration::from_millis(250));
        assert_eq!(serving("DRAIN_DELAY", "0s").unwrap().drain_delay, Duration::ZERO);
        assert_eq!(serving("MAX_CONNECTIONS", "64").unwrap().max_connections.unwrap().get(), 64);
        for (name, bad, advice) in [
            ("IDLE_TIMEOUT", "0s", "from 1ms to 1h"),
            ("BODY_TIMEOUT", "2h", "from 1ms to 1h"),
            ("SHUTDOWN_DEADLINE", "10ms", "from 1s to 1h"),
            ("MAX_CONNECTIONS", "0", "from 1 to 1000000"),
            ("MAX_HEADER_SIZE", "100", "from 8192 to 1048576"),
            ("MAX_STREAMS", "many", "from 1 to 10000"),
        ] {
            let problem = serving(name, bad).unwrap_err();
            assert!(problem.contains(advice), "{problem}");
        }
    }
}
