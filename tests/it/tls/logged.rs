//! What a whole process does with certificates of clients, as its log tells at the level of debugging.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jeton::domain::certificate::thumbprint;

use super::*;
use crate::harness::{Database, Process, free_port};

/// Waits until the log has a line with all of these.
async fn logged(process: &Process, parts: &[&str]) {
    let found = async {
        while !process.log().lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(READ_AGAIN, found).await.is_ok(), "{parts:?}: {}", process.log());
}

/// The last line about a certificate with this thumbprint.
fn line(process: &Process, der: &[u8]) -> Option<String> {
    let thumbprint = thumbprint(der);
    process.log().lines().rfind(|line| line.contains(&thumbprint)).map(str::to_owned)
}

/// How many requests came with a certificate.
fn shown(process: &Process) -> usize {
    process.log().matches("the caller has a certificate").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_listener_hands_the_certificate_on() {
    let files = Files::new();
    let database = Database::create(Engine::Sqlite).await;
    let file = |name: &str| files.file(name).display().to_string();
    let (certificate, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let listen = format!("127.0.0.1:{}", free_port());
    let process = Process::serve(
        &database,
        &[
            ("JETON_MTLS__LISTEN", &listen),
            ("JETON_MTLS__CERTIFICATE", &certificate),
            ("JETON_MTLS__KEY", &key),
            ("JETON_MTLS__CLIENT_CA", &ca),
            ("JETON_LOG__LEVEL", "jeton=debug"),
        ],
    )
    .await;
    let address = listen.parse().unwrap();
    let (known, anybody) = (files.authority.issue("client"), Issued::by_itself("anybody"));
    for (own, trusted) in [(&known, "trusted: true"), (&anybody, "trusted: false")] {
        for version in ANY {
            let client = tls_client(&files.authority, Some(own), &[version]);
            // The second time the session is resumed, and the certificate is not sent again.
            for _ in 0..2 {
                let before = shown(&process);
                tls_answer(&client, address, &get("/livez")).await.unwrap().0.expect_text(200, "alive");
                logged(&process, &[&thumbprint(&own.der), trusted]).await;
                assert_eq!(shown(&process), before + 1, "{}", process.log());
            }
        }
    }
    let before = shown(&process);
    tls_answer(&files.client(), address, &get("/livez")).await.unwrap().0.expect_text(200, "alive");
    assert_eq!(shown(&process), before);

    // Told by a signal, what has changed is read at once; what cannot be used is said so in the log.
    fs::write(files.file("server.pem"), "").unwrap();
    process.tell("HUP");
    logged(&process, &["ERROR", "cannot be used", "server.pem", "no certificate in PEM"]).await;
    assert!(!process.log().contains("PRIVATE KEY"), "{}", process.log());
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_told_by_a_header_counts_from_a_proxy_alone() {
    let files = Files::new();
    let client = files.authority.issue("client");
    let header = format!(":{}:", BASE64.encode(&client.der));
    for (proxies, believed) in [("127.0.0.1", true), ("10.0.0.1", false)] {
        let database = Database::create(Engine::Sqlite).await;
        let process = Process::serve(
            &database,
            &[
                ("JETON_SERVER__TRUSTED_PROXIES", proxies),
                ("JETON_SERVER__CLIENT_CERTIFICATE_HEADER", "client-cert"),
                ("JETON_MTLS__CLIENT_CA", &files.file("ca.pem").display().to_string()),
                ("JETON_LOG__LEVEL", "jeton=debug"),
            ],
        )
        .await;
        let answer =
            reqwest::Client::new().get(format!("{}/livez", process.base)).header("Client-Cert", &header);
        assert_eq!(answer.send().await.unwrap().status(), 200);
        logged(&process, &["answered", "/livez"]).await;
        let line = line(&process, &client.der);
        assert_eq!(line.is_some_and(|line| line.contains("trusted: true")), believed, "{}", process.log());
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_list_of_revoked_certificates_has_ended_is_logged_and_nothing_is_trusted_by_it() {
    let files = Files::new();
    fs::write(files.file("revoked.pem"), files.authority.revocation_list(&[], (2026, 2, 1))).unwrap();
    let database = Database::create(Engine::Sqlite).await;
    let (ca, crl) =
        (files.file("ca.pem").display().to_string(), files.file("revoked.pem").display().to_string());
    let process = Process::serve(
        &database,
        &[
            ("JETON_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
            ("JETON_SERVER__CLIENT_CERTIFICATE_HEADER", "client-cert"),
            ("JETON_MTLS__CLIENT_CA", &ca),
            ("JETON_MTLS__CRLS", &crl),
            ("JETON_LOG__LEVEL", "jeton=debug"),
        ],
    )
    .await;
    logged(&process, &["ERROR", "has ended", "revoked.pem", "2026-02-01"]).await;
    let client = files.authority.issue("client");
    let header = format!(":{}:", BASE64.encode(&client.der));
    reqwest::Client::new()
        .get(format!("{}/livez", process.base))
        .header("Client-Cert", &header)
        .send()
        .await
        .unwrap();
    logged(&process, &[&thumbprint(&client.der), "trusted: false"]).await;
    logged(&process, &["not trusted", "expired"]).await;
    process.stop().await;
}
