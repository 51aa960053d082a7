use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::BATCH;
use super::committer::{Committer, PATIENCE};
use super::entry::{Done, Entry, What};
use super::meter::Meter;
use super::shelter::Shelter;
use super::standing::Standing;
use super::waiting::Releases;
use crate::domain::error::{Fault, FaultKind};
use crate::runtime::trouble::Trouble;

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

/// How long a database that is away is left alone before it is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The task that writes.
pub(super) struct Writer {
    committer: Committer,
    /// Where events go while the database is away, if anywhere.
    shelter: Option<Shelter>,
    standing: Arc<Standing>,
    meter: Arc<Meter>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        committer: Committer,
        shelter: Option<Shelter>,
        (standing, meter): (Arc<Standing>, Arc<Meter>),
    ) -> Self {
        Self { committer, shelter, standing, meter }
    }

    /// Writes until every sender is gone, then closes the chain.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if self.shelter.as_ref().is_some_and(Shelter::is_open) {
                if !self.ride_out(&mut queue, &mut batch).await {
                    break;
                }
                self.write(&mut batch).await;
                continue;
            }
            if !batch.is_empty() {
                // What nobody waits for and could not be written. What comes meanwhile stays in the queue, which
                // has an end, but for the room that is left in the batch.
                sleep(RETRY).await;
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
                Err(_) if self.standing.is_failing() => self.write(&mut batch).await,
                Err(_) => self.committer.sign_or_warn().await,
            }
        }
        self.close(&mut batch).await;
    }

    /// Writes a batch and tells everybody. Those entries stay in it that must be tried again.
    async fn write(&mut self, batch: &mut Vec<Entry>) {
        let (begun, asked) = (self.meter.begin(batch.len()), self.committer.ambient.now());
        let outcome = match timeout(PATIENCE, self.committer.commit(batch)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::unavailable("the database does not answer")),
        };
        self.meter.tried(begun, batch.len(), outcome.is_ok());
        match outcome {
            Ok(done) => self.written(batch, done).await,
            Err(fault) => {
                let attempt = self.committer.give_up();
                let was_failing = self.standing.wrote(true);
                if let Some(shelter) = &mut self.shelter
                    && fault.kind == FaultKind::Unavailable
                {
                    match shelter.open(batch, attempt, asked, &fault).await {
                        Ok(()) => return self.meter.left(batch.len()),
                        Err(fault) => tracing::error!(%fault, "and there is no spool"),
                    }
                }
                if !was_failing || !batch.is_empty() {
                    tracing::error!(%fault, entries = batch.len(), "audit events could not be written");
                }
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

    /// Tells everybody that a batch is written.
    async fn written(&mut self, batch: &mut Vec<Entry>, done: Vec<Done>) {
        if self.standing.wrote(false) {
            tracing::info!("audit events can be written again");
        }
        if let Some(shelter) = &mut self.shelter {
            shelter.remember(batch.iter().map(|entry| &entry.what));
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
            let done = self.committer.sign().await.map_or_else(Done::Failed, |()| Done::Written);
            for waiting in wanted {
                waiting.release(done.clone());
            }
        } else if self.committer.unsigned >= SIGNED_TOGETHER || self.committer.signed.elapsed() > UNSIGNED {
            self.committer.sign_or_warn().await;
        }
    }

    /// Spools what comes, and tries the database until it has taken everything. Answers whether it has, and then leaves
    /// what is to be recorded of the outage in the batch; else every sender is gone.
    async fn ride_out(&mut self, queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) -> bool {
        let Self { committer, shelter: Some(shelter), .. } = self else { return true };
        let (mut pause, mut answers) = (PAUSE.0, false);
        let mut replaying = Trouble::with("the database does not take the events of the outage");
        loop {
            // What nobody waits for and did not fit.
            shelter.take(batch).await;
            let (frames, behind, is_all) = match shelter.next().await {
                Ok((frames, behind, is_all)) => (frames, Ok(behind), is_all),
                Err(fault) => (Vec::new(), Err(fault), false),
            };
            let wait = if answers { Duration::ZERO } else { pause };
            // A database that answers takes at least twice as many as come meanwhile, and the last part is not made longer:
            // or there would be no end. What waits for that does so for one part, and not for all of them.
            let mut left = match (answers, is_all) {
                (false, _) => usize::MAX,
                (true, false) => BATCH / 2,
                (true, true) => 0,
            };
            let outcome = {
                let attempt = async {
                    sleep(wait).await;
                    let behind = behind?;
                    match timeout(PATIENCE, committer.replay(&frames)).await {
                        Ok(outcome) => outcome.map(|()| behind),
                        Err(_) => Err(Fault::unavailable("the database does not answer")),
                    }
                };
                tokio::pin!(attempt);
                loop {
                    let room = BATCH.saturating_sub(batch.len()).min(left);
                    tokio::select! {
                        outcome = &mut attempt => break outcome,
                        received = queue.recv_many(batch, room), if room > 0 => {
                            if received == 0 {
                                return false;
                            }
                            left -= received;
                            if let Some(outcome) = beside(attempt.as_mut(), shelter.take(batch)).await {
                                break outcome;
                            }
                        }
                    }
                }
            };
            replaying.note(outcome.as_ref().map(drop));
            let Ok(behind) = outcome else {
                committer.give_up();
                if !std::mem::take(&mut answers) {
                    pause = (pause * 2).min(PAUSE.1);
                }
                continue;
            };
            answers = true;
            let events = frames.iter().map(|(_, frame)| frame.events.len() as u64).sum();
            if let Some(ended) = shelter.replayed(behind, events).await {
                batch.push(Entry { what: What::Event(ended, Vec::new()), done: None });
            }
            if !shelter.is_open() {
                return true;
            }
        }
    }

    /// Ends the chain in order, with everything written that could be.
    async fn close(mut self, batch: &mut Vec<Entry>) {
        let sheltered = self.shelter.as_ref().is_some_and(Shelter::is_open);
        match &mut self.shelter {
            Some(shelter) if sheltered => shelter.take(batch).await,
            _ if !batch.is_empty() => self.write(batch).await,
            _ => {}
        }
        if !batch.is_empty() {
            tracing::error!(events = batch.len(), "audit events of answered requests are lost");
        }
        if let Some(shelter) = self.shelter.take() {
            shelter.leave();
        }
        if !sheltered {
            self.committer.close().await;
        }
    }
}

/// Does what has to be done while an attempt goes on, and answers its outcome, if it has one by then: a disk that is slow
/// to take what comes does not keep the database waiting.
async fn beside<T>(
    mut attempt: Pin<&mut impl Future<Output = T>>,
    work: impl Future<Output = ()>,
) -> Option<T> {
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => None,
        outcome = &mut attempt => {
            work.await;
            Some(outcome)
        }
    }
}

/// Lets a batch grow: by what requests that are ready to run bring along while this task steps back, for as long
/// as that brings something; and by whatever comes for a while when nobody waits.
async fn gather(queue: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>) {
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        if batch.iter().all(|entry| entry.done.is_none()) {
            // Asleep, so that not every event wakes this task; the queue has room for far more.
            sleep(GATHER).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// What `audit.issuance = "buffered"` promises leaves as much time to write.
    #[tokio::test]
    async fn what_nobody_waits_for_is_gathered_for_half_of_a_hundred_milliseconds() {
        assert!(GATHER * 2 <= Duration::from_millis(100), "{GATHER:?}");
        let entry = || Entry { what: What::LeftEvents, done: None };
        let (sender, mut queue) = mpsc::channel(2);
        let mut batch = vec![entry()];
        assert!(sender.send(entry()).await.is_ok());
        // Nothing else comes, and it ends all the same.
        assert_eq!(timeout(GATHER * 20, gather(&mut queue, &mut batch)).await, Ok(()));
        assert_eq!(batch.len(), 2, "what came meanwhile is with it");
    }

    #[tokio::test]
    async fn an_attempt_goes_on_while_the_disk_is_slow() {
        let (asked, answer) = oneshot::channel();
        let attempt = async {
            tokio::task::yield_now().await;
            asked.send(()).unwrap();
            7
        };
        tokio::pin!(attempt);
        // A disk that is not done before the database has answered.
        let slow = async { answer.await.unwrap() };
        assert_eq!(timeout(GATHER * 20, beside(attempt, slow)).await, Ok(Some(7)));
        let never = std::future::pending::<()>();
        tokio::pin!(never);
        assert_eq!(beside(never, async {}).await, None, "and nothing waits for it");
    }
}
