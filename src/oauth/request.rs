//! A request to an endpoint that clients authenticate at: token, introspection, revocation.

use std::sync::Arc;

use super::client_auth::{self, Authenticated, Caller, Claimed, Presentation, Verifiers};
use super::form::Form;
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::certificate::PeerCertificate;
use crate::domain::error::{Failure, Fault, OAuthError};
use crate::domain::text::quoted;
use crate::runtime::clock::Ambient;
use crate::runtime::credential_uses::CredentialUses;
use crate::runtime::directory::Directory;
use crate::runtime::ledger::{Ledger, RecordError};
use crate::runtime::refusals::Refusals;

/// A request as it came, body unread. It holds secrets, so it has no `Debug` form.
pub struct ClientRequest<'a> {
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Every `Authorization` header.
    pub authorization: Vec<&'a [u8]>,
    /// Every `DPoP` header.
    pub dpop: Vec<&'a [u8]>,
    /// The URI's query, which must be empty: it ends up in logs.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// What stands for the issuer in the URL that it was sent to, if it is not the issuer itself (RFC 8705 §5).
    pub base: Option<&'a str>,
    /// The certificate that the caller holds the key of, if it has shown one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Where it came from.
    pub origin: &'a Origin,
}

/// Authenticates clients where that is all there is to record of a refusal: at introspection and revocation. The
/// token endpoint records more ([`super::token`]).
pub struct ClientGate {
    /// Time.
    pub ambient: Ambient,
    /// What is registered.
    pub directory: Arc<Directory>,
    /// What checks credentials.
    pub verifiers: Arc<Verifiers>,
    /// What records refusals.
    pub refusals: Refusals,
    /// What uses assertions up.
    pub ledger: Ledger,
    /// What notes which credentials are used: of whom is let in there is no event.
    pub uses: Arc<CredentialUses>,
}

// === impl ClientRequest ===

impl ClientRequest<'_> {
    /// Checks what holds for every request before anything in it is believed, and reads the form.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn read(&self) -> Result<Form, OAuthError> {
        if self.query.is_some_and(|query| !query.is_empty()) {
            return Err(OAuthError::invalid_request(
                "send parameters in the body only: a query string ends up in logs (RFC 6749 section 2.3.1)",
            ));
        }
        let media_type = self.content_type.and_then(|value| value.split(';').next()).map(str::trim);
        if !media_type.is_some_and(|value| value.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Err(OAuthError::invalid_request("send Content-Type: application/x-www-form-urlencoded"));
        }
        Form::parse(self.body)
    }

    /// What of it can hold a credential.
    pub(super) fn presentation<'b>(&'b self, form: &'b Form) -> Presentation<'b> {
        let certificate = self.certificate.as_ref();
        Presentation { authorization: &self.authorization, form, certificate, grants: true }
    }
}

// === impl ClientGate ===

impl ClientGate {
    /// The client that sends a request, with what it sends.
    ///
    /// # Errors
    /// The request is malformed or the client is not admitted; recorded before it is answered. Or a fault.
    pub async fn admit(&self, request: &ClientRequest<'_>) -> Result<(Authenticated, Form), Failure> {
        let mut claimed = None;
        let outcome = self.attempt(request, &mut claimed).await;
        match outcome {
            Err(Failure::Refused(error)) => Err(self.refuse(request, claimed, error).await),
            other => other,
        }
    }

    /// Records a refusal and hands it on.
    pub async fn refuse(
        &self,
        request: &ClientRequest<'_>,
        claimed: Option<Claimed>,
        error: OAuthError,
    ) -> Failure {
        let known = claimed.as_ref().is_some_and(|claimed| claimed.known);
        let claimed = claimed.map(|claimed| claimed.client_id);
        let reason = quoted(&error.private);
        let event = Event::AccessRefused { actor: None, claimed, permission: None, reason, repeated: None };
        let event = AuditEvent { at: self.ambient.now(), origin: request.origin.clone(), event };
        match self.refusals.record(event, known).await {
            Ok(()) => error.into(),
            Err(fault) => fault.into(),
        }
    }

    /// Says in `claimed` who the caller says it is.
    async fn attempt(
        &self,
        request: &ClientRequest<'_>,
        claimed: &mut Option<Claimed>,
    ) -> Result<(Authenticated, Form), Failure> {
        let form = request.read()?;
        let presentation = Presentation { grants: false, ..request.presentation(&form) };
        let caller = Caller { address: request.origin.address, now: self.ambient.now() };
        let authenticate = async || {
            let offered = client_auth::present(&presentation)?;
            Ok::<_, Failure>(
                client_auth::authenticate(&self.verifiers, &self.directory, offered, caller).await,
            )
        };
        let changes = self.directory.changes();
        let mut attempted = authenticate().await?;
        // While its keys were fetched, or while it waited for its turn, it may have been disabled.
        if attempted.outcome.is_ok() && self.directory.changes() != changes {
            attempted = authenticate().await?;
        }
        *claimed = attempted.claimed;
        let client = attempted.outcome?;
        // What counts once counts here too, and before anything is answered.
        if let Some(used) = client.credential.used.clone() {
            self.ledger.spend(used).await.map_err(|error| match error {
                RecordError::UsedBefore { .. } => client_auth::used_before().into(),
                RecordError::Fault(fault) => Failure::from(fault),
            })?;
            self.verifiers.assertions.count(&client.credential);
        }
        self.tell_legacy(request, &client).await?;
        let client_id = &client.registration.client.client_id;
        self.uses.note(client_id, &client.credential.credential_id, caller.now);
        Ok((client, form))
    }

    /// Records that an assertion for another audience was accepted, once in a while.
    async fn tell_legacy(&self, request: &ClientRequest<'_>, client: &Authenticated) -> Result<(), Fault> {
        let (client_id, assertions) = (&client.registration.client.client_id, &self.verifiers.assertions);
        if client.credential.legacy_audience && assertions.is_untold(client_id) {
            let event = Event::LegacyAssertionAccepted { actor: client.actor() };
            let event = AuditEvent { at: self.ambient.now(), origin: request.origin.clone(), event };
            // Before it is, so that many at once are told once.
            assertions.told(client_id.clone());
            if let Err(fault) = self.ledger.record(&event).await {
                assertions.not_told(client_id);
                return Err(fault);
            }
        }
        Ok(())
    }
}

// === impl Authenticated ===

impl Authenticated {
    /// Who it has said it is, for a refusal of something else.
    pub(super) fn claimed(&self) -> Claimed {
        Claimed { client_id: self.registration.client.client_id.clone(), known: true }
    }

    /// Who it is, for the audit.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Authenticated {
            client_id: self.registration.client.client_id.clone(),
            auth_method: self.method,
            credential_id: self.credential.credential_id.clone(),
        }
    }
}
