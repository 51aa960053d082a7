//! Tokens that do not count: one public answer for all of them, and the reason in the audit.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use super::{ISSUER, JWT_BEARER, Platform, cast, parameters, present, present_as, refused, sub};
use crate::harness::{Server, both_engines};
use crate::token::GRANT;
use jeton::jose::Algorithm;

both_engines!(every_reason_looks_the_same, a_token_must_say_all_that_counts, one_way_in_one_request,);

async fn every_reason_looks_the_same(server: Server) {
    let platform = cast(&server).await;
    let other = Platform::new("other", "https://other.example");
    other.trust(&server).await;
    let rsa = Platform::signing("rsa", "https://rsa.example", Algorithm::Rs256);
    rsa.trust(&server).await;
    let claims = platform.claims(&server, "app");
    let good = platform.sign(&platform.header(), &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let with = |name: &str, value: Value| {
        let mut header = platform.header();
        header[name] = value;
        platform.sign(&header, &claims)
    };
    let unsigned = |header: Value, signature: &str| {
        format!("{}.{}.{signature}", BASE64URL.encode(header.to_string()), parts[1])
    };
    let hmac = {
        let key =
            aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, platform.jwk().to_string().as_bytes());
        let input = format!("{}.{}", BASE64URL.encode(r#"{"alg":"HS256","kid":"key-of-ci"}"#), parts[1]);
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        format!("{input}.{}", BASE64URL.encode(tag))
    };
    let ps256 = {
        let header = json!({ "alg": "PS256", "kid": rsa.kid });
        rsa.sign(&header, &rsa.claims(&server, "app"))
    };
    let as_other = |name: &str| {
        let mut claims = other.claims(&server, "app");
        claims["iss"] = json!(platform.trusted.issuer);
        other.sign(&json!({ "alg": "ES256", "kid": name }), &claims)
    };
    let nobody = Platform::new("nobody", "https://nobody.example");
    let rows = [
        ("another's key, its kid", as_other("key-of-other"), "has no key with kid 'key-of-other'"),
        ("another's key, our kid", as_other("key-of-ci"), "signature is not that of the key 'key-of-ci'"),
        ("a truncated signature", good[..good.len() - 4].to_owned(), "signature is not that"),
        ("no signature", unsigned(platform.header(), ""), "signature is not that"),
        ("none", unsigned(json!({ "alg": "none" }), ""), "unsupported header"),
        ("the public key as a secret", hmac, "unsupported header"),
        ("an RSA key as another", ps256, "signed with PS256, which the trusted issuer rsa does not use"),
        ("an algorithm that is not allowed", with("alg", json!("ES384")), "ES384"),
        ("jwk", with("jwk", platform.jwk()), "registered keys count alone"),
        ("jku", with("jku", json!("https://evil.example")), "registered keys count alone"),
        ("crit", with("crit", json!(["exp"])), "unsupported header"),
        ("an access token's typ", with("typ", json!("at+jwt")), "typ is at+jwt"),
        (
            "unknown issuer",
            nobody.token(&server, "app"),
            "no trusted issuer is called 'https://nobody.example'",
        ),
        (
            "a slash",
            {
                let mut claims = claims.clone();
                claims["iss"] = json!("https://ci.example/");
                platform.sign(&platform.header(), &claims)
            },
            "no trusted issuer is called 'https://ci.example/'",
        ),
        ("nobody's subject", platform.token(&server, "stranger"), "no client has a federated credential"),
        ("another's conditions", other.token(&server, "app"), "no client has a federated credential"),
    ];
    let first = present(&server, &rows[0].1).await;
    for (row, token, reason) in &rows {
        let answer = present(&server, token).await;
        refused(&server, row, &answer, reason).await;
        assert_eq!(answer.comparable(), first.comparable(), "{row}");
    }
    // The same of a client that is named: repeated refusals wait, so of some rows only.
    for (row, token, _) in [&rows[0], &rows[rows.len() - 1]] {
        let answer = present_as(&server, "app", token).await;
        answer.expect_refusal(row, 401, "invalid_client");
        assert_eq!(answer.comparable(), first.comparable(), "{row}");
    }
    present(&server, &good).await.expect(200);
    // Nothing of a token is written down.
    for row in server.audit_rows().await {
        assert!(!row.contains(parts[2]) && !row.contains(parts[1]), "{row}");
    }
    server.app.stop().await.unwrap();
}

async fn a_token_must_say_all_that_counts(server: Server) {
    let platform = cast(&server).await;
    let now = server.app.admin().ambient.now().as_seconds();
    let rows = [
        ("aud", json!("https://other.example"), "aud is 'https://other.example'"),
        ("aud", json!([ISSUER, "https://other.example"]), "alone"),
        ("aud", json!([]), "aud is an empty list"),
        ("aud", Value::Null, "no aud"),
        ("exp", json!(now - 31), "exp is"),
        ("exp", json!(now - 10), "lifetime is -10 s"),
        ("exp", json!("soon"), "no time"),
        ("exp", Value::Null, "exp is absent"),
        ("iat", json!(now + 31), "iat is"),
        ("iat", Value::Null, "iat is absent"),
        ("iat", json!(now - 3_001), "lifetime is 3601 s"),
        ("nbf", json!(now + 31), "nbf is"),
        ("jti", json!(5), "jti is no text"),
        ("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), "bound to a key"),
    ];
    let token = |name: &str, value: &Value| {
        let mut claims = platform.claims(&server, "app");
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
        platform.sign(&platform.header(), &claims)
    };
    for (name, value, reason) in &rows {
        let answer = present(&server, &token(name, value)).await;
        refused(&server, &format!("{name}: {value}"), &answer, reason).await;
    }
    // Without sub it is read as a client's own, which must have one.
    for value in [Value::Null, json!(5)] {
        refused(&server, "sub", &present(&server, &token("sub", &value)).await, "sub").await;
    }
    let long = token("sub", &json!("x".repeat(501)));
    refused(&server, "a long sub", &present(&server, &long).await, "sub is").await;
    let huge = token("more", &json!("x".repeat(17_000)));
    refused(&server, "too long", &present(&server, &huge).await, "characters").await;
    // Within the leeway, and as a list of one.
    let mut over = platform.claims(&server, "app");
    (over["iat"], over["exp"]) = (json!(now - 60), json!(now - 29));
    present(&server, &platform.sign(&platform.header(), &over)).await.expect(200);
    for (name, value) in [("iat", json!(now + 29)), ("nbf", json!(now + 29)), ("aud", json!([ISSUER]))] {
        present(&server, &token(name, &value)).await.expect(200);
    }
    // The audience that the issuer is registered with.
    let mut platform = platform;
    platform.update(&server, |issuer| issuer.audience = Some("sts.example".to_owned())).await;
    refused(&server, "ours", &present(&server, &platform.token(&server, "app")).await, "'sts.example' alone")
        .await;
    let mut claims = platform.claims(&server, "app");
    claims["aud"] = json!("sts.example");
    present(&server, &platform.sign(&platform.header(), &claims)).await.expect(200);
    server.app.stop().await.unwrap();
}

async fn one_way_in_one_request(server: Server) {
    let platform = cast(&server).await;
    let billing = server.secret("billing", json!({})).await;
    let token = platform.token(&server, "app");
    let body = format!("{GRANT}&{}", parameters(JWT_BEARER, &token));
    server.form(&[&billing.basic()], &body).await.expect_oauth_error(400, "invalid_request");
    let unknown = format!("{GRANT}&{}", parameters("urn:example:other", &token));
    server.form(&[], &unknown).await.expect_oauth_error(401, "invalid_client");
    // A wrong use of one does not make it another.
    let svid = format!("{GRANT}&{}", parameters(super::JWT_SPIFFE, &token));
    refused(&server, "as a JWT-SVID", &server.form(&[], &svid).await, "no SPIFFE ID").await;
    // A client that is not registered for the method.
    platform
        .client_with(&server, "by-secret", sub("s"), json!({ "auth_methods": ["client_secret_basic"] }))
        .await;
    let answer = present(&server, &platform.token(&server, "s")).await;
    refused(&server, "not its method", &answer, "not registered for federated_jwt").await;
    present(&server, &token).await.expect(200);
    server.app.stop().await.unwrap();
}
