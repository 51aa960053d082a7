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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::mpsc;
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::connection::{Accepted, Peer, adopt};
use super::docs::Docs;
use super::handshakes::Handshakes;
use super::{Audience, Observed, Services, service};
use crate::domain::error::Fault;
use crate::runtime::tls::{ClientTrust, Endpoint};

/// How many accepted connections may wait for a thread.
const WAITING: usize = 1_024;

/// How many connections whose handshake is done may wait for their thread.
const DONE: usize = 64;

/// A listener, and what is spoken there.
pub struct Door {
    /// Where connections come in.
    pub listener: TcpListener,
    /// What is spoken.
    pub speaks: Speaks,
}

/// What is spoken at a listener.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP.
    Plain,
    /// HTTP over TLS.
    Tls(Arc<Endpoint>),
    /// HTTP over TLS that asks for certificates of clients, for clients alone: there are no pages.
    MutualTls(Arc<Endpoint>, Arc<ClientTrust>),
}

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

/// The connections of one thread, ready to be served.
struct Ready<C> {
    connections: mpsc::Receiver<C>,
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
        doors: Vec<Door>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let docs = Arc::new(Docs::default());
        let mut of_threads = Vec::with_capacity(self.threads.len());
        for (number, thread) in self.threads.iter().enumerate() {
            let mut services = services.clone();
            let (ledger, releasing) = services.tokens.ledger.at_home(number);
            services.tokens.ledger = ledger;
            services.tokens.traffic = services.tokens.traffic.at_seat(number);
            thread.runtime.spawn(releasing);
            of_threads.push(Arc::new(services));
        }
        for Door { listener, speaks } in doors {
            let address = listener.local_addr().map_err(Fault::internal)?;
            let mut ways = Vec::with_capacity(self.threads.len());
            for (thread, services) in self.threads.iter().zip(&of_threads) {
                let (way, connections) = mpsc::channel(WAITING);
                ways.push(way);
                let application = service(Arc::clone(services), &docs, speaks.audience());
                let serving = thread.serve(&speaks, Ready { connections, address }, application, stop);
                self.serving.push(serving);
            }
            tokio::spawn(hand_out(listener, ways, stop.clone()));
        }
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

// === impl Thread ===

impl Thread {
    /// Serves what comes in at one door.
    fn serve(
        &self,
        speaks: &Speaks,
        accepted: Ready<Accepted>,
        application: Observed,
        stop: &CancellationToken,
    ) -> task::JoinHandle<io::Result<()>> {
        let (endpoint, trust) = match speaks {
            Speaks::Plain => return self.runtime.spawn(serve(accepted, application, stop.clone())),
            Speaks::Tls(endpoint) => (endpoint, None),
            Speaks::MutualTls(endpoint, trust) => (endpoint, Some(Arc::clone(trust))),
        };
        let handshakes = Handshakes { endpoint: Arc::clone(endpoint), trust };
        let (done, connections) = mpsc::channel(DONE);
        self.runtime.spawn(handshakes.run(accepted.connections, done, stop.clone()));
        let ready = Ready { connections, address: accepted.address };
        self.runtime.spawn(serve(ready, application, stop.clone()))
    }
}

async fn serve<C>(ready: Ready<C>, application: Observed, stop: CancellationToken) -> io::Result<()>
where
    Ready<C>: Listener<Addr = Peer>,
    C: Send + 'static,
{
    let router = application.into_make_service_with_connect_info::<Peer>();
    axum::serve(ready, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Gives each thread a connection in turn, one that has too many already left out.
async fn hand_out(mut listener: TcpListener, ways: Vec<mpsc::Sender<Accepted>>, stop: CancellationToken) {
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

// === impl Speaks ===

impl Speaks {
    const fn audience(&self) -> Audience {
        match self {
            Self::Plain | Self::Tls(_) => Audience::Everybody,
            Self::MutualTls(..) => Audience::Clients,
        }
    }
}

// === impl Ready ===

impl Listener for Ready<Accepted> {
    type Io = TcpStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (TcpStream, Peer) {
        loop {
            match self.connections.recv().await {
                Some((stream, address)) => match adopt(stream) {
                    Ok(stream) => return (stream, Peer::plain(address)),
                    Err(error) => tracing::warn!(%error, "a connection was lost"),
                },
                // There are no more, and whoever serves is about to be told so.
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::plain(self.address))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Listener for Ready<(S, Peer)> {
    type Io = S;
    type Addr = Peer;

    async fn accept(&mut self) -> (S, Peer) {
        match self.connections.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::plain(self.address))
    }
}

impl<C> Connected<IncomingStream<'_, Ready<C>>> for Peer
where
    Ready<C>: Listener<Addr = Self>,
{
    fn connect_info(stream: IncomingStream<'_, Ready<C>>) -> Self {
        stream.remote_addr().clone()
    }
}
