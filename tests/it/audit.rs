//! Nothing leaves unrecorded (DESIGN §1, promise 1), and no secret is recorded (promise 6).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Client, START, Server, both_engines};
use crate::token::{GRANT, shop, verified};
use jeton::admin::By;
use jeton::admin::resource_servers::UpdateResourceServer;
use jeton::domain::ids::{ClientId, ResourceServerName, RoleName};

both_engines!(
    a_grant_is_recorded_once_and_whole,
    what_was_asked_is_recorded_in_its_own_words,
    many_at_once_are_each_recorded_once,
    a_refused_authentication_is_recorded_with_its_reason,
    a_refused_request_is_recorded_with_its_reason,
    an_unreadable_request_is_recorded_with_its_reason,
    hostile_words_do_not_break_the_record,
    a_secret_in_the_wrong_field_is_not_recorded,
    what_is_too_large_to_read_is_recorded,
    an_administrators_changes_are_recorded,
    a_refused_administrator_is_recorded,
    the_start_is_recorded,
    no_secret_hash_or_token_is_ever_recorded,
);

const CHOSEN: &str = "a chosen secret of some length";

fn client_id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// How many events of this kind there are.
async fn count(server: &Server, kind: &str) -> usize {
    let sql = format!("SELECT kind FROM audit_events WHERE kind = '{kind}'");
    server.database.texts(&sql).await.len()
}

// --- Tokens ---

async fn a_grant_is_recorded_once_and_whole(server: Server) {
    let server = server.at_one_address();
    let shop = shop(&server).await;
    let body = format!("{GRANT}&resource=https://orders.example&resource=https://stock.example");
    server.clock.advance(Duration::from_millis(1_500));
    let answer = server.token(&shop, &body).await;
    let token = answer.expect(200)["access_token"].as_str().unwrap().to_owned();
    let (header, claims) = verified(&server, &token).await;

    assert_eq!(count(&server, "token_issued").await, 1);
    let event = server.recorded(&answer).await;
    assert_eq!((&*event.kind, &*event.outcome), ("token_issued", "success"));
    assert_eq!(event.client_id.as_deref(), Some("shop"));
    assert_eq!(event.jti.as_deref(), claims["jti"].as_str());
    assert_eq!(event.txn.as_deref(), claims["txn"].as_str());
    assert_eq!(event.at, START.as_micros() + 1_500_000);
    let origin = json!({ "request_id": answer.header("x-request-id").unwrap(), "address": "127.0.0.1" });
    assert_eq!(event.origin, origin);

    let secrets = server.app.admin().secrets(&By::system(), &client_id("shop")).await.unwrap();
    let expected = json!({
        "kind": "token_issued", "client_id": "shop", "auth_method": "client_secret_basic",
        "credential_id": secrets[0].secret_id, "grant_type": "client_credentials",
        "asked": { "resource": ["https://orders.example", "https://stock.example"] },
        "subject": "shop", "audience": ["https://orders.example", "https://stock.example"],
        "scope": "orders:read orders:write stock:read",
        "roles": ["order-reader", "order-writer", "stock-reader"],
        "jti": claims["jti"], "txn": claims["txn"], "kid": header["kid"],
        "expires_at": event.detail["expires_at"],
    });
    assert_eq!(event.detail, expected);
    let end = event.detail["expires_at"].as_str().unwrap();
    assert_eq!(end, "2026-11-22T08:05:01.5Z", "of which the token has the whole seconds");
    assert_eq!(claims["exp"], START.as_seconds() + 301);
}

async fn what_was_asked_is_recorded_in_its_own_words(server: Server) {
    let shop = shop(&server).await;
    let body = format!("{GRANT}&scope=orders:write++orders:read&audience=https://orders.example");
    let event = server.recorded(&server.token(&shop, &body).await).await;
    let asked = json!({ "scope": "orders:write  orders:read", "audience": ["https://orders.example"] });
    assert_eq!(event.detail["asked"], asked);
    assert_eq!(event.detail["scope"], "orders:read orders:write");
    let nothing = server.token(&shop, &format!("{GRANT}&scope=&resource=&audience=")).await;
    assert_eq!(server.recorded(&nothing).await.detail["asked"], json!({}));
}

async fn many_at_once_are_each_recorded_once(server: Server) {
    let server = server.at_one_address();
    let billing = Arc::new(server.billing().await);
    let server = Arc::new(server);
    let mut requests = JoinSet::new();
    for n in 0..40 {
        let (server, billing) = (Arc::clone(&server), Arc::clone(&billing));
        requests.spawn(async move {
            let body = if n % 4 == 0 { format!("{GRANT}&scope=nowhere") } else { GRANT.to_owned() };
            server.token(&billing, &body).await
        });
    }
    let mut ids = BTreeSet::new();
    for answer in requests.join_all().await {
        let event = server.recorded(&answer).await;
        let kind = if answer.status == 200 { "token_issued" } else { "token_refused" };
        assert_eq!(event.kind, kind, "{answer:?}");
        ids.extend(event.jti);
    }
    assert_eq!(ids.len(), 30, "every token has a jti of its own");
    assert_eq!(count(&server, "token_issued").await, 30);
    // The ten refusals are the same: the first has an event of its own, the others share one each second.
    let refused = server.events("token_refused").await;
    let counted: u64 = refused.iter().map(|event| event["repeated"]["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 10, "{refused:?}");
    assert!((2..=4).contains(&refused.len()), "{refused:?}");
}

// --- Refusals ---

/// Asserts that a refusal is recorded with this reason, which the caller was not told.
async fn private(server: &Server, row: &str, answer: &Answer, client_id: Option<&str>, reason: &str) {
    let event = server.recorded(answer).await;
    let body = answer.json();
    assert_eq!((&*event.kind, &*event.outcome), ("token_refused", "refused"), "{row}");
    assert_eq!(event.detail["reason"], reason, "{row}");
    assert_eq!(event.detail["error"], body["error"], "{row}");
    assert_eq!(event.client_id.as_deref(), client_id, "{row}");
    assert_eq!(event.detail["client_id"].as_str(), client_id, "{row}");
    assert_eq!(event.detail["authenticated"], body["error"] != "invalid_client", "{row}");
    assert_eq!((event.jti, event.txn), (None, None), "{row}");
    assert!(!answer.body.contains(reason), "{row}: {answer:?}");
}

async fn a_refused_authentication_is_recorded_with_its_reason(server: Server) {
    let billing = server.billing().await;
    let admin = server.app.admin();
    let new = |id: &str, more: Value| {
        let mut new = json!({ "client_id": id, "roles": ["order-reader"] });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.client(new)
    };
    let disabled = new("disabled", json!({})).await;
    admin.set_client_enabled(&By::system(), &client_id("disabled"), false).await.unwrap();
    let expired = new("expired", json!({ "expires_at": "2026-11-22T08:30:00Z" })).await;
    let other_method = new("post-only", json!({ "auth_methods": ["client_secret_post"] })).await;
    let elsewhere = new("elsewhere", json!({ "allowed_networks": ["192.0.2.0/24"] })).await;
    let late = server.secret("billing", json!({ "expires_in": 60 })).await;
    let secrets = admin.secrets(&By::system(), &client_id("billing")).await.unwrap();
    let late_id = &secrets.iter().find(|secret| secret.expires_at.is_some()).unwrap().secret_id;
    server.clock.advance(Duration::from_hours(1));

    for (row, client, reason) in [
        ("unknown", Client::new("nobody", CHOSEN), "no client has this client_id".to_owned()),
        ("wrong secret", Client::new("billing", CHOSEN), "the secret is none of the client's".to_owned()),
        ("disabled", disabled, "the client is disabled".to_owned()),
        ("expired", expired, "the client is expired".to_owned()),
        ("method", other_method, "the client is not registered for client_secret_basic".to_owned()),
        ("network", elsewhere, "the caller's address is outside the client's allowed networks".to_owned()),
        ("expired secret", late, format!("secret {late_id} is expired")),
    ] {
        let answer = server.token(&client, GRANT).await;
        answer.expect_refusal(row, 401, "invalid_client");
        private(&server, row, &answer, Some(&client.id), &reason).await;
    }
    let none = server.form(&[], GRANT).await;
    private(&server, "none", &none, None, "the request has no client credential that is understood").await;
    server.token(&billing, GRANT).await.expect(200);
}

async fn a_refused_request_is_recorded_with_its_reason(server: Server) {
    shop(&server).await;
    let billing = server.secret("billing", json!({})).await;
    let admin = server.app.admin();
    let resource = |value: &str| format!("{GRANT}&resource={value}");
    let refused = async |row: &str, body: &str, reason: &str| {
        let answer = server.token(&billing, body).await;
        answer.expect_refusal(row, 400, "invalid_target");
        private(&server, row, &answer, Some("billing"), reason).await;
        server.recorded(&answer).await.detail
    };
    let unknown = "no resource server has the identifier 'https://nowhere.example'";
    let detail = refused("unknown", &resource("https://nowhere.example"), unknown).await;
    let expected = json!({
        "kind": "token_refused", "client_id": "billing", "authenticated": true,
        "auth_method": "client_secret_basic", "credential_id": detail["credential_id"],
        "grant_type": "client_credentials", "asked": { "resource": ["https://nowhere.example"] },
        "error": "invalid_target", "reason": unknown,
    });
    assert_eq!(detail, expected);

    let stock = resource("https://stock.example");
    refused("not granted", &stock, "no role of the client gives a permission at 'stock'").await;
    let off = UpdateResourceServer { enabled: Some(false), ..Default::default() };
    let (by, name) = (By::system(), ResourceServerName::new("stock").unwrap());
    admin.update_resource_server(&by, &name, 1, off).await.unwrap();
    refused("disabled", &stock, "resource server 'stock' is disabled").await;

    let role = RoleName::new("order-reader").unwrap();
    admin.unassign_role(&by, &client_id("billing"), &role).await.unwrap();
    let nothing = "no role of the client gives a permission at a resource server that is in force";
    refused("no role", GRANT, nothing).await;

    let scope = server.token(&billing, &format!("{GRANT}&scope=orders:read")).await;
    scope.expect_oauth_error(400, "invalid_scope");
    let event = server.recorded(&scope).await;
    assert_eq!(
        (&event.detail["error"], &event.detail["authenticated"]),
        (&json!("invalid_scope"), &json!(true))
    );
    assert!(event.detail["reason"].as_str().unwrap().contains("'orders:read'"), "{event:?}");
}

/// Requests of which nobody knows whose they are leave an event as well.
async fn an_unreadable_request_is_recorded_with_its_reason(server: Server) {
    let billing = server.billing().await;
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (row, target, headers, body, reason) in [
        ("content type", "", &[][..], GRANT, "send Content-Type: application/x-www-form-urlencoded"),
        ("repeated", "", &[form], "tenant=1&tenant=2", "parameter 'tenant' is repeated"),
        ("escape", "", &[form], "a=%", "the body is not form-urlencoded UTF-8; escape '%' as %25"),
        ("no grant type", "", &[form], "scope=a", "grant_type is missing"),
        (
            "grant type",
            "",
            &[form],
            "grant_type=magic",
            "the supported grant types are: client_credentials, urn:ietf:params:oauth:grant-type:token-exchange, \
             urn:ietf:params:oauth:grant-type:jwt-bearer",
        ),
        (
            "query",
            "?x=1",
            &[form],
            GRANT,
            "send parameters in the body only: a query string ends up in logs (RFC 6749 section 2.3.1)",
        ),
        (
            "two headers",
            "",
            &[form, &billing.basic(), &billing.basic()],
            GRANT,
            "send one Authorization header",
        ),
    ] {
        let answer = server.send("POST", &format!("/oauth2/token{target}"), headers, body).await;
        assert_eq!(answer.status, 400, "{row}: {answer:?}");
        let event = server.recorded(&answer).await;
        assert_eq!((&*event.kind, &*event.outcome), ("token_refused", "refused"), "{row}");
        assert_eq!(event.detail["reason"], reason, "{row}");
        assert_eq!(event.detail["error"], answer.json()["error"], "{row}");
        assert_eq!(event.detail["authenticated"], false, "{row}");
        assert_eq!(event.client_id, None, "{row}");
    }
}

async fn hostile_words_do_not_break_the_record(server: Server) {
    let billing = server.billing().await;
    let words = [
        ("NUL", "a%00b".to_owned()),
        ("many NULs", "%00".repeat(10_000)),
        ("control characters", "%01%07%1B%5B31m%0D%0A%7F%C2%85".to_owned()),
        ("10 kB", "a".repeat(10_000)),
        ("10 kB of many bytes each", "%F0%9F%94%91".repeat(2_500)),
        ("JSON and SQL", "%22%7D%27;DROP+TABLE+audit_events;--%5C%5Cu0000".to_owned()),
        ("no characters", "%EF%BF%BE%EF%BF%BF%E2%80%A8%E2%80%AE".to_owned()),
    ];
    for (row, word) in &words {
        for parameter in ["grant_type", "scope", "resource", "audience", "client_id"] {
            let row = format!("{row} in {parameter}");
            let body = match parameter {
                "grant_type" => format!("grant_type={word}"),
                "client_id" => format!("{GRANT}&client_id={word}&client_secret=x"),
                other => format!("{GRANT}&{other}={word}"),
            };
            let headers = if parameter == "client_id" { vec![] } else { vec![billing.basic()] };
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = server.form(&headers, &body).await;
            assert!(matches!(answer.status, 400 | 401), "{row}: {answer:?}");
            answer.expect_refusal(&row, answer.status, answer.json()["error"].as_str().unwrap());
            readable(&row, &server.recorded(&answer).await.detail);
        }
        for body in [format!("{GRANT}&{word}=1&{word}=2"), format!("{GRANT}&client_secret={word}")] {
            let answer = server.form(&[], &body).await;
            answer.expect_refusal(row, 400, "invalid_request");
            readable(row, &server.recorded(&answer).await.detail);
        }
        // As much as headers may have, and no escape cut in two.
        let short = &word[..word.len().min(6_000)];
        let basic = crate::harness::basic(&format!("{short}:{short}"));
        let answer = server.form(&[&basic], GRANT).await;
        answer.expect_refusal(row, 401, "invalid_client");
        readable(row, &server.recorded(&answer).await.detail);
    }
    let many: Vec<String> = (0..90).map(|n| format!("resource=https://{n}.example")).collect();
    let answer = server.token(&billing, &format!("{GRANT}&{}", many.join("&"))).await;
    answer.expect_oauth_error(400, "invalid_target");
    let asked = server.recorded(&answer).await.detail["asked"]["resource"].clone();
    assert_eq!(asked.as_array().unwrap().len(), 10, "enough to see what it was");
}

/// DESIGN §1.6: a working secret must not stand in the audit because somebody mixed up two fields.
async fn a_secret_in_the_wrong_field_is_not_recorded(server: Server) {
    let billing = server.billing().await;
    let secret = &billing.secret;
    let swapped = crate::harness::basic(&format!("{secret}:billing"));
    server.form(&[&swapped], GRANT).await.expect_oauth_error(401, "invalid_client");
    for body in [
        format!("{GRANT}&client_id={secret}&client_secret=billing"),
        format!("{GRANT}&scope={secret}"),
        format!("{GRANT}&resource={secret}"),
        format!("{GRANT}&audience=https://x/{secret}"),
        format!("grant_type={secret}"),
        format!("{secret}=1&{secret}=2"),
        format!("{{\"client_secret\":\"{secret}\"}}"),
    ] {
        let answer = server.form(&[], &body).await;
        assert!(matches!(answer.status, 400 | 401), "{answer:?}");
        server.token(&billing, &body).await;
    }
    let recorded = server.audit_rows().await.join("\n");
    assert!(recorded.contains("jtn_(redacted)"), "the fields were recorded: {recorded}");
    assert!(!recorded.contains(&secret[4..]), "{recorded}");
}

async fn what_is_too_large_to_read_is_recorded(server: Server) {
    let body = format!("{GRANT}&x={}", "x".repeat(70_000));
    let answer = server.form(&[], &body).await;
    answer.expect_oauth_error(413, "invalid_request");
    let event = server.recorded(&answer).await;
    assert_eq!((&*event.kind, &event.detail["reason"]), ("token_refused", &json!("the body is over 64 KiB")));
}

/// Asserts that nothing in a detail is long, or would move a terminal's cursor.
#[track_caller]
fn readable(row: &str, detail: &Value) {
    match detail {
        Value::String(text) => {
            assert!(text.chars().count() <= 300, "{row}: {} characters", text.chars().count());
            assert!(!text.chars().any(char::is_control), "{row}: {text:?}");
        }
        Value::Array(values) => values.iter().for_each(|value| readable(row, value)),
        Value::Object(members) => members.values().for_each(|value| readable(row, value)),
        _ => {}
    }
}

// --- Administration ---

async fn an_administrators_changes_are_recorded(server: Server) {
    let server = server.at_one_address();
    server.billing().await;
    let token = server.api_token("administrator").await;
    let (_, claims) = verified(&server, &token).await;
    let actor = json!({ "type": "client", "client_id": claims["client_id"], "jti": claims["jti"] });
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let call = async |method: &str, path: &str, headers: &[&str], body: Value| {
        let answer = server.api(method, path, &token, headers, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        let event = server.recorded(&answer).await;
        assert_eq!((&*event.kind, &*event.outcome), ("changed", "success"), "{method} {path}");
        assert_eq!(event.client_id.as_deref(), claims["client_id"].as_str(), "who did it: {path}");
        assert_eq!(event.detail["actor"], actor, "{method} {path}");
        assert_eq!(event.origin["address"], "127.0.0.1", "{method} {path}");
        assert_eq!(event.detail["target"], path.split('/').nth(2).unwrap_or("job"), "{method} {path}");
        event.detail
    };

    let new = json!({ "client_id": "job", "owner": "team-a", "roles": ["order-reader"] });
    let created = call("POST", "/clients", &[], new).await;
    assert_eq!((&created["action"], created.get("before")), (&json!("client.create"), None));
    assert_eq!(created["after"]["client_id"], "job");
    assert_eq!(
        (&created["after"]["owner"], &created["after"]["roles"]),
        (&json!("team-a"), &json!(["order-reader"]))
    );

    let changed = call("PATCH", "/clients/job", &["If-Match: \"1\""], json!({ "owner": "team-b" })).await;
    assert_eq!(changed["action"], "client.update");
    let owners = (&changed["before"]["owner"], &changed["after"]["owner"]);
    assert_eq!(owners, (&json!("team-a"), &json!("team-b")));

    let disabled = call("POST", "/clients/job/disable", &[], Value::Null).await;
    assert_eq!(disabled["action"], "client.disable");
    let enabled = (&disabled["before"]["enabled"], &disabled["after"]["enabled"]);
    assert_eq!(enabled, (&json!(true), &json!(false)));

    let visible =
        ["secret_id", "origin", "description", "created_at", "expires_at", "expired", "expires_soon"];
    let visible: BTreeSet<String> = visible.iter().map(ToString::to_string).collect();
    let body = json!({ "description": "first", "secret": CHOSEN });
    let added = call("POST", "/clients/job/secrets", &[], body).await;
    assert_eq!((&added["action"], added.get("before")), (&json!("client.secret.add"), None));
    assert_eq!(names(&added["after"]), visible, "nothing of the secret");
    let secret_id = added["after"]["secret_id"].as_str().unwrap().to_owned();

    let revoked = call("DELETE", &format!("/clients/job/secrets/{secret_id}"), &[], Value::Null).await;
    assert_eq!((&revoked["action"], revoked.get("after")), (&json!("client.secret.revoke"), None));
    assert_eq!((names(&revoked["before"]), &revoked["before"]["secret_id"]), (visible, &json!(secret_id)));

    let path = "/clients/job/roles/order-reader";
    let unassigned = call("DELETE", path, &[], Value::Null).await;
    assert_eq!(
        (&unassigned["action"], &unassigned["before"]),
        (&json!("client.role.unassign"), &json!("order-reader"))
    );
    let given = call("PUT", path, &[], Value::Null).await;
    assert_eq!((&given["action"], &given["after"]), (&json!("client.role.assign"), &json!("order-reader")));

    let body = json!({ "token_lifetime": 60 });
    let shorter = call("PATCH", "/resource-servers/orders", &["If-Match: \"1\""], body).await;
    assert_eq!(shorter["action"], "resource_server.update");
    let lifetimes = (&shorter["before"]["token_lifetime"], &shorter["after"]["token_lifetime"]);
    assert_eq!(lifetimes, (&json!(300), &json!(60)));

    let body = json!({ "permissions": [] });
    let emptied = call("PATCH", "/roles/order-reader", &["If-Match: \"1\""], body).await;
    assert_eq!(emptied["action"], "role.update");
    let read = json!([{ "resource_server": "orders", "permission": "orders:read" }]);
    assert_eq!((&emptied["before"]["permissions"], &emptied["after"]["permissions"]), (&read, &json!([])));

    let deleted = call("DELETE", "/clients/job", &["If-Match: \"3\""], Value::Null).await;
    assert_eq!((&deleted["action"], deleted.get("after")), (&json!("client.delete"), None));
    assert_eq!(deleted["before"]["owner"], "team-b");
}

async fn a_refused_administrator_is_recorded(server: Server) {
    let token = server.api_token("auditor").await;
    let (_, claims) = verified(&server, &token).await;
    let before = count(&server, "changed").await;
    let answer = server.api("POST", "/clients", &token, &[], json!({ "client_id": "mine" })).await;
    answer.expect_problem(403, "forbidden");
    let event = server.recorded(&answer).await;
    assert_eq!((&*event.kind, &*event.outcome), ("access_refused", "refused"));
    assert_eq!(event.client_id.as_deref(), claims["client_id"].as_str());
    let actor = json!({ "type": "client", "client_id": claims["client_id"], "jti": claims["jti"] });
    let reason = "the permission clients:write is missing: the token or the client's roles do not have it";
    let expected = json!({
        "kind": "access_refused", "actor": actor, "permission": "clients:write", "reason": reason,
    });
    assert_eq!(event.detail, expected);
    assert_eq!(count(&server, "changed").await, before);
}

/// What Jeton makes by itself, it did itself.
async fn the_start_is_recorded(server: Server) {
    let details = "SELECT event FROM audit_events ORDER BY at, seq";
    let events = |texts: Vec<String>| -> Vec<Value> {
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    };
    let first = events(server.database.texts(details).await);
    let of = |kind: &str| first.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    let algorithms: BTreeSet<_> =
        of("key_created").iter().map(|event| event["algorithm"].as_str().unwrap()).collect();
    assert_eq!(algorithms, BTreeSet::from(["ES256", "RS256"]));
    let made: BTreeSet<_> = of("changed").iter().map(|event| event["target"].as_str().unwrap()).collect();
    assert_eq!(made, BTreeSet::from(["administrator", "auditor", "jeton"]));
    assert!(of("changed").iter().all(|event| event["actor"] == json!({ "type": "system" })), "{first:?}");

    assert_eq!(first[0]["kind"], "started", "{first:?}");
    assert_eq!((&first[0]["process"], &first[0]["previous"]), (&json!("server"), &json!([])));

    let server = server.restart_with(|_| {}).await.unwrap();
    let second = events(server.database.texts(details).await);
    assert_eq!(second.len(), first.len() + 2, "a restart changes nothing: {second:?}");
    assert_eq!(second.iter().filter(|event| event["kind"] == "stopped").count(), 1);
    let named = |event: &&Value| event["kind"] == "started" && event["previous"] != json!([]);
    let previous = &second.iter().find(named).unwrap()["previous"];
    assert_eq!(previous[0]["seq"], first.len() + 1, "the second chain names the end of the first");
}

async fn no_secret_hash_or_token_is_ever_recorded(server: Server) {
    let billing = server.billing().await;
    let token = server.api_token("administrator").await;
    let body = json!({ "secret": CHOSEN, "description": "chosen" });
    server.api("POST", "/clients/billing/secrets", &token, &[], body).await.expect(201);
    let generated = server.api("POST", "/clients/billing/secrets", &token, &[], json!({})).await.expect(201);
    let generated = generated["client_secret"].as_str().unwrap().to_owned();
    let issued = server.token(&billing, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();

    let typed = "what somebody typed in the wrong place";
    let encoded = typed.replace(' ', "+");
    for (target, body) in [
        ("", format!("{GRANT}&client_id=billing&client_secret={encoded}")),
        ("", format!("{GRANT}&client_id=nobody&client_secret={encoded}")),
        ("", format!("{GRANT}&client_secret={encoded}")),
        ("", format!("{GRANT}&client_secret={encoded}&client_secret={encoded}")),
        (&*format!("?client_secret={encoded}"), GRANT.to_owned()),
    ] {
        let form = "Content-Type: application/x-www-form-urlencoded";
        let answer = server.send("POST", &format!("/oauth2/token{target}"), &[form], &body).await;
        assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    }
    server.token(&Client::new("billing", typed), GRANT).await.expect_oauth_error(401, "invalid_client");

    let rows = server.audit_rows().await.join("\n");
    assert!(
        rows.contains("client.secret.add") && rows.contains("token_refused"),
        "the right place was searched"
    );
    let signature = issued.rsplit('.').next().unwrap();
    for secret in [
        &*billing.secret,
        &generated,
        CHOSEN,
        typed,
        &encoded,
        &token,
        &issued,
        signature,
        "argon2",
        "jtn_",
        "$v=",
    ] {
        assert!(!rows.contains(secret), "{secret} is in the audit");
    }
    let hashes = server.database.texts("SELECT hash FROM client_secrets").await;
    assert_eq!(hashes.len(), 4);
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$")), "which is what was searched for");
}
