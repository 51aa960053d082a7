//! Whoever looks for keys in a token and whoever changes what is in it take turns.
//!
//! The standard lets them do so at once. But `SoftHSM2` loses what one thread writes into an object while another reads
//! that object again, which it does with each of them in a search: its locks keep other processes out, not other
//! threads. So a new key was without its `CKA_ID`, or was not made at all. Signing with a key that is found reads
//! nothing but that key, and waits for nobody.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::thread;
use std::time::Duration;

/// How often a search asks whether it is its turn: for nearly as long as a signature may take. What takes longer is a
/// device that makes an RSA key, which is to sign meanwhile.
const TRIES: u32 = 900;

/// How long it waits in between.
const BREATH: Duration = Duration::from_millis(2);

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    lock: RwLock<()>,
}

// === impl Turns ===

impl Turns {
    /// Waits until nobody searches, and keeps searches off for a while.
    pub(super) fn change(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is changed, but not for long: then it answers `None`, and the search is to go on.
    pub(super) fn search(&self) -> Option<RwLockReadGuard<'_, ()>> {
        for _ in 0..TRIES {
            match self.lock.try_read() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(BREATH),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_share_a_turn_and_wait_for_a_change_but_not_for_long() {
        let turns = Turns::default();
        let one = turns.search();
        assert!(one.is_some() && turns.search().is_some());
        drop(one);
        let change = turns.change();
        assert!(turns.search().is_none());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.search().is_some());
            drop(change);
            assert!(waiting.join().unwrap());
        });
    }
}
