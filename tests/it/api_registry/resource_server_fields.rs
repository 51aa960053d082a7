//! Fields of a resource server that are wrong: each is named, and nothing is changed.

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};

both_engines!(
    each_wrong_field_of_a_new_resource_server_is_named,
    each_wrong_field_of_a_change_is_named,
    the_bounds_themselves_are_allowed,
);

/// A member, a wrong value for it, the field that the answer names, and words of the way out.
fn wrong() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let schema = "openapi.yaml has the form of every field";
    let many: Value = (0..1_001).map(|n| json!({ "permission": format!("p{n}") })).collect();
    let mut table = vec![
        ("description", json!("d".repeat(1_001)), "description", "use at most 1000 printable characters"),
        (
            "permissions",
            json!([{ "permission": "a" }, { "permission": "a" }]),
            "permissions",
            "name each one once",
        ),
        ("permissions", many, "permissions", "use at most 1000"),
        (
            "permissions",
            json!([{ "permission": "a", "description": "d".repeat(256) }]),
            "permissions",
            "use at most 255 printable characters",
        ),
        ("permissions", json!([{ "permission": "a" }, {}]), "permissions[1].permission", schema),
        ("permissions", json!(["a"]), "permissions[0]", schema),
        ("token_lifetime", json!(0), "token_lifetime", "use 10 to 3600"),
        ("token_lifetime", json!(9), "token_lifetime", "use 10 to 3600"),
        (
            "token_lifetime",
            json!(3_601),
            "token_lifetime",
            "use 10 to 3600 (tokens.max_lifetime in the configuration)",
        ),
        ("token_lifetime", json!(-300), "token_lifetime", schema),
        ("token_lifetime", json!(4_294_967_296_u64), "token_lifetime", schema),
        ("token_lifetime", json!("300"), "token_lifetime", schema),
        ("signing_algorithm", json!("HS256"), "signing_algorithm", schema),
        ("signing_algorithm", json!("none"), "signing_algorithm", schema),
        ("signing_algorithm", json!("es256"), "signing_algorithm", schema),
        ("token_profile", json!("opaque"), "token_profile", schema),
        ("token_binding", json!("both"), "token_binding", schema),
    ];
    for bad in ["", " a", "a ", "a\nb", "a\0b"] {
        table.push(("identifier", json!(bad), "identifier", "use 1 to 500 printable"));
    }
    table.push(("identifier", json!("i".repeat(501)), "identifier", "use 1 to 500 printable"));
    for bad in ["", "a b", "a\"b", "a\\b", "é", "a\tb"] {
        table.push((
            "permissions",
            json!([{ "permission": bad }]),
            "permissions[0].permission",
            "use 1 to 200 printable",
        ));
    }
    table.push((
        "permissions",
        json!([{ "permission": "p".repeat(201) }]),
        "permissions[0].permission",
        "use 1 to 200 printable",
    ));
    table
}

async fn each_wrong_field_of_a_new_resource_server_is_named(server: Server) {
    let api = server.administrator().await;
    let before = server.last_change().await;
    let mut table = wrong();
    for bad in ["", "-a", ".a", "a b", "a/b", "é", "a\0"] {
        table.push(("name", json!(bad), "name", "use 1 to 100 of"));
    }
    table.push(("name", json!("n".repeat(101)), "name", "use 1 to 100 of"));
    for (member, value, field, fix) in table {
        let mut new = json!({ "name": "x", "identifier": "urn:x" });
        new[member] = value;
        api.post("/resource-servers", new).await.expect_invalid(field, fix);
    }
    for (new, missing) in [(json!({ "identifier": "urn:x" }), "name"), (json!({ "name": "x" }), "identifier")]
    {
        let problem = api.post("/resource-servers", new).await.expect_invalid(missing, "openapi.yaml");
        assert_eq!(problem, "it is missing");
    }
    assert_eq!(server.last_change().await, before);
    api.get("/resource-servers/x").await.expect_problem(404, "not-found");
}

async fn each_wrong_field_of_a_change_is_named(server: Server) {
    let api = server.administrator().await;
    let new = json!({ "name": "x", "identifier": "urn:x", "permissions": [{ "permission": "a" }] });
    let made = api.post("/resource-servers", new).await.expect_version(201, 1);
    for (member, value, field, fix) in wrong() {
        let answer = api.patch("/resource-servers/x", 1, json!({ member: value })).await;
        answer.expect_invalid(field, fix);
    }
    let rename = api.patch("/resource-servers/x", 1, json!({ "name": "y" })).await;
    assert!(rename.expect_invalid("name", "openapi.yaml").starts_with("unknown field `name`"));
    assert_eq!(api.get("/resource-servers/x").await.expect_version(200, 1), made);
}

async fn the_bounds_themselves_are_allowed(server: Server) {
    let api = server.administrator().await;
    let permissions: Value = (1_000..2_000)
        .map(|n| json!({ "permission": format!("{n}{}", "p".repeat(196)), "description": "é".repeat(255) }))
        .collect();
    let name = "n".repeat(100);
    let new = json!({
        "name": name, "identifier": "é".repeat(500), "description": "🦀".repeat(1_000),
        "permissions": permissions, "token_lifetime": 10,
    });
    let made = api.post("/resource-servers", new.clone()).await.expect_version(201, 1);
    for member in ["identifier", "description", "permissions", "token_lifetime"] {
        assert_eq!(made[member], new[member], "{member}");
    }
    let path = format!("/resource-servers/{name}");
    assert_eq!(api.get(&path).await.expect_version(200, 1), made);
    let longest = api.patch(&path, 1, json!({ "token_lifetime": 3_600 })).await;
    assert_eq!(longest.expect_version(200, 2)["token_lifetime"], 3_600);
}
