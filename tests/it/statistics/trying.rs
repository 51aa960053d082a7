//! The dry run: an administrator sees what a client would get, and why.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Server, both_engines, command, jeton};
use crate::token::{GRANT, verified};

both_engines!(a_dry_run_says_what_a_client_gets_step_by_step, a_dry_run_says_why_a_client_gets_nothing,);

async fn run(server: &Server, body: Value) -> Value {
    let api = server.administrator().await;
    api.post("/clients/billing/dry-run", body).await.expect(200)
}

fn passing(tried: &Value) -> Vec<(&str, bool)> {
    let steps = tried["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["step"].as_str().unwrap(), step["passes"].as_bool().unwrap())).collect()
}

async fn a_dry_run_says_what_a_client_gets_step_by_step(server: Server) {
    let billing = server.billing().await;
    let before = server.last_change().await;
    let tried = run(&server, json!({})).await;
    assert_eq!(tried["allowed"], true, "{tried}");
    assert_eq!(
        passing(&tried),
        [("client", true), ("grant_type", true), ("credential", true), ("decision", true)]
    );
    let answer = server.token(&billing, GRANT).await;
    let (header, mut claims) = verified(&server, answer.expect(200)["access_token"].as_str().unwrap()).await;
    let token = &tried["token"];
    assert_eq!(token["typ"], header["typ"]);
    assert_eq!(token["algorithm"], header["alg"]);
    assert_eq!(token["expires_in"], 300);
    for made_anew in ["jti", "txn"] {
        assert_eq!(token["claims"][made_anew].as_str().unwrap().chars().count(), 7);
        claims[made_anew] = token["claims"][made_anew].clone();
    }
    assert_eq!(token["claims"], claims, "what the client itself gets");
    let bounds = token["bounds"].as_array().unwrap();
    let decides: Vec<_> = bounds.iter().filter(|bound| bound["decides"] == true).collect();
    assert_eq!(decides.len(), 1, "{bounds:?}");
    assert_eq!(decides[0]["by"], "the token lifetime of 'orders'");
    assert_eq!(
        tried["scope"],
        json!([{ "value": "orders:read", "granted": true, "why": "by the role order-reader at 'orders'" }])
    );
    let held = json!([{
        "resource_server": "orders", "identifier": "https://orders.example", "enabled": true,
        "permissions": [{ "permission": "orders:read", "description": "", "roles": ["order-reader"] }],
    }]);
    assert_eq!(tried["held"], held);
    let api = server.administrator().await;
    let effective = api.get("/clients/billing/effective-permissions").await.expect(200);
    assert_eq!(effective, json!({ "client_id": "billing", "resource_servers": held }));
    let offline = jeton(&server.database, &["clients", "try", "billing", "--scope", "orders:read"]);
    assert_eq!(offline["token"]["scope"], "orders:read");
    let text = command(&server.database, &["clients", "try", "billing"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("seconds  300, by the token lifetime of 'orders'"), "{text}");

    // The end of the client comes first, and the resource server wants a proof.
    let end = "2026-11-22T08:01:00Z";
    let version = api.get("/clients/billing").await.expect(200)["version"].as_i64().unwrap();
    api.patch("/clients/billing", version, json!({ "expires_at": end })).await.expect(200);
    let version = api.get("/resource-servers/orders").await.expect(200)["version"].as_i64().unwrap();
    api.patch("/resource-servers/orders", version, json!({ "token_binding": "dpop" })).await.expect(200);
    let tried = run(&server, json!({ "audience": ["https://orders.example"] })).await;
    assert_eq!(tried["token"]["expires_in"], 60);
    assert_eq!(tried["token"]["needs_proof_for"], "'https://orders.example'");
    let bounds = tried["token"]["bounds"].as_array().unwrap();
    let decides: Vec<_> = bounds.iter().filter(|bound| bound["decides"] == true).collect();
    assert_eq!(decides, [&json!({ "by": "the end of the client", "ends_at": end, "decides": true })]);
    assert_ne!(server.last_change().await, before, "the changes of this test");
    assert_eq!(server.events("token_refused").await.len(), 0, "a dry run is no request");
}

async fn a_dry_run_says_why_a_client_gets_nothing(server: Server) {
    server.billing().await;
    let refused = async |body: Value, error: &str, reason: &str| -> Value {
        let tried = run(&server, body).await;
        assert_eq!((&tried["allowed"], &tried["error"]), (&json!(false), &json!(error)), "{tried}");
        assert!(tried["reason"].as_str().unwrap().contains(reason), "{tried}");
        assert_eq!(tried.get("token"), None, "{tried}");
        tried
    };
    let tried = refused(json!({ "scope": "orders:read orders:write made:up" }), "invalid_scope", "").await;
    let whys: Vec<_> =
        tried["scope"].as_array().unwrap().iter().map(|value| value["why"].as_str().unwrap()).collect();
    assert_eq!(
        whys,
        [
            "no resource server defines it",
            "by the role order-reader at 'orders'",
            "no role of the client gives it at 'orders'",
        ]
    );
    let tried =
        refused(json!({ "resource": ["https://none.example"] }), "invalid_target", "no resource server has")
            .await;
    assert!(
        !tried["error_description"].as_str().unwrap().contains("no resource server has"),
        "the caller is not told"
    );
    let api = server.administrator().await;
    for (body, field) in [
        (json!({ "grant_type": crate::token_exchange::EXCHANGE }), "grant_type"),
        (json!({ "scope": "\u{e9}" }), "scope"),
        (json!({ "resource": vec!["https://a.example"; 21] }), "resource"),
    ] {
        api.post("/clients/billing/dry-run", body).await.expect_invalid(field, "");
    }
    api.post("/clients/none/dry-run", json!({})).await.expect_problem(404, "not-found");

    let secrets = api.get("/clients/billing/secrets").await.expect(200);
    let secret = secrets[0]["secret_id"].as_str().unwrap();
    assert_eq!(api.delete(&format!("/clients/billing/secrets/{secret}"), None).await.status, 204);
    refused(json!({}), "invalid_client", "has no secret").await;
    server.secret("billing", json!({ "expires_in": 60 })).await;
    server.clock.advance(Duration::from_secs(61));
    refused(json!({}), "invalid_client", "is expired").await;
    let api = server.administrator().await;
    api.post("/clients/billing/disable", json!({})).await.expect(200);
    let tried = refused(json!({}), "invalid_client", "the client is disabled").await;
    assert_eq!(passing(&tried)[0], ("client", false));
    assert_eq!(passing(&tried)[3], ("decision", true), "what it would get otherwise is told all the same");
}
