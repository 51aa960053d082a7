//! What verifiers read: RFC 8414, OpenID Connect Discovery 1.0, RFC 7517, RFC 7638, RFC 9111.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, both_engines};
use crate::token::{GRANT, verified};
use crate::token_exchange::EXCHANGE;
use jeton::config::{Config, Issuer, MasterKeySource};

both_engines!(
    both_documents_say_the_same_rfc8414_2,
    documents_are_cacheable_rfc9111,
    head_answers_without_a_body_rfc9110_9_3_2,
    other_methods_are_405_rfc9110_15_5_6,
    an_issuer_with_a_path_rfc8414_3_1,
    only_public_members_are_published_rfc7517,
    a_kid_is_the_thumbprint_rfc7638_3,
    what_discovery_names_exists_rfc8414_2,
    keys_outlive_a_restart,
    another_master_key_is_refused_at_start,
    a_lost_master_key_is_refused_at_start,
);

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/.well-known/jwks.json";

/// The whole document of an issuer.
fn document(issuer: &str) -> Value {
    let methods =
        ["client_secret_basic", "client_secret_post", "private_key_jwt", "federated_jwt", "spiffe_jwt"];
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": ["client_credentials", EXCHANGE, "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256", "EdDSA"],
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256", "EdDSA"],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256", "EdDSA"],
        "introspection_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256", "EdDSA"],
        "claims_supported": [
            "iss", "exp", "aud", "sub", "sub_id", "client_id", "iat", "jti", "txn", "scope", "roles", "client_kind",
            "act", "may_act", "cnf",
        ],
    })
}

fn keys(jwks: &Answer) -> Vec<Value> {
    jwks.expect(200)["keys"].as_array().unwrap().clone()
}

async fn both_documents_say_the_same_rfc8414_2(server: Server) {
    let (oauth, openid) = (server.get(OAUTH).await, server.get(OPENID).await);
    assert_eq!(oauth.expect(200), document("http://localhost:8080"));
    assert_eq!(oauth.comparable(), openid.comparable());
    assert_eq!(oauth.header("content-type"), Some("application/json"), "RFC 8414 3.2");
    server.get(&format!("{OAUTH}/")).await.expect_problem(404, "no-such-path");
    server.get(&format!("{OAUTH}/tenant/a")).await.expect_problem(404, "no-such-path");
}

async fn documents_are_cacheable_rfc9111(server: Server) {
    for path in [OAUTH, OPENID, JWKS] {
        let whole = server.get(path).await;
        whole.expect(200);
        let caching = Some("public, max-age=300, stale-if-error=3600");
        assert_eq!(whole.header("cache-control"), caching, "{path}");
        assert_eq!(whole.header("content-type"), Some("application/json"), "{path}");
        let etag = whole.header("etag").unwrap();
        assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");
        assert_eq!(server.get(path).await.comparable(), whole.comparable(), "stable: {path}");

        for condition in [etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
            let answer = server.send("GET", path, &[&format!("If-None-Match: {condition}")], "").await;
            assert_eq!((answer.status, &*answer.body), (304, ""), "RFC 9110 15.4.5: {path} {condition}");
            assert_eq!(answer.header("etag"), Some(etag), "{path} {condition}");
            assert_eq!(answer.header("cache-control"), caching, "{path} {condition}");
        }
        for condition in ["\"x\"", "", etag.trim_matches('"'), &etag.to_lowercase().replace('"', "\"-")] {
            let answer = server.send("GET", path, &[&format!("If-None-Match: {condition}")], "").await;
            assert_eq!(answer.status, 200, "{path} {condition}");
            assert_eq!(answer.body, whole.body);
        }
    }
}

async fn head_answers_without_a_body_rfc9110_9_3_2(server: Server) {
    for path in [OAUTH, OPENID, JWKS] {
        let (get, head) = (server.get(path).await, server.send("HEAD", path, &[], "").await);
        assert_eq!((head.status, &*head.body), (200, ""), "{path}: {head:?}");
        assert_eq!(head.comparable().1, get.comparable().1, "{path}: the same headers");
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()), "{path}");
    }
}

async fn other_methods_are_405_rfc9110_15_5_6(server: Server) {
    for path in [OAUTH, OPENID, JWKS] {
        for method in ["POST", "PUT", "DELETE"] {
            let answer = server.send(method, path, &[], "").await;
            answer.expect_problem(405, "no-such-method");
            assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method} {path}");
        }
    }
}

async fn an_issuer_with_a_path_rfc8414_3_1(server: Server) {
    let issuer = "http://localhost:8080/tenant/a";
    let change = |config: &mut Config| config.issuer = Some(Issuer::parse(issuer).unwrap());
    let server = Server::start_with(server.database.engine, change).await;
    for path in [
        "/.well-known/oauth-authorization-server/tenant/a",
        // OpenID Connect Discovery 1.0 §4 appends to the issuer.
        "/tenant/a/.well-known/openid-configuration",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.json(), document(issuer), "{path}");
    }
    for path in [OAUTH, OPENID, JWKS, "/oauth2/token"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 404, "of another issuer: {path}: {answer:?}");
    }

    let billing = server.billing().await;
    let headers = ["Content-Type: application/x-www-form-urlencoded", &*billing.basic()];
    let token = server.send("POST", "/tenant/a/oauth2/token", &headers, GRANT).await.expect(200);
    let jwks = server.get("/tenant/a/.well-known/jwks.json").await;
    let header = token["access_token"].as_str().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&BASE64URL.decode(header).unwrap()).unwrap();
    assert!(keys(&jwks).iter().any(|key| key["kid"] == header["kid"]), "{header}");
    let claims = token["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64URL.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["iss"], issuer);

    let method = server.get("/tenant/a/oauth2/token").await;
    method.expect_oauth_error(405, "invalid_request");
    assert_eq!(method.header("allow"), Some("POST"));
}

async fn only_public_members_are_published_rfc7517(server: Server) {
    let jwks = server.get(JWKS).await;
    assert_eq!(jwks.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
    let keys = keys(&jwks);
    let algorithms: Vec<&str> = keys.iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["ES256", "RS256"], "one of each, in a stable order");
    for key in &keys {
        let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let public: &[&str] = match key["kty"].as_str().unwrap() {
            "EC" => &["kty", "use", "alg", "kid", "crv", "x", "y"],
            "RSA" => &["kty", "use", "alg", "kid", "n", "e"],
            other => panic!("{other}"),
        };
        assert_eq!(members, public.iter().copied().collect(), "{key}");
        assert_eq!(key["use"], "sig");
    }
    let size = |key: &Value, name: &str| BASE64URL.decode(key[name].as_str().unwrap()).unwrap().len();
    assert_eq!(keys[0]["crv"], "P-256");
    assert_eq!((size(&keys[0], "x"), size(&keys[0], "y")), (32, 32), "RFC 7518 6.2.1.2");
    assert_eq!(size(&keys[1], "n"), 256, "RFC 7518 3.3: at least 2048 bits, no leading zero");
    assert_eq!(keys[1]["e"], "AQAB");
}

async fn a_kid_is_the_thumbprint_rfc7638_3(server: Server) {
    for key in keys(&server.get(JWKS).await) {
        let required: &[&str] =
            if key["kty"] == "EC" { &["crv", "kty", "x", "y"] } else { &["e", "kty", "n"] };
        let members: Vec<String> = required.iter().map(|name| format!("\"{name}\":{}", key[*name])).collect();
        let text = format!("{{{}}}", members.join(","));
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        assert_eq!(key["kid"], BASE64URL.encode(hash), "{key}");
    }
}

/// Every endpoint that the document names answers, and nothing that it names is refused.
async fn what_discovery_names_exists_rfc8414_2(server: Server) {
    let billing = server.billing().await;
    let document = server.get(OPENID).await.expect(200);
    let path = |name: &str| {
        document[name].as_str().unwrap().strip_prefix("http://localhost:8080").unwrap().to_owned()
    };
    assert_eq!(server.get(&path("jwks_uri")).await.status, 200);
    let headers = ["Content-Type: application/x-www-form-urlencoded", &*billing.basic()];
    for endpoint in ["introspection_endpoint", "revocation_endpoint"] {
        assert_eq!(server.send("POST", &path(endpoint), &headers, "token=x").await.status, 200, "{endpoint}");
    }
    // The others have tests of their own: they need more than a name.
    assert!(document["grant_types_supported"].as_array().unwrap().contains(&json!(EXCHANGE)));
    for grant_type in ["client_credentials"] {
        let body = format!("grant_type={grant_type}");
        let answer = server.send("POST", &path("token_endpoint"), &headers, &body).await;
        let token = answer.expect(200)["access_token"].as_str().unwrap().to_owned();
        let (header, claims) = verified(&server, &token).await;
        assert!(
            document["id_token_signing_alg_values_supported"].as_array().unwrap().contains(&header["alg"])
        );
        let named = document["claims_supported"].as_array().unwrap();
        for claim in claims.as_object().unwrap().keys() {
            assert!(named.contains(&json!(claim)), "{claim} is not in claims_supported");
        }
    }
}

async fn keys_outlive_a_restart(server: Server) {
    let billing = server.billing().await;
    let token = server.token(&billing, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
    let before = server.get(JWKS).await;
    let server = server.restart_with(|_| {}).await.unwrap();
    assert_eq!(server.get(JWKS).await.comparable(), before.comparable(), "the ETag too");
    verified(&server, &token).await;
    let again = server.token(&billing, GRANT).await.expect(200)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(again.split('.').next(), token.split('.').next(), "the same key signs");
}

async fn another_master_key_is_refused_at_start(server: Server) {
    let another = |config: &mut Config| {
        config.master_key = Some(MasterKeySource::Value(SecretString::from("42".repeat(32))));
    };
    let fault = server.restart_with(another).await.err().unwrap().to_string();
    assert!(fault.contains("which is not configured") && fault.contains("Nothing was changed"), "{fault}");
    assert!(!fault.contains("4242"), "{fault}");
}

async fn a_lost_master_key_is_refused_at_start(server: Server) {
    let path = server.database.directory.path().join("data/master.key");
    let lost = |config: &mut Config| {
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        } else {
            config.master_key = Some(MasterKeySource::File(path.clone()));
        }
    };
    let fault = server.restart_with(lost).await.err().unwrap().to_string();
    assert!(fault.contains("master.key"), "{fault}");
    assert!(fault.contains("the stored signing keys cannot be opened"), "no new one is made: {fault}");
    assert!(!path.exists());
}
