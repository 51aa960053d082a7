//! Bound tokens at Jeton's own API (RFC 9449 §7).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Prover, ask_for, bound};
use crate::harness::{Answer, Client, DESCRIBED, Server, both_engines};
use crate::token::GRANT;
use jeton::config::Issuer;

both_engines!(
    a_bound_token_opens_the_api_with_its_key_rfc9449_7_1,
    a_bound_token_without_a_permission_is_challenged_by_its_scheme_rfc9449_7_1,
    a_bound_token_is_no_bearer_token_rfc9449_7_2,
    a_token_that_is_not_bound_is_no_dpop_token_rfc9449_7_1,
    a_proof_for_the_api_is_for_one_request_rfc9449_7_1,
    a_proof_counts_once_at_the_api_too_rfc9449_11_1,
    the_api_asks_for_a_nonce_rfc9449_9,
    the_api_can_want_bound_tokens_only,
    an_issuer_s_path_is_part_of_htu_rfc9449_4_2,
);

const API: &str = "http://localhost:8080/api/v1";
const ALGS: &str = "algs=\"ES256 ES384 RS256 PS256 EdDSA\"";

/// A client with the role `administrator`, its key, and a bound token for the API.
struct Boss {
    client: Client,
    prover: Prover,
    token: String,
}

impl Boss {
    async fn start(server: &Server) -> Self {
        let client = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
        let prover = Prover::start(server, &client).await;
        let body = format!("{GRANT}&resource={API}");
        let answer = ask_for(server, &client, &[&prover.proof(server)], &body).await;
        let token = bound(server, &answer, &prover).await;
        Self { client, prover, token }
    }

    fn authorization(&self) -> String {
        format!("Authorization: DPoP {}", self.token)
    }

    /// A proof for `GET /api/v1/clients` with some claims changed.
    fn proof(&self, server: &Server, changes: &Value) -> String {
        let mut all = json!({
            "htm": "GET", "htu": format!("{API}/clients"),
            "ath": BASE64URL.encode(digest(&SHA256, self.token.as_bytes())),
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.prover.proof_with(server, &all)
    }

    async fn get(&self, server: &Server, headers: &[&str]) -> Answer {
        let authorization = self.authorization();
        let mut all = vec![authorization.as_str()];
        all.extend_from_slice(headers);
        server.send("GET", "/api/v1/clients", &all, "").await
    }
}

/// Asserts a refusal under the scheme DPoP, by all that RFC 9449 §7.1 says of it.
#[track_caller]
fn refused(answer: &Answer, error: &str, public: &str) {
    let kind = if error == "invalid_token" { "token-invalid" } else { "dpop-proof" };
    let body = answer.expect_problem(401, kind);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(public), "not because of {public:?}: {answer:?}");
    let challenge = format!(
        "DPoP realm=\"jeton\", error=\"{error}\", error_description=\"{detail}\", {ALGS}, {DESCRIBED}"
    );
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()), "{answer:?}");
    assert_eq!(answer.header("dpop-nonce").is_some(), error == "use_dpop_nonce", "{answer:?}");
}

async fn a_bound_token_opens_the_api_with_its_key_rfc9449_7_1(server: Server) {
    let boss = Boss::start(&server).await;
    boss.get(&server, &[&boss.proof(&server, &json!({}))]).await.expect(200);
    // The scheme compares without case, and the query is no part of htu.
    let (lower, proof) = (format!("Authorization: dpop {}", boss.token), boss.proof(&server, &json!({})));
    server.send("GET", "/api/v1/clients?limit=1", &[&lower, &proof], "").await.expect(200);
    // What is changed is changed by the client.
    let proof = boss.proof(&server, &json!({ "htm": "POST" }));
    let lines = [&*boss.authorization(), &proof, "Content-Type: application/json"];
    server.send("POST", "/api/v1/clients", &lines, r#"{"client_id":"made"}"#).await.expect(201);
}

async fn a_bound_token_without_a_permission_is_challenged_by_its_scheme_rfc9449_7_1(server: Server) {
    let mut boss = Boss::start(&server).await;
    let body = format!("{GRANT}&resource={API}&scope=audit:read");
    let answer = ask_for(&server, &boss.client, &[&boss.prover.proof(&server)], &body).await;
    boss.token = bound(&server, &answer, &boss.prover).await;
    let answer = boss.get(&server, &[&boss.proof(&server, &json!({}))]).await;
    answer.expect_problem(403, "forbidden");
    let challenge =
        format!("DPoP realm=\"jeton\", error=\"insufficient_scope\", scope=\"clients:read\", {ALGS}");
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

async fn a_bound_token_is_no_bearer_token_rfc9449_7_2(server: Server) {
    let boss = Boss::start(&server).await;
    let answer = server.api_with(boss.token.clone()).get("/clients").await;
    answer.expect_token_refused("bound to a key: send it as Authorization: DPoP");
    assert_eq!(server.recorded(&answer).await.kind, "access_refused");
    // Nor with a proof beside it.
    let (line, proof) = (format!("Authorization: Bearer {}", boss.token), boss.proof(&server, &json!({})));
    server.send("GET", "/api/v1/clients", &[&line, &proof], "").await.expect_token_refused("bound to a key");
    // That has used nothing up.
    boss.get(&server, &[&proof]).await.expect(200);
}

async fn a_token_that_is_not_bound_is_no_dpop_token_rfc9449_7_1(server: Server) {
    let mut boss = Boss::start(&server).await;
    boss.token = server.api_as(&boss.client, "").await.token;
    refused(&boss.get(&server, &[&boss.proof(&server, &json!({}))]).await, "invalid_token", "is not bound");
    server.api_with(boss.token).get("/clients").await.expect(200);
}

async fn a_proof_for_the_api_is_for_one_request_rfc9449_7_1(server: Server) {
    let boss = Boss::start(&server).await;
    for (changes, public) in [
        (json!({ "htm": "POST" }), "htm"),
        (json!({ "htu": format!("{API}/roles") }), "htu"),
        (json!({ "htu": "/api/v1/clients" }), "htu"),
        (json!({ "htu": "http://jeton.test/api/v1/clients" }), "htu"),
        (json!({ "ath": null }), "ath"),
        (json!({ "ath": "" }), "ath"),
        (json!({ "ath": BASE64URL.encode(digest(&SHA256, b"another")) }), "ath"),
        (json!({ "jti": null }), "jti"),
    ] {
        let answer = boss.get(&server, &[&boss.proof(&server, &changes)]).await;
        refused(&answer, "invalid_dpop_proof", public);
        let recorded = server.recorded(&answer).await;
        assert_eq!(recorded.detail["actor"]["client_id"], "boss", "{recorded:?}");
        assert!(recorded.detail["reason"].as_str().unwrap().contains(public), "{recorded:?}");
    }
    refused(&boss.get(&server, &[]).await, "invalid_dpop_proof", "send a DPoP header");
    let two = [&*boss.proof(&server, &json!({})), &*boss.proof(&server, &json!({}))];
    refused(&boss.get(&server, &two).await, "invalid_dpop_proof", "one DPoP header");
    // A thief's own key, and everything else right.
    let thief = Boss {
        prover: Prover { nonce: boss.prover.nonce.clone(), ..Prover::with("ES256".parse().unwrap()) },
        client: Client::new("boss", ""),
        token: boss.token.clone(),
    };
    let answer = boss.get(&server, &[&thief.proof(&server, &json!({}))]).await;
    refused(&answer, "invalid_token", "another key");
    // The proof of one request does not open another one.
    let (line, proof) = (boss.authorization(), boss.proof(&server, &json!({})));
    let answer = server.send("DELETE", "/api/v1/clients/boss", &[&line, &proof], "").await;
    refused(&answer, "invalid_dpop_proof", "htm");
    boss.get(&server, &[&proof]).await.expect(200);
}

async fn a_proof_counts_once_at_the_api_too_rfc9449_11_1(server: Server) {
    let boss = Boss::start(&server).await;
    let replica = server.replica().await;
    let proof = boss.proof(&server, &json!({}));
    boss.get(&server, &[&proof]).await.expect(200);
    for server in [&server, &replica] {
        refused(&boss.get(server, &[&proof]).await, "invalid_dpop_proof", "was used before");
    }
    let proof = boss.proof(&server, &json!({}));
    let (server, boss) = (std::sync::Arc::new(server), std::sync::Arc::new(boss));
    let mut uses = JoinSet::new();
    for _ in 0..20 {
        let (server, boss, proof) =
            (std::sync::Arc::clone(&server), std::sync::Arc::clone(&boss), proof.clone());
        uses.spawn(async move { boss.get(&server, &[&proof]).await.status });
    }
    let mut answers = uses.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers[..2], [200, 401], "one of them: {answers:?}");
}

async fn the_api_asks_for_a_nonce_rfc9449_9(server: Server) {
    let mut boss = Boss::start(&server).await;
    let answer = boss.get(&server, &[&boss.proof(&server, &json!({ "nonce": null }))]).await;
    refused(&answer, "use_dpop_nonce", "DPoP-Nonce");
    assert_eq!(answer.header("dpop-nonce"), boss.prover.nonce.as_deref(), "that of the token endpoint");
    // A token of half the nonce's time later, so that it is the nonce that ends first.
    server.clock.advance(Duration::from_secs(150));
    let body = format!("{GRANT}&resource={API}");
    let answer = ask_for(&server, &boss.client, &[&boss.prover.proof(&server)], &body).await;
    boss.token = bound(&server, &answer, &boss.prover).await;
    server.clock.advance(Duration::from_secs(149));
    boss.get(&server, &[&boss.proof(&server, &json!({}))]).await.expect(200);
    server.clock.advance(Duration::from_secs(1));
    let answer = boss.get(&server, &[&boss.proof(&server, &json!({}))]).await;
    refused(&answer, "use_dpop_nonce", "too old");
    boss.prover.nonce = answer.header("dpop-nonce").map(str::to_owned);
    boss.get(&server, &[&boss.proof(&server, &json!({}))]).await.expect(200);
}

async fn the_api_can_want_bound_tokens_only(server: Server) {
    let boss = Boss::start(&server).await;
    let bearer = server.api_as(&boss.client, "").await;
    bearer.get("/clients").await.expect(200);
    server.database.execute("UPDATE resource_servers SET token_binding = 'dpop' WHERE name = 'jeton'").await;
    // The change of the catalog makes the server read it.
    server.role(json!({ "name": "any" })).await;
    bearer.get("/clients").await.expect_token_refused("the token must be bound");
    boss.get(&server, &[&boss.proof(&server, &json!({}))]).await.expect(200);
    let answer = server.token(&boss.client, &format!("{GRANT}&resource={API}")).await;
    answer.expect_oauth_error(400, "invalid_dpop_proof");
}

async fn an_issuer_s_path_is_part_of_htu_rfc9449_4_2(server: Server) {
    let issuer = "http://localhost:8080/tenant/a";
    let server = Server::start_with(server.database.engine, |config| {
        config.issuer = Some(Issuer::parse(issuer).unwrap());
    })
    .await;
    let client = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let mut prover = Prover::with("ES256".parse().unwrap());
    let send = async |prover: &Prover, htu: &str| {
        let proof = prover.proof_with(&server, &json!({ "htu": htu }));
        let lines = [&*client.basic(), &proof, "Content-Type: application/x-www-form-urlencoded"];
        server.send("POST", "/tenant/a/oauth2/token", &lines, GRANT).await
    };
    let endpoint = format!("{issuer}/oauth2/token");
    let answer = send(&prover, &endpoint).await;
    answer.expect_oauth_error(400, "use_dpop_nonce");
    prover.nonce = answer.header("dpop-nonce").map(str::to_owned);
    send(&prover, "http://localhost:8080/oauth2/token").await.expect_oauth_error(400, "invalid_dpop_proof");
    let body = send(&prover, &endpoint).await.expect(200);
    let boss = Boss { client, prover, token: body["access_token"].as_str().unwrap().to_owned() };
    let target = "/tenant/a/api/v1/clients";
    for (htu, accepted) in [(format!("{API}/clients"), false), (format!("{issuer}/api/v1/clients"), true)] {
        let proof = boss.proof(&server, &json!({ "htu": htu }));
        let answer = server.send("GET", target, &[&boss.authorization(), &proof], "").await;
        assert_eq!(answer.status == 200, accepted, "{htu}: {answer:?}");
    }
}
