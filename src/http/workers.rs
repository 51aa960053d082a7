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
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{self, Handle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Peer, adopt};
use super::connections::{Connections, Place};
use super::docs::Docs;
use super::handshakes::Handshakes;
use super::serving::{Application, Protocol};
use super::{Audience, Services, service};
use crate::domain::error::Fault;
use crate::runtime::tls::{ClientTrust, Endpoint};

/// How long to wait when no connection can be accepted, because there are no more file descriptors.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

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
    /// Everything that serves, connections and listeners.
    serving: TaskTracker,
    /// Cancelled when nobody needs the threads any more. Connections to the database that were opened on a thread work
    /// while it lives.
    over: CancellationToken,
}

struct Thread {
    runtime: Handle,
    thread: thread::JoinHandle<()>,
}

/// What answers at one door, by thread.
struct Served<A> {
    by: Vec<(Handle, A)>,
    protocol: Protocol,
    connections: Arc<Connections>,
    tracker: TaskTracker,
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
        let mut workers = Self { threads: Vec::with_capacity(count), serving: TaskTracker::new(), over };
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

    /// Serves until `stop`, with headers of at most so many bytes and so many streams on a connection.
    pub fn serve(
        &mut self,
        services: &Services,
        doors: Vec<Door>,
        (max_header_size, max_streams): (usize, u32),
        stop: &CancellationToken,
    ) {
        let docs = Arc::new(Docs::default());
        let connections = &services.connections;
        let mut of_threads = Vec::with_capacity(self.threads.len());
        for (number, thread) in self.threads.iter().enumerate() {
            let mut services = services.clone();
            let (ledger, releasing) = services.tokens.ledger.at_home(number);
            services.tokens.ledger = ledger;
            services.tokens.traffic = services.tokens.traffic.at_seat(number);
            thread.runtime.spawn(releasing);
            thread.runtime.spawn(Arc::clone(connections).beat(number));
            of_threads.push(Arc::new(services));
        }
        let protocol = Protocol::new(max_header_size, max_streams);
        for Door { listener, speaks } in doors {
            let application = |services| service(services, &docs, speaks.audience(), max_header_size);
            let by = self.threads.iter().zip(&of_threads);
            let served = Served {
                by: by
                    .map(|(thread, services)| (thread.runtime.clone(), application(Arc::clone(services))))
                    .collect(),
                protocol: protocol.clone(),
                connections: Arc::clone(connections),
                tracker: self.serving.clone(),
            };
            self.serving.spawn(served.until(stop.clone(), listener, speaks));
        }
        tokio::spawn(watched(Arc::clone(connections), stop.clone(), self.over.clone()));
    }

    /// Serves a router on the program's own runtime until `stop`: few callers, of whom the threads know nothing.
    pub fn serve_aside(
        &mut self,
        listener: TcpListener,
        router: Router,
        (connections, max_header_size): (Connections, usize),
        stop: &CancellationToken,
    ) {
        let connections = Arc::new(connections);
        let served = Served {
            by: vec![(Handle::current(), router)],
            protocol: Protocol::new(max_header_size, 1),
            connections: Arc::clone(&connections),
            tracker: self.serving.clone(),
        };
        self.serving.spawn(served.until(stop.clone(), listener, Speaks::Plain));
        tokio::spawn(watched(connections, stop.clone(), self.over.clone()));
    }

    /// Waits until the last request is answered. The threads stay.
    pub async fn served(&mut self) {
        self.serving.close();
        self.serving.wait().await;
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

/// Sees to the limits of connections, and tells them when the server stops.
async fn watched(connections: Arc<Connections>, stop: CancellationToken, over: CancellationToken) {
    let stopping = async {
        stop.cancelled().await;
        connections.stop();
    };
    let watching = Arc::clone(&connections).watch();
    over.run_until_cancelled(async { tokio::join!(stopping, watching) }).await;
}

// === impl Served ===

impl<A: Application> Served<A> {
    /// Accepts connections until `stop`, and gives each thread one in turn.
    async fn until(self, stop: CancellationToken, listener: TcpListener, speaks: Speaks) {
        let handshakes = match speaks {
            Speaks::Plain => None,
            Speaks::Tls(endpoint) => Some(Handshakes { endpoint, trust: None }),
            Speaks::MutualTls(endpoint, trust) => Some(Handshakes { endpoint, trust: Some(trust) }),
        };
        let mut turn = 0;
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let accepted = accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address)));
            match accepted {
                Ok((stream, address)) => {
                    turn = (turn + 1) % self.by.len();
                    self.hand_out(turn, (stream, address), handshakes.as_ref());
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    sleep(NO_DESCRIPTORS).await;
                }
            }
        }
    }

    fn hand_out(&self, thread: usize, (stream, address): Accepted, handshakes: Option<&Handshakes>) {
        let place = match self.connections.admit(address.ip(), handshakes.is_some()) {
            Ok(place) => place,
            Err(full) => {
                tracing::debug!(%address, limit = full.as_str(), "a connection was refused");
                return;
            }
        };
        let (runtime, application) = &self.by[thread];
        let (protocol, application) = (self.protocol.clone(), application.clone());
        match handshakes {
            None => self.tracker.spawn_on(plainly(protocol, stream, address, place, application), runtime),
            Some(handshakes) => {
                let handshakes = handshakes.clone();
                let secured = secured(protocol, handshakes, (stream, address), place, application);
                self.tracker.spawn_on(secured, runtime)
            }
        };
    }
}

/// A connection that was accepted, not yet known to the thread that will serve it.
type Accepted = (std::net::TcpStream, SocketAddr);

async fn plainly(
    protocol: Protocol,
    stream: std::net::TcpStream,
    address: SocketAddr,
    place: Place,
    application: impl Application,
) {
    let link = Arc::clone(&place.link);
    match adopt(stream) {
        Ok(stream) => protocol.serve(stream, Peer::plain(address, &link), link, application).await,
        Err(error) => tracing::warn!(%error, "a connection was lost"),
    }
    drop(place);
}

async fn secured(
    protocol: Protocol,
    handshakes: Handshakes,
    (stream, address): Accepted,
    place: Place,
    application: impl Application,
) {
    let link = Arc::clone(&place.link);
    let shaken = tokio::select! {
        shaken = handshakes.shake(stream, address, &link) => shaken,
        () = link.cut() => Err(io::ErrorKind::TimedOut.into()),
    };
    match shaken {
        Ok((stream, peer)) => {
            link.has_shaken();
            protocol.serve(stream, peer, link, application).await;
        }
        Err(error) => tracing::debug!(%address, %error, "a TLS handshake failed"),
    }
    drop(place);
}

/// Whether one connection could not be accepted, and the next can.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
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
