//! What speaks to the database for the ledger: writes batches, begins and ends chains, signs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::OVERTAKEN;
use super::entry::{Done, Entry, What, chain_event, overtaken};
use super::frame::Tried;
use crate::domain::audit::{AuditEvent, Event, Origin, ProcessKind, Recorded, WrittenEvent};
use crate::domain::chain::{Chain, ChainEnd};
use crate::domain::error::Fault;
use crate::domain::once::Purpose;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::audit_key::AuditKey;
use crate::runtime::clock::Ambient;
use crate::runtime::fault;
use crate::storage::{Held, LedgerConnection, LedgerTx, Store, StoreError, UsedId};

/// How many of the events that committed transactions have left are read at a time.
const LEFT: u32 = 256;

/// How long the database may take for a batch before it counts as away.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a chain may be silent: then another begins. Retention keeps what is a day old, and so never removes all of a
/// chain that goes on, with the signature that says where it does.
const SILENT: Duration = Duration::from_hours(12);

/// How long a chain that did not end in order is looked at for more events.
const UNSETTLED: Duration = Duration::from_hours(24 * 7);

/// What marks count among, and how long: a file of a machine that was away must not be replayed twice.
pub(super) const SPOOL: &str = "spool";
pub(super) const MARKED: Duration = Duration::from_hours(24 * 400);

/// The ledger's way to the database. It has at most one chain at a time.
pub(super) struct Committer {
    pub(super) store: Store,
    pub(super) connection: LedgerConnection,
    pub(super) ambient: Ambient,
    key: AuditKey,
    process: ProcessKind,
    /// None before the first event, and after a failure: whether a failed write was carried out nobody
    /// knows, so that chain ends there, whichever way, and the next one names it.
    pub(super) chain: Option<Chain>,
    /// How far the chain had come that was given up last, until the next one has begun: all of that was durable.
    given_up: Option<ChainEnd>,
    /// The batch whose outcome is not known, after a failure.
    pub(super) attempt: Option<Attempt>,
    /// Whether what begins a chain is marked.
    marks: bool,
    /// Events since the last signature, and when that was.
    pub(super) unsigned: u64,
    pub(super) signed: Instant,
    /// Days for whose events there is room.
    days: BTreeSet<Timestamp>,
}

/// A batch that was sent and may have been written.
pub(super) struct Attempt {
    pub(super) tried: Tried,
    /// What has become of each entry, if it was.
    pub(super) done: Vec<Done>,
    /// Whether the database has said which of its identifiers were used before. If not, `done` takes it that none was.
    pub(super) judged: bool,
}

// === impl Committer ===

impl Committer {
    pub(super) fn new(
        store: Store,
        ambient: Ambient,
        key: AuditKey,
        process: ProcessKind,
        marks: bool,
    ) -> Self {
        Self {
            connection: LedgerConnection::new(store.clone()),
            store,
            ambient,
            key,
            process,
            chain: None,
            given_up: None,
            attempt: None,
            marks,
            unsigned: 0,
            signed: Instant::now(),
            days: BTreeSet::new(),
        }
    }

    /// After a failure: the chain ends where it is, whichever way.
    pub(super) fn give_up(&mut self) -> Option<Attempt> {
        if let Some(chain) = self.chain.take() {
            self.given_up = Some(chain.end().clone());
        }
        self.unsigned = 0;
        self.attempt.take()
    }

    /// Makes a batch durable. Answers what became of each entry.
    pub(super) async fn commit(&mut self, batch: &[Entry]) -> Result<Vec<Done>, Fault> {
        self.attempt = None;
        let now = self.ambient.now();
        if self.chain.as_ref().is_some_and(|chain| now.plus(OVERTAKEN) < chain.at()) {
            tracing::warn!("the clock went back: another chain begins, so that the times of each go forward");
            self.chain = None;
        }
        let silent = self.chain.take_if(|chain| chain.at().plus(SILENT) < now);
        self.make_room(now, batch.iter().filter_map(|entry| entry.what.at())).await?;
        let mut held = self.connection.hold().await.map_err(fault)?;
        if let Some(appended) = self.append(&mut held, batch).await? {
            self.connection.give_back(held);
            return Ok(appended);
        }
        let mut tx = held.begin().await.map_err(fault)?;
        let tried = match &self.chain {
            Some(chain) => Tried::Behind(chain.end().clone()),
            None => Tried::Marked(self.mark(&mut tx, now).await?),
        };
        let (done, chain, events) = self.commit_in(&mut tx, batch, now).await?;
        if let Some(silent) = silent {
            // Nothing follows in it. Only now: the next chain has named all others in their order, so that several
            // processes at once do not wait for each other.
            tx.end_chain(silent.end().writer).await.map_err(fault)?;
        }
        self.attempt = Some(Attempt { tried, done, judged: true });
        tx.commit().await.map_err(fault)?;
        self.connection.give_back(held);
        self.keep(chain, events);
        Ok(self.attempt.take().map(|attempt| attempt.done).unwrap_or_default())
    }

    /// [`Committer::commit`] for a batch that takes nothing but appending events to the chain and using their identifiers
    /// up, all at once: nearly all are of that kind. `None`: it is another one, or one of the identifiers was used before,
    /// and nothing is done.
    async fn append(&mut self, held: &mut Held, batch: &[Entry]) -> Result<Option<Vec<Done>>, Fault> {
        let Some(mut chain) = self.chain.clone() else { return Ok(None) };
        if !batch.iter().all(|entry| entry.what.is_plain(chain.at())) {
            return Ok(None);
        }
        let mut used: Vec<&UsedId> = batch.iter().flat_map(|entry| entry.what.used()).collect();
        // In the same order everywhere, as in `use_up`.
        used.sort();
        let twice = used.windows(2).any(|two| (two[0].purpose, &two[0].id) == (two[1].purpose, &two[1].id));
        // What is overtaken uses nothing up.
        if twice || (!used.is_empty() && !overtaken(batch, chain.at()).is_empty()) {
            return Ok(None);
        }
        let before = chain.end().clone();
        let mut done = Vec::with_capacity(batch.len());
        let mut events = Vec::with_capacity(batch.len());
        for entry in batch {
            done.push(entry.chain(&mut chain, &mut events));
        }
        self.attempt = Some(Attempt { tried: Tried::Behind(before), done, judged: used.is_empty() });
        let appended = held.append(&events, &used).await.map_err(fault)?;
        let attempt = self.attempt.take();
        if !appended {
            return Ok(None);
        }
        self.keep(chain, events.len());
        Ok(attempt.map(|attempt| attempt.done))
    }

    /// Marks a transaction that begins a chain, so that whether it was carried out can be found out: where a chain is
    /// known, its places tell. Only where there is a spool does anybody ask.
    async fn mark(&self, tx: &mut LedgerTx<'_>, now: Timestamp) -> Result<String, Fault> {
        let mark = self.ambient.uuid()?.to_string();
        if self.marks {
            tx.use_up(&[(SPOOL, &mark, now.plus(MARKED))]).await.map_err(fault)?;
        }
        Ok(mark)
    }

    /// [`Committer::commit`] for a batch that takes more than appending events.
    async fn commit_in(
        &self,
        tx: &mut LedgerTx<'_>,
        batch: &[Entry],
        now: Timestamp,
    ) -> Result<(Vec<Done>, Chain, usize), Fault> {
        let mut events = Vec::with_capacity(batch.len() + 1);
        let mut chain = if let Some(chain) = &self.chain {
            chain.clone()
        } else {
            let first = batch.iter().filter_map(|entry| entry.what.at()).fold(now, Timestamp::min);
            self.begin(tx, first, &mut events).await?
        };
        let overtaken = overtaken(batch, chain.at());
        let used_before = use_up(tx, batch, &overtaken).await.map_err(fault)?;
        let mut done = Vec::with_capacity(batch.len());
        for (place, entry) in batch.iter().enumerate() {
            if let Some(&purpose) = used_before.get(&place) {
                done.push(Done::UsedBefore(purpose));
                continue;
            }
            if overtaken.contains(&place) {
                done.push(Done::overtaken());
                continue;
            }
            self.sign_off_the_day(tx, &chain, entry.what.at()).await?;
            done.push(entry.chain(&mut chain, &mut events));
        }
        if batch.iter().any(|entry| matches!(entry.what, What::LeftEvents)) {
            loop {
                let taken = tx.take_events(LEFT).await.map_err(fault)?;
                for (at, text) in &taken {
                    // Whoever can write a row can write any time, and there is no room for the events of one to come.
                    let at = (*at).min(now.plus(OVERTAKEN));
                    self.sign_off_the_day(tx, &chain, Some(at)).await?;
                    chain_event(&mut chain, left(at, text)?, &mut events);
                }
                // All of them: whoever asked waits for one that may be the newest.
                if taken.len() < LEFT as usize {
                    break;
                }
            }
        }
        tx.append_events(&events).await.map_err(fault)?;
        Ok((done, chain, events.len()))
    }

    pub(super) fn keep(&mut self, chain: Chain, events: usize) {
        self.unsigned += events as u64;
        self.given_up = None;
        self.chain = Some(chain);
    }

    pub(super) async fn make_room(
        &mut self,
        now: Timestamp,
        times: impl Iterator<Item = Timestamp>,
    ) -> Result<(), Fault> {
        for at in times.chain([now]) {
            let day = at.start_of_day();
            if !self.days.contains(&day) {
                self.store.make_room(day).await.map_err(fault)?;
                self.days.insert(day);
            }
        }
        Ok(())
    }

    /// Begins a chain, whose first event names those before it.
    pub(super) async fn begin(
        &self,
        tx: &mut LedgerTx<'_>,
        at: Timestamp,
        events: &mut Vec<Recorded>,
    ) -> Result<Chain, Fault> {
        let mut previous = name_chains(tx, at).await.map_err(fault)?;
        self.name_lost(tx, &mut previous).await?;
        let mut chain = Chain::new(self.ambient.uuid()?, at);
        tx.insert_chain(chain.end().writer, at).await.map_err(fault)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let started = own(at, Event::Started { process: self.process, version, previous })?;
        chain_event(&mut chain, started, events);
        Ok(chain)
    }

    /// Names the chain that was given up as it was, where the database has less of it: it went back, or a standby that
    /// lagged took over. Then the check finds what is missing, and not what happens to be there.
    async fn name_lost(&self, tx: &mut LedgerTx<'_>, previous: &mut Vec<ChainEnd>) -> Result<(), Fault> {
        let Some(ours) = &self.given_up else { return Ok(()) };
        let theirs = tx.chain_end(ours.writer).await.map_err(fault)?.map_or(0, |end| end.seq);
        if theirs < ours.seq {
            tracing::error!(
                chain = %ours.writer, from = theirs + 1, to = ours.seq,
                "the database has lost audit events that it had taken: it went back, or a standby that lagged took over"
            );
            previous.retain(|end| end.writer != ours.writer);
            previous.push(ours.clone());
        }
        Ok(())
    }

    /// Signs for the last event of a day before one of another day follows: retention cuts between days,
    /// and what is left then begins right after a signed event.
    pub(super) async fn sign_off_the_day(
        &self,
        tx: &mut LedgerTx<'_>,
        chain: &Chain,
        next: Option<Timestamp>,
    ) -> Result<(), Fault> {
        let turns = next.is_some_and(|next| next.start_of_day() > chain.at().start_of_day());
        if turns && chain.end().seq > 0 {
            let jws = self.key.sign(chain.end())?;
            tx.insert_checkpoint(chain.end(), &jws).await.map_err(fault)?;
        }
        Ok(())
    }

    /// Signs for everything that is written.
    pub(super) async fn sign(&mut self) -> Result<(), Fault> {
        let Some(chain) = self.chain.as_ref().filter(|_| self.unsigned > 0) else { return Ok(()) };
        let end = chain.end().clone();
        match timeout(PATIENCE, self.checkpoint(&end)).await {
            Ok(signed) => signed?,
            Err(_) => return Err(Fault::unavailable("the database does not answer")),
        }
        self.unsigned = 0;
        self.signed = Instant::now();
        Ok(())
    }

    /// The same, when nobody waits for it: what fails is tried again after the next events.
    pub(super) async fn sign_or_warn(&mut self) {
        if let Err(fault) = self.sign().await {
            tracing::warn!(%fault, "an audit checkpoint could not be written");
        }
    }

    async fn checkpoint(&mut self, end: &ChainEnd) -> Result<(), Fault> {
        let jws = self.key.sign(end)?;
        let mut held = self.connection.hold().await.map_err(fault)?;
        let mut tx = held.begin().await.map_err(fault)?;
        tx.insert_checkpoint(end, &jws).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.connection.give_back(held);
        Ok(())
    }

    /// Ends the chain in order, if there is one.
    pub(super) async fn close(&mut self) {
        let Some(chain) = self.chain.take() else { return };
        match timeout(PATIENCE, self.end(chain)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!(%fault, "the audit chain could not be closed"),
            Err(_) => tracing::warn!("the audit chain could not be closed in time"),
        }
    }

    async fn end(&mut self, mut chain: Chain) -> Result<(), Fault> {
        let at = self.ambient.now().max(chain.at());
        self.make_room(at, std::iter::empty()).await?;
        let mut events = Vec::new();
        let mut held = self.connection.hold().await.map_err(fault)?;
        let mut tx = held.begin().await.map_err(fault)?;
        self.sign_off_the_day(&mut tx, &chain, Some(at)).await?;
        chain_event(&mut chain, own(at, Event::Stopped)?, &mut events);
        tx.append_events(&events).await.map_err(fault)?;
        tx.insert_checkpoint(chain.end(), &self.key.sign(chain.end())?).await.map_err(fault)?;
        tx.end_chain(chain.end().writer).await.map_err(fault)?;
        tx.commit().await.map_err(fault)
    }
}

/// An event that a transaction has left. Only a change leaves one, of what is registered, of tokens, of keys, or of who is signed in, and a warning:
/// anything else was put there behind our back, and is recorded as that.
fn left(at: Timestamp, text: &str) -> Result<Arc<WrittenEvent>, Fault> {
    match WrittenEvent::read(at, text.to_owned()) {
        Ok(event) if is_left(&event.columns.kind) => Ok(Arc::new(event)),
        _ => own(at, Event::LeftEventRejected { text: quoted(text) }),
    }
}

fn is_left(kind: &str) -> bool {
    matches!(
        kind,
        "changed"
            | "revoked"
            | "signed_in"
            | "signed_out"
            | "credential_expires_soon"
            | "backed_up"
            | "restored"
    ) || kind.starts_with("key")
}

/// An event of the ledger's own.
pub(super) fn own(at: Timestamp, event: Event) -> Result<Arc<WrittenEvent>, Fault> {
    AuditEvent { at, origin: Origin::default(), event }.write().map(Arc::new)
}

/// Marks the identifiers of a batch as used. Answers the places of the entries that have a used one, and its purpose.
async fn use_up(
    tx: &mut LedgerTx<'_>,
    batch: &[Entry],
    overtaken: &BTreeSet<usize>,
) -> Result<BTreeMap<usize, Purpose>, StoreError> {
    let mut wanted: Vec<(&UsedId, usize)> = Vec::new();
    for (place, entry) in batch.iter().enumerate() {
        // What fails for another reason may be tried again with the same identifiers.
        match &entry.what {
            What::Event(_, used) if !overtaken.contains(&place) => {
                wanted.extend(used.iter().map(|used| (used, place)));
            }
            What::Use(used) => wanted.push((used, place)),
            _ => {}
        }
    }
    // In the same order everywhere: two replicas that wait for each other would wait for ever.
    wanted.sort();
    let ids: Vec<&UsedId> = wanted.iter().map(|(used, _)| *used).collect();
    let mut first = tx.use_ids(&ids).await?;
    let mut used_before = BTreeMap::new();
    for (used, place) in wanted {
        // Of several in this batch the first has it.
        if !first.remove(&(used.purpose, &*used.id)) {
            used_before.entry(place).or_insert(used.purpose);
        }
    }
    Ok(used_before)
}

/// The chains that have grown since a start has last named them, and the one that was started last: so that
/// neither the end of a chain nor a whole one can go missing unnoticed.
async fn name_chains(tx: &mut LedgerTx<'_>, now: Timestamp) -> Result<Vec<ChainEnd>, StoreError> {
    let mut previous = Vec::new();
    let open = tx.unsettled_chains().await?;
    let newest = open.last().map(|chain| chain.writer);
    for chain in open {
        let Some(end) = tx.chain_end(chain.writer).await? else {
            // A chain is never without events but when retention has removed them: nothing can follow.
            tx.name_chain(chain.writer, chain.named_seq.unsigned_abs(), true).await?;
            continue;
        };
        let settled = chain.ended || end.at.plus(UNSETTLED) < now;
        tx.name_chain(chain.writer, end.seq, settled).await?;
        if end.seq.cast_signed() > chain.named_seq || newest == Some(chain.writer) {
            previous.push(end);
        }
    }
    Ok(previous)
}
