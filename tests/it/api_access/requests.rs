//! Requests that cannot be read, each with an answer that says what to do. Never a 500.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Server, both_engines, encoded};

both_engines!(
    an_unknown_path_is_a_problem_too,
    a_wrong_method_names_the_right_ones,
    another_kind_of_body_is_refused,
    what_is_not_json_is_refused,
    an_unknown_member_is_named_with_those_that_are_taken,
    a_wrong_type_is_named_by_its_path,
    a_body_may_have_one_mebibyte,
    no_name_or_filter_makes_a_fault,
    the_request_id_is_the_callers_if_it_is_harmless,
);

const JSON: &str = "Content-Type: application/json";

/// Sends a body as it is.
async fn send(api: &Api<'_>, method: &str, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
    let authorization = format!("Authorization: Bearer {}", api.token);
    let mut all = vec![authorization.as_str()];
    all.extend_from_slice(headers);
    api.server.send(method, &format!("/api/v1{path}"), &all, body).await
}

async fn an_unknown_path_is_a_problem_too(server: Server) {
    let api = server.administrator().await;
    for path in ["/nothing", "", "/", "/clients/", "/clients/a/b", "/clients/a/roles/b/c", "/../clients"] {
        for answer in [api.get(path).await, server.get(&format!("/api/v1{path}")).await] {
            let body = answer.expect_problem(404, "no-such-path");
            assert!(body["detail"].as_str().unwrap().contains("openapi.yaml"), "{path}");
        }
    }
}

async fn a_wrong_method_names_the_right_ones(server: Server) {
    let api = server.administrator().await;
    let table = [
        ("PUT", "/clients", "GET HEAD POST"),
        ("POST", "/clients/x", "DELETE GET HEAD PATCH"),
        ("GET", "/clients/x/disable", "POST"),
        ("PATCH", "/clients/x/secrets", "GET HEAD POST"),
        ("GET", "/clients/x/secrets/y", "DELETE PATCH"),
        ("GET", "/clients/x/roles/y", "DELETE PUT"),
        ("DELETE", "/resource-servers", "GET HEAD POST"),
        ("PUT", "/roles/x", "DELETE GET HEAD PATCH"),
    ];
    for (method, path, allowed) in table {
        let answer = send(&api, method, path, &[], "").await;
        answer.expect_problem(405, "no-such-method");
        let mut methods: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!(methods.join(" "), allowed, "{method} {path}");
    }
}

async fn another_kind_of_body_is_refused(server: Server) {
    let api = server.administrator().await;
    let body = json!({ "client_id": "x" }).to_string();
    for headers in
        [&[][..], &["Content-Type: text/plain"], &["Content-Type: application/x-www-form-urlencoded"]]
    {
        let answer = send(&api, "POST", "/clients", headers, &body).await;
        let problem = answer.expect_problem(415, "media-type");
        assert_eq!(problem["detail"], "send Content-Type: application/json", "{headers:?}");
    }
    api.get("/clients/x").await.expect_problem(404, "not-found");
    send(&api, "POST", "/clients", &["content-type: Application/JSON; charset=utf-8"], &body)
        .await
        .expect(201);
    // A change replaces labels and lists as a whole, which a merge patch (RFC 7396) would not.
    let headers = ["Content-Type: application/merge-patch+json", "If-Match: \"1\""];
    send(&api, "PATCH", "/clients/x", &headers, "{}").await.expect_problem(415, "media-type");
}

async fn what_is_not_json_is_refused(server: Server) {
    let api = server.administrator().await;
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 8] = [
        b"client_id=x",
        b"{",
        b"{\"client_id\": \"x\"",
        b"{\"client_id\": \"x\"} {}",
        b"{'client_id': 'x'}",
        b"{\"client_id\": \"\xff\"}",
        b"{\"client_id\": \"\\ud800\"}",
        b"   ",
    ];
    for body in bodies {
        let answer = send(&api, "POST", "/clients", &[JSON], body).await;
        let problem = answer.expect_problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().starts_with("the body is not "), "{body:?}: {answer:?}");
    }
    let deep = format!("{{\"client_id\": \"x\", \"labels\": {deep}");
    assert!(matches!(send(&api, "POST", "/clients", &[JSON], deep).await.status, 400 | 422));
    api.get("/clients/x").await.expect_problem(404, "not-found");
}

async fn an_unknown_member_is_named_with_those_that_are_taken(server: Server) {
    let api = server.administrator().await;
    server.client(json!({ "client_id": "x" })).await;
    let create = json!({ "client_id": "new", "colour": "red" });
    let tables = [
        (api.post("/clients", create).await, "colour", "`allowed_networks`"),
        (
            api.patch("/clients/x", 1, json!({ "client_id": "y" })).await,
            "client_id",
            "`default_resource_server`",
        ),
        (api.post("/clients/x/secrets", json!({ "client_secret": "s" })).await, "client_secret", "`secret`"),
        (api.post("/roles", json!({ "name": "new", "scopes": [] })).await, "scopes", "`permissions`"),
        (api.patch("/roles/order-reader", 1, json!({ "name": "y" })).await, "name", "`description`"),
        (
            api.post("/resource-servers", json!({ "name": "new", "identifier": "urn:n", "aud": 1 })).await,
            "aud",
            "`token_profile`",
        ),
    ];
    for (answer, unknown, accepted) in tables {
        let body = answer.expect_problem(422, "invalid");
        let problem = body["errors"][0]["problem"].as_str().unwrap();
        assert!(problem.starts_with(&format!("unknown field `{unknown}`, expected ")), "{answer:?}");
        assert!(problem.contains(accepted), "{answer:?}");
        assert_eq!(body["errors"][0]["field"], unknown, "{answer:?}");
    }
    // One level down the path leads to it.
    let nested =
        json!({ "name": "new", "permissions": [{ "resource_server": "orders", "scope": "orders:read" }] });
    let problem = api.post("/roles", nested).await.expect_invalid("permissions[0].scope", "openapi.yaml");
    assert!(problem.contains("`resource_server`") && problem.contains("`permission`"), "{problem}");
}

async fn a_wrong_type_is_named_by_its_path(server: Server) {
    let api = server.administrator().await;
    let client = |member: &str, value: Value| {
        let mut body = json!({ "client_id": "x" });
        body[member] = value;
        body
    };
    let table = [
        ("client_id", client("client_id", json!(7)), "integer, expected a string"),
        ("client_id", client("client_id", Value::Null), "null, expected a string"),
        ("description", client("description", json!(["a"])), "sequence, expected a string"),
        ("labels", client("labels", json!([])), "sequence, expected an object"),
        ("labels.team", client("labels", json!({ "team": 5 })), "integer, expected a string"),
        ("kind", client("kind", json!("robot")), "`service`, `machine`, `job`, `agent`"),
        ("kind", client("kind", Value::Null), "null, expected one of `service`, `machine`, `job`, `agent`"),
        ("kind", client("kind", json!({ "service": 1 })), "expected one of `service`"),
        ("token_binding", client("token_binding", Value::Null), "null, expected one of `optional`, `dpop`"),
        ("grant_types", client("grant_types", Value::Null), "null, expected a list"),
        (
            "auth_methods[1]",
            client("auth_methods", json!(["client_secret_basic", null])),
            "null, expected one",
        ),
        ("expires_at", client("expires_at", json!(1_800_000_000)), "integer"),
        ("expires_at", client("expires_at", json!("tomorrow")), "2026-11-22T08:00:00Z"),
        ("grant_types", client("grant_types", json!("client_credentials")), "string"),
        ("grant_types[0]", client("grant_types", json!(["password"])), "`client_credentials`"),
        (
            "allowed_networks[1]",
            client("allowed_networks", json!(["10.0.0.0/8", 7])),
            "integer, expected a string",
        ),
        ("roles[0]", client("roles", json!(["no spaces"])), "'no spaces' is not allowed"),
        ("body", json!([]), "sequence, expected an object"),
        ("body", json!(["x"]), "sequence, expected an object"),
        ("body", json!("x"), "expected an object"),
    ];
    for (field, body, words) in table {
        let answer = api.post("/clients", body).await;
        // The type of a name knows the way out itself.
        let fix =
            if field == "roles[0]" { "use 1 to 100 of" } else { "openapi.yaml has the form of every field" };
        let problem = answer.expect_invalid(field, fix);
        assert!(problem.contains(words), "{answer:?}");
    }
    let missing = api.post("/clients", json!({})).await.expect_invalid("client_id", "openapi.yaml");
    assert_eq!(missing, "it is missing");
    let listed = json!({ "name": "x", "permissions": [["orders", "orders:read"]] });
    let problem = api.post("/roles", listed).await.expect_invalid("permissions[0]", "openapi.yaml");
    assert_eq!(problem, "invalid type: sequence, expected an object");
    // A value that JSON has and the form does not, in a change too.
    server.client(json!({ "client_id": "changed" })).await;
    for member in ["kind", "description", "labels", "enabled", "grant_types", "auth_methods", "token_binding"]
    {
        let answer = api.patch("/clients/changed", 1, json!({ member: null })).await;
        assert!(answer.expect_invalid(member, "openapi.yaml").starts_with("invalid type: null, expected "));
    }
    let all = json!({ "kind": null, "owner": 7, "roles": ["ok", " ", null], "colour": "red" });
    let answer = api.post("/clients", all).await;
    let fields: Vec<_> = answer.expect_problem(422, "invalid")["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fields, ["kind", "owner", "roles[1]", "roles[2]", "colour", "client_id"]);
    let permissions = json!([{ "permission": "a" }, { "permission": 1 }]);
    let server = json!({ "name": "x", "identifier": "urn:x", "permissions": permissions });
    api.post("/resource-servers", server).await.expect_invalid("permissions[1].permission", "openapi.yaml");
}

async fn a_body_may_have_one_mebibyte(server: Server) {
    let api = server.administrator().await;
    let mut body = json!({ "client_id": "x" }).to_string();
    body.push_str(&" ".repeat(1_048_577 - body.len()));
    let answer = send(&api, "POST", "/clients", &[JSON], &body).await;
    assert_eq!(answer.expect_problem(413, "too-large")["detail"], "send at most 1 MiB");
    api.get("/clients/x").await.expect_problem(404, "not-found");
    body.pop();
    send(&api, "POST", "/clients", &[JSON], &body).await.expect(201);
}

async fn no_name_or_filter_makes_a_fault(server: Server) {
    let api = server.administrator().await;
    let long = "x".repeat(3_000);
    let odd = [
        "\0",
        "a\0b",
        "'",
        "\"",
        "\\",
        "$",
        "$.x",
        "$[",
        "[0]",
        "[",
        "a\"b",
        "*",
        "%",
        "_",
        "\u{7f}",
        "\u{ffff}",
        "é",
        "🦀",
        "{}",
        "../..",
        "' OR 1=1 --",
        &long,
    ];
    let mut paths: Vec<String> = [
        "/clients?q=%ff",
        "/clients?q=%",
        "/clients/%ff",
        "/clients/%",
        "/clients?label=%ff=x",
        "/roles/%00",
    ]
    .map(str::to_owned)
    .into();
    for text in odd.map(encoded) {
        for list in ["clients", "resource-servers", "roles"] {
            paths.extend(["?q=", "?cursor=", "?limit=", "/"].map(|place| format!("/{list}{place}{text}")));
        }
        paths.extend(
            ["owner=", "kind=", "label=", "label=a%3D"].map(|query| format!("/clients?{query}{text}")),
        );
        paths.push(format!("/clients?label={text}%3D1"));
        paths.push(format!("/clients/{text}/secrets"));
    }
    let mut faults = Vec::new();
    for path in paths {
        let status = api.get(&path).await.status;
        if !matches!(status, 200 | 400 | 404 | 422) {
            faults.push((path, status));
        }
    }
    assert_eq!(faults, []);
}

async fn the_request_id_is_the_callers_if_it_is_harmless(server: Server) {
    let api = server.administrator().await;
    let answer = send(&api, "GET", "/clients", &["X-Request-Id: from-me_1.2"], "").await;
    assert_eq!(answer.header("x-request-id"), Some("from-me_1.2"));
    let answer = send(&api, "GET", "/clients", &["X-Request-Id: from me"], "").await;
    assert_ne!(answer.header("x-request-id"), Some("from me"));
    assert!(answer.header("x-request-id").is_some());
}
