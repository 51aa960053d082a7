//! Token exchange (RFC 8693), walked over HTTP: a front end's token is passed on from service to service.

mod chain;
mod dry_run;
mod outside;
mod refusals;
mod taking_back;
mod tree;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Server};
use crate::token::{GRANT, verified};
use jeton::jose::{self, Algorithm, RsaBits, SigningKey, TokenType};

/// How one asks for an exchange.
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A company with a chain of services: `front` calls `orders`, which calls `payments`, which calls `ledger`. Each
/// service operates its own resource server, and may pass `front` on to the next one with one permission less.
pub(crate) struct Chain {
    pub(crate) admin: String,
    pub(crate) front: Client,
    pub(crate) orders: Client,
    pub(crate) payments: Client,
    pub(crate) ledger: Client,
}

impl Chain {
    pub(crate) async fn start(server: &Server) -> Self {
        let admin = server.api_token("administrator").await;
        for name in ["orders", "payments", "ledger"] {
            let permissions =
                ["read", "write", "audit"].map(|what| json!({ "permission": format!("{name}:{what}") }));
            let identifier = format!("https://{name}.example");
            server
                .resource_server(
                    json!({ "name": name, "identifier": identifier, "permissions": permissions }),
                )
                .await;
        }
        let given = |server: &str, what: &[&str]| -> Vec<Value> {
            let permission =
                |what: &&str| json!({ "resource_server": server, "permission": format!("{server}:{what}") });
            what.iter().map(permission).collect()
        };
        let permissions = [
            given("orders", &["read", "write", "audit"]),
            given("payments", &["read", "write", "audit"]),
            given("ledger", &["read", "write"]),
        ];
        server.role(json!({ "name": "shopper", "permissions": permissions.concat() })).await;
        let front = server.client(json!({ "client_id": "front", "roles": ["shopper"] })).await;
        let chain = Self {
            admin,
            front,
            orders: service(server, "orders").await,
            payments: service(server, "payments").await,
            ledger: service(server, "ledger").await,
        };
        for name in ["orders", "payments", "ledger"] {
            let path = format!("/resource-servers/{name}/operators/{name}");
            assert!(chain.api(server, "PUT", &path, Value::Null).await.status < 300);
        }
        for (caller, target, what) in [
            ("orders", "payments", &["payments:read", "payments:write"][..]),
            ("payments", "ledger", &["ledger:write"]),
        ] {
            let rule = json!({
                "name": format!("{caller}-to-{target}"), "caller": { "client": caller },
                "subject": { "role": "shopper" }, "resource_server": target, "permissions": what,
            });
            chain.rule(server, rule).await;
        }
        chain
    }

    pub(crate) async fn api(&self, server: &Server, method: &str, path: &str, body: Value) -> Answer {
        server.api(method, path, &self.admin, &[], body).await
    }

    pub(crate) async fn rule(&self, server: &Server, rule: Value) {
        self.api(server, "POST", "/exchange-rules", rule).await.expect(201);
    }

    /// Changes a rule.
    pub(crate) async fn change_rule(&self, server: &Server, name: &str, change: Value) {
        let path = format!("/exchange-rules/{name}");
        let version = self.api(server, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
        let header = format!("If-Match: {version}");
        server.api("PATCH", &path, &self.admin, &[&header], change).await.expect(200);
    }

    /// The front end's own token for `orders`.
    pub(crate) async fn token(&self, server: &Server) -> String {
        let body = format!("{GRANT}&resource=https://orders.example");
        access_token(&server.token(&self.front, &body).await)
    }
}

async fn service(server: &Server, name: &str) -> Client {
    server.client(json!({ "client_id": name, "grant_types": ["client_credentials", EXCHANGE] })).await
}

/// A request to exchange a token, with more parameters.
pub(crate) async fn exchange(server: &Server, caller: &Client, token: &str, more: &str) -> Answer {
    let body =
        format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}&{more}");
    server.token(caller, &body).await
}

pub(crate) fn access_token(answer: &Answer) -> String {
    answer.expect(200)["access_token"].as_str().unwrap().to_owned()
}

/// The token that an exchange gives, and its claims.
async fn exchanged(server: &Server, caller: &Client, token: &str, more: &str) -> (String, Value) {
    let token = access_token(&exchange(server, caller, token, more).await);
    let claims = verified(server, &token).await.1;
    (token, claims)
}

/// What this token says, signed by somebody else: under the name of its own key, and under ours.
async fn foreign(server: &Server, token: &str) -> [String; 2] {
    let (header, claims) = verified(server, token).await;
    let stranger = SigningKey::generate(Algorithm::Es256, RsaBits::Rsa2048).unwrap();
    let own = stranger.public_jwk();
    [own.key_id(), header["kid"].as_str().unwrap()]
        .map(|kid| jose::sign(TokenType::AccessToken, kid, &stranger, &claims).unwrap())
}

/// What introspection says of a token, to a client.
pub(crate) async fn introspect(server: &Server, asker: &Client, token: &str) -> Value {
    let headers = [&*asker.basic(), "Content-Type: application/x-www-form-urlencoded"];
    server.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await.expect(200)
}

pub(crate) fn inactive() -> Value {
    json!({ "active": false })
}
