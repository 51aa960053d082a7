//! An OpenID provider that vouches for people (OpenID Connect Core, code flow): where it is, which keys it signs
//! with, and what it says of somebody.
//!
//! What it publishes is asked for when it is needed, kept for a quarter of an hour, and asked for again when a key is
//! not among it. While the provider is away, it is asked once in ten seconds.

mod published;

use std::time::{Duration, UNIX_EPOCH};

use openidconnect::core::{
    CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, ClientId, CsrfToken, IdToken, IdTokenClaims,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse, UserInfoClaims, UserInfoError,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};

use self::published::{OtherClaims, Published, Publisher, Tokens};
use super::clock::Ambient;
use super::issuers::{NoAnswer, Outbound, whole};
use crate::config::Upstream;
use crate::domain::administrator::ExternalIdentity;
use crate::domain::error::Fault;
use crate::domain::single_sign_on::{Mapping, is_subject};
use crate::domain::text::quoted;

/// How far the provider's clock may be off.
const LEEWAY: Duration = Duration::from_mins(1);

/// How old an ID token may be: it was made for this answer.
const FRESH: Duration = Duration::from_mins(10);

/// How many people's codes are redeemed at the same time.
const AT_ONCE: usize = 32;

/// What ID tokens are signed with: never with the client secret, and never not at all.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];

/// An OpenID provider.
pub struct Provider {
    publisher: Publisher,
    scopes: Vec<Scope>,
    mapping: Mapping,
    redeeming: Semaphore,
}

/// What ties a request to its answer: sent to the provider, and expected back.
pub struct Proofs {
    /// Comes back beside the code.
    pub state: SecretString,
    /// Comes back in the ID token.
    pub nonce: SecretString,
    /// Only whoever has it can redeem the code (RFC 7636).
    pub verifier: SecretString,
}

/// What the provider says of somebody.
#[derive(Debug)]
pub struct Vouched {
    /// Who it is there.
    pub identity: ExternalIdentity,
    /// Everything else.
    pub claims: Value,
}

/// Why the provider's answer vouches for nobody.
#[derive(Debug)]
pub enum NotVouched {
    /// It is not to be trusted, or the provider took the code back; in words for the audit.
    Refused(String),
    /// There was no answer to judge.
    Fault(Fault),
}

type Identity =
    IdToken<OtherClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

type Claims = IdTokenClaims<OtherClaims, CoreGenderClaim>;

// === impl Provider ===

impl Provider {
    /// This one, which sends people back to `redirect`. It is not asked for anything yet.
    ///
    /// # Errors
    /// The operating system has no certificates for TLS.
    pub fn new(
        upstream: &Upstream,
        client_secret: SecretString,
        redirect: &str,
        ambient: Ambient,
    ) -> Result<Self, Fault> {
        let publisher = Publisher {
            issuer: IssuerUrl::new(upstream.issuer.clone()).map_err(Fault::internal)?,
            client_id: ClientId::new(upstream.client_id.clone()),
            client_secret,
            redirect: RedirectUrl::new(redirect.to_owned()).map_err(Fault::internal)?,
            outbound: Outbound::new(&upstream.issuer)?,
            ambient,
            known: Mutex::default(),
        };
        Ok(Self {
            publisher,
            scopes: upstream.scopes.iter().cloned().map(Scope::new).collect(),
            mapping: upstream.mapping.clone(),
            redeeming: Semaphore::new(AT_ONCE),
        })
    }

    /// What it calls itself.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.publisher.issuer.as_str()
    }

    /// How its claims are read.
    #[must_use]
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whether it answers, or has a moment ago.
    ///
    /// # Errors
    /// It does not, or nothing that can be used.
    pub async fn reach(&self) -> Result<(), Fault> {
        self.publisher.now().await.map(drop)
    }

    /// Where to send somebody's browser.
    ///
    /// # Errors
    /// The provider is away.
    pub async fn authorization_url(&self, proofs: &Proofs) -> Result<String, Fault> {
        let published = self.publisher.now().await?;
        let (state, nonce) = (exposed(&proofs.state), exposed(&proofs.nonce));
        let verifier = PkceCodeVerifier::new(exposed(&proofs.verifier));
        let request = published.client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            || CsrfToken::new(state),
            || Nonce::new(nonce),
        );
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let scopes = self.scopes.iter().cloned();
        let (url, _, _) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
        Ok(url.into())
    }

    /// Whether an answer that says it is from `named` is from this provider (RFC 9207). One that does not say is
    /// refused if the provider says it always does.
    ///
    /// # Errors
    /// It is not; or the provider is away.
    pub async fn check_sender(&self, named: Option<&str>) -> Result<(), NotVouched> {
        match named {
            Some(named) if named == self.publisher.issuer.as_str() => Ok(()),
            Some(named) => {
                let named = quoted(named);
                Err(NotVouched::Refused(format!("the answer says that it is from another provider: {named}")))
            }
            None if self.publisher.now().await?.names_itself => {
                let why = "the answer does not say whom it is from, although the provider always does (iss)";
                Err(NotVouched::Refused(why.to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Redeems a code, and checks what comes for it: that this provider signed it, for this Jeton, now, and in answer
    /// to the request that these proofs are of.
    ///
    /// # Errors
    /// It is not to be trusted, or the provider is away.
    pub async fn redeem(&self, code: String, proofs: &Proofs) -> Result<Vouched, NotVouched> {
        let _turn = self.redeeming.try_acquire().map_err(|_| busy())?;
        let mut published = self.publisher.now().await?;
        let tokens = self.exchange(&published, code, &proofs.verifier).await?;
        let token =
            tokens.id_token().ok_or_else(|| refused("there is no ID token in the provider's answer"))?;
        if has_no_key(&published, token)
            && let Some(newer) = self.publisher.after(&published).await?
        {
            published = newer;
        }
        let claims = self.verified(&published, &tokens, token, &proofs.nonce)?;
        let (issuer, subject) = (self.issuer().to_owned(), claims.subject().as_str().to_owned());
        if !is_subject(&subject) {
            return Err(refused("the ID token does not count: its subject is empty, too long, or no text"));
        }
        let identity = ExternalIdentity { issuer, subject };
        let mut all = serde_json::to_value(claims).map_err(Fault::internal)?;
        if !self.mapping.is_answered_by(&all) {
            self.look_up(&published, &tokens, claims, &mut all).await?;
        }
        Ok(Vouched { identity, claims: all })
    }

    async fn exchange(
        &self,
        published: &Published,
        code: String,
        verifier: &SecretString,
    ) -> Result<Tokens, NotVouched> {
        let request = published.client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|_| broken("it has no token endpoint"))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(exposed(verifier)));
        request.request_async(&self.publisher.outbound).await.map_err(|error| match error {
            RequestTokenError::Request(NoAnswer::Away(problem)) => broken(&problem).into(),
            RequestTokenError::Request(problem) => broken(&problem.to_string()).into(),
            RequestTokenError::ServerResponse(answer) => match answer.error() {
                CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                    let why = "it does not accept this Jeton: check sso.client_id and the client secret";
                    broken(&format!("{why} ({})", quoted(answer.error().as_ref()))).into()
                }
                error => refused(&format!("the provider refused the code: {}", quoted(error.as_ref()))),
            },
            // What stood there may be a token, so it is not told.
            RequestTokenError::Parse(..) => refused(
                "the provider's answer cannot be read: it is no token response, or its ID token no JWT",
            ),
            RequestTokenError::Other(problem) => refused(&quoted(&problem)),
        })
    }

    fn verified<'t>(
        &self,
        published: &Published,
        tokens: &Tokens,
        token: &'t Identity,
        nonce: &SecretString,
    ) -> Result<&'t Claims, NotVouched> {
        let now = self.publisher.ambient.now();
        let (earliest, latest) = (now.minus(FRESH + LEEWAY).as_seconds(), now.plus(LEEWAY).as_seconds());
        // In the library's own type, whatever that is.
        let lenient = Duration::from_micros(u64::try_from(now.minus(LEEWAY).as_micros()).unwrap_or_default());
        let verifier = published
            .client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || (UNIX_EPOCH + lenient).into())
            .set_issue_time_verifier_fn(move |at| {
                if (earliest..=latest).contains(&at.timestamp()) {
                    Ok(())
                } else {
                    Err("it was not made just now (iat)".to_owned())
                }
            });
        let claims = token
            .claims(&verifier, &Nonce::new(exposed(nonce)))
            .map_err(|error| refused(&format!("the ID token does not count: {}", quoted(&reason(&error)))))?;
        // The library leaves this to its callers (OpenID Connect Core §3.1.3.7, 5).
        if claims.authorized_party().is_some_and(|party| *party != self.publisher.client_id) {
            return Err(refused("the ID token does not count: it was made for another client (azp)"));
        }
        if let Some(hash) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| refused(&error.to_string()))?;
            let key = token.signing_key(&verifier).map_err(|error| refused(&error.to_string()))?;
            let is = AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
            if is.ok().as_ref() != Some(hash) {
                return Err(refused("the ID token does not count: the access token is of another (at_hash)"));
            }
        }
        Ok(claims)
    }

    /// Adds what only the userinfo endpoint says, if there is one. What the ID token says stands.
    async fn look_up(
        &self,
        published: &Published,
        tokens: &Tokens,
        claims: &Claims,
        all: &mut Value,
    ) -> Result<(), NotVouched> {
        let token = tokens.access_token().clone();
        let Ok(request) = published.client.user_info(token, Some(claims.subject().clone())) else {
            return Ok(());
        };
        let info: UserInfoClaims<OtherClaims, CoreGenderClaim> =
            request.request_async(&self.publisher.outbound).await.map_err(|error| match error {
                UserInfoError::Request(problem) => broken(&problem.to_string()).into(),
                UserInfoError::Response(status, ..) => broken(&format!("userinfo answers {status}")).into(),
                UserInfoError::ClaimsVerification(error) => {
                    refused(&format!("userinfo does not count: {}", quoted(&whole(&error))))
                }
                _ => refused("what userinfo says cannot be read"),
            })?;
        let info = serde_json::to_value(info).map_err(Fault::internal)?;
        if let (Value::Object(all), Value::Object(info)) = (all, info) {
            for (name, value) in info {
                all.entry(name).or_insert(value);
            }
        }
        Ok(())
    }
}

// === impl NotVouched ===

impl From<Fault> for NotVouched {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Whether the token is signed with a key that the provider had not published.
fn has_no_key(published: &Published, token: &Identity) -> bool {
    let verifier = published.client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    matches!(token.signing_key(&verifier), Err(SignatureVerificationError::NoMatchingKey))
}

/// For the library's own types, which print as little as ours.
fn exposed(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}

fn refused(why: &str) -> NotVouched {
    NotVouched::Refused(why.to_owned())
}

fn broken(problem: &str) -> Fault {
    Fault::unavailable(format!("the OpenID provider of single sign-on: {problem}"))
}

fn busy() -> Fault {
    Fault::unavailable("too many people sign in at the same moment")
}

/// Why an ID token does not count, with what is behind it.
fn reason(error: &ClaimsVerificationError) -> String {
    match error {
        ClaimsVerificationError::SignatureVerification(error) => error.to_string(),
        other => other.to_string(),
    }
}
