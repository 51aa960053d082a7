//! Proofs for the endpoints at which clients are asked for certificates (RFC 8705 §5): they have URLs of their own.

use base64::engine::general_purpose::STANDARD as BASE64;
use jeton::config::{CertificateHeader, Issuer};

use super::*;
use crate::harness::Issued;

const ALIAS: &str = "https://mtls.example/oauth2/token";

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_for_the_url_at_which_the_certificate_was_asked_for() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.tls.header = Some(CertificateHeader::ClientCert);
        config.tls.url = Some(Issuer::parse("https://mtls.example").unwrap());
    })
    .await;
    let client = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let prover = Prover::start(&server, &client).await;
    let certificate = format!("Client-Cert: :{}:", BASE64.encode(Issued::by_itself("client").der));
    let body = format!("{GRANT}&resource=http://localhost:8080/api/v1");
    let proof = |htu: &str| prover.proof_with(&server, &json!({ "htu": htu }));
    let ask = async |headers: &[&str]| ask_for(&server, &client, headers, &body).await;

    refused(&ask(&[&proof(TOKEN_ENDPOINT), &certificate]).await, "the other URL", "htu");
    refused(&ask(&[&proof(ALIAS)]).await, "without a certificate", "htu");
    ask(&[&proof(TOKEN_ENDPOINT)]).await.expect(200);
    let answer = ask(&[&proof(ALIAS), &certificate]).await.expect(200);

    // At the API the same.
    let token = answer["access_token"].as_str().unwrap();
    let authorization = format!("Authorization: DPoP {token}");
    let ath = BASE64URL.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()));
    for (base, status) in [("http://localhost:8080", 401), ("https://mtls.example", 200)] {
        let htu = format!("{base}/api/v1/clients");
        let proof = prover.proof_with(&server, &json!({ "htm": "GET", "htu": htu, "ath": ath }));
        let answer = server.send("GET", "/api/v1/clients", &[&authorization, &proof, &certificate], "").await;
        assert_eq!(answer.status, status, "{base}: {answer:?}");
    }
}
