//! Who did it and to whom: events are found by both, and exported.

use std::io::Cursor;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, Server, both_engines};
use jeton::admin::audit_check::{self, TrustedKeys};
use jeton::app;
use jeton::domain::chain_check::Window;

both_engines!(
    events_are_found_by_person_and_by_the_client_that_they_are_about,
    what_is_exported_is_checked_elsewhere,
    events_from_before_are_found_too,
);

/// Ada signs in, registers a client, changes it, and is refused something; the client gets a token.
async fn scene(server: &Server) -> Client {
    let cookie = server.signed_in("ada", "administrator").await;
    let billing = server.billing().await;
    server.token(&billing, "grant_type=client_credentials").await.expect(200);
    let headers =
        [cookie.as_str(), "Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"];
    let send = async |path: &str, body: &str| server.send("POST", path, &headers, body).await;
    assert_eq!(send("/admin/clients/billing/disable", "name=billing").await.status, 303);
    assert_eq!(send("/admin/clients/billing/enable", "").await.status, 303);
    assert_eq!(send("/admin/clients/billing/revoke-tokens", "name=billing").await.status, 303);
    let wrong = send("/admin/sign-in", "name=ada&password=quiet+heron+violet+ladder").await;
    assert_eq!(wrong.status, 401);
    billing
}

async fn found(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let page = server.api("GET", &format!("/audit-events?limit=500&{query}"), token, &[], Value::Null).await;
    let mut events: Vec<Value> =
        page.expect(200)["items"].as_array().unwrap().iter().map(|item| item["event"].clone()).collect();
    events.reverse();
    events
}

fn told(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| format!("{} {}", text(event, "kind"), text(event, "action"))).collect()
}

async fn events_are_found_by_person_and_by_the_client_that_they_are_about(server: Server) {
    scene(&server).await;
    let token = server.api_token("auditor").await;
    let by_ada = found(&server, &token, "person=ada").await;
    let did = ["changed client.disable", "changed client.enable", "revoked ", "sign_in_refused "];
    assert_eq!(told(&by_ada), did, "{by_ada:?}");
    let about = found(&server, &token, "about=billing").await;
    let all = [
        "changed client.create",
        "changed client.secret.add",
        "token_issued ",
        "changed client.disable",
        "changed client.enable",
        "revoked ",
    ];
    assert_eq!(told(&about), all, "{about:?}");
    assert_eq!(told(&found(&server, &token, "about=billing&person=ada").await), did[..3]);
    assert_eq!(told(&found(&server, &token, "about=billing&kind=token_issued").await), ["token_issued "]);
    assert_eq!(told(&found(&server, &token, "client_id=billing").await), ["token_issued "]);
    assert!(found(&server, &token, "person=nobody").await.is_empty());
    // From page to page, whatever index an event is found by.
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = format!("/audit-events?about=billing&limit=2{cursor}");
        let page = server.api("GET", &page, &token, &[], Value::Null).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["event"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.reverse();
    assert_eq!(told(&seen), all);
    let client_page = server.signed_in("eve", "auditor").await;
    let page = server.send("GET", "/admin/clients/billing", &[&client_page], "").await;
    for event in ["client.disable", "token_issued", "revoked"] {
        assert!(page.body.contains(event), "{event}: {page:?}");
    }
}

async fn what_is_exported_is_checked_elsewhere(server: Server) {
    let billing = scene(&server).await;
    let cookie = server.signed_in("eve", "auditor").await;
    let export = async |query: &str| {
        let path = format!("/admin/audit/export{query}");
        let answer = server.send("GET", &path, &[&cookie, "Sec-Fetch-Site: same-origin"], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/jsonl; charset=utf-8"));
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
        answer.body
    };
    let some = export("?client_id=billing&outcome=success").await;
    let lines: Vec<Value> = some.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6, "oldest first, and nothing else: {some}");
    assert_eq!(lines[0]["event"]["action"], "client.create");
    assert!(!export("").await.contains("token_issued"), "the last ten seconds are left out");

    // More than are read at a time, and signed for by a clean end.
    for _ in 0..210 {
        server.token(&billing, "grant_type=client_credentials").await.expect(200);
    }
    let server = server.restart_with(|_| {}).await.unwrap();
    server.clock.advance(Duration::from_secs(20));
    let ours = [cookie.as_str(), "Sec-Fetch-Site: same-origin"];
    let answer = server.send("GET", "/admin/audit/export", &ours, "").await;
    let whole = answer.body;
    assert!(whole.lines().count() > 210 && whole.contains("\"checkpoint\""), "{whole}");
    let store = app::connect(&server.database.config()).await.unwrap();
    let keys = TrustedKeys::new(&audit_check::public_keys(&store).await.unwrap()).unwrap();
    let check = |text: &str| {
        let open = || Ok(Cursor::new(text.as_bytes().to_vec()));
        audit_check::check_file(open, &keys, Window::ALL, |_| {}).unwrap().findings
    };
    assert_eq!(check(&whole), [], "it is whole");
    let without =
        whole.lines().filter(|line| !line.contains("client.disable")).collect::<Vec<_>>().join("\n");
    assert!(!check(&without).is_empty(), "and shows what is missing");
    let recorded = server.events("audit_exported").await;
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    assert!(recorded.iter().all(|event| event["actor"]["name"] == "eve"), "{recorded:?}");
    let asked = json!({ "about": "billing", "outcome": "success" });
    assert_eq!(recorded.iter().filter(|event| event["asked"] == asked).count(), 1, "{recorded:?}");
    assert_eq!(recorded.iter().filter(|event| event["asked"] == json!({})).count(), 2, "{recorded:?}");
    for unknown in ["kind=nothing", "outcome=refusal"] {
        let path = format!("/admin/audit/export?{unknown}");
        let refused = server.send("GET", &path, &ours, "").await;
        assert_eq!(refused.status, 422, "{refused:?}");
    }
    // A link elsewhere makes nobody take a copy.
    for site in ["cross-site", "same-site", "none"] {
        let elsewhere = [cookie.clone(), format!("Sec-Fetch-Site: {site}")];
        let elsewhere = elsewhere.each_ref().map(String::as_str);
        assert_eq!(server.send("GET", "/admin/audit/export", &elsewhere, "").await.status, 403, "{site}");
    }
    assert_eq!(server.events("audit_exported").await.len(), 3);
}

/// What the migration does for events that were recorded before there were these columns.
async fn events_from_before_are_found_too(server: Server) {
    let odd = json!({ "client_id": "o\"dd\\one", "description": "\"action\":\"client.x\",\"target\":\"y\"" });
    server.client(odd).await;
    scene(&server).await;
    let columns =
        "SELECT COALESCE(person, '-') || ' ' || COALESCE(about, '-') || ' ' || event FROM audit_events
        ORDER BY writer, seq";
    let before = server.database.texts(columns).await;
    assert!(before.iter().any(|row| row.starts_with("- o\"dd\\one ")), "{before:?}");
    let migration = match server.database.engine {
        Engine::Sqlite => include_str!("../../migrations/sqlite/0010_audit_people.sql"),
        Engine::Postgres => include_str!("../../migrations/postgres/0010_audit_people.sql"),
    };
    let update = &migration[migration.find("UPDATE").unwrap()..];
    let update = &update[..update.find(";\n").unwrap()];
    server.database.execute("UPDATE audit_events SET person = NULL, about = NULL").await;
    server.database.execute(update).await;
    assert_eq!(server.database.texts(columns).await, before);
}
