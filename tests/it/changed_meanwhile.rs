//! What changes while a request waits counts for it: here while the keys of its client, or of a trusted issuer, are
//! fetched.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::{Answer, Engine, Server};
use crate::private_key_jwt::{Signer, Site, parameters, refused, register};
use crate::token_exchange::{Chain, exchange};
use jeton::jose::Algorithm;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// One that may fetch keys from this machine.
async fn server() -> Server {
    Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allow_http = true;
        config.outbound.outside.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

/// Whose keys are at a site, and the site.
async fn published(name: &'static str) -> (Signer, Arc<Site>, String) {
    let signer = Signer::new(name, Algorithm::Es256);
    let (site, port) = Site::start(vec![signer.jwk()]).await;
    (signer, site, format!("http://127.0.0.1:{port}/jwks"))
}

/// What is answered if this changes while the keys of that site are fetched for it.
async fn answered(
    site: &Site,
    asked: impl Future<Output = Answer>,
    change: impl Future<Output = Answer>,
) -> Answer {
    let closed = site.close().await;
    let meanwhile = async {
        while site.asked() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let changed = change.await;
        assert!(changed.status < 300, "{changed:?}");
        drop(closed);
    };
    let (answer, meanwhile) = tokio::join!(asked, timeout(Duration::from_secs(2), meanwhile));
    meanwhile.expect("the keys are asked for");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_disabled_gets_no_token() {
    let server = server().await;
    server.billing().await;
    let (signer, site, jwks_uri) = published("remote").await;
    register(&server, "remote", json!({ "jwks_uri": jwks_uri })).await;
    let api = server.administrator().await;
    let disable = api.post("/clients/remote/disable", Value::Null);
    let answer = answered(&site, signer.token(&server), disable).await;
    refused(&server, "disabled", &answer, "the client is disabled").await;
    assert_eq!(api.post("/clients/remote/enable", Value::Null).await.status, 200);
    signer.token(&server).await.expect(200);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_disabled_is_told_of_no_token() {
    let server = server().await;
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    server.role(json!({ "name": "order-reader", "permissions": [] })).await;
    let (signer, site, jwks_uri) = published("remote").await;
    register(&server, "remote", json!({ "jwks_uri": jwks_uri })).await;
    chain.api(&server, "PUT", "/resource-servers/orders/operators/remote", Value::Null).await;
    let ask = async || {
        let body = format!("token={token}&{}", parameters(&signer.assertion(&server)));
        server.send("POST", "/oauth2/introspect", &[FORM], &body).await
    };
    let disable = chain.api(&server, "POST", "/clients/remote/disable", Value::Null);
    let answer = answered(&site, ask(), disable).await;
    refused(&server, "disabled", &answer, "the client is disabled").await;
    chain.api(&server, "POST", "/clients/remote/enable", Value::Null).await.expect(200);
    assert_eq!(ask().await.expect(200)["active"], true, "an operator");
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_exchange_stands_on_is_there_when_the_token_is_signed() {
    let server = server().await;
    let chain = Chain::start(&server).await;
    let rule = "/exchange-rules/orders-to-payments";
    for (name, error) in [("revoked", "invalid_request"), ("deleted", "invalid_target")] {
        let (signer, site, uri) = published(name).await;
        let keys = json!({ "from": "jwks_uri", "uri": uri });
        let issuer = format!("https://{name}.example");
        server.trusted_issuer(json!({ "name": name, "issuer": issuer, "keys": keys })).await;
        let actor = json!({ "trusted_issuer": name, "conditions": [{ "claim": "sub", "value": "robot" }] });
        chain.change_rule(&server, "orders-to-payments", json!({ "actor": actor })).await;
        let subject = chain.token(&server).await;
        let more = async || {
            let mut claims = signer.claims(&server);
            (claims["iss"], claims["sub"]) = (json!(issuer), json!("robot"));
            let actor = signer.sign(&json!({ "alg": "ES256", "typ": "JWT" }), &claims);
            format!("actor_token={actor}&actor_token_type=urn:ietf:params:oauth:token-type:jwt")
        };
        let asked = async { exchange(&server, &chain.orders, &subject, &more().await).await };
        let change = async {
            if name == "revoked" {
                let headers = [&*chain.front.basic(), FORM];
                return server.send("POST", "/oauth2/revoke", &headers, format!("token={subject}")).await;
            }
            let version =
                chain.api(&server, "GET", rule, Value::Null).await.header("etag").unwrap().to_owned();
            let based = format!("If-Match: {version}");
            server.api("DELETE", rule, &chain.admin, &[&based], Value::Null).await
        };
        let answer = answered(&site, asked, change).await;
        answer.expect_refusal(name, 400, error);
    }
    server.app.stop().await.unwrap();
}
