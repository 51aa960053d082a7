//! TLS in the process, and the certificates of clients.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jeton::config::{CertificateHeader, Config, MutualTls, PemPair, TlsSettings};
use jeton::domain::error::FaultKind;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Authority, Engine, Issued, Server, tls_answer, tls_client};

mod logged;
mod told;
mod trust;

const ANY: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// How long files take to be read again, with room.
const READ_AGAIN: Duration = Duration::from_secs(20);

/// Files of certificates, and the authority of all of them.
struct Files {
    directory: TempDir,
    authority: Authority,
}

impl Files {
    /// With a certificate for a server.
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new("Authority") };
        files.authority.issue("server").write(files.path(), "server");
        fs::write(files.path().join("ca.pem"), files.authority.pem()).unwrap();
        files
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn pair(&self) -> PemPair {
        PemPair { certificate: self.file("server.pem"), key: self.file("server.key") }
    }

    fn client(&self) -> Arc<ClientConfig> {
        tls_client(&self.authority, None, &ANY)
    }

    fn main(&self) -> TlsSettings {
        TlsSettings { main: Some(self.pair()), ..TlsSettings::default() }
    }

    fn both(&self) -> TlsSettings {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mutual = Some(MutualTls { listen, pair: self.pair() });
        TlsSettings { mutual, client_ca: Some(self.file("ca.pem")), ..self.main() }
    }
}

async fn start(tls: TlsSettings) -> Server {
    Server::start_with(Engine::Sqlite, |config: &mut Config| {
        config.issuer = None;
        config.tls = tls;
    })
    .await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_listener_speaks_tls_and_nothing_else() {
    let files = Files::new();
    let server = start(files.main()).await;
    let address = server.app.address();
    assert_eq!(server.app.issuer(), format!("https://{address}"));
    for version in [&TLS12, &TLS13] {
        let client = tls_client(&files.authority, None, &[version]);
        let (answer, _) = tls_answer(&client, address, &get("/livez")).await.unwrap();
        answer.expect_text(200, "alive");
    }
    // What both ends speak afterwards they settle in the handshake (RFC 7301).
    for protocol in [b"h2".to_vec(), b"http/1.1".to_vec()] {
        let mut client = (*files.client()).clone();
        client.alpn_protocols = vec![protocol.clone()];
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&protocol[..]));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/livez").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_take_their_time_hold_up_nobody() {
    let files = Files::new();
    let server = start(files.main()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.app.address()).await.unwrap());
    }
    let (client, request) = (files.client(), get("/livez"));
    let answered = tls_answer(&client, server.app.address(), &request);
    let in_time = tokio::time::timeout(Duration::from_secs(5), answered).await.expect("others wait");
    in_time.unwrap().0.expect_text(200, "alive");
    // After ten seconds they are over.
    let mut one = silent.pop().unwrap();
    let ended = tokio::time::timeout(READ_AGAIN, one.read(&mut [0; 1])).await.expect("it is cut off");
    assert_eq!(ended.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_without_a_restart_and_a_broken_one_is_not_taken() {
    let files = Files::new();
    let server = start(files.main()).await;
    let (client, address) = (files.client(), server.app.address());
    let shown = async || tls_answer(&client, address, &get("/livez")).await.unwrap().1;
    let first = shown().await;

    // A key that is not the certificate's, as in the middle of a renewal.
    let next = files.authority.issue("next");
    fs::write(files.file("server.pem"), next.pem()).unwrap();
    server.app.tls().look();
    assert_eq!(shown().await, first);
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(files.file("server.pem"), broken).unwrap();
        server.app.tls().look();
        assert_eq!(shown().await, first);
    }
    fs::remove_file(files.file("server.pem")).unwrap();
    server.app.tls().look();
    assert_eq!(shown().await, first);

    next.write(files.path(), "server");
    let replaced = async {
        while shown().await != next.der {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(READ_AGAIN, replaced)
        .await
        .expect("the new one is shown, without anybody saying so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_files_that_cannot_be_used_says_what_is_wrong_with_all_of_them() {
    let files = Files::new();
    let mut tls = files.both();
    fs::write(
        files.file("server.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(files.file("revoked.pem"), "nothing").unwrap();
    tls.crls = vec![files.file("revoked.pem")];
    let ambient = jeton::runtime::clock::Ambient::system();
    let opened = |tls: &TlsSettings| match jeton::runtime::tls::Tls::open(tls, &ambient) {
        Ok(_) => panic!("it was opened"),
        Err(fault) => (fault.to_string(), fault.kind),
    };
    let (problem, kind) = opened(&tls);
    assert_eq!(kind, FaultKind::Setup, "no restart takes its passphrase away: {problem}");
    assert!(problem.contains("server.key: it is encrypted"), "{problem}");
    assert!(problem.contains("revoked.pem: it is not one list"), "{problem}");

    let other = Issued::by_itself("other");
    other.write(files.path(), "other");
    fs::copy(files.file("other.key"), files.file("server.key")).unwrap();
    fs::write(files.file("ca.pem"), "").unwrap();
    tls.crls.clear();
    let (problem, kind) = opened(&tls);
    assert_eq!(kind, FaultKind::Unavailable, "somebody may be about to write the others: {problem}");
    assert!(problem.contains("they do not belong together"), "{problem}");
    assert!(problem.contains("ca.pem: it has no certificate"), "{problem}");
    let line = fs::read_to_string(files.file("server.key")).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!problem.contains(&line), "{problem}");

    fs::remove_file(files.file("server.key")).unwrap();
    let (problem, kind) = opened(&tls);
    assert_eq!(kind, FaultKind::Unavailable, "it may be on its way: {problem}");
    fs::create_dir(files.file("server.key")).unwrap();
    let (problem, kind) = opened(&tls);
    assert_eq!(kind, FaultKind::Setup, "it is none: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_listener_is_for_clients_and_named_in_the_metadata_rfc8705_5() {
    let files = Files::new();
    let server = start(files.both()).await;
    let (main, mutual) = (server.app.address(), server.app.mtls_address().unwrap());
    let client = files.client();
    let ask = async |address, path: &str| tls_answer(&client, address, &get(path)).await.unwrap().0;

    let metadata = ask(main, "/.well-known/oauth-authorization-server").await.expect(200);
    let base = format!("https://127.0.0.1:{}", mutual.port());
    assert_eq!(
        metadata["mtls_endpoint_aliases"],
        serde_json::json!({
            "token_endpoint": format!("{base}/oauth2/token"),
            "introspection_endpoint": format!("{base}/oauth2/introspect"),
            "revocation_endpoint": format!("{base}/oauth2/revoke"),
        })
    );
    assert_eq!(ask(mutual, "/.well-known/oauth-authorization-server").await.expect(200), metadata);

    // Without a certificate too, and with one that nobody has signed.
    let request =
        "POST /oauth2/token HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let unknown = tls_client(&files.authority, Some(&Issued::by_itself("anybody")), &ANY);
    for client in [&client, &unknown] {
        let (answer, _) = tls_answer(client, mutual, request).await.unwrap();
        answer.expect_oauth_error(400, "invalid_request");
    }
    ask(main, "/admin/sign-in").await.expect_page(200, "Sign in");
    for path in ["/", "/admin/sign-in", "/docs"] {
        ask(mutual, path).await.expect_problem(404, "no-such-path");
    }
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_second_listener_no_other_endpoints_are_named() {
    let server = Server::start(Engine::Sqlite).await;
    let metadata = server.get("/.well-known/oauth-authorization-server").await.expect(200);
    assert!(metadata.get("mtls_endpoint_aliases").is_none(), "{metadata}");
}

/// A server behind a proxy at this network, which tells certificates by this header.
async fn behind(network: &str, header: CertificateHeader) -> Server {
    Server::start_with(Engine::Sqlite, |config: &mut Config| {
        config.trusted_proxies = vec![network.parse().unwrap()];
        config.tls.header = Some(header);
    })
    .await
}
