//! Signing in to the pages: the first administrator, password, second factor, back-off, sessions.

mod accounts;
mod attempts;
mod overtaken;

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::harness::{Browser, Engine, PASSWORD, Server, both_engines, codes, field};

both_engines!(
    the_first_administrator_is_made_by_a_link_that_counts_once,
    a_code_counts_once,
    a_recovery_code_counts_once,
);

async fn the_first_administrator_is_made_by_a_link_that_counts_once(server: Server) {
    let link = server.app.first_link().unwrap().expose_secret().to_owned();
    assert!(link.starts_with("http://localhost:8080/admin/set-up?link="), "{link}");
    let (path, opener) =
        (link.strip_prefix("http://localhost:8080").unwrap(), link.split_once('=').unwrap().1);
    // A later start, of this or another replica, makes another link, and the one before is void.
    let replica = server.replica().await;
    let mut browser = Browser::new(&server);
    browser.get(path).await.expect_page(409, "this link was used");
    let link = replica.app.first_link().unwrap().expose_secret().to_owned();
    assert_ne!(link.split_once('=').unwrap().1, opener);
    let (path, opener) =
        (link.strip_prefix("http://localhost:8080").unwrap(), link.split_once('=').unwrap().1);

    browser.get(path).await.expect_page(200, "no administrator yet");
    for (name, password, again, problem) in [
        ("Ada", PASSWORD, PASSWORD, "&#39;Ada&#39; is not allowed"),
        ("ada", "tiny", "tiny", "it is too short"),
        ("ada", "password1234", "password1234", "easily guessed"),
        ("margaret", "margaret likes her name", "margaret likes her name", "it holds your name"),
        ("ada", PASSWORD, "another one altogether", "it is not the same"),
    ] {
        let fields = [("link", opener), ("name", name), ("password", password), ("again", again)];
        let answer = browser.post("/admin/set-up", &fields).await;
        answer.expect_page(422, problem);
        assert!(
            answer.body.contains(&format!("value=\"{name}\"")) && !answer.body.contains(password),
            "{answer:?}"
        );
        assert!(answer.body.contains("aria-invalid=\"true\""), "{answer:?}");
    }
    let fields = [("link", opener), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    let answer = browser.post("/admin/set-up", &fields).await;
    answer.expect_redirect("/admin/second-factor");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let again = browser.post("/admin/set-up", &fields).await;
    again.expect_page(409, "this link was used");
    again.expect_page(409, "<h1>This link does not count any more</h1>");
    assert!(!browser.is_in().await, "the second factor is still to come");

    let answer = browser.get("/admin/second-factor").await;
    answer.expect_page(200, "<svg class=\"qr\"");
    let secret = field(&answer, "secret");
    let answer = browser.post("/admin/second-factor", &[("secret", &secret), ("code", "000000")]).await;
    answer.expect_page(422, "it is not the code of this secret");
    assert_eq!(field(&answer, "secret"), secret, "what was scanned stays");
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::try_from_base32(&secret).unwrap());
    let code = totp.build().unwrap().generate(1_795_334_400).to_string();
    let before = browser.cookie.clone();
    let answer = browser.post("/admin/second-factor", &[("secret", &secret), ("code", &code)]).await;
    assert_eq!(codes(&answer).len(), 10, "{answer:?}");
    assert_ne!(browser.cookie, before, "another opener");
    assert!(browser.is_in().await);
    assert!(
        !Browser { server: &server, cookie: before }.is_in().await,
        "the one before the second factor is void"
    );

    let changed = server.events("changed").await;
    let mut actions: Vec<_> = changed
        .iter()
        .filter(|event| event["actor"]["type"] == "person")
        .map(|event| (event["action"].as_str().unwrap(), event["actor"]["name"].as_str().unwrap()))
        .collect();
    actions.sort_unstable();
    assert_eq!(actions, [("administrator.create", "ada"), ("administrator.second-factor", "ada")]);
    assert_eq!(server.events("signed_in").await.len(), 1);
    assert_no_secret(&server, &[PASSWORD, opener, &secret, &code]).await;
    let server = server.restart_with(|_| {}).await.unwrap();
    assert!(server.app.first_link().is_none());
}

/// Nothing of it stands in the database as it is.
async fn assert_no_secret(server: &Server, secrets: &[&str]) {
    let stored = server.database.dump().await;
    assert!(stored.contains("administrator.create") && stored.contains("$argon2id$v=19$m=19456,t=2,p=1$"));
    for secret in secrets {
        assert!(!stored.contains(secret), "the database has {secret}");
    }
}

async fn a_code_counts_once(server: Server) {
    let server = server.at_one_address();
    let ada = server.first("ada").await;
    let used = ada.code();
    let mut browser = Browser::new(&server);
    let answer = browser.sign_in(" ADA", PASSWORD).await;
    answer.expect_redirect("/admin/second-factor?next=%2Fadmin");
    browser.get("/admin").await.expect_redirect("/admin/sign-in?next=%2Fadmin");
    browser.get("/admin/account").await.expect_redirect("/admin/sign-in?next=%2Fadmin%2Faccount");
    browser.get("/admin/second-factor").await.expect_page(200, "Six digits");
    browser.post("/admin/second-factor", &[("code", &used)]).await.expect_page(401, "was used before");
    // Whoever knows the password only cannot replace the second factor.
    let own = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let fields = [("secret", own), ("code", "000000")];
    browser.post("/admin/second-factor", &fields).await.expect_page(401, "The code is wrong");
    server.clock.advance(Duration::from_secs(30));
    let fields = [("code", &*ada.code()), ("next", "/admin/account?x=y")];
    browser.post("/admin/second-factor", &fields).await.expect_redirect("/admin/account?x=y");
    assert!(browser.is_in().await);
    browser.get("/admin/sign-in?next=https://evil.example").await.expect_redirect("/admin");
    let answer = browser.post("/admin/sign-out", &[]).await;
    answer.expect_redirect("/admin/sign-in");
    assert!(browser.cookie.is_none() && answer.header("set-cookie").unwrap().contains("Max-Age=0"));

    let refused = server.events("sign_in_refused").await;
    let mut reasons: Vec<_> = refused.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["the code is wrong", "the one-time code was used before"]);
    assert!(
        refused
            .iter()
            .all(|event| event["claimed_name"] == "ada" && event["origin"]["address"] == "127.0.0.1")
    );
    let out = server.events("signed_out").await;
    assert!(out.len() == 1 && out[0]["actor"]["name"] == "ada" && out[0]["sessions"] == 1, "{out:?}");
}

async fn a_recovery_code_counts_once(server: Server) {
    let ada = server.first("ada").await;
    let typed = ada.recovery_codes[3].to_uppercase().replace('-', " ");
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    browser.post("/admin/second-factor", &[("code", &typed)]).await.expect_redirect("/admin");
    browser.get("/admin/account").await.expect_page(200, "9 recovery codes are left");
    let mut other = Browser::new(&server);
    other.sign_in("ada", PASSWORD).await;
    other.post("/admin/second-factor", &[("code", &typed)]).await.expect_page(401, "was used before");
    assert_eq!(ada.name, "ada");
    let fields = [("password", PASSWORD)];
    let answer = browser.post("/admin/account/recovery-codes", &fields).await;
    assert_eq!(codes(&answer).len(), 10, "{answer:?}");
    other.post("/admin/second-factor", &[("code", &ada.recovery_codes[0])]).await.expect_page(401, "wrong");
    let how: Vec<Value> = server.events("signed_in").await.iter().map(|event| event["how"].clone()).collect();
    assert!(how.len() == 2 && how.contains(&"recovery-code".into()), "{how:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_idle_and_at_its_end() {
    let server = Server::start(Engine::Sqlite).await;
    let mut ada = server.first("ada").await.browser;
    let minutes = |n| server.clock.advance(Duration::from_mins(n));
    for _ in 0..24 {
        minutes(29);
        assert!(ada.is_in().await);
    }
    minutes(23);
    assert!(ada.is_in().await, "11 h 59 min");
    minutes(1);
    assert!(!ada.is_in().await, "12 h, however much it is used");

    let cookie = server.signed_in("eve", "auditor").await;
    minutes(30);
    assert_eq!(server.send("GET", "/admin", &[&cookie], "").await.status, 303, "idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_second_factor_ends_after_ten_minutes() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = server.first("ada").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    server.clock.advance(Duration::from_mins(10));
    browser.post("/admin/second-factor", &[("code", &ada.code())]).await.expect_redirect("/admin/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_required_second_factor_a_password_is_enough() {
    let server =
        Server::start_with(Engine::Sqlite, |config| config.sign_in.second_factor_required = false).await;
    let link = server.app.first_link().unwrap().expose_secret().to_owned();
    let mut browser = Browser::new(&server);
    let opener = link.split_once('=').unwrap().1;
    let fields = [("link", opener), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.post("/admin/set-up", &fields).await.expect_redirect("/admin");
    let mut other = Browser::new(&server);
    other.sign_in("ada", PASSWORD).await.expect_redirect("/admin");
    assert!(browser.is_in().await && other.is_in().await);
    let how: Vec<Value> = server.events("signed_in").await.iter().map(|event| event["how"].clone()).collect();
    assert!(how.contains(&"link".into()) && how.contains(&"password".into()), "{how:?}");
    // Once it is required, the password leads to getting one.
    let server = server.restart_with(|config| config.sign_in.second_factor_required = true).await.unwrap();
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    browser.get("/admin/second-factor").await.expect_page(200, "<svg class=\"qr\"");
}
