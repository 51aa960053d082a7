//! One connection, as its limits see it: what it waits for, and since when.
//!
//! Whoever serves a connection notes here what happens, at the cost of a few writes to memory that nobody else uses.
//! Whether something takes too long is asked from outside (`connections.rs`), so that no request needs a timer of its
//! own.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a connection that was told to end may take for its goodbye. Over HTTP/2 that takes a round trip.
const GOODBYE: u64 = 5_000;

/// How long a half request may go on when the server stops: what is on its way arrives within that.
const ARRIVING: u64 = 1_000;

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    None,
    /// Finish what is under way, and take nothing new.
    Finish,
    /// End at once.
    Cut,
}

/// Why the server closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nothing was asked for longer than `server.idle_timeout`.
    Idle,
    /// Its TLS handshake took longer than `server.handshake_timeout`.
    SlowHandshake,
    /// A request's headers took longer than `server.header_timeout`.
    SlowHeader,
    /// A request's body took longer than `server.body_timeout`.
    SlowBody,
    /// An answer was not read for longer than `server.write_timeout`.
    Unread,
    /// It had waited longest when there was no room for another.
    Room,
}

/// How long each thing may take, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) handshake: u64,
    pub(super) header: u64,
    pub(super) idle: u64,
    pub(super) write: u64,
    /// How long the server may take to stop.
    pub(super) stop: u64,
}

/// What the connections of a server have in common.
pub(super) struct Shared {
    /// Milliseconds since the server's start, as of the last look; never 0. Whoever notes a time takes this one, which
    /// costs nothing.
    now: AtomicU64,
    /// How many connections there have been.
    numbers: AtomicU64,
    closed: [AtomicU64; Reason::ALL.len()],
    /// How many TLS handshakes are under way.
    shaking: AtomicUsize,
    /// How long a body may take.
    body_timeout: Duration,
}

/// A connection that is open. Times are those of [`Shared::now`]; 0 stands for none.
pub(super) struct Link {
    shared: Arc<Shared>,
    /// In the order of their coming.
    number: u64,
    /// Since when there is no request; while there are some, since when; before that, when it was accepted.
    since: AtomicU64,
    /// Since when the head of a request is expected to be complete.
    head: AtomicU64,
    /// Since when something waits to be written.
    stalled: AtomicU64,
    shaking: AtomicBool,
    /// How many TLS handshakes its address has under way, where that has a share.
    shaking_there: Option<Arc<AtomicUsize>>,
    /// Whether HTTP/2 is spoken.
    multiplexed: AtomicBool,
    /// How many requests have come over HTTP/2.
    asked: AtomicU64,
    /// When the last of them came, if that was after it was told to finish.
    asked_late: AtomicU64,
    /// How many requests are under way.
    requests: AtomicU32,
    /// How many of those wait for the rest of their body.
    bodies: AtomicU32,
    /// Over HTTP/2: the answers that are not sent, with since when. A caller that lets the window of one stream be
    /// closed keeps that answer, and nothing else of the connection.
    unsent: Mutex<Vec<(u64, u64)>>,
    order: AtomicU8,
    /// When it was told to finish.
    leaving: AtomicU64,
    told: Notify,
}

/// A request that is under way, until its answer is written.
pub(super) struct UnderWay {
    link: Arc<Link>,
    number: u64,
}

/// A request that waits for its body.
pub(super) struct AwaitsBody<'a>(&'a Link);

// === impl Reason ===

impl Reason {
    pub(super) const ALL: [Self; 6] =
        [Self::Idle, Self::SlowHandshake, Self::SlowHeader, Self::SlowBody, Self::Unread, Self::Room];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowHandshake => "slow_handshake",
            Self::SlowHeader => "slow_header",
            Self::SlowBody => "slow_body",
            Self::Unread => "unread",
            Self::Room => "room",
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(body_timeout: Duration) -> Self {
        Self {
            now: AtomicU64::new(1),
            numbers: AtomicU64::new(0),
            closed: std::array::from_fn(|_| AtomicU64::new(0)),
            shaking: AtomicUsize::new(0),
            body_timeout,
        }
    }

    /// The time, as of the last look.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// The time is this from now on.
    pub(super) fn set_now(&self, now: u64) {
        self.now.store(now, Relaxed);
    }

    /// The number of the next connection; never 0.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }

    /// How many TLS handshakes are under way.
    pub(super) fn shaking(&self) -> usize {
        self.shaking.load(Relaxed)
    }

    pub(super) fn count_closed(&self, reason: Reason) {
        self.closed[reason as usize].fetch_add(1, Relaxed);
    }

    /// How many connections were closed for this.
    pub(super) fn closed(&self, reason: Reason) -> u64 {
        self.closed[reason as usize].load(Relaxed)
    }
}

// === impl Link ===

impl Link {
    /// A connection that was just accepted. A TLS handshake that begins with it is counted, also among those of its
    /// address, until [`Link::ends_shaking`].
    pub(super) fn new(shared: Arc<Shared>, shaking: bool, shaking_there: Option<Arc<AtomicUsize>>) -> Self {
        let (now, number) = (shared.now(), shared.number());
        if shaking {
            shared.shaking.fetch_add(1, Relaxed);
            if let Some(there) = &shaking_there {
                there.fetch_add(1, Relaxed);
            }
        }
        Self {
            shared,
            number,
            since: AtomicU64::new(now),
            head: AtomicU64::new(now),
            stalled: AtomicU64::new(0),
            shaking: AtomicBool::new(shaking),
            shaking_there,
            multiplexed: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            asked_late: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            bodies: AtomicU32::new(0),
            unsent: Mutex::default(),
            order: AtomicU8::new(Order::None as u8),
            leaving: AtomicU64::new(0),
            told: Notify::new(),
        }
    }

    /// Whether its TLS handshake is under way.
    pub(super) fn is_shaking(&self) -> bool {
        self.shaking.load(Relaxed)
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Whether a part of a request's head has come.
    pub(super) fn is_half_asked(&self) -> bool {
        !self.is_busy() && self.head.load(Relaxed) != 0
    }

    /// Its TLS handshake is done.
    pub(super) fn has_shaken(&self) {
        let now = self.shared.now();
        self.since.store(now, Relaxed);
        self.head.store(now, Relaxed);
        self.ends_shaking();
    }

    /// A TLS handshake is not under way any more: it is done, or given up.
    pub(super) fn ends_shaking(&self) {
        if self.shaking.swap(false, Relaxed) {
            self.shared.shaking.fetch_sub(1, Relaxed);
            if let Some(there) = &self.shaking_there {
                there.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Something has come.
    pub(super) fn has_read(&self) {
        // Between requests over HTTP/2 anything may come, for example an answer to our ping.
        if self.requests.load(Relaxed) == 0 && self.head.load(Relaxed) == 0 && !self.multiplexed.load(Relaxed)
        {
            self.head.store(self.shared.now(), Relaxed);
        }
    }

    /// Something waits to be written.
    pub(super) fn stalls(&self) {
        if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.shared.now(), Relaxed);
        }
    }

    /// Everything is written.
    pub(super) fn has_written(&self) {
        if self.stalled.load(Relaxed) != 0 {
            self.stalled.store(0, Relaxed);
        }
    }

    /// How long a body may take.
    pub(super) fn body_timeout(&self) -> Duration {
        self.shared.body_timeout
    }

    /// A request's body is waited for, until what this answers is dropped.
    pub(super) fn awaits_body(&self) -> AwaitsBody<'_> {
        self.bodies.fetch_add(1, Relaxed);
        AwaitsBody(self)
    }

    /// A body took too long.
    pub(super) fn has_slow_body(&self) {
        self.shared.count_closed(Reason::SlowBody);
    }

    /// Since when it waits for its client, if nothing is done for it; of several at the same time the first to come is
    /// the first here too.
    pub(super) fn waits_since(&self) -> Option<(u64, u64)> {
        let stalled = self.stalled.load(Relaxed);
        if stalled != 0 {
            return Some((stalled, self.number));
        }
        // What is not yet complete counts since the last that was: a drip does not make it younger. Over HTTP/2 an answer
        // that nobody reads stalls no connection.
        let unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner).len();
        let waits = self.bodies.load(Relaxed) as usize + unsent >= self.requests.load(Relaxed) as usize;
        waits.then(|| (self.since.load(Relaxed), self.number))
    }

    /// What it is to be told now, and why; `stopping` is since when the server stops.
    pub(super) fn verdict(&self, now: u64, spans: &Spans, stopping: u64) -> Option<(Order, Option<Reason>)> {
        let over = |since: u64, span: u64| since != 0 && now.saturating_sub(since) > span;
        if over(stopping, spans.stop / 2) && self.waits_since().is_some() {
            return Some((Order::Cut, None));
        }
        // Over HTTP/2 whoever does not answer the ping of our goodbye may go on asking.
        let leaving = self.leaving.load(Relaxed);
        let goodbye = GOODBYE.min(spans.stop / 2);
        if leaving != 0 && self.asked_late.load(Relaxed) > leaving.saturating_add(goodbye) {
            return Some((Order::Cut, None));
        }
        if self.is_shaking() {
            let slow = over(self.since.load(Relaxed), spans.handshake);
            let slow = slow.then_some((Order::Cut, Some(Reason::SlowHandshake)));
            return slow.or_else(|| over(stopping, ARRIVING).then_some((Order::Cut, None)));
        }
        if over(self.stalled.load(Relaxed), spans.write)
            || self.keeps_answers(&|since| over(since, spans.write))
        {
            return Some((Order::Cut, Some(Reason::Unread)));
        }
        if self.is_busy() {
            return None;
        }
        // An answer that is being written has half of the deadline.
        let arriving = self.stalled.load(Relaxed) == 0 && over(stopping, ARRIVING);
        if arriving || over(leaving, GOODBYE) {
            return Some((Order::Cut, None));
        }
        let head = self.head.load(Relaxed);
        if over(head, spans.header) {
            return Some((Order::Cut, Some(Reason::SlowHeader)));
        }
        (head == 0 && over(self.since.load(Relaxed), spans.idle))
            .then_some((Order::Finish, Some(Reason::Idle)))
    }

    /// Whether there are answers that were not sent for so long.
    fn keeps_answers(&self, over: &impl Fn(u64) -> bool) -> bool {
        self.multiplexed.load(Relaxed)
            && self
                .unsent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|(_, since)| over(*since))
    }

    /// Tells it. Answers whether that is news.
    pub(super) fn tell(&self, order: Order) -> bool {
        let before = self.order.fetch_max(order as u8, Relaxed);
        if before >= order as u8 {
            return false;
        }
        self.leaving.store(self.shared.now(), Relaxed);
        // One waits at most, and if none does yet, the next finds it.
        self.told.notify_one();
        true
    }

    /// What it was told so far.
    pub(super) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::None,
            1 => Order::Finish,
            _ => Order::Cut,
        }
    }

    /// Waits until it is told something.
    pub(super) async fn told(&self) -> Order {
        self.told.notified().await;
        self.order()
    }

    /// Waits until it has to end at once.
    pub(super) async fn cut(&self) {
        while self.told().await != Order::Cut {}
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// A request begins.
    pub(super) fn begin(link: &Arc<Link>, multiplexed: bool) -> Self {
        let mut number = 0;
        if multiplexed {
            link.multiplexed.store(true, Relaxed);
            // Of this connection alone: what all count at, all wait for.
            number = link.asked.fetch_add(1, Relaxed) + 1;
            if link.order() != Order::None {
                link.asked_late.store(link.shared.now(), Relaxed);
            }
        }
        if link.requests.fetch_add(1, Relaxed) == 0 {
            link.since.store(link.shared.now(), Relaxed);
        }
        link.head.store(0, Relaxed);
        Self { link: Arc::clone(link), number }
    }

    /// Its answer is there, and can be sent.
    pub(super) fn is_answered(&self) {
        if self.number != 0 {
            let now = self.link.shared.now();
            self.link.unsent.lock().unwrap_or_else(PoisonError::into_inner).push((self.number, now));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let link = &self.link;
        let mut answered = false;
        if self.number != 0 {
            let mut unsent = link.unsent.lock().unwrap_or_else(PoisonError::into_inner);
            let before = unsent.len();
            unsent.retain(|(number, _)| *number != self.number);
            answered = unsent.len() < before;
        }
        // A gateway's connection may have requests under way for hours: one that was answered makes it young.
        if link.requests.fetch_sub(1, Relaxed) == 1 || answered {
            link.since.store(link.shared.now(), Relaxed);
        }
    }
}

// === impl AwaitsBody ===

impl Drop for AwaitsBody<'_> {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: Spans = Spans { handshake: 10, header: 20, idle: 100, write: 50, stop: 10_000 };

    /// A connection that was accepted at 1.
    fn link(shaking: bool) -> Arc<Link> {
        Arc::new(Link::new(Arc::new(Shared::new(Duration::from_secs(1))), shaking, None))
    }

    fn told(link: &Link, now: u64) -> Option<(Order, Option<Reason>)> {
        link.verdict(now, &SPANS, 0)
    }

    #[test]
    fn an_answer_over_http_2_that_nobody_reads_waits_for_its_client() {
        let link = link(false);
        let (one, two) = (UnderWay::begin(&link, true), UnderWay::begin(&link, true));
        assert_eq!(link.waits_since(), None, "both are worked for");
        one.is_answered();
        assert_eq!(link.waits_since(), None);
        two.is_answered();
        assert!(link.waits_since().is_some());
        assert_eq!(link.verdict(5_003, &SPANS, 1), Some((Order::Cut, None)), "half of the deadline is over");
        drop(one);
        drop(two);
    }

    #[test]
    fn what_is_still_written_at_a_stop_has_half_of_the_deadline() {
        let link = link(false);
        drop(UnderWay::begin(&link, false));
        link.stalls();
        let (just_over, spans) = (ARRIVING + 2, Spans { idle: 60_000, write: 60_000, ..SPANS });
        assert_eq!(link.verdict(just_over, &spans, 1), None);
        link.has_written();
        assert_eq!(link.verdict(just_over, &spans, 1), Some((Order::Cut, None)));
    }

    #[test]
    fn who_goes_on_asking_after_the_goodbye_is_cut_off_before_the_deadline() {
        let link = link(false);
        let at = |now| {
            link.shared.set_now(now);
            link.verdict(now, &SPANS, 1)
        };
        let _under_way = UnderWay::begin(&link, true);
        link.tell(Order::Finish);
        assert_eq!(at(9_000), None, "what was asked before has all of the deadline");
        let goodbye = 1 + GOODBYE.min(SPANS.stop / 2);
        assert_eq!(at(goodbye), None);
        let _on_its_way = UnderWay::begin(&link, true);
        assert_eq!(at(goodbye + 1), None, "its caller had not heard of it");
        let _more = UnderWay::begin(&link, true);
        assert_eq!(at(goodbye + 1), Some((Order::Cut, None)));
    }

    #[test]
    fn each_wait_has_its_own_end() {
        let new = link(false);
        assert_eq!(told(&new, 21), None);
        assert_eq!(told(&new, 22), Some((Order::Cut, Some(Reason::SlowHeader))), "it has not asked");

        let slow = link(true);
        assert_eq!(told(&slow, 12), Some((Order::Cut, Some(Reason::SlowHandshake))));
        slow.has_shaken();
        assert_eq!(told(&slow, 12), None);

        let idle = link(false);
        drop(UnderWay::begin(&idle, false));
        assert_eq!(told(&idle, 101), None);
        assert_eq!(told(&idle, 102), Some((Order::Finish, Some(Reason::Idle))));
        idle.has_read();
        assert_eq!(told(&idle, 102), Some((Order::Cut, Some(Reason::SlowHeader))), "half a request");

        let unread = link(false);
        let under_way = UnderWay::begin(&unread, false);
        assert_eq!(told(&unread, 1_000), None, "what the server works at has no end here");
        unread.stalls();
        drop(under_way);
        assert_eq!(told(&unread, 52), Some((Order::Cut, Some(Reason::Unread))));
        unread.has_written();
        assert_eq!(told(&unread, 52), None);
    }

    #[test]
    fn of_http2_each_answer_is_watched_and_pings_are_no_request() {
        let link = link(false);
        let (one, other) = (UnderWay::begin(&link, true), UnderWay::begin(&link, true));
        one.is_answered();
        assert_eq!(told(&link, 52), Some((Order::Cut, Some(Reason::Unread))));
        drop(one);
        assert_eq!(told(&link, 52), None);
        drop(other);
        link.has_read();
        assert_eq!(told(&link, 90), None);
    }

    #[test]
    fn what_the_server_works_at_is_never_in_the_way() {
        let link = link(false);
        assert_eq!(link.waits_since(), Some((1, 1)));
        let under_way = UnderWay::begin(&link, false);
        assert_eq!(link.waits_since(), None);
        let body = link.awaits_body();
        assert_eq!(link.waits_since(), Some((1, 1)));
        drop(body);
        assert_eq!(link.waits_since(), None);
        drop(under_way);
        assert_eq!(link.waits_since(), Some((1, 1)));
    }

    #[test]
    fn a_server_that_stops_waits_for_what_is_asked_and_not_for_what_is_half_asked() {
        let (half, asked) = (link(false), link(false));
        let _under_way = UnderWay::begin(&asked, false);
        let at = |link: &Link, now| link.verdict(now, &Spans { header: 60_000, ..SPANS }, 1);
        assert_eq!(at(&half, 1_001), None);
        assert_eq!(at(&half, 1_002), Some((Order::Cut, None)));
        assert_eq!(at(&asked, 9_000), None);
        let _body = asked.awaits_body();
        assert_eq!(at(&asked, 5_001), None);
        assert_eq!(at(&asked, 5_002), Some((Order::Cut, None)), "its client holds it up");
    }

    #[tokio::test]
    async fn an_order_is_told_once_and_heard_later() {
        let link = link(false);
        assert!(link.tell(Order::Finish));
        assert!(!link.tell(Order::Finish));
        assert_eq!(link.told().await, Order::Finish);
        assert!(link.tell(Order::Cut));
        link.cut().await;
    }
}
