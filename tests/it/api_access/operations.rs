//! Every operation that the API describes, without a token, as the auditor, and with one permission more
//! or less than it says it needs. A new operation fails here until this file says how to call it.

use std::time::Duration;

use serde_json::{Value, json};

use jeton::admin::By;
use jeton::domain::ids::ClientId;

use crate::admin_pages::routes::{CERTIFICATE, CERTIFICATE_ID};
use crate::harness::{Answer, Client, DESCRIBED, Server, both_engines};

both_engines!(
    every_operation_needs_a_token,
    the_auditor_reads_everything_and_changes_nothing,
    every_operation_needs_the_permission_that_it_describes_and_no_other,
    whoever_comes_second_is_shown_what_is_there,
);

/// An operation with a request that would succeed, on things that are there for it alone.
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: String,
    permission: String,
    success: u16,
    path: String,
    headers: Vec<String>,
    body: Value,
}

impl Operation {
    async fn call(&self, server: &Server, authorization: Option<&str>) -> Answer {
        let mut headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        headers.extend(authorization);
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        server.send(&self.method, &self.path, &headers, body).await
    }

    pub(super) async fn call_with(&self, server: &Server, token: &str) -> Answer {
        self.call(server, Some(&format!("Authorization: Bearer {token}"))).await
    }
}

/// What the API describes, each operation with a client, a role and a resource server of its own.
pub(super) async fn operations(server: &Server) -> Vec<Operation> {
    let openapi = serde_json::to_value(jeton::http::openapi()).unwrap();
    let mut operations = Vec::new();
    // What exchange rules name cannot be removed, so they name nothing that an operation has.
    let named = json!({
        "name": "named", "identifier": "urn:named", "permissions": [{ "permission": "x" }],
    });
    server.resource_server(named).await;
    server.client(json!({ "client_id": "named" })).await;
    server.trusted_issuer(issuer("named")).await;
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/api/v1") else { continue };
        for (method, description) in methods.as_object().unwrap() {
            // `parameters`, `summary` and the like may stand beside the methods.
            if let Some(id) = description["operationId"].as_str() {
                operations.push(operation(server, path, method, id, description).await);
            }
        }
    }
    assert!(operations.len() >= 35, "only {} operations were found", operations.len());
    operations
}

fn issuer(name: &str) -> Value {
    json!({ "name": name, "issuer": "https://idp.example", "keys": { "from": "discovery" } })
}

async fn operation(server: &Server, path: &str, method: &str, id: &str, description: &Value) -> Operation {
    let security = description["security"].as_array().unwrap_or_else(|| panic!("{id} describes no security"));
    let permissions = security[0]["token"].as_array().unwrap();
    assert_eq!((security.len(), permissions.len()), (1, 1), "{id}");
    let successes: Vec<u16> = description["responses"]
        .as_object()
        .unwrap()
        .keys()
        .filter_map(|status| status.parse().ok())
        .filter(|status| (200..300).contains(status))
        .collect();
    assert_eq!(successes.len(), 1, "{id} has one way to succeed");

    let body = if description.get("requestBody").is_some() { body(id) } else { Value::Null };
    let path = stage(server, path, id, &body).await;
    assert!(!path.contains('{'), "{id}: say what stands for the parameter in {path}");

    let mut headers = Vec::new();
    if let Some(parameters) = description["parameters"].as_array() {
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "header") {
            assert_eq!(parameter["name"], "If-Match", "{id}: say what the header holds");
            headers.push("If-Match: \"1\"".to_owned());
        }
    }
    if !body.is_null() {
        headers.push("Content-Type: application/json".to_owned());
    }
    Operation {
        id: id.to_owned(),
        method: method.to_ascii_uppercase(),
        permission: permissions[0].as_str().unwrap().to_owned(),
        success: successes[0],
        path: format!("/api/v1{path}"),
        headers,
        body,
    }
}

/// Registers what an operation's path or body names, for this operation alone: the path that names it. Fixed names are
/// in nobody else's way.
async fn stage(server: &Server, path: &str, id: &str, body: &Value) -> String {
    let (name, system) = (id.replace('_', "-"), By::system());
    let admin = server.app.admin();
    let names = |parameter: &str| path.contains(&format!("{{{parameter}}}"));
    let mut staged = path.replace("{client_id}", &name).replace("{name}", &name).replace("{role}", &name);
    if names("client_id") || body.to_string().contains(&format!("\"{name}\"")) {
        server.client(json!({ "client_id": name })).await;
    }
    if names("role") || path.starts_with("/roles/{name}") {
        server.role(json!({ "name": name })).await;
    }
    if path.starts_with("/resource-servers/{name}") {
        let identifier = format!("https://{name}.example");
        server.resource_server(json!({ "name": name, "identifier": identifier })).await;
    }
    if path.starts_with("/exchange-rules/{name}") {
        let party = json!({ "client": "named" });
        let rule = json!({
            "name": name, "caller": party, "subject": party, "resource_server": "named", "permissions": ["x"],
        });
        server.exchange_rule(rule).await;
    }
    if path.starts_with("/trusted-issuers/{name}") {
        server.trusted_issuer(issuer(&name)).await;
    }
    if path.starts_with("/administrators/{name}") {
        let new = serde_json::from_value(json!({ "name": name, "role": "auditor" })).unwrap();
        admin.create_administrator(&system, new).await.unwrap();
    }
    if names("secret_id") {
        let secret = format!(
            "SELECT secret_id FROM client_secrets JOIN clients ON client = uid WHERE client_id = '{name}'"
        );
        staged = staged.replace("{secret_id}", &server.database.texts(&secret).await.remove(0));
    }
    if names("key_id") {
        staged = staged.replace("{key_id}", &server.public_key(&name).await);
    }
    if names("credential_id") {
        staged = staged.replace("{credential_id}", &server.federated(&name, "named", &name).await);
    }
    if names("certificate_id") {
        let new = serde_json::from_value(json!({ "certificate": CERTIFICATE })).unwrap();
        admin.add_certificate(&system, &ClientId::new(&name).unwrap(), new).await.unwrap();
        staged = staged.replace("{certificate_id}", CERTIFICATE_ID);
    }
    if names("kid") {
        // Not the one that signs the tokens of this test.
        let kid = "SELECT kid FROM signing_keys WHERE algorithm = 'RS256' ORDER BY generation DESC";
        staged = staged.replace("{kid}", &server.database.texts(kid).await.remove(0));
    }
    staged
}

/// A body that an operation takes.
fn body(id: &str) -> Value {
    match id {
        "create_client" => json!({ "client_id": "made" }),
        "create_role" => json!({ "name": "made" }),
        "create_administrator" => json!({ "name": "made", "role": "auditor" }),
        "update_administrator" => json!({ "enabled": false }),
        "create_resource_server" => json!({ "name": "made", "identifier": "urn:made" }),
        "create_exchange_rule" => json!({
            "name": "made", "caller": { "client": "named" }, "subject": { "client": "named" },
            "resource_server": "named", "permissions": ["x"],
        }),
        "create_trusted_issuer" => issuer("made"),
        "add_federated_credential" => json!({
            "trusted_issuer": "named", "conditions": [{ "claim": "sub", "value": "made" }],
        }),
        "explain_assertion" => json!({ "assertion": "no token" }),
        "try_token" => json!({}),
        "rotate_signing_key" => json!({ "algorithm": "ES256" }),
        "revoke_tokens" => json!({ "kind": "client", "subject": "revoke-tokens" }),
        "try_exchange" => json!({ "caller": "try-exchange", "subject": "try-exchange", "audience": [] }),
        "add_client_certificate" => json!({ "certificate": CERTIFICATE }),
        "add_client_key" => json!({ "pem": crate::private_key_jwt::PEM }),
        "update_client_key" | "update_client_certificate" => json!({ "description": "changed" }),
        "add_client_secret" | "rotate_client_secret" | "rotate_own_secret" => {
            json!({ "description": "made" })
        }
        "update_client"
        | "update_client_secret"
        | "update_role"
        | "update_resource_server"
        | "update_exchange_rule"
        | "update_trusted_issuer"
        | "update_federated_credential" => {
            json!({ "description": "changed" })
        }
        new => panic!("say what a good body for the new operation {new} is"),
    }
}

async fn boss(server: &Server) -> Client {
    let boss = json!({ "client_id": "boss", "roles": ["administrator"], "may_rotate_own_secrets": true });
    let boss = server.client(boss).await;
    // The newest is what it replaces when it rotates; what was replaced rotates no more.
    server.clock.advance(Duration::from_secs(1));
    server.secret("boss", json!({})).await;
    boss
}

async fn every_operation_needs_a_token(server: Server) {
    let operations = operations(&server).await;
    let before = server.last_change().await;
    for operation in &operations {
        let answer = operation.call(&server, None).await;
        assert_eq!(answer.status, 401, "{}: {answer:?}", operation.id);
        answer.expect_problem(401, "token-required");
        let challenge = format!("Bearer realm=\"jeton\", {DESCRIBED}");
        assert_eq!(answer.header("www-authenticate"), Some(&*challenge), "{}", operation.id);
    }
    assert_eq!(server.last_change().await, before, "something was changed");
}

async fn the_auditor_reads_everything_and_changes_nothing(server: Server) {
    let operations = operations(&server).await;
    let token = server.api_token("auditor").await;
    let before = server.last_change().await;
    let mut refused = Vec::new();
    for operation in &operations {
        let answer = operation.call_with(&server, &token).await;
        // A dry run asks with a body, and changes nothing.
        let own = operation.permission == "secrets:self";
        let asks = operation.id.starts_with("try_") || operation.id == "explain_assertion";
        if !own && (operation.method == "GET" || asks) {
            assert_eq!(answer.status, 200, "{}: {answer:?}", operation.id);
        } else {
            assert_eq!(answer.status, 403, "{}: {answer:?}", operation.id);
            answer.expect_forbidden(&operation.permission);
            refused.push(operation.permission.clone());
        }
    }
    assert_eq!(server.last_change().await, before, "something was changed");

    let mut recorded: Vec<String> = server
        .events("access_refused")
        .await
        .iter()
        .map(|event| event["permission"].as_str().unwrap().to_owned())
        .collect();
    recorded.sort();
    refused.sort();
    assert_eq!(recorded, refused, "each refusal is recorded, and nothing else");
}

async fn every_operation_needs_the_permission_that_it_describes_and_no_other(server: Server) {
    let operations = operations(&server).await;
    let boss = boss(&server).await;
    let all: Vec<&str> =
        jeton::domain::builtin::PERMISSIONS.iter().map(|(permission, _, _)| *permission).collect();
    for operation in &operations {
        let others: Vec<&str> =
            all.iter().filter(|permission| **permission != operation.permission).copied().collect();
        assert_eq!(others.len() + 1, all.len(), "{} needs a permission that exists", operation.id);
        let without = server.api_as(&boss, &others.join("+")).await.token;
        let before = server.last_change().await;
        let answer = operation.call_with(&server, &without).await;
        assert_eq!(answer.status, 403, "{}: {answer:?}", operation.id);
        answer.expect_forbidden(&operation.permission);
        assert_eq!(server.last_change().await, before, "{} changed something", operation.id);

        // Whoever hands an account out has to have what it may do.
        let hands_out = matches!(operation.id.as_str(), "create_administrator" | "make_administrator_link");
        let reads = all.iter().filter(|name| hands_out && name.ends_with(":read")).copied();
        let enough: Vec<&str> = reads.chain([operation.permission.as_str()]).collect();
        let with = server.api_as(&boss, &enough.join("+")).await.token;
        let answer = operation.call_with(&server, &with).await;
        assert_eq!(answer.status, operation.success, "{}: {answer:?}", operation.id);
        let idempotent = matches!(
            operation.id.as_str(),
            "enable_client"
                | "unassign_client_role"
                | "enable_exchange_rule"
                | "enable_trusted_issuer"
                | "remove_operator"
                | "explain_assertion"
                | "try_exchange"
                | "try_token"
        );
        let changes = operation.method != "GET" && !idempotent;
        assert_eq!(server.last_change().await != before, changes, "{}", operation.id);
    }
}

/// Two administrators change one thing, for everything that can be changed: the second one loses nothing.
async fn whoever_comes_second_is_shown_what_is_there(server: Server) {
    let operations = operations(&server).await;
    let api = server.administrator().await;
    let boss = boss(&server).await;
    let mut tried = 0;
    let based = |operation: &&Operation| operation.headers.iter().any(|line| line.starts_with("If-Match"));
    for operation in operations.iter().filter(based) {
        tried += 1;
        let path = operation.path.strip_prefix("/api/v1").unwrap();
        // People have no description.
        let (member, first) = if path.starts_with("/administrators/") {
            ("enabled", json!(false))
        } else {
            ("description", json!("from the first one"))
        };
        api.patch(path, 1, json!({ member: first })).await.expect_version(200, 2);

        let answer = operation.call_with(&server, &api.token).await;
        let problem = answer.expect_problem(412, "stale");
        let there = api.get(path).await;
        assert_eq!(problem["current"], there.expect_version(200, 2), "{}", operation.id);
        assert_eq!(problem["current"][member], first, "{}", operation.id);
        assert_eq!(problem["etag"].as_str(), there.header("etag"), "{}", operation.id);
        // Who may change it without reading it hears no more than before.
        let blind = server.api_as(&boss, &operation.permission).await.token;
        let problem = operation.call_with(&server, &blind).await.expect_problem(412, "stale");
        assert!(problem.get("current").is_none() && problem.get("etag").is_none(), "{problem}");

        // What was shown is what the next attempt is based on.
        let tag = format!("If-Match: {}", there.header("etag").unwrap());
        let body = operation.body.clone();
        server.api(&operation.method, path, &api.token, &[&tag], body).await.expect(operation.success);
    }
    assert!(tried >= 8, "only {tried} operations have If-Match");
}
