//! The token endpoint (RFC 6749 §3.2): `authenticate → resolve → decide → bind → sign → record → answer`.
//!
//! There is one pipeline for all grants, and one way out of it: whatever happens, [`TokenEndpoint::issue`]
//! has the outcome durable in the ledger before it returns it. Faults are not outcomes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::client_auth::{self, Authenticated, Presentation};
use super::form::Form;
use super::grants::{self, Context};
use crate::domain::audit::{AskedFor, AuditEvent, Event, Origin};
use crate::domain::claims::{self, AccessTokenClaims, Occasion};
use crate::domain::client::GrantType;
use crate::domain::error::{ErrorCode, Failure, Fault, OAuthError};
use crate::domain::ids::{ClientId, KeyId};
use crate::domain::policy::{self, Asked};
use crate::domain::resource::TokenProfile;
use crate::domain::scope::Scope;
use crate::domain::text::quoted;
use crate::jose::TokenType;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::keyring::Keyring;
use crate::runtime::ledger::Ledger;
use crate::runtime::secrets::SecretVerifier;

/// Issues tokens.
pub struct TokenEndpoint {
    /// The issuer identifier.
    pub issuer: String,
    /// The longest lifetime of any token.
    pub longest: Duration,
    /// Time and randomness.
    pub ambient: Ambient,
    /// What is registered.
    pub directory: Arc<Directory>,
    /// What signs.
    pub keyring: Arc<Keyring>,
    /// What records.
    pub ledger: Ledger,
    /// What checks secrets.
    pub secrets: SecretVerifier,
}

/// A token request as it came, body unread. It holds secrets, so it has no `Debug` form.
pub struct TokenRequest<'a> {
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Every `Authorization` header.
    pub authorization: &'a [&'a [u8]],
    /// The URI's query, which must be empty: it ends up in logs.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// The `x-request-id` of the answer.
    pub request_id: &'a str,
}

/// A successful answer (RFC 6749 §5.1).
#[derive(Debug)]
pub struct TokenResponse {
    /// The token.
    pub access_token: SecretString,
    /// Seconds until its end.
    pub expires_in: i64,
    /// The granted permissions, space-separated.
    pub scope: String,
}

/// What is known of a request so far; what a refusal is recorded with.
#[derive(Default)]
struct Attempt {
    client_id: Option<ClientId>,
    authenticated: bool,
    grant_type: Option<String>,
    asked: AskedFor,
}

/// A token that is signed but not yet recorded.
struct Issued {
    claims: AccessTokenClaims,
    scope: String,
    token: String,
    event: Event,
}

// === impl TokenEndpoint ===

impl TokenEndpoint {
    /// Answers a token request, once the answer is recorded.
    ///
    /// # Errors
    /// A recorded refusal, or a fault.
    pub async fn issue(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Failure> {
        let mut attempt = Attempt::default();
        let outcome = match self.attempt(request, &mut attempt).await {
            Ok(issued) => Ok(issued),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Fault(fault)) => return Err(fault.into()),
        };
        let event = match &outcome {
            Ok(issued) => issued.event.clone(),
            Err(error) => attempt.refused(error),
        };
        self.record(request, event).await?;
        let issued = outcome?;
        Ok(TokenResponse {
            expires_in: issued.claims.exp - issued.claims.iat,
            access_token: SecretString::from(issued.token),
            scope: issued.scope,
        })
    }

    /// Refuses a request that could not be read at all, and records that.
    pub async fn refuse(&self, request: &TokenRequest<'_>, error: OAuthError) -> Failure {
        match self.record(request, Attempt::default().refused(&error)).await {
            Ok(()) => error.into(),
            Err(fault) => fault.into(),
        }
    }

    async fn attempt(&self, request: &TokenRequest<'_>, attempt: &mut Attempt) -> Result<Issued, Failure> {
        let form = read(request)?;
        tracing::trace!(parameters = ?form, request_id = request.request_id, "token request");
        let grant_type = form.get("grant_type");
        attempt.grant_type = grant_type.map(quoted);
        attempt.asked = AskedFor {
            scope: form.get("scope").map(quoted),
            resource: form.all("resource").take(10).map(quoted).collect(),
            audience: form.all("audience").take(10).map(quoted).collect(),
        };
        let presentation = Presentation { authorization: request.authorization, form: &form };
        let presented = client_auth::present(&presentation);
        attempt.client_id = presented.as_ref().ok().map(|(_, presented)| presented.client_id.clone());
        let grant_type = grant_type.ok_or_else(|| OAuthError::invalid_request("grant_type is missing"))?;
        let grant = grants::find(grant_type).ok_or_else(unsupported_grant_type)?;

        let now = self.ambient.now();
        let (method, presented) = presented?;
        let client =
            client_auth::verify(&self.directory, &self.secrets, method, &presented, request.address, now)
                .await?;
        attempt.authenticated = true;
        if !client.registration.client.grant_types.contains(&grant.grant_type()) {
            return Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "this client is not registered for this grant_type",
            )
            .into());
        }

        let asked = Asked {
            scope: Scope::parse(form.get("scope"))?,
            resources: form.all("resource").map(str::to_owned).collect(),
            audiences: form.all("audience").map(str::to_owned).collect(),
        };
        let catalog = self.directory.catalog();
        let context = Context { client: &client, form: &form, catalog: &catalog };
        let resolved = grant.resolve(&context).await?;
        let decision = policy::decide(&catalog, &resolved.grantee, &asked, self.longest, now)?;

        let txn = resolved.txn.map_or_else(|| self.ambient.token_id(), Ok)?;
        let occasion = Occasion {
            issuer: &self.issuer,
            client_id: &client.registration.client.client_id,
            client_kind: client.registration.client.kind,
            subject: &resolved.subject,
            jti: client.registration.client.token_mark() + &self.ambient.token_id()?,
            txn,
            now,
        };
        let claims = claims::build(occasion, &decision);
        let token_type = match decision.profile {
            TokenProfile::AccessToken => TokenType::AccessToken,
            TokenProfile::Jwt => TokenType::Jwt,
        };
        let signed = self.keyring.sign(decision.algorithm, token_type, &claims, now)?;
        let event = issued(&client, grant.grant_type(), attempt, &claims, &decision, signed.kid);
        Ok(Issued { scope: decision.scope.to_string(), claims, token: signed.token, event })
    }

    async fn record(&self, request: &TokenRequest<'_>, event: Event) -> Result<(), Fault> {
        let event = AuditEvent {
            id: self.ambient.uuid()?,
            at: self.ambient.now(),
            origin: Origin { request_id: Some(request.request_id.to_owned()), address: request.address },
            event,
        };
        self.ledger.record(event).await
    }
}

// === impl Attempt ===

impl Attempt {
    fn refused(self, error: &OAuthError) -> Event {
        Event::TokenRefused {
            client_id: self.client_id,
            authenticated: self.authenticated,
            grant_type: self.grant_type,
            asked: self.asked,
            error: error.code.as_str(),
            reason: quoted(&error.private),
        }
    }
}

fn issued(
    client: &Authenticated,
    grant_type: GrantType,
    attempt: &Attempt,
    claims: &AccessTokenClaims,
    decision: &policy::Decision,
    kid: KeyId,
) -> Event {
    Event::TokenIssued {
        client_id: claims.client_id.clone(),
        auth_method: client.method,
        secret_id: client.credential.secret_id.clone(),
        grant_type,
        asked: attempt.asked.clone(),
        subject: claims.sub.clone(),
        audience: decision.audience.iter().map(|identifier| identifier.as_str().to_owned()).collect(),
        scope: decision.scope.to_string(),
        roles: decision.roles.clone(),
        jti: claims.jti.clone(),
        txn: claims.txn.clone(),
        expires_at: decision.expires_at,
        kid,
    }
}

/// Checks what holds for every request before anything in it is believed.
fn read(request: &TokenRequest<'_>) -> Result<Form, OAuthError> {
    if request.query.is_some_and(|query| !query.is_empty()) {
        return Err(OAuthError::invalid_request(
            "send parameters in the body only: a query string ends up in logs (RFC 6749 section 2.3.1)",
        ));
    }
    let media_type = request.content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|value| value.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(OAuthError::invalid_request("send Content-Type: application/x-www-form-urlencoded"));
    }
    Form::parse(request.body)
}

fn unsupported_grant_type() -> OAuthError {
    let supported: Vec<_> = grants::GRANTS.iter().map(|grant| grant.grant_type().as_str()).collect();
    OAuthError::new(
        ErrorCode::UnsupportedGrantType,
        format!("the supported grant types are: {}", supported.join(", ")),
    )
}
