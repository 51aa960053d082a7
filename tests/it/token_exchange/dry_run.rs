//! The dry run: an administrator sees what an exchange would give, and why.

use serde_json::{Value, json};

use super::{Chain, exchanged};
use crate::harness::{Server, both_engines};

both_engines!(
    a_dry_run_says_what_an_exchange_gives_step_by_step,
    a_dry_run_says_why_there_is_no_token,
    a_dry_run_needs_what_is_registered,
);

async fn run(server: &Server, chain: &Chain, more: Value) -> Value {
    let mut body = json!({ "caller": "orders", "subject": "front", "audience": ["orders"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    chain.api(server, "POST", "/exchange-rules/dry-run", body).await.expect(200)
}

async fn a_dry_run_says_what_an_exchange_gives_step_by_step(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, claims) = exchanged(&server, &chain.orders, &token, "resource=https://payments.example").await;
    let tried = run(&server, &chain, json!({ "resource_server": "payments" })).await;
    assert_eq!(tried["allowed"], true, "{tried}");
    let expected = json!({
        "rule": "orders-to-payments", "mode": "delegation", "audience": [claims["aud"]],
        "scope": claims["scope"], "roles": claims["roles"], "actors": ["orders"], "expires_in": 300,
    });
    assert_eq!(tried["token"], expected, "what the exchange itself gave");
    let rule = json!({
        "rule": "orders-to-payments", "allows": true, "bounded_by": "roles",
        "held": ["payments:audit", "payments:read", "payments:write"],
        "let_through": ["payments:read", "payments:write"],
        "ceiling": ["payments:read", "payments:write"],
    });
    assert_eq!(tried["rules"], json!([rule]));
    let arguments =
        ["exchange-rules", "try", "--caller", "orders", "--subject", "front", "--audience", "orders"];
    let offline = crate::harness::jeton(&server.database, &arguments);
    assert_eq!(offline["token"]["scope"], claims["scope"], "the command line says the same: {offline}");
    let text = crate::harness::command(&server.database, &arguments).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("There would be a token, by the rule orders-to-payments (delegation)"), "{text}");

    let arguments = ["clients", "create", "stock", "--grant-type", "token-exchange", "--no-secret"];
    let made = crate::harness::jeton(&server.database, &arguments);
    assert_eq!(made["client"]["grant_types"], json!([super::EXCHANGE]));

    chain.change_rule(&server, "orders-to-payments", json!({ "token_lifetime": 30 })).await;
    let tried = run(&server, &chain, json!({ "resource_server": "payments", "expires_in": 100 })).await;
    assert_eq!(tried["rules"][0]["token_lifetime"], 30);
    assert_eq!((&tried["subject_expires_in"], &tried["token"]["expires_in"]), (&json!(100), &json!(30)));

    // Further down the chain, with a token that is nearly over and allows little where it is for already.
    let narrow = json!({
        "name": "narrow", "caller": { "client": "orders" }, "subject": { "role": "shopper" },
        "resource_server": "orders", "permissions": ["orders:read", "orders:audit"],
    });
    chain.rule(&server, narrow).await;
    let tried = run(
        &server,
        &chain,
        json!({
            "resource_server": "orders", "subject_scope": "orders:read orders:write", "expires_in": 20,
            "actors": ["payments", "ledger"],
        }),
    )
    .await;
    assert_eq!(tried["token"]["scope"], "orders:read", "{tried}");
    assert_eq!(tried["token"]["expires_in"], 20);
    assert_eq!(tried["subject_expires_in"], 20);
    assert_eq!(tried["token"]["actors"], json!(["orders", "payments", "ledger"]));
    assert_eq!(tried["rules"][0]["bounded_by"], "subject token and roles");
    assert_eq!(tried["rules"][0]["held"], json!(["orders:read", "orders:write"]));
}

async fn a_dry_run_says_why_there_is_no_token(server: Server) {
    let chain = Chain::start(&server).await;
    let reason = async |more: Value, error: &str| {
        let tried = run(&server, &chain, more).await;
        assert_eq!(tried["allowed"], false, "{tried}");
        assert_eq!(tried["error"], error, "{tried}");
        assert_eq!(tried.get("token"), None);
        tried["reason"].as_str().unwrap().to_owned()
    };
    let beyond = json!({ "resource_server": "payments", "scope": "payments:audit" });
    let text = reason(beyond, "invalid_scope").await;
    assert_eq!(text, "exchange rule 'orders-to-payments': 'payments:audit' is beyond the rule");
    let text = reason(json!({ "resource_server": "ledger" }), "invalid_target").await;
    assert_eq!(text, "no exchange rule lets 'orders' pass on 'front' there");
    let text = reason(json!({ "audience": ["ledger"] }), "invalid_request").await;
    assert!(text.contains("operates none"), "{text}");
    let text = reason(json!({ "caller": "front" }), "unauthorized_client").await;
    assert!(text.contains("not registered for the grant type"), "{text}");
    chain.change_rule(&server, "orders-to-payments", json!({ "enabled": false })).await;
    let text = reason(json!({ "resource_server": "payments" }), "invalid_target").await;
    assert_eq!(text, "exchange rule 'orders-to-payments': the rule is disabled");
    let disabled = chain.api(&server, "POST", "/clients/front/disable", Value::Null).await;
    assert!(disabled.status < 300);
    assert_eq!(reason(json!({}), "invalid_request").await, "the subject is disabled");
}

async fn a_dry_run_needs_what_is_registered(server: Server) {
    let chain = Chain::start(&server).await;
    for (body, status) in [
        (json!({ "caller": "nobody", "subject": "front", "audience": [] }), 404),
        (json!({ "caller": "orders", "subject": "nobody", "audience": [] }), 404),
        (json!({ "caller": "orders", "subject": "front", "audience": ["nothing"] }), 404),
        (json!({ "caller": "orders", "subject": "front", "audience": [], "resource_server": "x" }), 404),
        (json!({ "caller": "orders", "subject": "front", "audience": [], "scope": "\u{e9}" }), 422),
        (json!({ "caller": "orders" }), 422),
        // Nested as deep as they are many, they would end the process.
        (
            json!({ "caller": "orders", "subject": "front", "audience": [], "actors": vec!["a"; 200_000] }),
            422,
        ),
    ] {
        let answer = chain.api(&server, "POST", "/exchange-rules/dry-run", body.clone()).await;
        assert_eq!(answer.status, status, "{:.100}: {}", body.to_string(), answer.body);
    }
    let before = server.last_change().await;
    run(&server, &chain, json!({})).await;
    assert_eq!(server.last_change().await, before, "it changes nothing");
}
