//! What is recorded: one enum, one JSON form.
//!
//! An event is written once and never changed. Fields may be added; readers must ignore those they do
//! not know. No field ever holds a secret, a hash of one, or a token. `docs/audit.md` describes the events,
//! and `docs/audit-event.schema.json` is made from the types here.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

pub use super::actor::Actor;
pub use super::audit_words::{Outcome, ProcessKind, RestoredKeys, SignInMethod};
use super::chain::ChainEnd;
use super::client::{AuthMethod, GrantType};
use super::credential::CredentialKind;
use super::error::Fault;
pub use super::exchange_record::ExchangeRecord;
use super::ids::{AdministratorName, ClientId, CredentialId, KeyId, RoleName, TrustedIssuerName};
pub use super::request_record::{AskedFor, Origin, Repeated};
use super::revocation::RevokedKind;
use super::time::Timestamp;
pub use super::written_event::{Columns, NotAnEvent, Recorded, WrittenEvent};
use crate::jose::Algorithm;

/// One event.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When it happened.
    pub at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A token was issued: who authenticated and how, what was asked, what was granted.
    TokenIssued {
        /// The authenticated client.
        #[schema(value_type = String)]
        client_id: ClientId,
        /// How it authenticated.
        auth_method: AuthMethod,
        /// Which of its credentials it used.
        #[schema(value_type = String)]
        credential_id: CredentialId,
        /// The grant.
        grant_type: GrantType,
        /// The request's own words.
        asked: AskedFor,
        /// Who the token is about: a client, unless there is a `subject_issuer`.
        subject: String,
        /// The name of the trusted issuer that vouches for the subject, if that is somebody from elsewhere.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject_issuer: Option<String>,
        /// Who acts for the subject, newest first: clients, unless they are among the `outside_actors`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        actors: Vec<String>,
        /// Those of the actors who are from elsewhere.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        outside_actors: Vec<String>,
        /// What it was exchanged for, if it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        exchange: Option<Box<ExchangeRecord>>,
        /// The resource servers' identifiers.
        audience: Vec<String>,
        /// The granted permissions, space-separated.
        scope: String,
        /// The contributing roles.
        #[schema(value_type = Vec<String>)]
        roles: Vec<RoleName>,
        /// The token's identifier.
        jti: String,
        /// The chain of tokens that it belongs to.
        txn: String,
        /// Whether it continues that chain, or begins it.
        #[serde(skip_serializing_if = "is_false")]
        continues: bool,
        /// The token's end.
        #[schema(value_type = String, format = DateTime)]
        expires_at: Timestamp,
        /// The key that signed it.
        #[schema(value_type = String)]
        kid: KeyId,
        /// The thumbprint of the DPoP key that it is bound to.
        #[serde(skip_serializing_if = "Option::is_none")]
        jkt: Option<String>,
        /// The thumbprint of the certificate that it is bound to (`x5t#S256`).
        #[serde(skip_serializing_if = "Option::is_none")]
        x5t: Option<String>,
        /// Whether the client's assertion named the token endpoint as its audience, which only its legacy switch let
        /// pass.
        #[serde(skip_serializing_if = "is_false")]
        legacy_assertion_audience: bool,
    },
    /// A token request was refused.
    TokenRefused {
        /// Who the caller said it is, if it said so in a readable way.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        client_id: Option<ClientId>,
        /// Whether that was proven.
        authenticated: bool,
        /// How it authenticated, or tried to.
        #[serde(skip_serializing_if = "Option::is_none")]
        auth_method: Option<AuthMethod>,
        /// With which of its credentials it did.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        credential_id: Option<CredentialId>,
        /// The grant type, as sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        grant_type: Option<String>,
        /// The request's own words.
        asked: AskedFor,
        /// The `error` that was answered.
        error: &'static str,
        /// Why, in full.
        reason: String,
        /// Set when this event stands for several refusals, itself among them: those that repeated an earlier
        /// one within a second.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<Repeated>,
    },
    /// A caller of the API was refused.
    AccessRefused {
        /// Who, if that was proven.
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
        /// Who the caller said it is, if that was not proven.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        claimed: Option<ClientId>,
        /// The permission that was missing, if that was why.
        #[serde(skip_serializing_if = "Option::is_none")]
        permission: Option<String>,
        /// Why, in full.
        reason: String,
        /// Set when this event stands for several refusals, itself among them: those that repeated an earlier
        /// one within a second.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<Repeated>,
    },
    /// Somebody signed in to the pages.
    SignedIn {
        /// Who signed in.
        actor: Actor,
        /// What they showed last.
        how: SignInMethod,
    },
    /// Somebody was refused who tried to sign in to the pages.
    SignInRefused {
        /// Who they said they are, if there is an administrator of this name; else it may be a password.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        claimed_name: Option<AdministratorName>,
        /// Why, in full.
        reason: String,
        /// Set when this event stands for several refusals, itself among them: those that repeated an earlier
        /// one within a second.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<Repeated>,
    },
    /// Somebody signed out of the pages.
    SignedOut {
        /// Who signed out.
        actor: Actor,
        /// How many sessions ended.
        sessions: u64,
    },
    /// Tokens were taken back before their end.
    Revoked {
        /// Who did it.
        actor: Actor,
        /// What was taken back.
        what: RevokedKind,
        /// Which: a `jti`, a `txn` or a client id.
        subject: String,
        /// Until when it was taken back what a client got, by the clocks of the servers that issued it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
        /// The chain of tokens that it was about, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        txn: Option<String>,
        /// Whether it belongs to that chain.
        #[serde(skip_serializing_if = "is_false")]
        continues: bool,
    },
    /// Something registered was changed.
    Changed {
        /// Who changed it.
        actor: Actor,
        /// What was done, for example `client.create`.
        action: &'static str,
        /// What it was done to: a client id or a name.
        target: String,
        /// The changed part before, without secrets.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>)]
        before: Option<serde_json::Value>,
        /// The changed part after, without secrets.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>)]
        after: Option<serde_json::Value>,
    },
    /// A signing key was made.
    KeyCreated {
        /// The key.
        #[schema(value_type = String)]
        kid: KeyId,
        /// Its algorithm.
        #[schema(value_type = String)]
        algorithm: Algorithm,
        /// When it starts to sign.
        #[schema(value_type = String, format = DateTime)]
        activates_at: Timestamp,
        /// Who wanted it, when it was not just its time.
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
    },
    /// When a signing key starts to sign or leaves was settled, or changed.
    KeyScheduled {
        /// The key.
        #[schema(value_type = String)]
        kid: KeyId,
        /// Its algorithm.
        #[schema(value_type = String)]
        algorithm: Algorithm,
        /// When it starts to sign, or did.
        #[schema(value_type = String, format = DateTime)]
        activates_at: Timestamp,
        /// When it is no longer published; absent while it may sign for longer.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        leaves_at: Option<Timestamp>,
    },
    /// A signing key was withdrawn.
    KeyRevoked {
        /// The key.
        #[schema(value_type = String)]
        kid: KeyId,
        /// Its algorithm.
        #[schema(value_type = String)]
        algorithm: Algorithm,
        /// Who did it.
        actor: Actor,
        /// Until when verifiers may go on trusting it: they may keep the old key set for so long.
        #[schema(value_type = String, format = DateTime)]
        trusted_until: Timestamp,
    },
    /// A signing key was destroyed: its time was over.
    KeyRemoved {
        /// The key.
        #[schema(value_type = String)]
        kid: KeyId,
        /// Its algorithm.
        #[schema(value_type = String)]
        algorithm: Algorithm,
    },
    /// Private keys were sealed anew, under another master key than before.
    KeysRewrapped {
        /// Who asked for it.
        actor: Actor,
        /// The master key that they are sealed under now. It is named by a part of a hash, which opens nothing.
        master_key: String,
        /// The master keys that they were sealed under before.
        previous: Vec<String>,
        /// How many keys that sign tokens.
        signing_keys: u64,
        /// How many keys that sign the audit's checkpoints.
        audit_keys: u64,
        /// How many secrets that all replicas share.
        shared_secrets: u64,
        /// How many second factors of people.
        second_factors: u64,
    },
    /// A master key was lost, and what it seals was given up. What its keys have signed in the audit is verified as before.
    KeysAbandoned {
        /// Who did it.
        actor: Actor,
        /// The master key. It is named by a part of a hash, which opens nothing.
        master_key: String,
        /// The keys that signed tokens, which were removed.
        signing_keys: Vec<String>,
        /// The keys that signed the audit's checkpoints, which go on verifying them.
        audit_keys: Vec<String>,
        /// How many secrets that all replicas shared.
        shared_secrets: u64,
        /// Who has lost a second factor.
        second_factors: Vec<String>,
    },
    /// A credential of a client ends soon, and nothing has replaced it. Once for each credential and end.
    CredentialExpiresSoon {
        /// The client whose credential it is.
        #[schema(value_type = String)]
        client: ClientId,
        /// What sort of credential.
        credential: CredentialKind,
        /// The credential's identifier.
        credential_id: String,
        /// Its end.
        #[schema(value_type = String, format = DateTime)]
        expires_at: Timestamp,
    },
    /// A process began its chain: at its start, or because writing the chain before it failed.
    Started {
        /// What sort of process.
        process: ProcessKind,
        /// Its version.
        version: String,
        /// The chains before it, as far as no earlier start has named them.
        previous: Vec<ChainEnd>,
    },
    /// A process ended its chain in order.
    Stopped,
    /// Somebody has put a text among the events that changes leave for the ledger.
    LeftEventRejected {
        /// What it says, shortened.
        text: String,
    },
    /// Events that were older than the retention were removed.
    EventsDropped {
        /// All from before this instant.
        #[schema(value_type = String, format = DateTime)]
        before: Timestamp,
    },
    /// The database took no events any more. From here on they were kept in a file.
    OutageBegan,
    /// The database took events again, and has all of the outage.
    OutageEnded {
        /// When it began to take none.
        #[schema(value_type = String, format = DateTime)]
        began: Timestamp,
        /// How many events were kept meanwhile.
        events: u64,
    },
    /// A server has recorded what another one had kept in a file, and not come to record.
    SpoolAdopted {
        /// The file's name.
        file: String,
        /// How many events.
        events: u64,
        /// How many bytes behind them could not be read: what was being written when that server died, for an answer
        /// that never left; or damage.
        #[serde(skip_serializing_if = "is_zero")]
        unread_bytes: u64,
        /// Why nothing of it was recorded, if nothing was.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// What counts once was used at two replicas, of which one or both could not ask the database.
    IdentifierUsedTwice {
        /// What it identifies.
        of: String,
        /// The identifier, as it is kept.
        identifier: String,
        /// The client that used it the second time.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// The token that was issued for it the second time.
        #[serde(skip_serializing_if = "Option::is_none")]
        jti: Option<String>,
    },
    /// Somebody took a copy of the audit with them, through the pages.
    AuditExported {
        /// Who took it.
        actor: Actor,
        /// Which events, in the words of the list's filter; empty for all of them.
        asked: BTreeMap<&'static str, String>,
    },
    /// A client proved itself at introspection or revocation by an assertion whose audience only its legacy switch let pass.
    /// Once a minute for each client and server; of a token its own event says it.
    LegacyAssertionAccepted {
        /// The client that proved itself.
        actor: Actor,
    },
    /// Somebody had a token of a trusted issuer explained. Which token, is not said.
    AssertionExplained {
        /// Who asked for it.
        actor: Actor,
        /// The issuer that it is of, or would be.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        trusted_issuer: Option<TrustedIssuerName>,
        /// The client that was asked about, or that it proves.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        client: Option<ClientId>,
        /// Whether it would have been accepted.
        accepted: bool,
    },
    /// Somebody took a copy of the whole database with them.
    BackedUp {
        /// Who took it.
        actor: Actor,
        /// Everything from before this instant is in it.
        #[schema(value_type = String, format = DateTime)]
        taken_at: Timestamp,
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// The database went back to what it was when a backup was taken.
    Restored {
        /// Who did it.
        actor: Actor,
        /// When that was: what happened from then on is not in this database.
        #[schema(value_type = String, format = DateTime)]
        taken_at: Timestamp,
        /// The SHA-256 of the backup's file, if Jeton has restored it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// What became of the signing keys.
        keys: RestoredKeys,
        /// How many of them are revoked because of it.
        revoked_keys: u64,
        /// How many tokens, chains of tokens and clients' tokens were taken back since, and are again.
        revocations: u64,
    },
    /// A server has read the whole audit, and checked that no event was altered, removed or moved.
    AuditChecked {
        /// It was shown every event from before this instant.
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
        /// How long it took, in seconds.
        seconds: u64,
        /// How many events there were.
        events: u64,
        /// In how many chains.
        chains: u64,
        /// How many things are not as they were written.
        findings: u64,
        /// The first ten of them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        first: Vec<String>,
    },
}

/// The JSON of an event: what happened, how it ended, where it came from.
#[derive(Serialize, ToSchema)]
pub struct EventText<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// How it ended.
    outcome: Outcome,
    /// When it happened, where it could be recorded only later: after the change that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    happened_at: Option<Timestamp>,
    /// Where the request came from, when it was one.
    #[serde(skip_serializing_if = "Origin::is_nothing")]
    origin: &'a Origin,
}

// === impl Event ===

impl Event {
    /// The `kind` of its JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TokenIssued { .. } => "token_issued",
            Self::TokenRefused { .. } => "token_refused",
            Self::AccessRefused { .. } => "access_refused",
            Self::SignedIn { .. } => "signed_in",
            Self::SignInRefused { .. } => "sign_in_refused",
            Self::SignedOut { .. } => "signed_out",
            Self::Revoked { .. } => "revoked",
            Self::Changed { .. } => "changed",
            Self::KeyCreated { .. } => "key_created",
            Self::KeyScheduled { .. } => "key_scheduled",
            Self::KeyRevoked { .. } => "key_revoked",
            Self::KeyRemoved { .. } => "key_removed",
            Self::KeysRewrapped { .. } => "keys_rewrapped",
            Self::KeysAbandoned { .. } => "keys_abandoned",
            Self::CredentialExpiresSoon { .. } => "credential_expires_soon",
            Self::Started { .. } => "started",
            Self::Stopped => "stopped",
            Self::LeftEventRejected { .. } => "left_event_rejected",
            Self::EventsDropped { .. } => "events_dropped",
            Self::OutageBegan => "outage_began",
            Self::OutageEnded { .. } => "outage_ended",
            Self::SpoolAdopted { .. } => "spool_adopted",
            Self::IdentifierUsedTwice { .. } => "identifier_used_twice",
            Self::AuditExported { .. } => "audit_exported",
            Self::LegacyAssertionAccepted { .. } => "legacy_assertion_accepted",
            Self::AssertionExplained { .. } => "assertion_explained",
            Self::AuditChecked { .. } => "audit_checked",
            Self::BackedUp { .. } => "backed_up",
            Self::Restored { .. } => "restored",
        }
    }

    /// Every kind.
    pub const KINDS: &[&str] = &[
        "token_issued",
        "token_refused",
        "access_refused",
        "signed_in",
        "sign_in_refused",
        "signed_out",
        "revoked",
        "changed",
        "key_created",
        "key_scheduled",
        "key_revoked",
        "key_removed",
        "keys_rewrapped",
        "keys_abandoned",
        "credential_expires_soon",
        "started",
        "stopped",
        "left_event_rejected",
        "events_dropped",
        "outage_began",
        "outage_ended",
        "spool_adopted",
        "identifier_used_twice",
        "audit_exported",
        "legacy_assertion_accepted",
        "assertion_explained",
        "audit_checked",
        "backed_up",
        "restored",
    ];

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::TokenRefused { .. }
            | Self::AccessRefused { .. }
            | Self::SignInRefused { .. }
            | Self::LeftEventRejected { .. } => Outcome::Refused,
            _ => Outcome::Success,
        }
    }
}

// === impl AuditEvent ===

impl AuditEvent {
    /// The event as it is written down.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is a bug.
    pub fn write(&self) -> Result<WrittenEvent, Fault> {
        self.write_with(None)
    }

    /// The event as it is written down when the ledger records it later: with its own time in it.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is a bug.
    pub fn write_for_later(&self) -> Result<WrittenEvent, Fault> {
        self.write_with(Some(self.at))
    }

    fn write_with(&self, happened_at: Option<Timestamp>) -> Result<WrittenEvent, Fault> {
        let outcome = self.event.outcome();
        let text = EventText { event: &self.event, outcome, happened_at, origin: &self.origin };
        // Long enough for nearly any, so that it is not copied as it grows.
        let mut json = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut json, &text).map_err(Fault::internal)?;
        let text = String::from_utf8(json).map_err(Fault::internal)?;
        Ok(WrittenEvent { at: self.at, columns: self.event.columns(), text })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
