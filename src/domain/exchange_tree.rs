//! A chain of token exchanges as a tree: which token was exchanged for which, and what was taken back. Pure.
//!
//! It is made from events as they stand in the audit, which somebody may have altered or removed: what does not fit
//! together is shown at the root, and marked, instead of being left out.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::revocation::RevokedKind;
use super::time::Timestamp;
use super::token_id;

/// A chain of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExchangeTree {
    /// Its identifier.
    pub txn: String,
    /// When all of it was taken back.
    pub revocations: Vec<TakenBack>,
    /// Its tokens: each right after the one that it was exchanged for, or after what became of an earlier exchange
    /// of that one.
    pub tokens: Vec<TreeToken>,
    /// How many events of it could not be read.
    pub unreadable: usize,
}

/// A token in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeToken {
    /// How many exchanges are between it and the root.
    pub depth: usize,
    /// Whether it came from an exchange of a token that is not there.
    pub orphan: bool,
    /// When it was issued.
    pub at: Timestamp,
    /// What its event says.
    #[serde(flatten)]
    pub issued: IssuedToken,
    /// When it was taken back, by itself or with all of a client.
    pub revocations: Vec<TakenBack>,
}

/// What the event of a token says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// Its identifier.
    pub jti: String,
    /// Whom it was issued to.
    pub client_id: String,
    /// Who it is about.
    pub subject: String,
    /// The trusted issuer that vouches for the subject, if that is somebody from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_issuer: Option<String>,
    /// Who acts for the subject, newest first.
    #[serde(default)]
    pub actors: Vec<String>,
    /// Those of the actors who are from elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_actors: Vec<String>,
    /// What it is for.
    pub audience: Vec<String>,
    /// What it allows there.
    pub scope: String,
    /// Its end.
    pub expires_at: Timestamp,
    /// What it was exchanged for, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchanged>,
}

/// What a token was exchanged for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The rule that allowed it.
    pub rule: String,
    /// Delegation or impersonation.
    pub mode: String,
    /// The subject token, if that was ours; a trusted issuer's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_jti: Option<String>,
    /// The actor token, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_jti: Option<String>,
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// When.
    pub at: Timestamp,
    /// Of a client: what was issued until then is revoked.
    #[serde(skip)]
    until: Timestamp,
    /// What.
    pub what: RevokedKind,
    /// Which: a `jti`, a `txn` or a client id.
    pub subject: String,
    /// Who did it.
    pub by: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Event {
    TokenIssued(IssuedToken),
    Revoked(Revoked),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Revoked {
    actor: Whoever,
    what: RevokedKind,
    subject: String,
    happened_at: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Whoever {
    client_id: Option<String>,
    user: Option<String>,
}

// === impl ExchangeTree ===

impl ExchangeTree {
    /// The tree of these events, each with the time at which it was recorded: those of the tokens of the chain, and
    /// revocations, also of others.
    #[must_use]
    pub fn build<'a>(txn: &str, events: impl IntoIterator<Item = (Timestamp, &'a str)>) -> Self {
        let mut tokens = Vec::new();
        let mut revocations = Vec::new();
        let mut unreadable = 0;
        for (at, text) in events {
            match serde_json::from_str(text) {
                Ok(Event::TokenIssued(issued)) => tokens.push((at, issued)),
                Ok(Event::Revoked(revoked)) => revocations.push(revoked.at(at)),
                Ok(Event::Other) => {}
                Err(_) => unreadable += 1,
            }
        }
        tokens.sort_by(|a, b| (a.0, &a.1.jti).cmp(&(b.0, &b.1.jti)));
        revocations.sort_by_key(|revocation| revocation.at);
        let of_chain =
            |revocation: &&TakenBack| revocation.what == RevokedKind::Chain && revocation.subject == txn;
        let tokens = in_tree_order(tokens).into_iter().map(|placed| TreeToken {
            revocations: revocations.iter().filter(|taken| taken.is_about(&placed.issued)).cloned().collect(),
            ..placed
        });
        Self {
            txn: txn.to_owned(),
            tokens: tokens.collect(),
            revocations: revocations.iter().filter(of_chain).cloned().collect(),
            unreadable,
        }
    }
}

/// Tokens in the order of their times, put in the order of the tree. Without recursion: nobody bounds how often a
/// token is exchanged by impersonation.
fn in_tree_order(tokens: Vec<(Timestamp, IssuedToken)>) -> Vec<TreeToken> {
    let known: HashSet<String> = tokens.iter().map(|(_, token)| token.jti.clone()).collect();
    let mut children: HashMap<String, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (index, (_, token)) in tokens.iter().enumerate() {
        match &token.exchange {
            Some(Exchanged { subject_jti: Some(parent), .. }) if known.contains(parent) => {
                children.entry(parent.clone()).or_default().push(index);
            }
            _ => roots.push(index),
        }
    }
    let mut left: Vec<Option<(Timestamp, IssuedToken)>> = tokens.into_iter().map(Some).collect();
    let mut placed = Vec::with_capacity(left.len());
    // Behind the roots everything once more: tokens that are said to come from each other have no root.
    let starts = roots.into_iter().chain(0..left.len()).collect::<Vec<_>>();
    for start in starts {
        let mut waiting = vec![(start, 0)];
        while let Some((index, depth)) = waiting.pop() {
            let Some((at, issued)) = left[index].take() else { continue };
            let next = children.remove(&issued.jti).unwrap_or_default();
            waiting.extend(next.into_iter().rev().map(|child| (child, depth + 1)));
            let exchanged = issued.exchange.as_ref();
            let orphan = depth == 0 && exchanged.is_some_and(|exchange| exchange.subject_jti.is_some());
            placed.push(TreeToken { depth, orphan, at, issued, revocations: Vec::new() });
        }
    }
    placed
}

// === impl TakenBack ===

impl TakenBack {
    /// Whether it is about this token; a whole chain's is about none in particular.
    fn is_about(&self, token: &IssuedToken) -> bool {
        match self.what {
            RevokedKind::Token => self.subject == token.jti,
            RevokedKind::Chain => false,
            RevokedKind::Client => {
                let about = token.subject_issuer.is_none().then_some(&token.subject);
                let actors = token.actors.iter().filter(|actor| !token.outside_actors.contains(actor));
                let mut involved = std::iter::once(&token.client_id).chain(about).chain(actors);
                token_id::made_at(&token.jti).is_none_or(|made| made <= self.until)
                    && involved.any(|client| *client == self.subject)
            }
        }
    }
}

// === impl Revoked ===

impl Revoked {
    fn at(self, recorded_at: Timestamp) -> TakenBack {
        let by = self.actor.client_id.or(self.actor.user).unwrap_or_else(|| "jeton".to_owned());
        let at = self.happened_at.unwrap_or(recorded_at);
        TakenBack { at, until: self.until.unwrap_or(at), what: self.what, subject: self.subject, by }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(jti: &str, from: Option<&str>) -> Value {
        let mut event = json!({
            "kind": "token_issued", "jti": jti, "client_id": format!("client-{jti}"), "subject": "front",
            "audience": ["https://x.example"], "scope": "x", "txn": "t", "outcome": "success",
            "expires_at": "2026-11-22T08:05:00Z",
        });
        if let Some(from) = from {
            event["actors"] = json!([format!("client-{jti}")]);
            event["exchange"] = json!({ "rule": "r", "mode": "delegation", "subject_jti": from });
        }
        event
    }

    fn revoked(what: &str, subject: &str) -> Value {
        let actor = json!({ "type": "command_line", "user": "uid 1000 (alice)" });
        json!({ "kind": "revoked", "what": what, "subject": subject, "actor": actor, "outcome": "success" })
    }

    fn tree(events: &[Value]) -> ExchangeTree {
        let texts: Vec<String> = events.iter().map(Value::to_string).collect();
        let timed = texts.iter().zip(1..).map(|(text, at)| (Timestamp::from_seconds(at), text.as_str()));
        ExchangeTree::build("t", timed)
    }

    fn shape(tree: &ExchangeTree) -> Vec<(&str, usize, bool)> {
        tree.tokens.iter().map(|token| (token.issued.jti.as_str(), token.depth, token.orphan)).collect()
    }

    #[test]
    fn a_chain_begins_with_a_trusted_issuers_token_and_is_no_clients_of_the_same_name() {
        let mut first = token("a", Some("elsewhere"));
        first["subject_issuer"] = json!("ci");
        first["outside_actors"] = json!(["client-a"]);
        first["exchange"] =
            json!({ "rule": "r", "mode": "delegation", "subject_token": { "trusted_issuer": "ci" } });
        first["client_id"] = json!("orders");
        let events =
            [first, token("b", Some("a")), revoked("client", "front"), revoked("client", "client-a")];
        let tree = tree(&events);
        assert_eq!(shape(&tree), [("a", 0, false), ("b", 1, false)]);
        assert!(tree.tokens[0].revocations.is_empty(), "{:?}", tree.tokens[0].revocations);
    }

    #[test]
    fn a_token_stands_under_the_one_that_it_was_exchanged_for() {
        let events = [
            token("a", None),
            token("b", Some("a")),
            token("c", Some("b")),
            token("d", Some("a")),
            token("e", Some("b")),
        ];
        let expected = [("a", 0, false), ("b", 1, false), ("c", 2, false), ("e", 2, false), ("d", 1, false)];
        assert_eq!(shape(&tree(&events)), expected);
    }

    #[test]
    fn a_child_may_be_recorded_before_its_parent() {
        let events = [token("b", Some("a")), token("a", None)];
        assert_eq!(shape(&tree(&events)), [("a", 0, false), ("b", 1, false)]);
    }

    #[test]
    fn what_comes_from_nothing_that_is_there_is_marked() {
        let events = [token("a", None), token("b", Some("gone")), token("c", Some("b"))];
        assert_eq!(shape(&tree(&events)), [("a", 0, false), ("b", 0, true), ("c", 1, false)]);
    }

    #[test]
    fn altered_events_lose_no_token_and_do_not_loop() {
        let events = [
            token("a", Some("b")),
            token("b", Some("a")),
            token("c", Some("c")),
            token("d", None),
            token("d", None),
        ];
        let tree = tree(&events);
        assert_eq!(tree.tokens.len(), 5);
        assert_eq!(tree.tokens.iter().filter(|token| token.orphan).count(), 2);
        let broken =
            ExchangeTree::build("t", [(Timestamp::from_seconds(1), "{"), (Timestamp::from_seconds(1), "7")]);
        assert_eq!((broken.tokens.len(), broken.unreadable), (0, 2));
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let mut events = vec![token("0", None)];
        events.extend((1..20_000).map(|n: u32| token(&n.to_string(), Some(&(n - 1).to_string()))));
        assert_eq!(tree(&events).tokens.last().map(|token| token.depth), Some(19_999));
    }

    #[test]
    fn revocations_stand_at_what_they_are_about() {
        let events = [
            token("a", None),
            token("b", Some("a")),
            revoked("token", "b"),
            revoked("chain", "t"),
            revoked("chain", "another"),
            revoked("token", "another"),
            revoked("client", "client-b"),
        ];
        let tree = tree(&events);
        let subjects = |taken: &[TakenBack]| -> Vec<String> {
            taken.iter().map(|revocation| revocation.subject.clone()).collect()
        };
        assert_eq!(subjects(&tree.revocations), ["t"]);
        assert_eq!(subjects(&tree.tokens[0].revocations), [""; 0]);
        assert_eq!(subjects(&tree.tokens[1].revocations), ["b", "client-b"]);
        assert_eq!(tree.tokens[1].revocations[0].by, "uid 1000 (alice)");
    }

    #[test]
    fn what_a_client_got_later_is_not_revoked() {
        let jti = token_id::make("mark__", Timestamp::from_seconds(5), [0; token_id::RANDOM]);
        let mut event = token(&jti, None);
        event["client_id"] = json!("front");
        // The revocation is from second 2.
        let mut revoked = revoked("client", "front");
        assert_eq!(tree(&[event.clone(), revoked.clone()]).tokens[0].revocations, []);
        // Unless it was issued earlier, by a clock that is ahead.
        revoked["until"] = json!(Timestamp::from_seconds(5));
        assert_eq!(tree(&[event, revoked]).tokens[0].revocations.len(), 1);
    }
}
