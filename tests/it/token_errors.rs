//! Token requests that are refused, and what is close to it: RFC 6749 §3.2, §3.3 and §5.2, RFC 8707 §2.

use serde_json::json;

use crate::harness::{Answer, Client, Server, both_engines};
use crate::token::{GRANT, claims, shop};
use jeton::admin::By;
use jeton::admin::resource_servers::UpdateResourceServer;
use jeton::admin::roles::UpdateRole;
use jeton::domain::ids::{ClientId, ResourceServerName, RoleName};

both_engines!(
    another_content_type_is_refused_rfc6749_3_2,
    a_content_type_with_parameters_in_any_case_is_accepted_rfc9110_8_3_1,
    a_body_over_64_kib_is_413_rfc9110_15_5_14,
    a_declared_length_over_64_kib_is_413_at_once,
    a_repeated_parameter_is_refused_rfc6749_3_2,
    a_malformed_body_is_refused_rfc6749_appendix_b,
    an_empty_scope_is_none_and_spaces_only_separate_rfc6749_3_3,
    a_scope_that_cannot_be_granted_is_refused_rfc6749_5_2,
    a_grant_type_is_needed_rfc6749_5_2,
    an_unknown_grant_type_is_told_the_supported_ones_rfc6749_5_2,
    other_methods_are_405_rfc6749_3_2,
    a_query_string_is_refused_rfc6749_2_3_1,
    a_resource_that_cannot_be_had_is_refused_rfc8707_2,
    several_resources_make_one_token_rfc8707_2,
    audience_takes_identifiers_of_any_form,
    an_ambiguous_request_is_told_the_candidates_rfc9068_3,
    the_default_resource_server_decides_rfc9068_3,
    a_disabled_resource_server_is_refused_at_once,
    a_role_taken_away_is_refused_at_once,
    a_client_needs_the_grant_rfc6749_5_2,
    an_unwritten_event_is_503_and_no_verdict,
    an_unreadable_client_is_503_and_no_verdict,
    every_answer_has_a_request_id,
);

fn grant(parameters: &str) -> String {
    if parameters.is_empty() { GRANT.to_owned() } else { format!("{GRANT}&{parameters}") }
}

/// Every row is refused with 400 and this error; the descriptions come back.
async fn refuses(server: &Server, client: &Client, error: &str, rows: &[&str]) -> Vec<String> {
    let mut descriptions = Vec::new();
    for row in rows {
        let answer = server.token(client, row).await;
        descriptions.push(answer.expect_refusal(row, 400, error));
    }
    descriptions
}

// --- The request as such ---

async fn another_content_type_is_refused_rfc6749_3_2(server: Server) {
    let billing = server.billing().await;
    let basic = billing.basic();
    for content_type in [
        None,
        Some(""),
        Some("application/json"),
        Some("text/plain"),
        Some("multipart/form-data; boundary=x"),
        Some("application/x-www-form-urlencodedx"),
        Some("x; application/x-www-form-urlencoded"),
    ] {
        let line = content_type.map(|value| format!("Content-Type: {value}"));
        let mut headers = vec![basic.as_str()];
        headers.extend(line.as_deref());
        let answer = server.send("POST", "/oauth2/token", &headers, GRANT).await;
        let told = answer.expect_refusal(&format!("{content_type:?}"), 400, "invalid_request");
        assert!(told.contains("application/x-www-form-urlencoded"), "{told}");
    }
}

async fn a_content_type_with_parameters_in_any_case_is_accepted_rfc9110_8_3_1(server: Server) {
    let billing = server.billing().await;
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded;charset=utf-8",
        "application/x-www-form-urlencoded ; charset=utf-8",
        "Application/X-WWW-Form-URLEncoded",
    ] {
        let headers = [&*format!("Content-Type: {content_type}"), &*billing.basic()];
        let answer = server.send("POST", "/oauth2/token", &headers, GRANT).await;
        assert_eq!(answer.status, 200, "{content_type}: {answer:?}");
    }
}

const LIMIT: usize = 64 * 1_024;

/// A good request of exactly this many bytes.
fn padded(length: usize) -> String {
    let head = grant("padding=");
    format!("{head}{}", "a".repeat(length - head.len()))
}

async fn a_body_over_64_kib_is_413_rfc9110_15_5_14(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, &padded(LIMIT)).await.expect(200);
    for length in [LIMIT + 1, 5 * LIMIT] {
        let answer = server.token(&billing, &padded(length)).await;
        answer.expect_refusal(&format!("{length} bytes"), 413, "invalid_request");
    }

    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\n{}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n",
        billing.basic()
    );
    let chunked = |length: usize| {
        let body = padded(length);
        let (first, second) = body.split_at(1_000);
        format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len())
    };
    server.raw(chunked(LIMIT)).await.expect(200);
    let answer = server.raw(chunked(LIMIT + 1)).await;
    answer.expect_refusal("a long body of no declared length", 413, "invalid_request");
}

/// Who says that more will come than is read need not send it.
async fn a_declared_length_over_64_kib_is_413_at_once(server: Server) {
    let billing = server.billing().await;
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\n{}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        billing.basic(),
        LIMIT + 1
    );
    server.raw(request).await.expect_oauth_error(413, "invalid_request");
}

async fn a_repeated_parameter_is_refused_rfc6749_3_2(server: Server) {
    let billing = server.billing().await;
    let rows = [
        &*grant(GRANT),
        &*grant("grant_type="),
        &*grant("scope=orders:read&scope=orders:write"),
        &*grant("scope=orders:read&scope=orders:read"),
        &*grant("scope=&scope="),
        &*grant("scope=&scope=orders:read"),
        &*grant("unknown=1&unknown=2"),
        &*grant("unknown&unknown"),
        &*grant("unknown=1&%75nknown=2"),
        &*grant("client_id=billing&client_id=billing"),
        &*grant("audience=https://orders.example&audience=https://orders.example"),
        &*grant("audience=https://orders.example&audience="),
    ];
    for told in refuses(&server, &billing, "invalid_request", &rows).await {
        assert!(told.contains("repeated"), "{told}");
    }
}

async fn a_malformed_body_is_refused_rfc6749_appendix_b(server: Server) {
    let billing = server.billing().await;
    for tail in [
        &b"scope=%"[..],
        b"scope=%4",
        b"scope=%zz",
        b"scope=%+1",
        b"scope=%-1",
        b"scope=%ff",
        b"scope=%c3",
        b"scope=%c0%80",
        b"scope=%ed%a0%80",
        b"scope=\xff",
        b"unknown=%",
        b"%=1",
        b"%ff=1",
        b"&&%zz",
    ] {
        let body = [GRANT.as_bytes(), b"&", tail].concat();
        let headers = ["Content-Type: application/x-www-form-urlencoded", &*billing.basic()];
        let answer = server.send("POST", "/oauth2/token", &headers, body).await;
        answer.expect_refusal(&String::from_utf8_lossy(tail), 400, "invalid_request");
    }
}

async fn a_grant_type_is_needed_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    let rows = ["", "grant_type=", "grant_type", "scope=orders:read", "Grant_Type=client_credentials", "&&"];
    for told in refuses(&server, &billing, "invalid_request", &rows).await {
        assert!(told.contains("grant_type"), "{told}");
    }
}

async fn an_unknown_grant_type_is_told_the_supported_ones_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    let rows = [
        "grant_type=password&username=a&password=b",
        "grant_type=authorization_code&code=x",
        "grant_type=refresh_token&refresh_token=x",
        "grant_type=Client_Credentials",
        "grant_type=client_credentials%20",
        "grant_type=urn:ietf:params:oauth:grant-type:device_code",
    ];
    for told in refuses(&server, &billing, "unsupported_grant_type", &rows).await {
        assert_eq!(
            told,
            "the supported grant types are: client_credentials, urn:ietf:params:oauth:grant-type:token-exchange, \
             urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
    }
}

async fn other_methods_are_405_rfc6749_3_2(server: Server) {
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = server.send(method, "/oauth2/token", &[], "").await;
        answer.expect_refusal(method, 405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("POST"), "RFC 9110 15.5.6: {method}: {answer:?}");
    }
    let answer = server.send("HEAD", "/oauth2/token", &[], "").await;
    assert_eq!((answer.status, &*answer.body), (405, ""), "RFC 9110 9.3.2: {answer:?}");
    assert_eq!(answer.header("allow"), Some("POST"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
}

async fn a_query_string_is_refused_rfc6749_2_3_1(server: Server) {
    let billing = server.billing().await;
    let secret = &billing.secret;
    let form = "Content-Type: application/x-www-form-urlencoded";
    let credentials = format!("client_id=billing&client_secret={secret}");
    for (row, query, headers, body) in [
        ("everything in the query", &*grant(&credentials), &[form][..], ""),
        ("the secret in the query", &*credentials, &[form], GRANT),
        ("a secret in the query beside a right body", &*credentials, &[form, &billing.basic()], GRANT),
        ("anything in the query beside a right body", "x=1", &[form, &billing.basic()], GRANT),
        ("the grant type in the query", GRANT, &[form, &billing.basic()], ""),
        ("the scope in the query", "scope=orders:read", &[form, &billing.basic()], GRANT),
    ] {
        let answer = server.send("POST", &format!("/oauth2/token?{query}"), headers, body).await;
        let told = answer.expect_refusal(row, 400, "invalid_request");
        assert!(told.contains("query"), "{row}: {told}");
        assert!(!answer.body.contains(secret), "{row}");
    }
}

// --- Scope ---

async fn an_empty_scope_is_none_and_spaces_only_separate_rfc6749_3_3(server: Server) {
    let shop = shop(&server).await;
    let all = "orders:read orders:write";
    for (scope, granted) in [
        ("scope=", all),
        ("scope", all),
        ("scope=+", all),
        ("scope=%20%20", all),
        ("scope=orders:read++orders:write", all),
        ("scope=orders:write+++orders:read", all),
        ("scope=+orders:read", "orders:read"),
        ("scope=orders:read+", "orders:read"),
        ("scope=orders:read+orders:read", "orders:read"),
        ("scope=orders%3Aread", "orders:read"),
    ] {
        let answer = server.token(&shop, &grant(&format!("resource=https://orders.example&{scope}"))).await;
        assert_eq!(answer.status, 200, "{scope}: {answer:?}");
        assert_eq!(answer.json()["scope"], granted, "{scope}");
    }
}

async fn a_scope_that_cannot_be_granted_is_refused_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    let malformed = ["%22", "%5C", "%C3%A9", "a%09b", "a%00b", "orders:read%0A", "orders:read%C2%A0x", "%7F"];
    for value in malformed {
        let told = refuses(&server, &billing, "invalid_scope", &[&grant(&format!("scope={value}"))]).await;
        assert!(told[0].contains("malformed"), "{value}: {told:?}");
    }
    let rows = [
        &*grant("scope=nowhere:read"),
        &*grant("scope=orders:write"),
        &*grant("scope=orders:read+orders:write"),
        &*grant("scope=orders:read+nowhere:read"),
        &*grant("scope=Orders:Read"),
        &*grant("scope=orders:read,orders:write"),
        &*grant("scope=*"),
        &*grant("scope=orders:*"),
        &*grant("scope=openid"),
        &*grant("scope=orders:write&resource=https://orders.example"),
        &*grant("scope=clients:read&resource=https://orders.example"),
    ];
    let told = refuses(&server, &billing, "invalid_scope", &rows).await;
    assert_eq!(
        told[0].replace("nowhere:read", "orders:write"),
        told[1],
        "unknown and ungranted look the same, so that asking does not map out what is registered"
    );
}

// --- Resource servers ---

async fn a_resource_that_cannot_be_had_is_refused_rfc8707_2(server: Server) {
    shop(&server).await;
    let billing = server.secret("billing", json!({})).await;
    let resource = |value: &str| grant(&format!("resource={value}"));
    let rows = [
        ("unknown", "https://nowhere.example"),
        ("without a permission", "https://stock.example"),
        ("the API without a permission", "http://localhost:8080/api/v1"),
        ("a slash more", "https://orders.example/"),
        ("a path more", "https://orders.example/v1"),
        ("another scheme", "http://orders.example"),
        ("another case", "https://ORDERS.example"),
        ("the default port", "https://orders.example:443"),
        ("a query more", "https://orders.example?x"),
        ("a space more", "%20https://orders.example"),
        ("one good, one unknown", "https://orders.example&resource=https://nowhere.example"),
        ("one good, one not allowed", "https://orders.example&resource=https://stock.example"),
    ];
    for (row, value) in rows {
        let answer = server.token(&billing, &resource(value)).await;
        let told = answer.expect_refusal(row, 400, "invalid_target");
        assert!(
            told.ends_with("is not a resource server that this client may get tokens for"),
            "{row}: {told}"
        );
    }
    for (row, value, names) in [
        ("relative", "orders", "absolute URI"),
        ("relative path", "/orders", "absolute URI"),
        ("no scheme", "//orders.example", "absolute URI"),
        ("fragment", "https://orders.example%23x", "fragment"),
        ("empty fragment", "https://orders.example%23", "fragment"),
        ("one good, one relative", "https://orders.example&resource=x", "absolute URI"),
    ] {
        let answer = server.token(&billing, &resource(value)).await;
        let told = answer.expect_refusal(row, 400, "invalid_target");
        assert!(told.contains(names), "{row}: {told}");
    }
    let empty = server.token(&billing, &resource("")).await;
    assert_eq!(empty.expect(200)["scope"], "orders:read", "RFC 6749 3.2: as if it were not sent");
}

async fn several_resources_make_one_token_rfc8707_2(server: Server) {
    let shop = shop(&server).await;
    let (orders, stock) = ("resource=https://orders.example", "resource=https://stock.example");
    let both = json!(["https://orders.example", "https://stock.example"]);
    for (parameters, audience) in [
        (format!("{orders}&{stock}"), both.clone()),
        (format!("{orders}&{stock}&{orders}"), both.clone()),
        (format!("{orders}&{orders}"), json!("https://orders.example")),
        (format!("{orders}&audience=https://orders.example"), json!("https://orders.example")),
        (format!("{orders}&audience=https://stock.example"), both.clone()),
    ] {
        let claims = claims(&server, &shop, &grant(&parameters)).await;
        assert_eq!(claims["aud"], audience, "{parameters}");
    }
    let claims = claims(&server, &shop, &grant(&format!("{orders}&{stock}"))).await;
    assert_eq!(claims["scope"], "orders:read orders:write stock:read");
    assert_eq!(claims["roles"], json!(["order-reader", "order-writer", "stock-reader"]));

    let idle = server.token(&shop, &grant(&format!("{orders}&{stock}&scope=orders:read"))).await;
    let told = idle.expect_oauth_error(400, "invalid_target");
    assert!(told.contains("https://stock.example"), "an audience without any permission: {told}");
}

async fn audience_takes_identifiers_of_any_form(server: Server) {
    server.billing().await;
    server
        .resource_server(json!({
            "name": "sts", "identifier": "sts.amazonaws.com", "token_profile": "jwt",
            "permissions": [{ "permission": "assume" }],
        }))
        .await;
    let permissions = json!([{ "resource_server": "sts", "permission": "assume" }]);
    server.role(json!({ "name": "cloud", "permissions": permissions })).await;
    let client = server.client(json!({ "client_id": "job", "roles": ["cloud", "order-reader"] })).await;

    let named = claims(&server, &client, &grant("audience=sts.amazonaws.com")).await;
    assert_eq!(named["aud"], "sts.amazonaws.com");
    let uri = claims(&server, &client, &grant("audience=https://orders.example")).await;
    assert_eq!(uri["aud"], "https://orders.example");

    let answer = server.token(&client, &grant("resource=sts.amazonaws.com")).await;
    let told = answer.expect_oauth_error(400, "invalid_target");
    assert!(told.contains("audience"), "the way out is named: {told}");
    refuses(
        &server,
        &client,
        "invalid_target",
        &[&grant("audience=sts"), &grant("audience=STS.amazonaws.com")],
    )
    .await;
}

async fn an_ambiguous_request_is_told_the_candidates_rfc9068_3(server: Server) {
    let shop = shop(&server).await;
    let told = refuses(&server, &shop, "invalid_target", &[GRANT]).await;
    assert!(told[0].contains("https://orders.example, https://stock.example"), "{told:?}");
    assert!(!told[0].contains("/api/v1"), "only what the client may have: {told:?}");

    // The same permission at two resource servers: the scope does not decide either.
    server
        .resource_server(json!({
            "name": "archive", "identifier": "https://archive.example",
            "permissions": [{ "permission": "orders:read" }],
        }))
        .await;
    let permissions = json!([{ "resource_server": "archive", "permission": "orders:read" }]);
    server.role(json!({ "name": "archivist", "permissions": permissions })).await;
    let client = server.client(json!({ "client_id": "c", "roles": ["archivist", "order-reader"] })).await;
    let told = refuses(&server, &client, "invalid_target", &[&grant("scope=orders:read")]).await;
    assert!(told[0].contains("https://archive.example, https://orders.example"), "{told:?}");
}

async fn the_default_resource_server_decides_rfc9068_3(server: Server) {
    shop(&server).await;
    let new = json!({
        "client_id": "c", "default_resource_server": "stock", "roles": ["order-reader", "stock-reader"],
    });
    let client = server.client(new).await;
    assert_eq!(claims(&server, &client, GRANT).await["aud"], "https://stock.example");
    let scope = claims(&server, &client, &grant("scope=orders:read")).await;
    assert_eq!(scope["aud"], "https://orders.example", "a scope says more than the default");
    let named = claims(&server, &client, &grant("resource=https://orders.example")).await;
    assert_eq!(named["aud"], "https://orders.example");

    let new = json!({ "client_id": "d", "default_resource_server": "stock", "roles": ["order-reader"] });
    let without = server.client(new).await;
    let told = refuses(&server, &without, "invalid_target", &[GRANT]).await;
    assert!(told[0].contains("default resource server"), "not quietly another one: {told:?}");
}

async fn a_disabled_resource_server_is_refused_at_once(server: Server) {
    let shop = shop(&server).await;
    let named = grant("resource=https://stock.example");
    server.token(&shop, &named).await.expect(200);
    let name = ResourceServerName::new("stock").unwrap();
    let switch = |enabled: bool| UpdateResourceServer { enabled: Some(enabled), ..Default::default() };
    let admin = server.app.admin();
    admin.update_resource_server(&By::system(), &name, 1, switch(false)).await.unwrap();

    let told = refuses(&server, &shop, "invalid_target", &[&named]).await;
    let unknown =
        refuses(&server, &shop, "invalid_target", &[&grant("resource=https://nowhere.example")]).await;
    assert_eq!(told[0].replace("stock", "nowhere"), unknown[0], "disabled looks like unknown");
    refuses(&server, &shop, "invalid_scope", &[&grant("scope=stock:read")]).await;
    assert_eq!(claims(&server, &shop, GRANT).await["aud"], "https://orders.example", "the only one left");

    admin.update_resource_server(&By::system(), &name, 2, switch(true)).await.unwrap();
    server.token(&shop, &named).await.expect(200);
}

async fn a_role_taken_away_is_refused_at_once(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    let (by, client_id) = (By::system(), ClientId::new("billing").unwrap());
    let role = RoleName::new("order-reader").unwrap();
    let admin = server.app.admin();

    admin.unassign_role(&by, &client_id, &role).await.unwrap();
    refuses(&server, &billing, "invalid_target", &[GRANT, &grant("resource=https://orders.example")]).await;
    refuses(&server, &billing, "invalid_scope", &[&grant("scope=orders:read")]).await;

    admin.assign_role(&by, &client_id, &role).await.unwrap();
    server.token(&billing, GRANT).await.expect(200);
    let nothing = UpdateRole { permissions: Some(Vec::new()), ..Default::default() };
    admin.update_role(&by, &role, 1, nothing).await.unwrap();
    refuses(&server, &billing, "invalid_target", &[GRANT]).await;
}

async fn a_client_needs_the_grant_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    // There is only one grant today, and the API does not let it be taken away.
    server.database.execute("UPDATE clients SET grant_types = '[]' WHERE client_id = 'billing'").await;
    let other = server.secret("billing", json!({})).await;
    refuses(&server, &other, "unauthorized_client", &[GRANT, &grant("scope=nowhere")]).await;
    let wrong = Client::new("billing", "not the secret at all");
    server.token(&wrong, GRANT).await.expect_oauth_error(401, "invalid_client");
}

// --- Faults ---

/// Asserts that no verdict was given (DESIGN §1, promise 4).
#[track_caller]
fn expect_no_verdict(row: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{row}: {answer:?}");
    let body = answer.expect_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("2"), "{row}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{row}: {answer:?}");
    assert_eq!(answer.header("www-authenticate"), None, "{row}: {answer:?}");
    assert!(body.get("error").is_none() && body.get("access_token").is_none(), "{row}: {answer:?}");
    let told = answer.body.to_lowercase();
    assert!(
        !told.contains("table") && !told.contains("relation"),
        "nothing of the inside: {row}: {answer:?}"
    );
}

async fn an_unwritten_event_is_503_and_no_verdict(server: Server) {
    let billing = server.billing().await;
    let wrong = Client::new("billing", "not the secret at all");
    server.token(&billing, GRANT).await.expect(200);

    server.database.execute("ALTER TABLE audit_events RENAME TO elsewhere").await;
    expect_no_verdict("a good secret", &server.token(&billing, GRANT).await);
    expect_no_verdict("a wrong secret", &server.token(&wrong, GRANT).await);
    expect_no_verdict("an unknown client", &server.token(&Client::new("nobody", "x"), GRANT).await);
    expect_no_verdict("a refused scope", &server.token(&billing, &grant("scope=nowhere")).await);
    expect_no_verdict("a malformed body", &server.token(&billing, "%").await);

    server.database.execute("ALTER TABLE elsewhere RENAME TO audit_events").await;
    server.token(&billing, GRANT).await.expect(200);
    server.token(&wrong, GRANT).await.expect_oauth_error(401, "invalid_client");
}

async fn an_unreadable_client_is_503_and_no_verdict(server: Server) {
    let known = server.billing().await;
    let unread = server.client(json!({ "client_id": "unread", "roles": ["order-reader"] })).await;
    server.token(&known, GRANT).await.expect(200);

    server.database.execute("ALTER TABLE clients RENAME TO elsewhere").await;
    let nobody = Client::new("nobody", "not the secret at all");
    expect_no_verdict("an unknown client", &server.token(&nobody, GRANT).await);
    expect_no_verdict("a client that is not in memory", &server.token(&unread, GRANT).await);
    let wrong = Client::new("unread", "not the secret at all");
    expect_no_verdict("the same with a wrong secret", &server.token(&wrong, GRANT).await);
    server.token(&known, GRANT).await.expect(200);

    server.database.execute("ALTER TABLE elsewhere RENAME TO clients").await;
    server.token(&nobody, GRANT).await.expect_oauth_error(401, "invalid_client");
    server.token(&unread, GRANT).await.expect(200);
}

// --- Request identifiers ---

async fn every_answer_has_a_request_id(server: Server) {
    let billing = server.billing().await;
    let generated = |answer: &Answer| {
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 22, "{id}");
        id
    };
    let first = generated(&server.token(&billing, GRANT).await);
    assert_ne!(first, generated(&server.token(&billing, GRANT).await));
    generated(&server.get("/nowhere").await);
    generated(&server.get("/oauth2/token").await);

    let long = "a".repeat(64);
    for good in ["a", "trace-1_2.3", "0123456789ABCDEF", &*long] {
        let answer = server.form(&[&billing.basic(), &format!("X-Request-Id: {good}")], GRANT).await;
        assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(good)));
        let refused = server.form(&[&format!("X-Request-Id: {good}")], GRANT).await;
        assert_eq!((refused.status, refused.header("x-request-id")), (401, Some(good)));
    }
    let too_long = "a".repeat(65);
    for bad in ["", "a b", "a\"b", "a'b", "a;b", "a/b", "a%0Ab", "<b>", "é", "${x}", &*too_long] {
        let answer = server.form(&[&billing.basic(), &format!("X-Request-Id: {bad}")], GRANT).await;
        assert_eq!(answer.status, 200, "{bad}: {answer:?}");
        assert_ne!(generated(&answer), bad);
        let ids = answer.headers.iter().filter(|(name, _)| name == "x-request-id").count();
        assert_eq!(ids, 1, "{bad}: {answer:?}");
    }
}
