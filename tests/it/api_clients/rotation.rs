//! Secrets that are rotated: the new one and the end of the old one are one change.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};

both_engines!(
    a_rotation_has_no_gap_and_an_end,
    a_rotation_replaces_what_it_names_and_prolongs_nothing,
    a_rotation_of_too_many_secrets_says_which_to_remove,
    each_wrong_field_of_a_rotation_is_named,
    a_secret_s_end_and_description_are_changed,
    who_may_do_less_than_the_client_rotates_nothing,
    two_rotations_at_a_time_both_count,
);

const ASK: &str = "grant_type=client_credentials";
const SECRETS: &str = "/clients/billing/secrets";
const ROTATE: &str = "/clients/billing/secrets/rotate";

fn client(answer: &Value) -> Client {
    Client::new("billing", answer["client_secret"].as_str().unwrap())
}

async fn a_rotation_has_no_gap_and_an_end(server: Server) {
    let old = server.billing().await;
    let api = server.administrator().await;
    let first = api.get(SECRETS).await.expect(200)[0].clone();
    server.clock.advance(Duration::from_secs(1));
    let answer = api.post(ROTATE, json!({ "description": "next" })).await;
    let rotated = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let new = client(&rotated);
    for secret in [&old, &new] {
        server.token(secret, ASK).await.expect(200);
    }
    assert_eq!((&rotated["description"], &rotated["expires_at"]), (&json!("next"), &Value::Null));
    let replaces = &rotated["replaces"];
    assert_eq!(replaces.as_array().unwrap().len(), 1);
    assert_eq!(replaces[0]["secret_id"], first["secret_id"]);
    assert_eq!(replaces[0]["expires_at"], "2026-11-23T08:00:01Z", "a day");
    assert_eq!(replaces[0]["replaced_by"], rotated["secret_id"]);
    let listed = api.get(SECRETS).await.expect(200);
    assert_eq!(listed[1]["replaced_by"], rotated["secret_id"]);
    assert_eq!(listed[1]["expires_at"], replaces[0]["expires_at"]);

    let events = server.events("changed").await;
    let rotations: Vec<_> = events.iter().filter(|event| event["action"] == "client.secret.rotate").collect();
    assert_eq!(rotations.len(), 1, "one event says both");
    let event = rotations[0];
    assert_eq!(event["target"], "billing");
    assert_eq!(event["after"]["added"]["secret_id"], rotated["secret_id"]);
    assert_eq!(event["after"]["replaces"], *replaces);
    assert_eq!(event["before"]["replaces"][0]["expires_at"], Value::Null);
    assert!(!event.to_string().contains("jtn_"), "{event}");

    server.clock.advance(Duration::from_hours(24));
    server.token(&old, ASK).await.expect_oauth_error(401, "invalid_client");
    server.token(&new, ASK).await.expect(200);
}

async fn a_rotation_replaces_what_it_names_and_prolongs_nothing(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let mut ids = Vec::new();
    for body in [json!({ "expires_in": 1_000 }), json!({ "expires_in": 100_000 })] {
        server.clock.advance(Duration::from_secs(1));
        ids.push(api.post(SECRETS, body).await.expect(201)["secret_id"].clone());
    }
    // 08:00:02 now: one ends at 08:16:41, the other one tomorrow.
    let rotated = api.post(ROTATE, json!({ "secret_ids": ids, "overlap": 3_600 })).await.expect(201);
    let ends: Vec<_> = rotated["replaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|old| old["expires_at"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ends, ["2026-11-22T09:00:02Z", "2026-11-22T08:16:41Z"], "newest first; none is prolonged");
    assert_eq!(rotated["expires_at"], "2026-11-23T11:46:42Z", "it lives as long as the newest was to live");
    // Those are replaced; the next one that nothing has replaced is the newest, the rotation's own.
    let again = api.post(ROTATE, json!({ "overlap": 0, "expires_in": 60 })).await.expect(201);
    assert_eq!(again["replaces"][0]["secret_id"], rotated["secret_id"]);
    assert_eq!(again["expires_at"], "2026-11-22T08:01:02Z");
    server.token(&client(&rotated), ASK).await.expect_oauth_error(401, "invalid_client");
    server.token(&client(&again), ASK).await.expect(200);

    let before = server.last_change().await;
    let missing = api.post(ROTATE, json!({ "secret_ids": [ids[0], "nothere"] })).await;
    assert_eq!(missing.expect_problem(404, "not-found")["detail"], "there is no secret 'nothere'");
    assert_eq!(server.last_change().await, before);
}

async fn a_rotation_of_too_many_secrets_says_which_to_remove(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    server.clock.advance(Duration::from_secs(1));
    let short = api.post(SECRETS, json!({ "expires_in": 1 })).await.expect(201);
    for _ in 0..8 {
        api.post(SECRETS, json!({})).await.expect(201);
    }
    server.clock.advance(Duration::from_secs(5));
    let before = server.last_change().await;
    for path in [SECRETS, ROTATE] {
        let full = api.post(path, json!({})).await.expect_problem(409, "conflict");
        let wanted = format!(
            "the client has 10 secrets already; revoke one that is no longer used: {} has expired",
            short["secret_id"].as_str().unwrap()
        );
        assert_eq!(full["detail"], wanted);
    }
    assert_eq!(server.last_change().await, before);
    api.delete(&format!("{SECRETS}/{}", short["secret_id"].as_str().unwrap()), None).await.expect(204);
    api.post(ROTATE, json!({})).await.expect(201);
}

async fn each_wrong_field_of_a_rotation_is_named(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let before = server.last_change().await;
    let schema = "openapi.yaml has the form of every field";
    let future = "2027-01-01T00:00:00Z";
    for (body, field, fix) in [
        (json!({ "description": "a\u{1b}b" }), "description", "printable"),
        (json!({ "expires_in": 60, "expires_at": future }), "expires_in", "give one of them"),
        (json!({ "expires_at": "2026-11-22T08:00:00Z" }), "expires_at", "name a later time"),
        (json!({ "overlap": -1 }), "overlap", schema),
        (json!({ "overlap": 31_536_001 }), "overlap", "at most 31536000 seconds"),
        (json!({ "secret_ids": ["a b"] }), "secret_ids[0]", ""),
        (json!({ "secret_ids": vec!["a"; 11] }), "secret_ids", "name at most 10"),
        (json!({ "secret": "one of my own choice" }), "secret", schema),
    ] {
        api.post(ROTATE, body).await.expect_invalid(field, fix);
    }
    assert_eq!(server.last_change().await, before);
    api.post("/clients/nobody/secrets/rotate", json!({})).await.expect_problem(404, "not-found");
}

async fn a_secret_s_end_and_description_are_changed(server: Server) {
    let old = server.billing().await;
    let api = server.administrator().await;
    let listed = api.get(SECRETS).await.expect(200);
    let path = format!("{SECRETS}/{}", listed[0]["secret_id"].as_str().unwrap());
    // A token of its own each time: the clock goes on by more than one lives.
    let change = async |body: Value| {
        let token = server.administrator().await.token;
        server.api("PATCH", &path, &token, &[], body).await
    };
    let changed = change(json!({ "description": "the old one", "expires_at": "2026-11-22T09:00:00Z" })).await;
    let changed = changed.expect(200);
    assert_eq!(
        (&changed["description"], &changed["expires_at"]),
        (&json!("the old one"), &json!("2026-11-22T09:00:00Z"))
    );
    assert_eq!(change(json!({})).await.expect(200), changed, "what is absent stays");
    server.clock.advance(Duration::from_hours(1));
    server.token(&old, ASK).await.expect_oauth_error(401, "invalid_client");
    let endless = change(json!({ "expires_at": null })).await.expect(200);
    assert_eq!((&endless["expires_at"], &endless["description"]), (&Value::Null, &json!("the old one")));
    server.token(&old, ASK).await.expect(200);

    change(json!({ "expires_at": "2026-11-22T09:00:00Z" })).await.expect_invalid("expires_at", "revoke");
    change(json!({ "description": null })).await.expect_invalid("description", "");
    change(json!({ "secret": "another secret of mine" })).await.expect_invalid("secret", "");
    let api = server.administrator().await;
    let before = server.last_change().await;
    let missing = format!("{SECRETS}/nothere");
    server.api("PATCH", &missing, &api.token, &[], json!({})).await.expect_problem(404, "not-found");
    assert_eq!(server.last_change().await, before);

    // What was replaced and then has no end any more is in use again.
    api.post(ROTATE, json!({})).await.expect(201);
    let again = change(json!({ "expires_at": null })).await.expect(200);
    assert!(again.get("replaced_by").is_none(), "{again}");
    let events = server.events("changed").await;
    assert!(events.iter().any(|event| event["action"] == "client.secret.update"));
}

async fn who_may_do_less_than_the_client_rotates_nothing(server: Server) {
    server
        .role(json!({ "name": "keeper", "permissions": [
        { "resource_server": "jeton", "permission": "clients:read" },
        { "resource_server": "jeton", "permission": "clients:write" },
    ] }))
        .await;
    server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let keeper = server.client(json!({ "client_id": "keeper", "roles": ["keeper"] })).await;
    let keeper = server.api_as(&keeper, "").await;
    let id = keeper.get("/clients/boss/secrets").await.expect(200)[0]["secret_id"].clone();
    let before = server.last_change().await;
    keeper.post("/clients/boss/secrets/rotate", json!({})).await.expect_problem(403, "forbidden");
    let path = format!("/clients/boss/secrets/{}", id.as_str().unwrap());
    let lifted = server.api("PATCH", &path, &keeper.token, &[], json!({ "expires_at": null })).await;
    lifted.expect_problem(403, "forbidden");
    assert_eq!(server.last_change().await, before);
}

async fn two_rotations_at_a_time_both_count(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let (one, other) = tokio::join!(api.post(ROTATE, json!({})), api.post(ROTATE, json!({})));
    for answer in [one, other] {
        server.token(&client(&answer.expect(201)), ASK).await.expect(200);
    }
    let listed = api.get(SECRETS).await.expect(200);
    let lasting = listed.as_array().unwrap().iter().filter(|secret| secret["expires_at"].is_null()).count();
    assert_eq!(lasting, 1, "each saw what the other one had done: {listed}");
}
