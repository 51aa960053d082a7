//! Trusted issuers in the REST API: registering, reading, changing, disabling, removing.

mod authority;
mod command_line;
mod credentials;
mod pages;
mod stored;

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};

both_engines!(
    a_new_issuer_has_these_defaults,
    a_new_issuer_keeps_all_that_was_said_of_it,
    a_name_is_taken_once_and_two_are_kept_free,
    all_that_is_wrong_with_an_issuer_is_said_at_once,
    each_field_changes_alone,
    of_two_changes_at_a_time_one_wins,
    disabling_and_enabling_need_no_etag,
    no_more_are_enabled_of_one_name_than_are_asked,
    lists_page_by_name_and_find_text,
    an_issuer_in_use_is_not_removed,
    every_change_is_recorded_with_before_and_after,
    another_replica_sees_every_change,
    presets_are_served,
);

const PATH: &str = "/trusted-issuers/i";

/// A public key of nobody.
fn key() -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    })
}

/// An issuer of this name with every default.
fn issuer(name: &str) -> Value {
    json!({ "name": name, "issuer": "https://idp.example", "keys": { "from": "discovery" } })
}

async fn a_new_issuer_has_these_defaults(server: Server) {
    let api = server.administrator().await;
    let answer = api.post("/trusted-issuers", issuer("i")).await;
    assert_eq!(answer.header("location"), Some("trusted-issuers/i"));
    let mut expected = issuer("i");
    for (member, value) in [
        ("description", json!("")),
        ("profile", json!("jwt")),
        ("algorithms", json!(["ES256", "ES384", "RS256", "PS256", "EdDSA"])),
        ("audience", Value::Null),
        ("max_lifetime", json!(86_400)),
        ("leeway", json!(30)),
        ("reuse", json!("once")),
        ("enabled", json!(true)),
        ("warnings", json!([])),
        ("version", json!(1)),
        ("created_at", json!("2026-11-22T08:00:00Z")),
        ("updated_at", json!("2026-11-22T08:00:00Z")),
    ] {
        expected[member] = value;
    }
    let mut made = answer.expect_version(201, 1);
    let sorted = |view: &mut Value| {
        view["algorithms"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    };
    sorted(&mut made);
    sorted(&mut expected);
    assert_eq!(made, expected, "and nothing else: no database id");
}

async fn a_new_issuer_keeps_all_that_was_said_of_it(server: Server) {
    let api = server.administrator().await;
    for new in [
        json!({
            "name": "A.b_c:d-1", "description": "é\n🦀", "profile": "jwt", "issuer": "kubernetes/serviceaccount",
            "keys": { "from": "inline", "jwks": { "keys": [key()], "more": 1 } }, "algorithms": ["EdDSA"],
            "audience": "sts.amazonaws.com", "max_lifetime": 31_536_000, "leeway": 300, "reuse": "within_life",
            "enabled": false,
        }),
        json!({
            "name": "spiffe", "profile": "spiffe", "issuer": "spiffe://example.org",
            "keys": { "from": "bundle_endpoint", "uri": "https://spire.example.org/bundle" },
            "max_lifetime": 60, "leeway": 0, "reuse": "without_jti",
        }),
        json!({
            "name": "file", "profile": "spiffe", "issuer": "spiffe://example.org",
            "keys": { "from": "bundle_file", "file": "example.org.json" },
        }),
        json!({
            "name": "uri", "issuer": "https://idp.example",
            "keys": { "from": "jwks_uri", "uri": "https://idp.example/jwks" },
        }),
    ] {
        let made = api.post("/trusted-issuers", new.clone()).await.expect_version(201, 1);
        for (member, value) in new.as_object().unwrap() {
            assert_eq!(made[member], *value, "{member}");
        }
        let path = format!("/trusted-issuers/{}", new["name"].as_str().unwrap());
        assert_eq!(api.get(&path).await.expect_version(200, 1), made);
        let odd = usize::from(new["name"] == "A.b_c:d-1") * 2;
        assert_eq!(made["warnings"].as_array().unwrap().len(), odd, "{made}");
    }
}

async fn a_name_is_taken_once_and_two_are_kept_free(server: Server) {
    let api = server.administrator().await;
    api.post("/trusted-issuers", issuer("i")).await.expect(201);
    let refused = api.post("/trusted-issuers", issuer("i")).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], "a trusted issuer 'i' exists already");
    // Clusters may all call themselves the same.
    api.post("/trusted-issuers", issuer("other")).await.expect(201);
    for kept in ["presets", "explain"] {
        api.post("/trusted-issuers", issuer(kept))
            .await
            .expect_invalid("name", "other than 'explain' and 'presets'");
    }
    for answer in [
        api.get("/trusted-issuers/none").await,
        api.get("/trusted-issuers/none/impact").await,
        api.patch("/trusted-issuers/none", 1, json!({})).await,
        api.delete("/trusted-issuers/none", Some(1)).await,
        api.post("/trusted-issuers/none/disable", Value::Null).await,
        api.post("/trusted-issuers/none/enable", Value::Null).await,
    ] {
        assert_eq!(answer.expect_problem(404, "not-found")["detail"], "there is no trusted issuer 'none'");
    }
}

async fn all_that_is_wrong_with_an_issuer_is_said_at_once(server: Server) {
    let api = server.administrator().await;
    let new = json!({
        "name": "i", "description": "\u{7}", "issuer": "http://localhost:8080", "algorithms": [],
        "keys": { "from": "bundle_file", "uri": "https://a.example" }, "max_lifetime": 59, "leeway": 301,
    });
    let problem = api.post("/trusted-issuers", new).await.expect_problem(422, "invalid");
    let mut fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "algorithms",
            "description",
            "issuer",
            "keys.file",
            "keys.from",
            "keys.uri",
            "leeway",
            "max_lifetime"
        ]
    );
    let mut private = issuer("i");
    private["keys"] = json!({ "from": "inline", "jwks": { "keys": [{ "kty": "OKP", "d": "c2VjcmV0" }] } });
    let answer = api.post("/trusted-issuers", private).await;
    answer.expect_invalid("keys.jwks", "send public keys alone");
    assert!(!answer.body.contains("c2VjcmV0"), "{answer:?}");
    assert!(server.events("changed").await.iter().all(|event| event["action"] != "trusted_issuer.create"));
}

async fn each_field_changes_alone(server: Server) {
    let api = server.administrator().await;
    let mut expected = api.post("/trusted-issuers", issuer("i")).await.expect_version(201, 1);
    let changes = [
        ("description", json!("new")),
        ("keys", json!({ "from": "jwks_uri", "uri": "https://idp.example/keys" })),
        ("keys", json!({ "from": "inline", "jwks": { "keys": [key()] } })),
        ("algorithms", json!(["EdDSA"])),
        ("audience", json!("urn:us")),
        ("audience", Value::Null),
        ("max_lifetime", json!(60)),
        ("leeway", json!(0)),
        ("reuse", json!("within_life")),
        ("enabled", json!(false)),
        ("enabled", json!(true)),
    ];
    for (version, (member, value)) in (2..).zip(changes) {
        let answer =
            api.patch(PATH, version - 1, json!({ member: value })).await.expect_version(200, version);
        expected[member] = value;
        expected["version"] = version.into();
        assert_eq!(answer, expected, "{member}");
        assert_eq!(api.get(PATH).await.expect_version(200, version), expected);
    }
    for (change, field, fix) in [
        (json!({ "leeway": 301 }), "leeway", "use 0 to 300 seconds"),
        (json!({ "algorithms": ["ES256"] }), "keys.jwks", "add one, or allow its algorithm"),
        (
            json!({ "keys": { "from": "bundle_file", "file": "a" } }),
            "keys.from",
            "use discovery, jwks_uri or inline",
        ),
    ] {
        api.patch(PATH, 12, change).await.expect_invalid(field, fix);
    }
    for never in ["issuer", "profile", "name"] {
        assert_eq!(api.patch(PATH, 12, json!({ never: "x" })).await.status, 422, "{never}");
    }
    assert_eq!(api.get(PATH).await.expect_version(200, 12), expected);
}

async fn of_two_changes_at_a_time_one_wins(server: Server) {
    let api = server.administrator().await;
    api.post("/trusted-issuers", issuer("i")).await.expect(201);
    api.patch(PATH, 1, json!({ "leeway": 1 })).await.expect_version(200, 2);
    let stale = api.patch(PATH, 1, json!({ "leeway": 2 })).await.expect_problem(412, "stale");
    assert_eq!(stale["current"]["leeway"], 1);
    api.delete(PATH, Some(1)).await.expect_problem(412, "stale");
    assert_eq!(api.patch(PATH, 2, json!({})).await.status, 200);
    api.delete(PATH, Some(3)).await.expect(204);
    api.get(PATH).await.expect_problem(404, "not-found");
}

async fn disabling_and_enabling_need_no_etag(server: Server) {
    let api = server.administrator().await;
    api.post("/trusted-issuers", issuer("i")).await.expect(201);
    let off = api.post(&format!("{PATH}/disable"), Value::Null).await.expect_version(200, 2);
    assert_eq!(off["enabled"], false);
    api.post(&format!("{PATH}/disable"), Value::Null).await.expect_version(200, 2);
    let on = api.post(&format!("{PATH}/enable"), Value::Null).await.expect_version(200, 3);
    assert_eq!(on["enabled"], true);
}

async fn no_more_are_enabled_of_one_name_than_are_asked(server: Server) {
    let api = server.administrator().await;
    for number in 0..20 {
        api.post("/trusted-issuers", issuer(&format!("i-{number}"))).await.expect(201);
    }
    let refused = api.post("/trusted-issuers", issuer("i")).await.expect_problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("https://idp.example"), "{refused}");
    let mut disabled = issuer("i");
    disabled["enabled"] = false.into();
    api.post("/trusted-issuers", disabled).await.expect(201);
    api.post(&format!("{PATH}/enable"), Value::Null).await.expect_problem(409, "conflict");
    api.patch(PATH, 1, json!({ "enabled": true })).await.expect_problem(409, "conflict");
    api.post("/trusted-issuers/i-0/disable", Value::Null).await.expect(200);
    api.post(&format!("{PATH}/enable"), Value::Null).await.expect(200);
    api.patch("/trusted-issuers/i-1", 1, json!({ "leeway": 1 })).await.expect(200);
}

async fn lists_page_by_name_and_find_text(server: Server) {
    let api = server.administrator().await;
    for name in ["b", "a", "c"] {
        let mut new = issuer(name);
        new["issuer"] = format!("https://{name}.idp.example").into();
        server.trusted_issuer(new).await;
    }
    assert_eq!(api.listed("/trusted-issuers", "name").await, ["a", "b", "c"]);
    let first = api.get("/trusted-issuers?limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(api.listed(&format!("/trusted-issuers?limit=2&cursor={cursor}"), "name").await, ["c"]);
    assert_eq!(api.listed("/trusted-issuers?q=B.IDP", "name").await, ["b"]);
    api.get("/trusted-issuers?limit=0").await.expect_invalid("limit", "use 1 to 500");
}

async fn an_issuer_in_use_is_not_removed(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    server.trusted_issuer(issuer("i")).await;
    server.federated("billing", "i", "a").await;
    server.federated("billing", "i", "b").await;
    let refused = api.delete(PATH, Some(1)).await.expect_problem(409, "conflict");
    let named = "federated credentials of these clients name it: billing; remove those first, or disable it";
    assert_eq!(refused["detail"], named);
    let impact = api.get(&format!("{PATH}/impact")).await.expect(200);
    let told = json!({
        "trusted_issuer": "i", "federated_credentials": 2, "clients": 1, "some": ["billing"], "rules": [],
    });
    assert_eq!(impact, told);
    let credentials = "/clients/billing/federated-credentials";
    for id in api.get(credentials).await.expect(200).as_array().unwrap() {
        let id = id["credential_id"].as_str().unwrap();
        api.delete(&format!("{credentials}/{id}"), None).await.expect(204);
    }
    api.delete(PATH, Some(1)).await.expect(204);
}

async fn every_change_is_recorded_with_before_and_after(server: Server) {
    let api = server.administrator().await;
    api.post("/trusted-issuers", issuer("i")).await.expect(201);
    api.patch(PATH, 1, json!({ "leeway": 1 })).await.expect(200);
    api.post(&format!("{PATH}/disable"), Value::Null).await.expect(200);
    api.post(&format!("{PATH}/enable"), Value::Null).await.expect(200);
    api.delete(PATH, Some(4)).await.expect(204);
    let events = server.events("changed").await;
    let of_issuer: Vec<&Value> = events
        .iter()
        .filter(|event| event["action"].as_str().unwrap().starts_with("trusted_issuer."))
        .collect();
    let mut actions: Vec<&str> = of_issuer.iter().map(|event| event["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    let all = ["create", "delete", "disable", "enable", "update"];
    assert_eq!(actions, all.map(|action| format!("trusted_issuer.{action}")));
    assert!(of_issuer.iter().all(|event| event["target"] == "i"));
    let of = |action: &str| of_issuer.iter().find(|event| event["action"] == action).unwrap();
    let update = of("trusted_issuer.update");
    assert_eq!((&update["before"]["leeway"], &update["after"]["leeway"]), (&json!(30), &json!(1)));
    assert_eq!(of("trusted_issuer.disable")["after"]["enabled"], false);
}

async fn another_replica_sees_every_change(server: Server) {
    server.billing().await;
    let replica = server.replica().await;
    let api = server.administrator().await;
    let there = replica.api_with(api.token.clone());
    api.post("/trusted-issuers", issuer("i")).await.expect(201);
    assert_eq!(there.listed("/trusted-issuers", "name").await, ["i"]);
    api.post(&format!("{PATH}/disable"), Value::Null).await.expect(200);
    assert_eq!(there.get("/trusted-issuers").await.expect(200)["items"][0]["enabled"], false);
    server.federated("billing", "i", "a").await;
    let seen = there.get("/clients/billing/federated-credentials").await.expect(200);
    assert_eq!((&seen[0]["trusted_issuer"], &seen[0]["issuer_enabled"]), (&json!("i"), &json!(false)));
    replica.app.stop().await.unwrap();
}

async fn presets_are_served(server: Server) {
    let api = server.administrator().await;
    let presets = api.get("/trusted-issuers/presets").await.expect(200);
    let names: Vec<&str> =
        presets.as_array().unwrap().iter().map(|preset| preset["platform"].as_str().unwrap()).collect();
    let all = ["github", "gitlab", "kubernetes", "google", "aws", "azure", "spiffe", "keycloak", "jeton"];
    assert_eq!(names, all);
    assert_eq!(presets[0]["issuer"], "https://token.actions.githubusercontent.com");
    assert_eq!(presets[0]["parameters"][0]["name"], "repository");
}
