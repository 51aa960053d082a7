//! Tokens that are passed on.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Chain, exchange, exchanged, inactive, introspect};
use crate::harness::{Server, both_engines};
use crate::token::verified;

both_engines!(
    a_chain_of_three_services_narrows_at_each_hop,
    the_answer_says_what_sort_of_token_it_is_rfc8693_2_2_1,
    a_scope_can_be_asked_and_what_is_beyond_is_refused_rfc6749_3_3,
    a_lifetime_never_exceeds_the_subject_token_s,
    an_actor_token_names_who_acts_rfc8693_4_1,
    impersonation_names_nobody_and_keeps_who_acted,
    the_audit_has_what_was_exchanged,
    the_audience_that_it_has_can_be_narrowed,
);

async fn a_chain_of_three_services_narrows_at_each_hop(server: Server) {
    let chain = Chain::start(&server).await;
    let first = chain.token(&server).await;
    let (_, at_front) = verified(&server, &first).await;
    assert_eq!(at_front["scope"], "orders:audit orders:read orders:write");
    assert_eq!(at_front.get("act"), None);

    let (second, at_orders) =
        exchanged(&server, &chain.orders, &first, "resource=https://payments.example").await;
    assert_eq!(at_orders["sub"], "front");
    assert_eq!(at_orders["client_id"], "orders");
    assert_eq!(at_orders["aud"], "https://payments.example");
    assert_eq!(at_orders["scope"], "payments:read payments:write", "payments:audit is beyond the rule");
    assert_eq!(at_orders["roles"], json!(["shopper"]));
    assert_eq!(at_orders["act"], json!({ "sub": "orders" }));

    let (third, at_payments) =
        exchanged(&server, &chain.payments, &second, "audience=https://ledger.example").await;
    assert_eq!(at_payments["sub"], "front");
    assert_eq!(at_payments["scope"], "ledger:write");
    assert_eq!(at_payments["act"], json!({ "sub": "payments", "act": { "sub": "orders" } }));

    for claims in [&at_orders, &at_payments] {
        assert_eq!(claims["txn"], at_front["txn"], "one id names the whole chain");
        assert_ne!(claims["jti"], at_front["jti"]);
        assert!(claims["exp"].as_i64() <= at_front["exp"].as_i64());
    }

    // Each hop's token counts for whom it is addressed to, and for nobody else.
    let services = [(&chain.orders, &first), (&chain.payments, &second), (&chain.ledger, &third)];
    for (operator, token) in services {
        let shown = introspect(&server, operator, token).await;
        assert_eq!(shown["active"], true, "{shown}");
        assert_eq!(shown["txn"], at_front["txn"]);
        for (other, _) in services.iter().filter(|(other, _)| other.id != operator.id) {
            assert_eq!(introspect(&server, other, token).await, inactive());
        }
    }
    let shown = introspect(&server, &chain.ledger, &third).await;
    assert_eq!(shown["act"], json!({ "sub": "payments", "act": { "sub": "orders" } }));
    assert_eq!(shown["roles"], json!(["shopper"]));
    assert_eq!(shown["scope"], "ledger:write");
}

async fn the_answer_says_what_sort_of_token_it_is_rfc8693_2_2_1(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    for (asked, issued) in [
        (String::new(), ACCESS_TOKEN),
        (format!("requested_token_type={ACCESS_TOKEN}"), ACCESS_TOKEN),
        (format!("requested_token_type={jwt}"), jwt),
    ] {
        let answer = exchange(&server, &chain.orders, &token, &asked).await;
        let body = answer.expect(200);
        assert_eq!(body["issued_token_type"], issued, "{asked}");
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["scope"], "payments:read payments:write", "the only rule decides the target");
        assert!(body["expires_in"].as_i64().unwrap() <= 300);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let own =
        server.token(&chain.front, "grant_type=client_credentials&resource=https://orders.example").await;
    assert_eq!(own.expect(200).get("issued_token_type"), None, "a grant without a choice says nothing of it");
}

async fn a_scope_can_be_asked_and_what_is_beyond_is_refused_rfc6749_3_3(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, claims) = exchanged(&server, &chain.orders, &token, "scope=payments:read").await;
    assert_eq!(claims["scope"], "payments:read");
    for beyond in ["payments:audit", "payments:read payments:audit", "ledger:write", "nothing"] {
        let more = format!("resource=https://payments.example&scope={}", beyond.replace(' ', "+"));
        let refused = exchange(&server, &chain.orders, &token, &more).await;
        refused.expect_refusal(beyond, 400, "invalid_scope");
    }
}

async fn a_lifetime_never_exceeds_the_subject_token_s(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, before) = verified(&server, &token).await;
    server.clock.advance(Duration::from_secs(200));
    let answer = exchange(&server, &chain.orders, &token, "").await;
    assert_eq!(answer.expect(200)["expires_in"], 100);
    let (_, after) = exchanged(&server, &chain.orders, &token, "").await;
    assert_eq!(after["exp"], before["exp"]);
    let change = json!({ "token_lifetime": 20 });
    chain.change_rule(&server, "orders-to-payments", change).await;
    let answer = exchange(&server, &chain.orders, &token, "").await;
    assert_eq!(answer.expect(200)["expires_in"], 20, "nor the rule's");
    let ending = server.secret("orders", json!({ "expires_in": 10 })).await;
    let answer = exchange(&server, &ending, &token, "").await;
    assert_eq!(answer.expect(200)["expires_in"], 10, "nor the secret's");
}

async fn an_actor_token_names_who_acts_rfc8693_4_1(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    // A worker behind the service shows the service who it is, by a token addressed to it.
    server
        .role(json!({
            "name": "worker", "permissions": [{ "resource_server": "orders", "permission": "orders:read" }],
        }))
        .await;
    let worker = server.client(json!({ "client_id": "worker", "roles": ["worker"] })).await;
    let actor = super::access_token(&server.token(&worker, "grant_type=client_credentials").await);
    let more = format!("actor_token={actor}&actor_token_type={ACCESS_TOKEN}");
    let (_, claims) = exchanged(&server, &chain.orders, &token, &more).await;
    assert_eq!(claims["act"], json!({ "sub": "worker" }));
    assert_eq!(claims["client_id"], "orders");

    // Somebody else's token that is not addressed to the caller, and one in which somebody acts already.
    let passed_on = exchanged(&server, &chain.orders, &token, "").await.0;
    for (stray, caller) in [(&actor, &chain.payments), (&passed_on, &chain.payments)] {
        let more = format!("actor_token={stray}&actor_token_type={ACCESS_TOKEN}");
        let refused = exchange(&server, caller, &passed_on, &more).await;
        refused.expect_refusal("a stray actor token", 400, "invalid_request");
    }
}

async fn impersonation_names_nobody_and_keeps_who_acted(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (second, _) = exchanged(&server, &chain.orders, &token, "").await;
    chain.change_rule(&server, "payments-to-ledger", json!({ "mode": "impersonation" })).await;
    let (_, claims) = exchanged(&server, &chain.payments, &second, "").await;
    assert_eq!(claims["act"], json!({ "sub": "orders" }));
    assert_eq!(claims["client_id"], "payments");
}

async fn the_audience_that_it_has_can_be_narrowed(server: Server) {
    let chain = Chain::start(&server).await;
    let rule = json!({
        "name": "narrow", "caller": { "client": "orders" }, "subject": { "client": "front" },
        "resource_server": "orders", "permissions": ["orders:read", "orders:audit"],
    });
    chain.rule(&server, rule).await;
    let body = "grant_type=client_credentials&scope=orders:read+orders:write";
    let token = super::access_token(&server.token(&chain.front, body).await);
    let (_, claims) = exchanged(&server, &chain.orders, &token, "resource=https://orders.example").await;
    assert_eq!(
        claims["scope"], "orders:read",
        "orders:audit is beyond the token, orders:write beyond the rule"
    );
}

async fn the_audit_has_what_was_exchanged(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, before) = verified(&server, &token).await;
    let (_, after) = exchanged(&server, &chain.orders, &token, "").await;
    let path = format!("/audit-events?txn={}", before["txn"].as_str().unwrap());
    let events = chain.api(&server, "GET", &path, Value::Null).await.expect(200);
    let events = events["items"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    let event = events.iter().map(|item| &item["event"]).find(|event| event["jti"] == after["jti"]).unwrap();
    assert_eq!(event["actors"], json!(["orders"]));
    assert_eq!(event["subject"], "front");
    let exchange = json!({
        "rule": "orders-to-payments", "mode": "delegation", "subject_jti": before["jti"],
    });
    assert_eq!(event["exchange"], exchange);
}
