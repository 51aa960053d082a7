//! What is recorded, on its way to the collector.
//!
//! Requests only put into a queue, which has an end: what does not fit is dropped and counted, and nobody waits. One task
//! for spans and one for log lines takes what has gathered and sends it together, by the program's one HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp::{self, Resource, Signal};
use crate::runtime::issuers::{NoAnswer, Outbound};
use crate::runtime::trouble::Trouble;

/// How many spans, and how many log lines, may wait to be sent.
const QUEUE: usize = 8_192;

/// How many bytes of memory they may take, about: what callers send ends up in some of them, and may be long.
const ROOM: usize = 16 << 20;

/// How many are sent together, at most.
const TOGETHER: usize = 2_048;

/// How long they may wait for others.
const GATHER: Duration = Duration::from_secs(1);

/// How long is waited before the same is sent again. It doubles each time.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest of these waits: so soon is it known that a collector is back.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// After so long what could not be sent is dropped, and what came later has its turn.
const GIVE_UP: Duration = Duration::from_mins(1);

/// How many went which way.
#[derive(Debug, Default)]
pub(super) struct Figures {
    sent: AtomicU64,
    queue_full: AtomicU64,
    not_taken: AtomicU64,
}

/// What has become of what was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// `traces` or `logs`.
    pub signal: &'static str,
    /// The collector has it.
    pub sent: u64,
    /// Dropped, because too much waited.
    pub queue_full: u64,
    /// Dropped, because the collector was away for too long or refused it.
    pub not_taken: u64,
}

/// Where requests put what is to be sent.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: Sender<Waiting<T>>,
    room: Arc<Semaphore>,
    figures: Arc<Figures>,
}

/// A record that waits, and the room that it takes meanwhile.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) record: T,
    _room: OwnedSemaphorePermit,
}

/// Takes from the queue and sends.
pub(super) struct Sending<T> {
    queue: Receiver<Waiting<T>>,
    collector: Collector,
    resource: Resource,
    figures: Arc<Figures>,
    trouble: Trouble,
}

/// Where it goes.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) outbound: Outbound,
    pub(super) endpoint: String,
    /// What is sent along. Marked as sensitive, so that nothing prints it.
    pub(super) headers: HeaderMap,
}

/// Why something was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("it answers {0}")]
    Status(u16),
    #[error("{0}")]
    NoRequest(#[from] http::Error),
}

/// A queue, and what empties it.
pub(super) fn queue<T: Signal>(collector: Collector, resource: Resource) -> (Queue<T>, Sending<T>) {
    let (sender, queue) = channel(QUEUE);
    let figures = Arc::new(Figures::default());
    let trouble = Trouble::with(T::AWAY);
    let sending = Sending { queue, collector, resource, figures: Arc::clone(&figures), trouble };
    (Queue { sender, room: Arc::new(Semaphore::new(ROOM)), figures }, sending)
}

// === impl Exported ===

impl Exported {
    pub(super) fn read(signal: &'static str, figures: Option<&Figures>) -> Self {
        let Some(figures) = figures else { return Self { signal, ..Self::default() } };
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Self {
            signal,
            sent: read(&figures.sent),
            queue_full: read(&figures.queue_full),
            not_taken: read(&figures.not_taken),
        }
    }
}

// === impl Queue ===

impl<T: Signal> Queue<T> {
    /// Hands it over, or drops it.
    pub(super) fn push(&self, record: T) {
        if self.hand_over(record).is_none() {
            self.figures.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand_over(&self, record: T) -> Option<()> {
        let size = u32::try_from(record.size()).ok()?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).ok()?;
        self.sender.try_send(Waiting { record, _room: room }).ok()
    }

    pub(super) const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }
}

// === impl NotTaken ===

impl NotTaken {
    /// Whether the same may be taken another time (OTLP §OTLP/HTTP response, "Failures").
    const fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(NoAnswer::Away(_)) => true,
            Self::Status(status) => matches!(status, 429 | 502 | 503 | 504),
            Self::NoAnswer(_) | Self::NoRequest(_) => false,
        }
    }
}

// === impl Sending ===

impl<T: Signal> Sending<T> {
    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut records = Vec::with_capacity(TOGETHER);
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                some = self.queue.recv_many(&mut records, TOGETHER) => if some == 0 { return },
            }
            if records.len() < TOGETHER {
                let gathered = async {
                    while records.len() < TOGETHER {
                        let room = TOGETHER - records.len();
                        if self.queue.recv_many(&mut records, room).await == 0 {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = timeout(GATHER, gathered) => {}
                }
            }
            self.take_along(&mut records);
            self.deliver(&mut records, &stop).await;
        }
        self.queue.close();
        loop {
            self.take_along(&mut records);
            if records.is_empty() {
                return;
            }
            self.deliver(&mut records, &stop).await;
        }
    }

    /// What has come meanwhile, as far as it goes together.
    pub(super) fn take_along(&mut self, records: &mut Vec<Waiting<T>>) {
        while records.len() < TOGETHER
            && let Ok(record) = self.queue.try_recv()
        {
            records.push(record);
        }
    }

    /// Sends these, again and again if there is hope; once more when everything stops.
    async fn deliver(&mut self, records: &mut Vec<Waiting<T>>, stop: &CancellationToken) {
        let count = records.len() as u64;
        if count == 0 {
            return;
        }
        let body = otlp::request(&self.resource, records.iter().map(|waiting| &waiting.record));
        records.clear();
        let (begun, mut wait) = (Instant::now(), AGAIN);
        loop {
            let is_last = stop.is_cancelled() || begun.elapsed() >= GIVE_UP;
            let outcome = self.collector.send(T::PATH, body.clone()).await;
            let fate = match &outcome {
                Ok(()) => Some(&self.figures.sent),
                Err(problem) if is_last || !problem.may_pass() => Some(&self.figures.not_taken),
                Err(_) => None,
            };
            self.trouble.note(outcome);
            if let Some(fate) = fate {
                fate.fetch_add(count, Ordering::Relaxed);
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

// === impl Collector ===

impl Collector {
    async fn send(&self, path: &str, body: Vec<u8>) -> Result<(), NotTaken> {
        let mut request = Request::post(format!("{}{path}", self.endpoint))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body)?;
        request.headers_mut().extend(self.headers.clone());
        let status = self.outbound.call(request).await?.status();
        if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status.as_u16())) }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::domain::time::Timestamp;
    use crate::telemetry::fields::Value;
    use crate::telemetry::otlp::LineRecord;

    fn line() -> LineRecord {
        let at = Timestamp::from_seconds(1);
        let (trace_id, span_id) = (None, None);
        LineRecord { at, level: Level::INFO, body: None, attributes: Vec::new(), trace_id, span_id }
    }

    fn nobody_sends() -> (Queue<LineRecord>, Sending<LineRecord>) {
        let endpoint = "http://127.0.0.1:1".to_owned();
        let outbound = Outbound::new(&endpoint).unwrap();
        queue(Collector { outbound, endpoint, headers: HeaderMap::new() }, Resource(Vec::new()))
    }

    #[test]
    fn long_lines_take_no_more_memory_than_many() {
        let (queue, mut sending) = nobody_sends();
        let long = |length: usize| {
            let text = |length| Value::Text("x".repeat(length).into());
            LineRecord {
                body: Some(text(length / 2)),
                attributes: vec![("what", text(length / 2))],
                ..line()
            }
        };
        queue.push(long(ROOM));
        let dropped = || Exported::read("logs", Some(queue.figures())).queue_full;
        assert_eq!(dropped(), 1, "it is larger than all the room");
        for _ in 0..20 {
            queue.push(long(1 << 20));
        }
        assert_eq!(dropped(), 6, "fifteen have room, with what comes with each");
        let mut records = Vec::new();
        sending.take_along(&mut records);
        queue.push(long(1 << 20));
        assert_eq!((records.len(), dropped()), (15, 7), "they are still in memory");
        records.clear();
        queue.push(long(1 << 20));
        assert_eq!(dropped(), 7, "there is room again");
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (queue, mut sending) = nobody_sends();
        for _ in 0..QUEUE + 5 {
            queue.push(line());
        }
        assert_eq!(Exported::read("logs", Some(queue.figures())).queue_full, 5);
        let mut records = Vec::new();
        sending.take_along(&mut records);
        assert_eq!(records.len(), TOGETHER);
        // There is room again.
        queue.push(line());
        let exported = Exported::read("logs", Some(queue.figures()));
        assert_eq!(exported, Exported { signal: "logs", queue_full: 5, ..Exported::default() });
    }

    #[test]
    fn what_may_pass_is_what_otlp_says() {
        for status in [429, 502, 503, 504] {
            assert!(NotTaken::Status(status).may_pass(), "{status}");
        }
        for status in [302, 400, 401, 404, 500] {
            assert!(!NotTaken::Status(status).may_pass(), "{status}");
        }
        assert!(NotTaken::NoAnswer(NoAnswer::Away("nobody there".to_owned())).may_pass());
        assert!(!NotTaken::NoAnswer(NoAnswer::TooLarge(1)).may_pass());
    }
}
