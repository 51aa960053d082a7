//! `/docs`: the API as a page that needs nothing from elsewhere, and its description as YAML and JSON. It is the same on
//! both engines.

use jeton::config::{Config, Issuer};
use serde_json::{Value, json};

use crate::harness::{Engine, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_every_operation_and_every_schema() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get("/docs").await;
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let openapi = serde_json::to_value(jeton::http::openapi()).unwrap();
    let mut operations = 0;
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values().filter(|value| value["operationId"].is_string()) {
            operations += 1;
            let id = operation["operationId"].as_str().unwrap();
            assert!(answer.body.contains(&format!("<article id=\"{id}\">")), "{id}");
            assert!(answer.body.contains(&format!("<code>{path}</code>")), "{path}");
        }
    }
    assert!(operations >= 40, "{operations}");
    for name in openapi["components"]["schemas"].as_object().unwrap().keys() {
        assert!(answer.body.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    // What it links to is there.
    for link in answer.body.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(answer.body.contains(&format!("id=\"{link}\"")), "{link}");
    }
    // Examples stand in it, and as text.
    assert!(answer.body.contains("urn:jeton:problem:stale"), "no example of a problem");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_no_script_and_needs_nothing_from_elsewhere() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get("/docs").await;
    let policy = answer.header("content-security-policy").unwrap();
    for directive in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    for forbidden in
        ["<script", "<style", " style=", "javascript:", " onclick", "src=", "href=\"http", "href=\"//"]
    {
        assert!(!answer.body.contains(forbidden), "{forbidden}");
    }
    let style = server.get("/docs/docs.css").await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(!style.body.contains("url(") && !style.body.contains("@import"), "{}", style.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_for_this_issuer() {
    let server = Server::start(Engine::Sqlite).await;
    let described = |issuer: &str| {
        let mut openapi = serde_json::to_value(jeton::http::openapi()).unwrap();
        openapi["servers"] = json!([{ "url": issuer, "description": "The issuer" }]);
        openapi
    };
    let answer = server.get("/docs/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.expect(200), described("http://localhost:8080"));
    let yaml = server.get("/docs/openapi.yaml").await;
    assert_eq!((yaml.status, yaml.header("content-type")), (200, Some("application/yaml")));
    assert!(
        yaml.body.starts_with("openapi: 3.1.0\n") && yaml.body.contains("- url: http://localhost:8080\n")
    );

    let issuer = "http://localhost:8080/tenant/a";
    let change = |config: &mut Config| config.issuer = Some(Issuer::parse(issuer).unwrap());
    let server = Server::start_with(Engine::Sqlite, change).await;
    assert_eq!(server.get("/tenant/a/docs/openapi.json").await.expect(200), described(issuer));
    assert_eq!(server.get("/tenant/a/docs").await.status, 200);
    assert_eq!(server.get("/docs").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_sent_again_rfc9110_13_1_2() {
    let server = Server::start(Engine::Sqlite).await;
    for path in ["/docs", "/docs/docs.css", "/docs/openapi.json", "/docs/openapi.yaml"] {
        let answer = server.get(path).await;
        let line = format!("If-None-Match: \"other\", {}", answer.header("etag").unwrap());
        let again = server.send("GET", path, &[&line], "").await;
        assert_eq!((again.status, &*again.body), (304, ""), "{path}");
        let other = server.send("GET", path, &["If-None-Match: \"other\""], "").await;
        assert_eq!((other.status, &other.body), (200, &answer.body), "{path}");
        let refused = server.send("POST", path, &[], "").await;
        assert_eq!(refused.expect_problem(405, "no-such-method")["status"], Value::from(405), "{path}");
    }
}
