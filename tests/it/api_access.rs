//! Who may call the API: bearer tokens (RFC 6750), and what has changed since they were issued.

mod escalation;
mod operations;
mod requests;
mod strangers;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, DESCRIBED, Server, both_engines};

both_engines!(
    without_a_token_the_challenge_is_bare_rfc6750_3,
    a_token_that_this_server_did_not_sign_is_refused_rfc6750_3_1,
    a_token_ends_when_it_says,
    a_token_for_another_resource_server_is_refused,
    a_token_of_the_profile_jwt_is_not_an_access_token_rfc9068_4,
    one_authorization_header_is_enough,
    a_disabled_client_is_out_at_once,
    a_client_whose_end_has_come_is_out,
    a_deleted_client_is_out_at_once,
    a_client_registered_anew_is_another_one,
    a_client_registered_anew_in_the_same_second_is_another_one,
    a_client_moved_outside_its_networks_is_out_at_once,
    a_role_taken_away_counts_at_once,
    a_permission_taken_out_of_a_role_counts_at_once,
    a_token_opens_no_more_than_its_scope,
);

const GONE: &str = "the token's client may no longer use it";

/// A client with the role `administrator`.
async fn boss(server: &Server) -> Client {
    server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await
}

fn with_bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

async fn without_a_token_the_challenge_is_bare_rfc6750_3(server: Server) {
    let boss = boss(&server).await;
    let token = server.api_as(&boss, "").await.token;
    let basic = boss.basic();
    let lines: [&[&str]; 5] = [
        &[],
        &[&basic],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &[&format!("Authorization: Token {token}")],
    ];
    for headers in lines {
        let answer = server.send("GET", "/api/v1/clients", headers, "").await;
        let body = answer.expect_problem(401, "token-required");
        let challenge = format!("Bearer realm=\"jeton\", {DESCRIBED}");
        assert_eq!(answer.header("www-authenticate"), Some(&*challenge), "{headers:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(body["detail"].as_str().unwrap().contains("resource=<issuer>/api/v1"), "names the fix");
    }
    // A token in the query ends up in logs (RFC 6750 §5.3), so it is none.
    let target = format!("/api/v1/clients?access_token={token}");
    server.get(&target).await.expect_problem(401, "token-required");
    // The scheme compares without case (RFC 9110 §11.1), and the token itself is good.
    let line = format!("Authorization: bEARER {token}");
    server.send("GET", "/api/v1/clients", &[&line], "").await.expect(200);
}

async fn a_token_that_this_server_did_not_sign_is_refused_rfc6750_3_1(server: Server) {
    let token = server.administrator().await.token;
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let decoded = |part: &str| serde_json::from_slice::<Value>(&BASE64URL.decode(part).unwrap()).unwrap();
    let changed = |part: &str, member: &str, value: &str| {
        let mut json = decoded(part);
        assert_ne!(json[member], value);
        json[member] = value.into();
        BASE64URL.encode(json.to_string())
    };
    let mut flipped = BASE64URL.decode(signature).unwrap();
    flipped[10] ^= 1;
    let tokens = [
        ("one word", "x".to_owned()),
        ("three words", "a.b.c".to_owned()),
        ("no signature", format!("{header}.{payload}")),
        ("an empty signature", format!("{header}.{payload}.")),
        ("truncated", token[..token.len() - 1].to_owned()),
        ("a fourth part", format!("{token}.{signature}")),
        ("another signature", format!("{header}.{payload}.{}", BASE64URL.encode(flipped))),
        ("another client", format!("{header}.{}.{signature}", changed(payload, "client_id", "boss"))),
        ("another scope", format!("{header}.{}.{signature}", changed(payload, "scope", "roles:write"))),
        ("another type", format!("{}.{payload}.{signature}", changed(header, "typ", "JWT"))),
        ("another key", format!("{}.{payload}.{signature}", changed(header, "kid", "nobody"))),
        ("another algorithm", format!("{}.{payload}.{signature}", changed(header, "alg", "RS256"))),
        ("no algorithm", format!("{}.{payload}.", changed(header, "alg", "none"))),
        ("two tokens", format!("{token} {token}")),
    ];
    for (what, forged) in tokens {
        let answer = server.send("GET", "/api/v1/clients", &[&with_bearer(&forged)], "").await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.expect_token_refused("not an access token that this server signed");
    }
    server.api_with(token).get("/clients").await.expect(200);
}

async fn a_token_ends_when_it_says(server: Server) {
    let api = server.administrator().await;
    server.clock.advance(Duration::from_millis(299_999));
    api.get("/clients").await.expect(200);
    server.clock.advance(Duration::from_millis(1));
    api.get("/clients").await.expect_token_refused("the token has expired; ask for a new one");
    api.post("/clients", json!({ "client_id": "late" })).await.expect_token_refused("has expired");
}

async fn a_token_for_another_resource_server_is_refused(server: Server) {
    let billing = server.billing().await;
    let token = server.token(&billing, "grant_type=client_credentials").await.expect(200);
    let api = server.api_with(token["access_token"].as_str().unwrap());
    api.get("/clients").await.expect_token_refused("another audience: ask for one with resource=<issuer>");
}

async fn a_token_of_the_profile_jwt_is_not_an_access_token_rfc9068_4(server: Server) {
    let boss = boss(&server).await;
    server.api_as(&boss, "").await.get("/clients").await.expect(200);
    // The API's own profile cannot be changed by any request, only behind the server's back; the change
    // of the catalog after it makes the server read it.
    server.database.execute("UPDATE resource_servers SET token_profile = 'jwt' WHERE name = 'jeton'").await;
    server.role(json!({ "name": "any" })).await;
    let api = server.api_as(&boss, "").await;
    let (header, claims) = crate::token::verified(&server, &api.token).await;
    assert_eq!(header["typ"], "JWT");
    assert_eq!(claims["aud"], "http://localhost:8080/api/v1", "only the type is wrong");
    api.get("/clients").await.expect_token_refused("not an access token");
}

async fn one_authorization_header_is_enough(server: Server) {
    let token = server.administrator().await.token;
    let line = with_bearer(&token);
    for headers in [[line.as_str(), line.as_str()], [line.as_str(), "Authorization: Basic Ym9zczp4"]] {
        let answer = server.send("GET", "/api/v1/clients", &headers, "").await;
        let body = answer.expect_problem(400, "malformed");
        assert_eq!(body["detail"], "send one Authorization header");
    }
}

// --- What has changed since the token was issued ---

async fn a_disabled_client_is_out_at_once(server: Server) {
    let root = server.administrator().await;
    let api = server.api_as(&boss(&server).await, "").await;
    api.get("/clients").await.expect(200);
    root.post("/clients/boss/disable", Value::Null).await.expect(200);
    api.get("/clients").await.expect_token_refused(GONE);
    api.post("/clients/boss/enable", Value::Null).await.expect_token_refused(GONE);
    root.post("/clients/boss/enable", Value::Null).await.expect(200);
    api.get("/clients").await.expect(200);
}

async fn a_client_whose_end_has_come_is_out(server: Server) {
    let root = server.administrator().await;
    let api = server.api_as(&boss(&server).await, "").await;
    root.patch("/clients/boss", 1, json!({ "expires_at": "2026-11-22T08:01:00Z" })).await.expect(200);
    server.clock.advance(Duration::from_millis(59_999));
    api.get("/clients").await.expect(200);
    server.clock.advance(Duration::from_millis(1));
    api.get("/clients").await.expect_token_refused(GONE);
    root.get("/clients").await.expect(200);
}

async fn a_deleted_client_is_out_at_once(server: Server) {
    let root = server.administrator().await;
    let api = server.api_as(&boss(&server).await, "").await;
    api.get("/clients").await.expect(200);
    root.delete("/clients/boss", Some(1)).await.expect(204);
    api.get("/clients").await.expect_token_refused(GONE);
}

/// The token of a client that is deleted, and registered again after `pause`, with the same role.
async fn registered_anew(server: &Server, pause: Duration) -> Answer {
    let root = server.administrator().await;
    let old = server.api_as(&boss(server).await, "").await;
    old.get("/clients").await.expect(200);
    server.clock.advance(pause);
    root.delete("/clients/boss", Some(1)).await.expect(204);
    root.post("/clients", json!({ "client_id": "boss", "roles": ["administrator"] })).await.expect(201);
    // The new one is good.
    let new = root.credentials("boss").await;
    server.api_as(&new, "").await.get("/clients").await.expect(200);
    old.get("/clients").await
}

async fn a_client_registered_anew_is_another_one(server: Server) {
    registered_anew(&server, Duration::from_secs(1)).await.expect_token_refused(GONE);
}

async fn a_client_registered_anew_in_the_same_second_is_another_one(server: Server) {
    registered_anew(&server, Duration::from_millis(500)).await.expect_token_refused(GONE);
}

async fn a_client_moved_outside_its_networks_is_out_at_once(server: Server) {
    let root = server.administrator().await;
    let api = server.api_as(&boss(&server).await, "").await;
    root.patch("/clients/boss", 1, json!({ "allowed_networks": ["127.0.0.0/8"] })).await.expect(200);
    api.get("/clients").await.expect(200);
    root.patch("/clients/boss", 2, json!({ "allowed_networks": ["10.0.0.0/8", "::/0"] })).await.expect(200);
    api.get("/clients").await.expect_token_refused(GONE);
}

async fn a_role_taken_away_counts_at_once(server: Server) {
    let root = server.administrator().await;
    let api = server.api_as(&boss(&server).await, "").await;
    api.get("/clients").await.expect(200);
    root.delete("/clients/boss/roles/administrator", None).await.expect(204);
    let body = api.get("/clients").await.expect_forbidden("clients:read");
    assert_eq!(
        body["detail"],
        "this needs the permission clients:read: the token or the client's roles do not have it"
    );
    api.post("/clients", json!({ "client_id": "x" })).await.expect_forbidden("clients:write");
    root.put("/clients/boss/roles/auditor").await.expect(204);
    api.get("/clients").await.expect(200);
    api.post("/clients", json!({ "client_id": "x" })).await.expect_forbidden("clients:write");
}

async fn a_permission_taken_out_of_a_role_counts_at_once(server: Server) {
    let root = server.administrator().await;
    let given = |permissions: &[&str]| {
        permissions
            .iter()
            .map(|permission| json!({ "resource_server": "jeton", "permission": permission }))
            .collect::<Value>()
    };
    let both = given(&["clients:read", "clients:write"]);
    server.role(json!({ "name": "keeper", "permissions": both })).await;
    let keeper = server.client(json!({ "client_id": "keeper", "roles": ["keeper"] })).await;
    let api = server.api_as(&keeper, "").await;
    api.post("/clients", json!({ "client_id": "x" })).await.expect(201);
    let less = json!({ "permissions": given(&["clients:read"]) });
    root.patch("/roles/keeper", 1, less).await.expect(200);
    api.post("/clients", json!({ "client_id": "y" })).await.expect_forbidden("clients:write");
    api.get("/clients/y").await.expect_problem(404, "not-found");
}

async fn a_token_opens_no_more_than_its_scope(server: Server) {
    let boss = boss(&server).await;
    let api = server.api_as(&boss, "clients:read+roles:write").await;
    api.get("/clients").await.expect(200);
    api.get("/roles").await.expect_forbidden("roles:read");
    api.post("/clients", json!({ "client_id": "x" })).await.expect_forbidden("clients:write");
    api.post("/roles", json!({ "name": "x" })).await.expect(201);
}
