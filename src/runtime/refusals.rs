//! Refusals, recorded so that an attack cannot fill the disk.
//!
//! The first refusal of its sort from one source is recorded at once. Those that repeat it within a second are
//! counted, and recorded together in one event at the end of that second; their answers wait for it like every
//! other answer, which also slows down whoever sends them. Successes are never counted together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::ledger::Ledger;
use crate::domain::audit::{Actor, AuditEvent, Event, Repeated};
use crate::domain::error::Fault;

/// How long refusals are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// How many different refusals of one source have events of their own in a window.
const DIFFERENT: usize = 10;

/// How many sources are told apart in a window. Beyond, they count as one.
const SOURCES: usize = 10_000;

/// How many repeated refusals may wait at a time. Beyond, callers are told to come back.
const WAITING: usize = 10_000;

/// How many request ids an event of repeated refusals has.
const LISTED: usize = 100;

/// Records refusals.
#[derive(Clone)]
pub struct Refusals {
    ledger: Ledger,
    windows: Arc<Mutex<Windows>>,
}

#[derive(Default)]
struct Windows {
    by_sort: HashMap<Sort, Window>,
    /// How many different reasons of each source have a window.
    by_source: HashMap<Source, usize>,
    waiting: usize,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    source: Source,
    /// None when the source has sent too many different ones.
    reason: Option<String>,
}

/// Who sends refused requests, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    /// An IPv6 address stands for its /64: whoever has one address has them all.
    address: Option<IpAddr>,
    /// The client that it says it is, if there is one of this name: made-up names are no reason to count apart.
    client_id: Option<String>,
    kind: &'static str,
    error: &'static str,
}

/// What came after the first refusal of its sort.
#[derive(Default)]
struct Window {
    last: Option<AuditEvent>,
    count: u64,
    request_ids: Vec<String>,
    waiting: Vec<oneshot::Sender<Result<(), Fault>>>,
}

/// What to do with a refusal.
enum Turn {
    First(Sort),
    Later(oneshot::Receiver<Result<(), Fault>>),
    TooMany,
}

// === impl Refusals ===

impl Refusals {
    /// Records in this ledger.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, windows: Arc::default() }
    }

    /// Records a refusal and returns once it is durable, by itself or with others like it. `known` says
    /// whether the client that the event names exists.
    ///
    /// # Errors
    /// The ledger's queue is full or the database is away: then nothing may be answered.
    pub async fn record(&self, event: AuditEvent, known: bool) -> Result<(), Fault> {
        let Some((source, reason)) = source(&event, known) else { return self.ledger.record(&event).await };
        let turn = self.windows().turn(source, reason, &event);
        match turn {
            Turn::First(sort) => {
                tokio::spawn(self.clone().close(sort));
                self.ledger.record(&event).await
            }
            Turn::Later(recorded) => {
                recorded.await.unwrap_or_else(|_| Err(Fault::unavailable("the ledger has stopped")))
            }
            Turn::TooMany => Err(Fault::unavailable("too many repeated refusals wait to be recorded")),
        }
    }

    /// Records, at the end of a window, what was counted in it.
    async fn close(self, sort: Sort) {
        tokio::time::sleep(WINDOW).await;
        let window = self.windows().close(&sort);
        let Window { last: Some(mut event), count, request_ids, waiting } = window else { return };
        let counted = Repeated { count, request_ids };
        if let Event::TokenRefused { repeated, .. }
        | Event::AccessRefused { repeated, .. }
        | Event::SignInRefused { repeated, .. } = &mut event.event
        {
            *repeated = Some(counted);
        }
        let recorded = self.ledger.record(&event).await;
        for waiting in waiting {
            // Whoever asked may have gone away; the event stands all the same.
            let _ = waiting.send(recorded.clone());
        }
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, Windows> {
        // Nothing in here panics half-way.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Windows ===

impl Windows {
    fn turn(&mut self, mut source: Source, reason: &str, event: &AuditEvent) -> Turn {
        if self.by_source.len() >= SOURCES && !self.by_source.contains_key(&source) {
            source.address = None;
            source.client_id = None;
        }
        let different = self.by_source.entry(source.clone()).or_default();
        let exact = Sort { source: source.clone(), reason: Some(reason.to_owned()) };
        let sort = if *different < DIFFERENT || self.by_sort.contains_key(&exact) {
            exact
        } else {
            Sort { source, reason: None }
        };
        let Some(window) = self.by_sort.get_mut(&sort) else {
            *different += 1;
            self.by_sort.insert(sort.clone(), Window::default());
            return Turn::First(sort);
        };
        if self.waiting >= WAITING {
            return Turn::TooMany;
        }
        self.waiting += 1;
        Turn::Later(window.add(event))
    }

    fn close(&mut self, sort: &Sort) -> Window {
        let window = self.by_sort.remove(sort).unwrap_or_default();
        self.waiting -= window.waiting.len().min(self.waiting);
        if let Some(different) = self.by_source.get_mut(&sort.source) {
            *different -= 1;
            if *different == 0 {
                self.by_source.remove(&sort.source);
            }
        }
        window
    }
}

// === impl Window ===

impl Window {
    fn add(&mut self, event: &AuditEvent) -> oneshot::Receiver<Result<(), Fault>> {
        let (done, recorded) = oneshot::channel();
        self.waiting.push(done);
        self.count += 1;
        if self.request_ids.len() < LISTED {
            self.request_ids.extend(event.origin.request_id.clone());
        }
        self.last = Some(event.clone());
        recorded
    }
}

/// Who a refusal is counted for, and its reason; `None` for what is no refusal.
fn source(event: &AuditEvent, known: bool) -> Option<(Source, &str)> {
    let (client_id, error, reason) = match &event.event {
        Event::TokenRefused { client_id, error, reason, .. } => {
            (client_id.as_ref().map(|id| id.as_str().to_owned()), *error, reason)
        }
        Event::AccessRefused { actor, claimed, reason, .. } => {
            let proven = actor.as_ref().and_then(Actor::client_id);
            (proven.or(claimed.as_ref()).map(ToString::to_string), "", reason)
        }
        Event::SignInRefused { claimed_name, reason, .. } => {
            (claimed_name.as_ref().map(ToString::to_string), "", reason)
        }
        _ => return None,
    };
    let source = Source {
        address: event.origin.address.map(network),
        client_id: client_id.filter(|_| known),
        kind: event.event.kind(),
        error,
    };
    Some((source, reason))
}

/// What of an address stands for whoever has it: of IPv6 the /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}
