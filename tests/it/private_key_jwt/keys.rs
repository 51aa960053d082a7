//! Registering public keys: the API.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PEM, Signer, register};
use crate::harness::{START, Server, both_engines};
use jeton::jose::Algorithm;

both_engines!(
    a_key_is_added_listed_changed_and_removed,
    a_change_of_the_description_undoes_no_end_that_another_set_meanwhile,
    a_private_key_is_refused_and_not_repeated,
    a_client_has_ten_keys_at_most_each_once,
    keys_are_here_or_elsewhere,
    keys_are_added_by_whoever_may_write_clients,
);

async fn a_key_is_added_listed_changed_and_removed(server: Server) {
    let signer = Signer::start(&server).await;
    let admin = server.api_token("administrator").await;
    let path = "/clients/signer/keys";
    signer.token(&server).await.expect(200);

    let new = json!({ "pem": PEM, "description": "next", "expires_in": 3600 });
    let added = server.api("POST", path, &admin, &[], new).await.expect(201);
    assert_eq!((&added["key_type"], &added["algorithms"]), (&json!("EC P-256"), &json!(["ES256"])));
    assert_eq!((&added["description"], &added["expired"]), (&json!("next"), &json!(false)));
    assert_eq!(added["jwk"]["kty"], "EC");
    let key_id = added["key_id"].as_str().unwrap();
    let keys = server.api("GET", path, &admin, &[], Value::Null).await.expect(200);
    assert_eq!(keys.as_array().unwrap().len(), 2);

    let one = format!("{path}/{key_id}");
    let change = json!({ "description": "now", "expires_at": null });
    let changed = server.api("PATCH", &one, &admin, &[], change).await.expect(200);
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("now"), &Value::Null));
    let past = json!({ "expires_at": "2020-01-01T00:00:00Z" });
    server.api("PATCH", &one, &admin, &[], past).await.expect_invalid("expires_at", "name a later time");
    let uses = server.api("GET", &format!("{one}/use"), &admin, &[], Value::Null).await.expect(200);
    assert_eq!(uses["live_tokens"], 0);

    server.api("DELETE", &one, &admin, &[], Value::Null).await.expect(204);
    server.api("DELETE", &one, &admin, &[], Value::Null).await.expect_problem(404, "not-found");
    let events = server.audit_rows().await;
    for action in ["client.key.add", "client.key.update", "client.key.remove"] {
        let of_action = events.iter().filter(|event| event.contains(&format!("\"{action}\"")));
        assert!(of_action.count() >= 1, "{action}");
    }
    server.app.stop().await.unwrap();
}

async fn a_change_of_the_description_undoes_no_end_that_another_set_meanwhile(server: Server) {
    let signer = Signer::new("signer", Algorithm::Es256);
    server.billing().await;
    register(&server, "signer", json!({})).await;
    let key_id = signer.add_key(&server, json!({})).await;
    let admin = server.api_token("administrator").await;
    let one = format!("/clients/signer/keys/{key_id}");
    let end = START.plus(Duration::from_hours(1));
    let sql = format!(
        "UPDATE clients SET version = version WHERE client_id = 'signer';
         UPDATE client_keys SET expires_at = {} WHERE key_id = '{key_id}'",
        end.as_micros()
    );
    let another = server.database.hold(&sql).await;
    let change = server.api("PATCH", &one, &admin, &[], json!({ "description": "now" }));
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        another.commit().await;
    };
    let (changed, ()) = tokio::join!(change, waiting);
    let changed = changed.expect(200);
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("now"), &json!(end)));
    let keys = server.api("GET", "/clients/signer/keys", &admin, &[], Value::Null).await.expect(200);
    assert_eq!(keys[0]["expires_at"], json!(end), "and it is stored");
    server.app.stop().await.unwrap();
}

async fn a_private_key_is_refused_and_not_repeated(server: Server) {
    server.billing().await;
    register(&server, "signer", json!({})).await;
    let admin = server.api_token("administrator").await;
    let public = Signer::new("signer", Algorithm::Es256).jwk();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";
    let mut private = public.clone();
    private["d"] = json!(secret);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
    for (field, body) in [
        ("jwk", json!({ "jwk": private })),
        ("pem", json!({ "pem": pem })),
        ("pem", json!({ "pem": private.to_string() })),
        ("jwk", json!({ "jwk": pem })),
    ] {
        let answer = server.api("POST", "/clients/signer/keys", &admin, &[], body).await;
        answer.expect_invalid(field, "");
        assert!(!answer.body.contains("c2VjcmV0"), "{answer:?}");
    }
    // The bare JWK has none of the fields.
    let answer = server.api("POST", "/clients/signer/keys", &admin, &[], private.clone()).await;
    let problem = answer.expect_problem(422, "invalid");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["kty", "crv", "x", "y", "d"]);
    assert!(!answer.body.contains("c2VjcmV0"), "{answer:?}");
    let answer = server.api("POST", "/clients/signer/keys", &admin, &[], json!({ "jwk": private })).await;
    assert!(answer.body.contains("private key") && answer.body.contains("make a new pair"), "{answer:?}");
    let page = server.signed_in("ada", "administrator").await;
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("key", &pem).finish();
    let headers =
        [page.as_str(), "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"];
    let answer = server.send("POST", "/admin/clients/signer/keys", &headers, form).await;
    answer.expect_page(422, "private key");
    assert!(!answer.body.contains("c2VjcmV0"), "{answer:?}");
    for row in server.audit_rows().await {
        assert!(!row.contains("c2VjcmV0"), "{row}");
    }
    server.app.stop().await.unwrap();
}

async fn a_client_has_ten_keys_at_most_each_once(server: Server) {
    let signer = Signer::start(&server).await;
    let admin = server.api_token("administrator").await;
    let path = "/clients/signer/keys";
    let twice = json!({ "jwk": signer.jwk() });
    server.api("POST", path, &admin, &[], twice).await.expect_problem(409, "conflict");
    // The same key by another name is the same key.
    let mut renamed = signer.jwk();
    renamed["kid"] = json!("another");
    server.api("POST", path, &admin, &[], json!({ "jwk": renamed })).await.expect_problem(409, "conflict");
    for n in 0..9 {
        let mut jwk = Signer::new("signer", Algorithm::EdDsa).jwk();
        jwk["kid"] = json!(format!("k{n}"));
        server.api("POST", path, &admin, &[], json!({ "jwk": jwk })).await.expect(201);
    }
    let mut eleventh = Signer::new("signer", Algorithm::EdDsa).jwk();
    let refusal = server.api("POST", path, &admin, &[], json!({ "jwk": eleventh })).await;
    assert!(refusal.expect_problem(409, "conflict")["detail"].as_str().unwrap().contains("10 keys"));
    eleventh["kid"] = json!("k0");
    server.api("POST", path, &admin, &[], json!({ "jwk": eleventh })).await.expect_problem(409, "conflict");
    for (field, bad) in [
        ("jwk", json!({})),
        ("pem", json!({ "pem": PEM, "jwk": signer.jwk() })),
        ("jwk", json!({ "jwk": [] })),
        ("jwk", json!({ "jwk": {} })),
    ] {
        server.api("POST", path, &admin, &[], bad).await.expect_invalid(field, "");
    }
    server.app.stop().await.unwrap();
}

async fn keys_are_here_or_elsewhere(server: Server) {
    let signer = Signer::start(&server).await;
    let admin = server.api_token("administrator").await;
    let uri = "https://signer.example/jwks.json";
    let change = json!({ "jwks_uri": uri });
    let refused = server.api("PATCH", "/clients/signer", &admin, &["If-Match: \"1\""], change).await;
    refused.expect_invalid("jwks_uri", "");
    register(&server, "elsewhere", json!({ "jwks_uri": uri })).await;
    let refused =
        server.api("POST", "/clients/elsewhere/keys", &admin, &[], json!({ "jwk": signer.jwk() })).await;
    let said = refused.expect_problem(409, "conflict");
    assert!(said["detail"].as_str().unwrap().contains("at its jwks_uri: add the key there"), "{said}");
    for bad in
        ["http://signer.example/jwks", "https://127.0.0.1/jwks", "https://[::1]/", "https://10.0.0.1/", "x"]
    {
        let new = json!({ "client_id": "bad", "jwks_uri": bad });
        let refused = server.api("POST", "/clients", &admin, &[], new).await;
        refused.expect_invalid("jwks_uri", "");
    }
    server.app.stop().await.unwrap();
}

async fn keys_are_added_by_whoever_may_write_clients(server: Server) {
    let signer = Signer::start(&server).await;
    let auditor = server.api_token("auditor").await;
    let path = "/clients/signer/keys";
    server.api("GET", path, &auditor, &[], Value::Null).await.expect(200);
    let new = json!({ "jwk": signer.jwk() });
    server.api("POST", path, &auditor, &[], new).await.expect_forbidden("clients:write");
    server.api("GET", path, "nonsense", &[], Value::Null).await.expect_problem(401, "token-invalid");
    server.app.stop().await.unwrap();
}
