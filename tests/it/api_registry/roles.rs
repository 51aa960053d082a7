//! Roles in the REST API, and their effect on tokens.

use std::time::Duration;

use serde_json::{Value, json};

use jeton::domain::builtin::HeldBy;

use crate::harness::{Server, both_engines};

both_engines!(
    a_new_role_has_these_defaults,
    a_role_name_is_taken_once,
    each_wrong_field_of_a_role_is_named,
    an_unknown_role_is_not_found,
    a_change_counts_for_tokens_at_once,
    a_description_changes_alone,
    a_change_or_removal_needs_the_version_that_was_read,
    of_two_changes_at_a_time_one_wins,
    a_role_that_a_client_has_is_not_removed,
    built_in_roles_stay_as_they_are,
);

const ASK: &str = "grant_type=client_credentials";

fn at_orders(permissions: &[&str]) -> Value {
    permissions
        .iter()
        .map(|permission| json!({ "resource_server": "orders", "permission": permission }))
        .collect()
}

async fn a_new_role_has_these_defaults(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let made = api.post("/roles", json!({ "name": "x" })).await.expect_version(201, 1);
    let expected = json!({
        "name": "x", "description": "", "permissions": [], "builtin": false, "version": 1,
        "created_at": "2026-11-22T08:00:00Z", "updated_at": "2026-11-22T08:00:00Z",
    });
    assert_eq!(made, expected);
    assert_eq!(api.get("/roles/x").await.expect_version(200, 1), made);

    let new = json!({
        "name": "Team:a.b_c-1", "description": "é\n🦀",
        "permissions": at_orders(&["orders:read", "orders:write"]),
    });
    let made = api.post("/roles", new.clone()).await.expect_version(201, 1);
    for member in ["name", "description", "permissions"] {
        assert_eq!(made[member], new[member], "{member}");
    }
    assert_eq!(api.get("/roles/Team:a.b_c-1").await.expect_version(200, 1), made);
    assert_eq!(api.get("/roles?q=team").await.expect(200), json!({ "items": [made] }));
}

async fn a_role_name_is_taken_once(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    for name in ["order-reader", "administrator"] {
        let refused = api.post("/roles", json!({ "name": name })).await.expect_problem(409, "conflict");
        assert_eq!(refused["detail"], format!("a role '{name}' exists already"));
    }
    let kept = api.get("/roles/order-reader").await.expect_version(200, 1);
    assert_eq!(kept["permissions"], at_orders(&["orders:read"]));
    api.post("/roles", json!({ "name": "Administrator" })).await.expect_version(201, 1);
}

async fn each_wrong_field_of_a_role_is_named(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let made = api.post("/roles", json!({ "name": "x" })).await.expect_version(201, 1);
    let before = server.last_change().await;
    let at =
        |server: &str, permission: &str| json!([{ "resource_server": server, "permission": permission }]);
    let many: Value = vec![at("orders", "orders:read")[0].clone(); 1_001].into();
    let schema = "openapi.yaml has the form of every field";
    let table = [
        ("description", json!("d".repeat(1_001)), "description", "use at most 1000 printable characters"),
        ("description", json!("a\0b"), "description", "printable"),
        ("permissions", at("nowhere", "orders:read"), "permissions", "register it first"),
        ("permissions", at("orders", "orders:none"), "permissions", "add it to the resource server first"),
        ("permissions", at("jeton", "orders:read"), "permissions", "add it to the resource server first"),
        ("permissions", many, "permissions", "use at most 1000"),
        ("permissions", at("no where", "a"), "permissions[0].resource_server", "use 1 to 100 of"),
        ("permissions", at("orders", "a b"), "permissions[0].permission", "use 1 to 200 printable"),
        ("permissions", json!(["orders:read"]), "permissions[0]", schema),
        ("permissions", json!([{ "permission": "orders:read" }]), "permissions[0].resource_server", schema),
    ];
    for (member, value, field, fix) in table {
        api.patch("/roles/x", 1, json!({ member: value })).await.expect_invalid(field, fix);
        api.post("/roles", json!({ "name": "y", member: value })).await.expect_invalid(field, fix);
    }
    let unknown =
        api.post("/roles", json!({ "name": "y", "permissions": at("orders", "orders:none") })).await;
    let problem = unknown.expect_invalid("permissions", "");
    assert_eq!(problem, "'orders' defines no permission 'orders:none'");
    let unknown = api.post("/roles", json!({ "name": "y", "permissions": at("nowhere", "a") })).await;
    assert_eq!(unknown.expect_invalid("permissions", ""), "there is no resource server 'nowhere'");
    let long = "n".repeat(101);
    for bad in ["", "-a", "a b", "a/b", "é", "a\0", &long] {
        api.post("/roles", json!({ "name": bad })).await.expect_invalid("name", "use 1 to 100 of");
    }
    assert_eq!(server.last_change().await, before);
    assert_eq!(api.get("/roles/x").await.expect_version(200, 1), made);
    api.get("/roles/y").await.expect_problem(404, "not-found");
    api.post("/roles", json!({ "name": &long[1..] })).await.expect(201);
}

async fn an_unknown_role_is_not_found(server: Server) {
    let api = server.administrator().await;
    for answer in [
        api.get("/roles/nobody").await,
        api.patch("/roles/nobody", 1, json!({})).await,
        api.delete("/roles/nobody", Some(1)).await,
    ] {
        assert_eq!(answer.expect_problem(404, "not-found")["detail"], "there is no role 'nobody'");
    }
}

async fn a_change_counts_for_tokens_at_once(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let steps: [&[&str]; 3] = [&["orders:read", "orders:write"], &["orders:write"], &["orders:read"]];
    for (step, version) in steps.into_iter().zip(1_i64..) {
        server.clock.advance(Duration::from_secs(1));
        let change = json!({ "permissions": at_orders(step) });
        let changed =
            api.patch("/roles/order-reader", version, change).await.expect_version(200, version + 1);
        assert_eq!(changed["permissions"], at_orders(step));
        assert_eq!(changed["updated_at"], format!("2026-11-22T08:00:{version:02}Z"));
        assert_eq!(changed["created_at"], "2026-11-22T08:00:00Z");
        assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], step.join(" "));
    }
    let write = format!("{ASK}&scope=orders:write");
    server.token(&billing, &write).await.expect_oauth_error(400, "invalid_scope");
    api.patch("/roles/order-reader", 4, json!({ "permissions": [] })).await.expect_version(200, 5);
    server.token(&billing, ASK).await.expect_oauth_error(400, "invalid_target");
}

async fn a_description_changes_alone(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let mut expected = api.get("/roles/order-reader").await.expect_version(200, 1);
    expected["description"] = "Reads".into();
    expected["version"] = 2.into();
    let changed = api.patch("/roles/order-reader", 1, json!({ "description": "Reads" })).await;
    assert_eq!(changed.expect_version(200, 2), expected);
    expected["version"] = 3.into();
    assert_eq!(api.patch("/roles/order-reader", 2, json!({})).await.expect_version(200, 3), expected);
    assert_eq!(api.get("/roles/order-reader").await.expect_version(200, 3), expected);
    assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], "orders:read");
}

async fn a_change_or_removal_needs_the_version_that_was_read(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let path = "/roles/x";
    let new = json!({ "name": "x", "permissions": at_orders(&["orders:read"]) });
    let made = api.post("/roles", new).await.expect_version(201, 1);
    let body = json!({ "description": "new", "permissions": at_orders(&["orders:write"]) });
    let required = server.api("PATCH", path, &api.token, &[], body.clone()).await;
    required.expect_problem(428, "precondition-required");
    api.delete(path, None).await.expect_problem(428, "precondition-required");
    for version in [0, 2, i64::MAX] {
        api.patch(path, version, body.clone()).await.expect_problem(412, "stale");
        api.delete(path, Some(version)).await.expect_problem(412, "stale");
    }
    for tag in ["If-Match: 1", "If-Match: *", "If-Match: W/\"1\""] {
        let answer = server.api("PATCH", path, &api.token, &[tag], body.clone()).await;
        answer.expect_problem(400, "malformed");
        server.api("DELETE", path, &api.token, &[tag], Value::Null).await.expect_problem(400, "malformed");
    }
    assert_eq!(api.get(path).await.expect_version(200, 1), made);
    api.patch(path, 1, body).await.expect_version(200, 2);
    api.delete(path, Some(1)).await.expect_problem(412, "stale");
    api.delete(path, Some(2)).await.expect(204);
    api.get(path).await.expect_problem(404, "not-found");
}

async fn of_two_changes_at_a_time_one_wins(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let path = "/roles/order-reader";
    let change =
        |permission: &str| json!({ "description": permission, "permissions": at_orders(&[permission]) });
    for version in 1..6 {
        let (read, write) = tokio::join!(
            api.patch(path, version, change("orders:read")),
            api.patch(path, version, change("orders:write")),
        );
        let (won, lost, permission) =
            if read.status == 200 { (read, write, "orders:read") } else { (write, read, "orders:write") };
        won.expect_version(200, version + 1);
        lost.expect_problem(412, "stale");
        let now = api.get(path).await.expect_version(200, version + 1);
        assert_eq!(now["permissions"], at_orders(&[permission]), "and none of the other");
        assert_eq!(server.token(&billing, ASK).await.expect(200)["scope"], permission);
    }
}

async fn a_role_that_a_client_has_is_not_removed(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let path = "/roles/order-reader";
    let refused = api.delete(path, Some(1)).await.expect_problem(409, "conflict");
    assert_eq!(
        refused["detail"],
        "clients still have the role 'order-reader' (among them billing); take it away from them first"
    );
    for n in 1..=5 {
        server.client(json!({ "client_id": format!("c-{n}"), "roles": ["order-reader"] })).await;
    }
    let refused = api.delete(path, Some(1)).await.expect_problem(409, "conflict");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("(among them billing, c-1, c-2, c-3, c-4)"), "{detail}");
    server.token(&billing, ASK).await.expect(200);

    for client in ["billing", "c-1", "c-2", "c-3", "c-4"] {
        api.delete(&format!("/clients/{client}/roles/order-reader"), None).await.expect(204);
    }
    api.delete("/clients/c-5", Some(1)).await.expect(204);
    let answer = api.delete(path, Some(1)).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    api.get(path).await.expect_problem(404, "not-found");
    // A new one of the same name belongs to nobody.
    let new = json!({ "name": "order-reader", "permissions": at_orders(&["orders:read"]) });
    api.post("/roles", new).await.expect_version(201, 1);
    assert_eq!(api.get("/clients/billing/roles").await.expect(200), json!([]));
    server.token(&billing, ASK).await.expect_oauth_error(400, "invalid_target");
}

async fn built_in_roles_stay_as_they_are(server: Server) {
    let api = server.administrator().await;
    for name in ["administrator", "auditor"] {
        let path = format!("/roles/{name}");
        let before = api.get(&path).await.expect_version(200, 1);
        assert_eq!(before["builtin"], true);
        let given: Vec<_> = before["permissions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|given| (given["resource_server"].as_str().unwrap(), given["permission"].as_str().unwrap()))
            .collect();
        let mut expected: Vec<_> = jeton::domain::builtin::PERMISSIONS
            .iter()
            .filter(|(_, _, held)| match held {
                HeldBy::Readers => true,
                HeldBy::Administrators => name == "administrator",
                HeldBy::Nobody => false,
            })
            .map(|(permission, _, _)| ("jeton", *permission))
            .collect();
        expected.sort_unstable();
        assert_eq!(given, expected);
        let because = format!("the role '{name}' is built in and cannot be changed or removed");
        for change in [json!({}), json!({ "description": "x" }), json!({ "permissions": [] })] {
            let refused = api.patch(&path, 1, change).await.expect_problem(409, "conflict");
            assert_eq!(refused["detail"], because);
        }
        assert_eq!(api.delete(&path, Some(1)).await.expect_problem(409, "conflict")["detail"], because);
        assert_eq!(api.get(&path).await.expect_version(200, 1), before);
    }
}
