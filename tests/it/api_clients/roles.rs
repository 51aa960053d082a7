//! A client's roles in the REST API, and their effect on its tokens.

use serde_json::json;

use crate::harness::{Server, both_engines};

both_engines!(
    roles_are_assigned_and_taken_away_any_number_of_times,
    an_unknown_role_is_not_found,
    an_assignment_counts_for_tokens_at_once,
    the_roles_of_a_new_client_are_checked_as_a_whole,
);

const ASK: &str = "grant_type=client_credentials";

async fn roles_are_assigned_and_taken_away_any_number_of_times(server: Server) {
    let api = server.administrator().await;
    server.client(json!({ "client_id": "x" })).await;
    for role in ["zebra", "Ant", "b:c.d_e-f"] {
        server.role(json!({ "name": role })).await;
        let path = format!("/clients/x/roles/{role}");
        let answer = api.put(&path).await;
        answer.expect(204);
        assert_eq!(answer.body, "");
        let after_first = server.last_change().await;
        api.put(&path).await.expect(204);
        assert_eq!(server.last_change().await, after_first, "giving it again changes nothing");
    }
    assert_eq!(api.get("/clients/x/roles").await.expect(200), json!(["Ant", "b:c.d_e-f", "zebra"]));
    api.delete("/clients/x/roles/zebra", None).await.expect(204);
    let after_first = server.last_change().await;
    api.delete("/clients/x/roles/zebra", None).await.expect(204);
    api.delete("/clients/x/roles/auditor", None).await.expect(204);
    assert_eq!(server.last_change().await, after_first, "taking it away again changes nothing");
    assert_eq!(api.get("/clients/x/roles").await.expect(200), json!(["Ant", "b:c.d_e-f"]));
    api.get("/clients/x").await.expect_version(200, 1);

    let mut actions: Vec<_> = server
        .events("changed")
        .await
        .iter()
        .filter(|event| event["target"] == "x" && event["actor"]["type"] == "client")
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    actions.sort();
    let assign = "client.role.assign";
    assert_eq!(actions, [assign, assign, assign, "client.role.unassign"], "recorded once each");
}

async fn an_unknown_role_is_not_found(server: Server) {
    let api = server.administrator().await;
    server.client(json!({ "client_id": "x" })).await;
    for answer in
        [api.put("/clients/x/roles/nobody").await, api.delete("/clients/x/roles/nobody", None).await]
    {
        assert_eq!(answer.expect_problem(404, "not-found")["detail"], "there is no role 'nobody'");
    }
    let answer = api.put("/clients/x/roles/no%20body").await;
    let detail = answer.expect_problem(400, "malformed")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("use 1 to 100 of A-Z a-z 0-9 . _ : -"), "{detail}");
}

async fn an_assignment_counts_for_tokens_at_once(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let give = json!([{ "resource_server": "orders", "permission": "orders:write" }]);
    server.role(json!({ "name": "order-writer", "permissions": give })).await;
    assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], "orders:read");

    api.put("/clients/billing/roles/order-writer").await.expect(204);
    let token = server.token(&billing, ASK).await.expect(200);
    assert_eq!(token["scope"], "orders:read orders:write");
    let (_, claims) = crate::token::verified(&server, token["access_token"].as_str().unwrap()).await;
    assert_eq!(claims["roles"], json!(["order-reader", "order-writer"]));

    api.delete("/clients/billing/roles/order-reader", None).await.expect(204);
    assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], "orders:write");
    let read = format!("{ASK}&scope=orders:read");
    server.token(&billing, &read).await.expect_oauth_error(400, "invalid_scope");

    api.delete("/clients/billing/roles/order-writer", None).await.expect(204);
    server.token(&billing, ASK).await.expect_oauth_error(400, "invalid_target");
}

async fn the_roles_of_a_new_client_are_checked_as_a_whole(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let new = |roles: [&str; 2]| json!({ "client_id": "x", "roles": roles });
    let answer = api.post("/clients", new(["order-reader", "nobody"])).await;
    assert_eq!(answer.expect_invalid("roles", "create the role first"), "there is no role 'nobody'");
    api.get("/clients/x").await.expect_problem(404, "not-found");
    api.post("/clients", new(["order-reader", "order-reader"])).await.expect(201);
    assert_eq!(api.get("/clients/x/roles").await.expect(200), json!(["order-reader"]));
}
