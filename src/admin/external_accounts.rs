//! The accounts of people whom another provider vouches for: made, kept to what it says, and refused.
//!
//! An account belongs to an identity there, never to a name: whoever is called like somebody here gets nothing of it.

use super::administrators::{AdministratorView, written};
use super::sign_in::{Attempt, OpenedSession};
use super::single_sign_on::{SingleSignOn, SingleSignOnError};
use super::{AdminError, By, Written};
use crate::domain::administrator::{Administrator, AdministratorRole, Stage};
use crate::domain::audit::{Actor, Event, Origin, SignInMethod};
use crate::domain::ids::{AdministratorName, AdministratorUid};
use crate::domain::text::quoted;
use crate::runtime::provider::Vouched;
use crate::storage::Tx;

// === impl SingleSignOn ===

impl SingleSignOn {
    /// Signs in whoever is vouched for, with the role that they have there now.
    pub(super) async fn admit(
        &self,
        attempt: &Attempt<'_>,
        vouched: &Vouched,
    ) -> Result<OpenedSession, SingleSignOnError> {
        match self.admit_as_stored(attempt, vouched).await {
            // Another window of theirs, or an administrator, was faster: what is stored now decides.
            Err(SingleSignOnError::Admin(AdminError::Conflict(_) | AdminError::Stale { .. })) => {
                self.admit_as_stored(attempt, vouched).await
            }
            done => done,
        }
    }

    async fn admit_as_stored(
        &self,
        attempt: &Attempt<'_>,
        vouched: &Vouched,
    ) -> Result<OpenedSession, SingleSignOnError> {
        let admin = &self.sign_in.admin;
        let known =
            admin.store.administrator_by_external(&vouched.identity).await.map_err(AdminError::from)?;
        let Some(role) = self.provider.mapping().role(&vouched.claims) else {
            return self.turn_away(attempt.origin, known, vouched).await;
        };
        let mut tx;
        let (administrator, change) = match known {
            Some(known) if !known.enabled => {
                let why = "the account is disabled";
                let name = Some(known.name);
                return self.refuse_person(attempt.origin, name, why, SingleSignOnError::Disabled).await;
            }
            Some(known) => {
                tx = admin.begin().await?;
                self.keep_to(&mut tx, known, role).await?
            }
            None => {
                let new = self.newcomer(attempt.origin, vouched, role).await?;
                tx = admin.begin().await?;
                admin.insert_administrator(&mut tx, &new).await?;
                if role == AdministratorRole::Administrator {
                    // There is somebody now, so nobody is made by the link of a first start.
                    tx.void_first_links().await.map_err(AdminError::from)?;
                }
                let view = AdministratorView::new(&new);
                let change = written("administrator.create", &view.name, None, Some(&view));
                (new, Some(change))
            }
        };
        let by = person(&administrator.name, attempt.origin);
        let from = (attempt.origin, attempt.agent);
        let session = self.sign_in.open_session(&mut tx, administrator.uid, Stage::SignedIn, from).await?;
        let how = SignInMethod::SingleSignOn;
        self.sign_in.note_signed_in(&mut tx, administrator.uid, &by, how).await?;
        if let Some(change) = change {
            admin.commit(tx, &by, change).await?;
        } else {
            tx.commit().await.map_err(AdminError::from)?;
            admin.chain(&by).await;
        }
        Ok(session)
    }

    /// Gives an account the role that its owner has at the provider now; sessions that last have it too.
    async fn keep_to(
        &self,
        tx: &mut Tx,
        known: Administrator,
        role: AdministratorRole,
    ) -> Result<(Administrator, Option<Written>), AdminError> {
        if !tx.hold_administrator(known.uid, known.version).await? {
            return Err(AdminError::STALE);
        }
        if known.role == role {
            return Ok((known, None));
        }
        let mut changed =
            Administrator { role, updated_at: self.sign_in.admin.ambient.now(), ..known.clone() };
        if !tx.update_administrator(&changed).await? {
            return Err(AdminError::STALE);
        }
        tx.void_links_of(changed.uid).await?;
        changed.version += 1;
        let (before, after) = (AdministratorView::new(&known), AdministratorView::new(&changed));
        let change = written("administrator.update", &changed.name, Some(&before), Some(&after));
        Ok((changed, Some(change)))
    }

    /// The account of somebody who comes for the first time.
    async fn newcomer(
        &self,
        origin: &Origin,
        vouched: &Vouched,
        role: AdministratorRole,
    ) -> Result<Administrator, SingleSignOnError> {
        let admin = &self.sign_in.admin;
        let name = match self.provider.mapping().name(&vouched.claims) {
            Ok(name) => name,
            Err(why) => return self.refuse_person(origin, None, &why, SingleSignOnError::NoName).await,
        };
        if admin.store.administrator(&name).await.map_err(AdminError::from)?.is_some() {
            let why = format!("{name} is somebody else here, so {} was not let in as them", who(vouched));
            let error = SingleSignOnError::NameTaken(name.clone());
            return self.refuse_person(origin, Some(name), &why, error).await;
        }
        let now = admin.ambient.now();
        Ok(Administrator {
            uid: AdministratorUid(admin.ambient.uuid()?),
            name,
            role,
            enabled: true,
            password_hash: None,
            second_factor: None,
            code_step: 0,
            external: Some(vouched.identity.clone()),
            signed_in_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        })
    }

    /// Refuses somebody whom the provider gives no role, and ends what they had.
    async fn turn_away<T>(
        &self,
        origin: &Origin,
        known: Option<Administrator>,
        vouched: &Vouched,
    ) -> Result<T, SingleSignOnError> {
        let admin = &self.sign_in.admin;
        let mapping = self.provider.mapping();
        let claim = mapping.role_claim.as_str();
        let why = match mapping.role_claim.find(&vouched.claims) {
            None => format!("the claim {claim} is missing, so {} has no role here", who(vouched)),
            Some(_) => format!("no value of the claim {claim} gives {} a role here", who(vouched)),
        };
        let name = match known {
            Some(known) => {
                let mut tx = admin.begin().await?;
                let sessions = tx.end_sessions_of(known.uid).await.map_err(AdminError::from)?;
                if sessions > 0 {
                    let by = person(&known.name, origin);
                    let event = Event::SignedOut { actor: by.actor.clone(), sessions };
                    admin.finish_quietly(tx, &by, event).await?;
                }
                Some(known.name)
            }
            // Vouched for, so no password in the wrong field.
            None => mapping.name(&vouched.claims).ok(),
        };
        self.refuse_person(origin, name, &why, SingleSignOnError::NoRole).await
    }
}

/// Somebody whom the provider has just vouched for.
fn person(name: &AdministratorName, origin: &Origin) -> By {
    By { actor: Actor::Person { name: name.clone() }, origin: origin.clone(), ..By::system() }
}

/// Who it is at the provider, for the audit.
fn who(vouched: &Vouched) -> String {
    quoted(&format!("the subject {}", vouched.identity.subject))
}
