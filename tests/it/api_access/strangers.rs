//! Every route against callers without a right: nothing changes, nothing leaks. The routes of the API come from its
//! description, the others from the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::operations::operations;
use crate::harness::{Answer, Server, both_engines};

both_engines!(
    without_a_token_no_method_of_any_path_says_what_is_there,
    without_the_permission_nothing_says_what_is_there,
    no_answer_to_an_auditor_holds_a_secret,
);

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"];

/// A word that stands in everything that is registered here.
const HUSHED: &str = "hushed";

/// The answer without what differs from request to request.
fn said(answer: &Answer) -> (u16, String) {
    assert!(!answer.body.contains(HUSHED), "{answer:?}");
    assert!(!format!("{:?}", answer.headers).contains(HUSHED), "{answer:?}");
    (answer.status, answer.body.clone())
}

/// What is registered, with the word in it, beside what [`operations`] has.
async fn register(server: &Server) {
    let new =
        json!({ "client_id": HUSHED, "description": HUSHED, "owner": HUSHED, "labels": { HUSHED: HUSHED } });
    server.client(new).await;
    server.role(json!({ "name": HUSHED, "description": HUSHED })).await;
    let new =
        json!({ "name": HUSHED, "identifier": "urn:hushed", "permissions": [{ "permission": HUSHED }] });
    server.resource_server(new).await;
    let party = json!({ "client": HUSHED });
    server
        .exchange_rule(json!({
            "name": HUSHED, "caller": party, "subject": party, "resource_server": HUSHED, "permissions": [HUSHED],
        }))
        .await;
}

/// Every path of the API, with what stands in the braces: something that is there, or something that is not.
fn paths(filled: &str) -> Vec<(String, BTreeSet<String>)> {
    let openapi = serde_json::to_value(jeton::http::openapi()).unwrap();
    let paths: Vec<_> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| path.starts_with("/api/v1/"))
        .map(|(path, methods)| {
            let parts = path.split('/').map(|part| if part.starts_with('{') { filled } else { part });
            let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
            (parts.collect::<Vec<_>>().join("/"), methods.collect())
        })
        .collect();
    assert!(paths.len() >= 20, "only {} paths were found", paths.len());
    paths
}

async fn without_a_token_no_method_of_any_path_says_what_is_there(server: Server) {
    register(&server).await;
    let before = server.last_change().await;
    for ((there, described), (missing, _)) in paths(HUSHED).into_iter().zip(paths("nobody")) {
        for method in METHODS {
            let answer = server.send(method, &there, &[], "").await;
            let other = server.send(method, &missing, &[], "").await;
            assert_eq!(said(&answer), said(&other), "{method} {there}");
            // HEAD is GET without the body.
            let taken = described.contains(if method == "HEAD" { "GET" } else { method });
            assert_eq!(answer.status, if taken { 401 } else { 405 }, "{method} {there}: {answer:?}");
        }
    }
    assert_eq!(server.last_change().await, before, "something was changed");
}

/// Who may do one thing learns nothing of the others, not even whether something is there.
async fn without_the_permission_nothing_says_what_is_there(server: Server) {
    register(&server).await;
    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let token = server.api_as(&boss, "tokens:introspect").await.token;
    let authorization = format!("Authorization: Bearer {token}");
    let before = server.last_change().await;
    for ((there, described), (missing, _)) in paths(HUSHED).into_iter().zip(paths("nobody")) {
        for method in described {
            let headers = [authorization.as_str(), "If-Match: \"1\"", "Content-Type: application/json"];
            for body in ["", "{}"] {
                let answer = server.send(&method, &there, &headers, body).await;
                let other = server.send(&method, &missing, &headers, body).await;
                assert_eq!(said(&answer), said(&other), "{method} {there}");
                // A form that is wrong is told first: it says nothing of what is there.
                assert!(matches!(answer.status, 403 | 422), "{method} {there}: {answer:?}");
            }
        }
    }
    assert_eq!(server.last_change().await, before, "something was changed");
}

async fn no_answer_to_an_auditor_holds_a_secret(server: Server) {
    let operations = operations(&server).await;
    let token = server.api_token("auditor").await;
    for operation in operations.iter().filter(|operation| operation.method == "GET") {
        if operation.id == "list_own_secrets" {
            // Of a client whose registration says so alone.
            continue;
        }
        let answer = operation.call_with(&server, &token).await;
        answer.expect(200);
        for secret in ["jtn_", "$argon2", "\"d\":", "PRIVATE"] {
            assert!(!answer.body.contains(secret), "{}: {answer:?}", operation.id);
        }
    }
}

/// The routes that the description leaves out, as the source registers them. A new one fails here until somebody has
/// said who may call it, and tested that.
#[test]
fn every_route_is_described_or_known_here() {
    let known = [
        // Anybody, and they say one word: tests of serving.
        "/livez",
        "/readyz",
        // Anybody: what openapi.yaml says in public, tests/it/docs.rs.
        "{AT}/docs.css",
        "{AT}/openapi.json",
        "{AT}/openapi.yaml",
        // The same documents as at their described paths: tests of discovery.
        "/.well-known/oauth-authorization-server{path}",
        "/.well-known/openid-configuration{path}",
        "{WELL_KNOWN}{path}/api/v1",
        // On a listener of its own: tests of metrics.
        "/metrics",
        // The pages with a slash at the end, which leads to them without: tests of pages.
        "{}/",
    ];
    let mut found = BTreeSet::new();
    collect(Path::new("src/http"), &mut found);
    let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(found, known);
}

/// The paths in calls of `.route(…)`, and in those alone: described routes are named by `routes!`.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("http/pages") {
            // People's: tests/it/admin_pages/routes.rs tries each of them.
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            for call in source.split(".route(").skip(1) {
                let line = call.split(',').next().unwrap();
                if let Some(text) = line.split('"').nth(1) {
                    found.insert(text.to_owned());
                } else {
                    // The API as a page, and `/` itself, which says where things are: tests/it/docs.rs,
                    // tests/it/admin_pages.rs.
                    assert!(["AT", "root"].contains(&line.trim()), "say in this test what {line} is");
                }
            }
        }
    }
}

#[test]
fn every_described_operation_outside_the_api_is_public_or_a_clients() {
    let openapi = serde_json::to_value(jeton::http::openapi()).unwrap();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for operation in
            methods.as_object().unwrap().values().filter(|value| value["operationId"].is_string())
        {
            let security = &operation["security"];
            match path.split('/').nth(1).unwrap() {
                "api" => assert!(security[0]["token"].is_array(), "{path}"),
                "oauth2" => assert_eq!(security, &json!([{ "client": [] }]), "{path}"),
                ".well-known" => assert_eq!(security, &Value::Null, "{path}"),
                other => panic!("say who may call {other}"),
            }
        }
    }
}
