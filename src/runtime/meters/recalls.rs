//! How often memory saves work.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts questions whose answer was remembered, and those for which the work was done.
#[derive(Debug, Default)]
pub struct Recalls {
    remembered: AtomicU64,
    worked: AtomicU64,
}

/// How a client was found, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It was in memory.
    Remembered,
    /// It was remembered that there is none.
    RememberedUnknown,
    /// Nobody can have registered one of that name, so the database was not asked.
    MadeUp,
    /// The database was asked.
    Asked,
}

/// Counts lookups of clients.
#[derive(Debug, Default)]
pub struct Lookups([AtomicU64; Lookup::ALL.len()]);

// === impl Recalls ===

impl Recalls {
    /// Counts a question. Answers whether it was remembered.
    pub fn note(&self, remembered: bool) -> bool {
        let place = if remembered { &self.remembered } else { &self.worked };
        place.fetch_add(1, Ordering::Relaxed);
        remembered
    }

    /// How many were remembered.
    #[must_use]
    pub fn remembered(&self) -> u64 {
        self.remembered.load(Ordering::Relaxed)
    }

    /// For how many the work was done.
    #[must_use]
    pub fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }
}

// === impl Lookup ===

impl Lookup {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Remembered, Self::RememberedUnknown, Self::MadeUp, Self::Asked];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remembered => "remembered",
            Self::RememberedUnknown => "remembered_unknown",
            Self::MadeUp => "made_up",
            Self::Asked => "asked",
        }
    }
}

// === impl Lookups ===

impl Lookups {
    /// Counts one.
    pub fn note(&self, lookup: Lookup) {
        self.0[lookup as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self, lookup: Lookup) -> u64 {
        self.0[lookup as usize].load(Ordering::Relaxed)
    }
}
