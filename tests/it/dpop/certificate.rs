//! A proof and a certificate on one request: the token is bound to both, and worth nothing without either.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;

use super::Prover;
use crate::harness::Issued;
use crate::mutual_tls::{Stage, both_stages, told};
use crate::token::{GRANT, verified};
use jeton::domain::certificate::thumbprint;

both_stages!(a_proof_and_a_certificate_bind_to_both);

const API: &str = "http://localhost:8080/api/v1";

async fn a_proof_and_a_certificate_bind_to_both(stage: Stage) {
    let server = &stage.server;
    let boss = server
        .client(json!({ "client_id": "boss", "roles": ["administrator"], "token_binding": "mtls" }))
        .await;
    let prover = Prover::start(server, &boss).await;
    let (own, other) = (Issued::by_itself("boss"), Issued::by_itself("other"));
    let body = format!("{GRANT}&resource={API}");
    let headers = [&*boss.basic(), &*prover.proof(server)];
    let answer = stage.ask(Some(&own), &headers, &body).await.expect(200);
    assert_eq!(answer["token_type"], "DPoP");
    let token = answer["access_token"].as_str().unwrap();
    let (_, claims) = verified(server, token).await;
    assert_eq!(claims["cnf"], json!({ "jkt": prover.jkt(), "x5t#S256": thumbprint(&own.der) }));

    let call = async |scheme: &str, shown: Option<&Issued>, proves: bool| {
        let ath = BASE64URL.encode(digest(&SHA256, token.as_bytes()));
        let proof = json!({ "htm": "GET", "htu": format!("{API}/clients"), "ath": ath });
        let mut headers = vec![format!("Authorization: {scheme} {token}")];
        headers.extend(shown.map(told));
        headers.extend(proves.then(|| prover.proof_with(server, &proof)));
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        server.send("GET", "/api/v1/clients", &headers, "").await.status
    };
    assert_eq!(call("DPoP", Some(&own), true).await, 200);
    assert_eq!(call("DPoP", None, true).await, 401);
    assert_eq!(call("DPoP", Some(&other), true).await, 401);
    assert_eq!(call("DPoP", Some(&own), false).await, 401);
    assert_eq!(call("Bearer", Some(&own), true).await, 401);
}
