//! Looking at signing keys, rotating and revoking them: through the API and on the command line.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{Api, Database, Engine, Process, START, Server, both_engines, command, jeton, run};
use crate::signing_keys::{DAY, signed_by};
use crate::token::GRANT;

both_engines!(
    a_revoked_key_is_out_at_once_and_everywhere_within_a_second,
    a_pending_and_a_retired_key_can_be_revoked,
    what_cannot_be_revoked_is_told,
    a_revocation_stands_without_a_fresh_key,
    a_key_can_be_made_before_its_time,
    what_cannot_be_rotated_is_a_conflict,
    keys_are_for_those_who_may,
);

const JWKS: &str = "/.well-known/jwks.json";

/// Waits for something on another replica, and asserts that it took a second at most.
async fn within_a_second(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn revoke(api: &Api<'_>, kid: &str) -> Value {
    api.post(&format!("/signing-keys/{kid}/revoke"), Value::Null).await.expect(200)
}

/// The state of each key of an algorithm, oldest first.
async fn states(api: &Api<'_>, algorithm: &str) -> Vec<String> {
    let view = api.get("/signing-keys").await.expect(200);
    let ring = view["rings"].as_array().unwrap().iter().find(|ring| ring["algorithm"] == algorithm);
    let keys = ring.unwrap()["keys"].as_array().unwrap().iter();
    keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

async fn a_revoked_key_is_out_at_once_and_everywhere_within_a_second(server: Server) {
    let billing = server.billing().await;
    let other = server.replica().await;
    let api = server.administrator().await;
    let there = other.api_with(api.token.clone());
    there.get("/roles").await.expect(200);
    let (kid, _) = signed_by(&api.token);

    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let revoked = revoke(&server.api_as(&boss, "signing-keys:write").await, &kid).await;
    let trusted_until = START.plus(Duration::from_hours(2));
    assert_eq!(revoked, json!({ "kid": kid, "algorithm": "ES256", "trusted_until": trusted_until }));
    assert!(!server.get(JWKS).await.body.contains(&kid), "at once");
    api.get("/roles").await.expect_token_refused("not an access token that this server signed");
    let fresh = server.signs(&billing).await;
    assert_ne!(fresh, kid);
    within_a_second("its key set", async || !other.get(JWKS).await.body.contains(&kid)).await;
    within_a_second("its API", async || there.get("/roles").await.status == 401).await;
    within_a_second("what it signs", async || {
        let answer = other.token(&billing, GRANT).await;
        answer.status == 200 && signed_by(answer.json()["access_token"].as_str().unwrap()).0 == fresh
    })
    .await;
    assert_eq!(states(&server.administrator().await, "ES256").await, ["revoked", "active"]);

    let events = server.events("key_revoked").await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&event["kid"], &event["algorithm"]), (&json!(kid), &json!("ES256")));
    assert_eq!(event["trusted_until"], json!(trusted_until));
    assert_eq!(event["actor"]["client_id"], "boss", "{event}");
}

async fn a_pending_and_a_retired_key_can_be_revoked(server: Server) {
    let billing = server.billing().await;
    let active = server.signs(&billing).await;
    let api = server.administrator().await;
    api.post("/signing-keys/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    let pending = server.kids("ES256").await.remove(1);
    revoke(&api, &pending).await;
    assert_eq!(server.kids("ES256").await, [&*active], "nobody needs another for a month");
    assert_eq!(server.signs(&billing).await, active);
    assert_eq!(states(&api, "ES256").await, ["active", "revoked"]);

    server.clock.set(START.plus(29 * DAY));
    server.settle().await;
    server.clock.set(START.plus(30 * DAY));
    let next = server.signs(&billing).await;
    let api = server.administrator().await;
    assert_eq!(states(&api, "ES256").await, ["retired", "active"], "the revoked one is forgotten");
    revoke(&api, &active).await;
    assert_eq!(server.kids("ES256").await, [&*next]);
    assert_eq!(server.signs(&billing).await, next, "it is not affected");
    assert_eq!(states(&api, "ES256").await, ["revoked", "active"]);
}

async fn what_cannot_be_revoked_is_told(server: Server) {
    let api = server.administrator().await;
    let (kid, _) = signed_by(&api.token);
    revoke(&api, &kid).await;
    let api = server.administrator().await;
    let again = api.post(&format!("/signing-keys/{kid}/revoke"), Value::Null).await;
    let detail = again.expect_problem(409, "conflict")["detail"].to_string();
    assert!(detail.contains("is revoked already"), "{detail}");
    for gone in ["nobody", "%20", "a%2Fb", &"x".repeat(300)] {
        let answer = api.post(&format!("/signing-keys/{gone}/revoke"), Value::Null).await;
        answer.expect_problem(404, "not-found");
    }
    assert_eq!(server.events("key_revoked").await.len(), 1);
}

/// Whoever revokes a key must hear that it is out, also when the database takes no new one just now.
async fn a_revocation_stands_without_a_fresh_key(server: Server) {
    let billing = server.billing().await;
    let api = server.administrator().await;
    let (kid, _) = signed_by(&api.token);
    server.database.refuse_rows("signing_keys", "NEW.algorithm = 'ES256'").await;
    assert_eq!(revoke(&api, &kid).await["kid"], kid);
    assert!(!server.get(JWKS).await.body.contains(&kid));
    server.token(&billing, GRANT).await.expect_problem(503, "unavailable");
    server.database.take_rows("signing_keys").await;
    let begun = Instant::now();
    while server.token(&billing, GRANT).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody tries again");
        sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(server.signs(&billing).await, kid);
}

async fn a_key_can_be_made_before_its_time(server: Server) {
    let billing = server.billing().await;
    let active = server.signs(&billing).await;
    let api = server.administrator().await;
    let ring = api.post("/signing-keys/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    assert_eq!((&ring["algorithm"], &ring["next_activation_at"]), (&json!("ES256"), &json!(START.plus(DAY))));
    let keys = ring["keys"].as_array().unwrap();
    assert_eq!((&keys[0]["kid"], &keys[0]["state"]), (&json!(active), &json!("active")));
    assert_eq!(keys[0]["leaves_at"], json!(START.plus(DAY + Duration::from_mins(62))));
    assert_eq!((&keys[1]["state"], &keys[1]["activates_at"]), (&json!("pending"), &json!(START.plus(DAY))));
    assert_eq!(keys[1]["created_at"], json!(START));
    assert_eq!(keys[1]["age"], 0);
    let pending = keys[1]["kid"].as_str().unwrap();
    assert_eq!(server.kids("ES256").await, [&*active, pending]);
    assert_eq!(server.kids("RS256").await.len(), 1, "only what was asked for");
    let made = server.events("key_created").await;
    let made = made.iter().find(|event| event["kid"] == pending).unwrap();
    assert!(made["actor"]["client_id"].as_str().unwrap().starts_with("a-administrator-"), "{made}");

    server.clock.set(START.plus(DAY));
    assert_eq!(server.signs(&billing).await, pending);
}

async fn what_cannot_be_rotated_is_a_conflict(server: Server) {
    let api = server.administrator().await;
    let rotate =
        async |algorithm: &str| api.post("/signing-keys/rotate", json!({ "algorithm": algorithm })).await;
    rotate("RS256").await.expect(201);
    let detail = rotate("RS256").await.expect_problem(409, "conflict")["detail"].to_string();
    assert!(detail.contains("published already"), "{detail}");
    let detail = rotate("PS256").await.expect_problem(409, "conflict")["detail"].to_string();
    assert!(detail.contains("no resource server uses PS256"), "{detail}");
    for unknown in ["HS256", "none", "es256", ""] {
        let answer = rotate(unknown).await;
        assert!([400, 422].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(server.events("key_created").await.len(), 3);
}

async fn keys_are_for_those_who_may(server: Server) {
    let auditor = server.api_with(server.api_token("auditor").await);
    let rings = auditor.get("/signing-keys").await.expect(200);
    assert_eq!(rings["rings"].as_array().unwrap().len(), 2);
    let kid = rings["rings"][0]["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert!(!rings.to_string().contains("sealed"), "nothing private: {rings}");
    let rotate = auditor.post("/signing-keys/rotate", json!({ "algorithm": "ES256" })).await;
    rotate.expect_forbidden("signing-keys:write");
    let revoke = auditor.post(&format!("/signing-keys/{kid}/revoke"), Value::Null).await;
    revoke.expect_forbidden("signing-keys:write");

    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let reader = server.api_as(&boss, "roles:read signing-keys:write").await;
    reader.get("/signing-keys").await.expect_forbidden("signing-keys:read");
    reader.post("/signing-keys/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    for (method, path) in
        [("GET", "signing-keys"), ("POST", "signing-keys/rotate"), ("POST", "signing-keys/x/revoke")]
    {
        server.send(method, &format!("/api/v1/{path}"), &[], "").await.expect_problem(401, "token-required");
    }
    assert_eq!(server.events("access_refused").await.len(), 3);
}

// === On the command line ===

async fn keys_beside_a_running_server(engine: Engine) {
    let database = Database::create(engine).await;
    let process = Process::serve(&database, &[]).await;
    let published =
        async || reqwest::get(format!("{}{JWKS}", process.base)).await.unwrap().text().await.unwrap();
    let table = |arguments: &[&str]| {
        let output = run(&database, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = jeton(&database, &["keys", "list"]);
    let active = listed["rings"][0]["keys"][0]["kid"].as_str().unwrap();
    let text = table(&["keys", "list"]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["ALGORITHM", "STATE", "KID"]);
    assert_eq!(lines[1][..3], ["ES256", "active", active]);
    assert_eq!(lines[3][..5], ["The", "next", "ES256", "key", "signs"], "{text}");
    assert_eq!(lines.len(), 5, "{text}");

    let ring = jeton(&database, &["keys", "rotate"]);
    assert_eq!((&ring["algorithm"], &ring["keys"][1]["state"]), (&json!("ES256"), &json!("pending")));
    let pending = ring["keys"][1]["kid"].as_str().unwrap();
    within_a_second("the pending key is published", async || published().await.contains(pending)).await;
    let text = table(&["keys", "rotate", "--algorithm", "RS256"]);
    assert!(text.lines().nth(2).unwrap().starts_with("RS256"), "{text}");
    let twice = run(&database, &["keys", "rotate"]);
    assert!(!twice.status.success());
    assert!(String::from_utf8_lossy(&twice.stderr).contains("published already"), "{twice:?}");

    let revoked = run(&database, &["keys", "revoke", active]);
    let (told, advice) =
        (String::from_utf8(revoked.stdout).unwrap(), String::from_utf8(revoked.stderr).unwrap());
    assert!(told.contains(active) && told.contains("trusted_until"), "{told}");
    assert!(advice.contains("empty their caches"), "{advice}");
    within_a_second("the revoked key is not", async || !published().await.contains(active)).await;
    let listed = jeton(&database, &["keys", "list"]);
    let states: Vec<_> = (0..2).map(|at| listed["rings"][0]["keys"][at]["state"].clone()).collect();
    assert_eq!(states, ["revoked", "active"], "the pending one signs now");
    assert_eq!(listed["rings"][0]["keys"][1]["kid"], pending);

    // One of 64 key ids begins with a hyphen.
    let revoked = format!("the signing key '{active}' is revoked already");
    for (kid, why) in [(active, &*revoked), ("-nobody", "there is no signing key '-nobody'")] {
        let output = run(&database, &["keys", "revoke", kid]);
        let reason = String::from_utf8(output.stderr).unwrap();
        assert!(reason.contains(why), "{reason}");
        assert!(!output.status.success());
    }
    let events = database.texts("SELECT event FROM audit_events WHERE kind = 'key_revoked'").await;
    assert!(events.len() == 1 && events[0].contains("uid "), "the actor: {events:?}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_beside_a_running_server_on_sqlite() {
    keys_beside_a_running_server(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_beside_a_running_server_on_postgres() {
    keys_beside_a_running_server(Engine::Postgres).await;
}

/// A schedule that breaks verifiers is refused, with the sum and what to write.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_schedule_is_refused_at_start() {
    let database = Database::create(Engine::Sqlite).await;
    let refused = |settings: &[(&str, &str)], expected: &[&str]| {
        let output = command(&database, &["serve"]).envs(settings.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{settings:?}");
        for part in expected {
            assert!(text.contains(part), "{settings:?}: {part:?} is not in {text}");
        }
    };
    refused(
        &[("JETON_KEYS__PUBLISH_AHEAD", "2h")],
        &[
            "keys.publish_ahead",
            "2h is too short",
            "2h (keys.verifier_cache) + 1s 200ms",
            "2 × 30s",
            "= 2h 1m 6s 200ms old",
        ],
    );
    refused(
        &[("JETON_KEYS__VERIFIER_CACHE", "25h"), ("JETON_KEYS__CLOCK_TOLERANCE", "1m")],
        &["keys.publish_ahead", "1d is too short", "1d 1h (keys.verifier_cache)", "2 × 1m"],
    );
    refused(
        &[("JETON_KEYS__ROTATE_EVERY", "10m")],
        &["keys.rotate_every", "10m is too often", "more than 50 keys", "write at least 30m 2s 400ms"],
    );
    refused(&[("JETON_KEYS__ROTATE_EVERY", "0s")], &["0s is too often", "write at least"]);
    // The longest token counts: a day of it is too much for so many keys.
    refused(
        &[("JETON_KEYS__ROTATE_EVERY", "31m"), ("JETON_TOKENS__MAX_LIFETIME", "86400")],
        &["31m is too often", "tokens.max_lifetime", "write at least 57m 38s 400ms"],
    );
    for nonsense in ["1", "1w", "-1h", "1h 1d", "soon", "1.5h", "999999999d"] {
        refused(
            &[("JETON_KEYS__CLOCK_TOLERANCE", nonsense)],
            &[
                "keys.clock_tolerance (JETON_KEYS__CLOCK_TOLERANCE)",
                "write a time such as 30d, 2h 15m or 500ms",
            ],
        );
    }
    refused(&[("JETON_KEYS__RSA_BITS", "1024")], &["keys.rsa_bits"]);
    assert!(!database.directory.path().join("data").exists(), "nothing was begun");
}
