//! From the spool into the database: in order, each event once.
//!
//! What was written nobody knows where a connection breaks before the answer. So each frame has a mark, which is used up
//! in the transaction that writes its events: one that is used already says that an earlier try was carried out. A
//! batch whose outcome was not known when it came into the spool is written again in the places that it would have; if
//! it is there, or on its way, those are taken.

use std::collections::HashSet;
use std::sync::Arc;

use super::OVERTAKEN;
use super::committer::{Committer, MARKED, SPOOL, own};
use super::entry::chain_event;
use super::frame::{Frame, Spooled, SpooledId, Tried};
use super::spool::Marked;
use crate::domain::audit::{Event, Recorded, WrittenEvent};
use crate::domain::chain::{Chain, ChainEnd};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::runtime::fault;
use crate::storage::{LedgerTx, StoreError};

/// An event of the spool that used an identifier up.
struct Used<'f> {
    id: &'f SpooledId,
    by: Arc<WrittenEvent>,
}

// === impl Committer ===

impl Committer {
    /// Writes these frames, but for those that are written.
    pub(super) async fn replay(&mut self, frames: &[Marked]) -> Result<(), Fault> {
        let now = self.ambient.now();
        let times = || frames.iter().flat_map(|(_, frame)| frame.events.iter().map(Spooled::at));
        self.make_room(now, times()).await?;
        let mut held = self.connection.hold().await.map_err(fault)?;
        let mut tx = held.begin().await.map_err(fault)?;
        let earliest = times().fold(now, Timestamp::min);
        if self.chain.as_ref().is_some_and(|chain| earliest.plus(OVERTAKEN) < chain.at()) {
            // There they would be recorded later than their identifiers say, and not be found by them.
            self.chain = None;
        }
        let missing = not_written(&mut tx, frames, now).await.map_err(fault)?;
        let mut events = Vec::new();
        let mut chain = match &self.chain {
            Some(chain) => chain.clone(),
            None => self.begin(&mut tx, earliest, &mut events).await?,
        };
        let mut used = Vec::new();
        for frame in missing {
            let written = match &frame.tried {
                Some(Tried::Behind(end)) => self.write_again(&mut tx, end, frame).await?,
                Some(Tried::Marked(_)) | None => self.place(&mut tx, frame, &mut chain, &mut events).await?,
            };
            for (event, spooled) in written.iter().zip(&frame.events) {
                used.extend(spooled.used.iter().map(|id| Used { id, by: Arc::clone(event) }));
            }
        }
        for twice in used_before(&mut tx, &used).await.map_err(fault)? {
            self.sign_off_the_day(&mut tx, &chain, Some(now)).await?;
            chain_event(&mut chain, own(now, used_twice(twice))?, &mut events);
        }
        tx.append_events(&events).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.connection.give_back(held);
        self.keep(chain, events.len());
        Ok(())
    }

    /// Puts a frame's events into the next places.
    async fn place(
        &self,
        tx: &mut LedgerTx<'_>,
        frame: &Frame,
        chain: &mut Chain,
        events: &mut Vec<Recorded>,
    ) -> Result<Vec<Arc<WrittenEvent>>, Fault> {
        let mut written = Vec::with_capacity(frame.events.len());
        for spooled in &frame.events {
            let event = spooled.event().map_err(Fault::internal)?;
            self.sign_off_the_day(tx, chain, Some(event.at)).await?;
            chain_event(chain, Arc::clone(&event), events);
            written.push(event);
        }
        Ok(written)
    }

    /// Writes the events of a batch whose outcome is not known behind the place that it was to follow. Answers those
    /// that were not there.
    async fn write_again(
        &self,
        tx: &mut LedgerTx<'_>,
        end: &ChainEnd,
        frame: &Frame,
    ) -> Result<Vec<Arc<WrittenEvent>>, Fault> {
        let (mut chain, mut events) = (Chain::after(end.clone()), Vec::with_capacity(frame.events.len()));
        let written = self.place(tx, frame, &mut chain, &mut events).await?;
        let missing = tx.append_events_again(&events).await.map_err(fault)?;
        if missing != 0 && missing != events.len() as u64 {
            tracing::error!(writer = %end.writer, missing, of = events.len(), "a part of a batch was there");
        }
        Ok(if missing == 0 { Vec::new() } else { written })
    }
}

/// Marks frames as written. Answers those that were not.
async fn not_written<'f>(
    tx: &mut LedgerTx<'_>,
    frames: &'f [Marked],
    now: Timestamp,
) -> Result<Vec<&'f Frame>, StoreError> {
    let until = now.plus(MARKED);
    let tried = |frame: &'f Frame| match &frame.tried {
        Some(Tried::Marked(mark)) => Some(&**mark),
        Some(Tried::Behind(_)) | None => None,
    };
    let marks = frames.iter().flat_map(|(mark, frame)| [Some(&**mark), tried(frame)]).flatten();
    let marks: Vec<_> = marks.map(|mark| (SPOOL, mark, until)).collect();
    let first: HashSet<String> = tx.use_up(&marks).await?.into_iter().map(|(_, mark)| mark).collect();
    let is_missing = |(mark, frame): &&'f Marked| {
        first.contains(mark) && tried(frame).is_none_or(|mark| first.contains(mark))
    };
    Ok(frames.iter().filter(is_missing).map(|(_, frame)| frame).collect())
}

/// Uses identifiers up. Answers those that were used before: at another replica, while nobody could know.
async fn used_before<'u, 'f>(
    tx: &mut LedgerTx<'_>,
    used: &'u [Used<'f>],
) -> Result<Vec<&'u Used<'f>>, StoreError> {
    let mut ids: Vec<_> =
        used.iter().map(|used| (&*used.id.purpose, &*used.id.id, used.id.expires_at())).collect();
    // In the same order everywhere: two replicas that wait for each other would wait for ever.
    ids.sort_unstable();
    let first: HashSet<(String, String)> = tx.use_up(&ids).await?.into_iter().collect();
    let is_first = |used: &&Used<'_>| first.contains(&(used.id.purpose.clone(), used.id.id.clone()));
    Ok(used.iter().filter(|used| !is_first(used)).collect())
}

fn used_twice(Used { id, by }: &Used<'_>) -> Event {
    Event::IdentifierUsedTwice {
        of: id.purpose.clone(),
        identifier: id.id.clone(),
        client_id: by.columns.client_id.clone(),
        jti: by.columns.jti.clone(),
    }
}
