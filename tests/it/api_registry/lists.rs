//! Lists of resource servers and roles: pages by cursor, and a text.

use serde_json::json;

use crate::harness::{Api, Server, both_engines, encoded};

both_engines!(
    pages_of_resource_servers_hold_everything_once,
    pages_of_roles_hold_everything_once,
    wrong_pages_are_refused,
    resource_servers_are_found_by_text,
    roles_are_found_by_text,
    text_beyond_ascii_is_found_in_any_case,
);

async fn make(api: &Api<'_>, names: &[&str]) {
    for name in names {
        let identifier = format!("urn:{name}");
        api.post("/resource-servers", json!({ "name": name, "identifier": identifier })).await.expect(201);
        api.post("/roles", json!({ "name": name })).await.expect(201);
    }
}

async fn pages_of_resource_servers_hold_everything_once(server: Server) {
    let api = server.administrator().await;
    make(&api, &["s:3", "S-1", "s_5", "s.2", "k"]).await;
    let names = "name";
    let all = ["S-1", "jeton", "k", "s.2", "s:3", "s_5"];
    for limit in [1, 2, 3, 6, 500] {
        let pages = api.pages("/resource-servers?", limit, names, async {}).await;
        assert_eq!(pages.concat(), all, "by {limit}, in the order of their bytes");
        assert_eq!(pages.len(), all.len().div_ceil(limit), "by {limit}: no empty page at the end");
    }
    let between = make(&api, &["a", "t"]);
    let pages = api.pages("/resource-servers?", 2, names, between).await;
    assert_eq!(pages, [vec!["S-1", "jeton"], vec!["k", "s.2"], vec!["s:3", "s_5"], vec!["t"]]);
}

async fn pages_of_roles_hold_everything_once(server: Server) {
    let api = server.administrator().await;
    make(&api, &["s:3", "S-1", "s_5", "s.2", "b"]).await;
    let all = ["S-1", "administrator", "auditor", "b", "s.2", "s:3", "s_5"];
    for limit in [1, 2, 3, 7, 500] {
        let pages = api.pages("/roles?", limit, "name", async {}).await;
        assert_eq!(pages.concat(), all, "by {limit}, in the order of their bytes");
        assert_eq!(pages.len(), all.len().div_ceil(limit), "by {limit}: no empty page at the end");
    }
    let between = async {
        make(&api, &["A", "c"]).await;
        api.delete("/roles/s.2", Some(1)).await.expect(204);
    };
    let pages = api.pages("/roles?", 3, "name", between).await;
    assert_eq!(pages, [vec!["S-1", "administrator", "auditor"], vec!["b", "c", "s:3"], vec!["s_5"]]);
}

async fn wrong_pages_are_refused(server: Server) {
    let api = server.administrator().await;
    for list in ["/resource-servers", "/roles"] {
        for limit in ["0", "501"] {
            api.get(&format!("{list}?limit={limit}")).await.expect_invalid("limit", "use 1 to 500");
        }
        let cursor = api.get(&format!("{list}?cursor=!!!")).await;
        cursor.expect_invalid("cursor", "pass next_cursor of the page before, unchanged");
        for query in ["limit=x", "kind=job", "text=x", "q=a&q=b"] {
            api.get(&format!("{list}?{query}")).await.expect_problem(400, "malformed");
        }
    }
}

async fn resource_servers_are_found_by_text(server: Server) {
    let api = server.administrator().await;
    for (name, identifier, description) in [
        ("Orders", "urn:1", "x"),
        ("two", "https://ORDERS.example", "x"),
        ("three", "urn:3", "all orders"),
        ("four", "urn:4", "100% o_ders \\"),
        ("five", "urn:5", "1000 o-ders /"),
    ] {
        let new = json!({ "name": name, "identifier": identifier, "description": description });
        api.post("/resource-servers", new).await.expect(201);
    }
    let table: [(&str, &[&str]); 6] = [
        ("oRdErS", &["Orders", "three", "two"]),
        ("all o", &["three"]),
        ("100%", &["four"]),
        ("_d", &["four"]),
        ("\\", &["four"]),
        ("nowhere", &[]),
    ];
    for (text, expected) in table {
        let path = format!("/resource-servers?q={}", encoded(text));
        assert_eq!(api.listed(&path, "name").await, expected, "{text}");
    }
    let paged = api.pages("/resource-servers?q=orders&", 2, "name", async {}).await;
    assert_eq!(paged, [vec!["Orders", "three"], vec!["two"]]);
}

async fn roles_are_found_by_text(server: Server) {
    let api = server.administrator().await;
    for (name, description) in [
        ("Order-Reader", "x"),
        ("two", "reads ORDERs"),
        ("three", "100% _ \\"),
        ("four", "1000"),
        ("a_b", ""),
        ("a-b", ""),
    ] {
        api.post("/roles", json!({ "name": name, "description": description })).await.expect(201);
    }
    let table: [(&str, &[&str]); 5] = [
        ("order", &["Order-Reader", "two"]),
        ("00%", &["three"]),
        ("_", &["a_b", "three"]),
        ("a_b", &["a_b"]),
        ("\\", &["three"]),
    ];
    for (text, expected) in table {
        assert_eq!(api.listed(&format!("/roles?q={}", encoded(text)), "name").await, expected, "{text}");
    }
}

async fn text_beyond_ascii_is_found_in_any_case(server: Server) {
    let api = server.administrator().await;
    let new = json!({ "name": "one", "identifier": "Örtlich", "description": "Éclair" });
    api.post("/resource-servers", new).await.expect(201);
    api.post("/roles", json!({ "name": "one", "description": "Éclair" })).await.expect(201);
    let mut missed = Vec::new();
    for (list, text) in [
        ("resource-servers", "Éclair"),
        ("resource-servers", "éCLAIR"),
        ("resource-servers", "öRTLICH"),
        ("roles", "Éclair"),
        ("roles", "ÉCLAIR"),
    ] {
        let path = format!("/{list}?q={}", encoded(text));
        if api.listed(&path, "name").await != ["one"] {
            missed.push(format!("{list}: {text}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}
