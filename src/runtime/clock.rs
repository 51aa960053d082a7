//! The only place that reads the clock or asks for randomness. Everything else is given both.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rand::TryRng;
use rand::rngs::SysRng;
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::domain::token_id;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// This instant.
    fn now(&self) -> Timestamp;

    /// How long the machine has run; goes forward only (`CLOCK_MONOTONIC`).
    fn since_boot(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.now().as_micros()).unwrap_or_default())
    }

    /// Whether it means to tell the world's time, so that it can be compared with another machine's.
    fn tells_world_time(&self) -> bool {
        false
    }
}

/// Gives unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// The source failed; nothing may be made from `bytes` then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault>;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

/// The outside world's two inputs, handed to whatever needs them.
#[derive(Clone)]
pub struct Ambient {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ahead: Arc<Mutex<Ahead>>,
}

/// Random bytes that were asked for ahead of their use, because to ask the system costs more than an identifier. Nothing
/// secret is made of them: what waits here could be read in memory before it is one.
struct Ahead {
    bytes: [u8; 1_024],
    /// How many of them, from the beginning, were not given out.
    left: usize,
}

// === impl SystemClock ===

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn since_boot(&self) -> Duration {
        let rustix::time::Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (u64::try_from(tv_sec), u32::try_from(tv_nsec));
        Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
    }

    fn tells_world_time(&self) -> bool {
        true
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// A clock that says `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_micros()))
    }

    /// Sets it, also back.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

// === impl SystemEntropy ===

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault> {
        SysRng.try_fill_bytes(bytes).map_err(|error| Fault::internal(format!("random numbers: {error}")))
    }
}

// === impl Ambient ===

impl Ambient {
    /// From a clock and a source of randomness.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let ahead = Ahead { bytes: [0; _], left: 0 };
        Self { clock, entropy, ahead: Arc::new(Mutex::new(ahead)) }
    }

    /// The operating system's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// This instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long the machine has run.
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        self.clock.since_boot()
    }

    /// Whether the clock means to tell the world's time.
    #[must_use]
    pub fn tells_world_time(&self) -> bool {
        self.clock.tells_world_time()
    }

    /// `N` random bytes.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// As [`Ambient::bytes`], for what everybody may know.
    fn public_bytes<const N: usize>(&self) -> Result<[u8; N], Fault> {
        // A panic of the source leaves it empty or as it was.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take(&*self.entropy)
    }

    /// A database key or event id, ordered by time (UUIDv7, RFC 9562 §5.7).
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn uuid(&self) -> Result<Uuid, Fault> {
        let random = self.public_bytes::<10>()?;
        Ok(uuid::Builder::from_unix_timestamp_millis(self.now().as_millis(), &random).into_uuid())
    }

    /// An identifier of a request, which cannot be guessed: 128 random bits in base64url.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn request_id(&self) -> Result<String, Fault> {
        Ok(BASE64URL.encode(self.public_bytes::<16>()?))
    }

    /// An identifier of a token or a chain of tokens ([`token_id`]), made at `now`.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn token_id(&self, mark: &str, now: Timestamp) -> Result<String, Fault> {
        Ok(token_id::make(mark, now, self.public_bytes()?))
    }
}

// === impl Ahead ===

impl Ahead {
    /// Bytes that nobody else gets.
    fn take<const N: usize>(&mut self, entropy: &dyn Entropy) -> Result<[u8; N], Fault> {
        let mut taken = [0; N];
        if N > self.left {
            // Filled anew only in part, none of them would count.
            self.left = 0;
            entropy.fill(&mut self.bytes)?;
            self.left = self.bytes.len();
        }
        self.left -= N;
        taken.copy_from_slice(&self.bytes[self.left..self.left + N]);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, AtomicU8};

    use super::*;

    /// Says a number more with every byte, as long as it works.
    #[derive(Default)]
    struct Counting {
        next: AtomicU8,
        broken: AtomicBool,
    }

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault> {
            for (place, byte) in bytes.iter_mut().enumerate() {
                if self.broken.load(Ordering::Relaxed) && place > 100 {
                    return Err(Fault::internal("broken"));
                }
                *byte = self.next.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    #[test]
    fn no_random_byte_is_given_out_twice() {
        let ambient = Ambient::system();
        let all: BTreeSet<_> = (0..1_000).map(|_| ambient.request_id().unwrap()).collect();
        assert_eq!(all.len(), 1_000);

        // Some are left where it is filled anew.
        let all: BTreeSet<_> = (0..1_000).map(|_| ambient.public_bytes::<10>().unwrap()).collect();
        assert_eq!(all.len(), 1_000);

        let entropy = Arc::new(Counting::default());
        let ambient = Ambient::new(Arc::new(SystemClock), Arc::clone(&entropy) as _);
        let mut seen = Vec::new();
        for _ in 0..25 {
            seen.extend(ambient.public_bytes::<10>().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen.windows(2).find(|pair| pair[0] == pair[1]), None);
        assert!(seen.len() == 250, "{seen:?}");
    }

    #[test]
    fn when_the_source_fails_nothing_is_made_from_what_was_there() {
        let entropy = Arc::new(Counting::default());
        let ambient = Ambient::new(Arc::new(SystemClock), Arc::clone(&entropy) as _);
        entropy.broken.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(ambient.public_bytes::<16>().is_err());
        }
        entropy.broken.store(false, Ordering::Relaxed);
        assert!(ambient.public_bytes::<16>().is_ok());
    }
}
