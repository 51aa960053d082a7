//! What comes back with the browser, and from whom.

use std::time::Duration;

use super::{BACK, BEGIN, Browser, reason, reasons, trusting};
use crate::harness::{Browser as PasswordBrowser, Engine, PASSWORD, Server, both_engines};

both_engines!(an_answer_counts_once_in_the_browser_that_was_sent, starts_do_not_fill_the_store,);

async fn an_answer_counts_once_in_the_browser_that_was_sent(server: Server) {
    let (server, provider) = trusting(server).await;
    provider.person("1", "ada", &["ops"]);
    let mut victim = Browser::new(&server);
    let mut attacker = Browser::new(&server);

    // The attacker's own answer, put under the victim's nose, signs nobody in; with no cookie and with another one.
    let planted = provider.authorize(&attacker.begin().await);
    victim.get(&planted).await.expect_page(400, "was not begun in this browser");
    victim.begin().await;
    victim.get(&planted).await.expect_page(400, "was not begun in this browser");
    assert!(!victim.is_in().await);
    assert!(reasons(&server).await.iter().all(|why| why.ends_with("was begun in another browser")));
    // It is not used up by that.
    attacker.get(&planted).await.expect_redirect("/admin");

    // Once only: neither in the same browser, nor after the session ended.
    let mut browser = Browser::new(&server);
    let back = provider.authorize(&browser.begin().await);
    let begun = browser.cookies.clone();
    browser.get(&back).await.expect_redirect("/admin");
    let mut replaying = Browser { server: &server, cookies: begun };
    let answer = replaying.get(&back).await;
    answer.expect_page(400, "has ended already");
    assert!(!replaying.is_in().await && reason(&server, &answer).await.contains("was used before"));
    assert_eq!(provider.script().asked["token"], 2, "the code is not tried again");

    // Two windows of one browser may sign in at the same time.
    let mut two = Browser::new(&server);
    let (first, second) = (two.begin().await, two.begin().await);
    two.get(&provider.authorize(&second)).await.expect_redirect("/admin");
    two.get(&provider.authorize(&first)).await.expect_redirect("/admin");

    // Ten minutes, and not a moment longer.
    let back = provider.authorize(&browser.begin().await);
    server.clock.advance(Duration::from_mins(10));
    browser.get(&back).await.expect_page(400, "took longer than ten minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_an_answer_is_refused_with_its_reason() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    provider.person("1", "ada", &["ops"]);
    let issuer: String = url::form_urlencoded::byte_serialize(provider.issuer().as_bytes()).collect();
    for (change, status, page, why) in [
        (
            ("iss=", "iss=https%3A%2F%2Fevil.example%2F&x="),
            403,
            "does not hold",
            "from another provider: https://evil",
        ),
        (("&iss=", "&is="), 403, "does not hold", "does not say whom it is from"),
        (("code=", "nothing="), 403, "does not hold", "neither a code nor an error"),
        (("code=", "code=other&code="), 403, "does not hold", "has 'code' twice"),
        (("code=", "error=x&iss=a&x="), 403, "does not hold", "has 'iss' twice"),
        (
            ("code=", "error=access_denied&error_description=%3Cb%3E&code="),
            403,
            "(access_denied)",
            "says: access_denied",
        ),
        (("code=", "error=%3Cscript%3E&code="), 403, "(&#60;script&#62;)", "says: <script>"),
        (("code=", "code=made-up-"), 403, "does not hold", "refused the code: invalid_grant"),
        (("state=", "state=x&state="), 400, "begin again", "no state of ours"),
        (("state=", "stat="), 400, "begin again", "no state of ours"),
        (("state=", "state=AAAA&s="), 400, "begin again", "no state of ours"),
    ] {
        let mut browser = Browser::new(&server);
        let back = provider.authorize(&browser.begin().await);
        assert!(back.contains(&issuer) && back.starts_with(BACK));
        let answer = browser.get(&back.replacen(change.0, change.1, 1)).await;
        answer.expect_page(status, page);
        let reason = reason(&server, &answer).await;
        assert!(reason.contains(why), "{change:?}: {reason}");
        assert!(!browser.is_in().await);
    }
    // A provider that does not name itself need not, and then nothing is missed.
    provider.script().names_itself = false;
    server.clock.advance(Duration::from_mins(15));
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    // Nobody is sent elsewhere.
    let mut browser = Browser::new(&server);
    let answer = browser.get(&format!("{BEGIN}?next=https%3A%2F%2Fevil.example%2Fadmin")).await;
    let back = provider.authorize(answer.header("location").unwrap());
    browser.get(&back).await.expect_redirect("/admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_failing_waits() {
    let server = Server::start(Engine::Sqlite).await.at_one_address();
    let (server, provider) = trusting(server).await;
    provider.person("1", "ada", &["ops"]);
    let mut begun = Vec::new();
    for _ in 0..20 {
        server.clock.advance(Duration::from_millis(1));
        let mut browser = Browser::new(&server);
        let back = provider.authorize(&browser.begin().await).replacen("code=", "code=x", 1);
        begun.push((browser, back));
    }
    // At once, because each but the first waits for the end of its second (decision 032).
    let failing = begun.iter_mut().map(async |(browser, back)| browser.get(back).await);
    for failed in futures_util::future::join_all(failing).await {
        failed.expect_page(403, "does not hold");
    }
    let asked = provider.script().asked["token"];
    let mut browser = Browser::new(&server);
    let answer = browser.sign_in(&provider).await;
    answer.expect_page(429, "too many attempts from your address");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(provider.script().asked["token"], asked, "nobody makes Jeton ask as often as they like");
    server.clock.advance(Duration::from_secs(5));
    browser.sign_in(&provider).await.expect_redirect("/admin");
}

async fn starts_do_not_fill_the_store(server: Server) {
    let (server, _provider) = trusting(server.at_one_address()).await;
    let mut first = Browser::new(&server);
    first.begin().await;
    for _ in 0..60 {
        Browser::new(&server).begin().await;
        server.clock.advance(Duration::from_millis(1));
    }
    let count = server.database.texts("SELECT CAST(COUNT(*) AS TEXT) FROM sign_in_starts").await;
    assert_eq!(count, ["50"], "of one network");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_takes_nothing_else_along() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = server.first("ada").await;
    let name = ada.name;
    let (server, mut provider) = trusting(server).await;
    provider.go_away().await;
    let mut browser = Browser::new(&server);
    let answer = browser.get(BEGIN).await;
    answer.expect_page(503, "does not answer as it should");
    assert!(answer.header("retry-after").is_some() && browser.cookies.is_empty());
    let mut other = PasswordBrowser::new(&server);
    other.sign_in(name, PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");

    // Left alone for a moment, then found again.
    provider.come_back().await;
    provider.person("1", "grace", &["audit"]);
    browser.get(BEGIN).await.expect_page(503, "does not answer");
    assert!(!provider.script().asked.contains_key("configuration"));
    server.clock.advance(Duration::from_secs(11));
    browser.sign_in(&provider).await.expect_redirect("/admin");

    // Gone while somebody is on their way: a fault, no verdict, and no attempt of theirs.
    let mut browser = Browser::new(&server);
    let back = provider.authorize(&browser.begin().await);
    provider.go_away().await;
    browser.get(&back).await.expect_page(503, "does not answer");
    assert!(reasons(&server).await.is_empty());
    // A server starts without it.
    let server = server.restart_with(|_| {}).await.unwrap();
    assert_eq!(server.get("/readyz").await.status, 200);
}
