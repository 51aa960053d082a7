//! Client secrets in the REST API: seen once, then never again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines, encoded};

both_engines!(
    a_secret_is_answered_once_and_never_again,
    secrets_stand_side_by_side_and_are_revoked_one_by_one,
    only_a_client_s_own_secret_is_revoked,
    a_secret_ends_when_it_says,
    each_wrong_field_of_a_secret_is_named,
    a_chosen_secret_works_as_it_is,
    a_refused_secret_is_not_echoed,
    a_secret_of_the_wrong_type_is_not_echoed,
    a_client_has_at_most_ten_secrets,
    many_at_a_time_add_no_more_than_ten_secrets,
);

const ASK: &str = "grant_type=client_credentials";
const SECRETS: &str = "/clients/billing/secrets";

async fn a_secret_is_answered_once_and_never_again(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    server.clock.advance(Duration::from_secs(1));
    let answer = api.post(SECRETS, json!({ "description": "deployed" })).await;
    let added = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let text = added["client_secret"].as_str().unwrap();
    let digits = text.strip_prefix("jtn_").unwrap();
    assert!(digits.len() == 49 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
    let mut view = json!({
        "secret_id": added["secret_id"], "origin": "generated", "description": "deployed",
        "created_at": "2026-11-22T08:00:01Z", "expires_at": null, "expired": false, "expires_soon": false,
        "client_secret": text,
    });
    assert_eq!(added, view, "and nothing else: no hash");
    server.token(&Client::new("billing", text), ASK).await.expect(200);

    view.as_object_mut().unwrap().remove("client_secret");
    let answer = api.get(SECRETS).await;
    let list = answer.expect(200);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0], view, "newest first");
    for page in [&answer.body, &api.get("/clients/billing").await.body, &api.get("/clients").await.body] {
        for hidden in [text, &digits[..20], "argon2", "client_secret\"", "hash"] {
            assert!(!page.contains(hidden), "{hidden} in {page}");
        }
    }
    let events = serde_json::to_string(&server.events("changed").await).unwrap();
    assert!(events.contains("client.secret.add") && !events.contains(&digits[..20]), "{events}");
}

async fn secrets_stand_side_by_side_and_are_revoked_one_by_one(server: Server) {
    let first = server.billing().await;
    let api = server.administrator().await;
    server.clock.advance(Duration::from_secs(1));
    let second = api.credentials("billing").await;
    server.token(&first, ASK).await.expect(200);
    server.token(&second, ASK).await.expect(200);
    let list = api.get(SECRETS).await.expect(200);
    let oldest = list[1]["secret_id"].as_str().unwrap();
    let path = format!("{SECRETS}/{oldest}");
    let answer = api.delete(&path, None).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    server.token(&first, ASK).await.expect_oauth_error(401, "invalid_client");
    server.token(&second, ASK).await.expect(200);
    assert_eq!(api.get(SECRETS).await.expect(200), json!([list[0]]));
    let again = api.delete(&path, None).await.expect_problem(404, "not-found");
    assert_eq!(again["detail"], format!("there is no secret '{oldest}'"));
    // The client itself has not changed: its ETag stays good.
    api.get("/clients/billing").await.expect_version(200, 1);
}

async fn only_a_client_s_own_secret_is_revoked(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    server.client(json!({ "client_id": "other" })).await;
    let list = api.get(SECRETS).await.expect(200);
    let id = list[0]["secret_id"].as_str().unwrap();
    api.delete(&format!("/clients/other/secrets/{id}"), None).await.expect_problem(404, "not-found");
    server.token(&billing, ASK).await.expect(200);
    for wrong in ["no%20id", "a_b", &"x".repeat(65)] {
        api.delete(&format!("{SECRETS}/{wrong}"), None).await.expect_problem(400, "malformed");
    }
}

async fn a_secret_ends_when_it_says(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let ends = [json!({ "expires_in": 60 }), json!({ "expires_at": "2026-11-22T09:01:00+01:00" })];
    let mut clients = Vec::new();
    for end in ends {
        let added = api.post(SECRETS, end).await.expect(201);
        assert_eq!(added["expires_at"], "2026-11-22T08:01:00Z");
        assert_eq!(added["expired"], false);
        clients.push(Client::new("billing", added["client_secret"].as_str().unwrap()));
    }
    for client in &clients {
        let token = server.token(client, ASK).await.expect(200);
        assert_eq!(token["expires_in"], 60, "a token ends with its secret");
    }
    server.clock.advance(Duration::from_mins(1));
    for client in &clients {
        server.token(client, ASK).await.expect_oauth_error(401, "invalid_client");
    }
    let list = api.get(SECRETS).await.expect(200);
    let expired: Vec<_> =
        list.as_array().unwrap().iter().filter(|secret| secret["expired"] == true).collect();
    assert_eq!(expired.len(), 2, "they stay in the list: {list}");
}

async fn each_wrong_field_of_a_secret_is_named(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let before = server.last_change().await;
    let future = "2027-01-01T00:00:00Z";
    let schema = "openapi.yaml has the form of every field";
    let later = "name a later time, or leave it out";
    let table = [
        (json!({ "description": "x".repeat(256) }), "description", "use at most 255 printable characters"),
        (json!({ "description": "a\u{1b}b" }), "description", "printable"),
        (json!({ "expires_in": 60, "expires_at": future }), "expires_in", "give one of them"),
        (json!({ "expires_in": 0 }), "expires_in", later),
        (json!({ "expires_in": -1 }), "expires_in", schema),
        (json!({ "expires_in": 4_294_967_296_u64 }), "expires_in", schema),
        (json!({ "expires_at": "2026-11-22T08:00:00Z" }), "expires_at", later),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "expires_at", later),
        (json!({ "expires_at": "soon" }), "expires_at", schema),
    ];
    for (body, field, fix) in table {
        api.post(SECRETS, body).await.expect_invalid(field, fix);
    }
    assert_eq!(server.last_change().await, before);
    assert_eq!(api.get(SECRETS).await.expect(200).as_array().unwrap().len(), 1);
}

async fn a_chosen_secret_works_as_it_is(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let longest = "é".repeat(255);
    for chosen in ["sixteen letters!", "a:b%c+d é & 🦀 =?", &longest, "                "] {
        let answer = api.post(SECRETS, json!({ "secret": chosen })).await;
        let added = answer.expect(201);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!((&added["origin"], &added["client_secret"]), (&json!("chosen"), &json!(chosen)));
        server.token(&Client::new("billing", chosen), ASK).await.expect(200);
        let body = format!("{ASK}&client_id=billing&client_secret={}", encoded(chosen));
        server.form(&[], &body).await.expect(200);
        let one_off = format!("{chosen}x");
        server.token(&Client::new("billing", &one_off), ASK).await.expect_oauth_error(401, "invalid_client");
        let path = format!("{SECRETS}/{}", added["secret_id"].as_str().unwrap());
        api.delete(&path, None).await.expect(204);
        server.token(&Client::new("billing", chosen), ASK).await.expect_oauth_error(401, "invalid_client");
    }
    let list = api.get(SECRETS).await;
    assert!(!list.body.contains("sixteen letters!"), "{list:?}");
}

async fn a_refused_secret_is_not_echoed(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let long = "hunter2".repeat(37);
    let table = [
        ("hunter2 hunter2", "use 16 to 255 characters"),
        (long.as_str(), "use 16 to 255 characters"),
        ("jtn_hunter2hunter2hunter2", "choose one that does not start with jtn_"),
        ("hunter2\nhunter2 hunter2", "use printable characters only"),
        ("hunter2\0hunter2 hunter2", "use printable characters only"),
    ];
    for (secret, fix) in table {
        let answer = api.post(SECRETS, json!({ "secret": secret })).await;
        answer.expect_invalid("secret", fix);
        assert!(!answer.body.contains("hunter2"), "{answer:?}");
    }
    api.post(SECRETS, json!({ "secret": "" })).await.expect_invalid("secret", "use 16 to 255 characters");
    let body = json!({ "secret": "hunter2 hunter2 hunter2", "expires_in": 0 });
    let answer = api.post(SECRETS, body).await;
    answer.expect_invalid("expires_in", "name a later time");
    assert!(!answer.body.contains("hunter2"), "{answer:?}");
    assert_eq!(api.get(SECRETS).await.expect(200).as_array().unwrap().len(), 1);
}

/// DESIGN §1.6: not in an error either. These are the slips by which a secret ends up as something else.
async fn a_secret_of_the_wrong_type_is_not_echoed(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let bodies = [
        json!({ "secret": 1_234_567_890_123_456_i64 }),
        json!({ "secret": ["1234567890123456"] }),
        json!({ "secret": { "1234567890123456": 1 } }),
        json!("1234567890123456"),
        json!(1_234_567_890_123_456_i64),
    ];
    let mut echoes = Vec::new();
    for body in bodies {
        let answer = api.post(SECRETS, body).await;
        answer.expect_problem(422, "invalid");
        if answer.body.contains("1234567890123456") {
            echoes.push(answer.body);
        }
    }
    assert_eq!(echoes, Vec::<String>::new());
}

async fn a_client_has_at_most_ten_secrets(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    for _ in 0..9 {
        api.post(SECRETS, json!({ "expires_in": 60 })).await.expect(201);
    }
    let full = api.post(SECRETS, json!({})).await.expect_problem(409, "conflict");
    let detail = full["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the client has 10 secrets already; revoke one that is no longer used: "),
        "{detail}"
    );
    let list = api.get(SECRETS).await.expect(200);
    let ids: Vec<_> =
        list.as_array().unwrap().iter().map(|secret| secret["secret_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 10);
    server.token(&billing, ASK).await.expect(200);
    let of_sixty =
        list.as_array().unwrap().iter().find(|secret| secret["expires_at"] != Value::Null).unwrap();
    let path = format!("{SECRETS}/{}", of_sixty["secret_id"].as_str().unwrap());
    api.delete(&path, None).await.expect(204);
    let newest = api.credentials("billing").await;
    server.token(&newest, ASK).await.expect(200);
}

async fn many_at_a_time_add_no_more_than_ten_secrets(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    for _ in 0..8 {
        api.post(SECRETS, json!({})).await.expect(201);
    }
    // Chosen ones, whose costly hash gives the others time to come in between.
    let api = &api;
    let add = async |n: u8| api.post(SECRETS, json!({ "secret": format!("chosen secret {n} of 4") })).await;
    let answers = futures_util::future::join_all((1..=4).map(add)).await;
    let (added, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(added.len(), 1, "{answers:?}");
    for answer in refused {
        let problem = answer.expect_problem(409, "conflict");
        assert!(
            problem["detail"].as_str().unwrap().starts_with("the client has 10 secrets already"),
            "{problem}"
        );
    }
    assert_eq!(api.get(SECRETS).await.expect(200).as_array().unwrap().len(), 10);
}
