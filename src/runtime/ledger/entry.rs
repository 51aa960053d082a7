//! What waits to be written, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::OVERTAKEN;
use super::waiting::Waiting;
use crate::domain::audit::{Recorded, WrittenEvent};
use crate::domain::chain::Chain;
use crate::domain::error::Fault;
use crate::domain::once::Purpose;
use crate::domain::time::Timestamp;
use crate::storage::UsedId;

/// Something to write, and who waits for it.
pub(super) struct Entry {
    pub(super) what: What,
    pub(super) done: Option<Waiting>,
}

/// Something to write.
pub(super) enum What {
    /// An event, and the identifiers that it uses up.
    Event(Arc<WrittenEvent>, Vec<UsedId>),
    /// An identifier that is used up without an event.
    Use(UsedId),
    /// Whatever committed transactions have left.
    LeftEvents,
    /// An event, and a signature for it.
    SignedEvent(Arc<WrittenEvent>),
}

/// What became of it.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// It is durable.
    Written,
    /// One of its identifiers was used before, of this purpose: its event was not written. Its other identifiers count
    /// as used.
    UsedBefore(Purpose),
    /// Nothing is known to be written.
    Failed(Fault),
}

// === impl Done ===

impl Done {
    pub(super) fn overtaken() -> Self {
        Self::Failed(Fault::unavailable("the request was overtaken by more than a second"))
    }
}

// === impl What ===

impl What {
    pub(super) fn uses_nothing_up(&self) -> bool {
        match self {
            Self::Event(_, used) => used.is_empty(),
            Self::SignedEvent(_) => true,
            Self::Use(_) | Self::LeftEvents => false,
        }
    }

    /// The event, and what it uses up.
    pub(super) fn event(&self) -> Option<(&Arc<WrittenEvent>, &[UsedId])> {
        match self {
            Self::Event(event, used) => Some((event, used)),
            Self::SignedEvent(event) => Some((event, &[])),
            Self::Use(_) | Self::LeftEvents => None,
        }
    }

    /// What it uses up.
    pub(super) fn used(&self) -> &[UsedId] {
        match self {
            Self::Event(_, used) => used,
            Self::Use(used) => std::slice::from_ref(used),
            Self::LeftEvents | Self::SignedEvent(_) => &[],
        }
    }

    /// Whether it takes nothing but appending one event to a chain that has come to this time, and using its identifiers
    /// up.
    pub(super) fn is_plain(&self, chain_at: Timestamp) -> bool {
        self.at().is_some_and(|at| at.start_of_day() <= chain_at.start_of_day())
    }

    pub(super) fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Event(event, _) | Self::SignedEvent(event) => Some(event.at),
            Self::Use(_) | Self::LeftEvents => None,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is a token whose event would be recorded too long after the time in its identifier. Whoever
    /// has the token already cannot be refused any more.
    pub(super) fn is_overtaken(&self, chain_at: Timestamp) -> bool {
        let What::Event(event, _) = &self.what else { return false };
        self.done.is_some() && event.columns.txn.is_some() && event.at.plus(OVERTAKEN) < chain_at
    }

    /// Puts the entry's event, if it is one, into the next place.
    pub(super) fn chain(&self, chain: &mut Chain, events: &mut Vec<Recorded>) -> Done {
        if self.is_overtaken(chain.at()) {
            return Done::overtaken();
        }
        if let What::Event(event, _) | What::SignedEvent(event) = &self.what {
            chain_event(chain, Arc::clone(event), events);
        }
        Done::Written
    }
}

/// Puts an event into the next place.
pub(super) fn chain_event(chain: &mut Chain, event: Arc<WrittenEvent>, events: &mut Vec<Recorded>) {
    events.push(Recorded { link: chain.append(event.at, &event.text), event });
}

/// The places of the entries that would be recorded too late, by where the chain is and by those before them.
pub(super) fn overtaken(batch: &[Entry], mut chain_at: Timestamp) -> BTreeSet<usize> {
    let mut overtaken = BTreeSet::new();
    for (place, entry) in batch.iter().enumerate() {
        if entry.is_overtaken(chain_at) {
            overtaken.insert(place);
        } else {
            chain_at = entry.what.at().map_or(chain_at, |at| at.max(chain_at));
        }
    }
    overtaken
}
