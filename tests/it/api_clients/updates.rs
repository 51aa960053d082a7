//! Changes of a client: what is absent stays, `null` takes away (RFC 7396), and nobody's change is lost
//! (`ETag` and `If-Match`, RFC 9110 §13.1.1).

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Api, Server, both_engines};

both_engines!(
    each_field_changes_alone,
    null_takes_away_and_absent_stays,
    a_change_of_nothing_keeps_everything,
    a_change_needs_the_version_that_was_read,
    a_malformed_if_match_is_refused,
    two_if_match_lines_are_refused,
    an_etag_is_compared_as_it_was_handed_out,
    of_two_changes_at_a_time_one_wins,
    a_shorter_end_counts_for_tokens_at_once,
    other_methods_and_networks_count_for_tokens_at_once,
);

async fn each_field_changes_alone(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let mut expected = api.post("/clients", json!({ "client_id": "x" })).await.expect_version(201, 1);
    let changes = [
        ("kind", json!("machine")),
        ("description", json!("new")),
        ("owner", json!("me")),
        ("labels", json!({ "a": "1", "b": "2" })),
        ("labels", json!({ "c": "3" })),
        ("enabled", json!(false)),
        ("enabled", json!(true)),
        ("expires_at", json!("2030-01-01T00:00:00Z")),
        ("default_resource_server", json!("orders")),
        ("grant_types", json!(["client_credentials"])),
        ("auth_methods", json!(["client_secret_post"])),
        ("allowed_networks", json!(["10.0.0.0/8", "fd00::/8"])),
        ("allowed_networks", json!([])),
        ("may_act", json!("gateway")),
        ("token_binding", json!("dpop")),
        ("token_binding", json!("optional")),
        ("labels", json!({})),
        ("description", json!("")),
    ];
    let mut version = 1;
    for (member, value) in changes {
        server.clock.advance(Duration::from_secs(1));
        expected[member] = value.clone();
        expected["version"] = (version + 1).into();
        expected["updated_at"] = format!("2026-11-22T08:00:{version:02}Z").into();
        let answer = api.patch("/clients/x", version, json!({ member: value })).await;
        version += 1;
        assert_eq!(answer.expect_version(200, version), expected, "{member}");
        assert_eq!(api.get("/clients/x").await.expect_version(200, version), expected, "{member}");
    }
}

async fn null_takes_away_and_absent_stays(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let new = json!({
        "client_id": "x", "owner": "me", "expires_at": "2030-01-01T00:00:00Z", "description": "kept",
        "default_resource_server": "orders", "may_act": "gateway",
    });
    let mut expected = api.post("/clients", new).await.expect_version(201, 1);
    for (member, version) in
        ["owner", "expires_at", "default_resource_server", "may_act"].into_iter().zip(1..)
    {
        expected[member] = Value::Null;
        expected["version"] = (version + 1).into();
        let answer = api.patch("/clients/x", version, json!({ member: null })).await;
        assert_eq!(answer.expect_version(200, version + 1), expected, "{member}");
    }
    assert_eq!(api.get("/clients/x").await.expect_version(200, 5), expected);
}

async fn a_change_of_nothing_keeps_everything(server: Server) {
    let api = server.administrator().await;
    let new = json!({ "client_id": "x", "kind": "job", "owner": "me", "labels": { "a": "b" } });
    let mut expected = api.post("/clients", new).await.expect_version(201, 1);
    expected["version"] = 2.into();
    assert_eq!(api.patch("/clients/x", 1, json!({})).await.expect_version(200, 2), expected);
}

async fn a_change_needs_the_version_that_was_read(server: Server) {
    let api = server.administrator().await;
    api.post("/clients", json!({ "client_id": "x" })).await.expect_version(201, 1);
    let body = json!({ "owner": "me" });
    let answer = server.api("PATCH", "/clients/x", &api.token, &[], body.clone()).await;
    let detail = answer.expect_problem(428, "precondition-required")["detail"].to_string();
    assert!(detail.contains("send If-Match with the ETag that you read"), "{detail}");
    for version in [0, 2, -1, i64::MAX] {
        let detail = api.patch("/clients/x", version, body.clone()).await.expect_problem(412, "stale");
        assert!(detail["detail"].as_str().unwrap().contains("read it again, then repeat the change"));
    }
    assert_eq!(api.get("/clients/x").await.expect_version(200, 1)["owner"], Value::Null);
    api.patch("/clients/x", 1, body).await.expect_version(200, 2);
    api.patch("/clients/x", 1, json!({ "owner": "other" })).await.expect_problem(412, "stale");
    assert_eq!(api.get("/clients/x").await.expect_version(200, 2)["owner"], "me");
    // Disabling counts as a change.
    api.post("/clients/x/disable", Value::Null).await.expect_version(200, 3);
    api.patch("/clients/x", 2, json!({ "enabled": true })).await.expect_problem(412, "stale");
    assert_eq!(api.get("/clients/x").await.expect_version(200, 3)["enabled"], false);
}

/// Tries a change and a removal with these header lines, each on a client of its own, and answers the
/// statuses. A refusal must leave the client as it was.
async fn with_if_match(api: &Api<'_>, lines: &[&str]) -> [u16; 2] {
    let mut statuses = [0; 2];
    let requests = [("PATCH", json!({ "owner": "me" })), ("DELETE", Value::Null)];
    for (status, (method, body)) in statuses.iter_mut().zip(requests) {
        let id = format!("x-{}", rand::random::<u32>());
        api.post("/clients", json!({ "client_id": id })).await.expect_version(201, 1);
        let path = format!("/clients/{id}");
        let answer = api.server.api(method, &path, &api.token, lines, body).await;
        if answer.status == 400 {
            let problem = answer.expect_problem(400, "malformed");
            assert_eq!(problem["detail"], "If-Match must be one ETag as it was read, quotes included");
        }
        if answer.status >= 400 {
            assert_eq!(api.get(&path).await.expect_version(200, 1)["owner"], Value::Null, "{lines:?}");
        }
        *status = answer.status;
    }
    statuses
}

async fn a_malformed_if_match_is_refused(server: Server) {
    let api = server.administrator().await;
    assert_eq!(with_if_match(&api, &["if-match:  \"1\" "]).await, [200, 204], "the form that is right");
    for tag in
        ["1", "\"1", "1\"", "*", "", "\"", "\"\"", "W/\"1\"", "\"one\"", "'1'", "\"1\", \"2\"", "\"1.0\""]
    {
        assert_eq!(with_if_match(&api, &[&format!("If-Match: {tag}")]).await, [400, 400], "{tag}");
    }
}

/// RFC 9110 §5.3: two lines are one list, and a list is refused when it stands in one line.
async fn two_if_match_lines_are_refused(server: Server) {
    let api = server.administrator().await;
    assert_eq!(with_if_match(&api, &["If-Match: \"1\"", "If-Match: \"2\""]).await, [400, 400]);
}

/// RFC 9110 §8.8.3: an `ETag` is opaque, so only the same characters are the same one.
async fn an_etag_is_compared_as_it_was_handed_out(server: Server) {
    let api = server.administrator().await;
    for tag in ["\"01\"", "\"+1\""] {
        let statuses = with_if_match(&api, &[&format!("If-Match: {tag}")]).await;
        assert!(matches!(statuses, [400 | 412, 400 | 412]), "{tag}: {statuses:?}");
    }
}

async fn of_two_changes_at_a_time_one_wins(server: Server) {
    let api = server.administrator().await;
    api.post("/clients", json!({ "client_id": "x" })).await.expect_version(201, 1);
    for version in 1..6 {
        let (one, other) = tokio::join!(
            api.patch("/clients/x", version, json!({ "owner": "one" })),
            api.patch("/clients/x", version, json!({ "owner": "other" })),
        );
        let (won, lost, owner) = if one.status == 200 { (one, other, "one") } else { (other, one, "other") };
        assert_eq!(won.expect_version(200, version + 1)["owner"], owner);
        let shown = lost.expect_problem(412, "stale");
        assert_eq!((&shown["current"]["owner"], shown["etag"].as_str()), (&json!(owner), won.header("etag")));
        assert_eq!(api.get("/clients/x").await.expect_version(200, version + 1)["owner"], owner);
    }
}

async fn a_shorter_end_counts_for_tokens_at_once(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let ask = "grant_type=client_credentials";
    api.patch("/clients/billing", 1, json!({ "expires_at": "2026-11-22T08:01:00Z" })).await.expect(200);
    assert_eq!(server.token(&billing, ask).await.expect(200)["expires_in"], 60);
    server.clock.advance(Duration::from_mins(1));
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
    api.patch("/clients/billing", 2, json!({ "expires_at": null })).await.expect(200);
    assert_eq!(server.token(&billing, ask).await.expect(200)["expires_in"], 300);
}

async fn other_methods_and_networks_count_for_tokens_at_once(server: Server) {
    let server = server.at_one_address();
    let billing = server.billing().await;
    let api = server.administrator().await;
    let ask = "grant_type=client_credentials";
    let basic = json!({ "auth_methods": ["client_secret_post"] });
    api.patch("/clients/billing", 1, basic).await.expect(200);
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
    let both = json!({ "auth_methods": ["client_secret_basic"], "allowed_networks": ["127.0.0.1"] });
    api.patch("/clients/billing", 2, both).await.expect(200);
    server.token(&billing, ask).await.expect(200);
    api.patch("/clients/billing", 3, json!({ "allowed_networks": ["127.0.0.2"] })).await.expect(200);
    server.token(&billing, ask).await.expect_oauth_error(401, "invalid_client");
}
