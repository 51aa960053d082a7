//! Fields of an exchange rule that are wrong: each is named, with what to send instead, and nothing is changed.

use std::time::Duration;

use serde_json::{Value, json};

use jeton::config::Config;

use super::{PATH, cast, rule};
use crate::harness::{Server, both_engines};

both_engines!(
    each_wrong_field_of_a_new_rule_is_named,
    each_wrong_field_of_a_change_is_named,
    several_wrong_fields_are_named_at_once,
    a_lifetime_that_is_too_long_by_now_stays,
);

/// A member, a wrong value for it, the field that the answer names, and words of the way out.
fn wrong() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let schema = "openapi.yaml has the form of every field";
    let either = "write either \"client\" with a client id or \"role\" with a role";
    let seconds = "use 10 to 3600 (tokens.max_lifetime in the configuration)";
    let mut table = vec![
        ("description", json!("d".repeat(1_001)), "description", "use at most 1000 printable characters"),
        ("description", json!("a\0b"), "description", "printable"),
        ("permissions", json!([]), "permissions", "name at least one, or disable the rule"),
        ("permissions", json!(["orders:read"]), "permissions", "add it to the resource server first"),
        ("permissions", json!(vec!["stock:read"; 1_001]), "permissions", "use at most 1000"),
        ("permissions", json!(["a b"]), "permissions[0]", "use 1 to 200 printable"),
        ("permissions", json!("stock:read"), "permissions", schema),
        ("sources", json!(["orders", "nowhere"]), "sources", "register it first"),
        ("sources", json!(vec!["orders"; 101]), "sources", "use at most 100"),
        ("sources", json!(["no where"]), "sources[0]", "use 1 to 100 of"),
        ("mode", json!("magic"), "mode", schema),
        ("max_depth", json!(0), "max_depth", "use 1 to 10"),
        ("max_depth", json!(11), "max_depth", "use 1 to 10"),
        ("max_depth", json!(256), "max_depth", schema),
        ("max_depth", json!(-1), "max_depth", schema),
        ("token_lifetime", json!(9), "token_lifetime", seconds),
        ("token_lifetime", json!(3_601), "token_lifetime", seconds),
        ("token_lifetime", json!("60"), "token_lifetime", schema),
        ("expires_at", json!("2026-11-22T08:00:00Z"), "expires_at", "name a later time"),
        ("expires_at", json!("tomorrow"), "expires_at", schema),
        ("enabled", json!("yes"), "enabled", schema),
        ("enabled", Value::Null, "enabled", schema),
    ];
    for party in ["caller", "subject"] {
        table.extend([
            (party, json!({ "client": "nobody" }), party, "register it first"),
            (party, json!({ "role": "nobody" }), party, "create the role first"),
            (party, json!({}), party, either),
            (party, json!({ "client": "billing", "role": "order-reader" }), party, either),
            (party, json!("billing"), party, schema),
            (party, Value::Null, party, schema),
        ]);
    }
    table.extend([
        ("caller", json!({ "client": "a b" }), "caller.client", "without white space"),
        ("caller", json!({ "client": null }), "caller.client", schema),
        ("subject", json!({ "role": "a b" }), "subject.role", "use 1 to 100 of"),
        ("subject", json!({ "issuer": "x" }), "subject.issuer", schema),
    ]);
    table
}

async fn each_wrong_field_of_a_new_rule_is_named(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let before = server.last_change().await;
    let only_new = [
        ("resource_server", json!("nowhere"), "resource_server", "register it first"),
        ("resource_server", json!("no where"), "resource_server", "use 1 to 100 of"),
        ("name", json!("a b"), "name", "use 1 to 100 of"),
        ("name", json!("dry-run"), "name", "other than 'dry-run'"),
    ];
    for (member, value, field, fix) in wrong().into_iter().chain(only_new) {
        let mut new = rule("r");
        new[member] = value;
        api.post("/exchange-rules", new).await.expect_invalid(field, fix);
    }
    for missing in ["name", "caller", "subject", "resource_server", "permissions"] {
        let mut new = rule("r");
        new.as_object_mut().unwrap().remove(missing);
        let problem = api.post("/exchange-rules", new).await.expect_invalid(missing, "openapi.yaml");
        assert_eq!(problem, "it is missing");
    }
    api.get(PATH).await.expect_problem(404, "not-found");
    assert_eq!(server.last_change().await, before);
}

async fn each_wrong_field_of_a_change_is_named(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let made = api.post("/exchange-rules", rule("r")).await.expect_version(201, 1);
    let fixed = [
        ("resource_server", json!("orders"), "resource_server", "openapi.yaml"),
        ("name", json!("other"), "name", "openapi.yaml"),
    ];
    for (member, value, field, fix) in wrong().into_iter().chain(fixed) {
        api.patch(PATH, 1, json!({ member: value })).await.expect_invalid(field, fix);
    }
    assert_eq!(api.get(PATH).await.expect_version(200, 1), made);
}

async fn several_wrong_fields_are_named_at_once(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let new = json!({
        "name": "r", "description": "a\tb", "caller": { "client": "nobody" }, "subject": { "role": "nobody" },
        "resource_server": "stock", "permissions": ["stock:none", "stock:nought"], "sources": ["nowhere"],
        "max_depth": 11, "token_lifetime": 1, "expires_at": "2020-01-01T00:00:00Z",
    });
    let expected = [
        ("description", "5"),
        ("caller", "there is no client 'nobody'"),
        ("subject", "there is no role 'nobody'"),
        ("permissions", "'stock' defines no permission 'stock:none'"),
        ("permissions", "'stock' defines no permission 'stock:nought'"),
        ("sources", "there is no resource server 'nowhere'"),
        ("max_depth", "11 is not allowed"),
        ("token_lifetime", "1 seconds are not allowed"),
        ("expires_at", "it lies before the rule was created"),
    ];
    let mut change = new.clone();
    for fixed in ["name", "resource_server"] {
        change.as_object_mut().unwrap().remove(fixed);
    }
    let refused = api.post("/exchange-rules", new).await;
    api.post("/exchange-rules", rule("r")).await.expect(201);
    for answer in [refused, api.patch(PATH, 1, change).await] {
        let body = answer.expect_problem(422, "invalid");
        let mut errors: Vec<_> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (error["field"].as_str().unwrap(), error["problem"].as_str().unwrap()))
            .map(|(field, problem)| (field, if field == "description" { "5" } else { problem }))
            .collect();
        errors.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(errors, expected);
    }
}

/// A limit that was lowered later must not stand in the way of other changes.
async fn a_lifetime_that_is_too_long_by_now_stays(server: Server) {
    cast(&server).await;
    let mut new = rule("r");
    new["token_lifetime"] = 3_600.into();
    server.exchange_rule(new).await;
    let shorter = |config: &mut Config| config.max_token_lifetime = Duration::from_mins(5);
    let server = server.restart_with(shorter).await.unwrap();
    let api = server.administrator().await;
    let changed = api.patch(PATH, 1, json!({ "description": "new" })).await.expect_version(200, 2);
    assert_eq!(changed["token_lifetime"], 3_600);
    api.patch(PATH, 2, json!({ "token_lifetime": 301 })).await.expect_invalid("token_lifetime", "10 to 300");
}
