//! What the API says of what was counted.

use std::time::Duration;

use serde_json::{Value, json};

use super::counted;
use crate::harness::{START, Server, both_engines, jeton};
use crate::token::GRANT;
use crate::token_exchange::{Chain, access_token, exchange};

both_engines!(
    tokens_and_refusals_are_told_apart,
    a_chain_of_exchanges_shows_who_acts_for_whom_and_what_breaks,
    last_uses_are_of_this_registration,
    a_server_that_stops_writes_the_uses_that_no_event_tells,
    there_are_more_edges_when_there_are_more,
    statistics_need_a_permission_and_times_that_are_kept,
);

/// The series of an answer: name, tokens, refusals, all steps together.
fn sums(answer: &Value) -> Vec<(String, u64, u64)> {
    let sum = |numbers: &Value| numbers.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    let series = answer["series"].as_array().unwrap().iter();
    series
        .map(|series| {
            let name = series["name"].as_str().unwrap_or_default().to_owned();
            (name, sum(&series["tokens"]), sum(&series["refusals"]))
        })
        .collect()
}

fn row(name: &str, tokens: u64, refusals: u64) -> (String, u64, u64) {
    (name.to_owned(), tokens, refusals)
}

async fn tokens_and_refusals_are_told_apart(server: Server) {
    let billing = server.billing().await;
    for _ in 0..3 {
        server.token(&billing, GRANT).await.expect(200);
    }
    server.token(&billing, &format!("{GRANT}&scope=orders:write")).await.expect(400);
    server.clock.advance(Duration::from_hours(1));
    server.token(&billing, GRANT).await.expect(200);
    let nobody = crate::harness::Client::new("nobody", "wrong");
    server.token(&nobody, GRANT).await.expect(401);
    let api = server.administrator().await;
    counted(&server).await;
    let ask = async |query: &str| api.get(&format!("/statistics/tokens?{query}")).await.expect(200);

    let of_billing = ask("client_id=billing").await;
    assert_eq!(sums(&of_billing), [row("issued", 4, 0), row("invalid_scope", 0, 1)]);
    assert_eq!(of_billing["times"].as_array().unwrap().len(), 24);
    let issued = of_billing["series"][0]["tokens"].as_array().unwrap();
    assert_eq!(issued[22..], [json!(3), json!(1)], "{of_billing}");
    assert!(of_billing["counted_until"].is_string());

    let all = ask("by=grant&step=day").await;
    assert_eq!(sums(&all), [row("client_credentials", 5, 2)], "with the administrator's own: {all}");
    let clients = ask("by=client").await;
    let mut clients = sums(&clients);
    assert_eq!(clients[0], row("billing", 4, 1));
    clients.retain(|(name, ..)| !name.starts_with("a-administrator"));
    assert_eq!(clients[1..], [row("", 0, 1)], "who is not registered has no name");
    let days = ask("by=client&step=day&client_id=billing").await;
    assert_eq!(sums(&days), [row("billing", 4, 1)]);
    let offline = jeton(
        &server.database,
        &[
            "statistics",
            "tokens",
            "--client",
            "billing",
            "--from",
            "2026-11-22T00:00:00Z",
            "--to",
            "2026-11-23T00:00:00Z",
        ],
    );
    assert_eq!(sums(&offline), sums(&of_billing), "the command line says the same");
    jeton(&server.database, &["statistics", "rebuild"]);
    assert_eq!(sums(&ask("client_id=billing").await), sums(&of_billing));
}

async fn a_chain_of_exchanges_shows_who_acts_for_whom_and_what_breaks(server: Server) {
    let chain = Chain::start(&server).await;
    let api = server.administrator().await;
    let token = chain.token(&server).await;
    let passed =
        access_token(&exchange(&server, &chain.orders, &token, "resource=https://payments.example").await);
    let ledger = exchange(&server, &chain.payments, &passed, "resource=https://ledger.example").await;
    access_token(&ledger);
    counted(&server).await;
    let edges = |answer: &Value| -> Vec<String> {
        let text = |edge: &Value| {
            let part = |name: &str| edge[name].as_str().unwrap().to_owned();
            format!("{} for {} → {} {}", part("actor"), part("subject"), part("audience"), edge["exchanges"])
        };
        answer.as_array().unwrap().iter().map(text).collect()
    };
    let orders = "orders for front → https://payments.example 1";
    let payments = "payments for front → https://ledger.example 1";
    let all = api.get("/statistics/delegations").await.expect(200);
    assert_eq!(edges(&all["edges"]), [orders, payments]);
    let of_orders = api.get("/statistics/delegations?client_id=orders").await.expect(200);
    assert_eq!(edges(&of_orders["edges"]), [orders]);
    let none = api.get("/statistics/delegations?client_id=ledger").await.expect(200);
    assert_eq!(edges(&none["edges"]), [""; 0]);

    let front = api.get("/clients/front/impact").await.expect(200);
    assert_eq!(front["live_tokens"], 1, "{front}");
    assert_eq!(front["resource_servers"][0]["resource_server"], "orders");
    assert_eq!(edges(&front["passed_on_by"]), [orders, payments]);
    let orders_client = api.get("/clients/orders/impact").await.expect(200);
    assert_eq!(edges(&orders_client["passes_on"]), [orders]);
    assert_eq!(orders_client["rules"], json!(["orders-to-payments"]));
    assert_eq!(orders_client["operates"], json!(["orders"]));
    let server_impact = api.get("/resource-servers/payments/impact").await.expect(200);
    assert_eq!(server_impact["most"], json!([{ "client_id": "orders", "tokens": 1 }]));
    assert_eq!((&server_impact["clients"], &server_impact["roles"]), (&json!(1), &json!(["shopper"])));
    assert_eq!(server_impact["rules"], json!(["orders-to-payments"]));
    let role = api.get("/roles/shopper/impact").await.expect(200);
    assert_eq!((&role["clients"], &role["some"]), (&json!(1), &json!(["front"])));
    assert_eq!(role["gives"].as_array().unwrap().len(), 8);
    assert_eq!(role["rules"], json!(["orders-to-payments", "payments-to-ledger"]));
    for path in ["/clients/none/impact", "/resource-servers/none/impact", "/roles/none/impact"] {
        api.get(path).await.expect_problem(404, "not-found");
    }

    // What is revoked, or has ended, does not break.
    api.post("/revocations", json!({ "kind": "client", "subject": "front" })).await;
    assert_eq!(api.get("/clients/front/impact").await.expect(200)["live_tokens"], 0);
    assert_eq!(
        api.get("/clients/orders/impact").await.expect(200)["live_tokens"],
        0,
        "nor what stands on it"
    );
    server.clock.advance(Duration::from_hours(2));
    let api = server.administrator().await;
    let later = api.get("/clients/payments/impact").await.expect(200);
    assert_eq!((&later["live_tokens"], &later["resource_servers"]), (&json!(0), &json!([])));
    assert_eq!(edges(&later["passes_on"]), [payments], "for a day");
}

async fn last_uses_are_of_this_registration(server: Server) {
    let billing = server.billing().await;
    let second = server.secret("billing", json!({ "description": "second" })).await;
    let third = server.secret("billing", json!({ "description": "third" })).await;
    let api = server.administrator().await;
    counted(&server).await;
    assert_eq!(api.get("/clients/billing").await.expect(200).get("last_used_at"), None);
    server.clock.advance(Duration::from_mins(1));
    server.token(&billing, GRANT).await.expect(200);
    server.clock.advance(Duration::from_mins(1));
    // It proves the client, whatever comes of it.
    server.token(&second, &format!("{GRANT}&scope=nothing")).await.expect(400);
    // Where a use is recorded nowhere, it counts all the same.
    server.clock.advance(Duration::from_mins(1));
    let form = [third.basic(), "Content-Type: application/x-www-form-urlencoded".to_owned()];
    let form = form.each_ref().map(String::as_str);
    assert_eq!(server.send("POST", "/oauth2/introspect", &form, "token=x").await.status, 200);
    counted(&server).await;
    assert_eq!(api.get("/clients/billing").await.expect(200)["last_used_at"], "2026-11-22T08:01:00Z");
    let secrets = api.get("/clients/billing/secrets").await.expect(200);
    let uses = |description: &str| {
        let mut secrets = secrets.as_array().unwrap().iter();
        secrets.find(|secret| secret["description"] == description).unwrap()["last_used_at"].clone()
    };
    for (description, minute) in [("", 1), ("second", 2), ("third", 3)] {
        assert_eq!(uses(description), json!(format!("2026-11-22T08:0{minute}:00Z")), "{description}");
    }

    let version = api.get("/clients/billing").await.expect(200)["version"].as_i64();
    assert_eq!(api.delete("/clients/billing", version).await.status, 204);
    server.clock.advance(Duration::from_mins(1));
    server.client(json!({ "client_id": "billing", "roles": ["order-reader"] })).await;
    // Whoever counts everything anew meets the events of the client that was there before.
    jeton(&server.database, &["statistics", "rebuild"]);
    assert_eq!(api.get("/clients/billing").await.expect(200).get("last_used_at"), None);
    assert_eq!(
        server.database.texts("SELECT secret_id FROM secret_uses WHERE last_used_at > 0").await.len(),
        1
    );
}

async fn a_server_that_stops_writes_the_uses_that_no_event_tells(server: Server) {
    let billing = server.billing().await;
    let form = [billing.basic(), "Content-Type: application/x-www-form-urlencoded".to_owned()];
    let form = form.each_ref().map(String::as_str);
    assert_eq!(server.send("POST", "/oauth2/introspect", &form, "token=x").await.status, 200);
    let server = server.restart_with(|_| ()).await.unwrap();
    let api = server.administrator().await;
    let secrets = api.get("/clients/billing/secrets").await.expect(200);
    assert_eq!(secrets[0]["last_used_at"], "2026-11-22T08:00:00Z");
}

async fn statistics_need_a_permission_and_times_that_are_kept(server: Server) {
    let auditor = server.api_with(server.api_token("auditor").await);
    for path in ["/statistics/tokens", "/statistics/delegations"] {
        auditor.get(path).await.expect(200);
        auditor
            .get(&format!("{path}?from=2020-01-01T00:00:00Z"))
            .await
            .expect_invalid("from", "days at most");
        let wrong = format!("{path}?from=2026-11-22T08:00:00Z&to=2026-11-20T08:00:00Z");
        auditor.get(&wrong).await.expect_invalid("from", "before 'to'");
        assert_eq!(auditor.get(&format!("{path}?from=now")).await.status, 400);
    }
    let long = "from=2026-09-01T00:00:00Z";
    auditor.get(&format!("/statistics/tokens?step=day&by=client&{long}")).await.expect(200);
    auditor.get(&format!("/statistics/delegations?{long}")).await.expect_invalid("from", "31 days at most");
    auditor.get(&format!("/statistics/tokens?{long}")).await.expect_invalid("from", "or step=day");
    server
        .role(json!({
            "name": "weak",
            "permissions": [{ "resource_server": "jeton", "permission": "signing-keys:read" }],
        }))
        .await;
    let weak = server.client(json!({ "client_id": "weak", "roles": ["weak"] })).await;
    let weak = server.api_as(&weak, "signing-keys:read").await;
    for (path, permission) in [
        ("/statistics/tokens", "audit:read"),
        ("/statistics/delegations", "audit:read"),
        ("/clients/weak/impact", "clients:read"),
        ("/clients/weak/effective-permissions", "clients:read"),
        ("/resource-servers/jeton/impact", "resource-servers:read"),
        ("/roles/auditor/impact", "roles:read"),
    ] {
        weak.get(path).await.expect_forbidden(permission);
    }
    weak.post("/clients/weak/dry-run", json!({})).await.expect_forbidden("clients:read");
}

async fn there_are_more_edges_when_there_are_more(server: Server) {
    let day = START.start_of_day().as_micros();
    let insert = async |from: u32, to: u32| {
        let numbers = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})"
        );
        let edge = format!("SELECT {day}, 's' || CAST(n AS TEXT), 'a', 'b', 1, {day} FROM numbers");
        let columns = "delegations (day, subject, actor, audience, exchanges, last_at)";
        server.database.execute(&format!("INSERT INTO {columns} {numbers} {edge}")).await;
    };
    let api = server.administrator().await;
    for (from, to, more) in [(1, 1_000, false), (1_001, 1_001, true)] {
        insert(from, to).await;
        let found = api.get("/statistics/delegations").await.expect(200);
        assert_eq!(found["edges"].as_array().unwrap().len(), 1_000);
        assert_eq!(found["more"] == true, more, "of {to}");
    }
}
