//! Client authentication (RFC 6749 §2.3): exactly one method per request, and one the client is
//! registered for.
//!
//! An unknown client, a disabled one, one that calls from elsewhere and one with a wrong secret get the
//! same answer and cost the same work; only the audit knows which it was.

pub mod assertion;
mod certificate;
mod client_secret_basic;
mod client_secret_post;
mod guard;
mod private_key_jwt;
mod secret;
mod self_signed_tls_client_auth;
mod tls_client_auth;

pub use self::client_secret_basic::parse as parse_basic;
pub use self::guard::Stake;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::private_key_jwt::Assertions;
use super::Boxed;
use super::form::Form;
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::{AuthMethod, CertificateReach, Registration};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::runtime::failures::Failures;
use crate::runtime::issuer_keys::IssuerKeys;
use crate::runtime::secrets::SecretVerifier;
use crate::storage::UsedId;

/// Every method. Discovery, registration and the audit follow from this list.
pub static METHODS: &[&dyn Method] = &[
    &client_secret_basic::ClientSecretBasic,
    &client_secret_post::ClientSecretPost,
    &private_key_jwt::PrivateKeyJwt,
    &tls_client_auth::TlsClientAuth,
    &self_signed_tls_client_auth::SelfSignedTlsClientAuth,
];

/// One way for a client to authenticate.
pub trait Method: Send + Sync {
    /// Its registered name.
    fn name(&self) -> AuthMethod;

    /// Whether it takes its credential from the `Authorization` header.
    fn reads_header(&self) -> bool {
        false
    }

    /// Whether it takes what comes with the connection. Then it is asked only when the request itself holds no
    /// credential: a certificate beside another credential binds the token, and is no second method.
    fn is_of_connection(&self) -> bool {
        false
    }

    /// Whether it can work on a server that knows this of its callers' certificates.
    fn is_available(&self, reach: CertificateReach) -> bool {
        reach >= self.name().needs()
    }

    /// What the request presents for this method: nothing, a credential, or an attempt at one.
    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>>;
}

/// What is presented as proof of a client's identity. Its `Debug` form holds no secret.
pub trait Proof: fmt::Debug + Send + Sync {
    /// What its check is worth to whoever guesses. Proofs that can be guessed, or cost much to check, say so, and are
    /// limited where too much has failed.
    fn stake(&self, _verifiers: &Verifiers, _client_id: &ClientId) -> Stake {
        Stake::Little
    }

    /// Checks it against the client. Without one (unknown or not admitted) it must cost the same and fail.
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>>;
}

/// What a proof is checked against.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// What checks.
    pub verifiers: &'a Verifiers,
    /// The claimed client.
    pub client_id: &'a ClientId,
    /// That client, if it is admitted.
    pub registration: Option<&'a Registration>,
    /// When.
    pub now: Timestamp,
}

/// What credentials are checked with.
pub struct Verifiers {
    /// Secrets.
    pub secrets: Arc<SecretVerifier>,
    /// What counts failures.
    pub failures: Failures,
    /// Assertions.
    pub assertions: Assertions,
    /// The keys of trusted issuers.
    pub issuer_keys: Arc<IssuerKeys>,
}

/// The parts of a request that can hold a credential; hence no `Debug` form.
pub struct Presentation<'a> {
    /// Every `Authorization` header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub form: &'a Form,
    /// The certificate of the connection.
    pub certificate: Option<&'a Arc<PeerCertificate>>,
}

/// Who a request says it is from, and the proof.
#[derive(Debug)]
pub struct Presented {
    /// The claimed client.
    pub client_id: ClientId,
    /// The proof.
    pub proof: Box<dyn Proof>,
}

/// What a request is understood to present: by one method, or as what several could mean, in their order.
pub struct Offered {
    /// The claimed client.
    pub client_id: ClientId,
    /// Never empty.
    ways: Vec<Way>,
}

/// One way in which it can be meant.
type Way = (&'static dyn Method, Box<dyn Proof>);

/// A credential that held.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Which one.
    pub credential_id: CredentialId,
    /// Its own end.
    pub not_after: Option<Timestamp>,
    /// What of it counts once. Whoever answers the request records it first.
    pub used: Option<UsedId>,
    /// Whether it was accepted only because of the client's `legacy_assertion_audience`.
    pub legacy_audience: bool,
}

/// A client whose identity is proven.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The client as registered.
    pub registration: Arc<Registration>,
    /// How it proved itself.
    pub method: AuthMethod,
    /// With which credential.
    pub credential: Verified,
}

// === impl Offered ===

impl Offered {
    /// How the client authenticates, as far as is known.
    #[must_use]
    pub fn method(&self) -> Option<AuthMethod> {
        self.ways.first().map(|(method, _)| method.name())
    }

    /// Leaves the ways that the client is registered for, if it is for any.
    pub fn meant_for(&mut self, registration: Option<&Registration>) {
        let Some(methods) = registration.map(|registration| &registration.client.auth_methods) else {
            return;
        };
        let is_registered = |(method, _): &Way| methods.contains(&method.name());
        if self.ways.iter().any(is_registered) {
            self.ways.retain(is_registered);
        }
    }
}

/// Finds the one method that the request uses, and what it presents.
///
/// # Errors
/// `invalid_request` for two methods at once or contradicting client ids, `invalid_client` for none.
pub fn present(request: &Presentation<'_>) -> Result<Offered, OAuthError> {
    if request.authorization.len() > 1 {
        return Err(OAuthError::invalid_request("send one Authorization header"));
    }
    let methods = METHODS.iter().filter(|method| !method.is_of_connection());
    let mut presented =
        methods.filter_map(|method| method.present(request).map(|presented| (*method, presented)));
    let Some((method, first)) = presented.next() else { return present_connection(request) };
    // A header that no method takes is a second attempt as well, whatever it means.
    let stray_header = !request.authorization.is_empty() && !method.reads_header();
    if presented.next().is_some() || stray_header {
        return Err(OAuthError::invalid_request(
            "authenticate in one way only: the Authorization header or the body (RFC 6749 section 2.3)",
        ));
    }
    let presented = first?;
    // RFC 6749 §3.2.1 lets a client name itself in the body as well, but not as somebody else.
    if request.form.get("client_id").is_some_and(|client_id| client_id != presented.client_id.as_str()) {
        return Err(OAuthError::invalid_request("client_id is not the client that authenticates"));
    }
    Ok(Offered { client_id: presented.client_id, ways: vec![(method, presented.proof)] })
}

/// What the connection presents, where the request itself does not: by which of these methods it is meant, only the
/// client's registration can say.
fn present_connection(request: &Presentation<'_>) -> Result<Offered, OAuthError> {
    if !request.authorization.is_empty() {
        return Err(no_credential());
    }
    let mut offered: Option<Offered> = None;
    for method in METHODS.iter().filter(|method| method.is_of_connection()) {
        if let Some(presented) = method.present(request) {
            let Presented { client_id, proof } = presented?;
            offered
                .get_or_insert_with(|| Offered { client_id, ways: Vec::new() })
                .ways
                .push((*method, proof));
        }
    }
    offered.ok_or_else(no_credential)
}

/// The refusal of an assertion whose `jti` the ledger knows.
#[must_use]
pub fn used_before() -> OAuthError {
    OAuthError::invalid_client("the assertion was used before")
}

/// Says nothing about any client, so it can be plain.
fn no_credential() -> OAuthError {
    OAuthError {
        public: "send client_id and client_secret, by HTTP Basic or in the body, or a client_assertion"
            .into(),
        ..OAuthError::invalid_client("the request has no client credential that is understood")
    }
}

/// Where and when a client authenticates.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its address, if that is known.
    pub address: Option<IpAddr>,
    /// When.
    pub now: Timestamp,
}

/// Checks what was presented against the client of this name, if there is one.
///
/// # Errors
/// `invalid_client` or, when too much has failed, `temporarily_unavailable`, with the reason for the audit only; or a
/// fault.
pub async fn verify(
    verifiers: &Verifiers,
    offered: &Offered,
    registration: Option<Arc<Registration>>,
    caller: Caller,
) -> Result<Authenticated, Failure> {
    let stake =
        offered.ways.first().map_or(Stake::Little, |(_, proof)| proof.stake(verifiers, &offered.client_id));
    let check = verify_unlimited(verifiers, offered, registration, caller);
    guard::limited(&verifiers.failures, stake, &offered.client_id, caller, check).await
}

async fn verify_unlimited(
    verifiers: &Verifiers,
    offered: &Offered,
    registration: Option<Arc<Registration>>,
    caller: Caller,
) -> Result<Authenticated, Failure> {
    let mut refusal = no_credential().into();
    for (method, proof) in &offered.ways {
        let claimed = (&offered.client_id, registration.as_deref());
        match verify_one(verifiers, (*method, &**proof), claimed, caller).await {
            Ok(credential) => {
                let registration =
                    registration.ok_or_else(|| OAuthError::invalid_client("no client has this client_id"))?;
                return Ok(Authenticated { registration, method: method.name(), credential });
            }
            Err(fault @ Failure::Fault(_)) => return Err(fault),
            Err(refused) => refusal = refused,
        }
    }
    Err(refusal)
}

async fn verify_one(
    verifiers: &Verifiers,
    (method, proof): (&'static dyn Method, &dyn Proof),
    (client_id, registration): (&ClientId, Option<&Registration>),
    caller: Caller,
) -> Result<Verified, Failure> {
    let admitted = admit(registration, method.name(), caller);
    // Verified in any case, so that the time it takes does not tell who is registered.
    let registration = admitted.as_ref().ok().copied();
    let verified = proof.verify(Claim { verifiers, client_id, registration, now: caller.now }).await;
    if let (Err(reason), Ok(_) | Err(Failure::Refused(_))) = (&admitted, &verified) {
        return Err(OAuthError::invalid_client(reason.clone()).into());
    }
    verified
}

/// Whether the client may try at all: the one place where *absent*, *disabled* and *expired* refuse.
fn admit(
    registration: Option<&Registration>,
    method: AuthMethod,
    caller: Caller,
) -> Result<&Registration, String> {
    let registration = registration.ok_or("no client has this client_id")?;
    let client = &registration.client;
    client.check(caller.now).map_err(|why| format!("the client is {}", why.as_str()))?;
    if !client.auth_methods.contains(&method) {
        return Err(format!("the client is not registered for {method}"));
    }
    if !client.may_call_from(caller.address) {
        return Err("the caller's address is outside the client's allowed networks".to_owned());
    }
    Ok(registration)
}
