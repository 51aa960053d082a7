//! Finding a chain of token exchanges in the audit.

use crate::domain::chain_check::{Found, Window};
use crate::domain::exchange_tree::ExchangeTree;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::token_id;
use crate::runtime::ledger::OVERTAKEN;
use crate::storage::{EventCursor, EventFilter, Store, StoreError};

/// How many events are read at a time.
const AT_A_TIME: u32 = 500;

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The text is no identifier of a chain.
    #[error(
        "'{0}' is no identifier that this server makes; copy the txn from a token, from introspection or from the audit"
    )]
    NotAChain(String),
    /// No token of the chain is recorded.
    #[error(
        "no token of the chain '{0}' is recorded: it is a txn of another server, a jti, or older than audit.retention"
    )]
    Unknown(String),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tokens of a chain of exchanges, and what of it was taken back.
///
/// # Errors
/// Nothing is recorded of such a chain, or the database is away.
pub async fn exchange_tree(store: &Store, txn: &str) -> Result<ExchangeTree, TreeError> {
    let begun = token_id::made_at(txn).ok_or_else(|| TreeError::NotAChain(quoted(txn)))?;
    let near = Window { from: begun, to: begun.plus(OVERTAKEN) };
    let of_chain = EventFilter {
        kind: Some("token_issued".to_owned()),
        txn: Some((txn.to_owned(), Some(near))),
        ..EventFilter::default()
    };
    let mut events = all(store, &of_chain).await?;
    let tree = ExchangeTree::build(txn, texts(&events));
    let Some(end) = tree.tokens.iter().map(|token| token.issued.expires_at).max() else {
        return Err(TreeError::Unknown(quoted(txn)));
    };
    // A revocation by jti or by client does not name the chain; all that matter are from while it lived.
    let revocations = EventFilter {
        kind: Some("revoked".to_owned()),
        from: Some(begun),
        to: Some(end.plus(OVERTAKEN)),
        ..EventFilter::default()
    };
    events.extend(all(store, &revocations).await?);
    Ok(ExchangeTree::build(txn, texts(&events)))
}

fn texts(events: &[Found]) -> impl Iterator<Item = (Timestamp, &str)> {
    events.iter().map(|event| (event.at, event.text.as_str()))
}

/// Every event that fits, page after page.
async fn all(store: &Store, filter: &EventFilter) -> Result<Vec<Found>, StoreError> {
    let mut events: Vec<Found> = Vec::new();
    loop {
        let after =
            events.last().map(|event| EventCursor { at: event.at, writer: event.writer, seq: event.seq });
        let page = store.events(filter, after, AT_A_TIME).await?;
        let is_last = page.len() < AT_A_TIME as usize;
        events.extend(page);
        if is_last {
            return Ok(events);
        }
    }
}
