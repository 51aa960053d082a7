//! What was taken back before its end, and which tokens that is about.

use std::collections::HashMap;

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
    /// When, and of a client's until when: by the clocks of those that issued. What it gets later is not revoked.
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
        // Somebody who does not ask for this token has part in it by an earlier one, which may be older than their
        // revocation although this one is younger: an exchange that was under way.
        let began = token_id::made_at(&claims.txn).map_or(made, |began| began.min(made));
        // Somebody from elsewhere is no client, whatever they are called.
        let mut acts = claims.act.iter().flat_map(Act::chain);
        let newest = acts.next().and_then(Act::client);
        let asks = [Some(claims.client_id.as_str()), newest].into_iter().flatten().map(|id| (id, made));
        let stand_behind =
            claims.subject_client().into_iter().chain(acts.filter_map(Act::client)).map(|id| (id, began));
        let is_revoked = |(client, made): (&str, Timestamp)| {
            self.clients.get(client).is_some_and(|revocation| made <= revocation.revoked_at)
        };
        asks.chain(stand_behind).any(is_revoked).then_some(RevokedKind::Client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::from_seconds(2_000_000_000);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(NOW.as_seconds() + second)
    }

    /// `orders` has exchanged a token, which `payments` did next, for `front`: a chain that began at 0.
    fn claims(issued: i64) -> AccessTokenClaims {
        let act: Value = json!({ "sub": "payments", "act": { "sub": "orders" } });
        serde_json::from_value(json!({
            "iss": "i", "exp": NOW.as_seconds() + 300, "aud": "a", "sub": "front", "client_id": "payments",
            "iat": at(issued).as_seconds(), "jti": token_id::make("abcdef", at(issued), [1; 14]),
            "txn": token_id::make("fedcba", at(0), [2; 14]), "roles": [], "client_kind": "service", "act": act,
        }))
        .unwrap()
    }

    fn revoked(kind: RevokedKind, subject: &str, second: i64) -> Revoked {
        let mut revoked = Revoked::default();
        let revocation =
            Revocation { kind, subject: subject.to_owned(), revoked_at: at(second), ends_at: at(300) };
        revoked.insert(revocation);
        revoked
    }

    #[test]
    fn what_was_issued_before_is_revoked_and_what_came_later_is_not() {
        for (client, issued, is_revoked) in
            [("payments", 10, true), ("payments", 21, false), ("orders", 10, true), ("nobody", 10, false)]
        {
            let found = revoked(RevokedKind::Client, client, 20).find(&claims(issued));
            assert_eq!(found.is_some(), is_revoked, "{client} {issued}");
        }
    }

    #[test]
    fn an_exchange_that_was_under_way_does_not_escape() {
        // The token is younger than the revocation, and the one that it was exchanged for is older.
        for client in ["front", "orders"] {
            assert!(revoked(RevokedKind::Client, client, 20).find(&claims(21)).is_some(), "{client}");
            assert!(
                revoked(RevokedKind::Client, client, -1).find(&claims(21)).is_none(),
                "{client}: before all"
            );
        }
    }

    #[test]
    fn somebody_from_elsewhere_is_no_client_of_the_same_name() {
        let sub_id = json!({ "format": "iss_sub", "iss": "https://ci.example", "sub": "x" });
        let mut outside = claims(10);
        outside.sub_id = Some(serde_json::from_value(sub_id.clone()).unwrap());
        assert!(revoked(RevokedKind::Client, "front", 20).find(&outside).is_none(), "the subject");
        let act = json!({ "sub": "robot", "sub_id": sub_id, "act": { "sub": "orders" } });
        outside.act = Some(serde_json::from_value(act).unwrap());
        assert!(revoked(RevokedKind::Client, "robot", 20).find(&outside).is_none(), "an actor");
        // Of those behind them the chain's beginning counts, as ever.
        let younger = AccessTokenClaims { jti: token_id::make("abcdef", at(21), [1; 14]), ..outside };
        assert!(revoked(RevokedKind::Client, "orders", 20).find(&younger).is_some());
        assert!(revoked(RevokedKind::Client, "payments", 20).find(&younger).is_none(), "it asked later");
    }

    #[test]
    fn a_token_and_a_chain_are_found_by_their_identifiers_and_forgotten_at_their_end() {
        let claims = claims(10);
        for (kind, subject) in [(RevokedKind::Token, &claims.jti), (RevokedKind::Chain, &claims.txn)] {
            let mut revoked = revoked(kind, subject, 20);
            assert_eq!(revoked.find(&claims), Some(kind));
            revoked.forget(at(299));
            assert_eq!(revoked.find(&claims), Some(kind));
            revoked.forget(at(300));
            assert_eq!(revoked.find(&claims), None);
        }
        assert_eq!(revoked(RevokedKind::Token, &claims.txn, 20).find(&claims), None);
    }
}
