//! Keeps calls that a registration names away from what only this server's own network reaches.
//!
//! A name is judged by the addresses that the connection is made to, after it was resolved: what it resolved to a
//! moment ago does not matter, so a name that is bound anew in between gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::outside::Outside;

/// Asks for the addresses of a name.
pub(super) type Lookup = dyn Fn(String) -> Answered + Send + Sync;

pub(super) type Answered = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves names to those of their addresses that may be called.
pub(super) struct Guard {
    pub(super) outside: Arc<Outside>,
    pub(super) lookup: Arc<Lookup>,
}

/// A name has no address that may be called.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its name resolves to no address of the internet; list its network in outbound.allowed_networks")]
pub(super) struct NotPermitted;

// === impl Guard ===

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (outside, lookup) = (Arc::clone(&self.outside), Arc::clone(&self.lookup));
        Box::pin(async move {
            let found = lookup(name.as_str().to_owned()).await?;
            let permitted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| outside.permits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if permitted.is_empty() {
                return Err(NotPermitted.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The operating system's resolver.
pub(super) fn system() -> Arc<Lookup> {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}
