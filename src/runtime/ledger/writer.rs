use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::OVERTAKEN;
use super::entry::{Done, Entry, What, chain_event, overtaken};
use super::meter::Meter;
use super::waiting::Releases;
use crate::domain::audit::{AuditEvent, Event, Origin, ProcessKind, Recorded, WrittenEvent};
use crate::domain::chain::{Chain, ChainEnd};
use crate::domain::error::Fault;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::audit_key::AuditKey;
use crate::runtime::clock::Ambient;
use crate::runtime::fault;
use crate::storage::{LedgerConnection, LedgerTx, Store, StoreError, UsedId};

/// The most entries of one transaction, which bounds how long the first of them waits.
const BATCH: usize = 1_024;

/// How many of the events that committed transactions have left are read at a time.
const LEFT: u32 = 256;

/// How long the database may take for a batch before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long events that nobody waits for may gather.
const GATHER: Duration = Duration::from_millis(50);

/// How long to wait before events that nobody waits for are tried again.
const RETRY: Duration = Duration::from_millis(200);

/// How many events are signed for at a time.
const SIGNED_TOGETHER: u64 = 1_024;

/// How long the last events may go without a signature when no others come.
const IDLE: Duration = Duration::from_secs(5);

/// How long events may go without a signature while others come, but few.
const UNSIGNED: Duration = Duration::from_secs(30);

/// How long a chain may be silent: then another begins. Retention keeps what is a day old, and so never removes all of a
/// chain that goes on, with the signature that says where it does.
const SILENT: Duration = Duration::from_hours(12);

/// How long a chain that did not end in order is looked at for more events.
const UNSETTLED: Duration = Duration::from_hours(24 * 7);

/// The task that writes. It has at most one chain at a time.
pub(super) struct Writer {
    store: Store,
    connection: LedgerConnection,
    ambient: Ambient,
    key: AuditKey,
    process: ProcessKind,
    /// None before the first event, and after a failure: whether a failed write was carried out nobody
    /// knows, so that chain ends there, whichever way, and the next one names it.
    chain: Option<Chain>,
    /// Events since the last signature, and when that was.
    unsigned: u64,
    signed: Instant,
    /// Days for whose events there is room.
    days: BTreeSet<Timestamp>,
    /// Whether the last write has failed.
    failing: Arc<AtomicBool>,
    meter: Arc<Meter>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        store: Store,
        ambient: Ambient,
        key: AuditKey,
        process: ProcessKind,
        (failing, meter): (Arc<AtomicBool>, Arc<Meter>),
    ) -> Self {
        let connection = LedgerConnection::new(store.clone());
        Self {
            store,
            connection,
            ambient,
            key,
            process,
            chain: None,
            unsigned: 0,
            signed: Instant::now(),
            days: BTreeSet::new(),
            failing,
            meter,
        }
    }

    /// Writes until every sender is gone, then closes the chain.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if !batch.is_empty() {
                // What nobody waits for and could not be written. What comes meanwhile stays in the queue, which
                // has an end, but for the room that is left in the batch.
                tokio::time::sleep(RETRY).await;
                if queue.is_closed() && queue.is_empty() {
                    break;
                }
                let room = BATCH.saturating_sub(batch.len());
                if room > 0 && !queue.is_empty() {
                    queue.recv_many(&mut batch, room).await;
                }
                self.write(&mut batch).await;
                continue;
            }
            match timeout(IDLE, queue.recv_many(&mut batch, BATCH)).await {
                Ok(0) => break,
                Ok(_) => {
                    gather(&mut queue, &mut batch).await;
                    self.write(&mut batch).await;
                }
                // Nobody may ask for a token until it is known that one can be recorded: so the start of the next chain is.
                Err(_) if self.failing.load(Ordering::Relaxed) => self.write(&mut batch).await,
                Err(_) => self.sign_or_warn().await,
            }
        }
        self.close(&mut batch).await;
    }

    /// Writes a batch and tells everybody. Those entries stay in it that must be tried again.
    async fn write(&mut self, batch: &mut Vec<Entry>) {
        let begun = self.meter.begin(batch.len());
        let outcome = match timeout(PATIENCE, self.commit(batch)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::unavailable("the database does not answer")),
        };
        self.meter.tried(begun, batch.len(), outcome.is_ok());
        match outcome {
            Ok(done) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("audit events can be written again");
                }
                let (mut wanted, mut releases) = (Vec::new(), Releases::default());
                for (entry, done) in batch.drain(..).zip(done) {
                    match (entry.what, entry.done) {
                        (What::SignedEvent(_), waiting) => wanted.extend(waiting),
                        (_, Some(waiting)) => releases.add(waiting, done),
                        (_, None) => {}
                    }
                }
                releases.send();
                // Nobody's token waits for a signature.
                if !wanted.is_empty() {
                    let done = self.sign().await.map_or_else(Done::Failed, |()| Done::Written);
                    for waiting in wanted {
                        waiting.release(done.clone());
                    }
                } else if self.unsigned >= SIGNED_TOGETHER || self.signed.elapsed() > UNSIGNED {
                    self.sign_or_warn().await;
                }
            }
            Err(fault) => {
                if !self.failing.swap(true, Ordering::Relaxed) || !batch.is_empty() {
                    tracing::error!(%fault, entries = batch.len(), "audit events could not be written");
                }
                self.chain = None;
                self.unsigned = 0;
                batch.retain_mut(|entry| match entry.done.take() {
                    Some(waiting) => {
                        waiting.release(Done::Failed(fault.clone()));
                        false
                    }
                    None => true,
                });
            }
        }
        self.meter.left(batch.len());
    }

    /// Makes a batch durable. Answers what became of each entry.
    async fn commit(&mut self, batch: &[Entry]) -> Result<Vec<Done>, Fault> {
        let now = self.ambient.now();
        if self.chain.as_ref().is_some_and(|chain| now.plus(OVERTAKEN) < chain.at()) {
            tracing::warn!("the clock went back: another chain begins, so that the times of each go forward");
            self.chain = None;
        }
        let silent = self.chain.take_if(|chain| chain.at().plus(SILENT) < now);
        self.make_room(now, batch).await?;
        let mut held = self.connection.hold().await.map_err(fault)?;
        if let Some(chain) = &self.chain
            && batch.iter().all(|entry| entry.what.is_plain(chain.at()))
        {
            let mut chain = chain.clone();
            let mut done = Vec::with_capacity(batch.len());
            let mut events = Vec::with_capacity(batch.len());
            for entry in batch {
                done.push(entry.chain(&mut chain, &mut events));
            }
            held.append(&events).await.map_err(fault)?;
            self.connection.give_back(held);
            self.keep(chain, events.len());
            return Ok(done);
        }
        let mut tx = held.begin().await.map_err(fault)?;
        let (done, chain, events) = self.commit_in(&mut tx, batch, now).await?;
        if let Some(silent) = silent {
            // Nothing follows in it. Only now: the next chain has named all others in their order, so that several
            // processes at once do not wait for each other.
            tx.end_chain(silent.end().writer).await.map_err(fault)?;
        }
        tx.commit().await.map_err(fault)?;
        self.connection.give_back(held);
        self.keep(chain, events);
        Ok(done)
    }

    /// [`Writer::commit`] for a batch that takes more than appending events.
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
            if let Some(purpose) = used_before.get(&place) {
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

    fn keep(&mut self, chain: Chain, events: usize) {
        self.unsigned += events as u64;
        self.chain = Some(chain);
    }

    async fn make_room(&mut self, now: Timestamp, batch: &[Entry]) -> Result<(), Fault> {
        for at in batch.iter().filter_map(|entry| entry.what.at()).chain([now]) {
            let day = at.start_of_day();
            if !self.days.contains(&day) {
                self.store.make_room(day).await.map_err(fault)?;
                self.days.insert(day);
            }
        }
        Ok(())
    }

    /// Begins a chain, whose first event names those before it.
    async fn begin(
        &self,
        tx: &mut LedgerTx<'_>,
        at: Timestamp,
        events: &mut Vec<Recorded>,
    ) -> Result<Chain, Fault> {
        let previous = name_chains(tx, at).await.map_err(fault)?;
        let mut chain = Chain::new(self.ambient.uuid()?, at);
        tx.insert_chain(chain.end().writer, at).await.map_err(fault)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let started = own(at, Event::Started { process: self.process, version, previous })?;
        chain_event(&mut chain, started, events);
        Ok(chain)
    }

    /// Signs for the last event of a day before one of another day follows: retention cuts between days,
    /// and what is left then begins right after a signed event.
    async fn sign_off_the_day(
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
    async fn sign(&mut self) -> Result<(), Fault> {
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
    async fn sign_or_warn(&mut self) {
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

    /// Ends the chain in order, with everything written that could be.
    async fn close(mut self, batch: &mut Vec<Entry>) {
        if !batch.is_empty() {
            self.write(batch).await;
        }
        if !batch.is_empty() {
            tracing::error!(events = batch.len(), "audit events of answered requests are lost");
        }
        let Some(chain) = self.chain.take() else { return };
        match timeout(PATIENCE, self.end(chain)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!(%fault, "the audit chain could not be closed"),
            Err(_) => tracing::warn!("the audit chain could not be closed in time"),
        }
    }

    async fn end(&mut self, mut chain: Chain) -> Result<(), Fault> {
        let at = self.ambient.now().max(chain.at());
        self.make_room(at, &[]).await?;
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
    matches!(kind, "changed" | "revoked" | "signed_in" | "signed_out" | "credential_expires_soon")
        || kind.starts_with("key")
}

/// An event of the ledger's own.
fn own(at: Timestamp, event: Event) -> Result<Arc<WrittenEvent>, Fault> {
    AuditEvent { at, origin: Origin::default(), event }.write().map(Arc::new)
}

/// Marks the identifiers of a batch as used. Answers the places of the entries that have a used one, and its purpose.
async fn use_up(
    tx: &mut LedgerTx<'_>,
    batch: &[Entry],
    overtaken: &BTreeSet<usize>,
) -> Result<BTreeMap<usize, &'static str>, StoreError> {
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

/// Lets a batch grow: by what requests that are ready to run bring along while this task steps back, for as long
/// as that brings something; and by whatever comes for a while when nobody waits.
async fn gather(queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) {
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        if batch.iter().all(|entry| entry.done.is_none()) {
            // Asleep, so that not every event wakes this task; the queue has room for far more.
            tokio::time::sleep(GATHER).await;
            if !queue.is_empty() {
                queue.recv_many(batch, room).await;
            }
            return;
        }
        tokio::task::yield_now().await;
        if queue.is_empty() || queue.recv_many(batch, room).await == 0 {
            return;
        }
    }
}
