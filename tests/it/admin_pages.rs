//! The frame of the pages: headers, cross-site requests, who is let in, the look of errors.

mod administrators;
mod clients;
mod registry;
pub(crate) mod routes;
mod secrets;

use jeton::admin::By;
use jeton::config::Issuer;

use crate::harness::{Answer, Engine, Server, both_engines};

/// Somebody who is signed in, at their browser.
pub(crate) struct Person<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Person<'a> {
    pub(crate) async fn signed_in(server: &'a Server, name: &str, role: &str) -> Self {
        Self { server, cookie: server.signed_in(name, role).await }
    }

    /// Opens a page below `/admin`.
    pub(crate) async fn open(&self, path: &str) -> Answer {
        let headers = [self.cookie.as_str(), "Sec-Fetch-Site: same-origin"];
        self.server.send("GET", &format!("/admin{path}"), &headers, "").await
    }

    /// Opens a page that must be there, and hands its HTML on.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.open(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// Sends a form.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [
            self.cookie.as_str(),
            "Sec-Fetch-Site: same-origin",
            "Content-Type: application/x-www-form-urlencoded",
        ];
        self.server.send("POST", &format!("/admin{path}"), &headers, body).await
    }

    /// Sends a form that must do what it says, and opens the page that follows.
    pub(crate) async fn does(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
        let to = answer.header("location").unwrap().to_owned();
        let page = self.page(to.strip_prefix("/admin").unwrap()).await;
        assert!(page.contains("role=\"status\""), "{to} tells what was done: {page}");
        page
    }
}

/// Asserts that a page has each of these texts.
#[track_caller]
pub(crate) fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "'{text}' is missing: {page}");
    }
}

both_engines!(whoever_is_signed_in_sees_the_dashboard);

const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'self'";

async fn whoever_is_signed_in_sees_the_dashboard(server: Server) {
    let cookie = server.signed_in("ada", "auditor").await;
    let answer = server.send("GET", "/admin", &[&cookie], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for part in [
        "<h1>Dashboard</h1>",
        "aria-current=\"page\"",
        ">ada</a>",
        "auditor",
        "href=\"#main\"",
        "lang=\"en\"",
    ] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    // Whatever the page refers to is there, and may be kept for ever.
    let assets: Vec<&str> =
        answer.body.split('"').filter(|part| part.starts_with("/admin/assets/")).collect();
    assert_eq!(assets.len(), 5);
    for asset in assets {
        let answer = server.get(asset).await;
        assert_eq!(answer.status, 200, "{asset}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(answer.header("content-security-policy"), Some(POLICY));
    }
    assert_eq!(server.get("/admin/assets/0000000000000000/admin.js").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_sign_in_and_back() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get("/admin?a=b").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/admin/sign-in?next=%2Fadmin%3Fa%3Db"))
    );
    for cookie in ["Cookie: jeton_session=nonsense", "Cookie: jeton_session=", "Cookie: other=1"] {
        assert_eq!(server.send("GET", "/admin", &[cookie], "").await.status, 303, "{cookie}");
    }
    let answer = server.send("GET", "/admin", &["HX-Request: true"], "").await;
    assert_eq!((answer.status, answer.header("hx-redirect")), (401, Some("/admin/sign-in")));
}

/// What nothing is at: a browser is led to the pages, everybody else hears where things are.
async fn leads_on(server: &Server, root: &str, base: &str) {
    let browser = ["Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"];
    for method in ["GET", "HEAD"] {
        let answer = server.send(method, root, &browser, "").await;
        let pages = format!("{}/admin", base.strip_prefix("http://localhost:8080").unwrap());
        assert_eq!((answer.status, answer.header("location")), (303, Some(&*pages)), "{method} {root}");
        assert_eq!(
            (answer.header("vary"), answer.header("cache-control")),
            (Some("accept"), Some("no-store"))
        );
    }
    for (method, accept) in [("GET", "Accept: */*"), ("POST", browser[0])] {
        let answer = server.send(method, root, &[accept], "").await;
        let detail = answer.expect_problem(404, "no-such-path")["detail"].to_string();
        for path in ["/admin", "/docs", "/.well-known/openid-configuration"] {
            assert!(detail.contains(&format!("{base}{path}")), "{method} {root}: {detail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_alone_leads_on() {
    let server = Server::start(Engine::Sqlite).await;
    leads_on(&server, "/", "http://localhost:8080").await;
    let base = "http://localhost:8080/tenant";
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.issuer = Some(Issuer::parse(base).unwrap());
    })
    .await;
    for root in ["/", "/tenant", "/tenant/"] {
        leads_on(&server, root, base).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_a_page_with_navigation_and_a_part_for_htmx() {
    let server = Server::start(Engine::Sqlite).await;
    let cookie = server.signed_in("ada", "administrator").await;
    let answer = server.send("GET", "/admin/nothing-here", &[&cookie], "").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("<h1>There is no such page</h1>"), "{answer:?}");
    assert!(answer.body.contains(answer.header("x-request-id").unwrap()));
    let part = ["HX-Request: true", "HX-Request-Type: partial"];
    let answer = server.send("GET", "/admin/nothing-here", &part, "").await;
    assert!(answer.status == 404 && !answer.body.contains("<html"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_comes_from_our_own_pages() {
    let server = Server::start(Engine::Sqlite).await;
    let cookie = server.signed_in("ada", "administrator").await;
    for from in [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: https://evil.example",
        "Accept: */*",
    ] {
        let answer = server.send("POST", "/admin", &[&cookie, from], "").await;
        assert!(answer.status == 403 && answer.body.contains("another site"), "{from}: {answer:?}");
    }
    for from in ["Sec-Fetch-Site: same-origin", "Origin: http://localhost:8080"] {
        // Let through to where there is nothing to post to.
        assert_eq!(server.send("POST", "/admin", &[&cookie, from], "").await.status, 405, "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_also_under_a_path_and_https() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.issuer = Some(Issuer::parse("https://id.example.com/tenant").unwrap());
    })
    .await;
    for (path, status) in [("/tenant/admin", 303), ("/tenant/admin/nothing-here", 404)] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{answer:?}");
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
    }
    assert_eq!(server.get("/tenant/admin/").await.header("location"), Some("/tenant/admin"));
    let answer = server.get("/tenant/admin").await;
    assert_eq!(answer.header("location"), Some("/tenant/admin/sign-in?next=%2Ftenant%2Fadmin"));
    let cookie = server.signed_in("ada", "administrator").await.replace("jeton_", "__Host-jeton_");
    let answer = server.send("GET", "/tenant/admin", &[&cookie], "").await;
    assert!(answer.status == 200 && answer.body.contains("href=\"/tenant/admin\""), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whoever_has_the_database_signs_somebody_in() {
    let server = Server::start(Engine::Sqlite).await;
    server.signed_in("ada", "administrator").await;
    let name = jeton::domain::ids::AdministratorName::new("ada").unwrap();
    let mut by = By::system();
    by.authority = jeton::admin::Authority::Only(std::collections::BTreeSet::new());
    assert!(server.app.sign_in().open_for(&by, &name).await.is_err());
}
