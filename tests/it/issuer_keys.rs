//! Keys of a trusted issuer that serves discovery and JWKS over TLS, as a process of its own fetches them. How long they
//! are kept, and that an outage is bridged, `runtime::remote_keys` tests with a clock that can be moved.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Authority, Database, Engine, Process, Recorded, jeton, run};
use jeton::jose::{Algorithm, RsaBits, SigningKey};
use jeton::runtime::clock::{Clock as _, SystemClock};

const METADATA: &str = "/ci/.well-known/openid-configuration";

/// Somebody's issuer: pages over TLS, and what was asked for.
struct Site {
    issuer: String,
    pages: Mutex<HashMap<&'static str, Value>>,
    asked: Mutex<Vec<String>>,
}

impl Site {
    async fn start(authority: &Authority, directory: &std::path::Path) -> Arc<Self> {
        authority.issue("issuer").write(directory, "issuer");
        let key = PrivateKeyDer::from_pem_file(directory.join("issuer.key")).unwrap();
        let chain = rustls::pki_types::CertificateDer::from_pem_file(directory.join("issuer.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("https://localhost:{}/ci", listener.local_addr().unwrap().port());
        let site = Arc::new(Self { issuer, pages: Mutex::default(), asked: Mutex::default() });
        let serving = Arc::clone(&site);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4_096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let answer = serving.answer(request.split(' ').nth(1).unwrap_or_default());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        site
    }

    fn answer(&self, path: &str) -> String {
        self.asked.lock().unwrap().push(path.to_owned());
        let page = self.pages.lock().unwrap().get(path).cloned();
        let (status, body) = page.map_or(("503 Away", String::new()), |page| ("200 OK", page.to_string()));
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Publishes these keys at this path, and the metadata that says so.
    fn publish(&self, path: &'static str, keys: &[&Key]) {
        let jwks_uri = self.issuer.replace("/ci", path);
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        let metadata = json!({ "issuer": self.issuer, "jwks_uri": jwks_uri });
        self.pages.lock().unwrap().extend([(METADATA, metadata), (path, json!({ "keys": keys }))]);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

struct Key {
    kid: &'static str,
    key: SigningKey,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        Self { kid, key: SigningKey::generate(Algorithm::Es256, RsaBits::default()).unwrap() }
    }

    fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(self.key.public_jwk()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    fn token(&self, issuer: &str) -> String {
        let now = SystemClock.now().as_seconds();
        let jti = BASE64URL.encode(rand::random::<[u8; 16]>());
        let header = json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }).to_string();
        let claims = json!({
            "iss": issuer, "sub": "job", "aud": "http://localhost:8080", "iat": now, "nbf": now, "exp": now + 300,
            "jti": jti,
        });
        let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims.to_string()));
        let signature = BASE64URL.encode(self.key.sign(input.as_bytes()).unwrap());
        format!("{input}.{signature}")
    }
}

/// An answer to a token request.
struct Asked {
    status: u16,
    request_id: String,
}

impl Asked {
    /// That it is a refusal, whose event has this reason.
    async fn is_refused(&self, database: &Database, reason: &str) {
        assert_eq!(self.status, 401, "{reason}");
        let recorded = Recorded::of(database, &self.request_id).await.detail["reason"].clone();
        assert!(recorded.as_str().unwrap().contains(reason), "{reason}: {recorded}");
    }
}

/// Asks for a token with this proof.
async fn ask(process: &Process, token: &str) -> Asked {
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", "https://orders.example"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", token),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = reqwest::Client::new()
        .post(format!("{}/oauth2/token", process.base))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = request.send().await.unwrap();
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    Asked { status: answer.status().as_u16(), request_id }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_discovered_over_tls_and_followed() {
    let (database, authority) = (Database::create(Engine::Sqlite).await, Authority::new("Authority"));
    let directory = database.directory.path();
    fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    let site = Site::start(&authority, directory).await;
    let (first, second, third) = (Key::new("first"), Key::new("second"), Key::new("third"));
    site.publish("/keys", &[&first]);

    assert!(run(&database, &["migrate"]).status.success());
    let resource = ["resource-servers", "create", "orders", "--identifier", "https://orders.example"];
    jeton(&database, &[&resource[..], &["--permission", "orders:read"]].concat());
    jeton(&database, &["roles", "create", "reader", "--permission", "orders/orders:read"]);
    let client = ["clients", "create", "job", "--no-secret", "--role", "reader"];
    jeton(&database, &[&client[..], &["--auth-method", "federated_jwt"]].concat());
    jeton(&database, &["trusted-issuers", "create", "ci", "--issuer", &site.issuer]);
    jeton(&database, &["clients", "federation", "add", "job", "--issuer", "ci", "--condition", "sub=job"]);
    let ca = directory.join("ca.pem");
    let environment = [
        ("SSL_CERT_FILE", ca.to_str().unwrap()),
        ("JETON_OUTBOUND__ALLOWED_NETWORKS", "127.0.0.0/8,::1/128"),
        ("JETON_OUTBOUND__KEYS_COOLDOWN", "5s"),
    ];
    let process = Process::serve(&database, &environment).await;
    let cooldown = || tokio::time::sleep(Duration::from_millis(5_100));

    for _ in 0..3 {
        assert_eq!(ask(&process, &first.token(&site.issuer)).await.status, 200, "{}", process.log());
    }
    assert_eq!(site.asked(), [METADATA, "/keys"]);
    // Another key of that name, and another issuer with these keys, prove nobody.
    let forged = ask(&process, &Key::new("first").token(&site.issuer)).await;
    forged.is_refused(&database, "the token's signature is not that of the key 'first'").await;
    let other = ask(&process, &first.token(&format!("{}/", site.issuer))).await;
    other.is_refused(&database, &format!("no trusted issuer is called '{}/'", site.issuer)).await;
    assert_eq!(site.asked(), [""; 0]);

    // A rotation, within a cooldown; and made-up keys cause one fetch in one.
    site.publish("/keys", &[&first, &second]);
    cooldown().await;
    assert_eq!(ask(&process, &second.token(&site.issuer)).await.status, 200);
    // At the same time: a refusal that is repeated waits for a second.
    let made_up = [(); 3].map(|()| third.token(&site.issuer));
    let [one, two, three] = &made_up;
    let flood = tokio::join!(ask(&process, one), ask(&process, two), ask(&process, three));
    for refused in [flood.0, flood.1, flood.2] {
        refused.is_refused(&database, "has no key with kid 'third'").await;
    }
    assert_eq!(site.asked(), [METADATA, "/keys"]);

    // An outage: what is known serves on, and of what is not there is no verdict.
    site.pages.lock().unwrap().clear();
    cooldown().await;
    assert_eq!(ask(&process, &third.token(&site.issuer)).await.status, 503);
    assert_eq!(ask(&process, &first.token(&site.issuer)).await.status, 200);

    // The metadata names another place, where the first key is no more.
    site.publish("/moved", &[&second, &third]);
    cooldown().await;
    assert_eq!(ask(&process, &third.token(&site.issuer)).await.status, 200);
    let gone = ask(&process, &first.token(&site.issuer)).await;
    gone.is_refused(&database, "has no key with kid 'first'").await;
    process.stop().await;
}
