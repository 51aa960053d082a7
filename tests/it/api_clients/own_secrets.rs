//! A client that rotates its own secrets, and can do nothing else with that.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};

both_engines!(
    a_client_rotates_its_own_secret_and_nothing_else,
    a_client_that_may_not_gets_no_token_for_it,
    leave_that_is_taken_back_counts_at_once,
    its_own_secret_lives_no_longer_than_the_one_before,
    what_was_replaced_makes_no_successor,
    a_token_that_speaks_for_another_is_nobody_s_own,
    leave_to_rotate_makes_no_request_ambiguous,
    a_role_that_gives_the_permission_is_not_enough,
);

const ASK: &str = "grant_type=client_credentials";
const OWN: &str = "/clients/self/secrets";
const FOR_OWN: &str =
    "grant_type=client_credentials&resource=http://localhost:8080/api/v1&scope=secrets:self";

async fn allow(server: &Server, allowed: bool) {
    let api = server.administrator().await;
    let version = api.get("/clients/billing").await.expect(200)["version"].as_i64().unwrap();
    let update = json!({ "may_rotate_own_secrets": allowed });
    let changed = api.patch("/clients/billing", version, update).await.expect(200);
    assert_eq!(changed["may_rotate_own_secrets"], allowed);
}

async fn a_client_rotates_its_own_secret_and_nothing_else(server: Server) {
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other" })).await;
    allow(&server, true).await;
    let token = server.token(&billing, FOR_OWN).await.expect(200);
    assert_eq!(token["scope"], "secrets:self");
    let own = server.api_with(token["access_token"].as_str().unwrap());
    server.clock.advance(Duration::from_secs(1));
    let listed = own.get(OWN).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let answer = own.post(OWN, json!({ "description": "by itself", "overlap": 60 })).await;
    let rotated = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(rotated["replaces"][0]["secret_id"], listed[0]["secret_id"]);
    assert_eq!(rotated["replaces"][0]["expires_at"], "2026-11-22T08:01:01Z");
    let new = Client::new("billing", rotated["client_secret"].as_str().unwrap());
    server.token(&new, ASK).await.expect(200);

    let events = server.events("changed").await;
    let event = events.iter().find(|event| event["action"] == "client.secret.rotate").unwrap();
    assert_eq!(
        (&event["actor"]["type"], &event["actor"]["client_id"]),
        (&json!("client"), &json!("billing"))
    );
    assert_eq!(event["target"], "billing");

    // Nothing else of the API, of its own or of another.
    let root = server.administrator().await;
    let theirs = root.get("/clients/other/secrets").await.expect(200);
    let before = server.last_change().await;
    own.get("/clients/billing").await.expect_forbidden("clients:read");
    own.get("/clients/billing/secrets").await.expect_forbidden("clients:read");
    own.post("/clients/billing/secrets", json!({})).await.expect_forbidden("clients:write");
    own.post("/clients/billing/secrets/rotate", json!({})).await.expect_forbidden("clients:write");
    own.post("/clients/other/secrets", json!({})).await.expect_forbidden("clients:write");
    let id = rotated["secret_id"].as_str().unwrap();
    own.delete(&format!("/clients/billing/secrets/{id}"), None).await.expect_forbidden("clients:write");
    own.get("/roles").await.expect_forbidden("roles:read");
    // A secret of another client is none of its own; nor does it choose what a secret is.
    let named = json!({ "secret_ids": [theirs[0]["secret_id"]] });
    own.post(OWN, named).await.expect_problem(404, "not-found");
    own.post(OWN, json!({ "secret": "one of my own choice" })).await.expect_invalid("secret", "");
    own.post(OWN, json!({ "client_id": "other" })).await.expect_invalid("client_id", "");
    assert_eq!(server.last_change().await, before, "nothing was changed");
    assert_eq!(root.get("/clients/other/secrets").await.expect(200)[0]["secret_id"], theirs[0]["secret_id"]);
    // It has no role, so nothing but its secret's being right leads here.
    server.token(&other, ASK).await.expect_oauth_error(400, "invalid_target");

    // Gone with the client's standing.
    root.post("/clients/billing/disable", Value::Null).await.expect(200);
    own.post(OWN, json!({})).await.expect_problem(401, "token-invalid");
    server.token(&new, FOR_OWN).await.expect_oauth_error(401, "invalid_client");
}

async fn a_client_that_may_not_gets_no_token_for_it(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, FOR_OWN).await.expect_oauth_error(400, "invalid_target");
    let implied = format!("{ASK}&scope=secrets:self");
    server.token(&billing, &implied).await.expect_oauth_error(400, "invalid_scope");
    // An administrator has every other permission and no secrets of its own.
    let root = server.administrator().await;
    root.get(OWN).await.expect_forbidden("secrets:self");
    root.post(OWN, json!({})).await.expect_forbidden("secrets:self");
    server.get("/api/v1/clients/self/secrets").await.expect_problem(401, "token-required");
    let refused = server.events("access_refused").await;
    assert_eq!(refused.len(), 2, "{refused:?}");
}

async fn leave_that_is_taken_back_counts_at_once(server: Server) {
    let billing = server.billing().await;
    allow(&server, true).await;
    let own = server.api_as(&billing, "secrets:self").await;
    own.get(OWN).await.expect(200);
    allow(&server, false).await;
    own.get(OWN).await.expect_forbidden("secrets:self");
    own.post(OWN, json!({})).await.expect_forbidden("secrets:self");
    server.token(&billing, FOR_OWN).await.expect_oauth_error(400, "invalid_target");
    allow(&server, true).await;
    own.post(OWN, json!({})).await.expect(201);
}

async fn its_own_secret_lives_no_longer_than_the_one_before(server: Server) {
    server.billing().await;
    allow(&server, true).await;
    let api = server.administrator().await;
    server.clock.advance(Duration::from_secs(1));
    let added = api.post("/clients/billing/secrets", json!({ "expires_in": 1_000 })).await.expect(201);
    let ends = Client::new("billing", added["client_secret"].as_str().unwrap());
    server.clock.advance(Duration::from_secs(100));
    let own = server.api_as(&ends, "secrets:self").await;
    for later in [json!({ "expires_in": 1_001 }), json!({ "expires_at": "2027-11-22T08:00:00Z" })] {
        own.post(OWN, later).await.expect_invalid("expires_at", "name an earlier time");
    }
    let rotated = own.post(OWN, json!({})).await.expect(201);
    assert_eq!(rotated["expires_at"], "2026-11-22T08:18:21Z", "a thousand seconds from now");
    // Nor by going on from one that was replaced, whose life may have been a longer one.
    let of_old = own.post(OWN, json!({ "secret_ids": [added["secret_id"]] })).await;
    of_old.expect_problem(409, "conflict");
    let of_both = json!({ "secret_ids": [added["secret_id"], rotated["secret_id"]], "expires_in": 1_001 });
    own.post(OWN, of_both).await.expect_invalid("expires_at", "name an earlier time");
    // When none counts that it could replace, it is over.
    for secret in api.get("/clients/billing/secrets").await.expect(200).as_array().unwrap() {
        let path = format!("/clients/billing/secrets/{}", secret["secret_id"].as_str().unwrap());
        api.delete(&path, None).await.expect(204);
    }
    let over = own.post(OWN, json!({})).await.expect_problem(409, "conflict");
    assert!(over["detail"].as_str().unwrap().contains("an administrator adds the first one"), "{over}");
}

async fn what_was_replaced_makes_no_successor(server: Server) {
    let old = server.billing().await;
    allow(&server, true).await;
    server.clock.advance(Duration::from_secs(1));
    let own = server.api_as(&old, "secrets:self").await;
    let new = own.post(OWN, json!({})).await.expect(201);
    let new = Client::new("billing", new["client_secret"].as_str().unwrap());
    server.token(&old, ASK).await.expect(200);
    server.token(&old, FOR_OWN).await.expect_oauth_error(400, "invalid_target");
    server.token(&new, FOR_OWN).await.expect(200);
}

async fn a_token_that_speaks_for_another_is_nobody_s_own(server: Server) {
    let billing = server.billing().await;
    allow(&server, true).await;
    let grants = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
    let gateway = json!({ "client_id": "gateway", "grant_types": grants, "may_rotate_own_secrets": true });
    let gateway = server.client(gateway).await;
    server
        .role(json!({ "name": "own", "permissions": [
        { "resource_server": "jeton", "permission": "secrets:self" },
    ] }))
        .await;
    let root = server.administrator().await;
    root.put("/clients/billing/roles/own").await.expect(204);
    server.operator("jeton", "gateway").await;
    server
        .exchange_rule(json!({
            "name": "pass", "caller": { "client": "gateway" }, "subject": { "client": "billing" },
            "resource_server": "jeton", "permissions": ["secrets:self"],
        }))
        .await;
    let subject = server.api_as(&billing, "secrets:self").await.token;
    let body = format!(
        "grant_type={}&subject_token={subject}&subject_token_type=urn:ietf:params:oauth:token-type:access_token\
         &resource=http://localhost:8080/api/v1&scope=secrets:self",
        grants[1]
    );
    let exchanged = server.token(&gateway, &body).await.expect(200);
    let exchanged = server.api_with(exchanged["access_token"].as_str().unwrap());
    let before = server.last_change().await;
    exchanged.get(OWN).await.expect_forbidden("secrets:self");
    exchanged.post(OWN, json!({})).await.expect_forbidden("secrets:self");
    assert_eq!(server.last_change().await, before);
}

async fn leave_to_rotate_makes_no_request_ambiguous(server: Server) {
    let billing = server.billing().await;
    allow(&server, true).await;
    assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], "orders:read");
    let implied = format!("{ASK}&scope=secrets:self");
    assert_eq!(server.token(&billing, &implied).await.expect(200)["scope"], "secrets:self");
    let bare = server.client(json!({ "client_id": "bare", "may_rotate_own_secrets": true })).await;
    server.token(&bare, ASK).await.expect_oauth_error(400, "invalid_target");
    server.api_as(&bare, "").await.get(OWN).await.expect(200);
    // What administrators are told agrees.
    let api = server.administrator().await;
    let tried = api.post("/clients/bare/dry-run", json!({ "scope": "secrets:self" })).await;
    assert_eq!(tried.expect(200)["token"]["scope"], "secrets:self", "{tried:?}");
    assert!(tried.body.contains("by its registration at 'jeton'"), "{tried:?}");
}

async fn a_role_that_gives_the_permission_is_not_enough(server: Server) {
    server
        .role(json!({ "name": "own", "permissions": [
        { "resource_server": "jeton", "permission": "secrets:self" },
    ] }))
        .await;
    let client = server.client(json!({ "client_id": "billing", "roles": ["own"] })).await;
    let own = server.api_as(&client, "secrets:self").await;
    let refused = own.post(OWN, json!({})).await.expect_forbidden("secrets:self");
    assert!(refused["detail"].as_str().unwrap().contains("may_rotate_own_secrets"), "{refused}");
    own.get(OWN).await.expect_forbidden("secrets:self");
}
