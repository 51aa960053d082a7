//! The only place that reads the clock or asks for randomness. Everything else is given both.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
        Self { clock, entropy }
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

    /// A database key or event id, ordered by time (UUIDv7, RFC 9562 §5.7).
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn uuid(&self) -> Result<Uuid, Fault> {
        let random = self.bytes::<10>()?;
        Ok(uuid::Builder::from_unix_timestamp_millis(self.now().as_millis(), &random).into_uuid())
    }

    /// An identifier of a request, which cannot be guessed: 128 random bits in base64url.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn request_id(&self) -> Result<String, Fault> {
        Ok(BASE64URL.encode(self.bytes::<16>()?))
    }

    /// An identifier of a token or a chain of tokens ([`token_id`]), made at `now`.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn token_id(&self, mark: &str, now: Timestamp) -> Result<String, Fault> {
        Ok(token_id::make(mark, now, self.bytes()?))
    }
}
