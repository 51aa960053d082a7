//! What was taken back before its end, and which tokens that is about.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::claims::AccessTokenClaims;
use super::delegation::Act;
use super::time::Timestamp;
use super::token_id;
use super::words::words;

words! {
    /// What a revocation is about.
    RevokedKind {
        /// One token, by its `jti`.
        Token = "token",
        /// Every token of a chain of exchanges, by its `txn`.
        Chain = "chain",
        /// Every token that was issued to or about a client until then, or that it acts in.
        Client = "client",
    }
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What it is about.
    pub kind: RevokedKind,
    /// Which: a `jti`, a `txn`, a client id.
    pub subject: String,
    /// When. What a client gets later is not revoked.
    pub revoked_at: Timestamp,
    /// When all that it is about has ended by itself.
    pub ends_at: Timestamp,
}

/// Everything that is revoked.
#[derive(Debug, Default)]
pub struct Revoked {
    tokens: HashMap<String, Revocation>,
    chains: HashMap<String, Revocation>,
    clients: HashMap<String, Revocation>,
}

// === impl Revoked ===

impl Revoked {
    fn of(&mut self, kind: RevokedKind) -> &mut HashMap<String, Revocation> {
        match kind {
            RevokedKind::Token => &mut self.tokens,
            RevokedKind::Chain => &mut self.chains,
            RevokedKind::Client => &mut self.clients,
        }
    }

    /// Adds one, or what it has become.
    pub fn insert(&mut self, revocation: Revocation) {
        self.of(revocation.kind).insert(revocation.subject.clone(), revocation);
    }

    /// Forgets those whose tokens have all ended.
    pub fn forget(&mut self, now: Timestamp) {
        for kind in RevokedKind::ALL {
            self.of(*kind).retain(|_, revocation| revocation.ends_at > now);
        }
    }

    /// Which revocation a token falls under, if any.
    #[must_use]
    pub fn find(&self, claims: &AccessTokenClaims) -> Option<RevokedKind> {
        if self.tokens.contains_key(&claims.jti) {
            return Some(RevokedKind::Token);
        }
        if self.chains.contains_key(&claims.txn) {
            return Some(RevokedKind::Chain);
        }
        if self.clients.is_empty() {
            return None;
        }
        // To the microsecond: `iat` would take what was issued later in the same second with it.
        let made = token_id::made_at(&claims.jti).unwrap_or(Timestamp::from_seconds(claims.iat));
        let actors = claims.act.iter().flat_map(Act::actors);
        let mut involved = [claims.client_id.as_str(), &claims.sub].into_iter().chain(actors);
        involved
            .any(|client| self.clients.get(client).is_some_and(|revocation| made <= revocation.revoked_at))
            .then_some(RevokedKind::Client)
    }
}
