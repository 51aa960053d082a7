//! Clients that prove themselves with certificates, and tokens that are bound to them (RFC 8705). What a TLS listener
//! makes of a connection `tls.rs` tests; here a trusted proxy says it (RFC 9440), but for one walk over real TLS.

mod binding;
mod command_line;
mod registering;

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::SanType;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin_pages::Person;
use crate::harness::{Answer, Authority, Client, Engine, Issued, Server, tls_answer, tls_client};
use crate::statistics::counted;
use crate::token::{GRANT, verified};
use jeton::config::{CertificateHeader, Config, MutualTls, PemPair};
use jeton::domain::certificate::thumbprint;
use jeton::runtime::clock::Clock as _;

/// A server that certificates reach, and the authority that it trusts.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) authority: Authority,
    /// Holds the files that the server reads.
    _directory: TempDir,
}

/// Runs tests of the form `async fn(stage: Stage)` on both engines.
macro_rules! both_stages {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::Engine;
            use crate::mutual_tls::Stage;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                super::$test(Stage::start(Engine::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                super::$test(Stage::start(Engine::Postgres).await).await;
            }
        })+
    };
}
pub(crate) use both_stages;

both_stages!(
    a_certificate_with_the_registered_subject_is_the_client_rfc8705_2_1,
    a_registered_certificate_is_the_client_rfc8705_2_2,
    whoever_may_not_hears_the_same_as_a_stranger,
    a_request_authenticates_in_one_way_rfc6749_2_3,
    a_client_can_be_registered_for_both,
);

/// The names of `billing`.
pub(crate) const SUBJECT: &str = "billing.example.com";

impl Stage {
    pub(crate) async fn start(engine: Engine) -> Self {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("Authority"));
        let bundle = directory.path().join("ca.pem");
        fs::write(&bundle, authority.pem()).unwrap();
        let server = Server::start_with(engine, |config: &mut Config| {
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            config.tls.header = Some(CertificateHeader::ClientCert);
            config.tls.client_ca = Some(bundle);
        })
        .await;
        Self { server, authority, _directory: directory }
    }

    /// A certificate of the authority with this host name.
    pub(crate) fn issue(&self, host: &str) -> Issued {
        self.authority.issue_with("billing", |params| {
            params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
        })
    }

    /// Registers the usual client for these methods, with the subject that `tls_client_auth` needs. It has a secret,
    /// which is no good for these methods.
    pub(crate) async fn billing(&self, methods: &[&str]) -> Client {
        self.server.billing().await;
        let new = json!({ "client_id": "paying", "roles": ["order-reader"], "auth_methods": methods,
            "tls_client_auth_subject": { "kind": "san_dns", "value": SUBJECT } });
        self.server.client(new).await
    }

    /// Registers a certificate.
    pub(crate) async fn register(&self, client_id: &str, certificate: &Issued, more: Value) -> Value {
        let admin = self.server.administrator().await;
        let mut new = json!({ "certificate": certificate.pem() });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        admin.post(&format!("/clients/{client_id}/certificates"), new).await.expect(201)
    }

    /// A token request over a connection with this certificate.
    pub(crate) async fn ask(&self, shown: Option<&Issued>, headers: &[&str], body: &str) -> Answer {
        self.post("/oauth2/token", shown, headers, body).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        shown: Option<&Issued>,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let mut all = vec!["Content-Type: application/x-www-form-urlencoded"];
        all.extend_from_slice(headers);
        let certificate = shown.map(told);
        all.extend(certificate.as_deref());
        let address = format!("X-Forwarded-For: {}", self.server.caller());
        all.push(&address);
        self.server.send("POST", path, &all, body).await
    }

    /// The claims of the token in an answer, which is bound to this certificate (RFC 8705 §3.1) and says `Bearer`.
    pub(crate) async fn bound(&self, answer: &Answer, to: &Issued) -> (String, Value) {
        let body = answer.expect(200);
        assert_eq!(body["token_type"], "Bearer", "{answer:?}");
        let token = body["access_token"].as_str().unwrap().to_owned();
        let (_, claims) = verified(&self.server, &token).await;
        assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint(&to.der) }), "RFC 8705 3.1");
        (token, claims)
    }
}

/// The header by which the proxy tells a certificate (RFC 9440 §2.2).
pub(crate) fn told(certificate: &Issued) -> String {
    format!("Client-Cert: :{}:", BASE64.encode(&certificate.der))
}

const BY_CERTIFICATE: &str = "grant_type=client_credentials&client_id=paying&resource=https://orders.example";

async fn a_certificate_with_the_registered_subject_is_the_client_rfc8705_2_1(stage: Stage) {
    stage.billing(&["tls_client_auth"]).await;
    let own = stage.issue(SUBJECT);
    let (_, claims) = stage.bound(&stage.ask(Some(&own), &[], BY_CERTIFICATE).await, &own).await;
    assert_eq!(claims["sub"], "paying");
    // One that is issued anew needs no registration.
    let renewed = stage.issue("BILLING.example.com");
    stage.bound(&stage.ask(Some(&renewed), &[], BY_CERTIFICATE).await, &renewed).await;

    let events = stage.server.events("token_issued").await;
    let event = events.iter().find(|event| event["x5t"] == thumbprint(&own.der)).unwrap();
    assert_eq!(
        (&event["auth_method"], &event["credential_id"]),
        (&json!("tls_client_auth"), &json!("san-dns"))
    );
    // Its last use is seen, though it is on no list.
    counted(&stage.server).await;
    let seen = stage.server.administrator().await.get("/clients/paying").await.expect(200);
    let at = stage.server.clock.now().to_string();
    assert_eq!(seen["credential_uses"], json!([{ "credential_id": "san-dns", "last_used_at": at }]));
    let page = Person::signed_in(&stage.server, "ada", "auditor").await.page("/clients/paying").await;
    assert!(page.contains("(san_dns), last used: <time"), "{page}");
    // No token outlives the certificate that got it.
    let end = stage.server.clock.now().as_seconds() + 30;
    let short = stage.authority.issue_with("billing", |params| {
        params.subject_alt_names = vec![SanType::DnsName(SUBJECT.try_into().unwrap())];
        params.not_after = time::OffsetDateTime::from_unix_timestamp(end).unwrap();
    });
    let (_, claims) = stage.bound(&stage.ask(Some(&short), &[], BY_CERTIFICATE).await, &short).await;
    assert_eq!(claims["exp"], end);
}

async fn a_registered_certificate_is_the_client_rfc8705_2_2(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let (own, next) = (Issued::by_itself("paying"), Issued::by_itself("next"));
    let refused = stage.ask(Some(&own), &[], BY_CERTIFICATE).await;
    refused.expect_oauth_error(401, "invalid_client");
    let end = stage.server.clock.now().as_seconds() + 60;
    let first = stage.register("paying", &own, json!({ "description": "the first" })).await;
    let second = stage.register("paying", &next, json!({ "expires_in": 60 })).await;
    for (certificate, view) in [(&own, &first), (&next, &second)] {
        let (_, claims) =
            stage.bound(&stage.ask(Some(certificate), &[], BY_CERTIFICATE).await, certificate).await;
        let events = stage.server.events("token_issued").await;
        let event = events.iter().find(|event| event["x5t"] == view["thumbprint"]).unwrap();
        assert_eq!(event["auth_method"], "self_signed_tls_client_auth");
        assert_eq!(event["credential_id"], view["certificate_id"]);
        let is_short = view["expires_at"].is_string();
        assert_eq!(claims["exp"] == end, is_short, "no token outlives the end that was given: {claims}");
    }
    // Another certificate is another credential, also with the same key and the same name.
    let again = format!("Client-Cert: :{}:", BASE64.encode(own.made_again()));
    stage.ask(None, &[&again], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");
    // Whether an authority is trusted does not matter, and does not help.
    let issued = stage.issue(SUBJECT);
    stage.ask(Some(&issued), &[], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");
    stage.register("paying", &issued, json!({})).await;
    stage.bound(&stage.ask(Some(&issued), &[], BY_CERTIFICATE).await, &issued).await;
}

async fn whoever_may_not_hears_the_same_as_a_stranger(stage: Stage) {
    let paying = stage.billing(&["tls_client_auth"]).await;
    let own = stage.issue(SUBJECT);
    let stranger = BY_CERTIFICATE.replace("paying", "nobody");
    let expected = stage.ask(Some(&own), &[], &stranger).await;
    expected.expect_oauth_error(401, "invalid_client");
    stage
        .server
        .client(json!({ "client_id": "off", "auth_methods": ["tls_client_auth"],
        "tls_client_auth_subject": { "kind": "san_dns", "value": SUBJECT } }))
        .await;
    let off = jeton::domain::ids::ClientId::new("off").unwrap();
    let by = jeton::admin::By::system();
    stage.server.app.admin().set_client_enabled(&by, &off, false).await.unwrap();

    let expired = stage.authority.issue_with("billing", |params| {
        params.subject_alt_names = vec![SanType::DnsName(SUBJECT.try_into().unwrap())];
        params.not_after = rcgen::date_time_ymd(2026, 11, 1);
    });
    let untrusted = Authority::new("Authority").issue_with("billing", |params| {
        params.subject_alt_names = vec![SanType::DnsName(SUBJECT.try_into().unwrap())];
    });
    for (row, certificate, body) in [
        ("another subject", &stage.issue("other.example.com"), BY_CERTIFICATE),
        ("an authority of the same name that is not trusted", &untrusted, BY_CERTIFICATE),
        ("expired", &expired, BY_CERTIFICATE),
        ("disabled", &own, &*BY_CERTIFICATE.replace("paying", "off")),
        ("registered for secrets alone", &own, &*BY_CERTIFICATE.replace("paying", "billing")),
    ] {
        let answer = stage.ask(Some(certificate), &[], body).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{row}");
    }
    // Nor does the secret of a client help that is registered for certificates.
    let body = BY_CERTIFICATE.replace("client_id=paying&", "");
    let by_secret = stage.ask(Some(&own), &[&paying.basic()], &body).await;
    assert_eq!(by_secret.comparable(), expected.comparable());
    let reasons: Vec<String> = stage
        .server
        .events("token_refused")
        .await
        .iter()
        .map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect();
    for part in ["does not have the san_dns", "expired, revoked, or of no authority", "not registered for"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
}

async fn a_request_authenticates_in_one_way_rfc6749_2_3(stage: Stage) {
    let billing = stage.server.billing().await;
    let shown = Issued::by_itself("anybody");
    // A certificate beside another credential is no second method; it binds.
    let answer = stage.ask(Some(&shown), &[&billing.basic()], GRANT).await;
    stage.bound(&answer, &shown).await;
    let body = format!("{GRANT}&client_id=billing&client_secret={}", billing.secret);
    stage.bound(&stage.ask(Some(&shown), &[], &body).await, &shown).await;
    let issued = stage.server.events("token_issued").await;
    let methods: Vec<_> = issued.iter().map(|event| event["auth_method"].as_str().unwrap()).collect();
    assert!(
        methods.contains(&"client_secret_basic") && methods.contains(&"client_secret_post"),
        "{methods:?}"
    );
    // Two others stay two.
    let two = stage.ask(Some(&shown), &[&billing.basic()], &body).await;
    two.expect_oauth_error(400, "invalid_request");
    // RFC 8705 §2: the client is named.
    let said = stage.ask(Some(&shown), &[], GRANT).await.expect_oauth_error(401, "invalid_client");
    assert!(said.contains("client_id"), "{said}");
    // Without a certificate a client_id alone is nothing.
    let said = stage.ask(None, &[], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");
    assert!(!said.contains("certificate"), "{said}");
    stage
        .ask(Some(&shown), &["Authorization: Bearer x"], BY_CERTIFICATE)
        .await
        .expect_oauth_error(401, "invalid_client");
}

async fn a_client_can_be_registered_for_both(stage: Stage) {
    stage.billing(&["tls_client_auth", "self_signed_tls_client_auth"]).await;
    let (issued, own) = (stage.issue(SUBJECT), Issued::by_itself("paying"));
    stage.register("paying", &own, json!({})).await;
    stage.bound(&stage.ask(Some(&issued), &[], BY_CERTIFICATE).await, &issued).await;
    stage.bound(&stage.ask(Some(&own), &[], BY_CERTIFICATE).await, &own).await;
    let events = stage.server.events("token_issued").await;
    for (certificate, method) in [(&issued, "tls_client_auth"), (&own, "self_signed_tls_client_auth")] {
        let event = events.iter().find(|event| event["x5t"] == thumbprint(&certificate.der)).unwrap();
        assert_eq!(event["auth_method"], method);
    }
    // The same at the other endpoints that clients authenticate at.
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        for certificate in [&issued, &own] {
            let answer = stage.post(path, Some(certificate), &[], "token=x&client_id=paying").await;
            let body = answer.expect(200);
            let nothing = if path.ends_with("revoke") { Value::Null } else { json!({ "active": false }) };
            assert_eq!(body, nothing, "{path}");
        }
        let other = stage.post(path, Some(&Issued::by_itself("x")), &[], "token=x&client_id=paying").await;
        other.expect_oauth_error(401, "invalid_client");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_real_tls_from_the_handshake_to_the_api() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("Authority"));
    let file = |name: &str| directory.path().join(name);
    fs::write(file("ca.pem"), authority.pem()).unwrap();
    authority.issue("server").write(directory.path(), "server");
    let server = Server::start_with(Engine::Sqlite, |config: &mut Config| {
        let pair = PemPair { certificate: file("server.pem"), key: file("server.key") };
        config.tls.mutual = Some(MutualTls { listen: ([127, 0, 0, 1], 0).into(), pair });
        config.tls.client_ca = Some(file("ca.pem"));
    })
    .await;
    let own = Issued::by_itself("admin");
    let new = json!({ "client_id": "admin", "roles": ["administrator"], "token_binding": "mtls",
        "auth_methods": ["self_signed_tls_client_auth"] });
    server.client(new).await;
    let admin = server.administrator().await;
    admin.post("/clients/admin/certificates", json!({ "certificate": own.pem() })).await.expect(201);

    let mutual = server.app.mtls_address().unwrap();
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let client = tls_client(&authority, Some(&own), &versions);
    let body = "grant_type=client_credentials&client_id=admin&resource=http://localhost:8080/api/v1";
    let head = "Host: jeton.test\r\nConnection: close\r\n";
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (answer, _) = tls_answer(&client, mutual, &request).await.unwrap();
    let token = answer.expect(200)["access_token"].as_str().unwrap().to_owned();
    let (_, claims) = verified(&server, &token).await;
    assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint(&own.der) }));

    let call = format!("GET /api/v1/clients HTTP/1.1\r\n{head}Authorization: Bearer {token}\r\n\r\n");
    tls_answer(&client, mutual, &call).await.unwrap().0.expect(200);
    let other = tls_client(&authority, Some(&Issued::by_itself("admin")), &versions);
    let (refused, _) = tls_answer(&other, mutual, &call).await.unwrap();
    refused.expect_token_refused("bound to a certificate");
    // On the listener that asks for no certificate it is worth nothing.
    let plain = server.api("GET", "/clients", &token, &[], Value::Null).await;
    plain.expect_token_refused("bound to a certificate");
}
