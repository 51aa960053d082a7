//! What a provider publishes (OpenID Connect Discovery): its endpoints and its keys.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreSubjectIdentifierType,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AsyncHttpClient, AuthType, Client, ClientId, ClientSecret,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IdTokenFields, IssuerUrl, ProviderMetadata, RedirectUrl, StandardErrorResponse, StandardTokenResponse,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::broken;
use crate::domain::error::Fault;
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::issuers::{NoAnswer, Outbound, whole};

/// How long what the provider publishes is believed.
const KEPT: Duration = Duration::from_mins(15);

/// How long the provider is left alone after it did not answer, or did not have a key.
const COOLDOWN: Duration = Duration::from_secs(10);

/// Where what a provider publishes is asked for and kept.
pub(super) struct Publisher {
    pub(super) issuer: IssuerUrl,
    pub(super) client_id: ClientId,
    pub(super) client_secret: SecretString,
    pub(super) redirect: RedirectUrl,
    pub(super) outbound: Outbound,
    pub(super) ambient: Ambient,
    pub(super) known: Mutex<Known>,
}

/// What the provider publishes, as far as it is known.
#[derive(Default)]
pub(super) struct Known {
    published: Option<Arc<Published>>,
    failed: Option<(Timestamp, Fault)>,
}

/// What the provider published at some time.
pub(super) struct Published {
    at: Timestamp,
    /// The client of it that this Jeton is.
    pub(super) client: Relying,
    /// Whether its answers say who they are from (RFC 9207).
    pub(super) names_itself: bool,
}

/// Every claim that has no meaning of its own in the standard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct OtherClaims(Map<String, Value>);

impl AdditionalClaims for OtherClaims {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OtherMetadata {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for OtherMetadata {}

type Metadata = ProviderMetadata<
    OtherMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Fields = IdTokenFields<
    OtherClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

pub(super) type Tokens = StandardTokenResponse<Fields, CoreTokenType>;

pub(super) type Relying = Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

// === impl Publisher ===

impl Publisher {
    /// What the provider publishes.
    pub(super) async fn now(&self) -> Result<Arc<Published>, Fault> {
        let mut known = self.known.lock().await;
        let now = self.ambient.now();
        if let Some(published) = known.published.as_ref().filter(|published| now < published.at.plus(KEPT)) {
            return Ok(Arc::clone(published));
        }
        if let Some((at, fault)) = &known.failed
            && now < at.plus(COOLDOWN)
        {
            return Err(fault.clone());
        }
        self.ask(&mut known).await
    }

    /// What the provider publishes now, after what did not have a key; nothing while it is left alone.
    pub(super) async fn after(&self, than: &Arc<Published>) -> Result<Option<Arc<Published>>, Fault> {
        let mut known = self.known.lock().await;
        let tried = known.failed.as_ref().map_or(than.at, |(at, _)| than.at.max(*at));
        match &known.published {
            Some(newer) if !Arc::ptr_eq(newer, than) => Ok(Some(Arc::clone(newer))),
            _ if self.ambient.now() < tried.plus(COOLDOWN) => Ok(None),
            _ => self.ask(&mut known).await.map(Some),
        }
    }

    async fn ask(&self, known: &mut Known) -> Result<Arc<Published>, Fault> {
        let asked = self.discover().await;
        let now = self.ambient.now();
        match asked {
            Ok((client, names_itself)) => {
                let published = Arc::new(Published { at: now, client, names_itself });
                *known = Known { published: Some(Arc::clone(&published)), failed: None };
                Ok(published)
            }
            Err(fault) => {
                known.failed = Some((now, fault.clone()));
                Err(fault)
            }
        }
    }

    async fn discover(&self) -> Result<(Relying, bool), Fault> {
        let metadata = Metadata::discover_async(self.issuer.clone(), &self.outbound).await;
        let metadata = metadata.map_err(|error| broken(&quoted(&whole(&error))))?;
        // The browser is sent to the first one, so the client's own rule does not see it.
        let endpoint = metadata.authorization_endpoint().url();
        if self.issuer.as_str().starts_with("https:") && endpoint.scheme() != "https" {
            return Err(broken("its authorization endpoint is not https"));
        }
        let auth_type = match metadata.token_endpoint_auth_methods_supported() {
            None => AuthType::BasicAuth,
            Some(methods) if methods.contains(&CoreClientAuthMethod::ClientSecretBasic) => {
                AuthType::BasicAuth
            }
            Some(methods) if methods.contains(&CoreClientAuthMethod::ClientSecretPost) => {
                AuthType::RequestBody
            }
            Some(_) => return Err(broken("it takes no client secret at its token endpoint")),
        };
        let names_itself = metadata.additional_metadata().authorization_response_iss_parameter_supported;
        let secret = ClientSecret::new(self.client_secret.expose_secret().to_owned());
        let client = Relying::from_provider_metadata(metadata, self.client_id.clone(), Some(secret))
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(auth_type);
        Ok((client, names_itself))
    }
}

// === impl Outbound ===

impl AsyncHttpClient<'_> for Outbound {
    type Error = NoAnswer;
    // Without a lifetime: with one, the compiler does not see that whatever waits for it can go to another thread.
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send>>;

    fn call(&self, request: HttpRequest) -> Self::Future {
        let outbound = self.clone();
        Box::pin(async move {
            let answer = Self::call(&outbound, request).await?;
            // What stands in such an answer is no verdict about anybody.
            if answer.status().is_server_error() || answer.status().as_u16() == 429 {
                return Err(NoAnswer::Away(format!("it answers {}", answer.status())));
            }
            Ok(answer)
        })
    }
}
