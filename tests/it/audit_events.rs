//! Reading the audit through the API: who may, what is found, and that every page of it holds together.

mod plans;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Client, START, Server, both_engines, encoded};
use crate::token::{GRANT, verified};
use jeton::domain::audit::Event;

both_engines!(
    whoever_may_read_the_audit_reads_it,
    an_event_is_shown_as_it_was_written,
    events_come_newest_first,
    each_filter_finds_its_own,
    filters_work_together,
    a_token_is_found_by_its_jti_with_all_that_was_done_with_it,
    a_chain_of_tokens_is_found_by_its_txn,
    a_filter_that_is_none_is_refused_with_the_way_out,
    pages_have_neither_gaps_nor_repeats_while_events_come,
);

const PATH: &str = "/audit-events";

async fn reader(server: &Server) -> Api<'_> {
    server.api_with(server.api_token("auditor").await)
}

impl Api<'_> {
    /// The events of the only page.
    async fn found(&self, query: &str) -> Vec<Value> {
        let mut page = self.get(&format!("{PATH}?limit=500&{query}")).await.expect(200);
        assert!(page.get("next_cursor").is_none(), "{query}: more than one page");
        let Value::Array(items) = page["items"].take() else { panic!("no items: {page}") };
        items
    }

    /// The kinds of the events that a query finds, newest first.
    async fn kinds(&self, query: &str) -> Vec<String> {
        let found = self.found(query).await;
        found.iter().map(|item| item["event"]["kind"].as_str().unwrap().to_owned()).collect()
    }
}

/// The claims of a new token.
async fn issue(server: &Server, client: &Client) -> Value {
    let token = server.token(client, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
    verified(server, &token).await.1
}

async fn whoever_may_read_the_audit_reads_it(server: Server) {
    for role in ["administrator", "auditor"] {
        let api = server.api_with(server.api_token(role).await);
        assert!(!api.get(PATH).await.expect(200)["items"].as_array().unwrap().is_empty(), "{role}");
    }
    let client = server.client(json!({ "client_id": "c", "roles": ["auditor"] })).await;
    let api = server.api_as(&client, "clients:read").await;
    let answer = api.get(PATH).await;
    answer.expect_forbidden("audit:read");
    assert_eq!(server.recorded(&answer).await.kind, "access_refused", "and that is an event, too");
    let api = server.api_as(&client, "audit:read").await;
    api.get(PATH).await.expect(200);
    api.get("/clients").await.expect_forbidden("clients:read");
    server.send("GET", "/api/v1/audit-events", &[], "").await.expect_problem(401, "token-required");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = server.api(method, PATH, &api.token, &[], Value::Null).await;
        answer.expect_problem(405, "no-such-method");
    }
}

/// Byte for byte: what is read here can be hashed.
async fn an_event_is_shown_as_it_was_written(server: Server) {
    let billing = server.billing().await;
    let odd = "scope=%22%5C%C3%A9%F0%9F%94%91+%3C";
    server.token(&billing, &format!("{GRANT}&{odd}")).await;
    let api = reader(&server).await;
    let answer = api.get(&format!("{PATH}?limit=500")).await;
    let page = answer.expect(200);
    let hash = if server.database.url.is_some() { "encode(hash, 'hex')" } else { "lower(hash_hex)" };
    let from = if server.database.url.is_some() {
        "audit_events"
    } else {
        "(SELECT *, hex(hash) AS hash_hex FROM audit_events)"
    };
    let sql = format!(
        "SELECT CAST(seq AS TEXT) || '\n' || CAST(at AS TEXT) || '\n' || {hash} || '\n' || event FROM {from} WHERE kind <> 'access_refused' ORDER BY at DESC, writer DESC, seq DESC"
    );
    let stored = server.database.texts(&sql).await;
    assert_eq!(stored.len(), page["items"].as_array().unwrap().len());
    assert!(stored.iter().any(|row| row.contains("🔑")));
    for (row, item) in stored.iter().zip(page["items"].as_array().unwrap()) {
        let [seq, at, hash, text] = row.split('\n').collect::<Vec<_>>()[..] else { panic!("{row}") };
        assert!(answer.body.contains(&format!("\"event\":{text}}}")), "{text}\nis not in {}", answer.body);
        assert_eq!((item["seq"].to_string().as_str(), item["hash"].as_str()), (seq, Some(hash)));
        let shown = jeton::domain::time::Timestamp::parse(item["at"].as_str().unwrap()).unwrap();
        assert_eq!(shown.as_micros().to_string(), at);
        let members: BTreeSet<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["writer", "seq", "at", "hash", "event"]));
    }
}

async fn events_come_newest_first(server: Server) {
    let billing = server.billing().await;
    let api = reader(&server).await;
    for _ in 0..3 {
        server.clock.advance(Duration::from_micros(1));
        issue(&server, &billing).await;
        issue(&server, &billing).await;
    }
    let found = api.found("").await;
    let places: Vec<(i64, u64)> = found
        .iter()
        .map(|item| {
            let at = jeton::domain::time::Timestamp::parse(item["at"].as_str().unwrap()).unwrap();
            (at.as_micros(), item["seq"].as_u64().unwrap())
        })
        .collect();
    assert!(places.iter().rev().is_sorted(), "by time, and at equal times by their places: {places:?}");
    assert_eq!(places[0].0, START.as_micros() + 3);
    assert_eq!(found.last().unwrap()["event"]["kind"], "started");
}

async fn each_filter_finds_its_own(server: Server) {
    let billing = server.billing().await;
    let api = reader(&server).await;
    server.clock.advance(Duration::from_secs(10));
    let first = issue(&server, &billing).await;
    server.clock.advance(Duration::from_secs(10));
    server.token(&billing, &format!("{GRANT}&scope=nowhere")).await.expect(400);
    server.clock.advance(Duration::from_secs(10));
    issue(&server, &billing).await;
    let start = jeton::domain::time::Timestamp::from_micros(START.as_micros());
    let at = |seconds| encoded(&start.plus(Duration::from_secs(seconds)).to_string());

    let (issued, refused) = ("token_issued", "token_refused");
    assert_eq!(api.kinds(&format!("from={}", at(10))).await, [issued, refused, issued], "from is in");
    assert_eq!(api.kinds(&format!("from={}&to={}", at(10), at(30))).await, [refused, issued], "to is not");
    assert_eq!(api.kinds(&format!("to={}", at(0))).await, [""; 0]);
    assert_eq!(api.kinds(&format!("from={}&to={}", at(30), at(10))).await, [""; 0]);
    // Another offset is the same time.
    assert_eq!(api.kinds("from=2026-11-22T09:00:30%2B01:00").await, [issued]);
    assert_eq!(api.kinds("client_id=billing").await, [issued, refused, issued]);
    assert_eq!(api.kinds("client_id=nobody").await, [""; 0]);
    assert_eq!(api.kinds("client_id=BILLING").await, [""; 0]);
    assert_eq!(api.kinds("outcome=refused").await, [refused]);
    assert!(!api.kinds("outcome=success").await.iter().any(|kind| kind == refused));
    assert_eq!(api.kinds(&format!("jti={}", first["jti"].as_str().unwrap())).await, [issued]);
    assert_eq!(api.kinds(&format!("txn={}", first["txn"].as_str().unwrap())).await, [issued]);
    let all = api.kinds("").await;
    for kind in Event::KINDS {
        let expected: Vec<_> = all.iter().filter(|other| other == kind).cloned().collect();
        assert_eq!(api.kinds(&format!("kind={kind}")).await, expected, "{kind}");
    }
    assert!(api.kinds("kind=changed").await.len() >= 5);
    // An empty value is as none.
    assert_eq!(api.kinds("client_id=&kind=&jti=&txn=").await, all);
}

async fn filters_work_together(server: Server) {
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    let api = reader(&server).await;
    let mut tokens = Vec::new();
    for client in [&billing, &other] {
        server.clock.advance(Duration::from_secs(2));
        tokens.push(issue(&server, client).await);
        server.token(client, &format!("{GRANT}&scope=nowhere")).await.expect(400);
    }
    let (jti, txn) = (tokens[0]["jti"].as_str().unwrap(), tokens[0]["txn"].as_str().unwrap());
    let (issued, refused) = ("token_issued", "token_refused");
    let (first, second) = ("2026-11-22T08:00:02Z", "2026-11-22T08:00:04Z");
    for (query, expected) in [
        ("client_id=billing&outcome=refused".to_owned(), vec![refused]),
        ("client_id=billing&kind=token_issued".to_owned(), vec![issued]),
        ("kind=token_issued&outcome=refused".to_owned(), vec![]),
        ("kind=token_refused&outcome=refused".to_owned(), vec![refused, refused]),
        (format!("kind=token_refused&from={second}"), vec![refused]),
        (format!("outcome=refused&to={second}"), vec![refused]),
        (format!("client_id=billing&from={second}"), vec![]),
        (format!("client_id=other&from={first}&to={second}"), vec![]),
        (format!("client_id=other&kind=token_issued&outcome=success&from={second}"), vec![issued]),
        (format!("jti={jti}&client_id=billing"), vec![issued]),
        (format!("jti={jti}&client_id=other"), vec![]),
        (format!("jti={jti}&kind=changed"), vec![]),
        (format!("jti={jti}&outcome=refused"), vec![]),
        (format!("jti={jti}&txn={txn}"), vec![issued]),
        (format!("jti={jti}&txn={jti}"), vec![]),
        (format!("txn={txn}&client_id=other"), vec![]),
        (format!("txn={txn}&from={first}&to={second}"), vec![issued]),
        (format!("txn={txn}&from={second}"), vec![]),
        (format!("jti={jti}&to={first}"), vec![]),
    ] {
        assert_eq!(api.kinds(&query).await, expected, "{query}");
    }
}

async fn a_token_is_found_by_its_jti_with_all_that_was_done_with_it(server: Server) {
    server.billing().await;
    let client = server.client(json!({ "client_id": "root", "roles": ["administrator"] })).await;
    let root = server.api_as(&client, "").await;
    let jti = verified(&server, &root.token).await.1["jti"].as_str().unwrap().to_owned();
    let other = server.administrator().await;
    // Long after the time that the token's identifier tells.
    server.clock.advance(Duration::from_mins(4));
    root.post("/clients/billing/disable", Value::Null).await.expect(200);
    other.post("/clients/billing/enable", Value::Null).await.expect(200);
    root.post("/clients/billing/disable", Value::Null).await.expect(200);
    let found = other.found(&format!("jti={jti}")).await;
    let kinds: Vec<_> = found.iter().map(|item| item["event"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["changed", "changed", "token_issued"], "newest first, and nobody else's");
    assert_eq!(found[2]["event"]["jti"], jti);
    assert!(found[..2].iter().all(|item| item["event"]["actor"]["jti"] == jti), "{found:?}");
    let changed = other.found(&format!("jti={jti}&kind=changed")).await;
    assert_eq!(changed, found[..2]);
    let auditor = server.api_token("auditor").await;
    server.api_with(&auditor).post("/clients/billing/disable", Value::Null).await.expect(403);
    let jti = verified(&server, &auditor).await.1["jti"].as_str().unwrap().to_owned();
    assert_eq!(other.kinds(&format!("jti={jti}")).await, ["access_refused", "token_issued"]);
    for unknown in
        ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "______________________________", &"%2F".repeat(40)]
    {
        assert_eq!(other.kinds(&format!("jti={unknown}")).await, [""; 0], "{unknown}");
    }
}

async fn a_chain_of_tokens_is_found_by_its_txn(server: Server) {
    let billing = server.billing().await;
    let api = reader(&server).await;
    let (one, other) = (issue(&server, &billing).await, issue(&server, &billing).await);
    for claims in [one, other] {
        let found = api.found(&format!("txn={}", claims["txn"].as_str().unwrap())).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["event"]["jti"], claims["jti"]);
    }
}

async fn a_filter_that_is_none_is_refused_with_the_way_out(server: Server) {
    let api = reader(&server).await;
    let ask = async |query: &str| -> Answer { api.get(&format!("{PATH}?{query}")).await };
    let problem = ask("kind=token_isued").await.expect_invalid("kind", &Event::KINDS.join(", "));
    assert!(problem.contains("'token_isued'"), "{problem}");
    for limit in ["0", "501"] {
        ask(&format!("limit={limit}")).await.expect_invalid("limit", "use 1 to 500");
    }
    for cursor in ["x", "%20", "AAAA", "MS4y", "MS4wMTlhYThjMi03ZDFlLTdhNmItOWY0ZS0yZDFjMGIzYTRlNWYueA"] {
        ask(&format!("cursor={cursor}")).await.expect_invalid("cursor", "next_cursor of the page before");
    }
    for field in ["client_id", "jti", "txn"] {
        for text in ["%00", &"a".repeat(256)] {
            ask(&format!("{field}={text}"))
                .await
                .expect_invalid(field, "use at most 255 printable characters");
        }
    }
    for (query, words) in [
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("from=yesterday", "2026-11-22T08:00:00Z"),
        ("to=2026-11-22", "2026-11-22T08:00:00Z"),
        ("from=2026-11-22T08:00:00", "2026-11-22T08:00:00Z"),
        ("outcome=good", "success"),
        ("client=billing", "client_id"),
        ("kind=changed&kind=stopped", "kind"),
    ] {
        let answer = ask(query).await;
        let detail = answer.expect_problem(400, "malformed")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{query}: {detail}");
    }
}

async fn pages_have_neither_gaps_nor_repeats_while_events_come(server: Server) {
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    let api = reader(&server).await;
    for n in 0..23 {
        // Several of the same time, so that a page ends between them.
        if n % 5 == 0 {
            server.clock.advance(Duration::from_millis(1));
        }
        issue(&server, if n % 3 == 0 { &other } else { &billing }).await;
        if n % 7 == 0 {
            server.token(&billing, &format!("{GRANT}&scope=nowhere{n}")).await.expect(400);
        }
    }
    let cut = START.plus(Duration::from_millis(4));
    for (query, limits) in [
        (String::new(), &[1, 2, 3, 7, 500][..]),
        ("client_id=billing&".to_owned(), &[1, 2, 5]),
        ("kind=token_refused&".to_owned(), &[1, 2]),
        ("outcome=refused&".to_owned(), &[1, 3]),
        ("kind=changed&".to_owned(), &[1, 4]),
        (format!("to={cut}&"), &[1, 4]),
        (format!("from={cut}&"), &[2]),
    ] {
        for limit in limits {
            let whole: Vec<String> = hashes(&api.found(&query).await);
            assert!(whole.len() > 1, "{query}");
            let more = async {
                server.clock.advance(Duration::from_millis(1));
                issue(&server, &billing).await;
                server.token(&billing, &format!("{GRANT}&scope=later")).await.expect(400);
            };
            let pages = api.pages(&format!("{PATH}?{query}"), *limit, "hash", more).await;
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == *limit), "{query} {limit}");
            assert_eq!(pages.concat(), whole, "{query} {limit}");
        }
    }
}

fn hashes(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["hash"].as_str().unwrap().to_owned()).collect()
}
