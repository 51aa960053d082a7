//! Secrets that other servers have hashed: they work as they are, once, and are ours from then on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};

both_engines!(
    a_secret_of_another_server_is_hashed_anew_when_it_is_presented,
    an_imported_secret_is_refused_like_any_other,
    a_hash_that_cannot_be_taken_over_is_refused_with_the_reason,
);

const ASK: &str = "grant_type=client_credentials";
const SECRETS: &str = "/clients/billing/secrets";

/// The secrets, and how bcrypt, Kratos and Hydra have them.
const OTHERS: &[(&str, &str, &str)] = &[
    ("short", "bcrypt", "$2b$10$EGdrhbKUv8Oc9vGiXX0HQO4jLwo4Um9l438ec79CeqnRALbaallcG"),
    ("keycloak secret of old", "bcrypt", "$2y$04$EGdrhbKUv8Oc9vGiXX0HQOKlkhGy3.UjmW7NrbFvBFadQ2K0SNOye"),
    (
        "hydra secret of old",
        "pbkdf2-sha256",
        "$pbkdf2-sha256$i=25000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$VHkM4SjcGU7m9dJUx0jPEvTLp+bK7tT3IWXOxzsxu4I",
    ),
    (
        "hydra secret of old",
        "pbkdf2-sha512",
        "$pbkdf2-sha512$i=10000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$aCpvBAL9rBX5TafZ04pZg4jsyLnh/BUMRiO6E2gLi5Y",
    ),
];

/// The stored hash of a secret, as soon as it is ours.
async fn ours(server: &Server, secret_id: &str) -> String {
    let sql = format!("SELECT hash FROM client_secrets WHERE secret_id = '{secret_id}'");
    for _ in 0..100 {
        let hash = server.database.texts(&sql).await.remove(0);
        if hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") {
            return hash;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{secret_id} is not hashed anew");
}

async fn a_secret_of_another_server_is_hashed_anew_when_it_is_presented(server: Server) {
    server.billing().await;
    let replica = server.replica().await;
    let api = server.administrator().await;
    for (secret, scheme, hash) in OTHERS {
        let answer = api.post(SECRETS, json!({ "secret_hash": hash, "description": "moved in" })).await;
        let added = answer.expect(201);
        assert_eq!((&added["origin"], &added["imported_as"]), (&json!("chosen"), &json!(scheme)));
        assert!(added.get("client_secret").is_none() && !answer.body.contains('$'), "{answer:?}");
        let id = added["secret_id"].as_str().unwrap();
        let client = Client::new("billing", secret);
        server.token(&Client::new("billing", &format!("{secret}x")), ASK).await.expect(401);
        let listed = api.get(SECRETS).await.expect(200);
        assert!(listed.as_array().unwrap().iter().any(|secret| secret["imported_as"] == *scheme), "not yet");
        // On both at once: one of them stores.
        replica.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
        let (one, other) = tokio::join!(server.token(&client, ASK), replica.token(&client, ASK));
        one.expect(200);
        other.expect(200);
        ours(&server, id).await;
        let listed = api.get(SECRETS).await;
        assert!(!listed.body.contains("imported_as"), "{listed:?}");
        for at in [&server, &replica] {
            at.token(&client, ASK).await.expect(200);
            at.token(&Client::new("billing", &format!("{secret}y")), ASK).await.expect(401);
        }
        // Without anything in memory too.
        let fresh = server.replica().await;
        fresh.token(&client, ASK).await.expect(200);
        fresh.app.stop().await.unwrap();
        api.delete(&format!("{SECRETS}/{id}"), None).await.expect(204);
        server.token(&client, ASK).await.expect_oauth_error(401, "invalid_client");
    }
    let events = server.events("changed").await;
    let rehashed: Vec<_> = events.iter().filter(|event| event["action"] == "client.secret.rehash").collect();
    assert_eq!(rehashed.len(), OTHERS.len(), "once each");
    assert_eq!(rehashed[0]["actor"]["type"], "system");
    let told = serde_json::to_string(&events).unwrap();
    assert!(!told.contains("$2b$") && !told.contains("$pbkdf2") && !told.contains("argon2id"), "{told}");
    replica.app.stop().await.unwrap();
}

async fn an_imported_secret_is_refused_like_any_other(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let (secret, _, hash) = OTHERS[1];
    let added = api.post(SECRETS, json!({ "secret_hash": hash, "expires_in": 60 })).await.expect(201);
    let client = Client::new("billing", secret);
    // Its hash is no secret, nor is it one of another client.
    server.token(&Client::new("billing", hash), ASK).await.expect_oauth_error(401, "invalid_client");
    server.client(json!({ "client_id": "other" })).await;
    server.token(&Client::new("other", secret), ASK).await.expect_oauth_error(401, "invalid_client");
    // Beside another chosen one there is room for no more.
    api.post(SECRETS, json!({ "secret": "a chosen secret of mine" })).await.expect(201);
    api.post(SECRETS, json!({ "secret_hash": hash })).await.expect_problem(409, "conflict");
    server.token(&client, ASK).await.expect(200);
    server.clock.advance(Duration::from_mins(1));
    server.token(&client, ASK).await.expect_oauth_error(401, "invalid_client");
    assert_eq!(added["expires_at"], "2026-11-22T08:01:00Z");
    server.token(&Client::new("billing", ""), ASK).await.expect_oauth_error(401, "invalid_client");
}

async fn a_hash_that_cannot_be_taken_over_is_refused_with_the_reason(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let before = server.last_change().await;
    let dear = OTHERS[0].2.replace("$10$", "$15$");
    let iterations = OTHERS[2].2.replace("25000", "2000001");
    for (hash, fix) in [
        ("hunter2 hunter2 hunter2", "a plain secret goes into 'secret'"),
        (&dear, "seconds"),
        (&iterations, "take seconds"),
        ("$2b$10$hunter2", "all of its 60 characters"),
        ("$argon2id$v=19$m=64,t=1,p=1$hunter2$hunter2", "send bcrypt"),
    ] {
        let answer = api.post(SECRETS, json!({ "secret_hash": hash })).await;
        answer.expect_invalid("secret_hash", fix);
        assert!(!answer.body.contains("hunter2") && !answer.body.contains("EGdrhb"), "{answer:?}");
    }
    let both = json!({ "secret_hash": OTHERS[1].2, "secret": "a chosen secret of mine" });
    api.post(SECRETS, both).await.expect_invalid("secret_hash", "give one of them");
    assert_eq!(server.last_change().await, before);
    let listed: Value = api.get(SECRETS).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}
