//! Exchange rules in the REST API: creating, reading, changing, disabling, removing.

mod authority;
mod fields;
mod migration;
mod pages;
mod references;

use std::time::Duration;

use serde_json::{Value, json};

use jeton::domain::exchange_rule::{ExchangeMode, Party, RuleSubject};
use jeton::domain::ids::ExchangeRuleName;

use crate::harness::{Server, both_engines};

both_engines!(
    a_new_rule_has_these_defaults,
    a_new_rule_keeps_all_that_was_said_of_it,
    a_name_is_taken_once_and_one_is_kept_free,
    an_unknown_rule_is_not_found,
    each_field_changes_alone,
    a_change_or_removal_needs_the_version_that_was_read,
    of_two_changes_at_a_time_one_wins,
    disabling_and_enabling_need_no_etag,
    lists_page_by_name_and_find_text,
    every_change_is_recorded_with_before_and_after,
    another_replica_sees_every_change,
);

const PATH: &str = "/exchange-rules/r";

/// The resource servers `orders` and `stock`, the role `order-reader`, the clients `billing` with it and `gateway`.
async fn cast(server: &Server) {
    server.billing().await;
    server
        .resource_server(json!({
            "name": "stock", "identifier": "https://stock.example",
            "permissions": [{ "permission": "stock:read" }, { "permission": "stock:write" }],
        }))
        .await;
    server.client(json!({ "client_id": "gateway" })).await;
}

/// A rule of this name with every default.
fn rule(name: &str) -> Value {
    json!({
        "name": name, "caller": { "client": "gateway" }, "subject": { "role": "order-reader" },
        "resource_server": "stock", "permissions": ["stock:read"],
    })
}

async fn a_new_rule_has_these_defaults(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let answer = api.post("/exchange-rules", rule("r")).await;
    assert_eq!(answer.header("location"), Some("exchange-rules/r"));
    let mut expected = rule("r");
    for (member, value) in [
        ("description", json!("")),
        ("sources", json!([])),
        ("actor", Value::Null),
        ("mode", json!("delegation")),
        ("max_depth", json!(5)),
        ("warnings", json!([])),
        ("token_lifetime", Value::Null),
        ("enabled", json!(true)),
        ("expires_at", Value::Null),
        ("version", json!(1)),
        ("created_at", json!("2026-11-22T08:00:00Z")),
        ("updated_at", json!("2026-11-22T08:00:00Z")),
    ] {
        expected[member] = value;
    }
    assert_eq!(answer.expect_version(201, 1), expected, "and nothing else: no database id");
    assert_eq!(api.get(PATH).await.expect_version(200, 1), expected);
}

async fn a_new_rule_keeps_all_that_was_said_of_it(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let new = json!({
        "name": "A.b_c:d-1", "description": "é\n🦀", "caller": { "role": "order-reader" },
        "subject": { "client": "billing" }, "resource_server": "stock",
        "permissions": ["stock:read", "stock:write"], "sources": ["orders", "stock"],
        "mode": "impersonation", "max_depth": 10, "token_lifetime": 10, "enabled": false,
        "expires_at": "2026-11-22T08:00:00.000001Z",
    });
    let made = api.post("/exchange-rules", new.clone()).await.expect_version(201, 1);
    for (member, value) in new.as_object().unwrap() {
        assert_eq!(made[member], *value, "{member}");
    }
    assert_eq!(api.get("/exchange-rules/A.b_c:d-1").await.expect_version(200, 1), made);
    assert_eq!(api.get("/exchange-rules").await.expect(200), json!({ "items": [made] }));
}

async fn a_name_is_taken_once_and_one_is_kept_free(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let made = api.post("/exchange-rules", rule("r")).await.expect_version(201, 1);
    let mut other = rule("r");
    other["description"] = "other".into();
    let refused = api.post("/exchange-rules", other).await.expect_problem(409, "conflict");
    assert_eq!(refused["detail"], "an exchange rule 'r' exists already");
    assert_eq!(api.get(PATH).await.expect_version(200, 1), made);
    api.post("/exchange-rules", rule("R")).await.expect(201);
    let refused = api.post("/exchange-rules", rule("dry-run")).await;
    assert_eq!(refused.expect_invalid("name", "other than 'dry-run'"), "'dry-run' is not allowed");
}

async fn an_unknown_rule_is_not_found(server: Server) {
    let api = server.administrator().await;
    for answer in [
        api.get("/exchange-rules/none").await,
        api.patch("/exchange-rules/none", 1, json!({})).await,
        api.delete("/exchange-rules/none", Some(1)).await,
        api.post("/exchange-rules/none/disable", Value::Null).await,
        api.post("/exchange-rules/none/enable", Value::Null).await,
    ] {
        assert_eq!(answer.expect_problem(404, "not-found")["detail"], "there is no exchange rule 'none'");
    }
}

async fn each_field_changes_alone(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let mut expected = api.post("/exchange-rules", rule("r")).await.expect_version(201, 1);
    let changes = [
        ("description", json!("new")),
        ("caller", json!({ "role": "order-reader" })),
        ("caller", json!({ "client": "billing" })),
        ("subject", json!({ "client": "gateway" })),
        ("subject", json!({ "role": "order-reader" })),
        ("permissions", json!(["stock:read", "stock:write"])),
        ("permissions", json!(["stock:write"])),
        ("sources", json!(["orders", "stock"])),
        ("sources", json!(["orders"])),
        ("sources", json!([])),
        ("mode", json!("impersonation")),
        ("mode", json!("delegation")),
        ("max_depth", json!(1)),
        ("token_lifetime", json!(3_600)),
        ("token_lifetime", Value::Null),
        ("expires_at", json!("2030-01-01T00:00:00Z")),
        ("expires_at", Value::Null),
        ("enabled", json!(false)),
        ("enabled", json!(true)),
    ];
    for ((member, value), version) in changes.into_iter().zip(1_i64..) {
        server.clock.advance(Duration::from_secs(1));
        expected[member] = value.clone();
        expected["version"] = (version + 1).into();
        expected["updated_at"] = format!("2026-11-22T08:00:{version:02}Z").into();
        let answer = api.patch(PATH, version, json!({ member: value })).await;
        assert_eq!(answer.expect_version(200, version + 1), expected, "{member}");
        assert_eq!(api.get(PATH).await.expect_version(200, version + 1), expected, "{member}");
    }
    expected["version"] = 21.into();
    assert_eq!(api.patch(PATH, 20, json!({})).await.expect_version(200, 21), expected, "absent stays");
}

async fn a_change_or_removal_needs_the_version_that_was_read(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let made = api.post("/exchange-rules", rule("r")).await.expect_version(201, 1);
    let body = json!({ "description": "new", "permissions": ["stock:write"], "sources": ["orders"] });
    let required = server.api("PATCH", PATH, &api.token, &[], body.clone()).await;
    required.expect_problem(428, "precondition-required");
    api.delete(PATH, None).await.expect_problem(428, "precondition-required");
    for version in [0, 2, i64::MAX] {
        api.patch(PATH, version, body.clone()).await.expect_problem(412, "stale");
        api.delete(PATH, Some(version)).await.expect_problem(412, "stale");
    }
    assert_eq!(api.get(PATH).await.expect_version(200, 1), made);
    api.patch(PATH, 1, body).await.expect_version(200, 2);
    api.delete(PATH, Some(1)).await.expect_problem(412, "stale");
    let answer = api.delete(PATH, Some(2)).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    api.get(PATH).await.expect_problem(404, "not-found");
    api.post("/exchange-rules", rule("r")).await.expect_version(201, 1);
}

async fn of_two_changes_at_a_time_one_wins(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    api.post("/exchange-rules", rule("r")).await.expect(201);
    let change = |permission: &str| json!({ "description": permission, "permissions": [permission] });
    for version in 1..6 {
        let (read, write) = tokio::join!(
            api.patch(PATH, version, change("stock:read")),
            api.patch(PATH, version, change("stock:write")),
        );
        let (won, lost, permission) =
            if read.status == 200 { (read, write, "stock:read") } else { (write, read, "stock:write") };
        won.expect_version(200, version + 1);
        lost.expect_problem(412, "stale");
        let now = api.get(PATH).await.expect_version(200, version + 1);
        assert_eq!((&now["description"], &now["permissions"]), (&json!(permission), &json!([permission])));
    }
}

async fn disabling_and_enabling_need_no_etag(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    api.post("/exchange-rules", rule("r")).await.expect(201);
    let (off, on) = (format!("{PATH}/disable"), format!("{PATH}/enable"));
    assert_eq!(api.post(&off, Value::Null).await.expect_version(200, 2)["enabled"], false);
    assert_eq!(api.post(&off, Value::Null).await.expect_version(200, 2)["enabled"], false, "twice is once");
    assert_eq!(api.get(PATH).await.expect_version(200, 2)["permissions"], json!(["stock:read"]));
    assert_eq!(api.post(&on, Value::Null).await.expect_version(200, 3)["enabled"], true);
    assert_eq!(api.post(&on, Value::Null).await.expect_version(200, 3)["enabled"], true, "twice is once");
}

async fn lists_page_by_name_and_find_text(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    for (name, client) in [("s:3", "gateway"), ("S-1", "billing"), ("s_5", "gateway"), ("s.2", "billing")] {
        let mut new = rule(name);
        new["description"] = format!("For {client}").into();
        new["caller"] = json!({ "client": client });
        api.post("/exchange-rules", new).await.expect(201);
    }
    let all = ["S-1", "s.2", "s:3", "s_5"];
    for limit in [1, 2, 3, 4, 500] {
        let pages = api.pages("/exchange-rules?", limit, "name", async {}).await;
        assert_eq!(pages.concat(), all, "by {limit}, in the order of their bytes");
        assert_eq!(pages.len(), all.len().div_ceil(limit), "by {limit}: no empty page at the end");
    }
    let callers: Vec<Value> = api.get("/exchange-rules").await.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["caller"]["client"].clone())
        .collect();
    assert_eq!(callers, ["billing", "billing", "gateway", "gateway"]);
    for (text, expected) in [("BILLING", &["S-1", "s.2"][..]), ("s_", &["s_5"]), ("%", &[])] {
        let path = format!("/exchange-rules?q={}", crate::harness::encoded(text));
        assert_eq!(api.listed(&path, "name").await, expected, "{text}");
    }
    api.get("/exchange-rules?limit=0").await.expect_invalid("limit", "use 1 to 500");
    api.get("/exchange-rules?cursor=!!!").await.expect_invalid("cursor", "unchanged");
    api.get("/exchange-rules?caller=x").await.expect_problem(400, "malformed");
}

async fn every_change_is_recorded_with_before_and_after(server: Server) {
    cast(&server).await;
    let api = server.administrator().await;
    let answers = [
        ("create", api.post("/exchange-rules", rule("r")).await),
        ("update", api.patch(PATH, 1, json!({ "sources": ["orders"] })).await),
        ("disable", api.post(&format!("{PATH}/disable"), Value::Null).await),
        ("enable", api.post(&format!("{PATH}/enable"), Value::Null).await),
        ("delete", api.delete(PATH, Some(4)).await),
    ];
    let mut before = Value::Null;
    for (action, answer) in answers {
        let event = server.recorded(&answer).await;
        assert_eq!((event.kind.as_str(), event.outcome.as_str()), ("changed", "success"), "{action}");
        assert_eq!(event.detail["action"], format!("exchange_rule.{action}"));
        assert_eq!(event.detail["target"], "r");
        assert_eq!(event.detail["before"], before, "{action}");
        before = if action == "delete" { Value::Null } else { answer.json() };
        assert_eq!(event.detail["after"], before, "{action}");
    }
}

async fn another_replica_sees_every_change(server: Server) {
    cast(&server).await;
    let replica = server.replica().await;
    let api = server.administrator().await;
    let name = ExchangeRuleName::new("r").unwrap();
    // Within a second, in real time, without a request that would make it look.
    let seen = async |wanted: Option<i64>| {
        let seeing = async {
            loop {
                let catalog = replica.app.admin().directory.as_ref().unwrap().catalog();
                let rule = catalog.exchange_rule(&name).cloned();
                if rule.as_ref().map(|rule| rule.version) == wanted {
                    return rule;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), seeing).await;
        found.unwrap_or_else(|_| panic!("version {wanted:?} was never seen"))
    };
    let mut new = rule("r");
    new["sources"] = json!(["orders"]);
    new["token_lifetime"] = 60.into();
    api.post("/exchange-rules", new).await.expect(201);
    let rule = seen(Some(1)).await.unwrap();
    let catalog = replica.app.admin().directory.as_ref().unwrap().catalog();
    let orders = catalog.by_identifier("https://orders.example").unwrap();
    assert_eq!(rule.sources, [orders.uid].into());
    assert_eq!((rule.mode, rule.max_depth), (ExchangeMode::Delegation, 5));
    assert_eq!(rule.token_lifetime, Some(Duration::from_mins(1)));
    assert!(matches!(
        (rule.caller, rule.subject.clone()),
        (Party::Client(_), RuleSubject::Party(Party::Role(_)))
    ));
    api.patch(PATH, 1, json!({ "mode": "impersonation" })).await.expect(200);
    assert_eq!(seen(Some(2)).await.unwrap().mode, ExchangeMode::Impersonation);
    api.post(&format!("{PATH}/disable"), Value::Null).await.expect(200);
    assert!(!seen(Some(3)).await.unwrap().enabled);
    api.delete(PATH, Some(3)).await.expect(204);
    seen(None).await;
}
