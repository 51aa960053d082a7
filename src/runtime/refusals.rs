//! Refusals, recorded so that an attack cannot fill the disk.
//!
//! The first refusal of its sort from one source is recorded at once. Those that repeat it within a second are
//! counted, and recorded together in one event at the end of that second; their answers wait for it like every
//! other answer, which also slows down whoever sends them. Successes are never counted together.
//!
//! Whoever has not proven who they are must not learn from a wait what there is. So the refusals of unproven callers
//! at one address wait together, whatever each is counted as: if only those of the same sort did, a name that is
//! counted with the made-up ones would be answered later than one that is counted by itself.

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

/// How many events of one front are recorded at a time: the ledger's queue has room for those of others.
const TOGETHER: usize = 256;

/// Those who waited are answered in so many slices, over half a second: whoever sends the next request with each answer
/// would send all of them at once.
const SLICES: usize = 250;

/// How long others have the threads to themselves after each slice.
const PAUSE: Duration = Duration::from_millis(2);

/// Records refusals.
#[derive(Clone)]
pub struct Refusals {
    ledger: Ledger,
    windows: Arc<Mutex<Windows>>,
}

#[derive(Default)]
struct Windows {
    by_front: HashMap<Front, HashMap<Sort, Window>>,
    /// How many different reasons of each source have a window.
    by_source: HashMap<Source, usize>,
    waiting: usize,
    /// How many have come to wait so far.
    arrived: u64,
}

/// What waits together: the windows behind it open and close at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Front {
    /// Everybody at an address who is not proven.
    Unproven { address: Option<IpAddr>, kind: &'static str },
    /// Those of one sort.
    Proven(Sort),
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
    /// Whether it is proven who sends them, or no name that there may be is tried.
    proven: bool,
}

/// What came after the first refusal of its sort.
#[derive(Default)]
struct Window {
    last: Option<AuditEvent>,
    count: u64,
    request_ids: Vec<String>,
    waiting: Vec<Waiting>,
}

/// Somebody whose refusal is counted.
struct Waiting {
    /// Its number among all that have come to wait, counted from the start.
    arrival: u64,
    answer: oneshot::Sender<Result<(), Fault>>,
}

/// What to do with a refusal.
enum Turn {
    First(Front),
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
            Turn::First(front) => {
                tokio::spawn(self.clone().close(front));
                self.ledger.record(&event).await
            }
            Turn::Later(recorded) => {
                recorded.await.unwrap_or_else(|_| Err(Fault::unavailable("the ledger has stopped")))
            }
            Turn::TooMany => Err(Fault::unavailable("too many repeated refusals wait to be recorded")),
        }
    }

    /// Records, at the end of a second, what was counted in it. Nobody is answered before all of it is durable: how
    /// much there was to record is no more to be told than what. They are answered as they came, whatever each was
    /// counted as.
    async fn close(self, front: Front) {
        tokio::time::sleep(WINDOW).await;
        let mut windows = self.windows().close(&front).into_iter();
        let mut answers = Vec::new();
        loop {
            let some = windows.by_ref().take(TOGETHER);
            let some: Vec<_> = some.map(|window| tokio::spawn(self.clone().settle(window))).collect();
            if some.is_empty() {
                break;
            }
            for settled in some {
                // Whoever waits for one that panicked hears that the ledger has stopped.
                answers.extend(settled.await.unwrap_or_default());
            }
        }
        release(answers).await;
    }

    /// Records what a window has counted. Answers who waits for it, and what to tell them.
    async fn settle(self, window: Window) -> Vec<(Waiting, Result<(), Fault>)> {
        let Window { last, count, request_ids, waiting } = window;
        let Some(mut event) = last else { return Vec::new() };
        let counted = Repeated { count, request_ids };
        if let Event::TokenRefused { repeated, .. }
        | Event::AccessRefused { repeated, .. }
        | Event::SignInRefused { repeated, .. } = &mut event.event
        {
            *repeated = Some(counted);
        }
        let recorded = self.ledger.record(&event).await;
        waiting.into_iter().map(|waiting| (waiting, recorded.clone())).collect()
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
        let exact = Sort { source: source.clone(), reason: Some(reason.to_owned()) };
        let front = |sort: &Sort| match sort.source {
            Source { proven: true, .. } => Front::Proven(sort.clone()),
            Source { address, kind, .. } => Front::Unproven { address, kind },
        };
        let different = self.by_source.get(&source).copied().unwrap_or_default();
        let open = self.by_front.get(&front(&exact)).is_some_and(|windows| windows.contains_key(&exact));
        let sort = if different < DIFFERENT || open { exact } else { Sort { source, reason: None } };
        let front = front(&sort);
        let first = !self.by_front.contains_key(&front);
        if !first && self.waiting >= WAITING {
            return Turn::TooMany;
        }
        let windows = self.by_front.entry(front.clone()).or_default();
        let window = windows.entry(sort.clone()).or_insert_with(|| {
            *self.by_source.entry(sort.source).or_default() += 1;
            Window::default()
        });
        if first {
            return Turn::First(front);
        }
        self.waiting += 1;
        self.arrived += 1;
        Turn::Later(window.add(self.arrived, event))
    }

    fn close(&mut self, front: &Front) -> Vec<Window> {
        let windows = self.by_front.remove(front).unwrap_or_default();
        for (sort, window) in &windows {
            self.waiting -= window.waiting.len().min(self.waiting);
            if let Some(different) = self.by_source.get_mut(&sort.source) {
                *different -= 1;
                if *different == 0 {
                    self.by_source.remove(&sort.source);
                }
            }
        }
        windows.into_values().collect()
    }
}

// === impl Window ===

impl Window {
    fn add(&mut self, arrival: u64, event: &AuditEvent) -> oneshot::Receiver<Result<(), Fault>> {
        let (answer, recorded) = oneshot::channel();
        self.waiting.push(Waiting { arrival, answer });
        self.count += 1;
        if self.request_ids.len() < LISTED {
            self.request_ids.extend(event.origin.request_id.clone());
        }
        self.last = Some(event.clone());
        recorded
    }
}

/// Answers those who waited, in the order in which they came, a few at a time.
async fn release(mut answers: Vec<(Waiting, Result<(), Fault>)>) {
    answers.sort_unstable_by_key(|(waiting, _)| waiting.arrival);
    let slice = answers.len().div_ceil(SLICES);
    let mut answers = answers.into_iter().peekable();
    while answers.peek().is_some() {
        for (waiting, recorded) in answers.by_ref().take(slice) {
            // Whoever asked may have gone away; the event stands all the same.
            let _ = waiting.answer.send(recorded);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Who a refusal is counted for, and its reason; `None` for what is no refusal.
fn source(event: &AuditEvent, known: bool) -> Option<(Source, &str)> {
    let (client_id, error, reason, proven) = match &event.event {
        Event::TokenRefused { client_id, authenticated, error, reason, .. } => {
            let name = client_id.as_ref().map(ToString::to_string);
            let proven = *authenticated || name.is_none();
            (name, *error, reason, proven)
        }
        Event::AccessRefused { actor, claimed, reason, .. } => {
            let proven = actor.as_ref().and_then(Actor::client_id);
            let name = proven.or(claimed.as_ref()).map(ToString::to_string);
            (name, "", reason, claimed.is_none())
        }
        Event::SignInRefused { claimed_name, reason, .. } => {
            (claimed_name.as_ref().map(ToString::to_string), "", reason, false)
        }
        _ => return None,
    };
    let source = Source {
        address: event.origin.address.map(network),
        client_id: client_id.filter(|_| known),
        kind: event.event.kind(),
        error,
        proven,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Some of what waits is recorded and some is not, and neither that nor what each was counted as makes an order.
    #[tokio::test]
    async fn all_who_waited_are_answered_in_the_order_in_which_they_came() {
        const ALL: u64 = 600;
        let answered = Arc::new(Mutex::new(Vec::new()));
        let (mut answers, mut waiting) = (Vec::new(), Vec::new());
        // Seven windows, one after the other, whose refusals came in turn.
        for arrival in (0..7).flat_map(|window| (window..ALL).step_by(7)) {
            let (answer, recorded) = oneshot::channel();
            let outcome = if arrival % 7 == 3 { Err(Fault::unavailable("away")) } else { Ok(()) };
            answers.push((Waiting { arrival, answer }, outcome));
            let answered = Arc::clone(&answered);
            waiting.push(tokio::spawn(async move {
                let recorded = recorded.await.unwrap();
                assert_eq!(recorded.is_err(), arrival % 7 == 3);
                answered.lock().unwrap().push(arrival);
            }));
        }
        // Until all of them wait.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = tokio::time::Instant::now();
        release(answers).await;
        assert!(began.elapsed() >= PAUSE * 199, "more than three at a time");
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert_eq!(*answered.lock().unwrap(), (0..ALL).collect::<Vec<_>>());
    }
}
