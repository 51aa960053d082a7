//! What proxies tell of the certificates of clients, and strangers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;
use crate::token::{GRANT, verified};
use jeton::domain::certificate::thumbprint;
use serde_json::json;

/// A token request that is right but for these headers.
async fn token(server: &Server, headers: &[&str]) -> crate::harness::Answer {
    let client = server.client(json!({ "client_id": format!("c-{}", rand::random::<u32>()) })).await;
    let (basic, from) = (client.basic(), format!("X-Forwarded-For: {}", server.caller()));
    let headers: Vec<_> = headers.iter().copied().chain([basic.as_str(), &from]).collect();
    server.form(&headers, "grant_type=client_credentials&scope=orders:read").await
}

const MALFORMED: &str = "Client-Cert: not a certificate";

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_must_send_what_can_be_read() {
    let server = behind("127.0.0.0/8", CertificateHeader::ClientCert).await;
    let answer = token(&server, &[MALFORMED]).await;
    let said = answer.expect_oauth_error(400, "invalid_request");
    assert!(said.contains("RFC 9440"), "{said}");

    let certificate = BASE64.encode(Issued::by_itself("client").der);
    let header = format!("Client-Cert: :{certificate}:");
    // Both would be refused for the scope, if they were read.
    token(&server, &[&header]).await.expect_oauth_error(400, "invalid_scope");
    token(&server, &[]).await.expect_oauth_error(400, "invalid_scope");
    let said = token(&server, &[&header, &header]).await.expect_oauth_error(400, "invalid_request");
    assert!(said.contains("more than one"), "{said}");
    let said = token(&server, &["Client-Cert: :AAAA:"]).await.expect_oauth_error(400, "invalid_request");
    assert!(said.contains("certificate"), "{said}");
    // The other form's header is none.
    token(&server, &["X-Forwarded-Client-Cert: nonsense"]).await.expect_oauth_error(400, "invalid_scope");

    // The same everywhere that clients authenticate, and in the API.
    let content = "Content-Type: application/x-www-form-urlencoded";
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let answer = server.send("POST", path, &[MALFORMED, content], "token=x").await;
        answer.expect_oauth_error(400, "invalid_request");
    }
    let api = server.send("GET", "/api/v1/clients", &[MALFORMED, "Authorization: Bearer x"], "").await;
    api.expect_problem(400, "malformed");
    server.send("GET", "/livez", &[MALFORMED], "").await.expect_text(200, "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_header_is_read_from_a_trusted_proxy() {
    let server = behind("127.0.0.0/8", CertificateHeader::XForwardedClientCert).await;
    let client = Issued::by_itself("client");
    let encoded: String = url::form_urlencoded::byte_serialize(client.pem().as_bytes()).collect();
    let cert = format!("Cert=\"{}\"", encoded.replace('+', "%20"));
    let ask = async |value: &str| token(&server, &[&format!("X-Forwarded-Client-Cert: {value}")]).await;
    let billing = server.billing().await;
    for value in [cert.clone(), format!("By=spiffe://a/b;{cert}")] {
        let header = format!("X-Forwarded-Client-Cert: {value}");
        let answer = server.form(&[&billing.basic(), &header], GRANT).await;
        let (_, claims) = verified(&server, answer.expect(200)["access_token"].as_str().unwrap()).await;
        assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint(&client.der) }), "RFC 8705 3.1");
    }
    for (bad, said) in [
        ("By=spiffe://a/b", "cert: true"),
        (&*format!("{cert},{cert}"), "SANITIZE_SET"),
        ("nonsense", "cannot be read"),
        ("Cert=\"nonsense\"", "cannot be read"),
    ] {
        let told = ask(bad).await.expect_oauth_error(400, "invalid_request");
        assert!(told.contains(said), "{bad}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_stranger_the_headers_are_as_good_as_not_sent() {
    let certificate = format!("Client-Cert: :{}:", BASE64.encode(Issued::by_itself("client").der));
    for header in [CertificateHeader::ClientCert, CertificateHeader::XForwardedClientCert] {
        // The proxy stands elsewhere; that the stranger claims to be it changes nothing.
        let server = behind("10.0.0.1/32", header).await;
        let client = server.client(json!({ "client_id": "c" })).await;
        let basic = client.basic();
        let ask = async |more: &[&str]| {
            let headers: Vec<_> = [basic.as_str()].into_iter().chain(more.iter().copied()).collect();
            server.form(&headers, "grant_type=client_credentials&scope=orders:read").await
        };
        let plain = ask(&[]).await;
        plain.expect_oauth_error(400, "invalid_scope");
        for headers in [
            &[MALFORMED][..],
            &[&certificate],
            &[&certificate, "X-Forwarded-For: 10.0.0.1"],
            &[&certificate, &certificate],
            &["X-Forwarded-Client-Cert: nonsense", "Forwarded: for=10.0.0.1"],
        ] {
            assert_eq!(ask(headers).await.comparable(), plain.comparable(), "{headers:?}");
        }
    }
    // Nor from a trusted proxy that is not said to send it.
    let server = Server::start_with(Engine::Sqlite, |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    token(&server, &[MALFORMED]).await.expect_oauth_error(400, "invalid_scope");
}
