//! Tokens that are bound to a certificate (RFC 8705 §3): who can want them, what they are worth, how they are passed on.

use serde_json::{Value, json};

use super::{Stage, both_stages, told};
use crate::federation::{Platform, sub};
use crate::harness::{Issued, Server};
use crate::token::{GRANT, verified};
use crate::token_exchange::{ACCESS_TOKEN, Chain, EXCHANGE, access_token};
use jeton::domain::certificate::thumbprint;

both_stages!(
    a_client_or_a_resource_server_can_want_bound_tokens_only_rfc8705_3,
    the_own_api_takes_a_bound_token_with_its_certificate_only_rfc8705_3,
    introspection_tells_the_binding_rfc8705_3_2,
    a_bound_subject_token_needs_its_certificate_and_stays_bound_rfc8705_3,
);

async fn change(server: &Server, path: &str, change: Value) {
    let admin = server.administrator().await;
    let version = admin.get(path).await.expect(200)["version"].as_i64().unwrap();
    admin.patch(path, version, change).await.expect(200);
}

async fn a_client_or_a_resource_server_can_want_bound_tokens_only_rfc8705_3(stage: Stage) {
    let server = &stage.server;
    let billing = server.billing().await;
    let own = Issued::by_itself("billing");
    let basic = billing.basic();
    for path in ["/clients/billing", "/resource-servers/orders"] {
        for (binding, error, said) in [
            ("mtls", "invalid_request", "client certificate (RFC 8705"),
            ("either", "invalid_request", "a DPoP proof (RFC 9449) or a client certificate"),
            ("dpop", "invalid_dpop_proof", "DPoP proof"),
        ] {
            change(server, path, json!({ "token_binding": binding })).await;
            let told = stage.ask(None, &[&basic], GRANT).await.expect_oauth_error(400, error);
            assert!(told.contains(said), "{path} {binding}: {told}");
            let with = stage.ask(Some(&own), &[&basic], GRANT).await;
            if binding == "dpop" {
                with.expect_oauth_error(400, error);
            } else {
                stage.bound(&with, &own).await;
            }
        }
        change(server, path, json!({ "token_binding": "optional" })).await;
        let answer = stage.ask(None, &[&basic], GRANT).await.expect(200);
        let (_, claims) = verified(server, answer["access_token"].as_str().unwrap()).await;
        assert!(claims.get("cnf").is_none(), "{claims}");
    }
    // So of every grant: here nobody but the assertion says who it is.
    let platform = Platform::new("ci", "https://ci.example");
    platform.trust(server).await;
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let more =
        json!({ "grant_types": [grant], "auth_methods": ["federated_jwt"], "token_binding": "either" });
    platform.client_with(server, "robot", sub("robot"), more).await;
    let body = || format!("grant_type={grant}&assertion={}", platform.token(server, "robot"));
    let told = stage.ask(None, &[], &body()).await.expect_oauth_error(400, "invalid_request");
    assert!(told.contains("a DPoP proof (RFC 9449) or a client certificate"), "{told}");
    stage.bound(&stage.ask(Some(&own), &[], &body()).await, &own).await;
}

async fn the_own_api_takes_a_bound_token_with_its_certificate_only_rfc8705_3(stage: Stage) {
    let server = &stage.server;
    let admin = server.client(json!({ "client_id": "admin", "roles": ["administrator"] })).await;
    let (own, other) = (Issued::by_itself("admin"), Issued::by_itself("other"));
    let body = format!("{GRANT}&resource=http://localhost:8080/api/v1");
    let free = access_token(&stage.ask(None, &[&admin.basic()], &body).await);
    let (token, _) = stage.bound(&stage.ask(Some(&own), &[&admin.basic()], &body).await, &own).await;
    let call = async |token: &str, shown: Option<&Issued>| {
        let header = shown.map(told);
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        server.api("GET", "/clients", token, &headers, Value::Null).await
    };
    call(&token, Some(&own)).await.expect(200);
    for shown in [None, Some(&other)] {
        call(&token, shown).await.expect_token_refused("bound to a certificate");
    }
    // Whoever wants bound tokens takes no others that were issued before.
    call(&free, Some(&own)).await.expect(200);
    change(server, "/clients/admin", json!({ "token_binding": "mtls" })).await;
    call(&free, Some(&own)).await.expect_token_refused("ask for one with a client certificate");
    call(&token, Some(&own)).await.expect(200);
    change(server, "/clients/admin", json!({ "token_binding": "either" })).await;
    call(&free, Some(&own)).await.expect_token_refused("a DPoP proof or a client certificate");
    call(&token, Some(&own)).await.expect(200);
}

async fn introspection_tells_the_binding_rfc8705_3_2(stage: Stage) {
    let chain = Chain::start(&stage.server).await;
    let own = Issued::by_itself("front");
    let body = format!("{GRANT}&resource=https://orders.example");
    let (token, claims) =
        stage.bound(&stage.ask(Some(&own), &[&chain.front.basic()], &body).await, &own).await;
    // The resource server itself needs no certificate to ask.
    let asked =
        stage.post("/oauth2/introspect", None, &[&chain.orders.basic()], &format!("token={token}")).await;
    let shown = asked.expect(200);
    assert_eq!((&shown["active"], &shown["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(shown["cnf"], claims["cnf"]);
}

async fn a_bound_subject_token_needs_its_certificate_and_stays_bound_rfc8705_3(stage: Stage) {
    let server = &stage.server;
    let chain = Chain::start(server).await;
    let (own, other) = (Issued::by_itself("front"), Issued::by_itself("orders"));
    let body = format!("{GRANT}&resource=https://orders.example");
    let (token, _) = stage.bound(&stage.ask(Some(&own), &[&chain.front.basic()], &body).await, &own).await;
    let exchange = |token: &str| {
        format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}")
    };
    let orders = chain.orders.basic();
    for shown in [None, Some(&other)] {
        let said =
            stage.ask(shown, &[&orders], &exchange(&token)).await.expect_oauth_error(400, "invalid_request");
        assert!(said.contains("subject_token is bound to a certificate"), "{said}");
    }
    stage.bound(&stage.ask(Some(&own), &[&orders], &exchange(&token)).await, &own).await;

    // One that is not bound becomes bound to the caller's certificate.
    let free = chain.token(server).await;
    stage.bound(&stage.ask(Some(&other), &[&orders], &exchange(&free)).await, &other).await;
    change(server, "/resource-servers/orders", json!({ "token_binding": "mtls" })).await;
    let said = stage
        .ask(Some(&other), &[&orders], &exchange(&free))
        .await
        .expect_oauth_error(400, "invalid_request");
    assert!(said.contains("must be bound to a key"), "{said}");
    let event = server.events("token_issued").await;
    assert!(event.iter().any(|event| event["exchange"].is_object() && event["x5t"] == thumbprint(&own.der)));
}
