//! Who may write exchange rules and name operators hands out no permission of the API that they lack.

use serde_json::{Value, json};

use super::{PATH, cast, rule};
use crate::harness::{Answer, Api, Server, both_engines};

both_engines!(
    who_writes_rules_cannot_let_more_of_the_api_through,
    tokens_for_the_api_are_made_exchangeable_only_with_every_permission,
    an_operator_of_the_api_is_named_only_with_every_permission,
    what_a_rule_lets_a_role_have_counts_as_given_by_it,
    a_caller_and_an_operator_of_the_api_are_as_strong_as_what_they_reach,
    the_auditor_reads_rules_and_operators_and_writes_none,
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
fn refused(answer: &Answer, permission: &str, because: &str) {
    let body = answer.expect_forbidden(permission);
    assert_eq!(body["detail"], format!("this needs the permission {permission}: {because}"));
}

const HANDS_OUT: &str = "nobody can hand out a permission of this API that they do not have";
const OWN: [&str; 2] = ["exchange-rules:read", "exchange-rules:write"];

/// A rule of this name towards the API.
fn towards_api(name: &str, permissions: &[&str]) -> Value {
    let mut new = rule(name);
    new["resource_server"] = "jeton".into();
    new["permissions"] = permissions.into();
    new
}

async fn who_writes_rules_cannot_let_more_of_the_api_through(server: Server) {
    cast(&server).await;
    let smith = caller(&server, "smith", &OWN).await;
    smith.post("/exchange-rules", rule("plain")).await.expect(201);
    smith.post("/exchange-rules", towards_api("own", &OWN)).await.expect(201);
    let mut strong = towards_api("r", &["clients:write", "exchange-rules:read"]);
    strong["enabled"] = false.into();
    server.exchange_rule(strong).await;

    let before = server.last_change().await;
    let evil = towards_api("evil", &["exchange-rules:read", "roles:write"]);
    refused(&smith.post("/exchange-rules", evil).await, "roles:write", HANDS_OUT);
    let wider = json!({ "permissions": ["exchange-rules:read", "roles:write"] });
    refused(&smith.patch("/exchange-rules/own", 1, wider).await, "roles:write", HANDS_OUT);
    // Whoever it lets have them, when, and for how long is a way of handing out as well.
    for change in [
        json!({ "caller": { "client": "billing" } }),
        json!({ "subject": { "client": "billing" } }),
        json!({ "sources": ["orders"] }),
        json!({ "expires_at": "2030-01-01T00:00:00Z" }),
        json!({ "max_depth": 10 }),
        json!({ "mode": "impersonation" }),
        json!({ "enabled": true }),
    ] {
        refused(&smith.patch(PATH, 1, change).await, "clients:write", HANDS_OUT);
    }
    refused(&smith.post(&format!("{PATH}/enable"), Value::Null).await, "clients:write", HANDS_OUT);
    assert_eq!(server.last_change().await, before, "something was changed");
    assert_eq!(server.events("access_refused").await.len(), 10, "each is recorded");

    // Taking away is free, and what is left is theirs to give.
    let narrower = json!({ "permissions": ["exchange-rules:read"], "enabled": true });
    smith.patch(PATH, 1, narrower).await.expect_version(200, 2);
    smith.post(&format!("{PATH}/disable"), Value::Null).await.expect_version(200, 3);
    smith.delete(PATH, Some(3)).await.expect(204);
    server.exchange_rule(towards_api("r", &["clients:write"])).await;
    smith.post(&format!("{PATH}/disable"), Value::Null).await.expect_version(200, 2);
    smith.delete(PATH, Some(2)).await.expect(204);
}

async fn tokens_for_the_api_are_made_exchangeable_only_with_every_permission(server: Server) {
    cast(&server).await;
    let root = server.administrator().await;
    let smith = caller(&server, "smith", &OWN).await;
    smith.post("/exchange-rules", rule("r")).await.expect(201);
    let because = "only who has every permission of this API can say who exchanges its tokens";
    let mut evil = rule("evil");
    evil["sources"] = json!(["jeton"]);
    refused(&smith.post("/exchange-rules", evil.clone()).await, "administrators:read", because);
    refused(&smith.patch(PATH, 1, json!({ "sources": ["jeton"] })).await, "administrators:read", because);
    root.patch(PATH, 1, json!({ "sources": ["jeton"] })).await.expect_version(200, 2);
    root.post("/exchange-rules", evil).await.expect(201);
    smith.patch(PATH, 2, json!({ "sources": [] })).await.expect_version(200, 3);
}

async fn an_operator_of_the_api_is_named_only_with_every_permission(server: Server) {
    cast(&server).await;
    let root = server.administrator().await;
    let permissions: Vec<&str> = jeton::domain::builtin::PERMISSIONS
        .iter()
        .map(|(permission, _, _)| *permission)
        .filter(|permission| !matches!(*permission, "signing-keys:write" | "secrets:self"))
        .collect();
    let nearly = caller(&server, "nearly", &permissions).await;
    let path = "/resource-servers/jeton/operators/gateway";
    let before = server.last_change().await;
    let because = "only who has every permission of this API can say who operates it";
    refused(&nearly.put(path).await, "signing-keys:write", because);
    assert_eq!(server.last_change().await, before);
    nearly.put("/resource-servers/stock/operators/gateway").await.expect(204);
    root.put(path).await.expect(204);
    nearly.delete(path, None).await.expect(204);
    assert_eq!(root.listed("/resource-servers/jeton/operators", "client_id").await, [""; 0]);
}

/// Else whoever writes clients would become a caller of the rule by giving a client of theirs the role.
async fn what_a_rule_lets_a_role_have_counts_as_given_by_it(server: Server) {
    cast(&server).await;
    let keeper = caller(&server, "keeper", &["clients:read", "clients:write"]).await;
    server.role(json!({ "name": "exchanger" })).await;
    let path = "/clients/gateway/roles/exchanger";
    keeper.put(path).await.expect(204);
    keeper.delete(path, None).await.expect(204);
    let mut new = towards_api("r", &["clients:read", "roles:write"]);
    new["caller"] = json!({ "role": "exchanger" });
    server.exchange_rule(new).await;
    refused(&keeper.put(path).await, "roles:write", HANDS_OUT);
    let evil = json!({ "client_id": "evil", "roles": ["exchanger"] });
    refused(&keeper.post("/clients", evil).await, "roles:write", HANDS_OUT);
    server.administrator().await.put(path).await.expect(204);
    refused(&keeper.post("/clients/gateway/secrets", json!({})).await, "roles:write", HANDS_OUT);
    // A rule whose subject it is gives it nothing.
    keeper.put("/clients/gateway/roles/order-reader").await.expect(204);
}

async fn a_caller_and_an_operator_of_the_api_are_as_strong_as_what_they_reach(server: Server) {
    cast(&server).await;
    let keeper = caller(&server, "keeper", &["clients:read", "clients:write"]).await;
    server.exchange_rule(towards_api("r", &["roles:write"])).await;
    server.operator("jeton", "billing").await;
    for (client, lacking) in [("gateway", "roles:write"), ("billing", "administrators:read")] {
        let path = format!("/clients/{client}");
        refused(&keeper.post(&format!("{path}/secrets"), json!({})).await, lacking, HANDS_OUT);
        let widened = keeper.patch(&path, 1, json!({ "allowed_networks": [] })).await;
        let detail = widened.expect_forbidden(lacking)["detail"].to_string();
        assert!(detail.contains("you can only take away from it"), "{detail}");
        keeper.post(&format!("{path}/disable"), Value::Null).await.expect_version(200, 2);
        keeper.post(&format!("{path}/enable"), Value::Null).await.expect_forbidden(lacking);
    }
}

async fn the_auditor_reads_rules_and_operators_and_writes_none(server: Server) {
    cast(&server).await;
    server.exchange_rule(rule("r")).await;
    server.operator("stock", "gateway").await;
    let auditor = server.api_with(server.api_token("auditor").await);
    auditor.get(PATH).await.expect_version(200, 1);
    assert_eq!(auditor.listed("/exchange-rules", "name").await, ["r"]);
    assert_eq!(auditor.listed("/resource-servers/stock/operators", "client_id").await, ["gateway"]);
    let before = server.last_change().await;
    for answer in [
        auditor.post("/exchange-rules", rule("x")).await,
        auditor.patch(PATH, 1, json!({ "description": "x" })).await,
        auditor.post(&format!("{PATH}/disable"), Value::Null).await,
        auditor.post(&format!("{PATH}/enable"), Value::Null).await,
        auditor.delete(PATH, Some(1)).await,
    ] {
        answer.expect_forbidden("exchange-rules:write");
    }
    let path = "/resource-servers/stock/operators/gateway";
    auditor.put(path).await.expect_forbidden("resource-servers:write");
    auditor.delete(path, None).await.expect_forbidden("resource-servers:write");
    assert_eq!(server.last_change().await, before);
}
