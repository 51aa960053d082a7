//! Introspection (RFC 7662) and its signed answers (RFC 9701): whether a token counts, for those whom it is addressed
//! to.
//!
//! A client that operates none of a token's resource servers hears the same of it as of no token at all. What is
//! answered is read from memory and recorded nowhere: it hands out nothing. Who is not let in is recorded.

use std::sync::Arc;

use serde::Serialize;
use utoipa::openapi::schema::{AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::live::{LiveError, LiveToken, LiveTokens};
use super::request::{ClientGate, ClientRequest};
use crate::domain::acting::SubId;
use crate::domain::binding::Confirmation;
use crate::domain::builtin;
use crate::domain::claims::Audience;
use crate::domain::client::{ClientKind, Registration};
use crate::domain::delegation::{Act, MayAct};
use crate::domain::error::{Failure, Fault, OAuthError};
use crate::domain::ids::{ClientId, RoleName};
use crate::domain::resource::ResourceServer;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, TokenType};
use crate::runtime::keyring::Keyring;

/// Answers whether tokens count.
#[derive(Clone)]
pub struct IntrospectionEndpoint {
    /// Who may ask at all.
    pub gate: Arc<ClientGate>,
    /// Which tokens count.
    pub tokens: Arc<LiveTokens>,
    /// What signs answers.
    pub keyring: Arc<Keyring>,
    /// The issuer identifier.
    pub issuer: String,
}

/// An answer (RFC 7662 §2.2).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Introspection {
    /// Whether the token counts, and is addressed to whoever asks. If not, nothing else is said.
    pub active: bool,
    /// What it says.
    #[serde(flatten)]
    pub token: Option<Shown>,
}

impl PartialSchema for Introspection {
    fn schema() -> RefOr<Schema> {
        let active = |value: bool| {
            let member = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([value]));
            ObjectBuilder::new().property("active", member).required("active")
        };
        let shown = AllOfBuilder::new().item(active(true)).item(Ref::from_schema_name("Shown"));
        let answer = OneOfBuilder::new().item(shown).item(active(false));
        answer
            .description(Some("Whether a token counts, and if it does, what it says (RFC 7662 §2.2)."))
            .into()
    }
}

impl ToSchema for Introspection {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Shown".to_owned(), Shown::schema()));
        Shown::schemas(schemas);
    }
}

/// One identifier, or several (RFC 7519 §4.1.3), for OpenAPI.
fn audience() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let one_of = OneOfBuilder::new().item(text()).item(ArrayBuilder::new().items(text()));
    one_of.description(Some("The resource servers that it is for.")).into()
}

/// What a token says, and what of it is true still.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "iss": "https://id.example.com", "sub": "billing", "aud": "https://orders.example.com", "client_id": "billing",
    "client_kind": "service", "scope": "orders:read", "roles": ["order-reader"], "token_type": "Bearer",
    "exp": 1_795_334_700, "iat": 1_795_334_400, "jti": "an8MpQBmDa32EvNr0n46NjYpf5KR5BJl74",
    "txn": "an8MpQBmDa32EvNr0n46NjYpf5KR5BJl74",
}))]
pub struct Shown {
    /// Who issued it.
    iss: String,
    /// Who it is about. A client's id, unless there is a `sub_id`.
    sub: String,
    /// Who it is about, if that is somebody from elsewhere (RFC 9493 §3.2.3, §3.2.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    sub_id: Option<SubId>,
    /// The resource servers that it is for.
    #[schema(schema_with = audience)]
    aud: Audience,
    /// Whom it was issued to.
    #[schema(value_type = String)]
    client_id: ClientId,
    /// What sort of client that is.
    client_kind: ClientKind,
    /// What it allows and its subject's roles still give (or the exchange rules, if its subject is from elsewhere), at the resource servers of whoever asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The roles that it names and its subject still has.
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleName>,
    /// How it is to be presented.
    token_type: &'static str,
    /// Its end, in seconds since the epoch.
    exp: i64,
    /// When it was issued.
    iat: i64,
    /// Its identifier.
    jti: String,
    /// The chain of exchanges that it belongs to.
    txn: String,
    /// Who acts for its subject (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    act: Option<Act>,
    /// Who alone may (RFC 8693 §4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    may_act: Option<MayAct>,
    /// The key that it is bound to (RFC 7800).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    cnf: Option<Confirmation>,
}

/// A signed answer (RFC 9701 §5).
#[derive(Serialize)]
struct SignedIntrospection<'a> {
    iss: &'a str,
    aud: &'a ClientId,
    iat: i64,
    token_introspection: &'a Introspection,
}

// === impl IntrospectionEndpoint ===

impl IntrospectionEndpoint {
    /// Says whether the token of a request counts, to a client that authenticates; and who that is.
    ///
    /// # Errors
    /// The client is not admitted or sends no token; or nothing can be said now, which is never "inactive".
    pub async fn introspect(
        &self,
        request: &ClientRequest<'_>,
    ) -> Result<(Introspection, ClientId), Failure> {
        let (asker, form) = self.gate.admit(request).await?;
        // After that, because proving a secret can take its time.
        let now = self.gate.ambient.now();
        let client_id = asker.registration.client.client_id.clone();
        let Some(token) = form.get("token") else {
            let error = OAuthError::invalid_request("token is missing (RFC 7662 section 2.1)");
            return Err(self.gate.refuse(request, Some(asker.claimed()), error).await);
        };
        Ok((self.show(token, &asker.registration, now).await?, client_id))
    }

    async fn show(
        &self,
        token: &str,
        asker: &Arc<Registration>,
        now: Timestamp,
    ) -> Result<Introspection, Fault> {
        let inactive = Introspection { active: false, token: None };
        let (mut asker, mut heard) = (Arc::clone(asker), false);
        loop {
            let live = match self.tokens.check(token, now).await {
                Ok(live) if live.gives_nothing() => return Ok(inactive),
                Ok(live) => live,
                Err(LiveError::NotLive(_)) => return Ok(inactive),
                Err(LiveError::Fault(fault)) => return Err(fault),
            };
            if let Some(token) = self.shown_to(&asker, live) {
                return Ok(Introspection { active: true, token: Some(token) });
            }
            // It may have been made an operator elsewhere a moment ago. Boxed, because it is large and seldom needed.
            let directory = &self.tokens.directory;
            if heard || !Box::pin(directory.hear()).await? {
                return Ok(inactive);
            }
            heard = true;
            let Some(anew) = directory.client(&asker.client.client_id).await? else { return Ok(inactive) };
            asker = anew;
        }
    }

    /// What of a token that counts this client may see, if anything.
    fn shown_to(&self, asker: &Registration, live: LiveToken) -> Option<Shown> {
        let catalog = self.tokens.directory.catalog();
        let held = catalog.holdings(&asker.roles);
        let may_see_all = catalog.api().and_then(|api| held.get(&api.uid)).is_some_and(|given| {
            given.keys().any(|permission| permission.as_str() == builtin::TOKENS_INTROSPECT)
        });
        let operates =
            |server: &&Arc<ResourceServer>| may_see_all || catalog.operates(asker.client.uid, server.uid);
        let theirs: Vec<_> = live.audience.iter().filter(operates).cloned().collect();
        if theirs.is_empty() { None } else { Shown::of(live, &theirs) }
    }

    /// An answer as a signed JWT for whoever asked.
    ///
    /// # Errors
    /// No key signs.
    pub async fn sign(
        &self,
        answer: &Introspection,
        asker: &ClientId,
        now: Timestamp,
    ) -> Result<String, Fault> {
        let claims = SignedIntrospection {
            iss: &self.issuer,
            aud: asker,
            iat: now.as_seconds(),
            token_introspection: answer,
        };
        let signed = self.keyring.sign([Algorithm::Es256], TokenType::Introspection, &claims, now).await?;
        Ok(signed.token)
    }
}

// === impl Shown ===

impl Shown {
    /// What of a token concerns these of its resource servers; nothing when nothing is left of it.
    fn of(live: LiveToken, servers: &[Arc<ResourceServer>]) -> Option<Self> {
        let concerns = |value: &str| servers.iter().any(|server| server.permissions.contains_key(value));
        let scope: Scope = live.scope.iter().filter(|value| concerns(value.as_str())).cloned().collect();
        let has_scope = live.token_type == TokenType::AccessToken;
        if has_scope && scope.is_empty() {
            return None;
        }
        let claims = live.claims;
        Some(Self {
            iss: claims.iss,
            sub: claims.sub,
            sub_id: claims.sub_id,
            aud: claims.aud,
            client_id: claims.client_id,
            client_kind: claims.client_kind,
            scope: has_scope.then(|| scope.to_string()),
            roles: live.roles,
            token_type: if claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt.is_some()) {
                "DPoP"
            } else {
                "Bearer"
            },
            exp: claims.exp,
            iat: claims.iat,
            jti: claims.jti,
            txn: claims.txn,
            act: claims.act,
            may_act: claims.may_act,
            cnf: claims.cnf,
        })
    }
}
