//! Clients that prove themselves with X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth). A trusted proxy tells the
//! certificates (RFC 9440), but for one walk over real TLS.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType, date_time_ymd};
use serde_json::{Value, json};

use crate::harness::{Answer, Authority, Engine, Issued, Server, both_engines, tls_answer, tls_client};
use crate::token::verified;
use jeton::config::{CertificateHeader, Config, MutualTls, PemPair};
use jeton::domain::certificate::thumbprint;
use jeton::domain::ids::ClientId;
use jeton::runtime::clock::Clock as _;

both_engines!(
    an_svid_is_the_client_that_it_is_registered_for,
    what_is_taken_away_is_refused_at_once,
    of_two_issuers_of_one_trust_domain_exactly_one_vouches,
);

const ID: &str = "spiffe://example.org/ns/shop/sa/billing";
const ASK: &str = "grant_type=client_credentials&resource=https://orders.example";

// === Registering ===

/// A SPIFFE bundle with these authorities.
fn bundle(authorities: &[&Authority]) -> Value {
    let keys: Vec<Value> = authorities
        .iter()
        .map(|authority| json!({ "kty": "EC", "use": "x509-svid", "x5c": [BASE64.encode(authority.der())] }))
        .collect();
    json!({ "keys": keys, "spiffe_sequence": 1 })
}

/// Where keys are: such a bundle, registered.
fn inline(authorities: &[&Authority]) -> Value {
    json!({ "from": "inline", "jwks": bundle(authorities) })
}

/// Registers a trust domain as a trusted issuer of the same name.
async fn trust(server: &Server, domain: &str, keys: Value) {
    let issuer = format!("spiffe://{domain}");
    let new = json!({ "name": domain, "profile": "spiffe", "issuer": issuer, "keys": keys });
    server.trusted_issuer(new).await;
}

/// A client that SVIDs of `example.org` prove that have this SPIFFE ID. Answers the credential's id.
async fn proven_by(server: &Server, client_id: &str, sub: &str) -> String {
    server
        .client(json!({ "client_id": client_id, "roles": ["order-reader"], "auth_methods": ["spiffe_x509"] }))
        .await;
    server.federated(client_id, "example.org", sub).await
}

/// `server`, where a proxy on this machine tells certificates.
async fn behind_a_proxy(server: Server) -> Server {
    let told = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.tls.header = Some(CertificateHeader::ClientCert);
    };
    let server = server.restart_with(told).await.unwrap();
    server.billing().await;
    server
}

// === Certificates ===

fn svid_params(params: &mut CertificateParams, uris: &[&str]) {
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
}

fn svid(authority: &Authority, uris: &[&str]) -> Issued {
    authority.issue_with("workload", |params| svid_params(params, uris))
}

/// A token request with this certificate, and what is sent along with it.
async fn ask(server: &Server, shown: &Issued, along: &[&Authority], more: &str) -> Answer {
    let encoded = |der: &[u8]| format!(":{}:", BASE64.encode(der));
    let leaf = format!("Client-Cert: {}", encoded(&shown.der));
    let along: Vec<String> = along.iter().map(|authority| encoded(&authority.der())).collect();
    let chain = format!("Client-Cert-Chain: {}", along.join(", "));
    let mut headers = vec!["Content-Type: application/x-www-form-urlencoded", &leaf];
    if !along.is_empty() {
        headers.push(&chain);
    }
    server.send("POST", "/oauth2/token", &headers, &format!("{ASK}{more}")).await
}

async fn claims(server: &Server, answer: &Answer, shown: &Issued) -> Value {
    let token = answer.expect(200)["access_token"].as_str().unwrap().to_owned();
    let (_, claims) = verified(server, &token).await;
    assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint(&shown.der) }), "RFC 8705 3.1");
    claims
}

// === Tests ===

async fn an_svid_is_the_client_that_it_is_registered_for(server: Server) {
    let server = behind_a_proxy(server).await;
    let root = Authority::new("root");
    trust(&server, "example.org", inline(&[&root])).await;
    let credential = proven_by(&server, "paying", ID).await;

    // Named, found, and named as the draft wants it.
    let own = svid(&root, &[ID]);
    for named in ["&client_id=paying", "", &format!("&client_id={ID}")] {
        assert_eq!(claims(&server, &ask(&server, &own, &[], named).await, &own).await["sub"], "paying");
    }
    let events = server.events("token_issued").await;
    let event = events.iter().find(|event| event["x5t"] == thumbprint(&own.der)).unwrap();
    assert_eq!((&event["auth_method"], &event["credential_id"]), (&json!("spiffe_x509"), &json!(credential)));
    // With what leads to the authority, and not without.
    let below = root.below("below");
    let deep = svid(&below, &[ID]);
    claims(&server, &ask(&server, &deep, &[&below], "").await, &deep).await;
    ask(&server, &deep, &[], "").await.expect_oauth_error(401, "invalid_client");
    // No token outlives the certificate that got it.
    let end = server.clock.now().as_seconds() + 30;
    let short = root.issue_with("workload", |params| {
        svid_params(params, &[ID]);
        params.not_after = time::OffsetDateTime::from_unix_timestamp(end).unwrap();
    });
    assert_eq!(claims(&server, &ask(&server, &short, &[], "").await, &short).await["exp"], end);

    // A client that is called by a SPIFFE ID is the one that is named by it, whoever else is meant.
    let other = "spiffe://example.org/other";
    proven_by(&server, other, other).await;
    proven_by(&server, "wide", "spiffe://example.org/o*").await;
    let shown = svid(&root, &[other]);
    let by_name = ask(&server, &shown, &[], &format!("&client_id={other}")).await;
    assert_eq!(claims(&server, &by_name, &shown).await["sub"], other);
    let several = ask(&server, &shown, &[], "").await;
    several.expect_refusal("several", 401, "invalid_client");
    server.reason_is("several", &several, "2 clients").await;
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_hears_the_same_as_a_stranger() {
    let server = behind_a_proxy(Server::start(Engine::Sqlite).await).await;
    let (root, foreign, unknown) = (Authority::new("root"), Authority::new("root"), Authority::new("root"));
    trust(&server, "example.org", inline(&[&root])).await;
    trust(&server, "other.org", inline(&[&foreign])).await;
    trust(&server, "off.org", inline(&[&foreign])).await;
    let admin = server.administrator().await;
    admin.post("/trusted-issuers/off.org/disable", Value::Null).await.expect(200);
    proven_by(&server, "paying", ID).await;
    let expected = ask(&server, &svid(&root, &[ID]), &[], "&client_id=nobody").await;
    expected.expect_oauth_error(401, "invalid_client");

    let made = |change: &dyn Fn(&mut CertificateParams)| {
        root.issue_with("workload", |params| {
            svid_params(params, &[ID]);
            change(params);
        })
    };
    let authority = made(&|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    });
    let cases: [(&str, Issued, &[&Authority], &str); 14] = [
        ("2 URI SANs", svid(&root, &[ID, "spiffe://example.org/second"]), &[], "&client_id=paying"),
        ("2 URI SANs", svid(&root, &[ID, "https://example.org"]), &[], "&client_id=paying"),
        ("0 URI SANs", root.issue("workload"), &[], "&client_id=paying"),
        ("no SPIFFE ID", svid(&root, &["spiffe://example.org"]), &[], "&client_id=paying"),
        ("an authority's", authority, &[], "&client_id=paying"),
        ("digitalSignature", made(&|params| params.key_usages.clear()), &[], "&client_id=paying"),
        ("certificate expired", made(&|params| params.not_after = date_time_ymd(2026, 11, 1)), &[], ""),
        ("certificate not valid yet", made(&|params| params.not_before = date_time_ymd(2027, 1, 1)), &[], ""),
        ("BadSignature", svid(&unknown, &[ID]), &[&unknown], ""),
        ("BadSignature", svid(&foreign, &[ID]), &[&foreign], "&client_id=paying"),
        ("no trusted issuer is", svid(&root, &["spiffe://nowhere.org/a"]), &[], "&client_id=paying"),
        ("off.org is disabled", svid(&foreign, &["spiffe://off.org/a"]), &[], ""),
        ("no federated credential", svid(&foreign, &["spiffe://other.org/a"]), &[], "&client_id=paying"),
        ("not registered for", svid(&root, &[ID]), &[], "&client_id=billing"),
    ];
    for (row, shown, along, named) in cases {
        let answer = ask(&server, &shown, along, named).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{row}");
        server.reason_is(row, &answer, row).await;
    }
    // The client itself is switched off.
    let (by, paying) = (jeton::admin::By::system(), ClientId::new("paying").unwrap());
    server.app.admin().set_client_enabled(&by, &paying, false).await.unwrap();
    for named in ["", "&client_id=paying"] {
        let answer = ask(&server, &svid(&root, &[ID]), &[], named).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{named}");
        server.reason_is(named, &answer, "the client is disabled").await;
    }
    server.app.stop().await.unwrap();
}

async fn what_is_taken_away_is_refused_at_once(server: Server) {
    let server = behind_a_proxy(server).await;
    let (root, next) = (Authority::new("root"), Authority::new("next"));
    trust(&server, "example.org", inline(&[&root])).await;
    let credential = proven_by(&server, "paying", ID).await;
    let (admin, path) = (server.administrator().await, "/trusted-issuers/example.org");
    let (old, new) = (svid(&root, &[ID]), svid(&next, &[ID]));
    // Nothing: it counts.
    let expect = async |reasons: [Option<&str>; 2]| {
        for (shown, reason) in [&old, &new].into_iter().zip(reasons) {
            let answer = ask(&server, shown, &[], "").await;
            match reason {
                None => drop(answer.expect(200)),
                Some(reason) => {
                    answer.expect_oauth_error(401, "invalid_client");
                    server.reason_is(reason, &answer, reason).await;
                }
            }
        }
    };
    let (stranger, off) = (Some("UnknownIssuer"), Some("is disabled"));
    expect([None, stranger]).await;
    // A rotation of the authority: both, then the new one alone.
    admin.patch(path, 1, json!({ "keys": inline(&[&root, &next]) })).await.expect(200);
    expect([None, None]).await;
    admin.patch(path, 2, json!({ "keys": inline(&[&next]) })).await.expect(200);
    expect([stranger, None]).await;
    admin.post(&format!("{path}/disable"), Value::Null).await.expect(200);
    expect([off, off]).await;
    admin.post(&format!("{path}/enable"), Value::Null).await.expect(200);
    expect([stranger, None]).await;
    // A condition that is removed.
    admin.delete(&format!("/clients/paying/federated-credentials/{credential}"), None).await.expect(204);
    expect([stranger, Some("no client has a federated credential")]).await;
    server.app.stop().await.unwrap();
}

async fn of_two_issuers_of_one_trust_domain_exactly_one_vouches(server: Server) {
    let server = behind_a_proxy(server).await;
    let (root, next) = (Authority::new("root"), Authority::new("next"));
    trust(&server, "example.org", inline(&[&root])).await;
    let again = |keys: Value| json!({ "name": "again", "profile": "spiffe", "issuer": "spiffe://example.org", "keys": keys });
    server.trusted_issuer(again(inline(&[&next]))).await;
    proven_by(&server, "paying", ID).await;
    server
        .client(json!({ "client_id": "other", "roles": ["order-reader"], "auth_methods": ["spiffe_x509"] }))
        .await;
    server.federated("other", "again", ID).await;
    // One SPIFFE ID, and the authority says whose.
    for (authority, client_id) in [(&root, "paying"), (&next, "other")] {
        let own = svid(authority, &[ID]);
        assert_eq!(claims(&server, &ask(&server, &own, &[], "").await, &own).await["sub"], client_id);
        let named = if client_id == "paying" { "other" } else { "paying" };
        let answer = ask(&server, &own, &[], &format!("&client_id={named}")).await;
        answer.expect_refusal(named, 401, "invalid_client");
        server.reason_is(named, &answer, "the client has no federated credential of").await;
    }
    // Both have it: nobody knows whose it is, whichever was registered first.
    let admin = server.administrator().await;
    let both = json!({ "keys": inline(&[&next, &root]) });
    admin.patch("/trusted-issuers/again", 1, both).await.expect(200);
    let own = svid(&root, &[ID]);
    for named in ["", "&client_id=paying", "&client_id=other"] {
        let answer = ask(&server, &own, &[], named).await;
        answer.expect_refusal(named, 401, "invalid_client");
        server
            .reason_is(named, &answer, "the trusted issuers again and example.org are one trust domain")
            .await;
    }
    admin.post("/trusted-issuers/again/disable", Value::Null).await.expect(200);
    assert_eq!(claims(&server, &ask(&server, &own, &[], "").await, &own).await["sub"], "paying");
    server.app.stop().await.unwrap();
}

/// The authorities of clients that the server trusts otherwise do not matter, nor does the handshake ask for one.
#[tokio::test(flavor = "multi_thread")]
async fn over_real_tls_with_an_authority_that_only_the_bundle_has() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("Authority"));
    authority.issue("server").write(directory.path(), "server");
    let file = |name: &str| directory.path().join(name);
    let bundles = file("bundles");
    fs::create_dir(&bundles).unwrap();
    let root = Authority::new("root");
    fs::write(bundles.join("example.org"), bundle(&[&root]).to_string()).unwrap();
    let server = Server::start_with(Engine::Sqlite, |config: &mut Config| {
        let pair = PemPair { certificate: file("server.pem"), key: file("server.key") };
        config.tls.mutual = Some(MutualTls { listen: ([127, 0, 0, 1], 0).into(), pair });
        config.federation.bundle_dir = Some(bundles);
    })
    .await;
    server.billing().await;
    trust(&server, "example.org", json!({ "from": "bundle_file", "file": "example.org" })).await;
    proven_by(&server, "paying", ID).await;
    let own = svid(&root, &[ID]);
    let client = tls_client(&authority, Some(&own), &[&rustls::version::TLS13]);
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: jeton.test\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{ASK}",
        ASK.len()
    );
    let (answer, _) = tls_answer(&client, server.app.mtls_address().unwrap(), &request).await.unwrap();
    assert_eq!(claims(&server, &answer, &own).await["sub"], "paying");
    server.app.stop().await.unwrap();
}
