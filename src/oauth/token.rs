//! The token endpoint (RFC 6749 §3.2): `authenticate → resolve → decide → bind → sign → record → answer`.
//!
//! There is one pipeline for all grants, and one way out of it: whatever happens, [`TokenEndpoint::issue`]
//! has the outcome durable in the ledger before it returns it. Faults are not outcomes.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::client_auth::{self, Caller, Presentation};
use super::dpop::{self, Dpop, Proof};
use super::form::Form;
use super::grants::{self, Context};
use crate::domain::audit::{AskedFor, AuditEvent, Event, Origin};
use crate::domain::claims::{self, Occasion};
use crate::domain::client::AuthMethod;
use crate::domain::error::{ErrorCode, Failure, OAuthError};
use crate::domain::ids::{ClientId, SecretId};
use crate::domain::policy::{self, Asked};
use crate::domain::resource::TokenProfile;
use crate::domain::scope::Scope;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::jose::TokenType;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::keyring::Keyring;
use crate::runtime::ledger::{Ledger, RecordError};
use crate::runtime::refusals::Refusals;
use crate::runtime::secrets::SecretVerifier;
use crate::storage::UsedId;

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
    /// What records tokens.
    pub ledger: Ledger,
    /// What records refusals.
    pub refusals: Refusals,
    /// What checks secrets.
    pub secrets: SecretVerifier,
    /// What checks DPoP proofs.
    pub dpop: Arc<Dpop>,
}

/// A token request as it came, body unread. It holds secrets, so it has no `Debug` form.
pub struct TokenRequest<'a> {
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Every `Authorization` header.
    pub authorization: &'a [&'a [u8]],
    /// Every `DPoP` header.
    pub dpop: &'a [&'a [u8]],
    /// The URI's query, which must be empty: it ends up in logs.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// Where it came from.
    pub origin: &'a Origin,
}

/// A successful answer (RFC 6749 §5.1).
#[derive(Debug)]
pub struct TokenResponse {
    /// The token.
    pub access_token: SecretString,
    /// How to use it: `Bearer`, or `DPoP` when it is bound (RFC 9449 §5).
    pub token_type: &'static str,
    /// Seconds until its end.
    pub expires_in: i64,
    /// The granted permissions, space-separated.
    pub scope: String,
    /// The nonce for the client's next proof, when it is not the one that it used (RFC 9449 §8.2).
    pub dpop_nonce: Option<String>,
}

/// What is known of a request so far; what a refusal is recorded with.
#[derive(Default)]
struct Attempt {
    client_id: Option<ClientId>,
    /// Whether there is a client of this name.
    known: bool,
    authenticated: bool,
    auth_method: Option<AuthMethod>,
    secret_id: Option<SecretId>,
    grant_type: Option<String>,
    asked: AskedFor,
}

/// A token that is signed but not yet recorded.
struct Issued {
    response: TokenResponse,
    at: Timestamp,
    event: Event,
    /// What counts once.
    used: Vec<UsedId>,
}

// === impl TokenEndpoint ===

impl TokenEndpoint {
    /// Answers a token request, once the answer is recorded.
    ///
    /// # Errors
    /// A recorded refusal, or a fault.
    pub async fn issue(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Failure> {
        let mut attempt = Attempt::default();
        match self.attempt(request, &mut attempt).await {
            Ok(issued) => self.answer(request, attempt, issued).await,
            Err(Failure::Refused(error)) => Err(Box::pin(self.refused(request, attempt, error)).await),
            Err(Failure::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Refuses a request that could not be read at all, and records that.
    pub async fn refuse(&self, request: &TokenRequest<'_>, error: OAuthError) -> Failure {
        self.refused(request, Attempt::default(), error).await
    }

    /// The one way out with a token.
    async fn answer(
        &self,
        request: &TokenRequest<'_>,
        attempt: Attempt,
        issued: Issued,
    ) -> Result<TokenResponse, Failure> {
        let Issued { response, at, event, used } = issued;
        let event = AuditEvent { at, origin: request.origin.clone(), event };
        let with_proof = used.iter().any(dpop::is_of_proof);
        match self.ledger.record_issuance(&event, used).await {
            Ok(()) => Ok(response),
            Err(RecordError::UsedBefore) => {
                let error = if with_proof {
                    dpop::used_before()
                } else {
                    OAuthError::invalid_client("the assertion was used before")
                };
                Err(Box::pin(self.refused(request, attempt, error)).await)
            }
            Err(RecordError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// The one way out with a refusal.
    async fn refused(&self, request: &TokenRequest<'_>, attempt: Attempt, error: OAuthError) -> Failure {
        let known = attempt.known;
        let at = self.ambient.now();
        let event = AuditEvent { at, origin: request.origin.clone(), event: attempt.refused(&error) };
        match self.refusals.record(event, known).await {
            Ok(()) => error.into(),
            Err(fault) => fault.into(),
        }
    }

    async fn attempt(&self, request: &TokenRequest<'_>, attempt: &mut Attempt) -> Result<Issued, Failure> {
        let form = read(request)?;
        tracing::trace!(parameters = ?form, request_id = request.origin.request_id, "token request");
        let grant_type = form.get("grant_type");
        attempt.grant_type = grant_type.map(quoted);
        attempt.asked = AskedFor {
            scope: form.get("scope").map(quoted),
            resource: form.all("resource").take(10).map(quoted).collect(),
            audience: form.all("audience").take(10).map(quoted).collect(),
        };
        let presentation = Presentation { authorization: request.authorization, form: &form };
        let presented = client_auth::present(&presentation);
        if let Ok((method, presented)) = &presented {
            attempt.client_id = Some(presented.client_id.clone());
            attempt.auth_method = Some(method.name());
        }
        let grant_type = grant_type.ok_or_else(|| OAuthError::invalid_request("grant_type is missing"))?;
        let grant = grants::find(grant_type).ok_or_else(unsupported_grant_type)?;

        let (method, presented) = presented?;
        let registration = self.directory.client(&presented.client_id).await?;
        attempt.known = registration.is_some();
        let caller = Caller { address: request.origin.address, now: self.ambient.now() };
        let client = client_auth::verify(&self.secrets, method, &presented, registration, caller).await?;
        attempt.authenticated = true;
        attempt.secret_id = Some(client.credential.secret_id.clone());
        if !client.registration.client.grant_types.contains(&grant.grant_type()) {
            return Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "this client is not registered for this grant_type",
            )
            .into());
        }

        let proof = self.prove(request)?;

        let asked = Asked {
            scope: Scope::parse(form.get("scope"))?,
            resources: form.all("resource").map(str::to_owned).collect(),
            audiences: form.all("audience").map(str::to_owned).collect(),
        };
        let catalog = self.directory.catalog();
        let context = Context { client: &client, form: &form, catalog: &catalog };
        let resolved = grant.resolve(&context).await?;

        // From here on nothing waits: the time in the token is that of its event.
        let now = self.ambient.now();
        let decision = policy::decide(&catalog, &resolved.grantee, &asked, self.longest, now)?;
        dpop::check_binding(&client.registration.client, &catalog, &decision.audience, proof.as_ref())?;
        let continues = resolved.txn.is_some();
        let txn = resolved.txn.map_or_else(|| self.ambient.token_id("", now), Ok)?;
        let occasion = Occasion {
            issuer: &self.issuer,
            client_id: &client.registration.client.client_id,
            client_kind: client.registration.client.kind,
            subject: &resolved.subject,
            jti: self.ambient.token_id(&client.registration.client.token_mark(), now)?,
            txn,
            now,
            cnf: proof.as_ref().map(Proof::confirmation),
        };
        let claims = claims::build(occasion, &decision);
        let token_type = match decision.profile {
            TokenProfile::AccessToken => TokenType::AccessToken,
            TokenProfile::Jwt => TokenType::Jwt,
        };
        let algorithms = [Some(decision.algorithm), decision.algorithm_before].into_iter().flatten();
        let signed = self.keyring.sign(algorithms, token_type, &claims, now)?;
        let scope = decision.scope.to_string();
        let response = TokenResponse {
            access_token: SecretString::from(signed.token),
            token_type: if proof.is_some() { "DPoP" } else { "Bearer" },
            expires_in: claims.exp - claims.iat,
            scope: scope.clone(),
            dpop_nonce: proof.as_ref().filter(|proof| proof.renew_nonce).map(|_| self.dpop.nonce(now)),
        };
        let event = Event::TokenIssued {
            client_id: claims.client_id,
            auth_method: client.method,
            secret_id: client.credential.secret_id,
            grant_type: grant.grant_type(),
            asked: attempt.asked.clone(),
            subject: claims.sub,
            audience: decision.audience.iter().map(ToString::to_string).collect(),
            scope,
            roles: claims.roles,
            jti: claims.jti,
            txn: claims.txn,
            continues,
            expires_at: decision.expires_at,
            kid: signed.kid,
            jkt: proof.as_ref().map(|proof| proof.jkt.clone()),
        };
        let used = proof.map(|proof| proof.used).into_iter().collect();
        Ok(Issued { response, at: now, event, used })
    }

    /// What the request's DPoP proof proves, if there is one. Nothing is used up before: a client that is sent
    /// back for a nonce comes again with the same assertion.
    fn prove(&self, request: &TokenRequest<'_>) -> Result<Option<Proof>, OAuthError> {
        let url = format!("{}/oauth2/token", self.issuer);
        let now = self.ambient.now();
        // The endpoint takes nothing but POST.
        let expected = dpop::Expected { method: "POST", url: &url, access_token: None, now };
        self.dpop.check(request.dpop, &expected)
    }
}

// === impl Attempt ===

impl Attempt {
    fn refused(self, error: &OAuthError) -> Event {
        Event::TokenRefused {
            client_id: self.client_id,
            authenticated: self.authenticated,
            auth_method: self.auth_method,
            secret_id: self.secret_id,
            grant_type: self.grant_type,
            asked: self.asked,
            error: error.code.as_str(),
            reason: quoted(&error.private),
            repeated: None,
        }
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
