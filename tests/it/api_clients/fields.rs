//! Fields of a client that are wrong: each is named, with what to send instead, and nothing is changed.

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};

both_engines!(
    each_wrong_field_of_a_new_client_is_named,
    each_wrong_field_of_a_change_is_named,
    several_wrong_fields_are_named_at_once,
    the_largest_fields_are_taken,
    an_end_that_cannot_be_written_is_refused,
);

/// A member, a wrong value for it, the field that the answer names, and words of the way out.
fn wrong() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let names: serde_json::Map<_, _> = (0..33).map(|n| (format!("l{n}"), json!(""))).collect();
    let schema = "openapi.yaml has the form of every field";
    vec![
        ("kind", json!("robot"), "kind", schema),
        ("description", json!("é".repeat(1_001)), "description", "use at most 1000 printable characters"),
        ("description", json!("a\tb"), "description", "printable"),
        ("owner", json!("x".repeat(256)), "owner", "use at most 255 printable characters"),
        ("owner", json!("a\0b"), "owner", "printable"),
        ("labels", json!(names), "labels", "use at most 32 labels"),
        ("labels", json!({ "": "x" }), "labels", "use 1 to 63 of A-Z a-z 0-9 . _ / -"),
        ("labels", json!({ "a b": "x" }), "labels", "use 1 to 63 of A-Z a-z 0-9 . _ / -"),
        ("labels", json!({ "l".repeat(64): "x" }), "labels", "use 1 to 63 of A-Z a-z 0-9 . _ / -"),
        ("labels", json!({ "a": "x\ny" }), "labels", "use at most 255 printable characters"),
        ("labels", json!({ "a": "x".repeat(256) }), "labels", "use at most 255 printable characters"),
        ("expires_at", json!("2026-11-22T07:59:59Z"), "expires_at", "name a later time"),
        ("expires_at", json!("2026-11-22T08:00:00Z"), "expires_at", "name a later time"),
        ("expires_at", json!("2026-11-22T09:00:00"), "expires_at", schema),
        ("expires_at", json!("2026-02-30T09:00:00Z"), "expires_at", schema),
        ("grant_types", json!([]), "grant_types", "name at least one, or disable the client"),
        ("grant_types", json!(["implicit"]), "grant_types[0]", schema),
        ("auth_methods", json!([]), "auth_methods", "name at least one, or disable the client"),
        ("auth_methods", json!(["client_secret_basic", "none"]), "auth_methods[1]", schema),
        ("allowed_networks", json!(["10.0.0.0/33"]), "allowed_networks", "write 10.0.0.0/8 or 192.0.2.7"),
        ("allowed_networks", json!(["example.com"]), "allowed_networks", "write 10.0.0.0/8 or 192.0.2.7"),
        ("allowed_networks", json!(vec!["10.0.0.1"; 101]), "allowed_networks", "use at most 100"),
        ("may_act", json!("x"), "may_act", "name another client, or none"),
        ("may_act", json!("a b"), "may_act", "without white space"),
        ("token_binding", json!("both"), "token_binding", schema),
        ("default_resource_server", json!("nowhere"), "default_resource_server", "register it first"),
        ("default_resource_server", json!("no where"), "default_resource_server", "use 1 to 100 of"),
    ]
}

async fn each_wrong_field_of_a_new_client_is_named(server: Server) {
    let api = server.administrator().await;
    let before = server.last_change().await;
    let only_new = [
        ("roles", json!(["nobody"]), "roles", "create the role first"),
        ("roles", json!(["administrator", "no body"]), "roles[1]", "use 1 to 100 of"),
    ];
    for (member, value, field, fix) in wrong().into_iter().chain(only_new) {
        let mut new = json!({ "client_id": "x" });
        new[member] = value;
        api.post("/clients", new).await.expect_invalid(field, fix);
    }
    api.get("/clients/x").await.expect_problem(404, "not-found");
    assert_eq!(server.last_change().await, before);
}

async fn each_wrong_field_of_a_change_is_named(server: Server) {
    let api = server.administrator().await;
    let made = api.post("/clients", json!({ "client_id": "x" })).await.expect_version(201, 1);
    for (member, value, field, fix) in wrong() {
        api.patch("/clients/x", 1, json!({ member: value })).await.expect_invalid(field, fix);
    }
    assert_eq!(api.get("/clients/x").await.expect_version(200, 1), made);
}

async fn several_wrong_fields_are_named_at_once(server: Server) {
    let api = server.administrator().await;
    let new = json!({
        "client_id": "x", "owner": "a\tb", "grant_types": [], "labels": { "a b": "", "c d": "" },
        "description": "d".repeat(1_001), "roles": ["nobody", "no-one"], "default_resource_server": "nowhere",
        "allowed_networks": ["10.0.0.0/8", "here", "there"],
    });
    let body = api.post("/clients", new).await.expect_problem(422, "invalid");
    let mut fields: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    let [network, server] = ["allowed_networks", "default_resource_server"];
    let rest = ["description", "grant_types", "labels", "labels", "owner", "roles", "roles"];
    assert_eq!(fields, [&[network, network, server], &rest[..]].concat());
}

async fn the_largest_fields_are_taken(server: Server) {
    let api = server.administrator().await;
    let labels: serde_json::Map<_, _> =
        (10..42).map(|n| (format!("{n}{}", "l".repeat(61)), json!("é".repeat(255)))).collect();
    let new = json!({
        "client_id": "x", "description": "é".repeat(1_000), "owner": "🦀".repeat(255), "labels": labels,
        "allowed_networks": vec!["10.0.0.0/8"; 100], "expires_at": "9999-12-31T23:59:59Z",
    });
    let made = api.post("/clients", new.clone()).await.expect_version(201, 1);
    for member in ["description", "owner", "labels", "allowed_networks", "expires_at"] {
        assert_eq!(made[member], new[member], "{member}");
    }
    assert_eq!(api.get("/clients/x").await.expect_version(200, 1), made);
}

/// RFC 3339 has four digits for the year; an offset can lead past them.
async fn an_end_that_cannot_be_written_is_refused(server: Server) {
    let api = server.administrator().await;
    server.client(json!({ "client_id": "x" })).await;
    let end = json!("9999-12-31T23:59:59-12:00");
    let new = json!({ "client_id": "y", "expires_at": end });
    api.post("/clients", new).await.expect_invalid("expires_at", "");
    api.patch("/clients/x", 1, json!({ "expires_at": end })).await.expect_invalid("expires_at", "");
    let secret = json!({ "expires_at": end });
    api.post("/clients/x/secrets", secret).await.expect_invalid("expires_at", "");
}
