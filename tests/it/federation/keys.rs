//! Keys that an issuer publishes: new ones, unknown ones, and none at the moment.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Platform, present, refused, sub};
use crate::harness::{Engine, Server};
use crate::private_key_jwt::Site;
use jeton::domain::trust::KeySource;

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
    server.app.stop().await.unwrap();
}
