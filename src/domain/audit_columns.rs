//! What an event is found by, as it is written. [`Columns::read`] finds the same in its text.

use super::audit::{Actor, Event};
use super::ids::ClientId;
use super::revocation::RevokedKind;
use super::written_event::{Columns, is_of_client};

// === impl Event ===

impl Event {
    pub(super) fn columns(&self) -> Columns {
        let text = |id: &ClientId| Some(id.as_str().to_owned());
        let by = match self.actor() {
            Some(Actor::Client { client_id, jti }) => (text(client_id), Some(jti.clone())),
            Some(Actor::Authenticated { client_id, .. }) => (text(client_id), None),
            Some(Actor::Person { .. } | Actor::CommandLine { .. } | Actor::System) | None => (None, None),
        };
        let (client_id, jti) = match self {
            Self::TokenIssued { client_id, jti, .. } => (text(client_id), Some(jti.clone())),
            Self::IdentifierUsedTwice { client_id, jti, .. } => (client_id.clone(), jti.clone()),
            Self::TokenRefused { client_id, .. } => (client_id.as_ref().and_then(text), None),
            Self::AccessRefused { claimed, .. } => (by.0.or_else(|| claimed.as_ref().and_then(text)), by.1),
            _ => by,
        };
        let (txn, continues) = match self {
            Self::TokenIssued { txn, continues, .. } => (Some(txn.clone()), *continues),
            Self::Revoked { txn, continues, .. } => (txn.clone(), *continues),
            _ => (None, false),
        };
        Columns {
            kind: self.kind().into(),
            outcome: self.outcome().as_str().into(),
            client_id,
            jti,
            txn,
            continues,
            person: self.person(),
            about: self.about(),
        }
    }

    /// Whoever administers who did it.
    const fn actor(&self) -> Option<&Actor> {
        match self {
            Self::AccessRefused { actor, .. } | Self::KeyCreated { actor, .. } => actor.as_ref(),
            Self::SignedIn { actor, .. }
            | Self::SignedOut { actor, .. }
            | Self::Revoked { actor, .. }
            | Self::Changed { actor, .. }
            | Self::KeyRevoked { actor, .. }
            | Self::KeysRewrapped { actor, .. }
            | Self::KeysAbandoned { actor, .. }
            | Self::AuditExported { actor, .. }
            | Self::BackedUp { actor, .. }
            | Self::Restored { actor, .. }
            | Self::LegacyAssertionAccepted { actor }
            | Self::AssertionExplained { actor, .. } => Some(actor),
            Self::TokenIssued { .. }
            | Self::TokenRefused { .. }
            | Self::SignInRefused { .. }
            | Self::KeyScheduled { .. }
            | Self::KeyRemoved { .. }
            | Self::CredentialExpiresSoon { .. }
            | Self::Started { .. }
            | Self::Stopped
            | Self::LeftEventRejected { .. }
            | Self::EventsDropped { .. }
            | Self::OutageBegan
            | Self::OutageEnded { .. }
            | Self::SpoolAdopted { .. }
            | Self::IdentifierUsedTwice { .. }
            | Self::AuditChecked { .. } => None,
        }
    }

    /// Who did it, or tried to, when that was a person.
    fn person(&self) -> Option<String> {
        if let Self::SignInRefused { claimed_name, .. } = self {
            return claimed_name.as_ref().map(ToString::to_string);
        }
        match self.actor()? {
            Actor::Person { name } => Some(name.to_string()),
            Actor::CommandLine { user } => Some(user.clone()),
            Actor::Client { .. } | Actor::Authenticated { .. } | Actor::System => None,
        }
    }

    /// The client that it was done to.
    fn about(&self) -> Option<String> {
        match self {
            Self::Changed { action, target, .. } if is_of_client(action) => Some(target.clone()),
            Self::Revoked { what: RevokedKind::Client, subject, .. } => Some(subject.clone()),
            Self::CredentialExpiresSoon { client, .. } => Some(client.to_string()),
            _ => None,
        }
    }
}
