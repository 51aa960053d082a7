//! Keys that an issuer publishes: new ones, unknown ones, and none at the moment.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{Platform, present, refused, sub};
use crate::harness::{Engine, Server};
use crate::private_key_jwt::Site;
use jeton::domain::trust::KeySource;

/// Makes a token of a platform.
type Make<'a> = &'a dyn Fn(&Platform) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn keys_away_is_no_verdict_and_a_flood_asks_once() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allow_http = true;
        config.outbound.outside.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    server.billing().await;
    let mut platform = Platform::new("ci", "https://ci.example");
    let (site, port) = Site::start(vec![platform.jwk()]).await;
    platform.trusted.keys = KeySource::JwksUri(format!("http://127.0.0.1:{port}/jwks"));
    platform.trust(&server).await;
    platform.client(&server, "app", sub("app")).await;
    site.take_down(true);
    let answer = present(&server, &platform.token(&server, "app")).await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
    site.take_down(false);
    server.clock.advance(Duration::from_secs(30));
    present(&server, &platform.token(&server, "app")).await.expect(200);
    let asked = site.asked();
    server.clock.advance(Duration::from_secs(30));
    let mut unknown = Platform::new("unknown", "https://ci.example");
    unknown.kid = "made-up".to_owned();
    let tokens: Vec<String> = (0..20).map(|_| unknown.token(&server, "app")).collect();
    for answer in join_all(tokens.iter().map(|token| present(&server, token))).await {
        refused(&server, "unknown kid", &answer, "has no key with kid 'made-up'").await;
    }
    assert_eq!(site.asked(), asked + 1, "once a cooldown");
    // A rotation is found within one.
    site.publish(unknown.jwk());
    server.clock.advance(Duration::from_secs(30));
    present(&server, &unknown.token(&server, "app")).await.expect(200);
    // So is one that keeps the kid, or whose tokens name no key.
    let other = || Platform { kid: unknown.kid.clone(), ..Platform::new("other", "https://ci.example") };
    let unnamed = |of: &Platform| of.sign(&json!({ "alg": "ES256" }), &of.claims(&server, "app"));
    let named = |of: &Platform| of.token(&server, "app");
    let ways: [(&str, Make<'_>); 2] = [("the same kid", &named), ("no kid", &unnamed)];
    for (row, make) in ways {
        let replaced = other();
        site.replace_all(replaced.jwk());
        refused(&server, row, &present(&server, &make(&replaced)).await, "signature is not that of").await;
        server.clock.advance(Duration::from_secs(30));
        present(&server, &make(&replaced)).await.expect(200);
    }
    // While the place is away, what is known says of a forgery what it is.
    site.take_down(true);
    server.clock.advance(Duration::from_secs(30));
    let (asked, forger) = (site.asked(), other());
    for make in [&named as Make<'_>, &unnamed] {
        refused(&server, "forged", &present(&server, &make(&forger)).await, "signature is not that of").await;
    }
    assert_eq!(site.asked(), asked + 1, "once a cooldown");
    server.app.stop().await.unwrap();
}
