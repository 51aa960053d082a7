//! What an exchange rule names stays until the rule is gone or names something else.

use serde_json::json;

use super::{PATH, cast, rule};
use crate::harness::{Server, both_engines};

both_engines!(
    a_client_that_a_rule_names_is_not_removed,
    a_role_that_a_rule_names_is_not_removed,
    a_resource_server_that_a_rule_names_is_not_removed,
    a_permission_that_a_rule_lets_through_stays,
);

async fn a_client_that_a_rule_names_is_not_removed(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    for n in 1..=6 {
        api.post("/exchange-rules", rule(&format!("r-{n}"))).await.expect(201);
    }
    let because = |among: &str| {
        format!(
            "exchange rules name the client 'gateway' (among them {among}); \
             change or delete them first, or disable the client"
        )
    };
    let refused = api.delete("/clients/gateway", Some(1)).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], because("r-1, r-2, r-3, r-4, r-5"));
    api.get("/clients/gateway").await.expect_version(200, 1);
    let subject = json!({ "caller": { "client": "billing" }, "subject": { "client": "gateway" } });
    api.patch("/exchange-rules/r-6", 1, subject).await.expect(200);
    for n in 1..=5 {
        api.delete(&format!("/exchange-rules/r-{n}"), Some(1)).await.expect(204);
    }
    let refused = api.delete("/clients/gateway", Some(1)).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], because("r-6"));
    let other = json!({ "subject": { "role": "order-reader" } });
    api.patch("/exchange-rules/r-6", 2, other).await.expect(200);
    api.delete("/clients/gateway", Some(1)).await.expect(204);
}

async fn a_role_that_a_rule_names_is_not_removed(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    api.post("/exchange-rules", rule("r")).await.expect(201);
    let path = "/roles/order-reader";
    let refused = api.delete(path, Some(1)).await.expect_problem(409, "conflict");
    let clients =
        "clients still have the role 'order-reader' (among them billing); take it away from them first";
    assert_eq!(refused["detail"], clients);
    api.delete("/clients/billing/roles/order-reader", None).await.expect(204);
    let because = "exchange rules name the role 'order-reader' (among them r); change or delete them first";
    assert_eq!(api.delete(path, Some(1)).await.expect_problem(409, "conflict")["detail"], because);
    let caller = json!({ "caller": { "role": "order-reader" }, "subject": { "client": "billing" } });
    api.patch(PATH, 1, caller).await.expect(200);
    assert_eq!(api.delete(path, Some(1)).await.expect_problem(409, "conflict")["detail"], because);
    api.patch(PATH, 2, json!({ "caller": { "client": "gateway" } })).await.expect(200);
    api.delete(path, Some(1)).await.expect(204);
}

async fn a_resource_server_that_a_rule_names_is_not_removed(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    api.post("/resource-servers", json!({ "name": "shop", "identifier": "urn:shop" })).await.expect(201);
    let mut new = rule("r");
    new["sources"] = json!(["shop"]);
    api.post("/exchange-rules", new).await.expect(201);
    for name in ["stock", "shop"] {
        let path = format!("/resource-servers/{name}");
        let refused = api.delete(&path, Some(1)).await.expect_problem(409, "conflict");
        let because = format!(
            "exchange rules name the resource server '{name}' (among them r); \
             change or delete them first, or disable it"
        );
        assert_eq!(refused["detail"], because);
        api.get(&path).await.expect_version(200, 1);
    }
    api.patch(PATH, 1, json!({ "sources": [] })).await.expect(200);
    api.delete("/resource-servers/shop", Some(1)).await.expect(204);
    api.delete(PATH, Some(2)).await.expect(204);
    api.delete("/resource-servers/stock", Some(1)).await.expect(204);
}

async fn a_permission_that_a_rule_lets_through_stays(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    api.post("/exchange-rules", rule("r")).await.expect(201);
    let path = "/resource-servers/stock";
    let without = json!({ "permissions": [{ "permission": "stock:write" }] });
    let give = json!({
        "name": "stock-reader", "permissions": [{ "resource_server": "stock", "permission": "stock:read" }],
    });
    api.post("/roles", give).await.expect(201);
    let problem = api.patch(path, 1, without.clone()).await;
    let problem = problem.expect_invalid("permissions", "take it out of those roles first");
    assert_eq!(problem, "roles still give 'stock:read'");
    api.delete("/roles/stock-reader", Some(1)).await.expect(204);
    let problem = api.patch(path, 1, without.clone()).await;
    let problem = problem.expect_invalid("permissions", "take it out of those rules first");
    assert_eq!(problem, "exchange rules still let 'stock:read' through (among them r)");
    api.patch(PATH, 1, json!({ "permissions": ["stock:write"] })).await.expect(200);
    api.patch(path, 1, without).await.expect_version(200, 2);
}
