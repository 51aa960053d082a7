//! The pages of resource servers, roles, exchange rules, keys and the audit.

use serde_json::json;

use super::{Person, has};
use crate::harness::{Engine, Server, both_engines};

both_engines!(an_api_a_role_and_a_rule_are_made_tried_changed_and_deleted);

fn version(page: &str) -> &str {
    page.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

async fn an_api_a_role_and_a_rule_are_made_tried_changed_and_deleted(server: Server) {
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    has(&ada.page("/resource-servers").await, &["Only this server's own API so far", "built in"]);
    let api = [
        ("name", "stock"),
        ("identifier", "https://stock.example"),
        ("permissions", "stock:read Read the <stock>\r\nstock:write"),
        ("token_lifetime", "300"),
        ("signing_algorithm", "ES256"),
        ("token_profile", "at+jwt"),
        ("token_binding", "optional"),
    ];
    let mut wrong = api;
    wrong[3].1 = "5000000";
    let answer = ada.send("/new-resource-server", &wrong).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    has(&answer.body, &["id=\"token_lifetime-error\"", "value=\"5000000\"", "stock:write</textarea>"]);
    let page = ada.does("/new-resource-server", &api).await;
    has(&page, &["https://stock.example", "stock:write", "Read the &#60;stock&#62;", "It has none yet"]);

    let page = ada.page("/new-role").await;
    has(&page, &["value=\"stock stock:read\"", "Read the &#60;stock&#62;"]);
    let reader = [("name", "stock-reader"), ("permissions", "stock stock:read")];
    has(&ada.does("/new-role", &reader).await, &["stock:read", "No client has it"]);
    server.client(json!({ "client_id": "front", "roles": ["stock-reader"] })).await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    server.client(json!({ "client_id": "gate", "grant_types": [exchange] })).await;
    has(&ada.page("/roles/stock-reader").await, &["1 client has it", ">front</a>"]);
    has(
        &ada.page("/roles/stock-reader/delete").await,
        &["1 client has it: front", "take it away from them first"],
    );
    let page = ada.page("/roles/stock-reader/edit").await;
    has(&page, &["value=\"stock stock:read\" checked"]);
    let both = [
        ("version", version(&page)),
        ("permissions", "stock stock:read"),
        ("permissions", "stock stock:write"),
    ];
    has(&ada.does("/roles/stock-reader/edit", &both).await, &["stock:write"]);
    let answer = ada.send("/roles/stock-reader/edit", &[("version", "1"), ("description", "Mine")]).await;
    assert_eq!(answer.status, 412);
    has(&answer.body, &["Somebody else changed it", "\nMine</textarea>"]);

    assert!(ada.page("/exchange-rules").await.contains("There are no exchange rules yet"));
    let rule = [
        ("name", "gate-to-stock"),
        ("caller_is", "client"),
        ("caller", "gate"),
        ("subject_is", "role"),
        ("subject", "stock-reader"),
        ("resource_server", "stock"),
        ("permissions", "stock:read"),
        ("sources", "stock"),
        ("mode", "delegation"),
        ("max_depth", "5"),
    ];
    let mut wrong = rule;
    wrong[2].1 = "nobody";
    let answer = ada.send("/new-exchange-rule", &wrong).await;
    assert_eq!(answer.status, 422);
    has(&answer.body, &["id=\"caller-error\"", "value=\"nobody\"", "value=\"role\" selected"]);
    has(&ada.does("/new-exchange-rule", &rule).await, &["client gate", "whoever has the role stock-reader"]);
    let page = ada
        .page("/exchange-rules/dry-run?caller=gate&subject=front&audience=stock&resource_server=stock")
        .await;
    has(&page, &["There would be a token", "gate-to-stock", "Rule by rule"]);
    let page = ada.page("/exchange-rules/dry-run?caller=front&subject=gate&audience=stock").await;
    has(&page, &["It would be refused", "unauthorized_client"]);
    let answer = ada.open("/exchange-rules/dry-run?caller=nobody&subject=front").await;
    assert_eq!(answer.status, 422);
    has(&answer.body, &["id=\"caller-error\"", "there is no client &#39;nobody&#39;"]);
    let page = ada.page("/exchange-rules/gate-to-stock/edit").await;
    let change = [
        ("version", version(&page)),
        ("caller_is", "client"),
        ("caller", "gate"),
        ("subject_is", "client"),
        ("subject", "front"),
        ("permissions", "stock:read"),
        ("sources", "stock"),
        ("mode", "impersonation"),
        ("max_depth", "2"),
    ];
    // It takes something away, so it is asked once; what was typed is kept.
    let asked = ada.send("/exchange-rules/gate-to-stock/edit", &change).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let kept = "<input type=\"hidden\" name=\"permissions\" value=\"stock:read\">";
    has(&asked.body, &["Fewer may act one for another"]);
    has(&asked.body, &["What breaks", "0 tokens that were exchanged by it live now", kept]);
    has(&ada.page("/exchange-rules/gate-to-stock").await, &["delegation"]);
    let confirmed = [&change[..], &[("name", "gate-to-stock")]].concat();
    has(
        &ada.does("/exchange-rules/gate-to-stock/edit", &confirmed).await,
        &["client front", "impersonation"],
    );
    has(&ada.page("/exchange-rules/gate-to-stock/disable").await, &["In the last hour nobody got one"]);
    assert_eq!(ada.send("/exchange-rules/gate-to-stock/disable", &[]).await.status, 422);
    let named = [("name", "gate-to-stock")];
    has(&ada.does("/exchange-rules/gate-to-stock/disable", &named).await, &["disabled"]);

    end_of_the_api(&ada).await;
}

/// Operators, and the end of the API: what refers to it is in the way, and named.
async fn end_of_the_api(ada: &Person<'_>) {
    has(&ada.does("/resource-servers/stock/operators", &[("client_id", "gate")]).await, &[">gate</a>"]);
    assert_eq!(ada.send("/resource-servers/stock/operators", &[("client_id", "nobody")]).await.status, 422);
    let removal = "/resource-servers/stock/operators/gate/remove";
    has(
        &ada.page(removal).await,
        &["hears no more whether tokens for stock count", "it has exchanged no token"],
    );
    assert_eq!(ada.send(removal, &[("name", "stock")]).await.status, 422);
    ada.does(removal, &[("name", "gate")]).await;
    let page = ada.page("/resource-servers/stock/delete").await;
    has(&page, &["The role stock-reader gives something there", "The exchange rule gate-to-stock names it"]);
    let page = ada.page("/resource-servers/stock/disable").await;
    has(
        &ada.does("/resource-servers/stock/disable", &[("name", "stock"), ("version", version(&page))]).await,
        &["disabled"],
    );
    has(&ada.does("/resource-servers/stock/enable", &[]).await, &["enabled"]);
    let page = ada.page("/exchange-rules/gate-to-stock/delete").await;
    ada.does(
        "/exchange-rules/gate-to-stock/delete",
        &[("name", "gate-to-stock"), ("version", version(&page))],
    )
    .await;
    ada.does("/clients/front/roles/stock-reader/remove", &[("name", "stock-reader")]).await;
    let page = ada.page("/roles/stock-reader/delete").await;
    ada.does("/roles/stock-reader/delete", &[("name", "stock-reader"), ("version", version(&page))]).await;
    let page = ada.page("/resource-servers/stock/delete").await;
    ada.does("/resource-servers/stock/delete", &[("name", "stock"), ("version", version(&page))]).await;
    assert_eq!(ada.open("/resource-servers/stock").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_seen_rotated_and_revoked() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let page = ada.page("/signing-keys").await;
    has(&page, &["ES256", "active", "<svg", "Make the next ES256 key now"]);
    let kid = page.split("/signing-keys/").find(|part| part.contains("/revoke\"")).unwrap();
    let kid = kid.split('/').next().unwrap().to_owned();
    has(&ada.does("/signing-keys/rotate", &[("algorithm", "ES256")]).await, &["The next key is made"]);
    assert_eq!(ada.send("/signing-keys/rotate", &[("algorithm", "none")]).await.status, 400);
    let revoke = format!("/signing-keys/{kid}/revoke");
    has(&ada.page(&revoke).await, &["What breaks", "It is the one that signs"]);
    assert_eq!(ada.send(&revoke, &[("name", "wrong")]).await.status, 422);
    let first: String = kid.chars().take(8).collect();
    has(&ada.does(&revoke, &[("name", &first)]).await, &["The key is revoked", "revoked"]);
    assert_eq!(ada.open(&revoke).await.status, 404, "it cannot be revoked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_end_in_a_description_stays_one() {
    let server = Server::start(Engine::Sqlite).await;
    let permission = json!({ "permission": "stock:read", "description": "Reads\nstock:write and more" });
    server
        .resource_server(json!({
            "name": "stock", "identifier": "https://stock.example", "description": "First\nand second",
            "permissions": [permission],
        }))
        .await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let page = ada.page("/resource-servers/stock/edit").await;
    has(&page, &["\nFirst\nand second</textarea>", "\nstock:read Reads stock:write and more</textarea>"]);
    let change = [
        ("version", version(&page)),
        ("identifier", "https://stock.example"),
        ("description", "First\r\nand second"),
        ("permissions", "stock:read Reads stock:write and more"),
        ("token_lifetime", "60"),
        ("signing_algorithm", "ES256"),
        ("token_profile", "at+jwt"),
        ("token_binding", "optional"),
    ];
    ada.does("/resource-servers/stock/edit", &change).await;
    let root = server.administrator().await;
    let stored = root.get("/resource-servers/stock").await.expect(200);
    assert_eq!((&stored["token_lifetime"], &stored["permissions"]), (&json!(60), &json!([permission])));
    assert_eq!(stored["description"], "First\nand second");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_filtered_and_told_in_full() {
    let server = Server::start(Engine::Sqlite).await;
    let billing = server.billing().await;
    server.token(&billing, "grant_type=client_credentials&scope=orders:read").await.expect(200);
    server.token(&billing, "grant_type=client_credentials&scope=orders:none").await.expect(400);
    let eve = Person::signed_in(&server, "eve", "auditor").await;
    has(
        &eve.page("/audit").await,
        &["token_issued", "client.create", "hash", "jeton audit verify", "Not checked yet"],
    );
    let page = eve.page("/audit?client_id=billing&outcome=refused").await;
    has(&page, &["token_refused", "invalid_scope", "1 event on this page"]);
    has(&page, &["/admin/audit/export?client_id=billing&#38;outcome=refused", "Download all that fits"]);
    has(&eve.page("/audit?client_id=billing").await, &["client.create", "token_issued"]);
    has(&eve.page("/audit?person=eve").await, &["No event fits"]);
    assert_eq!(eve.open("/audit/export").await.status, 200);
    has(&eve.page("/audit?person=eve").await, &["audit_exported", "1 event on this page"]);
    let page = eve.page("/audit?kind=token_issued&from=2026-11-22T08%3A00").await;
    has(&page, &["orders:read", "1 event on this page"]);
    has(&eve.page("/audit?to=2020-01-01T00%3A00").await, &["No event fits"]);
    let answer = eve.open("/audit?from=soon&client_id=x").await;
    assert_eq!(answer.status, 422);
    has(&answer.body, &["id=\"from-error\"", "value=\"soon\"", "value=\"x\""]);
    assert_eq!(eve.open("/audit?kind=nothing").await.status, 422);
    has(&eve.page("/clients/billing").await, &["invalid_scope"]);
    has(&eve.page("/delegations").await, &["No token was exchanged"]);
}
