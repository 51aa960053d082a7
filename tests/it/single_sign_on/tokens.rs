//! ID tokens that do not count, and keys that change.

use std::time::Duration;

use serde_json::{Value, json};

use super::provider::{CLIENT_SECRET, Provider, Signed};
use super::{Browser, reason, trusting};
use crate::harness::{Engine, Server};

/// One lie, and the reason that the audit has for it.
async fn refused(server: &Server, provider: &Provider, why: &str) {
    let mut browser = Browser::new(server);
    let answer = browser.sign_in(provider).await;
    answer.expect_page(403, "answer does not hold");
    assert!(!browser.is_in().await, "{why}");
    let reason = reason(server, &answer).await;
    assert!(reason.contains(why), "{why}: {reason}");
    assert!(!reason.contains(CLIENT_SECRET));
    let mut script = provider.script();
    (script.lies, script.signed, script.token_answer) = (json!({}), Signed::Well, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_counts_only_whole() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    provider.person("1", "ada", &["ops"]);
    let now = crate::harness::START.as_seconds();
    for (lies, why) in [
        (json!({ "nonce": "of another sign-in" }), "Invalid nonce"),
        (json!({ "nonce": null }), "Invalid nonce"),
        (json!({ "aud": "somebody else" }), "Invalid audiences"),
        (json!({ "aud": ["jeton at home", "somebody else"] }), "Invalid audiences"),
        (json!({ "azp": "somebody else" }), "azp"),
        (json!({ "iss": "https://evil.example" }), "Invalid issuer"),
        (json!({ "exp": now - 61 }), "Expired"),
        (json!({ "iat": now - 661 }), "not made just now"),
        (json!({ "iat": now + 61 }), "not made just now"),
        (json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "at_hash"),
        (json!({ "sub": null }), "cannot be read"),
        (json!({ "sub": "a\u{0}b" }), "its subject"),
        (json!({ "exp": null }), "cannot be read"),
    ] {
        provider.script().lies = lies;
        refused(&server, &provider, why).await;
    }
    // What is a little off is a clock.
    provider.script().lies = json!({ "exp": now - 30, "iat": now + 30 });
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_counts_only_signed_by_a_published_key() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    provider.person("1", "ada", &["ops"]);
    for (signed, why) in [
        (Signed::None, "No signature"),
        (Signed::ByClientSecret, "Disallowed signature algorithm"),
        (Signed::ByAnother, "Crypto error"),
        (Signed::Cut, "Crypto error"),
    ] {
        provider.script().signed = signed;
        refused(&server, &provider, why).await;
    }
    let answer = |token: Value| json!({ "access_token": "x", "token_type": "Bearer", "id_token": token });
    for (status, body, why) in [
        (200, answer(Value::Null), "no ID token"),
        (200, answer(json!("a.b.c")), "cannot be read"),
        (200, json!({}), "cannot be read"),
        (
            400,
            json!({ "error": "invalid_grant", "error_description": "x" }),
            "refused the code: invalid_grant",
        ),
    ] {
        provider.script().token_answer = Some((status, body));
        refused(&server, &provider, why).await;
    }
    // That this Jeton is not known there is nobody's fault who signs in.
    provider.script().token_answer = Some((401, json!({ "error": "invalid_client" })));
    Browser::new(&server).sign_in(&provider).await.expect_page(503, "does not answer as it should");
    provider.script().token_answer = Some((502, json!("a proxy before it")));
    Browser::new(&server).sign_in(&provider).await.expect_page(503, "does not answer as it should");
    provider.script().token_answer = None;
    assert!(server.events("signed_in").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_found_and_an_unknown_one_does_not_make_jeton_ask_without_end() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    provider.person("1", "ada", &["ops"]);
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    assert_eq!(provider.script().asked["keys"], 1);

    provider.new_key("two", false);
    refused(&server, &provider, "No matching key").await;
    assert_eq!(provider.script().asked["keys"], 1, "it was asked a moment ago");
    server.clock.advance(Duration::from_secs(11));
    refused(&server, &provider, "No matching key").await;
    assert_eq!(provider.script().asked["keys"], 2, "asked once");
    provider.new_key("three", true);
    server.clock.advance(Duration::from_secs(11));
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    assert_eq!(provider.script().asked["keys"], 3);
    // What is published is not believed for ever.
    server.clock.advance(Duration::from_mins(15));
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    assert_eq!(provider.script().asked["keys"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_say_what_it_publishes_is_left_alone_for_a_while() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    provider.person("1", "ada", &["ops"]);
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    provider.new_key("two", false);
    provider.script().unwell = true;
    server.clock.advance(Duration::from_secs(11));
    let asked = || provider.script().asked["configuration"];
    let before = asked();
    for status in [503, 403] {
        let answer = Browser::new(&server).sign_in(&provider).await;
        assert_eq!((answer.status, asked()), (status, before + 1), "{answer:?}");
    }
    server.clock.advance(Duration::from_secs(11));
    Browser::new(&server).sign_in(&provider).await;
    assert_eq!(asked(), before + 2);
}
