//! The threads that serve, each with a runtime and connections of its own.
//!
//! A request stays on one thread from its first byte to its last. A runtime whose threads take tasks from each other
//! wakes them for that, which costs more here than it gains: requests are short, all alike and many. Connections are
//! handed out in turn. Everything else (the ledger, the directory's tasks) runs on the program's own runtime.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use axum::ServiceExt;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::mpsc;
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::docs::Docs;
use super::{Services, Shared, service};
use crate::domain::error::Fault;

/// How many accepted connections may wait for a thread.
const WAITING: usize = 1_024;

/// Who is on the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The threads. Dropped, they end at once, whatever they are doing.
pub struct Workers {
    threads: Vec<Thread>,
    serving: Vec<task::JoinHandle<io::Result<()>>>,
    /// Cancelled when nobody needs the threads any more. Connections to the database that were opened on a thread work
    /// while it lives.
    over: CancellationToken,
}

struct Thread {
    runtime: Handle,
    thread: thread::JoinHandle<()>,
}

/// The connections of one thread.
struct Own {
    connections: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    address: SocketAddr,
}

// === impl Workers ===

impl Workers {
    /// Starts this many threads, which have nothing to do yet.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(count: NonZeroUsize) -> Result<Self, Fault> {
        let count = count.get();
        let over = CancellationToken::new();
        let mut workers = Self { threads: Vec::with_capacity(count), serving: Vec::new(), over };
        for number in 0..count {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(Fault::internal)?;
            let (handle, over) = (runtime.handle().clone(), workers.over.clone());
            let thread = thread::Builder::new().name(format!("http-{number}")).spawn(move || {
                runtime.block_on(over.cancelled());
                // What waits for a database that is away must not hold up whoever stops.
                runtime.shutdown_background();
            });
            workers.threads.push(Thread { runtime: handle, thread: thread.map_err(Fault::internal)? });
        }
        Ok(workers)
    }

    /// Where the ledger's task belongs: on a thread that serves, it has its turn after the requests that are ready
    /// there, so that their events come along in its batch.
    #[must_use]
    pub fn home_of_the_ledger(&self) -> Handle {
        self.threads.first().map_or_else(Handle::current, |first| first.runtime.clone())
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve(
        &mut self,
        services: &Services,
        listener: TcpListener,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let address = listener.local_addr().map_err(Fault::internal)?;
        let mut ways = Vec::with_capacity(self.threads.len());
        let docs = Arc::new(Docs::default());
        for (number, thread) in self.threads.iter().enumerate() {
            let (way, connections) = mpsc::channel(WAITING);
            ways.push(way);
            let mut services = services.clone();
            let (ledger, releasing) = services.tokens.ledger.at_home(number);
            services.tokens.ledger = ledger;
            thread.runtime.spawn(releasing);
            let serving =
                serve(Own { connections, address }, Arc::new(services), Arc::clone(&docs), stop.clone());
            self.serving.push(thread.runtime.spawn(serving));
        }
        tokio::spawn(hand_out(listener, ways, stop.clone()));
        Ok(())
    }

    /// Waits until the last request is answered. The threads stay.
    ///
    /// # Errors
    /// A thread could not serve.
    pub async fn served(&mut self) -> Result<(), Fault> {
        for serving in self.serving.drain(..) {
            serving.await.map_err(Fault::internal)?.map_err(Fault::internal)?;
        }
        Ok(())
    }

    /// Ends the threads.
    pub async fn end(mut self) {
        self.over.cancel();
        let threads = std::mem::take(&mut self.threads);
        let ended = tokio::task::spawn_blocking(move || {
            for Thread { thread, .. } in threads {
                let _ = thread.join();
            }
        });
        let _ = ended.await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn serve(own: Own, services: Shared, docs: Arc<Docs>, stop: CancellationToken) -> io::Result<()> {
    let router = service(services, &docs).into_make_service_with_connect_info::<Peer>();
    axum::serve(own, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Gives each thread a connection in turn, one that has too many already left out.
async fn hand_out(
    mut listener: TcpListener,
    ways: Vec<mpsc::Sender<(std::net::TcpStream, SocketAddr)>>,
    stop: CancellationToken,
) {
    let mut turn = 0;
    loop {
        // Axum's way: it waits a moment when there are no more file descriptors.
        let accepted = stop.run_until_cancelled(Listener::accept(&mut listener)).await;
        let Some((stream, peer)) = accepted else { return };
        let mut connection = match stream.into_std() {
            Ok(stream) => (stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection was lost");
                continue;
            }
        };
        for _ in 0..ways.len() {
            turn = (turn + 1) % ways.len();
            match ways[turn].try_send(connection) {
                Ok(()) => break,
                Err(error) => connection = error.into_inner(),
            }
        }
    }
}

// === impl Own ===

impl Listener for Own {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.connections.recv().await {
                Some((stream, peer)) => match TcpStream::from_std(stream) {
                    Ok(stream) => return (stream, peer),
                    Err(error) => tracing::warn!(%error, "a connection was lost"),
                },
                // There are no more, and whoever serves is about to be told so.
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

// === impl Peer ===

impl Connected<IncomingStream<'_, Own>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Own>) -> Self {
        Self(*stream.remote_addr())
    }
}
