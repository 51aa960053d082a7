use tokio::sync::{mpsc, oneshot};

use super::entry::Done;

/// A caller that waits for its entry.
pub(super) struct Waiting {
    sender: oneshot::Sender<Done>,
    home: Option<Home>,
}

/// The runtime of one thread, whose callers are released together: waking each of them from another thread would be
/// a system call each.
#[derive(Clone)]
pub(super) struct Home {
    number: usize,
    releases: mpsc::UnboundedSender<Vec<Release>>,
}

struct Release {
    sender: oneshot::Sender<Done>,
    done: Done,
}

/// Callers that hear of one batch, those of each home together.
#[derive(Default)]
pub(super) struct Releases(Vec<(Home, Vec<Release>)>);

// === impl Waiting ===

impl Waiting {
    /// A caller at this home, or anywhere, and what it waits with.
    pub(super) fn new(home: Option<Home>) -> (Self, oneshot::Receiver<Done>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, home }, receiver)
    }

    /// Tells it. Whoever asked may have gone away; what was done stands all the same.
    pub(super) fn release(self, done: Done) {
        let _ = self.sender.send(done);
    }
}

// === impl Home ===

impl Home {
    /// A home, and what is to run there: it ends when every clone of the home is gone.
    pub(super) fn new(number: usize) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (releases, mut waiting) = mpsc::unbounded_channel::<Vec<Release>>();
        let running = async move {
            while let Some(together) = waiting.recv().await {
                for Release { sender, done } in together {
                    let _ = sender.send(done);
                }
            }
        };
        (Self { number, releases }, running)
    }
}

// === impl Releases ===

impl Releases {
    /// Notes that a caller is to hear this.
    pub(super) fn add(&mut self, waiting: Waiting, done: Done) {
        let Some(home) = waiting.home else {
            let _ = waiting.sender.send(done);
            return;
        };
        let release = Release { sender: waiting.sender, done };
        match self.0.iter_mut().find(|(known, _)| known.number == home.number) {
            Some((_, together)) => together.push(release),
            None => self.0.push((home, vec![release])),
        }
    }

    /// Tells everybody.
    pub(super) fn send(self) {
        for (home, together) in self.0 {
            // A home that is gone has nobody who waits.
            let _ = home.releases.send(together);
        }
    }
}
