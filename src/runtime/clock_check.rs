//! This machine's clock against the database's, which all replicas share: keys are planned by the time, and what has
//! had its time is removed, so a replica that is wrong about it must do neither.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::clock::Ambient;
use super::patiently;
use crate::domain::error::Fault;
use crate::domain::schedule::Span;
use crate::storage::Store;

/// How far the clocks are apart.
pub struct ClockCheck {
    store: Store,
    ambient: Ambient,
    tolerance: Duration,
    /// How far this process's clock is ahead of the database's, in microseconds, beyond what the measurement
    /// itself cannot tell.
    ahead: AtomicI64,
}

// === impl ClockCheck ===

impl ClockCheck {
    /// Not compared yet. `tolerance` is how far they may be apart.
    #[must_use]
    pub const fn new(store: Store, ambient: Ambient, tolerance: Duration) -> Self {
        Self { store, ambient, tolerance, ahead: AtomicI64::new(0) }
    }

    /// The clock that is compared, and randomness.
    #[must_use]
    pub const fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// Compares the clocks now: this one may have been set since that was done last.
    ///
    /// # Errors
    /// The database is away, or the clock is off by more than the tolerance.
    pub async fn trust(&self) -> Result<(), Fault> {
        self.compare().await?;
        self.check()
    }

    /// Compares this process's clock with the database's, which all replicas share.
    ///
    /// # Errors
    /// The database is away.
    pub async fn compare(&self) -> Result<(), Fault> {
        if !self.ambient.tells_world_time() {
            return Ok(());
        }
        let before = self.ambient.now();
        let Some(theirs) = patiently(self.store.clock()).await? else { return Ok(()) };
        let after = self.ambient.now();
        // The answer was made at some time in between.
        let (most, least) = (after.as_micros() - theirs.as_micros(), before.as_micros() - theirs.as_micros());
        let ahead = if least > 0 { least } else { most.min(0) };
        let was_off = self.check().is_err();
        self.ahead.store(ahead, Ordering::Relaxed);
        match (was_off, self.check()) {
            (false, Err(fault)) => {
                tracing::error!(%fault, "no keys are planned by this clock, and nothing is removed");
            }
            (true, Ok(())) => tracing::info!("the clock agrees with the database's again"),
            _ => {}
        }
        Ok(())
    }

    /// How many seconds this process's clock is ahead of the database's, beyond what the measurement cannot tell.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a double tells seconds to the microsecond for 285 years")]
    pub fn ahead(&self) -> f64 {
        self.ahead.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Whether this process's clock is near enough to the database's for keys to be planned, and old things
    /// to be removed, by it.
    ///
    /// # Errors
    /// It is off by more than the tolerance.
    pub fn check(&self) -> Result<(), Fault> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let off = Duration::from_micros(ahead.unsigned_abs());
        let tolerance = self.tolerance;
        if off <= tolerance {
            return Ok(());
        }
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        Err(Fault::unavailable(format!(
            "this machine's clock is {} {direction} the database's, more than {} (keys.clock_tolerance): set it \
             right, for example with chrony",
            Span(off),
            Span(tolerance)
        )))
    }
}
