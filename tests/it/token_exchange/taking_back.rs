//! Introspection (RFC 7662, RFC 9701) and revocation (RFC 7009).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Chain, access_token, exchange, exchanged, foreign, inactive, introspect};
use crate::harness::{Answer, Client, Server, both_engines, within_a_second};
use crate::token::{GRANT, verified};
use jeton::domain::time::Timestamp;
use jeton::runtime::clock::{Clock, ManualClock};

both_engines!(
    introspection_says_what_a_token_says_rfc7662_2_2,
    introspection_is_inactive_for_whatever_does_not_count_rfc7662_2_2,
    introspection_is_for_clients_that_authenticate_rfc7662_2_1,
    a_signed_answer_is_a_jwt_of_its_own_kind_rfc9701_5,
    what_an_administrator_changes_counts_at_once,
    a_role_may_be_replaced_by_another_that_gives_the_same,
    a_client_revokes_its_own_token_rfc7009_2_1,
    what_does_not_count_needs_no_revocation_rfc7009_2_2,
    revoking_a_chain_ends_all_of_it_on_every_replica,
    everything_of_a_client_is_revoked_until_now,
    a_revocation_survives_a_restart,
    a_database_that_is_away_is_503_and_never_inactive,
    a_forged_token_with_a_real_jti_revokes_nothing_rfc7009_2_1,
    revoked_keys_sign_nothing_that_counts,
);

async fn revoke(server: &Server, client: &Client, token: &str) -> Answer {
    let headers = [&*client.basic(), "Content-Type: application/x-www-form-urlencoded"];
    server
        .send("POST", "/oauth2/revoke", &headers, format!("token={token}&token_type_hint=access_token"))
        .await
}

async fn introspection_says_what_a_token_says_rfc7662_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, claims) = verified(&server, &token).await;
    let shown = introspect(&server, &chain.orders, &token).await;
    let mut expected = claims.clone();
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    assert_eq!(shown, expected);
    // An administrator's own client, with the permission and no resource server.
    let auditor = server.client(json!({ "client_id": "watch", "roles": ["administrator"] })).await;
    assert_eq!(introspect(&server, &auditor, &token).await, expected);
}

async fn introspection_is_inactive_for_whatever_does_not_count_rfc7662_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let jwks: Value = server.get("/.well-known/jwks.json").await.expect(200);
    assert!(jwks["keys"].is_array());
    let signed = token.rsplit_once('.').unwrap().0;
    for not_ours in ["x", "a.b.c", "", &format!("{signed}."), &format!("{token}A"), &"x".repeat(10_000)] {
        if not_ours.is_empty() {
            continue;
        }
        assert_eq!(introspect(&server, &chain.orders, not_ours).await, inactive(), "{not_ours:.40}");
    }
    // Somebody else's, under its own key's name and under ours.
    for foreign in foreign(&server, &token).await {
        assert_eq!(introspect(&server, &chain.orders, &foreign).await, inactive(), "{foreign}");
    }
    // Another kind that our key signed.
    let headers = [
        &*chain.orders.basic(),
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/token-introspection+jwt",
    ];
    let answer = server.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await;
    assert_eq!(introspect(&server, &chain.orders, &answer.body).await, inactive());
    // Somebody whom it is not addressed to, and nobody's business.
    assert_eq!(introspect(&server, &chain.front, &token).await, inactive());
    assert_eq!(introspect(&server, &chain.payments, &token).await, inactive());
    server.clock.advance(Duration::from_mins(5));
    assert_eq!(introspect(&server, &chain.orders, &token).await, inactive(), "expired");
}

async fn introspection_is_for_clients_that_authenticate_rfc7662_2_1(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = format!("token={token}");
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let nobody = server.send("POST", path, &[form], &body).await;
        nobody.expect_refusal(path, 401, "invalid_client");
        let wrong = Client::new("orders", "wrong").basic();
        let wrong = server.send("POST", path, &[form, &wrong], &body).await;
        wrong.expect_refusal(path, 401, "invalid_client");
        assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic"));
        let none = server.send("POST", path, &[form, &chain.orders.basic()], "").await;
        none.expect_refusal("no token", 400, "invalid_request");
        let twice = format!("{body}&{body}");
        let twice = server.send("POST", path, &[form, &chain.orders.basic()], twice).await;
        twice.expect_refusal("two tokens", 400, "invalid_request");
        let query = format!("{path}?{body}");
        let query = server.send("POST", &query, &[form, &chain.orders.basic()], &body).await;
        query.expect_refusal("a token in the query", 400, "invalid_request");
        assert_eq!(server.get(path).await.status, 405);
    }
    let events =
        chain.api(&server, "GET", "/audit-events?kind=access_refused", Value::Null).await.expect(200);
    let claimed =
        events["items"].as_array().unwrap().iter().filter(|item| item["event"]["claimed"] == "orders");
    assert!(claimed.count() >= 2, "who it said it was is in the audit: {events}");
}

async fn a_signed_answer_is_a_jwt_of_its_own_kind_rfc9701_5(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let plain = introspect(&server, &chain.orders, &token).await;
    for (asker, expected) in [(&chain.orders, &plain), (&chain.front, &inactive())] {
        let headers = [
            &*asker.basic(),
            "Content-Type: application/x-www-form-urlencoded",
            "Accept: application/token-introspection+jwt",
        ];
        let answer = server.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/token-introspection+jwt"));
        let (header, claims) = verified(&server, &answer.body).await;
        assert_eq!(header["typ"], "token-introspection+jwt");
        assert_eq!(claims["iss"], server.app.issuer());
        assert_eq!(claims["aud"], asker.id);
        assert_eq!(claims["token_introspection"], *expected);
        assert_eq!(claims.get("sub"), None, "it must not be taken for a token (RFC 9701 section 5)");
        assert_eq!(claims.get("exp"), None);
    }
}

async fn what_an_administrator_changes_counts_at_once(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (second, _) = exchanged(&server, &chain.orders, &token, "").await;
    let active = async |what: &str, first: bool, passed_on: bool| {
        let shown = introspect(&server, &chain.orders, &token).await;
        assert_eq!(shown["active"], first, "{what}: {shown}");
        let shown = introspect(&server, &chain.payments, &second).await;
        assert_eq!(shown["active"], passed_on, "{what}: {shown}");
    };
    active("at first", true, true).await;
    let switch = async |path: &str| assert!(chain.api(&server, "POST", path, Value::Null).await.status < 300);
    switch("/clients/orders/disable").await;
    // It asks no more, and nothing counts that it stands behind.
    assert_eq!(introspect(&server, &chain.payments, &second).await, inactive());
    switch("/clients/orders/enable").await;
    active("enabled again", true, true).await;
    switch("/clients/front/disable").await;
    active("the subject is disabled", false, false).await;
    exchange(&server, &chain.orders, &token, "").await.expect_refusal(
        "disabled subject",
        400,
        "invalid_request",
    );
    switch("/clients/front/enable").await;
    let removed = chain.api(&server, "DELETE", "/clients/front/roles/shopper", Value::Null).await;
    assert!(removed.status < 300);
    active("the subject's role is taken away", false, false).await;
}

/// Roles are renamed, split and merged. Whoever keeps what a token allows keeps the token.
async fn a_role_may_be_replaced_by_another_that_gives_the_same(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let shown = introspect(&server, &chain.orders, &token).await;
    let permissions = chain.api(&server, "GET", "/roles/shopper", Value::Null).await.expect(200);
    let permissions = permissions["permissions"].clone();
    server.role(json!({ "name": "customer", "permissions": permissions })).await;
    let rule = json!({
        "name": "by-name", "caller": { "client": "orders" }, "subject": { "client": "front" },
        "resource_server": "payments", "permissions": ["payments:read"],
    });
    chain.rule(&server, rule).await;
    for (method, role) in [("PUT", "customer"), ("DELETE", "shopper")] {
        let answer = chain.api(&server, method, &format!("/clients/front/roles/{role}"), Value::Null).await;
        assert!(answer.status < 300, "{answer:?}");
    }
    let now = introspect(&server, &chain.orders, &token).await;
    assert_eq!((&now["active"], &now["scope"]), (&json!(true), &shown["scope"]));
    assert_eq!(
        (&shown["roles"], &now["roles"]),
        (&json!(["shopper"]), &json!([])),
        "what it names and still has"
    );
    exchange(&server, &chain.orders, &token, "").await.expect(200);
    let removed = chain.api(&server, "DELETE", "/clients/front/roles/customer", Value::Null).await;
    assert!(removed.status < 300);
    assert_eq!(introspect(&server, &chain.orders, &token).await, inactive());
}

async fn a_client_revokes_its_own_token_rfc7009_2_1(server: Server) {
    let chain = Chain::start(&server).await;
    let (token, other) = (chain.token(&server).await, chain.token(&server).await);
    let stranger = revoke(&server, &chain.orders, &token).await;
    stranger.expect_refusal("it was issued to another client", 400, "unauthorized_client");
    assert_eq!(introspect(&server, &chain.orders, &token).await["active"], true);
    for _ in 0..2 {
        let answer = revoke(&server, &chain.front, &token).await;
        assert_eq!((answer.status, &*answer.body), (200, ""));
        assert_eq!(introspect(&server, &chain.orders, &token).await, inactive());
    }
    assert_eq!(introspect(&server, &chain.orders, &other).await["active"], true);
    let refused = exchange(&server, &chain.orders, &token, "").await;
    refused.expect_refusal("a revoked token", 400, "invalid_request");
    let events = chain.api(&server, "GET", "/audit-events?kind=revoked", Value::Null).await.expect(200);
    let events = events["items"].as_array().unwrap().clone();
    let [event] = &events[..] else { panic!("once, not twice: {events:?}") };
    assert_eq!(event["event"]["actor"]["client_id"], "front");
    assert_eq!(event["event"]["subject"], verified(&server, &token).await.1["jti"]);
}

async fn what_does_not_count_needs_no_revocation_rfc7009_2_2(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    for not_ours in ["x", "a.b.c", &format!("{token}A")] {
        assert_eq!(revoke(&server, &chain.front, not_ours).await.status, 200);
    }
    // A token that does not count only for now: its revocation is not forgotten.
    let disable = chain.api(&server, "DELETE", "/clients/front/roles/shopper", Value::Null).await;
    assert!(disable.status < 300);
    assert_eq!(introspect(&server, &chain.orders, &token).await, inactive());
    assert_eq!(revoke(&server, &chain.front, &token).await.status, 200);
    let back = chain.api(&server, "PUT", "/clients/front/roles/shopper", Value::Null).await;
    assert!(back.status < 300);
    assert_eq!(introspect(&server, &chain.orders, &token).await, inactive());
}

async fn revoking_a_chain_ends_all_of_it_on_every_replica(server: Server) {
    let chain = Chain::start(&server).await;
    let ahead = Arc::new(ManualClock::new(server.clock.now().plus(Duration::from_secs(20))));
    let other = server.replica_at(Arc::clone(&ahead) as _).await;
    let first = chain.token(&server).await;
    let unrelated = chain.token(&server).await;
    let (second, claims) = exchanged(&server, &chain.orders, &first, "").await;
    let (third, _) = exchanged(&server, &chain.payments, &second, "").await;
    let tokens = [(&chain.orders, &first), (&chain.payments, &second), (&chain.ledger, &third)];
    for (operator, token) in tokens {
        assert_eq!(introspect(&other, operator, token).await["active"], true);
    }
    let body = json!({ "kind": "chain", "subject": claims["txn"] });
    let view = chain.api(&server, "POST", "/revocations", body).await.expect(201);
    assert_eq!(view["subject"], claims["txn"]);
    for (operator, token) in tokens {
        assert_eq!(introspect(&server, operator, token).await, inactive(), "at once where it was done");
    }
    within_a_second("the chain ends elsewhere", async || {
        let mut ended = true;
        for (operator, token) in tokens {
            ended &= introspect(&other, operator, token).await == inactive();
        }
        ended
    })
    .await;
    assert_eq!(introspect(&other, &chain.orders, &unrelated).await["active"], true);
    let refused = exchange(&other, &chain.orders, &first, "").await;
    refused.expect_refusal("a revoked chain", 400, "invalid_request");
    a_clock_that_is_ahead_hides_nothing(&server, &chain, (&other, ahead.as_ref())).await;
    other.app.stop().await.unwrap();
}

/// Everything of a client means what a replica has issued, too, by whose clock that is later than now.
async fn a_clock_that_is_ahead_hides_nothing(
    server: &Server,
    chain: &Chain,
    (other, ahead): (&Server, &ManualClock),
) {
    let early = chain.token(other).await;
    let body = json!({ "kind": "client", "subject": "front" });
    let view = chain.api(server, "POST", "/revocations", body).await.expect(201);
    assert_eq!(introspect(server, &chain.orders, &early).await, inactive());
    within_a_second("it counts elsewhere no more", async || {
        introspect(other, &chain.orders, &early).await == inactive()
    })
    .await;
    ahead.advance(Duration::from_millis(1));
    let later = chain.token(other).await;
    assert_eq!(introspect(server, &chain.orders, &later).await["active"], true, "what it issues next counts");
    // The API and the audit tell how far it reaches, and it is not further than the clocks can be apart.
    let until = verified(server, &early).await.1["iat"].as_i64().unwrap();
    assert!(until > server.clock.now().as_seconds());
    assert_eq!(Timestamp::parse(view["revoked_at"].as_str().unwrap()).unwrap().as_seconds(), until);
    let events = server.events("revoked").await;
    let event = events.iter().find(|event| event["what"] == "client").unwrap();
    assert_eq!((&event["subject"], &event["until"]), (&json!("front"), &view["revoked_at"]));
    ahead.advance(Duration::from_hours(1));
    chain.token(other).await;
    let body = json!({ "kind": "client", "subject": "front" });
    let view = chain.api(server, "POST", "/revocations", body).await.expect(201);
    let until = Timestamp::parse(view["revoked_at"].as_str().unwrap()).unwrap();
    assert!(
        until <= server.clock.now().plus(Duration::from_mins(1)),
        "a clock that is wrong shuts nobody out"
    );
}

async fn everything_of_a_client_is_revoked_until_now(server: Server) {
    let chain = Chain::start(&server).await;
    let first = chain.token(&server).await;
    let (second, _) = exchanged(&server, &chain.orders, &first, "").await;
    server.clock.advance(Duration::from_millis(1));
    // `orders` acts in the second token, and the first is none of its.
    let body = json!({ "kind": "client", "subject": "orders" });
    chain.api(&server, "POST", "/revocations", body).await.expect(201);
    assert_eq!(introspect(&server, &chain.orders, &first).await["active"], true);
    assert_eq!(introspect(&server, &chain.payments, &second).await, inactive());
    server.clock.advance(Duration::from_millis(1));
    let (fresh, _) = exchanged(&server, &chain.orders, &first, "").await;
    assert_eq!(introspect(&server, &chain.payments, &fresh).await["active"], true, "in the same second");
    let body = json!({ "kind": "client", "subject": "front" });
    chain.api(&server, "POST", "/revocations", body).await.expect(201);
    assert_eq!(introspect(&server, &chain.orders, &first).await, inactive());
    assert_eq!(introspect(&server, &chain.payments, &fresh).await, inactive(), "it is about front");
    for (body, status) in [
        (json!({ "kind": "client", "subject": "nobody" }), 404),
        (json!({ "kind": "client", "subject": "" }), 422),
        (json!({ "kind": "chain", "subject": "short" }), 422),
        (json!({ "kind": "token", "subject": "x y" }), 422),
        (json!({ "kind": "everything", "subject": "x" }), 422),
    ] {
        let answer = chain.api(&server, "POST", "/revocations", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let auditor = server.api_token("auditor").await;
    let body = json!({ "kind": "client", "subject": "front" });
    server.api("POST", "/revocations", &auditor, &[], body).await.expect_problem(403, "forbidden");
}

async fn a_revocation_survives_a_restart(server: Server) {
    let chain = Chain::start(&server).await;
    let (token, other) = (chain.token(&server).await, chain.token(&server).await);
    assert_eq!(revoke(&server, &chain.front, &token).await.status, 200);
    let server = Box::pin(server.restart_with(|_| {})).await.unwrap();
    assert_eq!(introspect(&server, &chain.orders, &token).await, inactive());
    assert_eq!(introspect(&server, &chain.orders, &other).await["active"], true);
    server.app.stop().await.unwrap();
}

async fn a_database_that_is_away_is_503_and_never_inactive(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let [of_another_key, forged] = foreign(&server, &token).await;
    assert_eq!(
        introspect(&server, &chain.orders, &of_another_key).await,
        inactive(),
        "while changes come in"
    );
    // Of whoever operates nothing it is not known either whether that is still so.
    assert_eq!(introspect(&server, &chain.front, &token).await, inactive(), "while changes come in");
    server.database.execute("ALTER TABLE changes RENAME TO away").await;
    server.database.execute("ALTER TABLE revocations RENAME TO gone").await;
    // What is in memory is fresh for a while; to take something back, the database is needed.
    let answer = revoke(&server, &chain.front, &token).await;
    answer.expect_problem(503, "unavailable");
    let headers = [&*chain.orders.basic(), "Content-Type: application/x-www-form-urlencoded"];
    // What is not known here may have been made elsewhere a moment ago: another replica's key, an operator.
    for (asker, token) in [(&chain.orders, &of_another_key), (&chain.front, &token)] {
        let headers = [&*asker.basic(), "Content-Type: application/x-www-form-urlencoded"];
        within_a_second("nothing is said of what is not known", async || {
            let answer = server.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await;
            answer.status == 503 && answer.header("retry-after").is_some()
        })
        .await;
    }
    let answer = revoke(&server, &chain.front, &of_another_key).await;
    answer.expect_problem(503, "unavailable");
    assert_eq!(introspect(&server, &chain.orders, &forged).await, inactive(), "our key has not signed it");
    assert_eq!(introspect(&server, &chain.orders, &token).await["active"], true, "and this is known");
    let body = format!("token={token}");
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = server.send("POST", "/oauth2/introspect", &headers, &body).await;
        if answer.status == 503 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
        assert_eq!(answer.expect(200)["active"], true, "never inactive");
        assert!(tokio::time::Instant::now() < end, "it believes its memory for too long");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.database.execute("ALTER TABLE gone RENAME TO revocations").await;
    server.database.execute("ALTER TABLE away RENAME TO changes").await;
}

async fn a_forged_token_with_a_real_jti_revokes_nothing_rfc7009_2_1(server: Server) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let (_, mut claims) = verified(&server, &token).await;
    claims["client_id"] = json!("orders");
    let mut parts = token.split('.');
    let (header, signature) = (parts.next().unwrap(), parts.nth(1).unwrap());
    for header in [header, "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0"] {
        let forged = format!("{header}.{}.{signature}", BASE64URL.encode(claims.to_string()));
        assert_eq!(revoke(&server, &chain.orders, &forged).await.status, 200, "RFC 7009 section 2.2");
    }
    for forged in foreign(&server, &token).await {
        assert_eq!(
            revoke(&server, &chain.front, &forged).await.status,
            200,
            "not even for whom it was issued to"
        );
    }
    assert_eq!(introspect(&server, &chain.orders, &token).await["active"], true);
}

async fn revoked_keys_sign_nothing_that_counts(server: Server) {
    let chain = Chain::start(&server).await;
    let token = chain.token(&server).await;
    let header = verified(&server, &token).await.0;
    server.clock.advance(Duration::from_secs(1));
    let path = format!("/signing-keys/{}/revoke", header["kid"].as_str().unwrap());
    // The API's own token was signed with it: the command line is left.
    let revoked =
        crate::harness::jeton(&server.database, &["keys", "revoke", header["kid"].as_str().unwrap()]);
    assert_eq!(revoked["kid"], header["kid"], "{path}");
    within_a_second("the key signs nothing that counts", async || {
        introspect(&server, &chain.orders, &token).await == inactive()
    })
    .await;
    let refused = exchange(&server, &chain.orders, &token, "").await;
    refused.expect_refusal("a token of a revoked key", 400, "invalid_request");
    let ask = format!("{GRANT}&resource=https://orders.example");
    within_a_second("a fresh key signs", async || server.token(&chain.front, &ask).await.status == 200).await;
    let fresh = access_token(&server.token(&chain.front, &ask).await);
    assert_eq!(introspect(&server, &chain.orders, &fresh).await["active"], true);
    let again =
        exchange(&server, &chain.orders, &fresh, &format!("requested_token_type={ACCESS_TOKEN}")).await;
    assert_eq!(again.expect(200)["issued_token_type"], ACCESS_TOKEN);
}
