//! Client authentication: RFC 6749 §2.3, RFC 7617, DESIGN §4.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Answer, Client, Server, basic, both_engines};
use crate::token::GRANT;
use jeton::admin::By;
use jeton::config::Config;
use jeton::domain::ids::{ClientId, SecretId};

both_engines!(
    wrong_credentials_are_401_rfc6749_5_2,
    malformed_basic_credentials_are_401_rfc7617_2,
    the_scheme_is_of_any_case_rfc9110_11_1,
    another_scheme_is_401_rfc6749_5_2,
    no_credentials_at_all_are_401_rfc6749_5_2,
    id_and_secret_are_form_urlencoded_rfc6749_2_3_1,
    a_generated_secret_works_in_the_body_rfc6749_2_3_1,
    a_typing_error_in_a_generated_secret_is_refused,
    several_secrets_work_at_once,
    a_refused_secret_works_once_it_is_added,
    an_expired_secret_is_refused_and_the_others_work,
    a_token_never_outlives_its_secret_or_its_client,
    a_revoked_secret_is_refused_at_once,
    a_disabled_client_is_refused_at_once_and_works_again_when_enabled,
    an_expired_client_is_refused,
    a_deleted_client_is_refused_at_once_and_its_secret_does_not_come_back,
    a_client_uses_only_the_methods_it_is_registered_for_rfc6749_2_3,
    a_client_is_held_to_its_networks,
    forwarded_addresses_of_untrusted_peers_are_ignored,
    forwarded_addresses_of_trusted_proxies_count,
    one_method_in_one_request_rfc6749_2_3,
    a_client_names_itself_once_rfc6749_3_2_1,
    every_reason_looks_the_same,
);

const CHOSEN: &str = "s: %+é and sixteen+";

fn client_id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// Asserts a refused authentication, and the reason that only the audit has.
async fn refused(server: &Server, row: &str, answer: &Answer, reason: &str) {
    answer.expect_refusal(row, 401, "invalid_client");
    assert_eq!(server.recorded(answer).await.detail["reason"], reason, "{row}");
}

const NO_SUCH: &str = "the secret is none of the client's";

async fn set_enabled(server: &Server, id: &str, enabled: bool) {
    server.app.admin().set_client_enabled(&By::system(), &client_id(id), enabled).await.unwrap();
}

/// Revokes the client's only secret.
async fn revoke(server: &Server, id: &str) {
    let secrets = server.app.admin().secrets(&By::system(), &client_id(id)).await.unwrap();
    let [only] = &secrets[..] else { panic!("{secrets:?}") };
    revoke_one(server, id, only.secret_id.as_str()).await;
}

async fn revoke_one(server: &Server, id: &str, secret_id: &str) {
    let secret_id = SecretId::new(secret_id).unwrap();
    server.app.admin().revoke_secret(&By::system(), &client_id(id), &secret_id).await.unwrap();
}

/// A request that authenticates in the body.
async fn post(server: &Server, client: &Client) -> Answer {
    let mut body = url::form_urlencoded::Serializer::new(GRANT.to_owned());
    body.append_pair("client_id", &client.id).append_pair("client_secret", &client.secret);
    server.form(&[], &body.finish()).await
}

// --- Credentials ---

async fn wrong_credentials_are_401_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    let rows = [
        ("wrong, as a person would choose it", "billing", "a wrong but long secret", NO_SUCH),
        ("the right one of another client", "billing", &other.secret, NO_SUCH),
        ("a part of the right one", "billing", &billing.secret[..40], NO_SUCH),
        ("in another case", "billing", &billing.secret.to_uppercase(), NO_SUCH),
        ("one character more", "billing", &format!("{}0", billing.secret), NO_SUCH),
        ("empty", "billing", "", NO_SUCH),
        ("very long", "billing", &"x".repeat(20_000), NO_SUCH),
        ("unknown client", "nobody", &billing.secret, "no client has this client_id"),
        ("the client's id in another case", "Billing", &billing.secret, "no client has this client_id"),
        ("a role's name", "order-reader", &billing.secret, "no client has this client_id"),
    ];
    for (row, id, secret, reason) in rows {
        // Twice: what was refused once is remembered.
        for _ in 0..2 {
            refused(&server, row, &server.token(&Client::new(id, secret), GRANT).await, reason).await;
        }
        if !secret.is_empty() {
            refused(&server, row, &post(&server, &Client::new(id, secret)).await, reason).await;
        }
    }
    server.token(&billing, GRANT).await.expect(200);
}

async fn malformed_basic_credentials_are_401_rfc7617_2(server: Server) {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    let billing = server.billing().await;
    let pair = format!("billing:{}", billing.secret);
    let unpadded = (0..3).map(|n| STANDARD_NO_PAD.encode(format!("{pair}{}", "x".repeat(n))));
    let unpadded = unpadded.into_iter().find(|text| text.len() % 4 != 0).unwrap();
    let good = STANDARD.encode(&pair);
    for (row, credentials) in [
        ("not base64", "!!!!".to_owned()),
        ("not even text", "\u{ff}".to_owned()),
        ("nothing", String::new()),
        ("base64url", URL_SAFE.encode("billing:???>>>")),
        ("no padding", unpadded),
        ("too much padding", format!("{good}====")),
        ("a stray space before", format!(" {good}")),
        ("a stray space within", format!("{} {}", &good[..8], &good[8..])),
        ("a tab before", format!("\t{good}")),
        ("not encoded at all", pair.clone()),
        ("something after it", format!("{good}, Bearer x")),
    ] {
        let answer = server.form(&[&format!("Authorization: Basic {credentials}")], GRANT).await;
        answer.expect_refusal(row, 401, "invalid_client");
    }
    for (row, text) in [
        ("no colon", "billing".to_owned()),
        ("empty", String::new()),
        ("empty id", format!(":{}", billing.secret)),
        ("empty secret", "billing:".to_owned()),
        ("a colon alone", ":".to_owned()),
        ("a malformed escape in the id", format!("bill%zzing:{}", billing.secret)),
        ("a malformed escape in the secret", format!("{pair}%")),
        ("no UTF-8 in the id", format!("%ff:{}", billing.secret)),
        ("a NUL in the id", format!("billing%00:{}", billing.secret)),
        ("a NUL after the secret", format!("{pair}%00")),
        ("a space in the id", format!("billing+:{}", billing.secret)),
    ] {
        let answer = server.form(&[&basic(&text)], GRANT).await;
        answer.expect_refusal(row, 401, "invalid_client");
    }
    server.form(&[&basic(&pair)], GRANT).await.expect(200);
}

async fn the_scheme_is_of_any_case_rfc9110_11_1(server: Server) {
    let billing = server.billing().await;
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        let header = billing.basic().replace("Basic", scheme);
        let answer = server.form(&[&header], GRANT).await;
        assert_eq!(answer.status, 200, "{scheme}: {answer:?}");
    }
}

async fn another_scheme_is_401_rfc6749_5_2(server: Server) {
    let billing = server.billing().await;
    let credentials = billing.basic().replace("Authorization: Basic ", "");
    let reason = "the request has no client credential that is understood";
    for scheme in ["Bearer", "Negotiate", "Digest", "Basi", "Basics", "DPoP"] {
        let answer = server.form(&[&format!("Authorization: {scheme} {credentials}")], GRANT).await;
        refused(&server, scheme, &answer, reason).await;
    }
    let bare = server.form(&[&format!("Authorization: {credentials}")], GRANT).await;
    refused(&server, "no scheme", &bare, reason).await;
}

async fn no_credentials_at_all_are_401_rfc6749_5_2(server: Server) {
    server.billing().await;
    let reason = "the request has no client credential that is understood";
    for (row, body) in [
        ("nothing", GRANT),
        ("an id without a secret", &*format!("{GRANT}&client_id=billing")),
        ("an id with an empty secret", &*format!("{GRANT}&client_id=billing&client_secret=")),
        ("an empty secret", &*format!("{GRANT}&client_secret=")),
    ] {
        refused(&server, row, &server.form(&[], body).await, reason).await;
    }
    let empty = server.form(&["Authorization:"], GRANT).await;
    refused(&server, "an empty header", &empty, reason).await;
}

async fn id_and_secret_are_form_urlencoded_rfc6749_2_3_1(server: Server) {
    server.billing().await;
    let id = "a:b%c+dé";
    server.client(json!({ "client_id": id, "roles": ["order-reader"] })).await;
    server.secret(id, json!({ "secret": CHOSEN })).await;
    let client = Client::new(id, CHOSEN);

    for answer in [
        server.token(&client, GRANT).await,
        post(&server, &client).await,
        server.form(&[&basic("a%3ab%25c%2Bd%C3%A9:s%3a%20%25%2b%c3%a9%20and%20sixteen%2b")], GRANT).await,
        // What needs no escape may have one, and a colon in the secret needs none.
        server.form(&[&basic("%61%3Ab%25c%2Bdé:s:+%25%2B%C3%A9+and+sixteen%2B")], GRANT).await,
    ] {
        assert_eq!(answer.expect(200)["scope"], "orders:read");
        let event = server.recorded(&answer).await;
        assert_eq!(event.client_id.as_deref(), Some(id));
    }
    for (row, text) in [
        ("not encoded", format!("{id}:{CHOSEN}")),
        ("the plus of the secret not encoded", "a%3Ab%25c%2Bd%C3%A9:s%3A+%25+%C3%A9+and+sixteen+".to_owned()),
        ("the colon of the id not encoded", "a:b%25c%2Bd%C3%A9:s%3A+%25%2B%C3%A9+and+sixteen%2B".to_owned()),
        ("encoded twice", "a%253Ab%2525c%252Bd%25C3%25A9:s%253A%2B%2525%252B".to_owned()),
    ] {
        server.form(&[&basic(&text)], GRANT).await.expect_refusal(row, 401, "invalid_client");
    }
}

async fn a_generated_secret_works_in_the_body_rfc6749_2_3_1(server: Server) {
    let billing = server.billing().await;
    let answer = post(&server, &billing).await;
    assert_eq!(answer.expect(200)["scope"], "orders:read");
    assert_eq!(server.recorded(&answer).await.detail["auth_method"], "client_secret_post");
}

async fn a_typing_error_in_a_generated_secret_is_refused(server: Server) {
    let billing = server.billing().await;
    assert!(billing.secret.starts_with("jtn_") && billing.secret.len() == 53, "DESIGN 4");
    for at in [0, 4, 20, 46, 47, 52] {
        let mut wrong = billing.secret.clone().into_bytes();
        wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
        let wrong = Client::new("billing", std::str::from_utf8(&wrong).unwrap());
        refused(&server, &format!("letter {at}"), &server.token(&wrong, GRANT).await, NO_SUCH).await;
    }
    server.token(&billing, GRANT).await.expect(200);
}

// --- Lives ---

async fn several_secrets_work_at_once(server: Server) {
    let first = server.billing().await;
    let second = server.secret("billing", json!({})).await;
    server.secret("billing", json!({ "secret": CHOSEN })).await;
    let another = "another one that a person chose";
    server.secret("billing", json!({ "secret": another })).await;
    let mut used = Vec::new();
    // Twice: what was verified once is remembered.
    for secret in [&*first.secret, &second.secret, CHOSEN, another].repeat(2) {
        let answer = server.token(&Client::new("billing", secret), GRANT).await;
        answer.expect(200);
        used.push(server.recorded(&answer).await.detail["credential_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(used[..4], used[4..], "the audit tells which one was used");
    assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), 4, "{used:?}");
}

/// That a secret was refused is remembered too, but only for the secrets that the client had then.
async fn a_refused_secret_works_once_it_is_added(server: Server) {
    let billing = server.billing().await;
    let chosen = Client::new("billing", CHOSEN);
    refused(&server, "not yet", &server.token(&chosen, GRANT).await, NO_SUCH).await;
    server.secret("billing", json!({ "secret": "another one that a person chose" })).await;
    refused(&server, "another one", &server.token(&chosen, GRANT).await, NO_SUCH).await;
    server.secret("billing", json!({ "secret": CHOSEN })).await;
    server.token(&chosen, GRANT).await.expect(200);

    // The same for a client that there was not.
    let nobody = Client::new("later", CHOSEN);
    refused(&server, "no client", &server.token(&nobody, GRANT).await, "no client has this client_id").await;
    server.client(json!({ "client_id": "later", "roles": ["order-reader"] })).await;
    refused(&server, "no such secret", &server.token(&nobody, GRANT).await, NO_SUCH).await;
    server.secret("later", json!({ "secret": CHOSEN })).await;
    server.token(&nobody, GRANT).await.expect(200);
    server.token(&billing, GRANT).await.expect(200);
}

async fn an_expired_secret_is_refused_and_the_others_work(server: Server) {
    let lasting = server.billing().await;
    let short = server.secret("billing", json!({ "expires_in": 600 })).await;
    server.secret("billing", json!({ "secret": CHOSEN, "expires_at": "2026-11-22T08:10:00Z" })).await;
    let chosen = Client::new("billing", CHOSEN);
    server.clock.advance(Duration::from_secs(599));
    for client in [&lasting, &short, &chosen] {
        server.token(client, GRANT).await.expect(200);
    }
    server.clock.advance(Duration::from_secs(1));
    for client in [&short, &chosen] {
        let answer = server.token(client, GRANT).await;
        answer.expect_oauth_error(401, "invalid_client");
        let reason = server.recorded(&answer).await.detail["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("secret ") && reason.ends_with(" is expired"), "{reason}");
    }
    server.token(&lasting, GRANT).await.expect(200);
}

async fn a_token_never_outlives_its_secret_or_its_client(server: Server) {
    let lasting = server.billing().await;
    let short = server.secret("billing", json!({ "expires_in": 100 })).await;
    let life = async |client: &Client| server.token(client, GRANT).await.expect(200)["expires_in"].clone();
    assert_eq!(life(&lasting).await, 300);
    assert_eq!(life(&short).await, 100);
    server.clock.advance(Duration::from_millis(30_500));
    assert_eq!(life(&short).await, 70, "issued in the second that began before");

    let new =
        json!({ "client_id": "brief", "expires_at": "2026-11-22T08:02:00Z", "roles": ["order-reader"] });
    let brief = server.client(new).await;
    let briefer = server.secret("brief", json!({ "expires_at": "2026-11-22T08:01:30Z" })).await;
    let longer = server.secret("brief", json!({ "expires_at": "2026-11-22T09:00:00Z" })).await;
    assert_eq!(
        (life(&brief).await, life(&briefer).await, life(&longer).await),
        (90.into(), 60.into(), 90.into())
    );

    let token = crate::token::claims(&server, &brief, GRANT).await;
    assert_eq!(token["exp"], 1_795_334_520, "the client's end");

    // A JWT counts whole seconds, so this token would be expired on arrival.
    let ending = server.secret("billing", json!({ "expires_at": "2026-11-22T08:00:30.9Z" })).await;
    let reason = "the client or its credential ends within this second";
    refused(&server, "no whole second left", &server.token(&ending, GRANT).await, reason).await;
}

async fn a_revoked_secret_is_refused_at_once(server: Server) {
    let billing = server.billing().await;
    let other = server.secret("billing", json!({})).await;
    server.secret("billing", json!({ "secret": CHOSEN })).await;
    let chosen = Client::new("billing", CHOSEN);
    for revoked in [&billing, &chosen] {
        let answer = server.token(revoked, GRANT).await;
        answer.expect(200);
        let secret_id = server.recorded(&answer).await.detail["credential_id"].as_str().unwrap().to_owned();
        revoke_one(&server, "billing", &secret_id).await;
        refused(&server, "revoked", &server.token(revoked, GRANT).await, NO_SUCH).await;
        server.token(&other, GRANT).await.expect(200);
    }
}

async fn a_disabled_client_is_refused_at_once_and_works_again_when_enabled(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    set_enabled(&server, "billing", false).await;
    let answer = server.token(&billing, GRANT).await;
    refused(&server, "disabled", &answer, "the client is disabled").await;
    set_enabled(&server, "billing", true).await;
    server.token(&billing, GRANT).await.expect(200);
}

async fn an_expired_client_is_refused(server: Server) {
    server.billing().await;
    let new =
        json!({ "client_id": "brief", "expires_at": "2026-11-22T09:00:00Z", "roles": ["order-reader"] });
    let brief = server.client(new).await;
    server.clock.advance(Duration::from_secs(3_599));
    assert_eq!(server.token(&brief, GRANT).await.expect(200)["expires_in"], 1);
    server.clock.advance(Duration::from_secs(1));
    refused(&server, "expired", &server.token(&brief, GRANT).await, "the client is expired").await;
}

async fn a_deleted_client_is_refused_at_once_and_its_secret_does_not_come_back(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, GRANT).await.expect(200);
    server.app.admin().delete_client(&By::system(), &client_id("billing"), 1).await.unwrap();
    let answer = server.token(&billing, GRANT).await;
    refused(&server, "deleted", &answer, "no client has this client_id").await;

    let anew = server.client(json!({ "client_id": "billing", "roles": ["order-reader"] })).await;
    refused(&server, "of the one before", &server.token(&billing, GRANT).await, NO_SUCH).await;
    server.token(&anew, GRANT).await.expect(200);
}

async fn a_client_uses_only_the_methods_it_is_registered_for_rfc6749_2_3(server: Server) {
    server.billing().await;
    for (method, other) in
        [("client_secret_basic", "client_secret_post"), ("client_secret_post", "client_secret_basic")]
    {
        let new = json!({ "client_id": method, "auth_methods": [method], "roles": ["order-reader"] });
        let client = server.client(new).await;
        let (by_basic, by_post) = (server.token(&client, GRANT).await, post(&server, &client).await);
        let (good, bad) = if method.ends_with("basic") { (by_basic, by_post) } else { (by_post, by_basic) };
        good.expect(200);
        assert_eq!(server.recorded(&good).await.detail["auth_method"], method);
        refused(&server, other, &bad, &format!("the client is not registered for {other}")).await;
    }
}

// --- Places ---

const OUTSIDE: &str = "the caller's address is outside the client's allowed networks";

/// A client that may call from these networks only.
async fn settled(server: &Server, id: &str, networks: &[&str]) -> Client {
    server.client(json!({ "client_id": id, "allowed_networks": networks, "roles": ["order-reader"] })).await
}

async fn a_client_is_held_to_its_networks(server: Server) {
    let server = server.at_one_address();
    server.billing().await;
    for (id, networks, inside) in [
        ("a", &["127.0.0.0/8"][..], true),
        ("b", &["127.0.0.1"], true),
        ("c", &["192.0.2.0/24", "127.0.0.1/32"], true),
        ("d", &["192.0.2.0/24"], false),
        ("e", &["127.0.0.2"], false),
        ("f", &["::1/128", "fd00::/8"], false),
    ] {
        let client = settled(&server, id, networks).await;
        let answer = server.token(&client, GRANT).await;
        if inside {
            assert_eq!(answer.status, 200, "{networks:?}: {answer:?}");
        } else {
            refused(&server, id, &answer, OUTSIDE).await;
        }
        assert_eq!(server.recorded(&answer).await.origin["address"], "127.0.0.1");
    }
}

async fn forwarded_addresses_of_untrusted_peers_are_ignored(server: Server) {
    let server = server.at_one_address();
    server.billing().await;
    let outside = settled(&server, "outside", &["192.0.2.0/24"]).await;
    let inside = settled(&server, "inside", &["127.0.0.0/8"]).await;
    for line in ["X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7", "Forwarded: for=192.0.2.7"] {
        let answer = server.form(&[&outside.basic(), line], GRANT).await;
        refused(&server, line, &answer, OUTSIDE).await;
        assert_eq!(server.recorded(&answer).await.origin["address"], "127.0.0.1");
        server.form(&[&inside.basic(), line], GRANT).await.expect(200);
    }
}

async fn forwarded_addresses_of_trusted_proxies_count(server: Server) {
    server.billing().await;
    let anywhere = settled(&server, "anywhere", &[]).await;
    let settled = settled(&server, "settled", &["192.0.2.0/24"]).await;
    let trust = |config: &mut Config| {
        config.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|net| net.parse().unwrap()).to_vec();
    };
    let server = server.restart_with(trust).await.unwrap();

    for (lines, address) in [
        (&["X-Forwarded-For: 192.0.2.7"][..], Some("192.0.2.7")),
        (&["x-forwarded-for:  192.0.2.7 , 10.0.0.9"], Some("192.0.2.7")),
        (&["X-Forwarded-For: 203.0.113.5, 192.0.2.7"], Some("192.0.2.7")),
        (&["X-Forwarded-For: 203.0.113.5", "X-Forwarded-For: 192.0.2.7"], Some("192.0.2.7")),
        (&["X-Forwarded-For: ::ffff:192.0.2.7"], Some("192.0.2.7")),
        // The leftmost entries are the caller's own words.
        (&["X-Forwarded-For: 192.0.2.7, 203.0.113.5"], Some("203.0.113.5")),
        (&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 203.0.113.5"], Some("203.0.113.5")),
        (&["X-Forwarded-For: 192.0.2.7, nonsense"], None),
        (&["X-Forwarded-For: "], None),
        (&[], None),
        (&["X-Forwarded-For: 10.0.0.9"], None),
    ] {
        let row = format!("{lines:?}");
        let mut headers = vec![settled.basic()];
        headers.extend(lines.iter().map(|line| (*line).to_owned()));
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = server.form(&headers, GRANT).await;
        if address == Some("192.0.2.7") {
            assert_eq!(answer.status, 200, "{row}: {answer:?}");
        } else {
            refused(&server, &row, &answer, OUTSIDE).await;
        }
        let origin = server.recorded(&answer).await.origin;
        assert_eq!(origin["address"].as_str(), address, "{row}");
    }
    server.token(&anywhere, GRANT).await.expect(200);
}

// --- One method ---

async fn one_method_in_one_request_rfc6749_2_3(server: Server) {
    let billing = server.billing().await;
    let (header, secret) = (billing.basic(), &billing.secret);
    let wrong = basic("billing:wrong");
    for (row, headers, body) in [
        ("both, the same", &[&*header][..], format!("{GRANT}&client_id=billing&client_secret={secret}")),
        ("both, no id in the body", &[&header], format!("{GRANT}&client_secret={secret}")),
        ("a wrong one in the body", &[&header], format!("{GRANT}&client_id=billing&client_secret=x")),
        ("a wrong one in the header", &[&wrong], format!("{GRANT}&client_id=billing&client_secret={secret}")),
        ("two headers, the same", &[&header, &header], GRANT.to_owned()),
        ("two headers, one wrong", &[&header, &wrong], GRANT.to_owned()),
        ("two headers, the wrong one first", &[&wrong, &header], GRANT.to_owned()),
        (
            "another scheme and the body",
            &["Authorization: Bearer x"],
            format!("{GRANT}&client_id=billing&client_secret={secret}"),
        ),
        ("two schemes", &[&header, "Authorization: Bearer x"], GRANT.to_owned()),
        ("two schemes, the other first", &["Authorization: Bearer x", &header], GRANT.to_owned()),
    ] {
        server.form(headers, &body).await.expect_refusal(row, 400, "invalid_request");
    }
    let empty = server.form(&[&header], &format!("{GRANT}&client_id=billing&client_secret=")).await;
    assert_eq!(empty.expect(200)["scope"], "orders:read", "RFC 6749 3.2: an empty one is not sent");
}

async fn a_client_names_itself_once_rfc6749_3_2_1(server: Server) {
    let billing = server.billing().await;
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    server.token(&billing, &format!("{GRANT}&client_id=billing")).await.expect(200);
    server.token(&billing, &format!("{GRANT}&client_id=")).await.expect(200);
    for (row, id) in [("another", &*other.id), ("unknown", "nobody"), ("another case", "Billing")] {
        let answer = server.token(&billing, &format!("{GRANT}&client_id={id}")).await;
        answer.expect_refusal(row, 400, "invalid_request");
    }
    for body in
        [format!("{GRANT}&client_secret={}", billing.secret), format!("{GRANT}&client_id=&client_secret=x")]
    {
        let told = server.form(&[], &body).await.expect_oauth_error(400, "invalid_request");
        assert!(told.contains("client_id"), "{told}");
    }
}

// --- What a refusal tells ---

/// DESIGN §4: unknown, wrong, disabled, expired: the same answer.
async fn every_reason_looks_the_same(server: Server) {
    let billing = server.billing().await;
    let new = |id: &str, more: serde_json::Value| {
        let mut new = json!({ "client_id": id, "roles": ["order-reader"] });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.client(new)
    };
    let disabled = new("disabled", json!({})).await;
    set_enabled(&server, "disabled", false).await;
    let expired = new("expired", json!({ "expires_at": "2026-11-22T08:30:00Z" })).await;
    let other_method = new("post-only", json!({ "auth_methods": ["client_secret_post"] })).await;
    let elsewhere = new("elsewhere", json!({ "allowed_networks": ["192.0.2.0/24"] })).await;
    let revoked = new("revoked", json!({})).await;
    revoke(&server, "revoked").await;
    let out_of_date = server.secret("billing", json!({ "expires_in": 60 })).await;
    let deleted = new("deleted", json!({})).await;
    server.app.admin().delete_client(&By::system(), &client_id("deleted"), 1).await.unwrap();
    server.clock.advance(Duration::from_hours(1));

    let expected = server.token(&Client::new("nobody", &billing.secret), GRANT).await;
    expected.expect_oauth_error(401, "invalid_client");
    let mut mistyped = billing.secret.clone();
    mistyped.replace_range(10..11, if &mistyped[10..11] == "x" { "y" } else { "x" });
    let rows = [
        ("unknown client, chosen secret", Client::new("nobody", CHOSEN)),
        ("an id that cannot be one", Client::new("no body", CHOSEN)),
        ("wrong secret", Client::new("billing", CHOSEN)),
        ("no secret", Client::new("billing", "")),
        ("mistyped secret", Client::new("billing", &mistyped)),
        ("another client's secret", Client::new("billing", &elsewhere.secret)),
        ("disabled", disabled),
        ("expired client", expired),
        ("wrong method", other_method),
        ("outside its networks", elsewhere),
        ("revoked secret", revoked),
        ("expired secret", out_of_date),
        ("deleted", deleted),
    ];
    for (row, client) in rows {
        let answer = server.token(&client, GRANT).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{row}");
    }
    server.token(&billing, GRANT).await.expect(200);
}
