//! `jeton health`: asks the local server, so that a container without a shell can check itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::Config;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let address = SocketAddr::new(reachable(config.listen.ip()), config.listen.port());
    // Over http, so no certificates are read: a container may have none.
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = builder.timeout(Duration::from_secs(5)).build()?;
    let response = client
        .get(format!("http://{address}/readyz"))
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
