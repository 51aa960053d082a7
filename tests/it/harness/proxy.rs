use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server, which a test can break.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing arrives, and nothing says so: a network that swallows, a server that is stopped.
    Hung,
    /// Everything arrives, and no answer comes back.
    Silent,
    /// Every connection breaks at once.
    Gone,
}

impl Proxy {
    /// Of the server of a `postgres://` URL.
    pub(crate) async fn of(url: &str) -> Self {
        let url = url::Url::parse(url).unwrap();
        let target = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, mut state) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                if *state.borrow_and_update() == Way::Gone {
                    continue;
                }
                let Ok(server) = TcpStream::connect((target.0.as_str(), target.1)).await else { continue };
                let (from_caller, to_caller) = caller.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pump(from_caller, to_server, state.clone(), &[Way::Open, Way::Silent]));
                tokio::spawn(pump(from_server, to_caller, state.clone(), &[Way::Open]));
            }
        });
        Self { address, way }
    }

    /// The same URL, by this way.
    pub(crate) fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_host(Some(&self.address.ip().to_string())).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    pub(crate) fn is(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Carries bytes while the way is one of these.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
    open: &'static [Way],
) {
    let mut broken = way.clone();
    let carrying = async {
        let mut bytes = vec![0; 16 * 1_024];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            if way.wait_for(|way| open.contains(way)).await.is_err()
                || to.write_all(&bytes[..read]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = carrying => {}
        _ = broken.wait_for(|way| *way == Way::Gone) => {}
    }
}
