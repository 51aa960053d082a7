//! Nobody hands out a permission of the API that they do not have.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Server, both_engines};

both_engines!(
    who_writes_clients_cannot_make_an_administrator,
    who_writes_clients_may_give_what_they_have_themselves,
    who_writes_roles_cannot_make_one_that_gives_more,
    a_narrowed_token_cannot_hand_out_what_it_leaves_out,
    who_writes_clients_may_only_take_away_from_an_administrator,
);

/// A caller with a role of its own that gives only these permissions of the API.
async fn caller<'a>(server: &'a Server, name: &str, permissions: &[&str]) -> Api<'a> {
    let permissions: Value = permissions
        .iter()
        .map(|permission| json!({ "resource_server": "jeton", "permission": permission }))
        .collect();
    server.role(json!({ "name": name, "permissions": permissions })).await;
    let client = server.client(json!({ "client_id": name, "roles": [name] })).await;
    server.api_as(&client, "").await
}

#[track_caller]
fn refused(answer: &Answer, permission: &str) {
    let body = answer.expect_forbidden(permission);
    let because = format!(
        "this needs the permission {permission}: \
         nobody can hand out a permission of this API that they do not have"
    );
    assert_eq!(body["detail"], because);
}

#[track_caller]
fn stronger(answer: &Answer, permission: &str) {
    let body = answer.expect_forbidden(permission);
    assert!(body["detail"].as_str().unwrap().contains("you can only take away from it"), "{body}");
}

/// Asserts that the refusals stand in the audit, each by this client for this permission.
async fn assert_recorded(server: &Server, client_id: &str, permissions: &[&str]) {
    let sql = "SELECT client_id FROM audit_events WHERE kind = 'access_refused' AND outcome = 'refused'";
    assert_eq!(server.database.texts(sql).await, vec![client_id; permissions.len()]);
    let events = server.events("access_refused").await;
    let mut recorded: Vec<_> = events.iter().map(|event| event["permission"].as_str().unwrap()).collect();
    recorded.sort_unstable();
    assert_eq!(recorded, permissions);
    for event in &events {
        assert_eq!(event["actor"]["type"], "client");
        assert_eq!(event["actor"]["client_id"], client_id);
        assert!(event["actor"]["jti"].is_string(), "names the token: {event}");
    }
}

async fn who_writes_clients_cannot_make_an_administrator(server: Server) {
    let root = server.administrator().await;
    let keeper = caller(&server, "keeper", &["clients:read", "clients:write"]).await;
    server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    server.client(json!({ "client_id": "plain" })).await;
    let before = server.last_change().await;

    let lacking = "administrators:read";
    let evil = |roles: Value| json!({ "client_id": "evil", "roles": roles });
    refused(&keeper.post("/clients", evil(json!(["administrator"]))).await, lacking);
    refused(&keeper.post("/clients", evil(json!(["keeper", "auditor"]))).await, lacking);
    refused(&keeper.put("/clients/plain/roles/administrator").await, lacking);
    refused(&keeper.put("/clients/keeper/roles/administrator").await, lacking);
    refused(&keeper.post("/clients/boss/secrets", json!({})).await, lacking);
    let chosen = json!({ "secret": "a secret that I know" });
    refused(&keeper.post("/clients/boss/secrets", chosen).await, lacking);

    assert_eq!(server.last_change().await, before, "something was changed");
    root.get("/clients/evil").await.expect_problem(404, "not-found");
    assert_eq!(root.get("/clients/plain/roles").await.expect(200), json!([]));
    assert_eq!(root.get("/clients/keeper/roles").await.expect(200), json!(["keeper"]));
    assert_eq!(root.get("/clients/boss/secrets").await.expect(200).as_array().unwrap().len(), 1);
    assert_recorded(&server, "keeper", &[lacking; 6]).await;
}

async fn who_writes_clients_may_give_what_they_have_themselves(server: Server) {
    server.billing().await;
    let keeper = caller(&server, "keeper", &["clients:read", "clients:write"]).await;
    let helper = json!({ "client_id": "helper", "roles": ["keeper", "order-reader"] });
    keeper.post("/clients", helper).await.expect(201);
    assert_eq!(keeper.get("/clients/helper/roles").await.expect(200), json!(["keeper", "order-reader"]));
    let helper = keeper.credentials("helper").await;
    server.api_as(&helper, "clients:write").await;
    assert_eq!(server.events("access_refused").await, Vec::<Value>::new());
}

async fn who_writes_roles_cannot_make_one_that_gives_more(server: Server) {
    server.billing().await;
    let root = server.administrator().await;
    let smith = caller(&server, "smith", &["roles:read", "roles:write"]).await;
    let before = server.last_change().await;
    let at = |server: &str, permission: &str| json!({ "resource_server": server, "permission": permission });

    let evil = json!({ "name": "evil", "permissions": [at("jeton", "clients:write")] });
    refused(&smith.post("/roles", evil).await, "clients:write");
    let wider = json!({ "permissions": [at("orders", "orders:read"), at("jeton", "clients:write")] });
    refused(&smith.patch("/roles/order-reader", 1, wider).await, "clients:write");
    let own = json!({ "permissions": [at("jeton", "roles:write"), at("jeton", "resource-servers:write")] });
    refused(&smith.patch("/roles/smith", 1, own).await, "resource-servers:write");

    assert_eq!(server.last_change().await, before, "something was changed");
    root.get("/roles/evil").await.expect_problem(404, "not-found");
    let role = root.get("/roles/order-reader").await.expect_version(200, 1);
    assert_eq!(role["permissions"], json!([at("orders", "orders:read")]));
    root.get("/roles/smith").await.expect_version(200, 1);
    assert_recorded(&server, "smith", &["clients:write", "clients:write", "resource-servers:write"]).await;

    // What it has itself, and other resource servers' permissions, it may give.
    let good =
        json!({ "name": "good", "permissions": [at("jeton", "roles:read"), at("orders", "orders:write")] });
    smith.post("/roles", good).await.expect(201);
}

async fn a_narrowed_token_cannot_hand_out_what_it_leaves_out(server: Server) {
    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    server.client(json!({ "client_id": "plain" })).await;
    let narrow = server.api_as(&boss, "clients:write").await;
    refused(&narrow.put("/clients/plain/roles/auditor").await, "administrators:read");
    refused(&narrow.post("/clients/boss/secrets", json!({})).await, "administrators:read");
    assert_recorded(&server, "boss", &["administrators:read"; 2]).await;
    server.api_as(&boss, "").await.put("/clients/plain/roles/auditor").await.expect(204);
}

async fn who_writes_clients_may_only_take_away_from_an_administrator(server: Server) {
    let keeper = caller(&server, "keeper", &["clients:read", "clients:write"]).await;
    server
        .client(json!({ "client_id": "boss", "roles": ["administrator"], "allowed_networks": ["10.0.0.1"] }))
        .await;
    let lacking = "administrators:read";
    for widening in [
        json!({ "allowed_networks": [] }),
        json!({ "expires_at": null }),
        json!({ "auth_methods": ["client_secret_post"] }),
    ] {
        stronger(&keeper.patch("/clients/boss", 1, widening).await, lacking);
    }
    keeper.post("/clients/boss/disable", Value::Null).await.expect_version(200, 2);
    stronger(&keeper.post("/clients/boss/enable", Value::Null).await, lacking);
    stronger(&keeper.patch("/clients/boss", 2, json!({ "enabled": true })).await, lacking);
    let boss = keeper.get("/clients/boss").await.expect_version(200, 2);
    assert_eq!((&boss["enabled"], &boss["allowed_networks"]), (&json!(false), &json!(["10.0.0.1/32"])));
    keeper
        .server
        .api("DELETE", "/clients/boss/roles/administrator", &keeper.token, &[], Value::Null)
        .await
        .expect(204);
    // Without that role there is nothing to widen any more.
    keeper.post("/clients/boss/enable", Value::Null).await.expect_version(200, 3);
    assert_recorded(&server, "keeper", &[lacking; 5]).await;
}
