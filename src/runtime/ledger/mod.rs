//! The ledger: an event is durable before its answer leaves.
//!
//! One task writes. It takes whatever is queued, chains it, writes it in one statement, and releases everybody
//! who waits for it, so that one disk sync serves many answers. Nobody waits for a timer: while one batch is
//! written the next one gathers.

mod adoption;
mod committer;
mod entry;
mod frame;
mod meter;
mod replay;
mod shelter;
mod spool;
mod spools;
mod standing;
mod waiting;
mod writer;

pub use self::adoption::adopt;
pub use self::meter::Meter;
pub use self::spools::Spools;
pub use self::standing::{OutageFigures, Recording};

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::committer::Committer;
use self::entry::{Done, Entry, What};
use self::shelter::Shelter;
use self::standing::Standing;
use self::waiting::{Home, Waiting};
use self::writer::Writer;
use super::audit_key::AuditKey;
use super::clock::Ambient;
use crate::config::{Issuance, OutageMode};
use crate::domain::audit::{AuditEvent, ProcessKind};
use crate::domain::error::Fault;
use crate::domain::once::Purpose;
use crate::domain::time::Timestamp;
use crate::storage::{Store, UsedId};

/// The most entries of one transaction, which bounds how long the first of them waits.
const BATCH: usize = 1_024;

/// How many events may wait. Beyond, callers are told to come back: memory has an end.
const QUEUE: usize = 4_096;

/// How long a caller waits for its event before it hears that the database is away: longer than the writer
/// gives the database for one batch, so that what that takes is answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a caller that need not wait for its event waits for room in the queue.
const BREATH: Duration = Duration::from_secs(1);

/// How far an event's time may lie before that of one that was recorded earlier. It bounds where to look for
/// a token by the time in its identifier.
pub const OVERTAKEN: Duration = Duration::from_secs(1);

/// Writes events and waits until they are durable.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
    issuance: Issuance,
    home: Option<Home>,
    standing: Arc<Standing>,
    meter: Arc<Meter>,
}

/// Why an event was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// One of the identifiers that count once was used before.
    #[error("an identifier was used before: {purpose}")]
    UsedBefore {
        /// Its [`UsedId::purpose`]. Of several, the first in the order of their names.
        purpose: Purpose,
    },
    /// It could not be made durable; nothing may be answered.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl Ledger ===

impl Ledger {
    /// Starts the writer. It ends, with everything written and its chain closed, once every clone of the
    /// ledger is gone. The chain begins with the first event. It runs on the given runtime.
    ///
    /// `spools` is what a server gives, and a command does not: the directory that it has claimed for events while the
    /// database is away, and when that database was last restored. In the mode `refuse` no events are kept there.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start(
        (store, ambient): (Store, Ambient),
        key: AuditKey,
        process: ProcessKind,
        issuance: Issuance,
        spools: Option<(Spools, Timestamp)>,
        runtime: &Handle,
    ) -> Result<(Self, JoinHandle<()>), Fault> {
        let (queue, entries) = mpsc::channel(QUEUE);
        let spools = spools.filter(|(spools, _)| spools.settings.mode == OutageMode::Spool);
        let standing = Arc::new(Standing::new(spools.as_ref().map(|(spools, _)| spools.settings.grace)));
        let shelter = spools
            .map(|spools| Shelter::build(spools, key.spool(), ambient.clone(), Arc::clone(&standing)))
            .transpose()?;
        let committer = Committer::new(store, ambient, key, process, shelter.is_some());
        let meter = Arc::new(Meter::new());
        let told = (Arc::clone(&standing), Arc::clone(&meter));
        let writer = Writer::new(committer, shelter, told);
        Ok((Self { queue, issuance, home: None, standing, meter }, runtime.spawn(writer.run(entries))))
    }

    /// The same ledger for callers on the runtime of thread `number`, and a task to run there until this ledger is
    /// dropped: then a batch wakes that thread once, and not once for each caller.
    pub fn at_home(&self, number: usize) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (home, running) = Home::new(number);
        (Self { home: Some(home), ..self.clone() }, running)
    }

    /// How recording stands, as far as that is known: how the last write went. The writer tries again by itself when
    /// nobody asks for anything.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.standing.recording()
    }

    /// Whether events are kept in a file while the database takes none.
    #[must_use]
    pub fn spools(&self) -> bool {
        self.standing.spools()
    }

    /// Figures of the outage, if there is one.
    #[must_use]
    pub fn outage(&self) -> OutageFigures {
        self.standing.figures()
    }

    /// What the batches tell.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How many entries wait, and how many may.
    #[must_use]
    pub fn queue(&self) -> (usize, usize) {
        let most = self.queue.max_capacity();
        (most - self.queue.capacity(), most)
    }

    /// Records an event and returns once it is durable.
    ///
    /// # Errors
    /// The queue is full or the database is away: then nothing may be answered.
    pub async fn record(&self, event: &AuditEvent) -> Result<(), Fault> {
        match self.wait(What::Event(Arc::new(event.write()?), Vec::new())).await {
            Done::Written => Ok(()),
            Done::UsedBefore(_) => {
                Err(Fault::internal("an event without identifiers cannot have a used one"))
            }
            Done::Failed(fault) => Err(fault),
        }
    }

    /// Records the event of an issued token together with the identifiers that its request used up. When one of
    /// them was used before, there is no event, and the others count as used too.
    ///
    /// Under `audit.issuance = "buffered"` it returns before the event is durable, unless there is an
    /// identifier: whether that was used before, only the store knows.
    ///
    /// # Errors
    /// An identifier was used before; the queue is full or the database is away.
    pub async fn record_issuance(&self, event: &AuditEvent, used: Vec<UsedId>) -> Result<(), RecordError> {
        let what = What::Event(Arc::new(event.write()?), used);
        if self.issuance == Issuance::Buffered && what.uses_nothing_up() {
            // Until it is known to fail: then there is no telling when it could be written.
            if self.standing.is_over() {
                return Err(Fault::unavailable("the database has been away for too long").into());
            }
            return Ok(self.make_room_for(Entry { what, done: None }).await?);
        }
        match self.wait(what).await {
            Done::Written => Ok(()),
            Done::UsedBefore(purpose) => Err(RecordError::UsedBefore { purpose }),
            Done::Failed(fault) => Err(fault.into()),
        }
    }

    /// Uses up an identifier for which there is no event, and returns once that is durable.
    ///
    /// # Errors
    /// It was used before; the queue is full or the database is away.
    pub async fn spend(&self, used: UsedId) -> Result<(), RecordError> {
        match self.wait(What::Use(used)).await {
            Done::Written => Ok(()),
            Done::UsedBefore(purpose) => Err(RecordError::UsedBefore { purpose }),
            Done::Failed(fault) => Err(fault.into()),
        }
    }

    /// Chains the events that committed transactions have left, and returns once that is durable.
    ///
    /// # Errors
    /// The queue is full or the database is away: they are chained later.
    pub async fn collect(&self) -> Result<(), Fault> {
        match self.wait(What::LeftEvents).await {
            Done::Written | Done::UsedBefore(_) => Ok(()),
            Done::Failed(fault) => Err(fault),
        }
    }

    /// Records an event, and returns once it is durable and signed for.
    ///
    /// # Errors
    /// The queue is full or the database is away. The event may be recorded, but is not signed for.
    pub async fn record_signed(&self, event: &AuditEvent) -> Result<(), Fault> {
        match self.wait(What::SignedEvent(Arc::new(event.write()?))).await {
            Done::Written | Done::UsedBefore(_) => Ok(()),
            Done::Failed(fault) => Err(fault),
        }
    }

    async fn wait(&self, what: What) -> Done {
        let (waiting, written) = Waiting::new(self.home.clone());
        match self.enqueue(Entry { what, done: Some(waiting) }) {
            Ok(()) => match timeout(PATIENCE, written).await {
                Ok(done) => done.unwrap_or_else(|_| Done::Failed(stopped())),
                // Behind events that nobody waits for and that cannot be written.
                Err(_) => Done::Failed(Fault::unavailable("the ledger has not come to it in time")),
            },
            Err(fault) => Done::Failed(fault),
        }
    }

    /// Enqueues what nobody waits for, with a little patience: callers are faster than the writer for a moment when the
    /// database makes a checkpoint, and slowing them down is better than refusing them.
    async fn make_room_for(&self, entry: Entry) -> Result<(), Fault> {
        if let Ok(room) = self.queue.try_reserve() {
            room.send(entry);
            return Ok(());
        }
        match timeout(BREATH, self.queue.reserve()).await {
            Ok(Ok(room)) => {
                room.send(entry);
                Ok(())
            }
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(full()),
        }
    }

    fn enqueue(&self, entry: Entry) -> Result<(), Fault> {
        self.queue.try_send(entry).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => full(),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })
    }
}

fn full() -> Fault {
    Fault::unavailable("the ledger's queue is full")
}

fn stopped() -> Fault {
    Fault::unavailable("the ledger has stopped")
}
