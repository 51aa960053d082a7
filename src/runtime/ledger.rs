//! The ledger: an event is durable before its answer leaves.
//!
//! One task writes. It takes whatever is queued, writes it in one statement, and releases everybody
//! who waits for it, so that one disk sync serves many answers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fault;
use crate::domain::audit::AuditEvent;
use crate::domain::error::Fault;
use crate::storage::{Store, StoreError};

/// How many events may wait. Beyond, callers are told to come back: memory has an end.
const QUEUE: usize = 4_096;

/// The most events of one transaction, which bounds how long the first of them waits.
const BATCH: usize = 256;

/// How long the database may take for a batch before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes events and waits until they are durable.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
}

struct Entry {
    event: AuditEvent,
    done: oneshot::Sender<Result<(), ()>>,
}

// === impl Ledger ===

impl Ledger {
    /// Starts the writer. It ends, with everything written, once every clone of the ledger is gone.
    #[must_use]
    pub fn start(store: Store) -> (Self, JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Self { queue }, tokio::spawn(write(store, entries)))
    }

    /// Records an event and returns once it is durable.
    ///
    /// # Errors
    /// The queue is full or the database is away: then nothing may be answered.
    pub async fn record(&self, event: AuditEvent) -> Result<(), Fault> {
        let (done, written) = oneshot::channel();
        self.queue.try_send(Entry { event, done }).map_err(|error| {
            Fault::unavailable(match error {
                mpsc::error::TrySendError::Full(_) => "the ledger's queue is full",
                mpsc::error::TrySendError::Closed(_) => "the ledger has stopped",
            })
        })?;
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => Err(Fault::unavailable("the audit event could not be written")),
            Err(_) => Err(Fault::unavailable("the ledger has stopped")),
        }
    }
}

async fn write(store: Store, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let written = match tokio::time::timeout(PATIENCE, append(&store, &batch)).await {
            Ok(outcome) => outcome.map_err(fault),
            Err(_) => Err(Fault::unavailable("the database does not answer")),
        };
        let outcome = written.map_err(|error| {
            tracing::error!(%error, events = batch.len(), "audit events could not be written");
        });
        for entry in batch.drain(..) {
            // Whoever asked may have gone away; the event stands all the same.
            let _ = entry.done.send(outcome);
        }
    }
}

async fn append(store: &Store, batch: &[Entry]) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let events: Vec<&AuditEvent> = batch.iter().map(|entry| &entry.event).collect();
    tx.append_events(&events).await?;
    tx.commit().await
}
