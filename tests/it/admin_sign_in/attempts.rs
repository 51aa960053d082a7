//! How often one may try.

use std::time::Duration;

use crate::harness::{Answer, Browser, Engine, PASSWORD, Server, both_engines};

both_engines!(
    attempts_at_an_account_wait_longer_and_longer_on_every_replica,
    an_address_that_tries_many_names_waits_too,
);

/// What somebody sees who tries, but for the name.
fn seen(answer: &Answer, name: &str) -> (u16, Option<String>, String) {
    let retry_after = answer.header("retry-after").map(ToOwned::to_owned);
    let body = answer.body.replace(name, "NAME");
    (answer.status, retry_after, body)
}

async fn attempts_at_an_account_wait_longer_and_longer_on_every_replica(server: Server) {
    server.first("ada").await;
    let replica = server.replica().await;
    let mut browsers = [Browser::new(&server), Browser::new(&replica)];
    // The name that nobody has is answered like the one that somebody has.
    let mut same = async |password: &str, at: usize| {
        let known = browsers[at % 2].sign_in("ada", password).await;
        let unknown = browsers[at % 2].sign_in("nobody", "whatever it may be").await;
        assert_eq!(seen(&known, "ada"), seen(&unknown, "nobody"));
        known
    };
    for at in 0..5 {
        same("wrong wrong wrong", at).await.expect_page(401, "The name or the password is wrong.");
    }
    for wait in [1, 2] {
        let answer = same(PASSWORD, 1).await;
        answer.expect_page(429, "too many attempts");
        let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((wait..=wait + 1).contains(&retry_after), "{retry_after}");
        server.clock.advance(Duration::from_secs(wait));
        same("wrong wrong wrong", 0).await.expect_page(401, "wrong");
    }
    server.clock.advance(Duration::from_secs(4));
    let mut browser = Browser::new(&replica);
    browser.sign_in("ada", PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");

    let refused = server.events("sign_in_refused").await;
    assert!(refused.iter().any(|event| event["claimed_name"] == "ada"), "{refused:?}");
    for event in &refused {
        assert!(
            !event.to_string().contains("nobody\"") && !event.to_string().contains("wrong wrong"),
            "{event}"
        );
    }
}

async fn an_address_that_tries_many_names_waits_too(server: Server) {
    let server = server.at_one_address();
    server.first("ada").await;
    // At once, because each but the first waits for the end of its second (decision 032).
    let guesses = (0..20).map(async |at| Browser::new(&server).sign_in(&format!("guess{at}"), "x").await);
    for guess in futures_util::future::join_all(guesses).await {
        guess.expect_page(401, "wrong");
    }
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await.expect_page(429, "too many attempts");
    server.clock.advance(Duration::from_secs(2));
    browser.sign_in("ada", PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_not_signed_in_sends_much() {
    let server = Server::start(Engine::Sqlite).await;
    let mut browser = Browser::new(&server);
    let long = "x".repeat(65 * 1_024);
    for path in ["/admin/sign-in", "/admin/second-factor", "/admin/set-up"] {
        browser.post(path, &[("name", &long)]).await.expect_page(413, "64 KiB");
    }
    let many = vec![("name", "ada"); 2_001];
    browser.post("/admin/sign-in", &many).await.expect_page(413, "2,000 fields");
}
