//! TLS before HTTP: what is accepted is served only once its handshake is done.
//!
//! Handshakes run beside each other, on the thread that serves the connection afterwards. One that takes its time
//! holds up nobody, and ends after a while.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::{Accepted, Peer, adopt};
use crate::runtime::tls::{ClientTrust, Endpoint};

/// How long a handshake may take: several round trips over a bad line, and no more.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many handshakes of a thread may be under way. Each takes about 20 KiB. More wait, as connections do.
const UNDER_WAY: usize = 1_024;

/// What a handshake needs.
#[derive(Clone)]
pub(super) struct Handshakes {
    pub(super) endpoint: Arc<Endpoint>,
    /// Judges certificates of clients, at the listener that asks for them.
    pub(super) trust: Option<Arc<ClientTrust>>,
}

// === impl Handshakes ===

impl Handshakes {
    /// Makes TLS connections of what is accepted, until `stop`.
    pub(super) async fn run(
        self,
        mut accepted: mpsc::Receiver<Accepted>,
        done: mpsc::Sender<(TlsStream<TcpStream>, Peer)>,
        stop: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.ok()?;
                accepted.recv().await.map(|accepted| (accepted, place))
            };
            let Some(Some(((stream, address), place))) = stop.run_until_cancelled(next).await else { return };
            let (this, done) = (self.clone(), done.clone());
            tokio::spawn(async move {
                let handshake = tokio::time::timeout(PATIENCE, this.shake(stream));
                let outcome = handshake.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                drop(place);
                match outcome {
                    Ok((stream, shown)) => {
                        let mutual = this.trust.is_some();
                        // Whoever serves has stopped, and closes the connection, if this fails.
                        let _ = done.send((stream, Peer { address, mutual, shown })).await;
                    }
                    Err(error) => tracing::debug!(%address, %error, "a TLS handshake failed"),
                }
            });
        }
    }

    async fn shake(&self, stream: std::net::TcpStream) -> io::Result<(TlsStream<TcpStream>, Shown)> {
        let stream = adopt(stream)?;
        // A handshake ends with small messages, which must not wait for each other.
        stream.set_nodelay(true)?;
        let stream = TlsAcceptor::from(self.endpoint.current()).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let shown = match (&self.trust, chain) {
            (Some(trust), Some(chain)) => {
                let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
                Some(trust.shown(chain).map_err(io::Error::other)?)
            }
            _ => None,
        };
        Ok((stream, shown))
    }
}

/// The certificate of a client, if it has one.
type Shown = Option<Arc<crate::runtime::tls::Shown>>;
