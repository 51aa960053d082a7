//! Where callers come in, and under which URLs.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use url::Url;

use crate::config::{Config, Issuer, MetricsListener};
use crate::domain::error::Fault;
use crate::http::{Door, Speaks};
use crate::runtime::tls::Tls;

/// The listeners.
pub(super) struct Doors {
    pub(super) all: Vec<Door>,
    /// Of the main one.
    pub(super) address: SocketAddr,
    /// Of the one that asks for certificates of clients.
    pub(super) mtls_address: Option<SocketAddr>,
    pub(super) issuer: Issuer,
    /// What stands for the issuer where certificates of clients are asked for, if they are.
    pub(super) mtls_url: Option<Arc<str>>,
}

// === impl Doors ===

impl Doors {
    /// Listens.
    pub(super) async fn open(config: &Config, tls: &Tls) -> Result<Self, Fault> {
        let (listener, address) = listen(config.listen, "JETON_LISTEN").await?;
        let (scheme, speaks) = match &tls.main {
            None => ("http", Speaks::Plain),
            Some(endpoint) => ("https", Speaks::Tls(Arc::clone(endpoint))),
        };
        let issuer = match &config.issuer {
            Some(issuer) => issuer.clone(),
            None => Issuer::parse(&format!("{scheme}://{address}")).map_err(|problem| {
                Fault::setup(format!("issuer: set JETON_ISSUER to the URL that callers use ({problem})"))
            })?,
        };
        let mut all = vec![Door { listener, speaks }];
        let mut mtls_address = None;
        if let (Some(mutual), Some(endpoint)) = (&config.tls.mutual, &tls.mutual) {
            let (listener, address) = listen(mutual.listen, "JETON_MTLS__LISTEN").await?;
            mtls_address = Some(address);
            let speaks = Speaks::MutualTls(Arc::clone(endpoint), Arc::clone(&tls.trust));
            all.push(Door { listener, speaks });
        }
        let mtls_url = match (&config.tls.url, mtls_address) {
            (Some(url), _) => Some(Arc::from(url.as_str())),
            (None, Some(address)) => Some(Arc::from(beside(&issuer, address.port())?)),
            (None, None) => None,
        };
        Ok(Self { all, address, mtls_address, issuer, mtls_url })
    }
}

async fn listen(wanted: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), Fault> {
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        Fault::unavailable(format!("cannot listen on {wanted}: {error}; set {setting} to another address"))
    })?;
    let address = listener.local_addr().map_err(Fault::internal)?;
    Ok((listener, address))
}

/// The issuer's URL, at another port and with TLS.
fn beside(issuer: &Issuer, port: u16) -> Result<String, Fault> {
    let url = Url::parse(issuer.as_str()).map_err(Fault::internal)?;
    let host = url.host_str().ok_or_else(|| Fault::internal("the issuer has no host"))?;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    Ok(format!("https://{host}{port}{}", issuer.path()))
}

/// Where the metrics are scraped, if anywhere.
pub(super) async fn metrics_listener(wanted: MetricsListener) -> Result<Option<TcpListener>, Fault> {
    let Some(address) = wanted.address() else { return Ok(None) };
    match (TcpListener::bind(address).await, wanted) {
        (Ok(listener), _) => Ok(Some(listener)),
        (Err(error), MetricsListener::Usual) => {
            tracing::warn!(%address, %error, "no metrics: set JETON_METRICS__LISTEN to another address");
            Ok(None)
        }
        (Err(error), _) => Err(Fault::unavailable(format!(
            "cannot listen on {address} for metrics: {error}; set JETON_METRICS__LISTEN to another address, or to off"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_listener_is_at_the_issuers_host() {
        for (issuer, port, url) in [
            ("https://id.example.com", 8443, "https://id.example.com:8443"),
            ("https://id.example.com/tenant/a", 443, "https://id.example.com/tenant/a"),
            ("https://id.example.com:9443/t", 8443, "https://id.example.com:8443/t"),
            ("http://[::1]:8080", 8443, "https://[::1]:8443"),
        ] {
            assert_eq!(beside(&Issuer::parse(issuer).unwrap(), port).unwrap(), url);
        }
    }
}
