//! Bound tokens in token exchange: a binding is never lost.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;

use super::{Prover, ask_for, bound, refused};
use crate::harness::{Server, both_engines};
use crate::token::GRANT;
use crate::token_exchange::{ACCESS_TOKEN, Chain, EXCHANGE, introspect};

both_engines!(
    a_bound_subject_token_needs_its_proof_and_stays_bound_rfc9449_4_3,
    an_exchange_binds_to_the_caller_s_key_rfc9449_5,
);

async fn a_bound_subject_token_needs_its_proof_and_stays_bound_rfc9449_4_3(server: Server) {
    let chain = Chain::start(&server).await;
    let prover = Prover::start(&server, &chain.front).await;
    let other = Prover::start(&server, &chain.front).await;
    let body = format!("{GRANT}&resource=https://orders.example");
    let answer = ask_for(&server, &chain.front, &[&prover.proof(&server)], &body).await;
    let token = bound(&server, &answer, &prover).await;

    let ath = BASE64URL.encode(digest(&SHA256, token.as_bytes()));
    let of_another = BASE64URL.encode(digest(&SHA256, b"another"));
    let body = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}");
    for (row, proofs) in [
        ("no proof", vec![]),
        ("a proof that names no token", vec![prover.proof(&server)]),
        ("a proof that names another", vec![prover.proof_with(&server, &json!({ "ath": of_another }))]),
        ("the proof of another key", vec![other.proof_with(&server, &json!({ "ath": ath }))]),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let answer = ask_for(&server, &chain.orders, &proofs, &body).await;
        refused(&answer, row, "the subject_token is bound to a key");
    }
    let proof = prover.proof_with(&server, &json!({ "ath": ath }));
    let answer = ask_for(&server, &chain.orders, &[&proof], &body).await;
    let delegated = bound(&server, &answer, &prover).await;
    let shown = introspect(&server, &chain.payments, &delegated).await;
    assert_eq!(shown["cnf"], json!({ "jkt": prover.jkt() }));
    assert_eq!(shown["token_type"], "DPoP");
}

async fn an_exchange_binds_to_the_caller_s_key_rfc9449_5(server: Server) {
    let chain = Chain::start(&server).await;
    let prover = Prover::start(&server, &chain.orders).await;
    let token = chain.token(&server).await;
    let body = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}");
    let answer = ask_for(&server, &chain.orders, &[&prover.proof(&server)], &body).await;
    bound(&server, &answer, &prover).await;
}
