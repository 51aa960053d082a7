//! Tokens of the shapes that platforms make, from a test issuer that serves discovery and keys over TLS.
//!
//! Whom TLS trusts, the operating system says, or `SSL_CERT_FILE`, which must be there before a process starts: the test
//! runs itself again with it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{ISSUER, JWT_BEARER, JWT_SPIFFE, Platform, parameters, sub};
use crate::harness::{Authority, Engine, Server};
use crate::token::GRANT;
use jeton::config::Issuer;
use jeton::domain::trust::{KeySource, Reuse};
use jeton::jose::Algorithm;

/// Where the second process finds what the first has written.
const DIRECTORY: &str = "JETON_TEST_TLS_DIRECTORY";

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

/// A platform with a path of its own at the site.
struct Preset {
    path: &'static str,
    platform: Platform,
    header: Value,
    claims: Value,
    conditions: Value,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it, with SSL_CERT_FILE"]
async fn with_the_authority() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allowed_networks =
            vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    })
    .await;
    server.billing().await;
    let now = server.app.admin().ambient.now().as_seconds();
    let presets = presets(&base, now);
    let documents = presets.iter().map(|preset| (preset.path, preset.platform.jwk())).collect();
    serve(listener, base, documents, Path::new(&directory));
    for Preset { path, platform, header, claims, conditions } in &presets {
        platform.trust(&server).await;
        platform.client(&server, path, conditions.clone()).await;
        let kind = if *path == "spiffe" { JWT_SPIFFE } else { JWT_BEARER };
        let body = format!("{GRANT}&{}", parameters(kind, &platform.sign(header, claims)));
        let answer = server.form(&[], &body).await;
        let event = server.recorded(&answer).await.detail;
        assert_eq!((answer.status, &event["client_id"]), (200, &json!(path)), "{path}: {event}");
    }
    server.app.stop().await.unwrap();
}

/// Another Jeton, which is real: a token of its own for this one.
#[tokio::test(flavor = "multi_thread")]
async fn another_jeton_gets_a_token() {
    let other = Server::start_with(Engine::Sqlite, |config| {
        config.issuer = Some(Issuer::parse("https://other.example").unwrap());
    })
    .await;
    other.resource_server(json!({
        "name": "here", "identifier": ISSUER, "token_profile": "jwt", "permissions": [{ "permission": "be" }],
    }))
    .await;
    other
        .role(json!({
            "name": "caller", "permissions": [{ "resource_server": "here", "permission": "be" }],
        }))
        .await;
    let remote = other.client(json!({ "client_id": "remote", "roles": ["caller"] })).await;
    let token = other.token(&remote, &format!("{GRANT}&resource={ISSUER}")).await.expect(200);
    let keys = other.get("/.well-known/jwks.json").await.expect(200).to_string();

    let server = Server::start(Engine::Sqlite).await;
    server.billing().await;
    let mut trusted = Platform::new("other-jeton", "https://other.example");
    trusted.trusted.keys = KeySource::Inline(keys);
    trusted.trust(&server).await;
    let conditions = json!([{ "claim": "client_id", "value": "remote" }]);
    trusted.client(&server, "local", conditions).await;
    let body = format!("{GRANT}&{}", parameters(JWT_BEARER, token["access_token"].as_str().unwrap()));
    server.form(&[], &body).await.expect(200);
    other.app.stop().await.unwrap();
    server.app.stop().await.unwrap();
}

/// Serves `/PATH/.well-known/openid-configuration`, `/PATH/keys`, and `/spiffe` itself as a bundle.
fn serve(listener: TcpListener, base: String, documents: Vec<(&'static str, Value)>, directory: &Path) {
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
            let asked = request.split(' ').nth(1).unwrap_or_default().trim_matches('/');
            let name = asked.split('/').next().unwrap_or_default();
            let key = documents.iter().find(|(path, _)| *path == name).map(|(_, key)| key);
            let body = match (asked.ends_with("openid-configuration"), key) {
                (true, Some(_)) => {
                    // Azure's issuer ends with a slash, and everybody else's does not.
                    let issuer = format!("{base}/{name}{}", if name == "azure" { "/" } else { "" });
                    json!({ "issuer": issuer, "jwks_uri": format!("{base}/{name}/keys") })
                }
                (false, Some(key)) => {
                    json!({ "keys": [key], "spiffe_sequence": 1, "spiffe_refresh_hint": 300 })
                }
                _ => json!({}),
            };
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
}

/// The claims as the platforms document them, with what differs from token to token made up.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn presets(base: &str, now: i64) -> Vec<Preset> {
    let of = |path: &'static str, algorithm: Algorithm| {
        let issuer = format!("{base}/{path}{}", if path == "azure" { "/" } else { "" });
        Platform::signing(path, &issuer, algorithm)
    };
    let preset =
        |path: &'static str, algorithm: Algorithm, header: Value, claims: Value, conditions: Value| {
            let mut platform = of(path, algorithm);
            platform.trusted.keys = KeySource::Discovery;
            let mut all =
                json!({ "iss": platform.trusted.issuer, "aud": ISSUER, "iat": now, "exp": now + 300 });
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let mut whole = json!({ "alg": algorithm, "kid": platform.kid });
            whole.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
            Preset { path, platform, header: whole, claims: all, conditions }
        };
    let typ = || json!({ "typ": "JWT" });
    let rs256 = Algorithm::Rs256;
    let mut all = vec![
        preset(
            "github",
            rs256,
            json!({ "typ": "JWT", "x5t": "example-thumbprint" }),
            json!({
                "jti": "a5e0f2c4-0d2b-4b52-9f4c-8f4f4e1f4f10", "sub": "repo:octo-org/octo-repo:environment:prod",
                "environment": "prod", "ref": "refs/heads/main", "sha": "example-sha",
                "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor_id": "12",
                "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
                "run_id": "example-run-id", "run_number": "10", "run_attempt": "2",
                "runner_environment": "github-hosted", "actor": "octocat", "workflow": "example-workflow",
                "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch", "ref_type": "branch",
                "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
                "nbf": now - 600,
            }),
            json!([
                { "claim": "repository", "value": "octo-org/octo-repo" },
                { "claim": "environment", "value": "prod" },
                { "claim": "ref", "value": "refs/heads/main" },
            ]),
        ),
        preset(
            "gitlab",
            rs256,
            typ(),
            json!({
                "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "nbf": now - 5,
                "sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "namespace_id": "72",
                "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
                "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com",
                "user_identities": [{ "provider": "github", "extern_uid": "2435223452345" }],
                "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
                "ref_path": "refs/heads/main", "ref_protected": "true", "groups_direct": ["my-group"],
                "environment": "production", "environment_protected": "true", "deployment_tier": "production",
                "runner_id": 1, "runner_environment": "self-hosted",
                "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "public",
                "ci_config_ref_uri": "gitlab.example.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
            }),
            json!([
                { "claim": "project_path", "value": "my-group/my-project" },
                { "claim": "ref_protected", "value": "true" },
                { "claim": "runner_id", "value": "1" },
            ]),
        ),
        preset(
            "kubernetes",
            rs256,
            json!({}),
            json!({
                "aud": [ISSUER], "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a", "nbf": now,
                "exp": now + 3_600, "sub": "system:serviceaccount:prod:app",
                "kubernetes.io": {
                    "namespace": "prod",
                    "node": { "name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced" },
                    "pod": { "name": "app-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33" },
                    "serviceaccount": { "name": "app", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" },
                    "warnafter": now + 3_000,
                },
            }),
            json!([
                { "claim": "/kubernetes.io/namespace", "value": "prod" },
                { "claim": "/kubernetes.io/serviceaccount/name", "value": "app" },
            ]),
        ),
        preset(
            "google",
            rs256,
            typ(),
            json!({
                "azp": "113774264463038321964", "email": "app@project.iam.gserviceaccount.com",
                "email_verified": true, "exp": now + 3_600, "sub": "113774264463038321964",
                "google": { "compute_engine": {
                    "instance_creation_timestamp": 1_152_138, "instance_id": "152986662232938449",
                    "instance_name": "example", "project_id": "project", "project_number": 739_419_398_126_i64,
                    "zone": "us-west1-a",
                } },
            }),
            json!([
                { "claim": "sub", "value": "113774264463038321964" },
                { "claim": "email_verified", "value": "true" },
                { "claim": "/google/compute_engine/project_id", "value": "project" },
            ]),
        ),
        preset(
            "aws",
            Algorithm::Es384,
            typ(),
            json!({
                "sub": "arn:aws:iam::123456789012:role/DataProcessingRole",
                "jti": "8e8b0c5a-3b0e-4f43-9c5f-7c3c2a1f1d11",
                "https://sts.amazonaws.com/": {
                    "aws_account": "123456789012", "source_region": "us-east-1", "org_id": "o-abc1234567",
                    "ou_path": ["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"],
                    "principal_id": "arn:aws:iam::123456789012:role/DataProcessingRole",
                    "principal_tags": { "environment": "production", "team": "data-engineering" },
                    "request_tags": { "job-id": "job-2024-001" },
                },
            }),
            json!([
                { "claim": "sub", "value": "arn:aws:iam::123456789012:role/*" },
                { "claim": "/https:~1~1sts.amazonaws.com~1/principal_tags/team", "value": "data-engineering" },
            ]),
        ),
        preset(
            "azure",
            rs256,
            json!({ "typ": "JWT", "x5t": "example-thumbprint" }),
            json!({
                "nbf": now, "exp": now + 86_400, "aio": "example-aio", "appid": "2d4e8d9b-0c3d-4e4c-a5f1-93b7a6d1c111",
                "appidacr": "2", "idp": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
                "idtyp": "app", "oid": "6b1fbc7e-4f5a-4c0e-9b3a-3c9a5f0d2222",
                "rh": "example-rh", "sub": "6b1fbc7e-4f5a-4c0e-9b3a-3c9a5f0d2222",
                "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47", "uti": "example-uti", "ver": "1.0",
                "xms_mirid": "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/app",
            }),
            json!([
                { "claim": "oid", "value": "6b1fbc7e-4f5a-4c0e-9b3a-3c9a5f0d2222" },
                { "claim": "tid", "value": "72f988bf-86f1-41af-91ab-2d7cd011db47" },
            ]),
        ),
        preset(
            "keycloak",
            rs256,
            typ(),
            json!({
                "jti": "trrtcc:6d1dd0f5-9a5e-4c52-8f3c-0b7c7d0a3333", "sub": "c4ba7f6e-7d7b-4a9b-8a3f-5a4c9f0b4444",
                "typ": "Bearer", "azp": "app", "acr": "1", "scope": "email profile",
                "realm_access": { "roles": ["offline_access", "deployer"] },
                "resource_access": { "account": { "roles": ["view-profile"] } },
                "clientHost": "10.0.0.7", "email_verified": false,
                "preferred_username": "service-account-app", "clientAddress": "10.0.0.7", "client_id": "app",
            }),
            json!([
                { "claim": "azp", "value": "app" },
                { "claim": "/realm_access/roles", "value": "deployer" },
            ]),
        ),
    ];
    for preset in &mut all {
        if preset.path == "azure" {
            preset.platform.trusted.max_lifetime = Duration::from_hours(25);
        }
        // Tokens that the platform hands out again and again.
        if matches!(preset.path, "kubernetes" | "google" | "azure") {
            preset.platform.trusted.reuse = Reuse::WithinLife;
        }
    }
    let mut spiffe = Platform::new("spiffe", "spiffe://example.org");
    spiffe.trusted.keys = KeySource::BundleEndpoint(format!("{base}/spiffe"));
    let header = json!({ "alg": "ES256", "kid": spiffe.kid, "typ": "JWT" });
    let id = "spiffe://example.org/ns/prod/sa/app";
    let claims = json!({ "sub": id, "aud": [ISSUER], "iat": now, "exp": now + 300 });
    all.push(Preset { path: "spiffe", platform: spiffe, header, claims, conditions: sub(id) });
    all
}
