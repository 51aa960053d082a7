//! Resource servers in the REST API, and their effect on tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};

both_engines!(
    a_new_resource_server_has_these_defaults,
    names_and_identifiers_are_taken_once,
    an_unknown_resource_server_is_not_found,
    each_field_changes_alone_and_counts_for_tokens_at_once,
    a_disabled_resource_server_gets_no_tokens,
    a_change_or_removal_needs_the_version_that_was_read,
    of_two_changes_at_a_time_one_wins,
    a_resource_server_in_use_is_not_removed,
    a_removed_resource_server_is_gone_everywhere,
    the_built_in_resource_server_stays_as_it_is,
);

const ASK: &str = "grant_type=client_credentials";

async fn a_new_resource_server_has_these_defaults(server: Server) {
    let api = server.administrator().await;
    let new = json!({ "name": "orders", "identifier": "sts.amazonaws.com" });
    let made = api.post("/resource-servers", new).await.expect_version(201, 1);
    let expected = json!({
        "name": "orders", "identifier": "sts.amazonaws.com", "description": "", "permissions": [],
        "token_lifetime": 300, "signing_algorithm": "ES256", "token_profile": "at+jwt",
        "token_binding": "optional", "enabled": true, "builtin": false, "version": 1,
        "created_at": "2026-11-22T08:00:00Z", "updated_at": "2026-11-22T08:00:00Z",
    });
    assert_eq!(made, expected);
    assert_eq!(api.get("/resource-servers/orders").await.expect_version(200, 1), made);

    let new = json!({
        "name": "A.b_c:d-1", "identifier": "urn:é ü?x=y", "description": "Two\nlines",
        "permissions": [{ "permission": "z", "description": "last" }, { "permission": "[a]" }],
        "token_lifetime": 60, "signing_algorithm": "RS256", "token_profile": "jwt",
        "token_binding": "dpop",
    });
    let made = api.post("/resource-servers", new.clone()).await.expect_version(201, 1);
    for member in [
        "name",
        "identifier",
        "description",
        "token_lifetime",
        "signing_algorithm",
        "token_profile",
        "token_binding",
    ] {
        assert_eq!(made[member], new[member], "{member}");
    }
    let path = "/resource-servers/A.b_c:d-1";
    let bound = api.patch(path, 1, json!({ "token_binding": "optional" })).await.expect_version(200, 2);
    assert_eq!(bound["token_binding"], "optional");
    let made = api.patch(path, 2, json!({ "token_binding": "dpop" })).await.expect_version(200, 3);
    assert_eq!(made["token_binding"], "dpop");
    let ordered = json!([
        { "permission": "[a]", "description": "" },
        { "permission": "z", "description": "last" },
    ]);
    assert_eq!(made["permissions"], ordered);
    assert_eq!(api.get(path).await.expect_version(200, 3), made);
    let listed = api.get("/resource-servers?q=A.b").await.expect(200);
    assert_eq!(listed, json!({ "items": [made] }));
}

async fn names_and_identifiers_are_taken_once(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let before = server.last_change().await;
    for (name, identifier) in [
        ("orders", "urn:other"),
        ("other", "https://orders.example"),
        ("other", "http://localhost:8080/api/v1"),
    ] {
        let answer = api.post("/resource-servers", json!({ "name": name, "identifier": identifier })).await;
        let expected = format!(
            "a resource server with the name '{name}' or the identifier '{identifier}' is registered already"
        );
        assert_eq!(answer.expect_problem(409, "conflict")["detail"], expected);
    }
    assert_eq!(server.last_change().await, before);
    // Identifiers compare character by character.
    let other = json!({ "name": "Orders", "identifier": "https://orders.example/" });
    api.post("/resource-servers", other).await.expect(201);
    let taken = json!({ "identifier": "https://orders.example" });
    api.patch("/resource-servers/Orders", 1, taken).await.expect_problem(409, "conflict");
    let kept = api.get("/resource-servers/Orders").await.expect_version(200, 1);
    assert_eq!(kept["identifier"], "https://orders.example/");
}

async fn an_unknown_resource_server_is_not_found(server: Server) {
    let api = server.administrator().await;
    for answer in [
        api.get("/resource-servers/nowhere").await,
        api.patch("/resource-servers/nowhere", 1, json!({})).await,
        api.delete("/resource-servers/nowhere", Some(1)).await,
    ] {
        let body = answer.expect_problem(404, "not-found");
        assert_eq!(body["detail"], "there is no resource server 'nowhere'");
    }
    let answer = api.get("/resource-servers/no%20where").await;
    let detail = answer.expect_problem(400, "malformed")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("use 1 to 100 of A-Z a-z 0-9 . _ : -"), "{detail}");
}

/// The header and the claims of a token for this audience.
async fn token_for(server: &Server, client: &Client, audience: &str) -> (Value, Value) {
    let body = format!("{ASK}&audience={audience}");
    let token = server.token(client, &body).await.expect(200);
    crate::token::verified(server, token["access_token"].as_str().unwrap()).await
}

async fn each_field_changes_alone_and_counts_for_tokens_at_once(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let path = "/resource-servers/orders";
    let mut expected = api.get(path).await.expect_version(200, 1);
    let changes = [
        ("description", json!("new")),
        ("token_lifetime", json!(60)),
        ("signing_algorithm", json!("RS256")),
        ("identifier", json!("urn:new")),
        ("token_profile", json!("jwt")),
    ];
    for ((member, value), version) in changes.into_iter().zip(1_i64..) {
        server.clock.advance(Duration::from_secs(1));
        expected[member] = value.clone();
        expected["version"] = (version + 1).into();
        expected["updated_at"] = format!("2026-11-22T08:00:{version:02}Z").into();
        let answer = api.patch(path, version, json!({ member: value })).await;
        assert_eq!(answer.expect_version(200, version + 1), expected, "{member}");
        assert_eq!(api.get(path).await.expect_version(200, version + 1), expected, "{member}");

        let audience = expected["identifier"].as_str().unwrap();
        let (header, claims) = token_for(&server, &billing, audience).await;
        assert_eq!(claims["aud"], audience, "after {member}");
        let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lifetime, expected["token_lifetime"].as_i64().unwrap(), "after {member}");
        assert_eq!(header["alg"], expected["signing_algorithm"], "after {member}");
        let plain = expected["token_profile"] == "jwt";
        assert_eq!(header["typ"], if plain { "JWT" } else { "at+jwt" }, "after {member}");
        assert_eq!(claims.get("scope").is_none(), plain, "after {member}");
    }
    let old = format!("{ASK}&audience=https://orders.example");
    server.token(&billing, &old).await.expect_oauth_error(400, "invalid_target");
}

async fn a_disabled_resource_server_gets_no_tokens(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let path = "/resource-servers/orders";
    let named = format!("{ASK}&resource=https://orders.example");
    server.token(&billing, &named).await.expect(200);
    let off = api.patch(path, 1, json!({ "enabled": false })).await.expect_version(200, 2);
    assert_eq!(off["enabled"], false);
    for ask in [&named, &format!("{ASK}&audience=https://orders.example"), ASK] {
        server.token(&billing, ask).await.expect_oauth_error(400, "invalid_target");
    }
    api.patch(path, 2, json!({ "enabled": true })).await.expect_version(200, 3);
    server.token(&billing, &named).await.expect(200);
}

async fn a_change_or_removal_needs_the_version_that_was_read(server: Server) {
    let api = server.administrator().await;
    let path = "/resource-servers/x";
    let new = json!({ "name": "x", "identifier": "urn:x", "permissions": [{ "permission": "a" }] });
    let made = api.post("/resource-servers", new).await.expect_version(201, 1);
    let body = json!({ "description": "new", "permissions": [] });
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
}

async fn of_two_changes_at_a_time_one_wins(server: Server) {
    let api = server.administrator().await;
    let path = "/resource-servers/x";
    api.post("/resource-servers", json!({ "name": "x", "identifier": "urn:x" })).await.expect(201);
    let change = |word: &str| json!({ "description": word, "permissions": [{ "permission": word }] });
    for version in 1..6 {
        let (one, other) =
            tokio::join!(api.patch(path, version, change("one")), api.patch(path, version, change("other")),);
        let (won, lost, word) = if one.status == 200 { (one, other, "one") } else { (other, one, "other") };
        won.expect_version(200, version + 1);
        lost.expect_problem(412, "stale");
        let now = api.get(path).await.expect_version(200, version + 1);
        assert_eq!(now["description"], word);
        assert_eq!(
            now["permissions"],
            json!([{ "permission": word, "description": "" }]),
            "and none of the other"
        );
    }
}

async fn a_resource_server_in_use_is_not_removed(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let in_use = |name: &str| {
        format!(
            "roles give permissions of '{name}', or clients default to it; \
             take those away first, or disable it"
        )
    };
    let refused = api.delete("/resource-servers/orders", Some(1)).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], in_use("orders"));
    server.token(&billing, ASK).await.expect(200);

    api.post("/resource-servers", json!({ "name": "home", "identifier": "urn:home" })).await.expect(201);
    api.post("/clients", json!({ "client_id": "x", "default_resource_server": "home" })).await.expect(201);
    let refused = api.delete("/resource-servers/home", Some(1)).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], in_use("home"));
    assert_eq!(api.get("/clients/x").await.expect(200)["default_resource_server"], "home");
    api.patch("/clients/x", 1, json!({ "default_resource_server": null })).await.expect(200);
    api.delete("/resource-servers/home", Some(1)).await.expect(204);
}

async fn a_removed_resource_server_is_gone_everywhere(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    api.patch("/roles/order-reader", 1, json!({ "permissions": [] })).await.expect(200);
    let answer = api.delete("/resource-servers/orders", Some(1)).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    api.get("/resource-servers/orders").await.expect_problem(404, "not-found");
    assert_eq!(api.listed("/resource-servers", "name").await, ["jeton"]);
    let named = format!("{ASK}&resource=https://orders.example");
    server.token(&billing, &named).await.expect_oauth_error(400, "invalid_target");
    let default = json!({ "default_resource_server": "orders" });
    api.patch("/clients/billing", 1, default)
        .await
        .expect_invalid("default_resource_server", "register it first");
    // Its name and its identifier are free again, and nothing of the old one comes back.
    let new = json!({ "name": "orders", "identifier": "https://orders.example" });
    let made = api.post("/resource-servers", new).await.expect_version(201, 1);
    assert_eq!(made["permissions"], json!([]));
    server.token(&billing, &named).await.expect_oauth_error(400, "invalid_target");
}

async fn the_built_in_resource_server_stays_as_it_is(server: Server) {
    let api = server.administrator().await;
    let path = "/resource-servers/jeton";
    let before = api.get(path).await.expect_version(200, 1);
    assert_eq!(before["identifier"], "http://localhost:8080/api/v1");
    assert_eq!(before["builtin"], true);
    let names: Vec<_> =
        before["permissions"].as_array().unwrap().iter().map(|p| p["permission"].as_str().unwrap()).collect();
    let mut expected: Vec<_> = jeton::domain::builtin::PERMISSIONS.iter().map(|(name, _, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let changes = [
        json!({}),
        json!({ "enabled": false }),
        json!({ "identifier": "urn:mine" }),
        json!({ "permissions": [] }),
        json!({ "token_profile": "jwt" }),
        json!({ "token_lifetime": 3_600 }),
    ];
    let because = "'jeton' is Jeton's own API and cannot be changed or removed";
    for change in changes {
        let refused = api.patch(path, 1, change).await.expect_problem(409, "conflict");
        assert_eq!(refused["detail"], because);
    }
    assert_eq!(api.delete(path, Some(1)).await.expect_problem(409, "conflict")["detail"], because);
    assert_eq!(api.get(path).await.expect_version(200, 1), before);
}
