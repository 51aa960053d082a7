//! The token endpoint (RFC 6749 §3.2): `authenticate → resolve → decide → bind → sign → record → answer`.
//!
//! There is one pipeline for all grants, and one way out of it: whatever happens, [`TokenEndpoint::issue`]
//! has the outcome durable in the ledger before it returns it. Faults are not outcomes.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tracing::{Instrument, Level, Span};

use super::client_auth::{self, Authenticated, Caller, Claimed, Verified, Verifiers};
use super::dpop::{self, Dpop, Proof};
use super::form::Form;
use super::grants::{self, Context, Grant, Resolved};
use super::live::LiveTokens;
use super::possession::Possession;
use super::request::ClientRequest;
use crate::domain::audit::{AskedFor, AuditEvent, Event};
use crate::domain::catalog::Catalog;
use crate::domain::claims::{self, AccessTokenClaims, Occasion};
use crate::domain::client::{AuthMethod, GrantType};
use crate::domain::delegation::Act;
use crate::domain::error::{ErrorCode, Failure, OAuthError};
use crate::domain::exchange_record::ExchangeRecord;
use crate::domain::ids::{CredentialId, KeyId};
use crate::domain::once::Purpose;
use crate::domain::policy::{self, Asked, Decision};
use crate::domain::scope::Scope;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::keyring::Keyring;
use crate::runtime::ledger::{Ledger, RecordError};
use crate::runtime::meters::{Outcome, Traffic};
use crate::runtime::refusals::Refusals;
use crate::runtime::spans;
use crate::storage::UsedId;

/// Issues tokens.
#[derive(Clone)]
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
    /// What checks credentials.
    pub verifiers: Arc<Verifiers>,
    /// Which tokens count.
    pub tokens: Arc<LiveTokens>,
    /// What checks DPoP proofs.
    pub dpop: Arc<Dpop>,
    /// What counts the requests.
    pub traffic: Traffic,
}

/// The span of a step. It exists where a trace is recorded, or at the level `trace`; elsewhere it is a comparison.
macro_rules! phase {
    ($name:expr) => {
        tracing::trace_span!(target: spans::PHASE, $name)
    };
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
    /// What sort of token it is, where the request could choose (RFC 8693 §2.2.1).
    pub issued_type: Option<&'static str>,
    /// The nonce for the client's next proof, when it is not the one that it used (RFC 9449 §8.2).
    pub dpop_nonce: Option<String>,
}

/// What is known of a request so far; what a refusal is recorded with.
#[derive(Default)]
struct Attempt {
    claimed: Option<Claimed>,
    authenticated: bool,
    auth_method: Option<AuthMethod>,
    credential_id: Option<CredentialId>,
    grant_type: Option<String>,
    asked: AskedFor,
}

/// How often a request is looked at. While it waits for keys of others, or for its turn to have a secret checked, a client
/// may be disabled, a rule deleted or a token revoked: then all is looked at once more, with what it waited for at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

/// What a grant has resolved to, for what was asked with the proof of these keys.
struct Granted<'a> {
    grant: &'static dyn Grant,
    asked: &'a Asked,
    catalog: &'a Catalog,
    possession: &'a Possession,
    resolved: Resolved<'a>,
}

/// A token that is signed but not yet recorded.
struct Issued {
    response: TokenResponse,
    at: Timestamp,
    event: Event,
    /// What the client proved itself with.
    credential: Verified,
    /// What else of the request counts once.
    used: Vec<UsedId>,
    /// What was asked by.
    grant: &'static dyn Grant,
}

/// What the event of a token says of it, beside who has got it for which words.
struct SignedToken<'a> {
    grant_type: GrantType,
    possession: &'a Possession,
    exchange: Option<Box<ExchangeRecord>>,
    /// Whether it belongs to a chain that there was before.
    continues: bool,
    decision: Decision,
    claims: AccessTokenClaims,
    scope: String,
    kid: KeyId,
}

// === impl TokenEndpoint ===

impl TokenEndpoint {
    /// Answers a token request, once the answer is recorded.
    ///
    /// # Errors
    /// A recorded refusal, or a fault.
    pub async fn issue(&self, request: &ClientRequest<'_>) -> Result<TokenResponse, Failure> {
        let mut attempt = Attempt::default();
        let attempted = self.attempt(request, &mut attempt, Round::First).await;
        let (grant, method) = (attempt.grant(), attempt.auth_method);
        attempt.tell();
        let answer = match attempted {
            Ok(issued) => self.answer(request, attempt, issued).await,
            Err(Failure::Refused(error)) => Err(Box::pin(self.record_refusal(request, attempt, error)).await),
            Err(Failure::Fault(fault)) => Err(fault.into()),
        };
        self.traffic.token(grant, method, Outcome::of(&answer));
        answer
    }

    /// Refuses a request that could not be read at all, and records that.
    pub async fn refuse_unread(&self, request: &ClientRequest<'_>, error: OAuthError) -> Failure {
        let failure = self.record_refusal(request, Attempt::default(), error).await;
        self.traffic.token(None, None, Outcome::of_failure(&failure));
        failure
    }

    /// The one way out with a token.
    async fn answer(
        &self,
        request: &ClientRequest<'_>,
        attempt: Attempt,
        issued: Issued,
    ) -> Result<TokenResponse, Failure> {
        let Issued { response, at, event, credential, used, grant } = issued;
        let event = AuditEvent { at, origin: request.origin.clone(), event };
        let used: Vec<UsedId> = credential.used.iter().cloned().chain(used).collect();
        let recording = self.ledger.record_issuance(&event, used);
        match recording.instrument(phase!(spans::RECORD)).await {
            Ok(()) => {
                self.verifiers.assertions.count(&credential);
                Ok(response)
            }
            Err(RecordError::UsedBefore { purpose }) => {
                let error = match purpose {
                    Purpose::ClientAssertion => client_auth::used_before(),
                    Purpose::DpopProof => dpop::used_before(),
                    Purpose::OutsideToken => grant.used_before(),
                };
                Err(Box::pin(self.record_refusal(request, attempt, error)).await)
            }
            Err(RecordError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// The one way out with a refusal.
    async fn record_refusal(
        &self,
        request: &ClientRequest<'_>,
        attempt: Attempt,
        error: OAuthError,
    ) -> Failure {
        let known = attempt.claimed.as_ref().is_some_and(|claimed| claimed.known);
        let at = self.ambient.now();
        let event = AuditEvent { at, origin: request.origin.clone(), event: attempt.refusal_event(&error) };
        match self.refusals.record(event, known).instrument(phase!(spans::RECORD)).await {
            Ok(()) => error.into(),
            Err(fault) => fault.into(),
        }
    }

    async fn attempt(
        &self,
        request: &ClientRequest<'_>,
        attempt: &mut Attempt,
        round: Round,
    ) -> Result<Issued, Failure> {
        let changes = self.directory.changes();
        let form = request.read()?;
        tracing::trace!(parameters = ?form, request_id = request.origin.request_id, "token request");
        let grant_type = form.get("grant_type");
        attempt.grant_type = grant_type.map(quoted);
        attempt.asked = AskedFor {
            scope: form.get("scope").map(quoted),
            resource: form.all("resource").take(10).map(quoted).collect(),
            audience: form.all("audience").take(10).map(quoted).collect(),
        };
        let authenticating = self.authenticate(request, &form, attempt);
        let (client, grant) = authenticating.instrument(phase!(spans::AUTHENTICATE)).await?;
        let possession = Possession { proof: self.prove(request)?, certificate: request.certificate.clone() };

        let asked = Asked {
            scope: Scope::parse(form.get("scope"))?,
            resources: form.all("resource").map(str::to_owned).collect(),
            audiences: form.all("audience").map(str::to_owned).collect(),
        };
        let catalog = self.directory.catalog();
        let context = Context {
            client: &client,
            form: &form,
            catalog: &catalog,
            asked: &asked,
            tokens: &self.tokens,
            outside: &self.verifiers.outside,
            possession: &possession,
            now: self.ambient.now(),
        };
        let resolved = grant.resolve(&context).instrument(phase!(spans::RESOLVE)).await?;
        if round == Round::First && self.directory.changes() != changes {
            *attempt = Attempt::default();
            return Box::pin(self.attempt(request, attempt, Round::Second)).await;
        }
        let granted = Granted { grant, asked: &asked, catalog: &catalog, possession: &possession, resolved };
        self.sign(&client, granted, attempt.asked.clone()).await
    }

    /// Who asks, and by which grant.
    async fn authenticate(
        &self,
        request: &ClientRequest<'_>,
        form: &Form,
        attempt: &mut Attempt,
    ) -> Result<(Authenticated, &'static dyn Grant), Failure> {
        let offered = client_auth::present(&request.presentation(form));
        if let Ok(offered) = &offered {
            let named = offered.client_id.clone();
            attempt.claimed = named.map(|client_id| Claimed { client_id, known: false });
            attempt.auth_method = offered.method();
        }
        let grant_type = form.get("grant_type");
        let grant_type = grant_type.ok_or_else(|| OAuthError::invalid_request("grant_type is missing"))?;
        let grant = grants::find(grant_type).ok_or_else(unsupported_grant_type)?;

        let offered = offered?;
        let caller = Caller { address: request.origin.address, now: self.ambient.now() };
        let attempted = client_auth::authenticate(&self.verifiers, &self.directory, offered, caller).await;
        attempt.claimed = attempted.claimed;
        attempt.auth_method = attempted.method;
        let client = attempted.outcome?;
        attempt.authenticated = true;
        attempt.credential_id = Some(client.credential.credential_id.clone());
        if !client.registration.client.grant_types.contains(&grant.grant_type()) {
            return Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "this client is not registered for this grant_type",
            )
            .into());
        }
        Ok((client, grant))
    }

    /// Decides, binds and signs.
    async fn sign(
        &self,
        client: &Authenticated,
        granted: Granted<'_>,
        words: AskedFor,
    ) -> Result<Issued, Failure> {
        let Granted { grant, asked, catalog, possession, resolved } = granted;
        let Resolved { subject, sub_id, txn, grantee, act, may_act, exchange, issued_type, used } = resolved;

        // The time in the token is that of its event. From here on nothing waits, except for the signature of a key
        // in a PKCS#11 token, at most two seconds.
        let now = self.ambient.now();
        let deciding = || policy::decide(catalog, &grantee, asked, self.longest, now);
        let decision = phase!(spans::DECIDE).in_scope(deciding)?;
        possession.check_binding(&client.registration.client, catalog, &decision.audience)?;
        let proof = possession.proof.as_ref();
        let continues = txn.is_some();
        let mark = client.registration.client.token_mark();
        let txn = txn.map_or_else(|| self.ambient.token_id(&mark, now), Ok)?;
        let occasion = Occasion {
            issuer: &self.issuer,
            client_id: &client.registration.client.client_id,
            client_kind: client.registration.client.kind,
            subject: &subject,
            sub_id,
            jti: self.ambient.token_id(&mark, now)?,
            txn,
            act,
            may_act,
            now,
            cnf: possession.confirmation(),
        };
        let claims = claims::build(occasion, &decision);
        let algorithms = [Some(decision.algorithm), decision.algorithm_before].into_iter().flatten();
        let signing = self.keyring.sign(algorithms, decision.profile.token_type(), &claims, now);
        let signed = signing.instrument(phase!(spans::SIGN)).await?;
        let scope = decision.scope.to_string();
        let response = TokenResponse {
            access_token: SecretString::from(signed.token),
            token_type: if proof.is_some() { "DPoP" } else { "Bearer" },
            expires_in: claims.exp - claims.iat,
            scope: scope.clone(),
            issued_type,
            dpop_nonce: proof.filter(|proof| proof.renew_nonce).map(|_| self.dpop.nonce(now)),
        };
        let used = used.into_iter().chain(proof.map(|proof| proof.used.clone())).collect();
        let grant_type = grant.grant_type();
        let token = SignedToken {
            grant_type,
            possession,
            exchange,
            continues,
            decision,
            claims,
            scope,
            kid: signed.kid,
        };
        let event = event(client, token, words);
        Ok(Issued { response, at: now, event, credential: client.credential.clone(), used, grant })
    }

    /// What the request's DPoP proof proves, if there is one. Nothing is used up before: a client that is sent
    /// back for a nonce comes again with the same assertion.
    fn prove(&self, request: &ClientRequest<'_>) -> Result<Option<Proof>, OAuthError> {
        let url = format!("{}/oauth2/token", request.base.unwrap_or(&self.issuer));
        let now = self.ambient.now();
        // The endpoint takes nothing but POST.
        let expected = dpop::Expected { method: "POST", url: &url, access_token: None, now };
        self.dpop.check(&request.dpop, &expected)
    }
}

// === impl Attempt ===

impl Attempt {
    /// Which grant was asked for, if it is one.
    fn grant(&self) -> Option<GrantType> {
        self.grant_type.as_deref().and_then(GrantType::from_word)
    }

    /// Tells the trace who asks for what, where one is recorded. A name that nobody has, and a grant that there is not,
    /// are a caller's words, and not told.
    fn tell(&self) {
        if !tracing::enabled!(target: spans::RECORDED, Level::DEBUG) {
            return;
        }
        let span = Span::current();
        span.record(spans::GRANT_TYPE, self.grant().map_or("other", GrantType::as_str));
        span.record(spans::AUTH_METHOD, self.auth_method.map_or("none", AuthMethod::as_str));
        if let Some(claimed) = self.claimed.as_ref().filter(|claimed| claimed.known) {
            span.record(spans::CLIENT_ID, claimed.client_id.as_str());
        }
    }

    fn refusal_event(self, error: &OAuthError) -> Event {
        Event::TokenRefused {
            client_id: self.claimed.map(|claimed| claimed.client_id),
            authenticated: self.authenticated,
            auth_method: self.auth_method,
            credential_id: self.credential_id,
            grant_type: self.grant_type,
            asked: self.asked,
            error: error.code.as_str(),
            reason: quoted(&error.private),
            repeated: None,
        }
    }
}

/// The event of a token that is signed.
fn event(client: &Authenticated, token: SignedToken<'_>, asked: AskedFor) -> Event {
    let SignedToken { grant_type, possession, exchange, continues, decision, claims, scope, kid } = token;
    let (actors, outside_actors) = acting(claims.act.as_ref());
    let subject_issuer = claims.subject_issuer().map(str::to_owned);
    Event::TokenIssued {
        client_id: claims.client_id,
        auth_method: client.method,
        credential_id: client.credential.credential_id.clone(),
        grant_type,
        asked,
        subject: claims.sub,
        subject_issuer,
        actors,
        outside_actors,
        exchange,
        audience: decision.audience.iter().map(ToString::to_string).collect(),
        scope,
        roles: claims.roles,
        jti: claims.jti,
        txn: claims.txn,
        continues,
        expires_at: decision.expires_at,
        kid,
        jkt: possession.proof.as_ref().map(|proof| proof.jkt.clone()),
        x5t: possession.certificate.as_ref().map(|certificate| certificate.thumbprint.clone()),
        legacy_assertion_audience: client.credential.legacy_audience,
    }
}

/// Everybody who acts in a token, newest first, and who of them is from elsewhere.
fn acting(act: Option<&Act>) -> (Vec<String>, Vec<String>) {
    let outside = act.into_iter().flat_map(Act::chain).filter(|act| act.client().is_none());
    let outside = outside.map(|act| act.sub.clone()).collect();
    (act.into_iter().flat_map(Act::actors).map(str::to_owned).collect(), outside)
}

fn unsupported_grant_type() -> OAuthError {
    let supported: Vec<_> = grants::GRANTS.iter().map(|grant| grant.grant_type().as_str()).collect();
    OAuthError::new(
        ErrorCode::UnsupportedGrantType,
        format!("the supported grant types are: {}", supported.join(", ")),
    )
}
