//! Workload federation: tokens of trusted issuers as client authentication and as a grant (RFC 7521, RFC 7523,
//! draft-ietf-oauth-spiffe-client-auth), and *explain*.

mod clients;
mod explain;
mod grant;
mod keys;
mod presets;
mod refusals;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use crate::harness::{Answer, START, Server};
use crate::token::GRANT;
use jeton::admin::By;
use jeton::domain::claim_conditions::Conditions;
use jeton::domain::ids::{ClientId, ClientUid, TrustedIssuerName, TrustedIssuerUid};
use jeton::domain::trust::{
    FederatedCredential, IssuerProfile, KeySource, Reuse, TrustedIssuer, credential_id,
};
use jeton::jose::{Algorithm, RsaBits, SigningKey};
use jeton::storage::{ChangeKind, Tx};

pub(crate) const ISSUER: &str = "http://localhost:8080";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// Somebody who makes tokens, and is trusted.
pub(crate) struct Platform {
    pub(crate) key: SigningKey,
    pub(crate) kid: String,
    pub(crate) trusted: TrustedIssuer,
}

impl Platform {
    /// One that signs with ES256 and whose keys are registered inline, once it is [trusted](Self::trust).
    pub(crate) fn new(name: &str, issuer: &str) -> Self {
        Self::signing(name, issuer, Algorithm::Es256)
    }

    pub(crate) fn signing(name: &str, issuer: &str, algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm, RsaBits::default()).unwrap();
        let spiffe = issuer.starts_with("spiffe://");
        let trusted = TrustedIssuer {
            uid: TrustedIssuerUid(uuid::Uuid::from_bytes(rand::random())),
            name: TrustedIssuerName::new(name).unwrap(),
            description: String::new(),
            enabled: true,
            profile: if spiffe { IssuerProfile::Spiffe } else { IssuerProfile::Jwt },
            issuer: issuer.to_owned(),
            keys: KeySource::Discovery,
            algorithms: [algorithm].into(),
            audience: None,
            max_lifetime: Duration::from_hours(1),
            leeway: Duration::from_secs(30),
            reuse: Reuse::Once,
            version: 1,
            created_at: START,
            updated_at: START,
        };
        let mut platform = Self { key, kid: format!("key-of-{name}"), trusted };
        platform.trusted.keys = KeySource::Inline(json!({ "keys": [platform.jwk()] }).to_string());
        platform
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(self.key.public_jwk()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!(if self.trusted.profile == IssuerProfile::Spiffe { "jwt-svid" } else { "sig" });
        jwk
    }

    pub(crate) async fn trust(&self, server: &Server) {
        change(server, &ChangeKind::Catalog, async |tx| {
            tx.insert_trusted_issuer(&self.trusted).await.unwrap();
        })
        .await;
    }

    /// Changes the registration.
    pub(crate) async fn update(&mut self, server: &Server, how: impl FnOnce(&mut TrustedIssuer)) {
        how(&mut self.trusted);
        change(server, &ChangeKind::Catalog, async |tx| {
            assert!(tx.update_trusted_issuer(&self.trusted).await.unwrap());
        })
        .await;
        self.trusted.version += 1;
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm(), "kid": self.kid, "typ": "JWT" })
    }

    pub(crate) fn claims(&self, server: &Server, sub: &str) -> Value {
        let now = server.app.admin().ambient.now().as_seconds();
        let jti = BASE64URL.encode(rand::random::<[u8; 16]>());
        json!({
            "iss": self.trusted.issuer, "sub": sub, "aud": ISSUER, "exp": now + 600, "iat": now, "jti": jti,
        })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }

    pub(crate) fn token(&self, server: &Server, sub: &str) -> String {
        self.sign(&self.header(), &self.claims(server, sub))
    }

    /// Registers a client that its tokens prove, if these conditions hold.
    pub(crate) async fn client(&self, server: &Server, client_id: &str, conditions: Value) {
        self.client_with(server, client_id, conditions, json!({})).await;
    }

    pub(crate) async fn client_with(
        &self,
        server: &Server,
        client_id: &str,
        conditions: Value,
        mut more: Value,
    ) {
        more["client_id"] = json!(client_id);
        more["roles"] = json!(["order-reader"]);
        if more.get("auth_methods").is_none() {
            more["auth_methods"] = json!(["federated_jwt", "spiffe_jwt"]);
        }
        let new = serde_json::from_value(more).unwrap();
        server.app.admin().create_client(&By::system(), new).await.unwrap();
        self.credential(server, client_id, conditions).await;
    }

    /// Registers many clients at once, each with the conditions of the tokens that prove it.
    pub(crate) async fn clients(&self, server: &Server, clients: &[(&str, Value)]) {
        let admin = server.app.admin();
        let create = clients.iter().map(async |(client_id, _)| {
            let new = json!({
                "client_id": client_id, "roles": ["order-reader"], "auth_methods": ["federated_jwt"],
            });
            let new = serde_json::from_value(new).unwrap();
            admin.create_client(&By::system(), new).await.unwrap();
        });
        futures_util::future::join_all(create).await;
        let mut tx = admin.store.begin().await.unwrap();
        for (client_id, conditions) in clients {
            let (uid, id) = uid(server, client_id).await;
            tx.insert_federated_credential(uid, &self.proving(conditions.clone())).await.unwrap();
            tx.note_change(&ChangeKind::Federation(id), admin.ambient.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        admin.directory.as_ref().unwrap().catch_up().await.unwrap();
    }

    fn proving(&self, conditions: Value) -> FederatedCredential {
        let conditions: Conditions = serde_json::from_value(conditions).unwrap();
        FederatedCredential {
            credential_id: credential_id(self.trusted.uid, &conditions),
            trusted_issuer: self.trusted.uid,
            conditions,
            description: String::new(),
            created_at: START,
            expires_at: None,
        }
    }

    /// Adds a federated credential. Answers it.
    pub(crate) async fn credential(
        &self,
        server: &Server,
        client_id: &str,
        conditions: Value,
    ) -> FederatedCredential {
        let credential = self.proving(conditions);
        let (uid, id) = uid(server, client_id).await;
        change(server, &ChangeKind::Federation(id), async |tx| {
            tx.insert_federated_credential(uid, &credential).await.unwrap();
        })
        .await;
        credential
    }
}

pub(crate) async fn uid(server: &Server, client_id: &str) -> (ClientUid, ClientId) {
    let id = ClientId::new(client_id).unwrap();
    (server.app.admin().store.client(&id).await.unwrap().unwrap().uid, id)
}

/// A change that every replica hears of.
pub(crate) async fn change(server: &Server, kind: &ChangeKind, what: impl AsyncFnOnce(&mut Tx)) {
    let admin = server.app.admin();
    let mut tx = admin.store.begin().await.unwrap();
    what(&mut tx).await;
    tx.note_change(kind, admin.ambient.now()).await.unwrap();
    tx.commit().await.unwrap();
    admin.directory.as_ref().unwrap().catch_up().await.unwrap();
}

/// `sub` is exactly this, or fits this pattern.
pub(crate) fn sub(value: &str) -> Value {
    json!([{ "claim": "sub", "value": value }])
}

pub(crate) fn parameters(kind: &str, token: &str) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_assertion_type", kind).append_pair("client_assertion", token);
    form.finish()
}

pub(crate) async fn present(server: &Server, token: &str) -> Answer {
    server.form(&[], &format!("{GRANT}&{}", parameters(JWT_BEARER, token))).await
}

pub(crate) async fn present_as(server: &Server, client_id: &str, token: &str) -> Answer {
    let id: String = url::form_urlencoded::byte_serialize(client_id.as_bytes()).collect();
    server.form(&[], &format!("{GRANT}&client_id={id}&{}", parameters(JWT_BEARER, token))).await
}

/// Asserts the one refusal, and the reason that only the audit has.
pub(crate) async fn refused(server: &Server, row: &str, answer: &Answer, reason: &str) {
    answer.expect_refusal(row, 401, "invalid_client");
    server.reason_is(row, answer, reason).await;
}

/// A server with the usual cast, and a platform whose `app` is the client `app`.
pub(crate) async fn cast(server: &Server) -> Platform {
    server.billing().await;
    let platform = Platform::new("ci", "https://ci.example");
    platform.trust(server).await;
    platform.client(server, "app", sub("app")).await;
    platform
}
