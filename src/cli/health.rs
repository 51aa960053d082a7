//! `jeton health`: asks the local server, so that a container without a shell can check itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::Config;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let address = SocketAddr::new(reachable(config.listen.ip()), config.listen.port());
    // No certificates are read: a container may have none, and the server's own is not for the address it listens on.
    // Nothing secret is sent, and whoever could answer in its place is on this machine.
    let builder =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).tls_danger_accept_invalid_certs(true);
    let client = builder.timeout(Duration::from_secs(5)).build()?;
    let scheme = if config.tls.main.is_some() { "https" } else { "http" };
    let response = client
        .get(format!("{scheme}://{address}/readyz"))
        .send()
        .await
        .with_context(|| format!("the server on {address} does not answer"))?;
    if !response.status().is_success() {
        bail!("the server on {address} is not ready: {}", response.text().await.unwrap_or_default().trim());
    }
    super::output::print("ready")
}

/// A server that listens everywhere is asked on loopback.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}
