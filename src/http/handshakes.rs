//! TLS before HTTP: what is accepted is served only once its handshake is done.
//!
//! Handshakes run beside each other, on the thread that serves the connection afterwards. One that takes its time
//! holds up nobody, and ends after a while ([`Connections`](super::connections::Connections)).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Peer, adopt};
use super::link::Link;
use crate::runtime::tls::{ClientTrust, Endpoint};

/// What a handshake needs.
#[derive(Clone)]
pub(super) struct Handshakes {
    pub(super) endpoint: Arc<Endpoint>,
    /// Judges certificates of clients, at the listener that asks for them.
    pub(super) trust: Option<Arc<ClientTrust>>,
}

// === impl Handshakes ===

impl Handshakes {
    /// Makes a TLS connection of what was accepted.
    pub(super) async fn shake(
        &self,
        stream: std::net::TcpStream,
        address: SocketAddr,
        link: &Arc<Link>,
    ) -> io::Result<(TlsStream<TcpStream>, Peer)> {
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
        Ok((stream, Peer { shown, mutual: self.trust.is_some(), ..Peer::plain(address, link) }))
    }
}
