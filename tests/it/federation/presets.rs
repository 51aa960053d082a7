//! Tokens of the shapes that platforms make, from a test issuer that serves discovery and keys over TLS. Issuers and
//! credentials are registered by `--preset`, as somebody would who has such a platform.
//!
//! Whom TLS trusts, the operating system says, or `SSL_CERT_FILE`, which must be there before a process starts: the test
//! runs itself again with it.

mod shapes;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use self::shapes::{Shape, shapes};
use super::{ISSUER, JWT_BEARER, JWT_SPIFFE, parameters, refused};
use crate::harness::{Authority, Client, Engine, Server, jeton};
use crate::token::GRANT;
use jeton::config::Issuer;
use jeton::domain::presets::PRESETS;

/// Where the second process finds what the first has written.
const DIRECTORY: &str = "JETON_TEST_TLS_DIRECTORY";

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

#[test]
fn every_preset_gets_a_token_from_an_issuer_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("platforms");
    std::fs::write(directory.path().join("authority.pem"), authority.pem()).unwrap();
    authority.issue("localhost").write(directory.path(), "site");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "federation::presets::with_the_authority", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", directory.path().join("authority.pem"))
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it, with SSL_CERT_FILE"]
async fn with_the_authority() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allowed_networks =
            vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    })
    .await;
    server.billing().await;
    let other = OtherJeton::start(&base).await;
    let shapes = shapes(&base, directory, server.app.admin().ambient.now().as_seconds());
    let mut tested: Vec<&str> = shapes.iter().map(|shape| shape.preset).chain(["jeton"]).collect();
    tested.sort_unstable();
    tested.dedup();
    let mut presets: Vec<&str> = PRESETS.iter().map(|preset| preset.platform.as_str()).collect();
    presets.sort_unstable();
    assert_eq!(tested, presets, "each preset has a shape");
    let documents = shapes.iter().flat_map(|shape| shape.documents(&base)).chain(other.documents().await);
    serve(listener, documents.collect(), directory);

    // All are registered first: each token has to find its client among those of all platforms.
    let mut credentials = Vec::new();
    for shape in &shapes {
        let options: Vec<&str> = shape.issuer.iter().map(String::as_str).collect();
        credentials.push(register(&server, (shape.name, shape.preset), &options, shape.workload).await);
    }
    let options = ["--issuer", &base];
    credentials.push(register(&server, ("partner", "jeton"), &options, &["--client", "remote"]).await);
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    for (shape, credential) in shapes.iter().zip(&credentials) {
        hold(&server, shape, credential).await;
    }
    other.hold(&server, credentials.last().unwrap()).await;
    server.app.stop().await.unwrap();
}

/// Registers an issuer by its preset, and a client of the same name that it proves. Answers the credential's id.
async fn register(
    server: &Server,
    (name, preset): (&str, &str),
    issuer: &[&str],
    workload: &[&str],
) -> String {
    let create = ["trusted-issuers", "create", name, "--preset", preset];
    let made = jeton(&server.database, &[&create[..], issuer].concat());
    // Azure hands one out for a day: only there is something odd.
    let odd = if preset == "azure" {
        json!(["Its tokens may live for 25 hours: one that leaks is good for as long."])
    } else {
        json!([])
    };
    assert_eq!(made["warnings"], odd, "{name}");
    let method = if preset == "spiffe" { "spiffe_jwt" } else { "federated_jwt" };
    let new = json!({ "client_id": name, "roles": ["order-reader"], "auth_methods": [method] });
    server.client(new).await;
    let add = ["clients", "federation", "add", name, "--issuer", name, "--preset", preset];
    let added = jeton(&server.database, &[&add[..], workload].concat());
    assert_eq!(added["warnings"], json!([]), "{name}: all that names the workload is said: {added}");
    added["credential_id"].as_str().unwrap().to_owned()
}

async fn present(server: &Server, preset: &str, token: &str) -> crate::harness::Answer {
    let kind = if preset == "spiffe" { JWT_SPIFFE } else { JWT_BEARER };
    server.form(&[], &format!("{GRANT}&{}", parameters(kind, token))).await
}

/// The token proves its client as often as the platform hands it out; those that are nearly it prove nobody.
async fn hold(server: &Server, Shape { name, preset, near, again, .. }: &Shape, credential: &str) {
    let shape = |changes: &Value| near.token(changes);
    let token = shape(&json!({}));
    let answer = present(server, preset, &token).await;
    let event = server.recorded(&answer).await.detail;
    let found = (answer.status, &event["client_id"], &event["credential_id"]);
    assert_eq!(found, (200, &json!(name), &json!(credential)), "{name}: {event}");
    let answer = present(server, preset, &token).await;
    if *again {
        answer.expect(200);
    } else {
        refused(server, name, &answer, "used before").await;
    }
    let elsewhere =
        ("made for somebody else", json!({ "aud": "https://other.example" }), "the token's aud is");
    for (what, changes, reason) in near.misses.iter().chain([&elsewhere]) {
        let answer = present(server, preset, &shape(changes)).await;
        refused(server, &format!("{name}: {what}"), &answer, reason).await;
    }
}

/// Another Jeton, which is real, at the root of the site.
struct OtherJeton {
    server: Server,
    remote: Client,
    passer: Client,
}

impl OtherJeton {
    /// There `remote` may have tokens for us, and `passer` may pass its identity on to us.
    async fn start(base: &str) -> Self {
        let issuer = Issuer::parse(base).unwrap();
        let server = Server::start_with(Engine::Sqlite, |config| config.issuer = Some(issuer)).await;
        for (name, identifier, profile) in [("here", ISSUER, "jwt"), ("mid", "https://mid.example", "at+jwt")]
        {
            let permissions = json!([{ "permission": "be" }]);
            let new = json!({
                "name": name, "identifier": identifier, "token_profile": profile, "permissions": permissions,
            });
            server.resource_server(new).await;
        }
        let be = |at| json!({ "resource_server": at, "permission": "be" });
        server.role(json!({ "name": "caller", "permissions": [be("here"), be("mid")] })).await;
        let remote = server.client(json!({ "client_id": "remote", "roles": ["caller"] })).await;
        let passer = server.client(json!({ "client_id": "passer", "grant_types": [EXCHANGE] })).await;
        server.operator("mid", "passer").await;
        let rule = json!({
            "name": "on", "caller": { "client": "passer" }, "subject": { "client": "remote" },
            "resource_server": "here", "permissions": ["be"],
        });
        server.exchange_rule(rule).await;
        Self { server, remote, passer }
    }

    /// What it publishes, at the site.
    async fn documents(&self) -> Vec<(String, Value)> {
        let mut documents = Vec::new();
        for path in ["/.well-known/openid-configuration", "/.well-known/jwks.json"] {
            documents.push((path.to_owned(), self.server.get(path).await.expect(200)));
        }
        documents
    }

    async fn token(&self, client: &Client, body: &str) -> String {
        let answer = self.server.token(client, body).await.expect(200);
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn hold(self, here: &Server, credential: &str) {
        let own = self.token(&self.remote, &format!("{GRANT}&resource={ISSUER}")).await;
        let answer = present(here, "jeton", &own).await;
        let event = here.recorded(&answer).await.detail;
        assert_eq!((answer.status, &event["credential_id"]), (200, &json!(credential)), "{event}");
        refused(here, "again", &present(here, "jeton", &own).await, "used before").await;
        // It is about the same subject, and somebody else has got it.
        let mid = self.token(&self.remote, &format!("{GRANT}&resource=https://mid.example")).await;
        let body = format!(
            "grant_type={EXCHANGE}&subject_token={mid}&subject_token_type={ACCESS_TOKEN}&resource={ISSUER}"
        );
        let passed_on = self.token(&self.passer, &body).await;
        let answer = present(here, "jeton", &passed_on).await;
        refused(here, "passed on", &answer, shapes::NOBODY).await;
        refused(here, "elsewhere", &present(here, "jeton", &mid).await, "must be").await;
        self.server.app.stop().await.unwrap();
    }
}

/// Serves these documents, by their paths.
fn serve(listener: TcpListener, documents: HashMap<String, Value>, directory: &Path) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(directory.join("site.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("site.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let found = request.split(' ').nth(1).and_then(|path| documents.get(path));
            let (status, body) =
                found.map_or(("404 Gone", String::new()), |body| ("200 OK", body.to_string()));
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
}
