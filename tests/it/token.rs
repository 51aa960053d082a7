//! Tokens that are issued: RFC 6749 §4.4 and §5.1, RFC 9068, RFC 8707.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Server, both_engines};
use jeton::jose::{JwkSet, Unverified, VerifyingKey};

both_engines!(a_registered_service_gets_a_token_that_verifies);

/// The header and the claims of a token, verified with the published keys.
pub(crate) async fn verified(server: &Server, token: &str) -> (Value, Value) {
    use base64::Engine as _;
    let jwks: JwkSet =
        serde_json::from_value(server.get("/.well-known/jwks.json").await.expect(200)).unwrap();
    let unverified = Unverified::parse(token).unwrap();
    let key = VerifyingKey::from_jwk(jwks.find(unverified.key_id().unwrap()).unwrap()).unwrap();
    let claims = unverified.verify(&key).unwrap();
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    (serde_json::from_slice(&header).unwrap(), claims)
}

async fn a_registered_service_gets_a_token_that_verifies(server: Server) {
    let billing = server.billing().await;
    let answer = server.token(&billing, "grant_type=client_credentials&scope=orders:read").await;
    let body = answer.expect(200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["scope"], "orders:read");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let (header, claims) = verified(&server, body["access_token"].as_str().unwrap()).await;
    assert_eq!(header["typ"], "at+jwt", "RFC 9068 2.1");
    assert_eq!(header["alg"], "ES256");
    let expected = json!({
        "iss": "http://localhost:8080", "aud": "https://orders.example", "sub": "billing",
        "client_id": "billing", "iat": 1_795_334_400, "exp": 1_795_334_700, "scope": "orders:read",
        "roles": ["order-reader"], "client_kind": "service",
        "jti": claims["jti"], "txn": claims["txn"],
    });
    assert_eq!(claims, expected, "RFC 9068 2.2, and nothing else");
    server.clock.advance(Duration::from_secs(1));
}
