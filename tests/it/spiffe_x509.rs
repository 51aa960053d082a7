//! Clients that prove themselves with X.509-SVIDs (draft-ietf-oauth-spiffe-client-auth). A trusted proxy tells the
//! certificates (RFC 9440), but for one walk over real TLS.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType, date_time_ymd};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    Answer, Authority, Engine, Issued, START, Server, both_engines, tls_answer, tls_client,
};
use crate::token::verified;
use jeton::config::{CertificateHeader, Config, MutualTls, PemPair};
use jeton::domain::certificate::thumbprint;
use jeton::domain::claim_conditions::Conditions;
use jeton::domain::ids::{ClientId, TrustedIssuerName, TrustedIssuerUid};
use jeton::domain::trust::{
    FederatedCredential, IssuerProfile, KeySource, Reuse, TrustedIssuer, credential_id,
};
use jeton::jose::Algorithm;
use jeton::runtime::clock::Clock as _;
use jeton::storage::ChangeKind;

both_engines!(an_svid_is_the_client_that_it_is_registered_for, what_is_taken_away_is_refused_at_once);

const ID: &str = "spiffe://example.org/ns/shop/sa/billing";
const ASK: &str = "grant_type=client_credentials&resource=https://orders.example";

// === Registering, past the API ===

/// A SPIFFE bundle with these authorities.
fn bundle(authorities: &[&Authority]) -> String {
    let keys: Vec<Value> = authorities
        .iter()
        .map(|authority| json!({ "kty": "EC", "use": "x509-svid", "x5c": [BASE64.encode(authority.der())] }))
        .collect();
    json!({ "keys": keys, "spiffe_sequence": 1 }).to_string()
}

fn trust_domain(name: &str, authorities: &[&Authority]) -> TrustedIssuer {
    TrustedIssuer {
        uid: TrustedIssuerUid(Uuid::new_v4()),
        name: TrustedIssuerName::new(name).unwrap(),
        description: String::new(),
        enabled: true,
        profile: IssuerProfile::Spiffe,
        issuer: format!("spiffe://{name}"),
        keys: KeySource::Inline(bundle(authorities)),
        algorithms: BTreeSet::from([Algorithm::Es256]),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::from_secs(30),
        reuse: Reuse::WithinLife,
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

async fn trust(server: &Server, issuer: &TrustedIssuer) {
    let mut tx = server.app.admin().store.begin().await.unwrap();
    tx.insert_trusted_issuer(issuer).await.unwrap();
    tx.note_change(&ChangeKind::Catalog, START).await.unwrap();
    tx.commit().await.unwrap();
    catch_up(server).await;
}

/// Changes a trusted issuer; its version is the next one then.
async fn change(server: &Server, issuer: &mut TrustedIssuer, how: impl FnOnce(&mut TrustedIssuer)) {
    how(issuer);
    let mut tx = server.app.admin().store.begin().await.unwrap();
    assert!(tx.update_trusted_issuer(issuer).await.unwrap());
    tx.note_change(&ChangeKind::Catalog, START).await.unwrap();
    tx.commit().await.unwrap();
    issuer.version += 1;
    catch_up(server).await;
}

async fn catch_up(server: &Server) {
    server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
}

/// A client that is proven by tokens of this issuer with this `sub`, and the credential.
async fn proven_by(
    server: &Server,
    client_id: &str,
    issuer: &TrustedIssuer,
    sub: &str,
) -> FederatedCredential {
    let conditions: Conditions = serde_json::from_value(json!([{ "claim": "sub", "value": sub }])).unwrap();
    let credential = FederatedCredential {
        credential_id: credential_id(issuer.uid, &conditions),
        trusted_issuer: issuer.uid,
        conditions,
        description: String::new(),
        created_at: START,
        expires_at: None,
    };
    server
        .client(json!({ "client_id": client_id, "roles": ["order-reader"], "auth_methods": ["spiffe_x509"] }))
        .await;
    let id = ClientId::new(client_id).unwrap();
    let store = &server.app.admin().store;
    let uid = store.registration(&id).await.unwrap().unwrap().client.uid;
    let mut tx = store.begin().await.unwrap();
    tx.insert_federated_credential(uid, &credential).await.unwrap();
    tx.note_change(&ChangeKind::Federation(id), START).await.unwrap();
    tx.commit().await.unwrap();
    catch_up(server).await;
    credential
}

/// `server`, where a proxy on this machine tells certificates.
async fn behind_a_proxy(server: Server) -> Server {
    let told = |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
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

/// That a request was refused because of this.
async fn was_refused(server: &Server, because: &str) {
    let events = server.events("token_refused").await;
    let mut reasons = events.iter().map(|event| event["reason"].as_str().unwrap());
    assert!(reasons.any(|reason| reason.contains(because)), "{because}: {events:?}");
}

// === Tests ===

async fn an_svid_is_the_client_that_it_is_registered_for(server: Server) {
    let server = behind_a_proxy(server).await;
    let root = Authority::new("root");
    let domain = trust_domain("example.org", &[&root]);
    trust(&server, &domain).await;
    let credential = proven_by(&server, "paying", &domain, ID).await;

    // Named, found, and named as the draft wants it.
    let own = svid(&root, &[ID]);
    for named in ["&client_id=paying", "", &format!("&client_id={ID}")] {
        assert_eq!(claims(&server, &ask(&server, &own, &[], named).await, &own).await["sub"], "paying");
    }
    let events = server.events("token_issued").await;
    let event = events.iter().find(|event| event["x5t"] == thumbprint(&own.der)).unwrap();
    assert_eq!(
        (&event["auth_method"], &event["credential_id"]),
        (&json!("spiffe_x509"), &json!(credential.credential_id))
    );
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
    proven_by(&server, other, &domain, other).await;
    proven_by(&server, "wide", &domain, "spiffe://example.org/o*").await;
    let shown = svid(&root, &[other]);
    let by_name = ask(&server, &shown, &[], &format!("&client_id={other}")).await;
    assert_eq!(claims(&server, &by_name, &shown).await["sub"], other);
    ask(&server, &shown, &[], "").await.expect_oauth_error(401, "invalid_client");
    was_refused(&server, "2 clients").await;
    server.app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_hears_the_same_as_a_stranger() {
    let server = behind_a_proxy(Server::start(Engine::Sqlite).await).await;
    let (root, foreign, unknown) = (Authority::new("root"), Authority::new("root"), Authority::new("root"));
    let domain = trust_domain("example.org", &[&root]);
    trust(&server, &domain).await;
    trust(&server, &trust_domain("other.org", &[&foreign])).await;
    trust(&server, &TrustedIssuer { enabled: false, ..trust_domain("off.org", &[&foreign]) }).await;
    proven_by(&server, "paying", &domain, ID).await;
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
        ("digitalSignature", made(&|params| params.key_usages.clear()), &[], ""),
        ("vouches", made(&|params| params.not_after = date_time_ymd(2026, 11, 1)), &[], ""),
        ("vouches", made(&|params| params.not_before = date_time_ymd(2027, 1, 1)), &[], ""),
        ("vouches", svid(&unknown, &[ID]), &[&unknown], ""),
        ("vouches", svid(&foreign, &[ID]), &[&foreign], "&client_id=paying"),
        ("no trusted issuer is", svid(&root, &["spiffe://nowhere.org/a"]), &[], "&client_id=paying"),
        ("off.org is disabled", svid(&foreign, &["spiffe://off.org/a"]), &[], ""),
        ("no federated credential", svid(&foreign, &["spiffe://other.org/a"]), &[], "&client_id=paying"),
        ("not registered for", svid(&root, &[ID]), &[], "&client_id=billing"),
    ];
    for (row, shown, along, named) in cases {
        let answer = ask(&server, &shown, along, named).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{row}");
        was_refused(&server, row).await;
    }
    // The client itself is switched off.
    let (by, paying) = (jeton::admin::By::system(), ClientId::new("paying").unwrap());
    server.app.admin().set_client_enabled(&by, &paying, false).await.unwrap();
    for named in ["", "&client_id=paying"] {
        let answer = ask(&server, &svid(&root, &[ID]), &[], named).await;
        assert_eq!(answer.comparable(), expected.comparable(), "{named}");
    }
    was_refused(&server, "the client is disabled").await;
    server.app.stop().await.unwrap();
}

async fn what_is_taken_away_is_refused_at_once(server: Server) {
    let server = behind_a_proxy(server).await;
    let (root, next) = (Authority::new("root"), Authority::new("next"));
    let mut domain = trust_domain("example.org", &[&root]);
    trust(&server, &domain).await;
    let credential = proven_by(&server, "paying", &domain, ID).await;
    let (old, new) = (svid(&root, &[ID]), svid(&next, &[ID]));
    let expect = async |old_counts: bool, new_counts: bool| {
        for (shown, counts) in [(&old, old_counts), (&new, new_counts)] {
            let answer = ask(&server, shown, &[], "").await;
            if counts {
                answer.expect(200);
            } else {
                answer.expect_oauth_error(401, "invalid_client");
            }
        }
    };
    expect(true, false).await;
    // A rotation of the authority: both, then the new one alone.
    change(&server, &mut domain, |domain| domain.keys = KeySource::Inline(bundle(&[&root, &next]))).await;
    expect(true, true).await;
    change(&server, &mut domain, |domain| domain.keys = KeySource::Inline(bundle(&[&next]))).await;
    expect(false, true).await;
    change(&server, &mut domain, |domain| domain.enabled = false).await;
    expect(false, false).await;
    change(&server, &mut domain, |domain| domain.enabled = true).await;
    expect(false, true).await;
    // A condition that is removed.
    let id = ClientId::new("paying").unwrap();
    let store = &server.app.admin().store;
    let uid = store.registration(&id).await.unwrap().unwrap().client.uid;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_federated_credential(uid, &credential.credential_id).await.unwrap());
    tx.note_change(&ChangeKind::Federation(id), START).await.unwrap();
    tx.commit().await.unwrap();
    catch_up(&server).await;
    expect(false, false).await;
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
    fs::write(bundles.join("example.org"), bundle(&[&root])).unwrap();
    let server = Server::start_with(Engine::Sqlite, |config: &mut Config| {
        let pair = PemPair { certificate: file("server.pem"), key: file("server.key") };
        config.tls.mutual = Some(MutualTls { listen: ([127, 0, 0, 1], 0).into(), pair });
        config.federation.bundle_dir = Some(bundles);
    })
    .await;
    server.billing().await;
    let keys = KeySource::BundleFile("example.org".to_owned());
    let domain = TrustedIssuer { keys, ..trust_domain("example.org", &[]) };
    trust(&server, &domain).await;
    proven_by(&server, "paying", &domain, ID).await;
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
