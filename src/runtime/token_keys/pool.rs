//! Threads that wait for the token, so that nobody else does.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::HeldKey;
use super::present::Opened;
use super::worker::Worker;
use crate::domain::error::Fault;

/// How many requests wait for a thread. More would not be answered in time.
const QUEUE: usize = 1_024;

/// How long a request waits for its signature.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is asked whether the threads have ended: for two seconds.
const TRIES: u32 = 1_000;

/// How long they are left alone in between.
const BREATH: Duration = Duration::from_millis(2);

/// A way to the threads, which end when it is gone.
pub(super) struct Pool {
    jobs: mpsc::Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    key: Arc<HeldKey>,
    message: Vec<u8>,
    answer: oneshot::Sender<Result<Vec<u8>, Fault>>,
}

type Queue = Arc<Mutex<mpsc::Receiver<Job>>>;

// === impl Pool ===

impl Pool {
    /// Starts so many threads, each with a session of its own.
    pub(super) fn start(opened: &Arc<Opened>, threads: usize) -> Result<Self, Fault> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue: Queue = Arc::new(Mutex::new(queue));
        let mut pool = Self { jobs, threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let (queue, worker) = (Arc::clone(&queue), Worker::new(Arc::clone(opened)));
            let thread = thread::Builder::new()
                .name(format!("pkcs11-{number}"))
                .spawn(move || work(&queue, worker))
                .map_err(|error| Fault::unavailable(format!("a thread for the PKCS#11 token: {error}")))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// # Errors
    /// The token does not sign, or not in time, or too many wait for it already.
    pub(super) async fn sign(&self, key: Arc<HeldKey>, message: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let slow = |token: &str, what: &str| {
            Err(Fault::unavailable(format!("the PKCS#11 token '{token}' is too slow: {what}")))
        };
        let token = key.token.clone();
        let (answer, signed) = oneshot::channel();
        if self.jobs.try_send(Job { key, message, answer }).is_err() {
            return slow(&token, "too many requests wait for it");
        }
        match tokio::time::timeout(PATIENCE, signed).await {
            Ok(answer) => answer.map_err(|_| Fault::internal("a thread for the PKCS#11 token has died"))?,
            Err(_) => slow(&token, "no signature within two seconds"),
        }
    }
}

impl Drop for Pool {
    /// The process may be ending, and a library that is called while it is taken down may crash it. So what is being
    /// signed is waited for, but not for long: a device may hang.
    fn drop(&mut self) {
        let (nobody, _) = mpsc::channel(1);
        self.jobs = nobody;
        for _ in 0..TRIES {
            if self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
            thread::sleep(BREATH);
        }
    }
}

fn work(queue: &Queue, mut worker: Worker) {
    loop {
        // Held while waiting only: one thread waits, the others sign.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { key, message, answer }) = job else {
            // Closing its session would be a call, too. It ends with the process.
            return std::mem::forget(worker);
        };
        // Whoever has given up meanwhile must not cost those behind.
        if !answer.is_closed() {
            let _ = answer.send(worker.sign(&key, &message));
        }
    }
}
