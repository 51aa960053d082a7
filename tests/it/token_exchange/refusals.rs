//! Each refusal of RFC 8693 §2.2.2.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Chain, EXCHANGE, exchange, exchanged, foreign};
use crate::dpop::{Prover, ask_for, bound};
use crate::harness::{Server, both_engines};
use crate::token::GRANT;
use jeton::runtime::clock::Clock;

both_engines!(
    missing_and_stray_parameters_are_refused_rfc8693_2_1,
    what_is_no_token_of_ours_is_refused_rfc8693_2_2_2,
    without_a_rule_there_is_no_token_rfc8693_2_2_2,
    a_token_for_somebody_else_cannot_be_passed_on_rfc8693_2_2_2,
    a_rule_can_name_the_exception,
    may_act_is_obeyed_rfc8693_4_4,
    who_cannot_act_is_refused_rfc8693_2_2_2,
    the_depth_is_limited_rfc8693_4_1,
    only_a_client_registered_for_it_may_exchange_rfc6749_5_2,
    a_token_of_the_profile_jwt_cannot_be_passed_on_rfc8693_2_2_2,
    one_resource_server_at_a_time_rfc8707_2,
    a_token_that_gives_nothing_any_more_cannot_be_passed_on_rfc8693_2_2_2,
);

async fn missing_and_stray_parameters_are_refused_rfc8693_2_1(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let subject = format!("subject_token={token}");
    let typed = format!("subject_token_type={ACCESS_TOKEN}");
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let saml = "urn:ietf:params:oauth:token-type:saml2";
    for (what, body) in [
        ("no subject token", typed.clone()),
        ("nothing", String::new()),
        ("no type", subject.clone()),
        ("an unknown type", format!("{subject}&subject_token_type=access_token")),
        ("a type that is not accepted", format!("{subject}&subject_token_type={saml}")),
        ("an ID token is requested", format!("{subject}&{typed}&requested_token_type={id_token}")),
        ("something unknown is requested", format!("{subject}&{typed}&requested_token_type=x")),
        ("an actor token without its type", format!("{subject}&{typed}&actor_token={token}")),
        ("an actor token's type alone", format!("{subject}&{typed}&actor_token_type={ACCESS_TOKEN}")),
        ("twice the subject token", format!("{subject}&{subject}&{typed}")),
    ] {
        let body = format!("grant_type={EXCHANGE}&{body}");
        server.token(&chain.orders, &body).await.expect_refusal(what, 400, "invalid_request");
    }
    assert!(exchange(&server, &chain.orders, &token, "").await.status == 200, "the rest was right");
}

async fn what_is_no_token_of_ours_is_refused_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let signed = token.rsplit_once('.').unwrap().0;
    let refuse = async |what: &str, token: &str| {
        let refused = exchange(&server, &chain.orders, token, "").await;
        let text = refused.expect_refusal(what, 400, "invalid_request");
        assert!(text.contains("not accepted"), "{text}");
    };
    refuse("no JWT", "abc").await;
    refuse("an opaque token", "Zm9v.YmFy").await;
    refuse("no signature", &format!("{signed}.")).await;
    refuse("another signature", &format!("{signed}.{}", "A".repeat(86))).await;
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    refuse("alg none", &format!("{none}.{}.", signed.split_once('.').unwrap().1)).await;
    for foreign in foreign(&server, &token).await {
        refuse("somebody else's", &foreign).await;
    }
    server.clock.advance(Duration::from_secs(301));
    refuse("an expired one", &token).await;
}

async fn without_a_rule_there_is_no_token_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let mut texts = Vec::new();
    for target in ["https://ledger.example", "https://nowhere.example", "https://orders.example"] {
        let more = format!("resource={target}");
        let refused = exchange(&server, &chain.orders, &token, &more).await;
        texts.push(refused.expect_refusal(target, 400, "invalid_target"));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "asking tells nobody what is registered: {texts:?}");
    let malformed = exchange(&server, &chain.orders, &token, "resource=payments").await;
    malformed.expect_refusal("not an absolute URI", 400, "invalid_target");
    for change in [json!({ "enabled": false }), json!({ "enabled": true, "permissions": ["payments:audit"] })]
    {
        chain.change_rule(&server, "orders-to-payments", change.clone()).await;
        let refused = exchange(&server, &chain.orders, &token, "scope=payments:read").await;
        let error = if change["enabled"] == true { "invalid_scope" } else { "invalid_target" };
        refused.expect_refusal(&change.to_string(), 400, error);
    }
    // A token would end within this second: when the rule does, or the secret of whoever asks.
    let soon = server.clock.now().plus(Duration::from_millis(500)).to_string();
    let secret = server.secret("orders", json!({ "expires_at": soon })).await;
    let change = json!({ "permissions": ["payments:read"] });
    chain.change_rule(&server, "orders-to-payments", change).await;
    exchange(&server, &chain.orders, &token, "").await.expect(200);
    let mut ended = vec![("the secret", exchange(&server, &secret, &token, "").await)];
    chain.change_rule(&server, "orders-to-payments", json!({ "expires_at": soon })).await;
    ended.push(("the rule", exchange(&server, &chain.orders, &token, "").await));
    for (row, refused) in ended {
        refused.expect_refusal(row, 400, "invalid_target");
        server.reason_is(row, &refused, "what stands behind the exchange ends within this second").await;
    }
}

async fn a_token_for_somebody_else_cannot_be_passed_on_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    // `payments` has got hold of a token that is addressed to `orders`.
    let refused = exchange(&server, &chain.payments, &token, "resource=https://ledger.example").await;
    let text = refused.expect_refusal("stolen", 400, "invalid_request");
    assert!(text.contains("operate"), "{text}");
    let removed =
        chain.api(&server, "DELETE", "/resource-servers/orders/operators/orders", Value::Null).await;
    assert!(removed.status < 300);
    exchange(&server, &chain.orders, &token, "").await.expect_refusal("no operator", 400, "invalid_request");
}

async fn a_rule_can_name_the_exception(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    chain.change_rule(&server, "payments-to-ledger", json!({ "sources": ["orders"] })).await;
    let (_, claims) = exchanged(&server, &chain.payments, &token, "").await;
    assert_eq!(claims["aud"], "https://ledger.example");
}

async fn may_act_is_obeyed_rfc8693_4_4(server: Server) {
    let chain = Chain::start(&server).await;
    let get = chain.api(&server, "GET", "/clients/front", Value::Null).await;
    let version = format!("If-Match: {}", get.header("etag").unwrap());
    let change = json!({ "may_act": "orders" });
    server.api("PATCH", "/clients/front", &chain.admin, &[&version], change).await.expect(200);
    let token = chain.token(&server).await;
    let (second, claims) = exchanged(&server, &chain.orders, &token, "").await;
    assert_eq!(claims["may_act"], json!({ "sub": "orders" }), "it stands in every token of the chain");
    let refused = exchange(&server, &chain.payments, &second, "").await;
    let text = refused.expect_refusal("payments may not act", 400, "invalid_request");
    assert!(text.contains("may_act"), "{text}");
}

async fn who_cannot_act_is_refused_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let worker = server.client(json!({ "client_id": "worker", "roles": ["shopper"] })).await;
    let ask = format!("{GRANT}&resource=https://orders.example");
    let actor = super::access_token(&server.token(&worker, &ask).await);
    let prover = Prover::start(&server, &worker).await;
    let answer = ask_for(&server, &worker, &[&prover.proof(&server)], &ask).await;
    let bound = bound(&server, &answer, &prover).await;
    let with = |actor: &str| format!("actor_token={actor}&actor_token_type={ACCESS_TOKEN}");
    let refuse = async |row: &str, actor: &str, reason: &str| {
        let refused = exchange(&server, &chain.orders, &token, &with(actor)).await;
        refused.expect_refusal(row, 400, "invalid_request");
        server.reason_is(row, &refused, reason).await;
    };
    exchanged(&server, &chain.orders, &token, &with(&actor)).await;
    refuse("without its proof", &bound, "it is bound to a key, which cannot be proven here").await;
    chain.change_rule(&server, "orders-to-payments", json!({ "mode": "impersonation" })).await;
    refuse("nobody is named", &actor, "the rule is for impersonation, and there is an actor token").await;
    let (as_front, claims) = exchanged(&server, &chain.orders, &token, "").await;
    assert_eq!(
        (&claims["sub"], &claims["client_id"], claims.get("act")),
        (&json!("front"), &json!("orders"), None)
    );
    chain.change_rule(&server, "orders-to-payments", json!({ "mode": "delegation" })).await;
    refuse("got in another's place", &as_front, "the caller has got it in somebody else's place").await;
    chain.api(&server, "POST", "/clients/worker/disable", Value::Null).await.expect(200);
    refuse("a disabled client", &actor, "a client that stands behind it is disabled").await;
}

async fn the_depth_is_limited_rfc8693_4_1(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    chain.change_rule(&server, "payments-to-ledger", json!({ "max_depth": 1 })).await;
    let (second, _) = exchanged(&server, &chain.orders, &token, "").await;
    let refused = exchange(&server, &chain.payments, &second, "").await;
    refused.expect_refusal("two actors", 400, "invalid_request");
}

async fn only_a_client_registered_for_it_may_exchange_rfc6749_5_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let refused = exchange(&server, &chain.front, &token, "").await;
    refused.expect_refusal("not registered for it", 400, "unauthorized_client");
}

async fn a_token_of_the_profile_jwt_cannot_be_passed_on_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    server
        .resource_server(json!({
            "name": "cloud", "identifier": "sts.cloud.example", "permissions": [{ "permission": "assume" }],
            "token_profile": "jwt",
        }))
        .await;
    server
        .role(json!({ "name": "cloudy", "permissions": [{ "resource_server": "cloud", "permission": "assume" }] }))
        .await;
    let cloudy = server.client(json!({ "client_id": "cloudy", "roles": ["cloudy"] })).await;
    let body = format!("{GRANT}&audience=sts.cloud.example");
    let token = super::access_token(&server.token(&cloudy, &body).await);
    let rule = json!({
        "name": "cloud", "caller": { "client": "orders" }, "subject": { "client": "cloudy" },
        "resource_server": "payments", "permissions": ["payments:read"], "sources": ["cloud"],
    });
    chain.rule(&server, rule).await;
    let refused = exchange(&server, &chain.orders, &token, "").await;
    refused.expect_refusal("a plain JWT", 400, "invalid_request");
}

async fn one_resource_server_at_a_time_rfc8707_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let more = "resource=https://payments.example&resource=https://ledger.example";
    exchange(&server, &chain.orders, &token, more).await.expect_refusal("two", 400, "invalid_target");
    let rule = json!({
        "name": "second", "caller": { "client": "orders" }, "subject": { "client": "front" },
        "resource_server": "ledger", "permissions": ["ledger:read"],
    });
    chain.rule(&server, rule).await;
    let refused = exchange(&server, &chain.orders, &token, "").await;
    let text = refused.expect_refusal("which?", 400, "invalid_target");
    assert!(text.contains("https://ledger.example, https://payments.example"), "{text}");
    let (_, claims) = exchanged(&server, &chain.orders, &token, "scope=ledger:read").await;
    assert_eq!(claims["aud"], "https://ledger.example", "the scope decides");
}

async fn a_token_that_gives_nothing_any_more_cannot_be_passed_on_rfc8693_2_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    for (name, permission) in [("orders", "orders:read"), ("payments", "payments:read")] {
        let permissions = json!([{ "resource_server": name, "permission": permission }]);
        server.role(json!({ "name": format!("at-{name}"), "permissions": permissions })).await;
    }
    let web = server.client(json!({ "client_id": "web", "roles": ["at-orders", "at-payments"] })).await;
    let rule = json!({
        "name": "web", "caller": { "client": "orders" }, "subject": { "client": "web" },
        "resource_server": "payments", "permissions": ["payments:read"],
    });
    chain.rule(&server, rule).await;
    let body = format!("{GRANT}&resource=https://orders.example");
    let token = super::access_token(&server.token(&web, &body).await);
    exchange(&server, &chain.orders, &token, "").await.expect(200);
    // What it has at payments stays. What brought the token to orders does not.
    let removed = chain.api(&server, "DELETE", "/clients/web/roles/at-orders", Value::Null).await;
    assert!(removed.status < 300);
    let refused = exchange(&server, &chain.orders, &token, "").await;
    refused.expect_refusal("a token that gives nothing", 400, "invalid_request");
}
