//! Client authentication (RFC 6749 §2.3): exactly one method per request, and one the client is
//! registered for.
//!
//! An unknown client, a disabled one, one that calls from elsewhere and one with a wrong secret get the
//! same answer and cost the same work; only the audit knows which it was.

pub mod assertion;
mod assertion_grant;
mod authenticate;
mod certificate;
mod client_secret_basic;
mod client_secret_post;
mod federated_jwt;
mod federation;
mod guard;
mod private_key_jwt;
mod secret;
mod self_signed_tls_client_auth;
mod spiffe_jwt;
mod spiffe_x509;
mod tls_client_auth;

use self::authenticate::admit;
pub use self::authenticate::{Attempted, Claimed, authenticate};
pub use self::client_secret_basic::parse as parse_basic;
pub use self::federation::credential as federated_credential;
pub use self::guard::Stake;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::private_key_jwt::Assertions;
use super::Boxed;
use super::form::Form;
use super::outside::OutsideTokens;
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::{AuthMethod, CertificateReach, Client, Registration};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::{ClientId, CredentialId};
use crate::domain::time::Timestamp;
use crate::runtime::directory::Directory;
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
    &federated_jwt::FederatedJwt,
    &spiffe_jwt::SpiffeJwt,
    &spiffe_x509::SpiffeX509,
];

/// What proves the client where nothing else does: the authorization itself.
static GRANT: &dyn Method = &assertion_grant::AssertionGrant;

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

    /// Whether it is an authorization grant that proves the client, and no method that a client chooses.
    fn is_grant(&self) -> bool {
        false
    }

    /// Whether this client is registered for it.
    fn is_for(&self, client: &Client) -> bool {
        client.auth_methods.contains(&self.name())
    }

    /// How a refusal is told to the caller.
    fn refusal(&self, error: OAuthError) -> OAuthError {
        error
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

    /// Finds out whose it is, where it can be believed before that is known. What it then is takes its place.
    fn identify<'a>(&'a self, _seeking: Seeking<'a>) -> Option<Boxed<'a, Result<Identified, Failure>>> {
        None
    }

    /// Checks it against the client. Without one (unknown or not admitted) it must cost the same and fail.
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>>;
}

/// Where and when a client authenticates.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its address, if that is known.
    pub address: Option<IpAddr>,
    /// When.
    pub now: Timestamp,
}

/// Where a proof finds out whose it is.
#[derive(Clone, Copy)]
pub struct Seeking<'a> {
    /// What checks.
    pub verifiers: &'a Verifiers,
    /// Who is registered.
    pub directory: &'a Directory,
    /// The client that the request names, if it names one.
    pub named: Option<&'a ClientId>,
    /// What it is presented for.
    pub method: &'static dyn Method,
    /// By whom, and when.
    pub caller: Caller,
}

/// Whose a proof is, and what it is now.
#[derive(Debug)]
pub struct Identified {
    /// The client that is meant. Whether it is proven, the proof says.
    pub client_id: ClientId,
    /// What was believed already.
    pub proof: Box<dyn Proof>,
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
    /// Tokens of trusted issuers.
    pub outside: Arc<OutsideTokens>,
}

/// The parts of a request that can hold a credential; hence no `Debug` form.
pub struct Presentation<'a> {
    /// Every `Authorization` header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub form: &'a Form,
    /// The certificate of the connection.
    pub certificate: Option<&'a Arc<PeerCertificate>>,
    /// Whether it asks for a token, so that an authorization grant may prove the client.
    pub grants: bool,
}

/// Who a request says it is from, and the proof.
#[derive(Debug)]
pub struct Presented {
    /// The claimed client; absent where the proof alone says who it is.
    pub client_id: Option<ClientId>,
    /// The proof.
    pub proof: Box<dyn Proof>,
}

/// What a request is understood to present: by one method, or as what several could mean, in their order.
pub struct Offered {
    /// The claimed client; absent until the proof has said who it is.
    pub client_id: Option<ClientId>,
    /// Never empty.
    ways: Vec<Way>,
}

/// One way in which it can be meant.
struct Way {
    method: &'static dyn Method,
    proof: Box<dyn Proof>,
}

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
    /// Whether that was the authorization grant itself.
    pub by_grant: bool,
}

// === impl Offered ===

impl Offered {
    /// How the client authenticates, as far as is known.
    #[must_use]
    pub fn method(&self) -> Option<AuthMethod> {
        self.ways.first().map(|way| way.method.name())
    }

    /// Leaves the ways that the client is registered for, if it is for any.
    fn meant_for(&mut self, registration: Option<&Registration>) {
        let Some(client) = registration.map(|registration| &registration.client) else { return };
        let is_registered = |way: &Way| way.method.is_for(client);
        if self.ways.iter().any(is_registered) {
            self.ways.retain(is_registered);
        }
    }

    /// Finds out who is meant, where only the proof can say.
    async fn identify(
        &mut self,
        verifiers: &Verifiers,
        directory: &Directory,
        caller: Caller,
    ) -> Result<(), Failure> {
        let named = self.client_id.as_ref();
        // Where there are several ways, the registration of the client that is named says which is meant.
        if let Some(named) = named.filter(|_| self.ways.len() > 1)
            && directory.client(named).await?.is_some()
        {
            return Ok(());
        }
        let Some((method, identifying)) = self.ways.iter().find_map(|&Way { method, ref proof }| {
            let seeking = Seeking { verifiers, directory, named, method, caller };
            Some((method, proof.identify(seeking)?))
        }) else {
            return Ok(());
        };
        let Identified { client_id, proof } = identifying.await?;
        self.ways = vec![Way { method, proof }];
        self.client_id = Some(client_id);
        Ok(())
    }

    /// The end of it. `known` says whether there is a client of the claimed name, where it came so far.
    fn attempted(self, known: bool, outcome: Result<Authenticated, Failure>) -> Attempted {
        let method = outcome.as_ref().map_or_else(|_| self.method(), |client| Some(client.method));
        let outcome = outcome.map_err(|failure| self.told(failure));
        Attempted { claimed: self.client_id.map(|client_id| Claimed { client_id, known }), method, outcome }
    }

    /// A failure as the caller is told of it.
    fn told(&self, failure: Failure) -> Failure {
        match (failure, self.ways.first()) {
            (Failure::Refused(error), Some(way)) => way.method.refusal(error).into(),
            (failure, _) => failure,
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
    let Some((method, first)) = presented.next() else {
        return match GRANT.present(request).filter(|_| request.authorization.is_empty()) {
            Some(presented) => {
                let Presented { client_id, proof } = presented?;
                Ok(Offered { client_id, ways: vec![Way { method: GRANT, proof }] })
            }
            None => present_connection(request),
        };
    };
    // A header that no method takes is a second attempt as well, whatever it means.
    let stray_header = !request.authorization.is_empty() && !method.reads_header();
    if presented.next().is_some() || stray_header {
        return Err(OAuthError::invalid_request(
            "authenticate in one way only: the Authorization header or the body (RFC 6749 section 2.3)",
        ));
    }
    let presented = first?;
    // RFC 6749 §3.2.1 lets a client name itself in the body as well, but not as somebody else.
    let claimed = presented.client_id.as_ref().map(ClientId::as_str);
    if request.form.get("client_id").is_some_and(|client_id| Some(client_id) != claimed) {
        return Err(OAuthError::invalid_request("client_id is not the client that authenticates"));
    }
    Ok(Offered { client_id: presented.client_id, ways: vec![Way { method, proof: presented.proof }] })
}

/// What the connection presents, where the request itself does not: by which of these methods it is meant, only the
/// client's registration can say.
fn present_connection(request: &Presentation<'_>) -> Result<Offered, OAuthError> {
    if !request.authorization.is_empty() {
        return Err(no_credential());
    }
    let mut offered: Option<Offered> = None;
    let mut refusal = None;
    for method in METHODS.iter().filter(|method| method.is_of_connection()) {
        match method.present(request) {
            Some(Ok(Presented { client_id, proof })) => offered
                .get_or_insert_with(|| Offered { client_id, ways: Vec::new() })
                .ways
                .push(Way { method: *method, proof }),
            Some(Err(error)) => refusal = refusal.or(Some(error)),
            None => {}
        }
    }
    offered.ok_or_else(|| refusal.unwrap_or_else(no_credential))
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
