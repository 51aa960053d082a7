//! `private_key_jwt`: RFC 7521, RFC 7523, RFC 10070, OpenID Connect Core §9.

mod command_line;
mod keys;
mod remote;

pub(crate) use remote::Site;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Engine, START, Server, both_engines};
use crate::token::GRANT;
use jeton::admin::By;
use jeton::admin::client_keys::AddKey;
use jeton::domain::ids::ClientId;
use jeton::jose::{Algorithm, RsaBits, SigningKey};

both_engines!(
    a_key_of_each_algorithm_gets_a_token_rfc7523_2_2,
    an_assertion_counts_once_at_every_endpoint_rfc7523_3,
    of_fifty_uses_at_once_one_gets_a_token_rfc7523_3,
    of_two_replicas_one_takes_an_assertion,
    a_refusal_uses_no_assertion_up,
    every_reason_looks_the_same,
    an_assertion_must_be_for_this_issuer_and_now_rfc10070,
    one_way_of_authenticating_in_one_request_rfc7521_4_2,
    a_disabled_or_expired_or_removed_key_or_client_is_refused,
    a_token_never_outlives_its_key,
);

const ISSUER: &str = "http://localhost:8080";

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A public key as OpenSSL writes it.
pub(crate) const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEY5yau0DGWZoFSkwOoFf2+hcNQDRV\nm/9KFnXOVkUbi0+cSt02nq9iqD5pAmoxfO+Rzd1GTYkVFAb1RXszTeWCnQ==\n-----END PUBLIC KEY-----\n";

/// A client that signs assertions.
pub(crate) struct Signer {
    client_id: String,
    key: SigningKey,
    kid: Option<String>,
}

impl Signer {
    pub(crate) fn new(client_id: &str, algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm, RsaBits::default()).unwrap();
        Self { client_id: client_id.to_owned(), key, kid: None }
    }

    /// Registers the client `signer`, which may read orders, with a key of its own.
    pub(crate) async fn start(server: &Server) -> Self {
        server.billing().await;
        let signer = Self::new("signer", Algorithm::Es256);
        register(server, "signer", json!({})).await;
        signer.add_key(server, json!({})).await;
        signer
    }

    /// The public key, and nothing else.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(self.key.public_jwk()).unwrap();
        for name in ["use", "alg", "kid"] {
            jwk.as_object_mut().unwrap().shift_remove(name);
        }
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// Registers the key. Answers its id.
    pub(crate) async fn add_key(&self, server: &Server, mut more: Value) -> String {
        more["jwk"] = self.jwk();
        let new: AddKey = serde_json::from_value(more).unwrap();
        let client_id = ClientId::new(&self.client_id).unwrap();
        let added = server.app.admin().add_key(&By::system(), &client_id, new).await.unwrap();
        added.key_id.to_string()
    }

    pub(crate) fn claims(&self, server: &Server) -> Value {
        let now = server.app.admin().ambient.now().as_seconds();
        let jti = BASE64URL.encode(rand::random::<[u8; 16]>());
        json!({
            "iss": self.client_id, "sub": self.client_id, "aud": ISSUER, "exp": now + 60, "iat": now, "jti": jti,
        })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }

    fn header(&self) -> Value {
        match &self.kid {
            Some(kid) => json!({ "alg": self.key.algorithm(), "kid": kid }),
            None => json!({ "alg": self.key.algorithm() }),
        }
    }

    /// An assertion that counts.
    pub(crate) fn assertion(&self, server: &Server) -> String {
        self.sign(&self.header(), &self.claims(server))
    }

    pub(crate) async fn token(&self, server: &Server) -> Answer {
        present(server, &self.assertion(server)).await
    }
}

/// Registers a client that authenticates by its key alone.
pub(crate) async fn register(server: &Server, client_id: &str, mut more: Value) {
    more["client_id"] = json!(client_id);
    more["roles"] = json!(["order-reader"]);
    more["auth_methods"] = json!(["private_key_jwt"]);
    let new = serde_json::from_value(more).unwrap();
    server.app.admin().create_client(&By::system(), new).await.unwrap();
}

/// The two parameters.
pub(crate) fn parameters(assertion: &str) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_assertion_type", TYPE).append_pair("client_assertion", assertion);
    form.finish()
}

pub(crate) async fn present(server: &Server, assertion: &str) -> Answer {
    server.form(&[], &format!("{GRANT}&{}", parameters(assertion))).await
}

/// Asserts the one refusal, and the reason that only the audit has.
pub(crate) async fn refused(server: &Server, row: &str, answer: &Answer, reason: &str) {
    answer.expect_refusal(row, 401, "invalid_client");
    server.reason_is(row, answer, reason).await;
}

async fn a_key_of_each_algorithm_gets_a_token_rfc7523_2_2(server: Server) {
    server.billing().await;
    for algorithm in
        [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa]
    {
        let client_id = format!("of-{algorithm}");
        register(&server, &client_id, json!({})).await;
        let signer = Signer::new(&client_id, algorithm);
        let key_id = signer.add_key(&server, json!({})).await;
        let answer = signer.token(&server).await;
        answer.expect(200);
        let event = server.recorded(&answer).await.detail;
        assert_eq!(
            (&event["auth_method"], &event["credential_id"], &event["client_id"]),
            (&json!("private_key_jwt"), &json!(key_id), &json!(client_id))
        );
        assert!(event.get("legacy_assertion_audience").is_none());
    }
    // RFC 9864's name of Ed25519.
    let signer = Signer::new("newer", Algorithm::EdDsa);
    register(&server, "newer", json!({})).await;
    signer.add_key(&server, json!({})).await;
    let assertion = signer.sign(&json!({ "alg": "Ed25519" }), &signer.claims(&server));
    present(&server, &assertion).await.expect(200);
    server.app.stop().await.unwrap();
}

async fn an_assertion_counts_once_at_every_endpoint_rfc7523_3(server: Server) {
    let signer = Signer::start(&server).await;
    let at = async |path: &str, assertion: &str| {
        let body = format!("{GRANT}&token=x&{}", parameters(assertion));
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        server.send("POST", path, &form, body).await
    };
    let paths = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];
    for first in paths {
        let assertion = signer.assertion(&server);
        let body = at(first, &assertion).await.expect(200);
        match first {
            "/oauth2/token" => assert_eq!(body["token_type"], "Bearer"),
            "/oauth2/introspect" => assert_eq!(body, json!({ "active": false })),
            _ => assert_eq!(body, Value::Null),
        }
        for second in paths {
            let again = at(second, &assertion).await;
            refused(&server, &format!("{first}, {second}"), &again, "the assertion was used before").await;
        }
    }
    // The same jti of another client is another one.
    let other = Signer::new("other", Algorithm::Es256);
    register(&server, "other", json!({})).await;
    other.add_key(&server, json!({})).await;
    for signer in [&signer, &other] {
        let mut claims = signer.claims(&server);
        claims["jti"] = json!("shared");
        present(&server, &signer.sign(&signer.header(), &claims)).await.expect(200);
    }
    server.app.stop().await.unwrap();
}

async fn of_fifty_uses_at_once_one_gets_a_token_rfc7523_3(server: Server) {
    let signer = Signer::start(&server).await;
    let assertion = signer.assertion(&server);
    let server = std::sync::Arc::new(server);
    let mut uses = JoinSet::new();
    for _ in 0..50 {
        let (server, assertion) = (std::sync::Arc::clone(&server), assertion.clone());
        uses.spawn(async move { present(&server, &assertion).await });
    }
    let answers = uses.join_all().await;
    let (granted, refusals): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(granted.len(), 1, "{answers:?}");
    for answer in refusals {
        answer.expect_oauth_error(401, "invalid_client");
    }
    let refused = server.events("token_refused").await;
    assert!(!refused.is_empty());
    for event in refused {
        assert!(event["reason"].as_str().unwrap().contains("the assertion was used before"), "{event}");
    }
}

async fn of_two_replicas_one_takes_an_assertion(server: Server) {
    let signer = Signer::start(&server).await;
    let replica = server.replica().await;
    let assertion = signer.assertion(&server);
    present(&server, &assertion).await.expect(200);
    present(&replica, &assertion).await.expect_oauth_error(401, "invalid_client");
    replica.app.stop().await.unwrap();
    server.app.stop().await.unwrap();
}

async fn a_refusal_uses_no_assertion_up(server: Server) {
    let signer = Signer::start(&server).await;
    let assertion = signer.assertion(&server);
    // Somebody who has seen it, and breaks its signature: the first character, of which every bit counts, while those of
    // the last one may be padding.
    let (input, signature) = assertion.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let broken = present(&server, &format!("{input}.{first}{}", &signature[1..])).await;
    refused(&server, "a broken signature", &broken, "signature is not that of the client's key").await;
    let body = format!("{GRANT}&scope=nothing&{}", parameters(&assertion));
    server.form(&[], &body).await.expect_oauth_error(400, "invalid_scope");
    present(&server, &assertion).await.expect(200);
    server.app.stop().await.unwrap();
}

async fn every_reason_looks_the_same(server: Server) {
    let signer = Signer::start(&server).await;
    let stranger = Signer::new("stranger", Algorithm::Es256);
    let disabled = Signer::new("disabled", Algorithm::Es256);
    register(&server, "disabled", json!({})).await;
    disabled.add_key(&server, json!({})).await;
    let id = ClientId::new("disabled").unwrap();
    server.app.admin().set_client_enabled(&By::system(), &id, false).await.unwrap();
    let impostor = Signer::new("signer", Algorithm::Es256);
    let by_secret = Signer::new("billing", Algorithm::Es256);

    let public = signer.jwk();
    let claims = signer.claims(&server);
    let with = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.sign(&header, &claims)
    };
    let compact = signer.assertion(&server);
    let parts: Vec<&str> = compact.split('.').collect();
    let unsigned = |header: Value| format!("{}.{}.", BASE64URL.encode(header.to_string()), parts[1]);
    let twice = {
        let header = BASE64URL.encode(r#"{"alg":"ES256","alg":"ES256"}"#);
        let input = format!("{header}.{}", parts[1]);
        format!("{input}.{}", BASE64URL.encode(signer.key.sign(input.as_bytes()).unwrap()))
    };
    let hmac = {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.to_string().as_bytes());
        let input = format!("{}.{}", BASE64URL.encode(r#"{"alg":"HS256"}"#), parts[1]);
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        format!("{input}.{}", BASE64URL.encode(tag))
    };
    let serialised = json!({ "payload": parts[1], "protected": parts[0], "signature": parts[2] }).to_string();
    let rows = [
        ("unknown client", stranger.assertion(&server), "no client has this client_id"),
        ("disabled client", disabled.assertion(&server), "the client is disabled"),
        ("another's signature", impostor.assertion(&server), "signature is not that of the client's key"),
        ("not its method", by_secret.assertion(&server), "not registered for private_key_jwt"),
        ("none", unsigned(json!({ "alg": "none" })), "unsupported header"),
        ("None", unsigned(json!({ "alg": "NoNe" })), "unsupported header"),
        ("no signature", unsigned(json!({ "alg": "ES256" })), "signature is not that"),
        ("the public key as a secret", hmac, "unsupported header"),
        ("embedded jwk", with("jwk", public.clone()), "registered keys count alone"),
        ("jku", with("jku", json!("https://a.example/jwks")), "registered keys count alone"),
        ("x5u", with("x5u", json!("https://a.example/cert")), "registered keys count alone"),
        ("x5c", with("x5c", json!(["AA"])), "registered keys count alone"),
        ("crit", with("crit", json!(["exp"])), "unsupported header"),
        ("another algorithm", with("alg", json!("RS256")), "no key for RS256"),
        ("an access token's type", with("typ", json!("at+jwt")), "another kind of token"),
        ("unknown kid", with("kid", json!("nobody's")), "no key with kid"),
        ("a member twice", twice, "not a JWT"),
        ("JSON serialisation", serialised, "not a JWT"),
        ("an extra dot", format!("{compact}."), "not a JWT"),
        ("four parts", format!("{compact}.AA"), "not a JWT"),
    ];
    let mut seen = Vec::new();
    for (row, assertion, reason) in &rows {
        let answer = present(&server, assertion).await;
        answer.expect_refusal(row, 401, "invalid_client");
        let recorded = server.recorded(&answer).await.detail;
        let recorded = recorded["reason"].as_str().unwrap();
        assert!(recorded.contains(reason), "{row}: {recorded}");
        seen.push((row, answer));
    }
    for (row, answer) in &seen[1..] {
        assert_eq!(answer.comparable(), seen[0].1.comparable(), "{row}");
    }
    present(&server, &compact).await.expect(200);
    // Nothing of an assertion is written down.
    for row in server.audit_rows().await {
        assert!(!row.contains(parts[2]) && !row.contains(parts[1]), "{row}");
    }
    server.app.stop().await.unwrap();
}

async fn an_assertion_must_be_for_this_issuer_and_now_rfc10070(server: Server) {
    let signer = Signer::start(&server).await;
    let now = START.as_seconds();
    let endpoint = format!("{ISSUER}/oauth2/token");
    for (name, value, reason) in [
        ("aud", json!(endpoint), "legacy_assertion_audience"),
        ("aud", json!([ISSUER, "https://other.example"]), "aud is not"),
        ("aud", json!("https://other.example"), "aud is not"),
        ("iss", json!("billing"), "iss is not its sub"),
        ("exp", json!(now), "has ended"),
        ("exp", json!(now + 3_700), "over 3600 s ahead"),
        ("exp", json!("soon"), "exp is no time"),
        ("iat", json!(now + 31), "iat is over 30 s ahead"),
        ("nbf", json!(now + 31), "nbf is over 30 s ahead"),
        ("jti", json!(""), "jti"),
    ] {
        let mut claims = signer.claims(&server);
        claims[name] = value;
        let answer = present(&server, &signer.sign(&signer.header(), &claims)).await;
        refused(&server, &format!("{name}: {claims}"), &answer, reason).await;
    }
    let mut claims = signer.claims(&server);
    claims["aud"] = json!([ISSUER]);
    present(&server, &signer.sign(&signer.header(), &claims)).await.expect(200);

    // The two switches of a client.
    let old = Signer::new("old", Algorithm::Es256);
    register(&server, "old", json!({ "legacy_assertion_audience": true })).await;
    old.add_key(&server, json!({})).await;
    let mut claims = old.claims(&server);
    claims["aud"] = json!([ISSUER, endpoint]);
    let answer = present(&server, &old.sign(&old.header(), &claims)).await;
    answer.expect(200);
    assert_eq!(server.recorded(&answer).await.detail["legacy_assertion_audience"], true);
    old.token(&server).await.expect(200);
    let strict = Signer::new("strict", Algorithm::Es256);
    register(&server, "strict", json!({ "assertion_type_required": true })).await;
    strict.add_key(&server, json!({})).await;
    refused(&server, "no typ", &strict.token(&server).await, "typ is not client-authentication+jwt").await;
    let typed = json!({ "alg": "ES256", "typ": "client-authentication+jwt" });
    present(&server, &strict.sign(&typed, &strict.claims(&server))).await.expect(200);
    server.app.stop().await.unwrap();
}

async fn one_way_of_authenticating_in_one_request_rfc7521_4_2(server: Server) {
    let signer = Signer::start(&server).await;
    let secret = server.secret("signer", json!({})).await;
    let assertion = signer.assertion(&server);
    let both = parameters(&assertion);
    let bad = |row: &'static str, headers: Vec<String>, body: String| (row, headers, body);
    for (row, headers, body) in [
        bad("and a secret", vec![], format!("{both}&client_id=signer&client_secret={}", secret.secret)),
        bad("and Basic", vec![secret.basic()], both.clone()),
        bad("and another scheme", vec!["Authorization: Bearer x".to_owned()], both.clone()),
        bad("two assertions", vec![], format!("{both}&client_assertion={assertion}")),
        bad("without a type", vec![], format!("client_assertion={assertion}")),
        bad("a type alone", vec![], format!("client_assertion_type={TYPE}")),
        bad("another client_id", vec![], format!("{both}&client_id=billing")),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = server.form(&headers, &format!("{GRANT}&{body}")).await;
        answer.expect_refusal(row, 400, "invalid_request");
    }
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let answer =
        server.form(&[], &format!("{GRANT}&client_assertion_type={saml}&client_assertion={assertion}")).await;
    answer.expect_refusal("another type", 401, "invalid_client");
    // Its own client_id may stand there, and need not.
    server.form(&[], &format!("{GRANT}&client_id=signer&{both}")).await.expect(200);
    server.app.stop().await.unwrap();
}

async fn a_disabled_or_expired_or_removed_key_or_client_is_refused(server: Server) {
    let mut signer = Signer::start(&server).await;
    let client_id = ClientId::new("signer").unwrap();
    let by = By::system();
    let admin = server.app.admin();
    let [first] = &admin.keys(&by, &client_id).await.unwrap()[..] else { panic!() };
    signer.token(&server).await.expect(200);

    admin.set_client_enabled(&by, &client_id, false).await.unwrap();
    refused(&server, "disabled", &signer.token(&server).await, "the client is disabled").await;
    admin.set_client_enabled(&by, &client_id, true).await.unwrap();
    signer.token(&server).await.expect(200);

    admin.remove_key(&by, &client_id, &first.key_id).await.unwrap();
    refused(&server, "removed", &signer.token(&server).await, "no key for ES256").await;

    let key_id = signer.add_key(&server, json!({ "expires_in": 60 })).await;
    signer.token(&server).await.expect(200);
    server.clock.advance(Duration::from_mins(1));
    refused(&server, "expired", &signer.token(&server).await, &format!("key {key_id} is expired")).await;

    // Beside an expired key the only other one needs no kid.
    signer = Signer::new("signer", Algorithm::Es256);
    signer.add_key(&server, json!({})).await;
    signer.token(&server).await.expect(200);
    let another = Signer { kid: Some("another".to_owned()), ..Signer::new("signer", Algorithm::Es256) };
    another.add_key(&server, json!({})).await;
    refused(&server, "two fit", &signer.token(&server).await, "several of the client's keys fit").await;
    another.token(&server).await.expect(200);

    // A client's own end.
    let end = admin.ambient.now().plus(Duration::from_mins(5)).to_string();
    let short = Signer::new("short", Algorithm::Es256);
    register(&server, "short", json!({ "expires_at": end })).await;
    short.add_key(&server, json!({})).await;
    short.token(&server).await.expect(200);
    server.clock.advance(Duration::from_mins(5));
    refused(&server, "expired client", &short.token(&server).await, "the client is expired").await;
    server.app.stop().await.unwrap();
}

async fn a_token_never_outlives_its_key(server: Server) {
    server.billing().await;
    register(&server, "signer", json!({})).await;
    let signer = Signer::new("signer", Algorithm::Es256);
    signer.add_key(&server, json!({ "expires_in": 100 })).await;
    assert_eq!(signer.token(&server).await.expect(200)["expires_in"], 100);
    server.app.stop().await.unwrap();
}

async fn introspect_with_an_old_audience(server: &Server, old: &Signer) {
    let mut claims = old.claims(server);
    claims["aud"] = json!(format!("{ISSUER}/oauth2/token"));
    let body = format!("token=x&{}", parameters(&old.sign(&old.header(), &claims)));
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(server.send("POST", "/oauth2/introspect", &form, &body).await.status, 200);
}

/// Has the audit hear of an assertion that only a client's switch let pass.
pub(crate) async fn use_an_old_audience(server: &Server) {
    let old = Signer::new("old", Algorithm::Es256);
    register(server, "old", json!({ "legacy_assertion_audience": true })).await;
    old.add_key(server, json!({})).await;
    introspect_with_an_old_audience(server, &old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_audiences_are_counted_and_the_lifetime_is_a_setting() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.metrics = jeton::config::MetricsListener::At(crate::metrics::ANY);
        config.assertions.max_lifetime = Duration::from_mins(2);
    })
    .await;
    server.billing().await;
    let old = Signer::new("old", Algorithm::Es256);
    register(&server, "old", json!({ "legacy_assertion_audience": true })).await;
    old.add_key(&server, json!({})).await;
    for _ in 0..2 {
        let mut claims = old.claims(&server);
        claims["aud"] = json!(format!("{ISSUER}/oauth2/token"));
        let assertion = old.sign(&old.header(), &claims);
        present(&server, &assertion).await.expect(200);
        refused(&server, "again", &present(&server, &assertion).await, "used before").await;
    }
    old.token(&server).await.expect(200);
    // Where no token's event tells it, the audit hears of it once in a while.
    for _ in 0..2 {
        introspect_with_an_old_audience(&server, &old).await;
    }
    let [told] = &server.events("legacy_assertion_accepted").await[..] else { panic!("one event") };
    let actor = json!({ "client_id": "old", "auth_method": "private_key_jwt" });
    assert!(actor.as_object().unwrap().iter().all(|(name, value)| told["actor"][name] == *value), "{told}");
    let metrics = crate::metrics::scrape(&server).await;
    assert!((crate::metrics::value(&metrics, "jeton_legacy_assertion_audiences_total") - 4.0).abs() < 0.5);
    let mut claims = old.claims(&server);
    claims["exp"] = json!(START.as_seconds() + 151);
    let answer = present(&server, &old.sign(&old.header(), &claims)).await;
    refused(&server, "too long", &answer, "over 120 s ahead").await;
    server.app.stop().await.unwrap();
}
