//! Asking the issuers that something may be of: exactly one of them must vouch for it.
//!
//! What one of them does not know may be newer than what is known of it. So the keys of those are fetched again, but only
//! where nobody else vouches: last, and once in a while. So are those of whom a signature is not, for a key may be replaced
//! and its name stay; but where no newer ones are to be had, what is known has the last word, so that whoever forges gets
//! the same answer while an issuer is away.

use std::sync::Arc;

use crate::domain::error::Fault;
use crate::domain::trust::TrustedIssuer;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::runtime::remote_keys::{KeySet, NoKeys};

/// What the keys of an issuer say.
pub(super) enum Said<W> {
    /// It is this one's.
    Vouches,
    /// It is not, unless there are newer keys.
    Denies(W),
    /// It is not as far as these keys go.
    Lacks(W),
}

/// Why it is nobody's.
pub(super) enum NotOne<W> {
    /// Several vouch, so that it may be of any of them. At least two.
    Several(Vec<Arc<TrustedIssuer>>),
    /// Nobody does.
    Nobody(Vec<(Arc<TrustedIssuer>, W)>),
    /// Nobody can say now.
    Away(Fault),
}

/// What those say who were asked.
pub(super) struct Asked<W> {
    vouchers: Vec<Arc<TrustedIssuer>>,
    denials: Vec<(Arc<TrustedIssuer>, W)>,
    away: Option<Fault>,
    /// Those whose keys may be too old.
    unsure: Vec<Unsure<W>>,
}

/// One whose keys may be too old.
struct Unsure<W> {
    issuer: Arc<TrustedIssuer>,
    set: Arc<KeySet>,
    why: W,
    /// Whether its keys are enough to say no.
    denies: bool,
}

// === impl Asked ===

impl<W> Asked<W> {
    /// Nobody was asked yet.
    pub(super) const fn nobody() -> Self {
        Self { vouchers: Vec::new(), denials: Vec::new(), away: None, unsure: Vec::new() }
    }

    /// It cannot be of this one.
    pub(super) fn denies(&mut self, issuer: Arc<TrustedIssuer>, why: W) {
        self.denials.push((issuer, why));
    }

    /// Asks one by the keys that are known of it.
    pub(super) fn ask(
        &mut self,
        issuer: Arc<TrustedIssuer>,
        known: Result<Arc<KeySet>, NoKeys>,
        judge: &impl Judge<W>,
    ) {
        let set = match known {
            Ok(set) => set,
            Err(NoKeys::Away(fault)) => {
                self.away = Some(fault);
                return;
            }
            Err(NoKeys::None(why)) => return self.denies(issuer, judge.without_keys(why)),
        };
        let (why, denies) = match judge.says(&set) {
            Said::Vouches => return self.vouchers.push(issuer),
            Said::Denies(why) => (why, true),
            Said::Lacks(why) => (why, false),
        };
        self.unsure.push(Unsure { issuer, set, why, denies });
    }

    /// Whose it is: the only one that vouches, with newer keys where nobody does by those that are known.
    pub(super) async fn only(
        mut self,
        keys: &IssuerKeys,
        judge: &impl Judge<W>,
    ) -> Result<Arc<TrustedIssuer>, NotOne<W>> {
        if self.vouchers.is_empty() {
            for Unsure { issuer, set, why, denies } in std::mem::take(&mut self.unsure) {
                match keys.after(&issuer, &set).await.transpose() {
                    None => self.denies(issuer, why),
                    Some(Err(NoKeys::Away(_))) if denies => self.denies(issuer, why),
                    Some(newer) => self.ask(issuer, newer, judge),
                }
            }
            // Newer keys that lack it too, or deny it, are the last word.
            let last = std::mem::take(&mut self.unsure);
            self.denials.extend(last.into_iter().map(|unsure| (unsure.issuer, unsure.why)));
        }
        match (self.vouchers.pop(), self.away) {
            (Some(only), _) if self.vouchers.is_empty() => Ok(only),
            (Some(last), _) => {
                self.vouchers.push(last);
                Err(NotOne::Several(self.vouchers))
            }
            (None, Some(fault)) => Err(NotOne::Away(fault)),
            (None, None) => Err(NotOne::Nobody(self.denials)),
        }
    }
}

/// What is asked about.
pub(super) trait Judge<W> {
    /// What these keys say of it.
    fn says(&self, set: &Arc<KeySet>) -> Said<W>;

    /// That there are no keys, for this reason.
    fn without_keys(&self, why: String) -> W;
}
