//! What becomes of events while the database takes none.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::committer::{Attempt, own};
use super::entry::{Done, Entry, What};
use super::frame::{Frame, Spooled};
use super::spool::{Marked, Place, Spool};
use super::spools::{Spools, unusable};
use super::standing::Standing;
use super::waiting::Releases;
use super::{BATCH, OVERTAKEN};
use crate::config::Outage;
use crate::domain::audit::{Event, WrittenEvent};
use crate::domain::error::Fault;
use crate::domain::once::{self, Purpose, Use};
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::storage::UsedId;

/// The spool, and what must be known to put something into it.
pub(super) struct Shelter {
    spool: Spool,
    /// Where it is, which no other server may have meanwhile.
    _directory: Spools,
    standing: Arc<Standing>,
    ambient: Ambient,
    used: Used,
    /// The outage that there is.
    outage: Option<Began>,
    /// Whether the spool could not be emptied after the last one. Whoever adopts it would not find what is added.
    spent: bool,
}

/// An outage.
#[derive(Clone, Copy)]
struct Began {
    at: Timestamp,
    /// The time of the newest event in the spool.
    newest: Timestamp,
    /// How many events it had.
    events: u64,
}

/// Identifiers that were used here and of which the rule would say otherwise: in this outage, or shortly before by a
/// clock that was ahead.
struct Used {
    here: HashMap<(Purpose, String), Option<Timestamp>>,
    /// When the database was restored, and has forgotten what was used before.
    restored: Timestamp,
}

// === impl Shelter ===

impl Shelter {
    /// Makes a spool, beside a database that was `restored` last at this time. It is there before it is needed, with all
    /// of its room.
    pub(super) fn build(
        (spools, restored): (Spools, Timestamp),
        key: hmac::Key,
        ambient: Ambient,
        standing: Arc<Standing>,
    ) -> Result<Self, Fault> {
        let Outage { directory, max_size, .. } = &spools.settings;
        let spool = Spool::create(directory, *max_size, key, ambient.uuid()?)
            .map_err(|error| unusable(&spools.settings, &error))?;
        let used = Used { here: HashMap::new(), restored };
        Ok(Self { spool, _directory: spools, standing, ambient, used, outage: None, spent: false })
    }

    /// Whether there is an outage.
    pub(super) const fn is_open(&self) -> bool {
        self.outage.is_some()
    }

    /// Takes note of identifiers that the database was told of.
    pub(super) fn remember<'e>(&mut self, entries: impl Iterator<Item = &'e What>) {
        let mut now = None;
        for used in entries.flat_map(What::used) {
            let now = *now.get_or_insert_with(|| self.ambient.now());
            self.used.remember_written(used, now);
        }
    }

    /// Begins an outage with a batch that the database did not take when it was `asked`, or of which it is not known
    /// whether it did.
    ///
    /// # Errors
    /// The spool takes nothing either.
    pub(super) async fn open(
        &mut self,
        batch: &mut Vec<Entry>,
        attempt: Option<Attempt>,
        asked: Timestamp,
        fault: &Fault,
    ) -> Result<(), Fault> {
        if self.spent {
            self.empty().await?;
        }
        let first = batch.iter().filter_map(|entry| entry.what.at()).fold(asked, Timestamp::min);
        let began = own(first, Event::OutageBegan)?;
        self.spool.append(&Frame { tried: None, events: vec![Spooled::new(&began, &[])] }).await?;
        self.standing.begin(asked);
        self.standing.spooled(1, true, self.spool.bytes());
        self.outage = Some(Began { at: asked, newest: first, events: 1 });
        tracing::error!(%fault, spool = %self.spool.path().display(), "the database is away; audit events go to the spool");
        match attempt {
            Some(attempt) => self.take_tried(batch, attempt, fault).await,
            None => self.take(batch).await,
        }
        Ok(())
    }

    /// Spools what can be spooled, and tells everybody. What nobody waits for and did not fit stays in the batch.
    pub(super) async fn take(&mut self, batch: &mut Vec<Entry>) {
        let Some(mut outage) = self.outage else { return };
        let (open, now) = (self.standing.admits(), self.ambient.now());
        if now.plus(OVERTAKEN) < outage.newest {
            // The clock was set back. The chain of the replay goes forward; nobody waits for the clock to catch up.
            outage.newest = now;
        }
        let (mut frame, mut done) = (Frame::default(), Vec::with_capacity(batch.len()));
        let mut used = Vec::new();
        for entry in batch.iter() {
            let admitted = self.admit(entry, (open, now), &mut outage);
            if let (Done::Written, What::Event(event, ids)) = (&admitted, &entry.what) {
                frame.events.push(Spooled::new(event, ids));
                used.extend(ids.iter().cloned());
            }
            done.push(admitted);
        }
        if let Err(fault) = self.spool(&frame).await {
            self.used.forget(&used);
            let failed = |done: &mut Done| *done = Done::Failed(fault.clone());
            done.iter_mut().filter(|done| matches!(done, Done::Written)).for_each(failed);
        } else if let Some(began) = &mut self.outage {
            began.newest = outage.newest;
        }
        release(batch, done);
    }

    /// The same for a batch that was sent: what the database was about to say stands. Where it has not said yet whether an
    /// identifier was used, what can be said without it counts. Whatever is answered then, each event keeps its place: the
    /// batch may have been carried out as it was sent, or still be.
    async fn take_tried(&mut self, batch: &mut Vec<Entry>, attempt: Attempt, fault: &Fault) {
        let Attempt { tried, mut done, judged } = attempt;
        let (began, now) =
            (self.outage.map_or(Timestamp::from_micros(0), |outage| outage.at), self.ambient.now());
        let mut frame = Frame { tried: Some(tried), events: Vec::new() };
        for (entry, done) in batch.iter().zip(&mut done) {
            if let (Done::Written, Some((event, used))) = (&*done, entry.what.event()) {
                let said =
                    if judged || entry.done.is_none() { Ok(None) } else { self.used.judge(used, began, now) };
                // What was not answered uses nothing up.
                let used = if matches!(said, Ok(None)) { used } else { &[] };
                frame.events.push(Spooled::new(event, used));
                self.used.remember(used);
                match said {
                    Ok(None) => {}
                    Ok(Some(purpose)) => *done = Done::UsedBefore(purpose),
                    Err(fault) => *done = Done::Failed(fault),
                }
            }
        }
        let spooled = self.spool(&frame).await;
        for (entry, done) in batch.iter().zip(&mut done) {
            if spooled.is_err() || !matches!(entry.what, What::Event(..)) {
                *done = Done::Failed(fault.clone());
            }
        }
        release(batch, done);
    }

    async fn spool(&mut self, frame: &Frame) -> Result<(), Fault> {
        if frame.events.is_empty() {
            return Ok(());
        }
        let (events, taken) = (frame.events.len() as u64, self.spool.append(frame).await);
        self.standing.spooled(events, taken.is_ok(), self.spool.bytes());
        if let Err(fault) = &taken {
            tracing::error!(%fault, events, "audit events could not be spooled");
        } else if let Some(outage) = &mut self.outage {
            outage.events += events;
        }
        taken
    }

    /// What becomes of an entry, if the spool takes it.
    fn admit(&mut self, entry: &Entry, (open, now): (bool, Timestamp), outage: &mut Began) -> Done {
        let What::Event(event, used) = &entry.what else {
            return Done::Failed(Fault::unavailable("the database is away, and this cannot wait for it"));
        };
        // Whoever has the token already cannot be refused any more.
        if entry.done.is_some() {
            if !open {
                return Done::Failed(Fault::unavailable(
                    "the database has been away for too long (outage.grace), or the spool is full",
                ));
            }
            if entry.is_overtaken(outage.newest) {
                return Done::overtaken();
            }
            match self.used.judge(used, outage.at, now) {
                Ok(None) => {}
                Ok(Some(purpose)) => return Done::UsedBefore(purpose),
                Err(fault) => return Done::Failed(fault),
            }
        }
        self.used.remember(used);
        outage.newest = outage.newest.max(event.at);
        Done::Written
    }

    // === The way back ===

    /// What is to be replayed next, the place behind it, and whether it is all.
    pub(super) async fn next(&self) -> Result<(Vec<Marked>, Place, bool), Fault> {
        let (frames, place) = self.spool.peek(BATCH).await?;
        Ok((frames, place, self.spool.is_end(place)))
    }

    /// Takes note that the database has taken so many events, up to a place. Answers what is to be recorded of the
    /// outage, if that is its end.
    pub(super) async fn replayed(&mut self, place: Place, events: u64) -> Option<Arc<WrittenEvent>> {
        self.spool.replayed(place);
        self.standing.replayed(events, self.spool.bytes());
        if !self.spool.is_empty() {
            return None;
        }
        if let Err(fault) = self.empty().await {
            // What is in it is marked as written, so that it is not written twice.
            tracing::warn!(%fault, "the spool could not be emptied");
        }
        let Began { at: began, events, .. } = self.outage.take()?;
        self.standing.end();
        tracing::info!(events, %began, "the database is back, and has all events of the outage");
        own(self.ambient.now(), Event::OutageEnded { began, events }).ok()
    }

    async fn empty(&mut self) -> Result<(), Fault> {
        self.spent = true;
        self.spool.clear(self.ambient.uuid()?).await?;
        self.spent = false;
        Ok(())
    }

    /// The process ends. What is in the spool waits for the next one.
    pub(super) fn leave(self) {
        let path = self.spool.path().to_owned();
        if self.spool.is_empty() {
            if let Err(error) = self.spool.remove() {
                tracing::warn!(%error, spool = %path.display(), "the empty spool could not be removed");
            }
            return;
        }
        let events = self.standing.figures().events;
        tracing::warn!(
            events,
            spool = %path.display(),
            "stopped while the database is away: the audit events are kept there, and the next start with this \
             outage.directory writes them before it serves"
        );
    }
}

/// Tells everybody. What failed and nobody waits for stays in the batch.
fn release(batch: &mut Vec<Entry>, done: Vec<Done>) {
    let (mut releases, mut kept) = (Releases::default(), Vec::new());
    for (entry, done) in batch.drain(..).zip(done) {
        match (entry.done, &done) {
            (Some(waiting), _) => releases.add(waiting, done),
            (None, Done::Failed(_)) => kept.push(Entry { what: entry.what, done: None }),
            (None, _) => {}
        }
    }
    releases.send();
    *batch = kept;
}

// === impl Used ===

impl Used {
    /// Whether one of these was used before: the purpose of that one.
    fn judge(&self, used: &[UsedId], began: Timestamp, now: Timestamp) -> Result<Option<Purpose>, Fault> {
        let mut unknown = false;
        for used in used {
            // As the database itself would say.
            let forgotten = used.possible_since <= self.restored;
            let here = self.here.contains_key(&(used.purpose, used.id.clone()));
            match once::judge(began, now, used.issued_at, here || forgotten) {
                Use::First => {}
                Use::Again => return Ok(Some(used.purpose)),
                Use::Unknown => unknown = true,
            }
        }
        if unknown {
            return Err(Fault::unavailable(
                "whether an assertion or a proof was used before the database went away cannot be told: send one \
                 that is made from now on",
            ));
        }
        Ok(None)
    }

    fn remember(&mut self, used: &[UsedId]) {
        self.here.extend(used.iter().map(|used| ((used.purpose, used.id.clone()), used.issued_at)));
    }

    fn remember_written(&mut self, used: &UsedId, now: Timestamp) {
        if once::must_be_remembered(now, used.issued_at) {
            self.here.retain(|_, issued_at| once::must_be_remembered(now, *issued_at));
            self.remember(std::slice::from_ref(used));
        }
    }

    fn forget(&mut self, used: &[UsedId]) {
        for used in used {
            self.here.remove(&(used.purpose, used.id.clone()));
        }
    }
}
