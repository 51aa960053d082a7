//! A connection, from when it is accepted until it is served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::link::Link;
use crate::runtime::tls::Shown;

/// Who is on the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whether it has come where certificates are asked for.
    pub(super) mutual: bool,
    /// The certificate that it has shown there.
    pub(super) shown: Option<Arc<Shown>>,
    /// The connection itself, as its limits see it.
    pub(super) link: Arc<Link>,
}

// === impl Peer ===

impl Peer {
    /// Without TLS, or where it is not asked for a certificate.
    pub(super) fn plain(address: SocketAddr, link: &Arc<Link>) -> Self {
        Self { address, mutual: false, shown: None, link: Arc::clone(link) }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

/// A connection as this thread's runtime knows it.
pub(super) fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream)
}
