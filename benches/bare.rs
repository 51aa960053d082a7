//! The limit that `scripts/bench` measures Jeton against: what a token costs when nothing is looked up,
//! decided or recorded. It parses the form, compares one SHA-256 of the secret, signs one ES256 JWT with
//! the claims that Jeton writes and answers the same JSON, with the same web server and allocator.
//!
//! `bare PORT`, with the client in `BENCH_CLIENT_ID` and `BENCH_CLIENT_SECRET`.

use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use jeton::domain::claims::{AccessTokenClaims, Audience};
use jeton::domain::client::ClientKind;
use jeton::domain::ids::{ClientId, RoleName};
use jeton::jose::{Algorithm, RsaBits, SigningKey, TokenType, sign};
use jeton::runtime::clock::Ambient;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIFETIME: i64 = 300;
const SCOPE: &str = "orders:read";

struct Bare {
    ambient: Ambient,
    client_id: ClientId,
    issuer: String,
    key: SigningKey,
    key_id: String,
    role: RoleName,
    secret: Digest,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("usage: bare PORT")?.parse()?;
    let key = SigningKey::generate(Algorithm::Es256, RsaBits::default())?;
    let bare = Bare {
        ambient: Ambient::system(),
        client_id: ClientId::new(std::env::var("BENCH_CLIENT_ID")?)?,
        issuer: format!("http://127.0.0.1:{port}"),
        key_id: key.public_jwk().key_id().to_owned(),
        key,
        role: RoleName::new("order-reader")?,
        secret: digest(&SHA256, std::env::var("BENCH_CLIENT_SECRET")?.as_bytes()),
    };
    let router = Router::new().route("/oauth2/token", post(token)).with_state(Arc::new(bare));
    axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, router).await?;
    Ok(())
}

async fn token(
    State(bare): State<Arc<Bare>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    bare.authenticate(&headers).ok_or(StatusCode::UNAUTHORIZED)?;
    is_as_expected(&headers, &body).then_some(()).ok_or(StatusCode::BAD_REQUEST)?;
    let access_token = bare.issue().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": SCOPE,
    })))
}

/// Whether the form asks for the one thing there is, with each parameter once.
fn is_as_expected(headers: &HeaderMap, body: &[u8]) -> bool {
    let mut grant_type = None;
    let mut scope = None;
    for (name, value) in url::form_urlencoded::parse(body) {
        let seen = match name.as_ref() {
            "grant_type" => grant_type.replace(value),
            "scope" => scope.replace(value),
            _ => None,
        };
        if seen.is_some() {
            return false;
        }
    }
    headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/x-www-form-urlencoded")
        && grant_type.as_deref() == Some("client_credentials")
        && scope.as_deref().is_none_or(|scope| scope == SCOPE)
}

// === impl Bare ===

impl Bare {
    fn authenticate(&self, headers: &HeaderMap) -> Option<()> {
        let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
        let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
        let (client_id, secret) = decoded.split_once(':')?;
        let hash = digest(&SHA256, secret.as_bytes());
        verify_slices_are_equal(hash.as_ref(), self.secret.as_ref()).ok()?;
        (client_id == self.client_id.as_str()).then_some(())
    }

    fn issue(&self) -> Option<String> {
        let at = self.ambient.now();
        let now = at.as_seconds();
        let claims = AccessTokenClaims {
            iss: self.issuer.clone(),
            exp: now + LIFETIME,
            aud: Audience::One("https://orders.example.com".to_owned()),
            sub: self.client_id.as_str().to_owned(),
            sub_id: None,
            client_id: self.client_id.clone(),
            iat: now,
            jti: self.ambient.token_id("bare--", at).ok()?,
            txn: self.ambient.token_id("", at).ok()?,
            scope: Some(SCOPE.to_owned()),
            roles: vec![self.role.clone()],
            client_kind: ClientKind::Service,
            act: None,
            may_act: None,
            cnf: None,
        };
        sign(TokenType::AccessToken, &self.key_id, &self.key, &claims).ok()
    }
}
