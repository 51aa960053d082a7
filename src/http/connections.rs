//! All connections that are open: how many there may be, whose they are, and which of them has to go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::link::{Link, Order, Reason, Shared, Spans};
use crate::config::Serving;

/// How many TLS handshakes may be under way, for all threads. Each takes about 20 KiB.
const HANDSHAKES: usize = 2_048;

/// How many of them may be one address's.
const HANDSHAKES_PER_ADDRESS: usize = 256;

/// The longest between two looks at what takes too long, and the shortest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(5));

/// How many connections are looked at before others may come and go.
const AT_ONCE: usize = 256;

/// Of how many one is closed when there is no room: looking for those that have waited longest costs a look at all.
const ROOM: usize = 64;

/// How often each thread says that it still runs.
const BEAT: Duration = Duration::from_secs(1);

/// How long a thread may say nothing before it counts as stuck.
const STUCK: u64 = 10_000;

/// Which limit a connection has met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// `server.max_connections`, and all of them are worked for.
    All,
    /// `server.max_connections_per_address`, and all of those are worked for.
    Address,
}

/// How many connections are doing what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doing {
    /// Their TLS handshake is under way.
    pub(super) handshakes: usize,
    /// They have sent a part of a request's headers, or are new.
    pub(super) asking: usize,
    /// A request is under way.
    pub(super) busy: usize,
    /// They are kept for the next request.
    pub(super) idle: usize,
}

/// The connections of a server.
pub struct Connections {
    limits: Limits,
    /// Addresses that stand for many callers.
    proxies: Vec<IpNet>,
    started: Instant,
    shared: Arc<Shared>,
    /// Since when the server stops.
    stopping: AtomicU64,
    draining: AtomicBool,
    open: Mutex<Open>,
    refused: [AtomicU64; Full::ALL.len()],
    /// When each thread last said that it runs.
    beats: Vec<AtomicU64>,
}

#[derive(Debug)]
struct Limits {
    spans: Spans,
    all: usize,
    per_address: usize,
    look_every: Duration,
}

#[derive(Default)]
struct Open {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    shares: HashMap<IpAddr, Share>,
    count: usize,
    /// When it was last seen that nobody could make room.
    barren: u64,
}

/// What one address has.
#[derive(Default)]
struct Share {
    slots: Vec<usize>,
    /// How many of them are TLS handshakes under way.
    shaking: Arc<AtomicUsize>,
}

struct Slot {
    link: Arc<Link>,
    /// Whose share it takes.
    address: Option<IpAddr>,
}

/// A place among the open connections; given back when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    slot: usize,
    pub(super) link: Arc<Link>,
}

// === impl Full ===

impl Full {
    pub(super) const ALL: [Self; 2] = [Self::All, Self::Address];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
        }
    }
}

// === impl Connections ===

impl Connections {
    /// None yet. `most` is how many there may be if nobody says; `proxies` are addresses that stand for many callers.
    #[must_use]
    pub fn new(serving: &Serving, most: usize, proxies: Vec<IpNet>, threads: usize) -> Self {
        let all = serving.max_connections.map_or(most, |wanted| wanted.get().min(most)).max(1);
        let per_address = serving.max_connections_per_address.map_or(all / 4, |wanted| wanted.get().min(all));
        let spans = Spans {
            handshake: millis(serving.handshake_timeout),
            header: millis(serving.header_timeout),
            idle: millis(serving.idle_timeout),
            write: millis(serving.write_timeout),
            stop: millis(serving.shutdown_deadline),
        };
        let shortest = [serving.handshake_timeout, serving.header_timeout, serving.idle_timeout];
        let shortest = shortest.into_iter().fold(serving.write_timeout, Duration::min);
        let look_every = (shortest / 8).clamp(LOOKS.1, LOOKS.0);
        Self {
            limits: Limits { spans, all, per_address: per_address.max(1), look_every },
            proxies,
            started: Instant::now(),
            shared: Arc::new(Shared::new(serving.body_timeout)),
            stopping: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            open: Mutex::default(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            beats: (0..threads).map(|_| AtomicU64::new(1)).collect(),
        }
    }

    /// For a listener that few have anything to do at.
    #[must_use]
    pub fn of_few(serving: &Serving) -> Self {
        let serving = Serving { max_connections: None, max_connections_per_address: None, ..*serving };
        // All of them may come from one address.
        let everywhere = vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        Self::new(&serving, ROOM, everywhere, 0)
    }

    /// Says from now on that the server is about to stop, so that balancers send callers elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether it says so.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// How many there may be, and how many of one address.
    #[must_use]
    pub const fn limits(&self) -> (usize, usize) {
        (self.limits.all, self.limits.per_address)
    }

    /// How many were closed for this.
    pub(super) fn closed(&self, reason: Reason) -> u64 {
        self.shared.closed(reason)
    }

    /// How many were refused for this.
    pub(super) fn refused(&self, full: Full) -> u64 {
        self.refused[full as usize].load(Relaxed)
    }

    /// What those are doing that are open.
    pub(super) fn doing(&self) -> Doing {
        let mut doing = Doing::default();
        self.each(|link| {
            *(if link.is_shaking() {
                &mut doing.handshakes
            } else if link.is_busy() {
                &mut doing.busy
            } else if link.is_half_asked() {
                &mut doing.asking
            } else {
                &mut doing.idle
            }) += 1;
        });
        doing
    }

    /// A place for one more, for which another that only waits may have to go.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, shaking: bool) -> Result<Place, Full> {
        self.admit_into(&mut self.lock(), address, shaking).inspect_err(|full| {
            self.refused[*full as usize].fetch_add(1, Relaxed);
        })
    }

    fn admit_into(self: &Arc<Self>, open: &mut Open, address: IpAddr, shaking: bool) -> Result<Place, Full> {
        let address = share_of(address, &self.proxies);
        if open.count >= self.limits.all && !self.make_room(open) {
            return Err(Full::All);
        }
        if let Some(address) = &address {
            let own = open.shares.get(address).map_or(0, |share| share.slots.len());
            if own >= self.limits.per_address && !self.make_room_of(open, address) {
                return Err(Full::Address);
            }
        }
        if shaking {
            self.make_room_to_shake(open, address.as_ref());
        }
        let shaking_there = address
            .filter(|_| shaking)
            .map(|address| Arc::clone(&open.shares.entry(address).or_default().shaking));
        let link = Arc::new(Link::new(Arc::clone(&self.shared), shaking, shaking_there));
        // Whoever is taken while everybody is told would not hear of it.
        if self.stopping.load(Relaxed) != 0 {
            link.tell(Order::Finish);
        }
        let slot = open.insert(Slot { link: Arc::clone(&link), address });
        Ok(Place { connections: Arc::clone(self), slot, link })
    }

    /// Closes some of those that have waited longest for their clients.
    fn make_room(&self, open: &mut Open) -> bool {
        let now = self.shared.now();
        if open.barren == now {
            return false;
        }
        let waiting = open.slots.iter().enumerate();
        let waiting = waiting.filter_map(|(slot, taken)| Some((taken.as_ref()?.link.waits_since()?, slot)));
        let room = self.close_oldest(open, waiting.collect(), self.limits.all);
        if !room {
            open.barren = now;
        }
        room
    }

    /// The same among those of one address.
    fn make_room_of(&self, open: &mut Open, address: &IpAddr) -> bool {
        let own = open.shares.get(address).into_iter().flat_map(|share| &share.slots);
        let waiting = own.filter_map(|slot| Some((open.slots[*slot].as_ref()?.link.waits_since()?, *slot)));
        let waiting = waiting.collect();
        self.close_oldest(open, waiting, self.limits.per_address)
    }

    /// Lets the oldest TLS handshakes end where too many are under way, of one address or in all. Only then are the
    /// connections looked at.
    fn make_room_to_shake(&self, open: &mut Open, address: Option<&IpAddr>) {
        if let Some(share) = address.and_then(|address| open.shares.get(address))
            && share.shaking.load(Relaxed) >= HANDSHAKES_PER_ADDRESS
        {
            let own = share.slots.iter().filter_map(|slot| open.shakes_since(*slot)).collect();
            self.close_oldest(open, own, HANDSHAKES_PER_ADDRESS);
        }
        if self.shared.shaking() >= HANDSHAKES {
            let all = (0..open.slots.len()).filter_map(|slot| open.shakes_since(slot)).collect();
            self.close_oldest(open, all, HANDSHAKES);
        }
    }

    /// Closes the oldest of these, one of [`ROOM`] that there may be.
    fn close_oldest(&self, open: &mut Open, mut waiting: Vec<((u64, u64), usize)>, most: usize) -> bool {
        let wanted = most.div_ceil(ROOM).min(waiting.len());
        if wanted == 0 {
            return false;
        }
        waiting.select_nth_unstable(wanted - 1);
        for (_, slot) in &waiting[..wanted] {
            if let Some(link) = open.remove(*slot) {
                link.tell(Order::Cut);
                self.shared.count_closed(Reason::Room);
            }
        }
        true
    }

    /// From now on everybody finishes, and nobody new is taken.
    pub(super) fn stop(&self) {
        self.stopping.store(self.elapsed(), Relaxed);
        self.each(|link| {
            link.tell(Order::Finish);
        });
    }

    /// Looks again and again at who takes too long, for as long as it is awaited.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut looks = interval(self.limits.look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(self.elapsed());
        }
    }

    /// Tells everybody who takes too long.
    fn look(&self, now: u64) {
        self.shared.set_now(now);
        let stopping = self.stopping.load(Relaxed);
        self.each(|link| {
            if let Some((order, reason)) = link.verdict(now, &self.limits.spans, stopping)
                && link.tell(order)
                && let Some(reason) = reason
            {
                self.shared.count_closed(reason);
            }
        });
    }

    /// Says again and again that this thread runs, for as long as it is awaited.
    pub(super) async fn beat(self: Arc<Self>, thread: usize) {
        while let Some(beat) = self.beats.get(thread) {
            beat.store(self.elapsed(), Relaxed);
            sleep(BEAT).await;
        }
    }

    /// Whether everything that serves runs: each thread, and what looks after the connections.
    ///
    /// # Errors
    /// What does not.
    pub fn check_running(&self) -> Result<(), &'static str> {
        self.running_at(self.elapsed())
    }

    fn running_at(&self, now: u64) -> Result<(), &'static str> {
        let stuck = |since: u64| now.saturating_sub(since) > STUCK;
        if stuck(self.shared.now()) {
            return Err("the background tasks are stuck");
        }
        if self.beats.iter().any(|beat| stuck(beat.load(Relaxed))) {
            return Err("a thread that serves is stuck");
        }
        Ok(())
    }

    fn each(&self, mut see: impl FnMut(&Link)) {
        let mut from = 0;
        loop {
            let open = self.lock();
            let to = open.slots.len().min(from + AT_ONCE);
            for slot in open.slots.get(from..to).into_iter().flatten().flatten() {
                see(&slot.link);
            }
            if to == open.slots.len() {
                return;
            }
            from = to;
        }
    }

    fn elapsed(&self) -> u64 {
        millis(self.started.elapsed()) + 1
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Open ===

impl Open {
    /// Since when a TLS handshake is under way there, with the place itself.
    fn shakes_since(&self, slot: usize) -> Option<((u64, u64), usize)> {
        let link = &self.slots.get(slot)?.as_ref()?.link;
        let since = link.waits_since().filter(|_| link.is_shaking())?;
        Some((since, slot))
    }

    fn insert(&mut self, taken: Slot) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(address) = taken.address {
            self.shares.entry(address).or_default().slots.push(slot);
        }
        self.slots[slot] = Some(taken);
        self.count += 1;
        slot
    }

    fn remove(&mut self, slot: usize) -> Option<Arc<Link>> {
        let Slot { link, address } = self.slots.get_mut(slot)?.take()?;
        link.ends_shaking();
        self.free.push(slot);
        self.count -= 1;
        if let Some(address) = address
            && let Some(Share { slots: own, .. }) = self.shares.get_mut(&address)
        {
            if let Some(at) = own.iter().position(|taken| *taken == slot) {
                own.swap_remove(at);
            }
            if own.is_empty() {
                self.shares.remove(&address);
            }
        }
        Some(link)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        let is_ours = |slot: &Slot| Arc::ptr_eq(&slot.link, &self.link);
        // Another may have been given the place already.
        if open.slots.get(self.slot).is_some_and(|slot| slot.as_ref().is_some_and(is_ours)) {
            open.remove(self.slot);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whose share a connection takes: an address of IPv6 stands for its /64, of which one machine may have all. What
/// stands for many callers has no share.
fn share_of(address: IpAddr, proxies: &[IpNet]) -> Option<IpAddr> {
    let address = address.to_canonical();
    if proxies.iter().any(|network| network.contains(&address)) {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Net::new(v6, 64).map_or(address, |network| network.network().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::link::UnderWay;
    use super::*;

    fn connections(all: usize, per_address: usize) -> Arc<Connections> {
        let serving = Serving {
            max_connections: all.try_into().ok(),
            max_connections_per_address: per_address.try_into().ok(),
            ..Serving::default()
        };
        Arc::new(Connections::new(&serving, 100_000, vec!["10.0.0.0/8".parse().unwrap()], 1))
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0xC000_0200 + number).into()
    }

    #[test]
    fn when_all_places_are_taken_the_one_that_waits_longest_goes() {
        let all = connections(3, 3);
        let places: Vec<_> = (1..=3_u32)
            .map(|n| {
                all.shared.set_now(u64::from(n));
                all.admit(address(n), false).unwrap()
            })
            .collect();
        all.shared.set_now(10);
        let oldest = UnderWay::begin(&places[0].link, false);
        let fourth = all.admit(address(4), false).unwrap();
        assert_eq!(places[0].link.order(), Order::None, "a request is under way");
        assert_eq!(places[1].link.order(), Order::Cut);
        assert_eq!(places[2].link.order(), Order::None);
        assert_eq!(all.closed(Reason::Room), 1);

        // Where everybody is worked for, the new one is refused.
        let busy = (UnderWay::begin(&places[2].link, false), UnderWay::begin(&fourth.link, false));
        assert_eq!(all.admit(address(5), false).err(), Some(Full::All));
        assert_eq!(all.refused(Full::All), 1);
        drop((oldest, busy));
        all.shared.set_now(11);
        assert!(all.admit(address(5), false).is_ok());
        drop((places, fourth));
        assert_eq!(all.doing(), Doing::default());
        assert!(all.lock().shares.is_empty());
    }

    #[test]
    fn an_address_has_a_share_and_of_ipv6_the_network_is_the_address() {
        let all = connections(100, 2);
        let here = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let first = all.admit(here(1), false).unwrap();
        let second = all.admit(here(2), false).unwrap();
        let busy = UnderWay::begin(&second.link, false);
        let _third = all.admit(here(3), false).unwrap();
        assert_eq!(first.link.order(), Order::Cut);
        assert_eq!(second.link.order(), Order::None);
        drop(busy);
        // Elsewhere there is room, and behind a proxy always.
        let _elsewhere = all.admit([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into(), false).unwrap();
        let proxied: Vec<_> = (1..=5).map(|n| all.admit([10, 0, 0, n].into(), false).unwrap()).collect();
        assert!(proxied.iter().all(|place| place.link.order() == Order::None));
    }

    #[test]
    fn of_handshakes_the_oldest_give_way_and_no_other_address_pays() {
        let all = connections(10_000, 5_000);
        let elsewhere = all.admit(address(2), true).unwrap();
        let served = all.admit(address(1), false).unwrap();
        let half: Vec<_> =
            (0..HANDSHAKES_PER_ADDRESS).map(|_| all.admit(address(1), true).unwrap()).collect();
        let newest = all.admit(address(1), true).unwrap();
        let gone = half.iter().filter(|place| place.link.order() == Order::Cut).count();
        assert_eq!(gone, HANDSHAKES_PER_ADDRESS / ROOM);
        assert!(half[..gone].iter().all(|place| place.link.order() == Order::Cut), "the oldest");
        for place in [&elsewhere, &served, &newest] {
            assert_eq!(place.link.order(), Order::None);
        }
        // There is room again: for the next nobody goes.
        let _next = all.admit(address(1), true).unwrap();
        assert_eq!(half[gone].link.order(), Order::None);
        // Those that are done, and those that have gone, do not count any more.
        for place in &half[gone..] {
            place.link.has_shaken();
        }
        let counted = |open: &Open| open.shares[&address(1)].shaking.load(Relaxed);
        assert_eq!((all.shared.shaking(), counted(&all.lock())), (3, 2));
        drop((half, newest, elsewhere));
        assert_eq!((all.shared.shaking(), counted(&all.lock())), (1, 1));
    }

    #[test]
    fn of_all_handshakes_the_oldest_give_way_too() {
        let all = connections(10_000, 5_000);
        let of = |n: usize| address(u32::try_from(n / 100).unwrap());
        let half: Vec<_> = (0..HANDSHAKES).map(|n| all.admit(of(n), true).unwrap()).collect();
        assert!(half.iter().all(|place| place.link.order() == Order::None));
        let _newest = all.admit(address(100), true).unwrap();
        assert_eq!(half[0].link.order(), Order::Cut);
        assert_eq!(all.closed(Reason::Room), (HANDSHAKES / ROOM) as u64);
    }

    #[test]
    fn a_thread_that_hangs_is_noticed_and_so_is_the_task_that_looks() {
        let all = Connections::new(&Serving::default(), 10, Vec::new(), 2);
        let beat = |thread: usize, now| all.beats[thread].store(now, Relaxed);
        let late = 1 + STUCK;
        assert_eq!(all.running_at(late), Ok(()));
        all.shared.set_now(late);
        beat(0, late);
        assert_eq!(all.running_at(late), Ok(()));
        assert_eq!(all.running_at(late + 1), Err("a thread that serves is stuck"), "the other says nothing");
        beat(1, late);
        assert_eq!(all.running_at(late + 1), Ok(()), "it runs again");
        beat(0, 2 * late);
        beat(1, 2 * late);
        assert_eq!(all.running_at(2 * late), Err("the background tasks are stuck"));
    }

    #[tokio::test]
    async fn a_thread_says_that_it_runs_before_it_does_anything_else() {
        let all = Arc::new(Connections::new(&Serving::default(), 10, Vec::new(), 1));
        all.beats[0].store(0, Relaxed);
        let beating = tokio::spawn(Arc::clone(&all).beat(0));
        tokio::task::yield_now().await;
        assert_ne!(all.beats[0].load(Relaxed), 0);
        beating.abort();
    }

    #[test]
    fn who_takes_too_long_is_told_and_counted_once() {
        let all = connections(10, 10);
        let place = all.admit(address(1), false).unwrap();
        all.look(10_002);
        all.look(10_003);
        assert_eq!(place.link.order(), Order::Cut);
        assert_eq!(all.closed(Reason::SlowHeader), 1);
        assert_eq!(all.doing(), Doing { asking: 1, ..Doing::default() });
    }
}
