//! `/metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use jeton::config::MetricsListener;

use crate::harness::{Engine, Server};

/// A free port of loopback.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn scrape(server: &Server) -> String {
    let address = server.app.metrics_address().unwrap();
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    answer.text().await.unwrap()
}

pub(crate) fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_the_signing_keys_and_their_next_rotation() {
    let server = Server::start_with(Engine::Sqlite, |config| config.metrics = MetricsListener::At(ANY)).await;
    server.clock.advance(Duration::from_hours(24 * 10));
    let metrics = scrape(&server).await;
    let day = 86_400.0;
    for alg in ["ES256", "RS256"] {
        let age = value(&metrics, &format!("jeton_signing_key_age_seconds{{alg=\"{alg}\"}}"));
        let next = value(&metrics, &format!("jeton_signing_key_next_rotation_seconds{{alg=\"{alg}\"}}"));
        assert!((age - 10.0 * day).abs() < 1.0 && (next - 20.0 * day).abs() < 1.0, "{age} {next}");
    }
    assert_eq!(value(&metrics, "jeton_clock_ahead_seconds").to_bits(), 0_f64.to_bits());
    assert!(metrics.ends_with("# EOF\n"));
    // It is the operator's: the listener of the callers does not have it.
    server.get("/metrics").await.expect(404);
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_address_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = tokio::net::TcpListener::bind(ANY).await.unwrap();
    let server = Server::start(Engine::Sqlite).await;
    let address = taken.local_addr().unwrap();
    let refused = server.restart_with(|config| config.metrics = MetricsListener::At(address)).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("JETON_METRICS__LISTEN"), "{refused}");
}
