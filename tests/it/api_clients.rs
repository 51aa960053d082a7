//! Clients in the REST API: registering, reading, disabling, deleting.

mod expiry;
mod fields;
mod imported;
mod lists;
mod own_secrets;
mod roles;
mod rotation;
mod secrets;
mod updates;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Server, both_engines, encoded};

both_engines!(
    a_new_client_has_these_defaults,
    a_new_client_keeps_all_that_was_said_of_it,
    a_client_id_is_taken_once,
    the_same_client_is_registered_once_by_many_at_a_time,
    some_texts_are_no_client_ids,
    any_client_id_works_in_every_operation,
    an_unknown_client_is_not_found,
    disabling_and_enabling_need_no_etag,
    a_disabled_client_gets_no_token_and_opens_nothing,
    a_client_is_deleted_with_its_secrets_and_roles,
    a_stale_delete_removes_nothing,
);

/// What an answer says of a client that was registered with its identifier alone.
fn plain(client_id: &str) -> Value {
    json!({
        "client_id": client_id, "kind": "service", "description": "", "owner": null, "labels": {},
        "enabled": true, "expires_at": null, "default_resource_server": null,
        "grant_types": ["client_credentials"],
        "auth_methods": ["client_secret_basic", "client_secret_post"],
        "allowed_networks": [], "may_act": null, "token_binding": "optional",
        "may_rotate_own_secrets": false, "jwks_uri": null, "assertion_type_required": false,
        "legacy_assertion_audience": false, "tls_client_auth_subject": null, "version": 1,
        "created_at": "2026-11-22T08:00:00Z", "updated_at": "2026-11-22T08:00:00Z",
    })
}

async fn a_new_client_has_these_defaults(server: Server) {
    let api = server.administrator().await;
    let made = api.post("/clients", json!({ "client_id": "billing" })).await.expect_version(201, 1);
    assert_eq!(made, plain("billing"), "and nothing else: no secret, no database id");
    assert_eq!(api.get("/clients/billing").await.expect_version(200, 1), made);
    assert_eq!(api.get("/clients/billing/roles").await.expect(200), json!([]));
    assert_eq!(api.get("/clients/billing/secrets").await.expect(200), json!([]));
}

async fn a_new_client_keeps_all_that_was_said_of_it(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let new = json!({
        "client_id": "robot", "kind": "agent", "description": "Sends é\nand 🦀", "owner": "team-finance",
        "labels": { "team": "finance", "k8s.io/name": "a=b c" }, "expires_at": "2027-01-01T02:00:00.5+02:00",
        "default_resource_server": "orders", "grant_types": ["client_credentials"],
        "auth_methods": ["client_secret_post"],
        "allowed_networks": ["10.1.2.3/8", "192.0.2.7", "2001:db8::1/32"], "roles": ["order-reader"],
        "may_act": "spiffe://prod/gateway", "token_binding": "dpop", "may_rotate_own_secrets": true,
        "jwks_uri": "https://robot.example/jwks.json", "assertion_type_required": true,
        "legacy_assertion_audience": true,
    });
    let mut expected = new.clone();
    expected.as_object_mut().unwrap().remove("roles");
    expected["expires_at"] = "2027-01-01T00:00:00.5Z".into();
    expected["allowed_networks"] = json!(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    expected["enabled"] = true.into();
    expected["tls_client_auth_subject"] = Value::Null;
    expected["version"] = 1.into();
    expected["created_at"] = "2026-11-22T08:00:00Z".into();
    expected["updated_at"] = "2026-11-22T08:00:00Z".into();
    assert_eq!(api.post("/clients", new).await.expect_version(201, 1), expected);
    assert_eq!(api.get("/clients/robot").await.expect_version(200, 1), expected);
    assert_eq!(api.get("/clients/robot/roles").await.expect(200), json!(["order-reader"]));
    let listed = api.get("/clients?q=robot").await.expect(200);
    assert_eq!(
        listed,
        json!({ "items": [expected] }),
        "a list shows the same, and no cursor on its last page"
    );
}

async fn a_client_id_is_taken_once(server: Server) {
    let api = server.administrator().await;
    api.post("/clients", json!({ "client_id": "x", "owner": "first" })).await.expect(201);
    let answer = api.post("/clients", json!({ "client_id": "x", "owner": "second" })).await;
    assert_eq!(answer.expect_problem(409, "conflict")["detail"], "a client 'x' is registered already");
    assert_eq!(api.get("/clients/x").await.expect_version(200, 1)["owner"], "first");
    // Identifiers compare character by character.
    api.post("/clients", json!({ "client_id": "X" })).await.expect(201);
}

async fn the_same_client_is_registered_once_by_many_at_a_time(server: Server) {
    let api = server.administrator().await;
    let create = || api.post("/clients", json!({ "client_id": "x" }));
    let answers = tokio::join!(create(), create(), create(), create());
    let mut statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
}

async fn some_texts_are_no_client_ids(server: Server) {
    let api = server.administrator().await;
    let before = server.last_change().await;
    let long = "x".repeat(256);
    for bad in
        ["", "self", ".", "..", "a b", " a", "a ", "a\tb", "a\u{a0}b", "a\nb", "a\0b", "a\u{7f}b", &long]
    {
        let answer = api.post("/clients", json!({ "client_id": bad })).await;
        let problem = answer.expect_invalid("client_id", "use 1 to 255 printable characters");
        assert!(problem.contains("is not allowed"), "{answer:?}");
        if !bad.is_empty() && bad != "." && bad != ".." {
            let answer = api.get(&format!("/clients/{}", encoded(bad))).await;
            let detail = answer.expect_problem(400, "malformed")["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("use 1 to 255 printable characters"), "{answer:?}");
        }
    }
    assert_eq!(server.last_change().await, before);
    api.post("/clients", json!({ "client_id": "é".repeat(255) })).await.expect(201);
}

async fn any_client_id_works_in_every_operation(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    for id in ["spiffe://prod/ns/a", "a:b%c+dé", "a%2Fb", "?a=b#c", "a/../b", "🦀;x", "%00"] {
        let path = format!("/clients/{}", encoded(id));
        assert_eq!(api.post("/clients", json!({ "client_id": id })).await.expect_version(201, 1), plain(id));
        assert_eq!(api.get(&path).await.expect_version(200, 1)["client_id"], id);
        assert_eq!(api.listed(&format!("/clients?q={}", encoded(id)), "client_id").await, [id]);
        api.patch(&path, 1, json!({ "owner": "o" })).await.expect_version(200, 2);
        let off = api.post(&format!("{path}/disable"), Value::Null).await.expect_version(200, 3);
        assert_eq!((&off["client_id"], &off["enabled"]), (&json!(id), &json!(false)));
        api.post(&format!("{path}/enable"), Value::Null).await.expect_version(200, 4);
        api.put(&format!("{path}/roles/order-reader")).await.expect(204);
        assert_eq!(api.get(&format!("{path}/roles")).await.expect(200), json!(["order-reader"]));
        let client = api.credentials(id).await;
        let token = server.token(&client, "grant_type=client_credentials").await.expect(200);
        let (_, claims) = crate::token::verified(&server, token["access_token"].as_str().unwrap()).await;
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(id), &json!(id)));
        let secrets = api.get(&format!("{path}/secrets")).await.expect(200);
        let secret_id = secrets[0]["secret_id"].as_str().unwrap();
        api.delete(&format!("{path}/secrets/{secret_id}"), None).await.expect(204);
        api.delete(&format!("{path}/roles/order-reader"), None).await.expect(204);
        api.delete(&path, Some(4)).await.expect(204);
        api.get(&path).await.expect_problem(404, "not-found");
    }
}

async fn an_unknown_client_is_not_found(server: Server) {
    let api = server.administrator().await;
    let answers = [
        api.get("/clients/nobody").await,
        api.patch("/clients/nobody", 1, json!({})).await,
        api.delete("/clients/nobody", Some(1)).await,
        api.post("/clients/nobody/disable", Value::Null).await,
        api.post("/clients/nobody/enable", Value::Null).await,
        api.get("/clients/nobody/secrets").await,
        api.post("/clients/nobody/secrets", json!({})).await,
        api.delete("/clients/nobody/secrets/x", None).await,
        api.get("/clients/nobody/roles").await,
        api.put("/clients/nobody/roles/auditor").await,
        api.delete("/clients/nobody/roles/auditor", None).await,
    ];
    for answer in answers {
        assert_eq!(answer.expect_problem(404, "not-found")["detail"], "there is no client 'nobody'");
    }
}

async fn disabling_and_enabling_need_no_etag(server: Server) {
    let api = server.administrator().await;
    api.post("/clients", json!({ "client_id": "x" })).await.expect(201);
    server.clock.advance(Duration::from_secs(10));
    let on = api.post("/clients/x/enable", Value::Null).await.expect_version(200, 1);
    assert_eq!(on, plain("x"), "it was on, so nothing changes");
    let off = api.post("/clients/x/disable", Value::Null).await.expect_version(200, 2);
    let mut expected = plain("x");
    expected["enabled"] = false.into();
    expected["version"] = 2.into();
    expected["updated_at"] = "2026-11-22T08:00:10Z".into();
    assert_eq!(off, expected);
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(api.post("/clients/x/disable", Value::Null).await.expect_version(200, 2), expected);
    // Whatever a stale If-Match says, an emergency does not wait.
    let tag = ["If-Match: \"1\""];
    let on = server.api("POST", "/clients/x/enable", &api.token, &tag, Value::Null).await;
    assert_eq!(on.expect_version(200, 3)["enabled"], true);
    assert_eq!(api.get("/clients/x").await.expect_version(200, 3)["enabled"], true);
}

async fn a_disabled_client_gets_no_token_and_opens_nothing(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let ask = "grant_type=client_credentials";
    server.token(&billing, ask).await.expect(200);
    api.post("/clients/billing/disable", Value::Null).await.expect(200);
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
    api.post("/clients/billing/enable", Value::Null).await.expect(200);
    server.token(&billing, ask).await.expect(200);
    api.patch("/clients/billing", 3, json!({ "enabled": false })).await.expect_version(200, 4);
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
}

async fn a_client_is_deleted_with_its_secrets_and_roles(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let ask = "grant_type=client_credentials";
    server.token(&billing, ask).await.expect(200);
    let answer = api.delete("/clients/billing", Some(1)).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    for path in ["/clients/billing", "/clients/billing/secrets", "/clients/billing/roles"] {
        api.get(path).await.expect_problem(404, "not-found");
    }
    api.delete("/clients/billing", Some(1)).await.expect_problem(404, "not-found");
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");

    // A new client of the same name has nothing of the old one.
    api.post("/clients", json!({ "client_id": "billing" })).await.expect_version(201, 1);
    assert_eq!(api.get("/clients/billing/secrets").await.expect(200), json!([]));
    assert_eq!(api.get("/clients/billing/roles").await.expect(200), json!([]));
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
}

async fn a_stale_delete_removes_nothing(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    api.patch("/clients/billing", 1, json!({ "owner": "o" })).await.expect_version(200, 2);
    api.delete("/clients/billing", Some(1)).await.expect_problem(412, "stale");
    let required = api.delete("/clients/billing", None).await.expect_problem(428, "precondition-required");
    assert!(required["detail"].as_str().unwrap().starts_with("send If-Match with the ETag that you read"));
    api.get("/clients/billing").await.expect_version(200, 2);
    server.token(&billing, "grant_type=client_credentials").await.expect(200);
    api.delete("/clients/billing", Some(2)).await.expect(204);
}
