//! A resource server that is switched to another algorithm: no verifier meets a key that it cannot have.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Server, both_engines};
use crate::token::{GRANT, verified};

both_engines!(
    a_switched_resource_server_is_signed_for_as_before_until_the_new_key_is_known,
    a_new_resource_server_has_its_algorithm_at_once,
    two_switches_in_a_row_keep_what_signs,
);

const ORDERS: &str = "/resource-servers/orders";
const LEAD: Duration = Duration::from_hours(24);

/// What the client's next token is signed with, by a published key.
async fn alg(server: &Server, client: &Client) -> Value {
    let answer = server.token(client, &format!("{GRANT}&scope=orders:read")).await.expect(200);
    verified(server, answer["access_token"].as_str().unwrap()).await.0["alg"].clone()
}

/// The published keys of an algorithm.
async fn published(server: &Server, alg: &str) -> usize {
    let jwks = server.get("/.well-known/jwks.json").await.expect(200);
    jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == alg).count()
}

async fn a_switched_resource_server_is_signed_for_as_before_until_the_new_key_is_known(server: Server) {
    let billing = server.billing().await;
    let root = server.administrator().await;
    root.patch(ORDERS, 1, json!({ "signing_algorithm": "PS256" })).await.expect(200);
    assert_eq!(published(&server, "PS256").await, 1, "known before it signs");
    assert_eq!(alg(&server, &billing).await, "ES256");
    server.clock.advance(Duration::from_secs(86_399));
    assert_eq!(alg(&server, &billing).await, "ES256");
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(alg(&server, &billing).await, "PS256");
    // And it stays so: the ring is one like any other.
    server.app.rotator().settle().await.unwrap();
    assert_eq!(alg(&server, &billing).await, "PS256");
}

async fn a_new_resource_server_has_its_algorithm_at_once(server: Server) {
    let billing = server.billing().await;
    let root = server.administrator().await;
    // Waiting for its first key…
    root.patch(ORDERS, 1, json!({ "signing_algorithm": "EdDSA" })).await.expect(200);
    assert_eq!(alg(&server, &billing).await, "ES256");
    // …which somebody else cannot wait for.
    let new = json!({ "name": "new", "identifier": "urn:new", "signing_algorithm": "EdDSA" });
    root.post("/resource-servers", new).await.expect(201);
    assert_eq!(alg(&server, &billing).await, "EdDSA");
    assert_eq!(published(&server, "EdDSA").await, 1);
}

async fn two_switches_in_a_row_keep_what_signs(server: Server) {
    let billing = server.billing().await;
    let root = server.administrator().await;
    root.patch(ORDERS, 1, json!({ "signing_algorithm": "ES384" })).await.expect(200);
    root.patch(ORDERS, 2, json!({ "signing_algorithm": "EdDSA" })).await.expect(200);
    assert_eq!(alg(&server, &billing).await, "ES256");
    server.app.rotator().settle().await.unwrap();
    assert_eq!(published(&server, "ES384").await, 0, "nothing needs it any more");
    server.clock.advance(LEAD);
    assert_eq!(alg(&server, &billing).await, "EdDSA");
}
