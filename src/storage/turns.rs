//! Whose turn it is to do what only one replica should: a lease, which ends by itself when its holder is gone.

use uuid::Uuid;

use super::engine::execute;
use super::{StoreError, Tx, statements};
use crate::domain::time::Timestamp;

statements! {
    TAKE_TURN = r"
        INSERT INTO turns (what, holder, ends_at) VALUES ($1, $2, $3)
        ON CONFLICT (what) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
        WHERE turns.holder = excluded.holder OR turns.ends_at <= $4";
}

// === impl Tx ===

impl Tx {
    /// Takes a turn until `ends_at`, or keeps it for longer. Answers whether it is this holder's.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_turn(
        &mut self,
        what: &str,
        holder: Uuid,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(execute!(self, TAKE_TURN, what, holder, ends_at.as_micros(), now.as_micros())? == 1)
    }
}
