//! How recording stands, for whoever asks: the readiness probe, the metrics, and callers that would not wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// How long a spool that took nothing is left alone.
const FULL_FOR: Duration = Duration::from_secs(1);

/// How recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// The last write went well, or there was none yet.
    Works,
    /// The database takes nothing, and events are kept in the spool, for so long still.
    Spooling(Duration),
    /// Nothing can be recorded.
    Fails,
}

/// Figures of an outage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutageFigures {
    /// When the outage began, if there is one.
    pub since: Option<Timestamp>,
    /// How many events wait in the spool.
    pub events: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many events were written from the spool since the process began.
    pub replayed: u64,
}

/// What is known of that.
pub(super) struct Standing {
    /// How long events are spooled; not at all, when absent.
    grace: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: bool,
    /// When the spool did not take an event, if that was the last.
    full: Option<Instant>,
    /// When the database was last known to take nothing that it would take now.
    from: Option<Instant>,
    figures: OutageFigures,
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(grace: Option<Duration>) -> Self {
        Self { grace, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn spools(&self) -> bool {
        self.grace.is_some()
    }

    pub(super) fn recording(&self) -> Recording {
        let state = self.state();
        match (state.from, self.grace) {
            (Some(from), Some(grace)) if state.full.is_none() => match grace.checked_sub(from.elapsed()) {
                Some(left) if !left.is_zero() => Recording::Spooling(left),
                _ => Recording::Fails,
            },
            (Some(_), _) => Recording::Fails,
            (None, _) if state.failing => Recording::Fails,
            (None, _) => Recording::Works,
        }
    }

    /// Whether an event may go to the spool now. One that took nothing is tried again, for what is true of a disk for a
    /// moment must not be for the whole outage.
    pub(super) fn admits(&self) -> bool {
        let state = self.state();
        let left = state.from.zip(self.grace).is_some_and(|(from, grace)| from.elapsed() < grace);
        left && state.full.is_none_or(|since| since.elapsed() >= FULL_FOR)
    }

    /// Whether there is an outage in which nothing is spooled any more.
    pub(super) fn is_over(&self) -> bool {
        self.state().from.is_some() && !self.admits()
    }

    pub(super) fn figures(&self) -> OutageFigures {
        self.state().figures
    }

    /// Whether the last write has failed.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failing
    }

    /// Takes note of how a write went. Answers whether the one before failed.
    pub(super) fn wrote(&self, fails: bool) -> bool {
        std::mem::replace(&mut self.state().failing, fails)
    }

    /// An outage has begun.
    pub(super) fn begin(&self, at: Timestamp) {
        let mut state = self.state();
        state.from = Some(Instant::now());
        state.figures.since = Some(at);
    }

    /// The spool did, or did not, take so many events, and has so many bytes now.
    pub(super) fn spooled(&self, events: u64, taken: bool, bytes: u64) {
        let mut state = self.state();
        state.full = (!taken).then(Instant::now);
        if taken {
            state.figures.events += events;
        }
        state.figures.bytes = bytes;
    }

    /// The database has taken so many events from the spool, which has so many bytes left: the grace begins anew.
    pub(super) fn replayed(&self, events: u64, bytes: u64) {
        let mut state = self.state();
        state.from = Some(Instant::now());
        state.figures.events = state.figures.events.saturating_sub(events);
        state.figures.replayed += events;
        state.figures.bytes = bytes;
    }

    /// The outage is over.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.figures = OutageFigures { replayed: state.figures.replayed, ..OutageFigures::default() };
        (state.from, state.full, state.failing) = (None, None, false);
    }
}
