//! Uses of credentials that no event tells: introspection and revocation record nothing of whom they let in. The
//! statistics' task writes them with what it counts ([`super::statistics`]), so a request pays for a look at memory alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;

/// How many credentials are remembered until they are written, which one transaction does. A use beyond is not noted; the
/// next one may be.
const MOST: usize = 5_000;

/// When each credential was last used, by client and credential, as far as that is not written yet.
#[derive(Default)]
pub struct CredentialUses(Mutex<BTreeMap<(String, String), Timestamp>>);

// === impl CredentialUses ===

impl CredentialUses {
    /// Notes a use.
    pub fn note(&self, client: &ClientId, credential: &CredentialId, at: Timestamp) {
        let key = (client.as_str().to_owned(), credential.as_str().to_owned());
        let mut noted = self.noted();
        if let Some(last) = noted.get_mut(&key) {
            *last = at.max(*last);
        } else if noted.len() < MOST {
            noted.insert(key, at);
        }
    }

    /// All that is noted. It stays so until it [was written](Self::written).
    #[must_use]
    pub fn all(&self) -> BTreeMap<(String, String), Timestamp> {
        self.noted().clone()
    }

    /// Forgets what was written, but what was used again meanwhile.
    pub fn written(&self, uses: &BTreeMap<(String, String), Timestamp>) {
        self.noted().retain(|key, at| uses.get(key) != Some(at));
    }

    fn noted(&self) -> MutexGuard<'_, BTreeMap<(String, String), Timestamp>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(name: &str) -> CredentialId {
        CredentialId::new(name).unwrap()
    }

    #[test]
    fn what_is_used_while_it_is_written_is_written_again() {
        let (uses, client) = (CredentialUses::default(), ClientId::new("orders").unwrap());
        let at = Timestamp::from_seconds;
        for (name, second) in [("a", 2), ("a", 1), ("b", 1)] {
            uses.note(&client, &credential(name), at(second));
        }
        let all = uses.all();
        assert_eq!(all.values().copied().collect::<Vec<_>>(), [at(2), at(1)], "the later one counts");
        uses.note(&client, &credential("b"), at(3));
        uses.written(&all);
        let used_again = ("orders".to_owned(), "b".to_owned());
        assert_eq!(uses.all(), BTreeMap::from([(used_again, at(3))]));
        for number in 0..=MOST {
            uses.note(&client, &credential(&number.to_string()), at(4));
        }
        assert_eq!(uses.all().len(), MOST);
    }
}
