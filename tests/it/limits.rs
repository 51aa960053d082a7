//! Limits on failed client authentications (decision 032, RFC 6585 §4), and the pool of costly checks.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use jeton::admin::By;
use jeton::config::{Config, Limits, MetricsListener};
use jeton::domain::ids::ClientId;
use jeton::domain::secret::generate;

use crate::harness::{Answer, Client, Engine, Server, both_engines};
use crate::metrics::{ANY, scrape, value};
use crate::token::GRANT;

both_engines!(the_right_secret_is_never_locked_out_by_failures_elsewhere);

const CHOSEN: &str = "a secret that a person chose";

/// A server with these limits, behind a proxy that names the callers' addresses.
fn limited(per_client: &str, per_address: &str) -> impl FnOnce(&mut Config) {
    let allowance = |text: &str| (text != "off").then(|| text.parse().unwrap());
    let limits = Limits {
        failures_per_client: allowance(per_client),
        failures_per_address: allowance(per_address),
        ..Limits::default()
    };
    move |config| {
        config.limits = limits;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.metrics = MetricsListener::At(ANY);
    }
}

async fn from(server: &Server, address: &str, client: &Client) -> Answer {
    server.form(&[&client.basic(), &format!("X-Forwarded-For: {address}")], GRANT).await
}

/// A secret in the form of the generated ones, and nobody's.
fn made_up() -> String {
    generate(&rand::random()).expose_secret().to_owned()
}

/// Fails at this address until a limit is reached.
async fn exhaust(server: &Server, address: &str, client_id: &str) {
    for n in 0..20 {
        let wrong = Client::new(client_id, &format!("a wrong secret, number {n}"));
        if from(server, address, &wrong).await.status == 429 {
            return;
        }
    }
    panic!("no limit was reached");
}

async fn the_right_secret_is_never_locked_out_by_failures_elsewhere(server: Server) {
    let generated = server.billing().await;
    server.secret("billing", json!({ "secret": CHOSEN })).await;
    let server = server.restart_with(limited("3 in 1h", "off")).await.unwrap();
    let chosen = Client::new("billing", CHOSEN);
    exhaust(&server, "198.51.100.1", "billing").await;

    // Elsewhere, and never verified before: it costs the hash, and passes.
    from(&server, "198.51.100.2", &chosen).await.expect(200);
    from(&server, "2001:db8::1", &chosen).await.expect(200);
    // Where it has failed, what cannot be guessed passes for the first time, too.
    from(&server, "198.51.100.1", &generated).await.expect(200);
    // What could be guessed does not, even though it is known to be right: that would tell whoever guesses.
    let refused = from(&server, "198.51.100.1", &chosen).await;
    refused.expect_oauth_error(429, "temporarily_unavailable");
    let wrong = from(&server, "198.51.100.1", &Client::new("billing", "another wrong one")).await;
    assert_eq!(refused.comparable(), wrong.comparable(), "right and wrong look the same");

    // Whoever has proven it there before shares the address with whoever fails, and goes on.
    exhaust(&server, "198.51.100.2", "billing").await;
    for _ in 0..5 {
        from(&server, "198.51.100.2", &chosen).await.expect(200);
    }
    // Other clients at the limited address are no part of it.
    let other = server.client(json!({ "client_id": "other", "roles": ["order-reader"] })).await;
    server.secret("other", json!({ "secret": CHOSEN })).await;
    from(&server, "198.51.100.1", &other).await.expect(200);
    from(&server, "198.51.100.1", &Client::new("other", CHOSEN)).await.expect(200);
    // An hour later so is the first.
    server.clock.advance(Duration::from_hours(1));
    from(&server, "198.51.100.1", &chosen).await.expect(200);
}

/// What a caller sees of failures one after another: unknown, wrong, disabled and out of method look the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_over_the_limit_is_429_with_retry_after_rfc6585_4() {
    let server = Server::start_with(Engine::Sqlite, limited("3 in 1m", "off")).await;
    server.billing().await;
    server.client(json!({ "client_id": "disabled", "roles": ["order-reader"] })).await;
    let disabled = ClientId::new("disabled").unwrap();
    server.app.admin().set_client_enabled(&By::system(), &disabled, false).await.unwrap();
    server.client(json!({ "client_id": "by-post", "auth_methods": ["client_secret_post"] })).await;
    let server = Arc::new(server);

    let mut callers = JoinSet::new();
    let ids = ["billing", "nobody", "disabled", "by-post"];
    for (n, id) in (0_u8..).zip(ids) {
        for (m, secret) in (0_u8..).zip([made_up(), CHOSEN.to_owned()]) {
            let (server, client) = (Arc::clone(&server), Client::new(id, &secret));
            callers.spawn(async move {
                let address = format!("203.0.113.{}", 2 * n + m);
                let mut answers = Vec::new();
                for _ in 0..5 {
                    answers.push(from(&server, &address, &client).await);
                }
                answers
            });
        }
    }
    let all = callers.join_all().await;
    for answers in &all {
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401, 401, 401, 429, 429]);
        let description = answers[3].expect_oauth_error(429, "temporarily_unavailable");
        assert!(description.contains("Retry-After"), "{description}");
        assert_eq!(answers[3].header("retry-after"), Some("20"));
        for (answer, like) in answers.iter().zip(&all[0]) {
            assert_eq!(answer.comparable(), like.comparable());
        }
    }
    assert_eq!(all.len(), 2 * ids.len());

    // Each is recorded, in the coalesced way, with what only the audit may know.
    let events = server.events("token_refused").await;
    let limited: Vec<_> = events.iter().filter(|event| event["error"] == "temporarily_unavailable").collect();
    let reasons: Vec<_> = limited.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("limits.failures_per_client")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("no client has this client_id")), "{reasons:?}");
    let metrics = scrape(&server).await;
    let counted = |name: &str| value(&metrics, name);
    let of = |limit: &str| format!("jeton_client_authentications_limited_total{{limit=\"{limit}\"}}");
    assert!((counted(&of("client")) - 16.0).abs() < 0.5, "{metrics}");
    assert!(counted(&of("address")).abs() < 0.5, "{metrics}");

    // When the seconds of Retry-After are over there is room for one more.
    server.clock.advance(Duration::from_secs(20));
    let wrong = Client::new("billing", &made_up());
    from(&server, "203.0.113.0", &wrong).await.expect_oauth_error(401, "invalid_client");
    from(&server, "203.0.113.0", &wrong).await.expect_oauth_error(429, "temporarily_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_an_address_is_for_all_clients_and_every_endpoint() {
    let server = Server::start_with(Engine::Sqlite, limited("2 in 1m", "4 in 1m")).await;
    let billing = server.billing().await;
    let ask = async |path: &str, client: &Client| {
        let form = "Content-Type: application/x-www-form-urlencoded";
        let headers = [form, &client.basic(), "X-Forwarded-For: 2001:db8:0:1::7"];
        server.send("POST", path, &headers, "token=x&grant_type=client_credentials").await
    };
    let (introspect, revoke, token) = ("/oauth2/introspect", "/oauth2/revoke", "/oauth2/token");
    for (path, id, status) in [
        (introspect, "billing", 401),
        (revoke, "billing", 401),
        // The client's limit; what is over it does not count for the address.
        (token, "billing", 429),
        (revoke, "billing", 429),
        (introspect, "made-up-1", 401),
        (token, "made-up-2", 401),
        (introspect, "made-up-3", 429),
        (token, "made-up-4", 429),
    ] {
        let code = if status == 401 { "invalid_client" } else { "temporarily_unavailable" };
        ask(path, &Client::new(id, &made_up())).await.expect_refusal(&format!("{path} {id}"), status, code);
    }
    // Of IPv6 the network counts, whoever in it is right passes, and what cannot be guessed is looked at.
    from(&server, "2001:db8:0:1::8", &billing).await.expect(200);
    assert_eq!(ask(introspect, &billing).await.status, 200);
    from(&server, "2001:db8:0:1::8", &Client::new("other", CHOSEN)).await.expect(429);
    from(&server, "2001:db8:0:2::8", &Client::new("other", CHOSEN)).await.expect(401);
    server.app.stop().await.unwrap();
}

/// Costly checks are turned away before they starve anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_chosen_secrets_leaves_generated_ones_answered() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        let one = std::num::NonZeroUsize::MIN;
        config.limits =
            Limits { costly_checks: Some(one), costly_waiting: one.saturating_add(3), ..config.limits };
        config.metrics = MetricsListener::At(ANY);
    })
    .await;
    let billing = server.billing().await;
    let server = Arc::new(server);
    let mut flood = JoinSet::new();
    for n in 0..40 {
        let server = Arc::clone(&server);
        let wrong = Client::new("billing", &format!("a wrong secret, number {n}"));
        flood.spawn(async move { server.token(&wrong, GRANT).await });
    }
    let began = Instant::now();
    for _ in 0..10 {
        let answer = timeout(Duration::from_secs(2), server.token(&billing, GRANT)).await.unwrap();
        answer.expect(200);
    }
    let took = began.elapsed();
    let answers = flood.join_all().await;
    let turned_away: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(answers.iter().all(|answer| [401, 503].contains(&answer.status)), "{answers:?}");
    assert!(answers.len() - turned_away.len() >= 4, "those that found a place were checked");
    assert!(turned_away.len() >= 4, "{} of 40 were turned away", turned_away.len());
    for answer in &turned_away {
        answer.expect_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    assert!(took < Duration::from_secs(5), "{took:?}");
    let metrics = scrape(&server).await;
    let counted = value(&metrics, "jeton_costly_checks_turned_away_total");
    assert!((counted - f64::from(u32::try_from(turned_away.len()).unwrap())).abs() < 0.5, "{metrics}");
    assert!(value(&metrics, "jeton_costly_checks").abs() < 0.5, "{metrics}");
}
