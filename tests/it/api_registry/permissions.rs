//! The permissions of a resource server: replaced as a whole, but never taken from under a role.

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};

both_engines!(
    permissions_are_replaced_as_a_whole,
    a_permission_that_a_role_gives_stays,
    a_permission_of_the_same_name_elsewhere_is_another_one,
    a_new_permission_is_granted_by_no_role,
);

const PATH: &str = "/resource-servers/orders";
const ASK: &str = "grant_type=client_credentials";

fn permissions(list: &[(&str, &str)]) -> Value {
    list.iter()
        .map(|(permission, description)| json!({ "permission": permission, "description": description }))
        .collect()
}

async fn permissions_are_replaced_as_a_whole(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let steps = [
        permissions(&[("orders:delete", "new"), ("orders:read", ""), ("orders:write", "")]),
        permissions(&[("orders:delete", "new"), ("orders:read", "Read orders"), ("orders:write", "")]),
        permissions(&[("orders:read", "Read orders")]),
        permissions(&[("orders:a", ""), ("orders:b", ""), ("orders:read", "")]),
    ];
    for (step, version) in steps.into_iter().zip(1_i64..) {
        let changed = api.patch(PATH, version, json!({ "permissions": step })).await;
        assert_eq!(changed.expect_version(200, version + 1)["permissions"], step);
        assert_eq!(api.get(PATH).await.expect_version(200, version + 1)["permissions"], step);
    }
    let kept = api.patch(PATH, 5, json!({ "description": "x" })).await.expect_version(200, 6);
    assert_eq!(kept["permissions"].as_array().unwrap().len(), 3, "absent stays");
    assert_eq!(kept["identifier"], "https://orders.example");
}

async fn a_permission_that_a_role_gives_stays(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let before = api.get(PATH).await.expect_version(200, 1);
    for without in [permissions(&[]), permissions(&[("orders:write", "changed"), ("orders:new", "")])] {
        let change = json!({ "permissions": without, "description": "changed" });
        let answer = api.patch(PATH, 1, change).await;
        let problem = answer.expect_invalid("permissions", "take it out of those roles first");
        assert_eq!(problem, "roles still give 'orders:read'");
        assert_eq!(api.get(PATH).await.expect_version(200, 1), before, "none of it was done");
    }
    server.token(&billing, ASK).await.expect(200);
    api.patch("/roles/order-reader", 1, json!({ "permissions": [] })).await.expect(200);
    api.patch(PATH, 1, json!({ "permissions": [] })).await.expect_version(200, 2);
}

async fn a_permission_of_the_same_name_elsewhere_is_another_one(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let same = permissions(&[("orders:read", "")]);
    let other = json!({ "name": "other", "identifier": "urn:other", "permissions": same });
    api.post("/resource-servers", other).await.expect(201);
    let named = format!("{ASK}&audience=urn:other&scope=orders:read");
    server.token(&billing, &named).await.expect_oauth_error(400, "invalid_target");
    api.patch("/resource-servers/other", 1, json!({ "permissions": [] })).await.expect_version(200, 2);
    assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], "orders:read");
}

async fn a_new_permission_is_granted_by_no_role(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let more = permissions(&[("orders:delete", ""), ("orders:read", ""), ("orders:write", "")]);
    api.patch(PATH, 1, json!({ "permissions": more })).await.expect(200);
    let ask = format!("{ASK}&scope=orders:delete");
    server.token(&billing, &ask).await.expect_oauth_error(400, "invalid_scope");
    let give = json!({ "permissions": [{ "resource_server": "orders", "permission": "orders:delete" }] });
    api.patch("/roles/order-reader", 1, give).await.expect_version(200, 2);
    assert_eq!(server.token(&billing, &ask).await.expect(200)["scope"], "orders:delete");
}
