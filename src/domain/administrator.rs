//! People who administer: what they may do, and how long a sign-in lasts.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::SecretString;

use super::builtin::{self, HeldBy};
use super::ids::{AdministratorName, AdministratorUid, Permission};
use super::time::Timestamp;
use super::words::words;

words! {
    /// What an administrator may do.
    AdministratorRole {
        /// Everything.
        Administrator = "administrator",
        /// Read everything and change nothing.
        Auditor = "auditor",
    }
}

words! {
    /// How far a sign-in has come.
    Stage {
        /// The password was right; the second factor is still to come, and nothing else is possible.
        SecondFactor = "second-factor",
        /// They are signed in.
        SignedIn = "signed-in",
    }
}

/// Somebody who administers. There is no `Debug` form: it holds what must not be printed.
#[derive(Clone)]
pub struct Administrator {
    /// Database key.
    pub uid: AdministratorUid,
    /// What they sign in with.
    pub name: AdministratorName,
    /// What they may do.
    pub role: AdministratorRole,
    /// Whether they may sign in.
    pub enabled: bool,
    /// Argon2id; absent without a password.
    pub password_hash: Option<SecretString>,
    /// The sealed secret of their one-time codes; absent without a second factor.
    pub second_factor: Option<Vec<u8>>,
    /// The step of the last one-time code that counted.
    pub code_step: i64,
    /// Who else vouches for them.
    pub external: Option<ExternalIdentity>,
    /// When they last signed in.
    pub signed_in_at: Option<Timestamp>,
    /// Counts changes by administrators; the `ETag`.
    pub version: i64,
    /// When they were registered.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
}

/// An identity at another provider (single sign-on).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The `sub` there.
    pub subject: String,
}

/// A sign-in that lasts.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names it on pages; not what opens it.
    pub handle: String,
    /// How far it has come.
    pub stage: Stage,
    /// Where it was begun.
    pub address: Option<String>,
    /// The browser, as it calls itself.
    pub agent: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last used, to a minute.
    pub used_at: Timestamp,
    /// When it ends, however much it is used.
    pub ends_at: Timestamp,
}

/// How people sign in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInRules {
    /// How long a session lasts without being used.
    pub idle: Duration,
    /// How long it lasts at most.
    pub lifetime: Duration,
    /// Whether a password alone is not enough.
    pub second_factor_required: bool,
}

/// How long the second factor may take after the password.
pub const SECOND_FACTOR_WITHIN: Duration = Duration::from_mins(10);

/// How stale `used_at` may be: not every page is worth a write. A quarter of the time without use, if that is less: what
/// is noted no more often than a session ends would never prolong it.
const USE_NOTED_EVERY: Duration = Duration::from_mins(1);

// === impl AdministratorRole ===

impl AdministratorRole {
    /// The permissions of the API that it has.
    #[must_use]
    pub fn permissions(self) -> BTreeSet<Permission> {
        builtin::PERMISSIONS
            .iter()
            .filter(|(_, _, held)| match held {
                HeldBy::Readers => true,
                HeldBy::Administrators => self == Self::Administrator,
                HeldBy::Nobody => false,
            })
            .filter_map(|(permission, _, _)| Permission::new(permission).ok())
            .collect()
    }
}

// === impl Administrator ===

impl Administrator {
    /// Whether they may change everything, once they have something to sign in with.
    #[must_use]
    pub fn administers(&self) -> bool {
        self.enabled && self.role == AdministratorRole::Administrator
    }
}

// === impl Session ===

impl Session {
    /// Whether it counts at this instant.
    #[must_use]
    pub fn lasts(&self, now: Timestamp, rules: &SignInRules) -> bool {
        now < self.ends_at && now < self.used_at.plus(rules.idle)
    }

    /// Whether its use is worth noting.
    #[must_use]
    pub fn use_is_due(&self, now: Timestamp, rules: &SignInRules) -> bool {
        self.used_at.plus(USE_NOTED_EVERY.min(rules.idle / 4)) <= now
    }
}

// === impl SignInRules ===

impl SignInRules {
    /// When a session that begins now ends at the latest.
    #[must_use]
    pub fn end(&self, stage: Stage, now: Timestamp) -> Timestamp {
        now.plus(match stage {
            Stage::SecondFactor => SECOND_FACTOR_WITHIN.min(self.lifetime),
            Stage::SignedIn => self.lifetime,
        })
    }
}

impl Default for SignInRules {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(30),
            lifetime: Duration::from_hours(12),
            second_factor_required: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auditor_reads_everything_and_changes_nothing() {
        let all = AdministratorRole::Administrator.permissions();
        let of_roles = builtin::PERMISSIONS.iter().filter(|(_, _, held)| *held != HeldBy::Nobody);
        assert_eq!(all.len(), of_roles.count());
        let some = AdministratorRole::Auditor.permissions();
        assert!(some.is_subset(&all) && some.iter().all(|permission| permission.as_str().ends_with(":read")));
        let reads = all.iter().filter(|permission| permission.as_str().ends_with(":read")).count();
        assert_eq!(some.len(), reads);
    }

    #[test]
    fn a_session_ends_when_idle_and_at_its_end() {
        let rules = SignInRules::default();
        let begun = Timestamp::from_seconds(1_000_000);
        let session = |used_at| Session {
            handle: String::new(),
            stage: Stage::SignedIn,
            address: None,
            agent: String::new(),
            created_at: begun,
            used_at,
            ends_at: rules.end(Stage::SignedIn, begun),
        };
        let after = |span| begun.plus(span);
        assert!(session(begun).lasts(after(Duration::from_mins(29)), &rules));
        assert!(!session(begun).lasts(after(Duration::from_mins(30)), &rules));
        let used = session(after(Duration::from_mins(12 * 60 - 1)));
        assert!(used.lasts(after(Duration::from_mins(12 * 60 - 1)), &rules));
        assert!(!used.lasts(after(Duration::from_hours(12)), &rules));
        assert_eq!(rules.end(Stage::SecondFactor, begun), after(SECOND_FACTOR_WITHIN));
    }

    #[test]
    fn whoever_uses_a_session_keeps_it_however_short_it_lasts_without() {
        for idle in [Duration::from_mins(1), Duration::from_mins(4), Duration::from_hours(6)] {
            let rules = SignInRules { idle, ..SignInRules::default() };
            let begun = Timestamp::from_seconds(1_000_000);
            let session = Session {
                handle: String::new(),
                stage: Stage::SignedIn,
                address: None,
                agent: String::new(),
                created_at: begun,
                used_at: begun,
                ends_at: rules.end(Stage::SignedIn, begun),
            };
            let every = USE_NOTED_EVERY.min(idle / 4);
            assert!(!session.use_is_due(begun.plus(every / 2), &rules), "not every page is worth a write");
            // A page every half of the time: noted while it still lasts.
            let later = begun.plus((idle / 2).max(every));
            assert!(session.use_is_due(later, &rules) && session.lasts(later, &rules), "{idle:?}");
        }
    }
}
