//! `jeton audit tree`: a chain of exchanges, as somebody at a terminal sees it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Chain, exchanged};
use crate::harness::{Server, both_engines, jeton, run};
use crate::token::verified;

both_engines!(a_chain_of_three_services_is_a_tree, what_is_no_chain_is_an_error);

/// What a command prints.
fn printed(server: &Server, arguments: &[&str]) -> String {
    let output = run(&server.database, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn a_chain_of_three_services_is_a_tree(server: Server) {
    let chain = Chain::start(&server).await;
    let next = || server.clock.advance(Duration::from_secs(1));
    let first = chain.token(&server).await;
    let (_, at_front) = verified(&server, &first).await;
    next();
    let (second, at_orders) = exchanged(&server, &chain.orders, &first, "").await;
    next();
    let (_, at_payments) = exchanged(&server, &chain.payments, &second, "").await;
    next();
    let (_, again) = exchanged(&server, &chain.orders, &first, "scope=payments:read").await;
    // Another chain, which is none of this one's business.
    chain.token(&server).await;
    next();
    for body in [
        json!({ "kind": "token", "subject": again["jti"] }),
        json!({ "kind": "client", "subject": "payments" }),
        json!({ "kind": "chain", "subject": at_front["txn"] }),
    ] {
        chain.api(&server, "POST", "/revocations", body).await.expect(201);
    }

    let txn = at_front["txn"].as_str().unwrap();
    let tree = jeton(&server.database, &["audit", "tree", txn]);
    let shape: Vec<Value> = tree["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            let revoked: Vec<&str> = token["revocations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|taken| taken["what"].as_str().unwrap())
                .collect();
            json!([token["depth"], token["jti"], token["orphan"], revoked])
        })
        .collect();
    let none: [&str; 0] = [];
    assert_eq!(
        shape,
        [
            json!([0, at_front["jti"], false, none]),
            json!([1, at_orders["jti"], false, none]),
            json!([2, at_payments["jti"], false, ["client"]]),
            json!([1, again["jti"], false, ["token"]]),
        ]
    );
    assert_eq!(tree["revocations"][0]["subject"], txn);
    assert_eq!(tree["txn"], txn);

    let text = printed(&server, &["audit", "tree", txn]);
    let lines: Vec<&str> = text.lines().collect();
    let expected: [(&str, &[&str]); 7] = [
        ("txn ", &[txn]),
        ("├─ ", &["REVOKED: chain, by "]),
        (
            "└─ ",
            &["  front for front → https://orders.example  [orders:audit orders:read orders:write]  jti …"],
        ),
        (
            "   ├─ ",
            &[
                "  orders for front → https://payments.example  [payments:read payments:write]",
                "  orders-to-payments (delegation)  jti …",
                "  until ",
            ],
        ),
        (
            "   │  └─ ",
            &[
                "  payments for front → https://ledger.example  [ledger:write]  payments-to-ledger (delegation)",
            ],
        ),
        ("   │     └─ ", &["REVOKED: client payments, by "]),
        ("   └─ ", &["  orders for front → https://payments.example  [payments:read]"]),
    ];
    assert_eq!(lines.len(), 8, "{text}");
    for (line, (start, parts)) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}\n{text}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line:?} lacks one of {parts:?}\n{text}");
    }
    assert!(lines[7].starts_with("      └─ ") && lines[7].contains("REVOKED: token, by "), "{text}");
    let jti = again["jti"].as_str().unwrap();
    assert!(lines[6].contains(&jti[jti.len() - 8..]), "{text}");
}

async fn what_is_no_chain_is_an_error(server: Server) {
    let chain = Chain::start(&server).await;
    let (_, claims) = verified(&server, &chain.token(&server).await).await;
    let jti = claims["jti"].as_str().unwrap();
    let rows = [
        ("x", "is no identifier that this server makes"),
        ("-", "is no identifier that this server makes"),
        (jti, "no token of the chain"),
    ];
    for (txn, expected) in rows {
        let output = run(&server.database, &["audit", "tree", txn]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected) && error.contains(txn), "{error}");
        assert!(output.stdout.is_empty());
    }
}
