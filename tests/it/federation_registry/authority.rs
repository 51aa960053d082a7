//! Who writes trusted issuers becomes nobody who may do more in the API than they.

use serde_json::{Value, json};

use super::{PATH, issuer};
use crate::harness::{Answer, Api, Server, both_engines};

both_engines!(
    who_writes_issuers_becomes_no_stronger_client,
    a_client_that_reaches_the_api_by_a_rule_or_operates_it_is_as_strong,
    a_credential_is_not_given_to_a_stronger_client,
);

const BECAUSE: &str = "clients that this issuer's tokens prove may do more in this API than you, so you can only disable or delete it";

async fn smith<'a>(server: &'a Server, permissions: &[&str]) -> Api<'a> {
    let permissions: Value = permissions
        .iter()
        .map(|permission| json!({ "resource_server": "jeton", "permission": permission }))
        .collect();
    server.role(json!({ "name": "smith", "permissions": permissions })).await;
    let client = server.client(json!({ "client_id": "smith", "roles": ["smith"] })).await;
    server.api_as(&client, "").await
}

#[track_caller]
fn refused(answer: &Answer, permission: &str, because: &str) {
    let body = answer.expect_forbidden(permission);
    assert_eq!(body["detail"], format!("this needs the permission {permission}: {because}"));
}

const OWN: [&str; 2] = ["trusted-issuers:read", "trusted-issuers:write"];

async fn who_writes_issuers_becomes_no_stronger_client(server: Server) {
    server.billing().await;
    let smith = smith(&server, &OWN).await;
    smith.post("/trusted-issuers", issuer("i")).await.expect(201);
    let keys = json!({ "keys": { "from": "jwks_uri", "uri": "https://evil.example" } });
    // A client that may do nothing in the API.
    server.federated("billing", "i", "a").await;
    smith.patch(PATH, 1, keys.clone()).await.expect_version(200, 2);

    let auditor = json!({ "client_id": "auditor", "roles": ["auditor"] });
    server.client(auditor).await;
    server.federated("auditor", "i", "b").await;
    let before = server.last_change().await;
    for change in [
        json!({ "keys": { "from": "discovery" } }),
        json!({ "algorithms": ["ES256"] }),
        json!({ "audience": "urn:x" }),
        json!({ "max_lifetime": 100 }),
        json!({ "leeway": 0 }),
        json!({ "reuse": "within_life" }),
    ] {
        let answer = smith.patch(PATH, 2, change).await;
        refused(&answer, "administrators:read", BECAUSE);
    }
    assert_eq!(server.last_change().await, before, "something was changed");
    // What convinces nobody else is theirs, and so is taking away. What was taken away they do not give back.
    smith.patch(PATH, 2, json!({ "description": "x", "enabled": false })).await.expect_version(200, 3);
    refused(&smith.patch(PATH, 3, json!({ "enabled": true })).await, "administrators:read", BECAUSE);
    let enable = smith.post(&format!("{PATH}/enable"), Value::Null).await;
    refused(&enable, "administrators:read", BECAUSE);
    server.administrator().await.patch(PATH, 3, keys).await.expect_version(200, 4);
}

async fn a_client_that_reaches_the_api_by_a_rule_or_operates_it_is_as_strong(server: Server) {
    server.billing().await;
    server.client(json!({ "client_id": "gateway" })).await;
    let smith = smith(&server, &OWN).await;
    for (name, client) in [("i", "gateway"), ("other", "billing")] {
        smith.post("/trusted-issuers", issuer(name)).await.expect(201);
        server.federated(client, name, "a").await;
    }
    server
        .exchange_rule(json!({
            "name": "r", "caller": { "client": "gateway" }, "subject": { "role": "order-reader" },
            "resource_server": "jeton", "permissions": ["roles:write"],
        }))
        .await;
    let change = json!({ "leeway": 1 });
    refused(&smith.patch(PATH, 1, change.clone()).await, "roles:write", BECAUSE);
    smith.patch("/trusted-issuers/other", 1, change.clone()).await.expect(200);
    server.operator("jeton", "billing").await;
    let answer = smith.patch("/trusted-issuers/other", 2, change).await;
    assert_eq!(answer.status, 200, "nothing but its version changes: {answer:?}");
    let answer = smith.patch("/trusted-issuers/other", 3, json!({ "leeway": 2 })).await;
    refused(&answer, "administrators:read", BECAUSE);
}

async fn a_credential_is_not_given_to_a_stronger_client(server: Server) {
    server.client(json!({ "client_id": "auditor", "roles": ["auditor"] })).await;
    server.client(json!({ "client_id": "plain" })).await;
    let smith = smith(&server, &["clients:write", "clients:read", OWN[0], OWN[1]]).await;
    smith.post("/trusted-issuers", issuer("i")).await.expect(201);
    let new = json!({ "trusted_issuer": "i", "conditions": [{ "claim": "sub", "value": "me" }] });
    smith.post("/clients/plain/federated-credentials", new.clone()).await.expect(201);
    let because = "nobody can hand out a permission of this API that they do not have";
    let path = "/clients/auditor/federated-credentials";
    refused(&smith.post(path, new.clone()).await, "administrators:read", because);
    let id = server.federated("auditor", "i", "b").await;
    let longer = json!({ "expires_at": "2030-01-01T00:00:00Z" });
    let answer = server.api("PATCH", &format!("{path}/{id}"), &smith.token, &[], longer).await;
    refused(&answer, "administrators:read", because);
    // Taking away is free.
    smith.delete(&format!("{path}/{id}"), None).await.expect(204);
}
