//! Tokens that are issued: RFC 6749 §4.4 and §5.1, RFC 9068, RFC 8707.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};
use jeton::domain::ids::ClientId;
use jeton::jose::{PublicJwkSet, Unverified, VerifyingKey};

both_engines!(
    a_registered_service_gets_a_token_that_verifies,
    the_answer_is_not_cached_rfc6749_5_1,
    without_a_scope_all_is_granted_rfc6749_3_3,
    a_part_of_the_scope_can_be_asked_rfc6749_3_3,
    unknown_parameters_are_ignored_rfc6749_3_2,
    the_scope_decides_the_audience_rfc9068_3,
    only_contributing_roles_are_named_rfc9068_2_2_3_1,
    every_token_has_identifiers_of_its_own_rfc9068_2_2,
    issue_and_end_follow_the_clock_rfc9068_2_2,
    a_resource_server_decides_the_lifetime,
    the_configured_longest_lifetime_is_the_last_word,
    the_shortest_of_several_lifetimes_counts_rfc8707,
    nothing_is_granted_across_resource_servers,
    the_profile_jwt_is_a_plain_jwt,
    a_resource_server_can_want_rs256_rfc7518_3_3,
    the_kind_of_the_client_is_a_claim,
    api_tokens_are_tokens_like_any_other,
);

/// The simplest request there is.
pub(crate) const GRANT: &str = "grant_type=client_credentials";

/// The header and the claims of a token, verified with the published keys.
pub(crate) async fn verified(server: &Server, token: &str) -> (Value, Value) {
    use base64::Engine as _;
    let jwks: PublicJwkSet =
        serde_json::from_value(server.get("/.well-known/jwks.json").await.expect(200)).unwrap();
    let unverified = Unverified::parse(token).unwrap();
    let key = VerifyingKey::from_jwk(jwks.find(unverified.key_id().unwrap()).unwrap()).unwrap();
    let claims = unverified.verify(&key).unwrap();
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    (serde_json::from_slice(&header).unwrap(), claims)
}

/// The claims of the token that this request is granted.
pub(crate) async fn claims(server: &Server, client: &Client, body: &str) -> Value {
    let answer = server.token(client, body).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    verified(server, answer.json()["access_token"].as_str().unwrap()).await.1
}

/// [`Server::billing`], and a second resource server `stock` (`https://stock.example`) with `stock:read` and
/// `stock:write`, the roles `order-writer` and `stock-reader`, and the client `shop` with `order-reader`,
/// `order-writer` and `stock-reader`.
pub(crate) async fn shop(server: &Server) -> Client {
    server.billing().await;
    server
        .resource_server(json!({
            "name": "stock", "identifier": "https://stock.example",
            "permissions": [{ "permission": "stock:read" }, { "permission": "stock:write" }],
        }))
        .await;
    for (name, resource_server, permission) in
        [("order-writer", "orders", "orders:write"), ("stock-reader", "stock", "stock:read")]
    {
        let permissions = json!([{ "resource_server": resource_server, "permission": permission }]);
        server.role(json!({ "name": name, "permissions": permissions })).await;
    }
    let roles = ["order-reader", "order-writer", "stock-reader"];
    server.client(json!({ "client_id": "shop", "roles": roles })).await
}

async fn a_registered_service_gets_a_token_that_verifies(server: Server) {
    let billing = server.billing().await;
    let answer = server.token(&billing, "grant_type=client_credentials&scope=orders:read").await;
    let body = answer.expect(200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "orders:read");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let (header, claims) = verified(&server, body["access_token"].as_str().unwrap()).await;
    assert_eq!(header["typ"], "at+jwt", "RFC 9068 2.1");
    assert_eq!(header["alg"], "ES256");
    let expected = json!({
        "iss": "http://localhost:8080", "aud": "https://orders.example", "sub": "billing",
        "client_id": "billing", "iat": 1_795_334_400, "exp": 1_795_334_700, "scope": "orders:read",
        "roles": ["order-reader"], "client_kind": "service",
        "jti": claims["jti"], "txn": claims["txn"],
    });
    assert_eq!(claims, expected, "RFC 9068 2.2, and nothing else");
}

async fn the_answer_is_not_cached_rfc6749_5_1(server: Server) {
    let billing = server.billing().await;
    let answer = server.token(&billing, GRANT).await;
    let body = answer.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("www-authenticate"), None);
    let members: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        BTreeSet::from(["access_token", "token_type", "expires_in", "scope"]),
        "and no refresh token: RFC 6749 4.4.3"
    );
}

async fn without_a_scope_all_is_granted_rfc6749_3_3(server: Server) {
    let shop = shop(&server).await;
    let answer = server.token(&shop, &format!("{GRANT}&resource=https://orders.example")).await;
    assert_eq!(answer.expect(200)["scope"], "orders:read orders:write", "told, since it was not asked");
    let claims = claims(&server, &shop, &format!("{GRANT}&resource=https://orders.example")).await;
    assert_eq!(claims["scope"], "orders:read orders:write");
    assert_eq!(claims["roles"], json!(["order-reader", "order-writer"]));
}

async fn a_part_of_the_scope_can_be_asked_rfc6749_3_3(server: Server) {
    let shop = shop(&server).await;
    let body = format!("{GRANT}&resource=https://orders.example&scope=orders:write");
    assert_eq!(server.token(&shop, &body).await.expect(200)["scope"], "orders:write");
    let claims = claims(&server, &shop, &body).await;
    assert_eq!(claims["scope"], "orders:write");
    assert_eq!(claims["roles"], json!(["order-writer"]));
}

async fn unknown_parameters_are_ignored_rfc6749_3_2(server: Server) {
    let billing = server.billing().await;
    let answer = server.token(&billing, &format!("{GRANT}&tenant=a&x=%C3%A9&empty=&bare")).await;
    assert_eq!(answer.expect(200)["scope"], "orders:read");
}

async fn the_scope_decides_the_audience_rfc9068_3(server: Server) {
    let shop = shop(&server).await;
    let only = claims(&server, &shop, &format!("{GRANT}&scope=stock:read")).await;
    assert_eq!(only["aud"], "https://stock.example");
    assert_eq!(only["roles"], json!(["stock-reader"]));
    let both = claims(&server, &shop, &format!("{GRANT}&scope=orders:write+orders:read")).await;
    assert_eq!(both["aud"], "https://orders.example");
    let across = server.token(&shop, &format!("{GRANT}&scope=stock:read+orders:read")).await;
    across.expect_oauth_error(400, "invalid_scope");
}

async fn only_contributing_roles_are_named_rfc9068_2_2_3_1(server: Server) {
    shop(&server).await;
    let given = json!([
        { "resource_server": "orders", "permission": "orders:read" },
        { "resource_server": "stock", "permission": "stock:read" },
    ]);
    server.role(json!({ "name": "all-reader", "permissions": given })).await;
    server.role(json!({ "name": "empty", "permissions": [] })).await;
    let roles = ["stock-reader", "order-writer", "order-reader", "empty", "all-reader"];
    let client = server.client(json!({ "client_id": "many", "roles": roles })).await;
    for (scope, expected) in [
        ("orders:read", json!(["all-reader", "order-reader"])),
        ("orders:write", json!(["order-writer"])),
        ("orders:read+orders:write", json!(["all-reader", "order-reader", "order-writer"])),
        ("stock:read", json!(["all-reader", "stock-reader"])),
    ] {
        let claims = claims(&server, &client, &format!("{GRANT}&scope={scope}")).await;
        assert_eq!(claims["roles"], expected, "{scope}");
    }
}

async fn every_token_has_identifiers_of_its_own_rfc9068_2_2(server: Server) {
    let billing = server.billing().await;
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let claims = claims(&server, &billing, GRANT).await;
        for name in ["jti", "txn"] {
            let id = claims[name].as_str().unwrap().to_owned();
            assert!(id.len() >= 22, "128 bits in base64url: {id}");
            assert!(seen.insert(id), "{name} repeats: {claims}");
        }
    }
}

async fn issue_and_end_follow_the_clock_rfc9068_2_2(server: Server) {
    let billing = server.billing().await;
    server.clock.advance(Duration::from_millis(86_400_999));
    let claims = claims(&server, &billing, GRANT).await;
    assert_eq!(claims["iat"], 1_795_334_400 + 86_400, "rounded down");
    assert_eq!(claims["exp"], 1_795_334_400 + 86_400 + 300);
}

/// A resource server with one permission of the same name, a role for it, and a client with that role.
async fn tuned(server: &Server, name: &str, settings: Value) -> Client {
    let mut new = json!({
        "name": name, "identifier": format!("https://{name}.example"),
        "permissions": [{ "permission": format!("{name}:use") }],
    });
    new.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    server.resource_server(new).await;
    let permissions = json!([{ "resource_server": name, "permission": format!("{name}:use") }]);
    server.role(json!({ "name": format!("{name}-user"), "permissions": permissions })).await;
    let roles = [format!("{name}-user")];
    server.client(json!({ "client_id": format!("{name}-client"), "roles": roles })).await
}

async fn a_resource_server_decides_the_lifetime(server: Server) {
    let client = tuned(&server, "slow", json!({ "token_lifetime": 3_600 })).await;
    assert_eq!(server.token(&client, GRANT).await.expect(200)["expires_in"], 3_600);
    let claims = claims(&server, &client, GRANT).await;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
}

async fn the_configured_longest_lifetime_is_the_last_word(server: Server) {
    let client = tuned(&server, "slow", json!({ "token_lifetime": 3_600 })).await;
    let shorten = |config: &mut jeton::config::Config| config.max_token_lifetime = Duration::from_mins(1);
    let server = server.restart_with(shorten).await.unwrap();
    assert_eq!(server.token(&client, GRANT).await.expect(200)["expires_in"], 60);
}

async fn the_shortest_of_several_lifetimes_counts_rfc8707(server: Server) {
    tuned(&server, "slow", json!({ "token_lifetime": 3_600 })).await;
    tuned(&server, "quick", json!({ "token_lifetime": 30 })).await;
    let both = server.client(json!({ "client_id": "both", "roles": ["slow-user", "quick-user"] })).await;
    let body = format!("{GRANT}&resource=https://slow.example&resource=https://quick.example");
    assert_eq!(server.token(&both, &body).await.expect(200)["expires_in"], 30);
}

/// DESIGN §3: a scope value needs to be held at every named resource server that defines it.
async fn nothing_is_granted_across_resource_servers(server: Server) {
    for name in ["a", "b"] {
        let permissions = json!([{ "permission": "read" }, { "permission": format!("{name}:use") }]);
        let identifier = format!("https://{name}.example");
        server
            .resource_server(json!({ "name": name, "identifier": identifier, "permissions": permissions }))
            .await;
    }
    let given = json!([
        { "resource_server": "a", "permission": "read" },
        { "resource_server": "a", "permission": "a:use" },
        { "resource_server": "b", "permission": "b:use" },
    ]);
    server.role(json!({ "name": "mixed", "permissions": given })).await;
    let client = server.client(json!({ "client_id": "mixed", "roles": ["mixed"] })).await;
    let both = format!("{GRANT}&resource=https://a.example&resource=https://b.example");

    let asked = server.token(&client, &format!("{both}&scope=read")).await;
    asked.expect_oauth_error(400, "invalid_scope");
    let alone = server.token(&client, &format!("{GRANT}&resource=https://a.example&scope=read")).await;
    assert_eq!(alone.expect(200)["scope"], "read");
    let unasked = claims(&server, &client, &both).await;
    assert_eq!(unasked["scope"], "a:use b:use", "'read' would count at b as well");
    assert_eq!(unasked["aud"], json!(["https://a.example", "https://b.example"]));
}

async fn the_profile_jwt_is_a_plain_jwt(server: Server) {
    let client = tuned(&server, "cloud", json!({ "token_profile": "jwt" })).await;
    let answer = server.token(&client, GRANT).await.expect(200);
    assert_eq!(answer["scope"], "cloud:use", "RFC 6749 5.1 asks for it in the answer");
    let (header, claims) = verified(&server, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(header["typ"], "JWT");
    let expected = json!({
        "iss": "http://localhost:8080", "aud": "https://cloud.example", "sub": "cloud-client",
        "client_id": "cloud-client", "iat": 1_795_334_400, "exp": 1_795_334_700,
        "roles": ["cloud-user"], "client_kind": "service",
        "jti": claims["jti"], "txn": claims["txn"],
    });
    assert_eq!(claims, expected, "no scope claim");

    let billing = server.billing().await;
    let id = ClientId::new(&billing.id).unwrap();
    let by = jeton::admin::By::system();
    let role = jeton::domain::ids::RoleName::new("cloud-user").unwrap();
    server.app.admin().assign_role(&by, &id, &role).await.unwrap();
    let mixed = format!("{GRANT}&resource=https://orders.example&resource=https://cloud.example");
    server.token(&billing, &mixed).await.expect_oauth_error(400, "invalid_target");
}

async fn a_resource_server_can_want_rs256_rfc7518_3_3(server: Server) {
    let client = tuned(&server, "gateway", json!({ "signing_algorithm": "RS256" })).await;
    let answer = server.token(&client, GRANT).await.expect(200);
    let (header, claims) = verified(&server, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(header["alg"], "RS256");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["aud"], "https://gateway.example");
    let jwks = server.get("/.well-known/jwks.json").await.expect(200);
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["kty"], &key["alg"]), (&json!("RSA"), &json!("RS256")));
}

async fn the_kind_of_the_client_is_a_claim(server: Server) {
    server.billing().await;
    for kind in ["service", "machine", "job", "agent"] {
        let new = json!({ "client_id": format!("a-{kind}"), "kind": kind, "roles": ["order-reader"] });
        let client = server.client(new).await;
        assert_eq!(claims(&server, &client, GRANT).await["client_kind"], kind);
    }
}

/// DESIGN §11: Jeton's own API is a resource server like any other.
async fn api_tokens_are_tokens_like_any_other(server: Server) {
    let auditor = server.client(json!({ "client_id": "watcher", "roles": ["auditor"] })).await;
    let claims = claims(&server, &auditor, GRANT).await;
    assert_eq!(claims["aud"], "http://localhost:8080/api/v1");
    assert_eq!(
        claims["scope"],
        "administrators:read audit:read clients:read exchange-rules:read resource-servers:read roles:read \
         signing-keys:read trusted-issuers:read"
    );
    assert_eq!(claims["roles"], json!(["auditor"]));
}
