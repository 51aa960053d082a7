//! Federated credentials of clients: the API.

use serde_json::{Value, json};

use super::issuer;
use crate::harness::{Api, Server, both_engines};

both_engines!(
    a_credential_is_added_listed_changed_and_removed,
    conditions_that_mean_too_many_are_warned_of_and_never_refused,
    all_that_is_wrong_with_a_credential_is_said_at_once,
    a_client_has_fifty_of_them_at_most_each_once,
    a_client_that_is_deleted_takes_them_along,
);

const PATH: &str = "/clients/billing/federated-credentials";

/// What is said of a credential of a client that is registered for nothing that takes it.
const NO_METHOD: &str = "The client is registered for no method that takes it, so it does not count: add federated_jwt to \
                         the client's authentication methods.";

async fn github(server: &Server) -> Api<'_> {
    server.billing().await;
    let mut new = issuer("github");
    new["issuer"] = "https://token.actions.githubusercontent.com".into();
    server.trusted_issuer(new).await;
    server.administrator().await
}

fn credential(conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> =
        conditions.iter().map(|(claim, value)| json!({ "claim": claim, "value": value })).collect();
    json!({ "trusted_issuer": "github", "conditions": conditions })
}

async fn a_credential_is_added_listed_changed_and_removed(server: Server) {
    let api = github(&server).await;
    let mut new = credential(&[("repository_id", "74"), ("environment", "prod"), ("repository_id", "74")]);
    new["description"] = "the deployment".into();
    new["expires_in"] = 3_600.into();
    let added = api.post(PATH, new).await.expect(201);
    let id = added["credential_id"].as_str().unwrap();
    let conditions =
        json!([{ "claim": "environment", "value": "prod" }, { "claim": "repository_id", "value": "74" }]);
    let expected = json!({
        "credential_id": id, "trusted_issuer": "github", "issuer_enabled": true, "conditions": conditions,
        "description": "the deployment", "warnings": [NO_METHOD], "created_at": "2026-11-22T08:00:00Z",
        "expires_at": "2026-11-22T09:00:00Z", "expired": false, "expires_soon": true,
    });
    assert_eq!(added, expected);
    assert_eq!(api.get(PATH).await.expect(200), json!([expected]));
    let client = api.get("/clients/billing").await.expect(200);
    assert_eq!(client["credentials_end_at"], "2026-11-22T09:00:00Z");

    let one = format!("{PATH}/{id}");
    let change = async |body: Value| server.api("PATCH", &one, &api.token, &[], body).await;
    let changed = change(json!({ "description": "now", "expires_at": null })).await.expect(200);
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("now"), &Value::Null));
    assert_eq!(changed["warnings"], json!([NO_METHOD]));
    let methods = json!({ "auth_methods": ["client_secret_basic", "federated_jwt"] });
    server
        .api("PATCH", "/clients/billing", &api.token, &["If-Match: \"1\""], methods)
        .await
        .expect_version(200, 2);
    assert_eq!(api.get(PATH).await.expect(200)[0]["warnings"], json!([]));
    change(json!({ "expires_at": "2020-01-01T00:00:00Z" })).await.expect_problem(422, "invalid");
    change(json!({ "conditions": [] })).await.expect_problem(422, "invalid");
    assert_eq!(api.get(&format!("{one}/use")).await.expect(200)["live_tokens"], 0);
    api.delete(&one, None).await.expect(204);
    api.delete(&one, None).await.expect_problem(404, "not-found");
    change(json!({})).await.expect_problem(404, "not-found");
    assert_eq!(api.get(PATH).await.expect(200), json!([]));

    let mut actions: Vec<String> = server
        .events("changed")
        .await
        .iter()
        .filter(|event| event["target"] == "billing")
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .filter(|action| action.contains("federated"))
        .collect();
    actions.sort_unstable();
    let all = ["add", "remove", "update"].map(|action| format!("client.federated_credential.{action}"));
    assert_eq!(actions, all);
    let noted = "SELECT kind FROM changes WHERE subject = 'billing' ORDER BY seq DESC LIMIT 4";
    assert_eq!(server.database.texts(noted).await, ["federation", "client", "client", "federation"]);
}

async fn conditions_that_mean_too_many_are_warned_of_and_never_refused(server: Server) {
    let api = github(&server).await;
    let any_branch = api.post(PATH, credential(&[("sub", "repo:o/r:*")])).await.expect(201);
    let warnings = any_branch["warnings"].as_array().unwrap();
    assert!(warnings[1].as_str().unwrap().contains("one from a fork too"), "{warnings:?}");
    assert_eq!((&warnings[0], warnings.len()), (&json!(NO_METHOD), 3), "{warnings:?}");
    let evil = api.post(PATH, credential(&[("sub", "repo:o/app*"), ("ref", "a")])).await.expect(201);
    assert!(evil["warnings"].to_string().contains("also fits 'repo:o/app-evil'"), "{evil}");
    let listed = api.get(PATH).await.expect(200);
    assert!(
        listed.as_array().unwrap().iter().all(|one| one["warnings"].as_array().unwrap().len() > 1),
        "{listed}"
    );
}

async fn all_that_is_wrong_with_a_credential_is_said_at_once(server: Server) {
    let api = github(&server).await;
    let new = json!({
        "trusted_issuer": "none", "conditions": [{ "claim": "sub", "value": "*" }], "description": "\u{7}",
        "expires_at": "2020-01-01T00:00:00Z",
    });
    let problem = api.post(PATH, new).await.expect_problem(422, "invalid");
    let mut fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["conditions", "description", "expires_at", "trusted_issuer"]);
    let both = json!({
        "trusted_issuer": "github", "conditions": [{ "claim": "sub", "value": "a" }], "expires_in": 1,
        "expires_at": "2030-01-01T00:00:00Z",
    });
    api.post(PATH, both).await.expect_invalid("expires_in", "give one of them");
    for conditions in
        [json!([]), json!([["sub", "a"]]), json!([{ "claim": "/a~2", "value": "x" }]), json!({})]
    {
        let new = json!({ "trusted_issuer": "github", "conditions": conditions });
        assert_eq!(api.post(PATH, new).await.status, 422, "{conditions}");
    }
    let many: Vec<Value> = (0..21).map(|n| json!({ "claim": format!("c{n}"), "value": "x" })).collect();
    let new = json!({ "trusted_issuer": "github", "conditions": many });
    api.post(PATH, new).await.expect_invalid("conditions", "use 1 to 20 of them");
    assert_eq!(api.get(PATH).await.expect(200), json!([]));
    api.get("/clients/nobody/federated-credentials").await.expect_problem(404, "not-found");
}

async fn a_client_has_fifty_of_them_at_most_each_once(server: Server) {
    let api = github(&server).await;
    for number in 0..50 {
        server.federated("billing", "github", &format!("repo:o/{number}:x")).await;
    }
    let again = api.post(PATH, credential(&[("sub", "repo:o/51:x")])).await.expect_problem(409, "conflict");
    assert!(again["detail"].as_str().unwrap().starts_with("the client has 50 federated credentials already"));
    let id = server.database.texts("SELECT credential_id FROM federated_credentials").await.remove(0);
    api.delete(&format!("{PATH}/{id}"), None).await.expect(204);
    let left = api.get(PATH).await.expect(200)[0]["conditions"][0]["value"].as_str().unwrap().to_owned();
    let again = api.post(PATH, credential(&[("sub", &left)])).await.expect_problem(409, "conflict");
    assert!(again["detail"].as_str().unwrap().contains("with these conditions already"), "{again}");
}

async fn a_client_that_is_deleted_takes_them_along(server: Server) {
    let api = github(&server).await;
    server.client(json!({ "client_id": "gone" })).await;
    server.federated("gone", "github", "a").await;
    api.delete("/clients/gone", Some(1)).await.expect(204);
    api.delete("/trusted-issuers/github", Some(1)).await.expect(204);
}
