//! Lists of clients: pages by cursor, and filters.

use serde_json::json;

use crate::harness::{Api, Server, both_engines, encoded};

both_engines!(
    pages_hold_everything_once,
    pages_stay_right_while_clients_come_and_go,
    a_page_that_ends_the_list_has_no_cursor,
    the_order_is_the_same_on_every_engine,
    a_wrong_page_is_refused,
    an_unknown_query_parameter_is_refused,
    clients_are_found_by_kind_and_owner,
    clients_are_found_by_label,
    clients_are_found_by_text,
    text_is_taken_literally,
    text_is_found_in_any_case,
    text_beyond_ascii_is_found_in_any_case,
    filters_narrow_each_other,
);

/// Registers clients of one owner, which tells them from the administrator's own.
async fn mine(api: &Api<'_>, ids: &[&str]) {
    for id in ids {
        api.post("/clients", json!({ "client_id": id, "owner": "me" })).await.expect(201);
    }
}

/// The ids that a query finds, among the clients that begin with `c-`.
async fn found(api: &Api<'_>, query: &str) -> Vec<String> {
    let mut ids = api.listed(&format!("/clients?{query}"), "client_id").await;
    ids.retain(|id| id.starts_with("c-"));
    ids
}

async fn pages_hold_everything_once(server: Server) {
    let api = server.administrator().await;
    mine(&api, &["c-3", "c-1", "c-5", "c-2", "c-4"]).await;
    let pages = api.pages("/clients?owner=me&", 2, "client_id", async {}).await;
    assert_eq!(pages, [vec!["c-1", "c-2"], vec!["c-3", "c-4"], vec!["c-5"]]);
    let one_by_one = api.pages("/clients?owner=me&", 1, "client_id", async {}).await;
    assert_eq!(one_by_one.concat(), ["c-1", "c-2", "c-3", "c-4", "c-5"]);
    let everything = api.pages("/clients?", 2, "client_id", async {}).await;
    assert_eq!(everything.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2], "the administrator's too");
}

async fn pages_stay_right_while_clients_come_and_go(server: Server) {
    let api = server.administrator().await;
    mine(&api, &["c-1", "c-2", "c-3", "c-4", "c-5"]).await;
    let between = async {
        mine(&api, &["c-0", "c-15", "c-35"]).await;
        api.delete("/clients/c-2", Some(1)).await.expect(204);
        api.delete("/clients/c-4", Some(1)).await.expect(204);
    };
    let pages = api.pages("/clients?owner=me&", 2, "client_id", between).await;
    assert_eq!(pages, [vec!["c-1", "c-2"], vec!["c-3", "c-35"], vec!["c-5"]]);
}

async fn a_page_that_ends_the_list_has_no_cursor(server: Server) {
    let api = server.administrator().await;
    mine(&api, &["c-1", "c-2", "c-3", "c-4"]).await;
    let pages = api.pages("/clients?owner=me&", 2, "client_id", async {}).await;
    assert_eq!(pages, [vec!["c-1", "c-2"], vec!["c-3", "c-4"]]);
    assert_eq!(api.get("/clients?owner=nobody").await.expect(200), json!({ "items": [] }));
    for n in 10..57 {
        server.client(json!({ "client_id": format!("d-{n}"), "owner": "me" })).await;
    }
    let first = api.get("/clients?owner=me").await.expect(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 50, "fifty when nothing is said");
    assert!(first["next_cursor"].is_string());
    assert_eq!(api.listed("/clients?owner=me&limit=500", "client_id").await.len(), 51);
}

async fn the_order_is_the_same_on_every_engine(server: Server) {
    let api = server.administrator().await;
    mine(&api, &["é", "b", "a:b", "B", "a-b", "_", "ab", "🦀", "/", "%"]).await;
    let expected = ["%", "/", "B", "_", "a-b", "a:b", "ab", "b", "é", "🦀"];
    let pages = api.pages("/clients?owner=me&", 3, "client_id", async {}).await;
    assert_eq!(pages.concat(), expected, "the order of their bytes");
}

async fn a_wrong_page_is_refused(server: Server) {
    let api = server.administrator().await;
    for limit in ["0", "501", "4294967295"] {
        let answer = api.get(&format!("/clients?limit={limit}")).await;
        assert_eq!(answer.expect_invalid("limit", "use 1 to 500"), format!("{limit} is not allowed"));
    }
    for limit in ["-1", "x", "1.5", "4294967296", ""] {
        api.get(&format!("/clients?limit={limit}")).await.expect_problem(400, "malformed");
    }
    // Not base64url; not UTF-8; a NUL, which no name has.
    for cursor in ["!!!", "c-1%20", "_w", "AA"] {
        let answer = api.get(&format!("/clients?cursor={cursor}")).await;
        let fix = "pass next_cursor of the page before, unchanged";
        assert_eq!(answer.expect_invalid("cursor", fix), "it is not a cursor", "{cursor}");
    }
}

async fn an_unknown_query_parameter_is_refused(server: Server) {
    let api = server.administrator().await;
    for query in ["colour=red", "Kind=job", "kind=robot", "kind=job&kind=job", "page=2"] {
        let answer = api.get(&format!("/clients?{query}")).await;
        let detail = answer.expect_problem(400, "malformed")["detail"].as_str().unwrap().to_owned();
        let name = query.split('=').next().unwrap();
        assert!(detail.contains(name), "it names the parameter: {detail}");
    }
}

async fn clients_are_found_by_kind_and_owner(server: Server) {
    let api = server.administrator().await;
    for (id, kind, owner) in
        [("c-1", "job", "Ann"), ("c-2", "agent", "ann"), ("c-3", "job", "a%"), ("c-4", "machine", "a & b=é")]
    {
        api.post("/clients", json!({ "client_id": id, "kind": kind, "owner": owner })).await.expect(201);
    }
    assert_eq!(found(&api, "kind=job").await, ["c-1", "c-3"]);
    assert_eq!(found(&api, "kind=machine").await, ["c-4"]);
    assert_eq!(found(&api, "kind=service").await, [""; 0]);
    assert_eq!(found(&api, "owner=ann").await, ["c-2"], "exactly");
    assert_eq!(found(&api, "owner=a%25").await, ["c-3"]);
    assert_eq!(found(&api, &format!("owner={}", encoded("a & b=é"))).await, ["c-4"]);
    assert_eq!(found(&api, "owner=a").await, [""; 0]);
}

async fn clients_are_found_by_label(server: Server) {
    let api = server.administrator().await;
    let clients = [
        ("c-1", json!({ "team": "finance", "a.b": "1", "tier": "x" })),
        ("c-2", json!({ "team": "Finance", "a": "{\"b\":\"1\"}" })),
        ("c-3", json!({ "k8s.io/name": "web", "x-y": "z", "0": "zero" })),
        ("c-4", json!({ "team": "a=b c&d", "_": "é", "empty": "" })),
    ];
    for (id, labels) in clients {
        api.post("/clients", json!({ "client_id": id, "labels": labels })).await.expect(201);
    }
    let table = [
        ("team=finance", "c-1"),
        ("team=Finance", "c-2"),
        ("team=fin", ""),
        ("a.b=1", "c-1"),
        ("a={\"b\":\"1\"}", "c-2"),
        ("k8s.io/name=web", "c-3"),
        ("x-y=z", "c-3"),
        ("0=zero", "c-3"),
        ("team=a=b c&d", "c-4"),
        ("_=é", "c-4"),
        ("empty=", "c-4"),
        ("nothing=", ""),
        ("team=%", ""),
        ("team=null", ""),
    ];
    for (label, expected) in table {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(found(&api, &format!("label={}", encoded(label))).await, expected, "{label}");
    }
    let answer = api.get("/clients?label=team").await;
    assert_eq!(answer.expect_invalid("label", "write label=name=value"), "it has no '='");
}

async fn clients_are_found_by_text(server: Server) {
    let api = server.administrator().await;
    let clients = [
        json!({ "client_id": "c-needle", "description": "x", "owner": "y" }),
        json!({ "client_id": "c-2", "description": "a needle in the hay", "owner": "y" }),
        json!({ "client_id": "c-3", "description": "x", "owner": "the needles" }),
        json!({ "client_id": "c-4", "description": "need le", "labels": { "needle": "needle" } }),
    ];
    for client in clients {
        api.post("/clients", client).await.expect(201);
    }
    assert_eq!(found(&api, "q=needle").await, ["c-2", "c-3", "c-needle"]);
    assert_eq!(found(&api, "q=a+needle+in").await, ["c-2"]);
    assert_eq!(found(&api, "q=").await.len(), 4, "no text, no filter");
}

async fn text_is_taken_literally(server: Server) {
    let api = server.administrator().await;
    for (id, description) in [
        ("c-1", "100% sure"),
        ("c-2", "1000 sure"),
        ("c-3", "a_b"),
        ("c-4", "axb"),
        ("c-5", "a\\b"),
        ("c-6", "a%_\\b"),
    ] {
        api.post("/clients", json!({ "client_id": id, "description": description })).await.expect(201);
    }
    let table: [(&str, &[&str]); 8] = [
        ("%", &["c-1", "c-6"]),
        ("100% s", &["c-1"]),
        ("_", &["c-3", "c-6"]),
        ("a_b", &["c-3"]),
        ("\\", &["c-5", "c-6"]),
        ("a\\b", &["c-5"]),
        ("%_\\b", &["c-6"]),
        ("\\%", &[]),
    ];
    for (text, expected) in table {
        assert_eq!(found(&api, &format!("q={}", encoded(text))).await, expected, "{text}");
    }
}

async fn text_is_found_in_any_case(server: Server) {
    let api = server.administrator().await;
    api.post("/clients", json!({ "client_id": "c-BigCorp", "description": "UPPER lower" })).await.expect(201);
    for text in ["bigcorp", "BIGCORP", "upper LOWER", "R lOw"] {
        assert_eq!(found(&api, &format!("q={}", encoded(text))).await, ["c-BigCorp"], "{text}");
    }
}

async fn text_beyond_ascii_is_found_in_any_case(server: Server) {
    let api = server.administrator().await;
    let client = json!({ "client_id": "c-Über", "description": "Éclair", "owner": "Ωmega" });
    api.post("/clients", client).await.expect(201);
    let texts = ["Éclair", "éclair", "ÉCLAIR", "Ωmega", "ωMEGA", "c-Über", "C-ÜBER", "c-über"];
    let mut missed = Vec::new();
    for text in texts {
        if found(&api, &format!("q={}", encoded(text))).await != ["c-Über"] {
            missed.push(text);
        }
    }
    assert_eq!(missed, [""; 0]);
}

async fn filters_narrow_each_other(server: Server) {
    let api = server.administrator().await;
    for n in 0..16_u8 {
        let bit = |bit: u8, yes: &'static str, no: &'static str| if n & bit == 0 { no } else { yes };
        let client = json!({
            "client_id": format!("c-{n:02}"), "kind": bit(1, "job", "agent"), "owner": bit(2, "me", "you"),
            "labels": { "l": bit(4, "a", "b") }, "description": bit(8, "text", "other"),
        });
        api.post("/clients", client).await.expect(201);
    }
    assert_eq!(found(&api, "kind=job&owner=me&label=l%3Da&q=TEXT").await, ["c-15"]);
    assert_eq!(found(&api, "owner=me&label=l%3Da").await, ["c-06", "c-07", "c-14", "c-15"]);
    let pages = api.pages("/clients?owner=me&label=l%3Da&", 3, "client_id", async {}).await;
    assert_eq!(pages, [vec!["c-06", "c-07", "c-14"], vec!["c-15"]]);
}
