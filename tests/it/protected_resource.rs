//! What protected resources say of themselves (RFC 9728): Jeton's own API in public, others to their operators.

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};
use jeton::config::{Config, Issuer};
use jeton::domain::builtin;

both_engines!(
    the_api_describes_itself_rfc9728_2,
    nothing_else_is_described_in_public_rfc9728_3_3,
    an_issuer_with_a_path_rfc9728_3_1,
    a_challenge_leads_to_a_token_rfc9728_5,
    the_document_of_another_resource_server_is_for_its_operator_rfc9728_2,
    only_a_url_without_a_fragment_has_a_document_rfc9728_1_2,
);

const API: &str = "/.well-known/oauth-protected-resource/api/v1";

/// The whole document of the API under an issuer.
fn document(issuer: &str) -> Value {
    let mut permissions: Vec<&str> = builtin::PERMISSIONS.iter().map(|(name, _, _)| *name).collect();
    permissions.sort_unstable();
    json!({
        "resource": format!("{issuer}/api/v1"),
        "authorization_servers": [issuer],
        "scopes_supported": permissions,
        "bearer_methods_supported": ["header"],
        "resource_name": "Jeton API",
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256", "EdDSA"],
        "dpop_bound_access_tokens_required": false,
        "tls_client_certificate_bound_access_tokens": false,
    })
}

async fn the_api_describes_itself_rfc9728_2(server: Server) {
    let answer = server.get(API).await;
    assert_eq!(answer.expect(200), document("http://localhost:8080"));
    assert_eq!(answer.header("content-type"), Some("application/json"), "RFC 9728 3.2");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300, stale-if-error=3600"));
    let condition = format!("If-None-Match: {}", answer.header("etag").unwrap());
    assert_eq!(server.send("GET", API, &[&condition], "").await.status, 304);
    server.send("POST", API, &[], "").await.expect_problem(405, "no-such-method");
}

/// A document must name the resource that its URL was made from, and none but the API's would.
async fn nothing_else_is_described_in_public_rfc9728_3_3(server: Server) {
    let orders = json!({ "name": "orders", "identifier": "http://localhost:8080/orders" });
    server.resource_server(orders).await;
    for path in ["", "/", "/orders", "/api", "/api/v1/", "/api/v1/clients"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        server.get(&path).await.expect_problem(404, "no-such-path");
    }
}

async fn an_issuer_with_a_path_rfc9728_3_1(server: Server) {
    let issuer = "http://localhost:8080/tenant/a";
    let change = |config: &mut Config| config.issuer = Some(Issuer::parse(issuer).unwrap());
    let server = Server::start_with(server.database.engine, change).await;
    let path = "/.well-known/oauth-protected-resource/tenant/a/api/v1";
    assert_eq!(server.get(path).await.expect(200), document(issuer));
    assert_eq!(server.get(API).await.status, 404, "of another issuer");
    let refused = server.get("/tenant/a/api/v1/clients").await;
    let challenge = format!("Bearer realm=\"jeton\", resource_metadata=\"http://localhost:8080{path}\"");
    assert_eq!(refused.header("www-authenticate"), Some(challenge.as_str()), "{refused:?}");
}

/// A client that knows nothing but the API's URL finds out where to ask for a token, and for what.
async fn a_challenge_leads_to_a_token_rfc9728_5(server: Server) {
    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let refused = server.get("/api/v1/clients").await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    let url = challenge.split_once("resource_metadata=\"").unwrap().1.trim_end_matches('"');
    let path = |url: &str| url.strip_prefix("http://localhost:8080").unwrap().to_owned();
    let resource = server.get(&path(url)).await.expect(200);
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let metadata = server.get(&path(&format!("{issuer}/.well-known/oauth-authorization-server"))).await;
    let endpoint = path(metadata.expect(200)["token_endpoint"].as_str().unwrap());
    let wanted = resource["resource"].as_str().unwrap();
    let body = format!("grant_type=client_credentials&resource={wanted}&scope=clients:read");
    let headers = ["Content-Type: application/x-www-form-urlencoded", &*boss.basic()];
    let token = server.send("POST", &endpoint, &headers, body).await.expect(200);
    let authorization = format!("Authorization: Bearer {}", token["access_token"].as_str().unwrap());
    assert_eq!(server.send("GET", "/api/v1/clients", &[&authorization], "").await.status, 200);
}

async fn the_document_of_another_resource_server_is_for_its_operator_rfc9728_2(server: Server) {
    let api = server.administrator().await;
    let permissions = json!([{ "permission": "orders:write" }, { "permission": "orders:read" }]);
    let orders = json!({
        "name": "orders", "identifier": "https://orders.example/v2", "permissions": permissions,
        "token_binding": "dpop",
    });
    server.resource_server(orders).await;
    let answer = api.get("/resource-servers/orders/protected-resource-metadata").await;
    let expected = json!({
        "resource": "https://orders.example/v2",
        "authorization_servers": ["http://localhost:8080"],
        "scopes_supported": ["orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "orders",
        "dpop_bound_access_tokens_required": true,
        "tls_client_certificate_bound_access_tokens": false,
    });
    assert_eq!(answer.expect(200), expected);
    let own = api.get("/resource-servers/jeton/protected-resource-metadata").await;
    assert_eq!(own.expect(200), server.get(API).await.expect(200));
    api.get("/resource-servers/nobody/protected-resource-metadata").await.expect_problem(404, "not-found");
}

async fn only_a_url_without_a_fragment_has_a_document_rfc9728_1_2(server: Server) {
    let api = server.administrator().await;
    for (name, identifier) in
        [("urn", "urn:orders"), ("word", "orders"), ("part", "https://orders.example/#v2")]
    {
        server.resource_server(json!({ "name": name, "identifier": identifier })).await;
        let refused = api.get(&format!("/resource-servers/{name}/protected-resource-metadata")).await;
        let problem = refused.expect_problem(409, "conflict");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(identifier) && detail.contains("an https or http URL"), "{detail}");
    }
}
