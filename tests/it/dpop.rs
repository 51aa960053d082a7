//! Tokens that are bound to a key of whoever asks for them: DPoP (RFC 9449).

mod aliases;
mod api;
mod certificate;
mod exchange;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Client, Engine, Server, both_engines};
use crate::private_key_jwt::{self as assertions, Signer, parameters};
use crate::token::{GRANT, verified};
use jeton::jose::{Algorithm, RsaBits, SigningKey};
use jeton::runtime::clock::{Clock, ManualClock};
use jeton::storage::ChangeKind;

both_engines!(
    a_key_of_each_algorithm_binds_a_token_rfc9449_5,
    without_a_proof_a_token_is_bearer_rfc9449_5,
    a_proof_counts_once_rfc9449_11_1,
    of_fifty_uses_of_a_proof_at_once_one_gets_a_token_rfc9449_11_1,
    of_two_replicas_one_takes_a_proof_rfc9449_11_1,
    what_a_proof_must_say_rfc9449_4_3,
    spellings_of_the_endpoint_s_url_are_one_rfc9449_4_3,
    the_header_of_a_proof_is_checked_rfc9449_4_3,
    two_headers_are_refused_rfc9449_4_3,
    of_an_assertion_and_a_proof_the_one_that_was_used_is_refused,
    a_refusal_uses_no_proof_up,
    who_is_not_authenticated_hears_nothing_of_proofs,
    a_nonce_is_asked_for_and_then_taken_rfc9449_8,
    a_nonce_is_renewed_and_ends_rfc9449_8_2,
    a_nonce_of_another_replica_is_taken_rfc9449_8,
    a_nonce_outlives_a_restart_rfc9449_8,
    a_nonce_ends_with_a_restore_beside_a_running_server,
    without_required_nonces_iat_decides_rfc9449_11_1,
    a_client_can_want_bound_tokens_only_rfc9449_5_2,
    a_resource_server_can_want_bound_tokens_only_rfc9449_5,
);

const TOKEN_ENDPOINT: &str = "http://localhost:8080/oauth2/token";

/// A client's key, and the proofs it makes.
pub(crate) struct Prover {
    key: SigningKey,
    /// What the server handed out last.
    pub(crate) nonce: Option<String>,
}

impl Prover {
    pub(crate) fn with(algorithm: Algorithm) -> Self {
        Self { key: SigningKey::generate(algorithm, RsaBits::Rsa2048).unwrap(), nonce: None }
    }

    /// One that has the server's nonce.
    pub(crate) async fn start(server: &Server, client: &Client) -> Self {
        let mut prover = Self::with(Algorithm::Es256);
        prover.nonce = Some(challenge(server, client, &prover).await);
        prover
    }

    fn jkt(&self) -> String {
        self.key.public_jwk().thumbprint()
    }

    fn header(&self) -> Value {
        let mut jwk = serde_json::to_value(self.key.public_jwk()).unwrap();
        for member in ["use", "alg", "kid"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        json!({ "typ": "dpop+jwt", "alg": self.key.algorithm(), "jwk": jwk })
    }

    /// What a good proof for the token endpoint says.
    fn claims(&self, server: &Server) -> Value {
        let mut claims = json!({
            "jti": format!("{:032x}", rand::random::<u128>()),
            "htm": "POST", "htu": TOKEN_ENDPOINT,
            "iat": server.clock.now().as_seconds(),
        });
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = json!(nonce);
        }
        claims
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let input =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("DPoP: {input}.{}", BASE64URL.encode(signature))
    }

    /// The header line of a fresh proof for the token endpoint.
    pub(crate) fn proof(&self, server: &Server) -> String {
        self.signed(&self.header(), &self.claims(server))
    }

    /// The same with some claims changed; null takes one away.
    fn proof_with(&self, server: &Server, changes: &Value) -> String {
        let mut claims = self.claims(server);
        change(&mut claims, changes);
        self.signed(&self.header(), &claims)
    }

    /// The same with some members of the header changed.
    fn proof_under(&self, server: &Server, changes: &Value) -> String {
        let mut header = self.header();
        change(&mut header, changes);
        self.signed(&header, &self.claims(server))
    }
}

fn change(object: &mut Value, changes: &Value) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
}

/// A token request with these `DPoP` headers.
async fn ask(server: &Server, client: &Client, proofs: &[&str]) -> Answer {
    ask_for(server, client, proofs, GRANT).await
}

pub(crate) async fn ask_for(server: &Server, client: &Client, proofs: &[&str], body: &str) -> Answer {
    let basic = client.basic();
    let mut headers = vec![basic.as_str()];
    headers.extend_from_slice(proofs);
    server.form(&headers, body).await
}

/// The nonce that a proof without one is sent back with.
async fn challenge(server: &Server, client: &Client, prover: &Prover) -> String {
    let without = prover.proof_with(server, &json!({ "nonce": null }));
    let answer = ask(server, client, &[&without]).await;
    answer.expect_oauth_error(400, "use_dpop_nonce");
    answer.header("dpop-nonce").unwrap().to_owned()
}

/// Asserts a token that is bound to this key, and hands it on.
pub(crate) async fn bound(server: &Server, answer: &Answer, prover: &Prover) -> String {
    let body = answer.expect(200);
    assert_eq!(body["token_type"], "DPoP", "RFC 9449 5: {answer:?}");
    let token = body["access_token"].as_str().unwrap().to_owned();
    let (_, claims) = verified(server, &token).await;
    assert_eq!(claims["cnf"], json!({ "jkt": prover.jkt() }), "RFC 9449 6.1");
    token
}

#[track_caller]
fn refused(answer: &Answer, row: &str, public: &str) {
    let said = answer.expect_refusal(row, 400, "invalid_dpop_proof");
    assert!(said.contains(public), "{row}: not because of {public:?}: {said}");
    assert_eq!(answer.header("dpop-nonce"), None, "{row}");
}

async fn a_key_of_each_algorithm_binds_a_token_rfc9449_5(server: Server) {
    let billing = server.billing().await;
    let supported = server.get("/.well-known/oauth-authorization-server").await.expect(200)
        ["dpop_signing_alg_values_supported"]
        .clone();
    for algorithm in ["ES256", "ES384", "RS256", "PS256", "EdDSA"] {
        assert!(supported.as_array().unwrap().contains(&json!(algorithm)), "RFC 9449 5.1: {supported}");
        let mut prover = Prover::with(algorithm.parse().unwrap());
        prover.nonce = Some(challenge(&server, &billing, &prover).await);
        let answer = ask(&server, &billing, &[&prover.proof(&server)]).await;
        let token = bound(&server, &answer, &prover).await;
        let recorded = server.recorded(&answer).await;
        assert_eq!(recorded.detail["jkt"], prover.jkt(), "{recorded:?}");
        assert!(!recorded.detail.to_string().contains(&token));
    }
}

async fn without_a_proof_a_token_is_bearer_rfc9449_5(server: Server) {
    let billing = server.billing().await;
    let answer = ask(&server, &billing, &[]).await;
    let body = answer.expect(200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(answer.header("dpop-nonce"), None);
    let (_, claims) = verified(&server, body["access_token"].as_str().unwrap()).await;
    assert_eq!(claims.get("cnf"), None);
    assert_eq!(server.recorded(&answer).await.detail.get("jkt"), None);
}

async fn a_proof_counts_once_rfc9449_11_1(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let proof = prover.proof(&server);
    bound(&server, &ask(&server, &billing, &[&proof]).await, &prover).await;
    let again = ask(&server, &billing, &[&proof]).await;
    refused(&again, "the same", "was used before");
    let recorded = server.recorded(&again).await;
    assert_eq!(recorded.kind, "token_refused");
    assert_eq!(recorded.detail["error"], "invalid_dpop_proof");
    // Another proof of the same jti is another signature, but the same jti.
    let jti = json!({ "jti": "the-same" });
    bound(&server, &ask(&server, &billing, &[&prover.proof_with(&server, &jti)]).await, &prover).await;
    let twice = prover.proof_with(&server, &jti);
    refused(&ask(&server, &billing, &[&twice]).await, "the same jti", "was used before");
    // Another key's jti is its own.
    let mut other = Prover::with(Algorithm::Es256);
    other.nonce.clone_from(&prover.nonce);
    bound(&server, &ask(&server, &billing, &[&other.proof_with(&server, &jti)]).await, &other).await;
}

/// Sends one proof many times at once, to each of these servers in turn. Answers how many tokens came of it.
async fn race(servers: &[Arc<Server>], client: &Client, proof: &str, times: usize) -> usize {
    let mut uses = JoinSet::new();
    for turn in 0..times {
        let (server, basic, proof) =
            (Arc::clone(&servers[turn % servers.len()]), client.basic(), proof.to_owned());
        uses.spawn(async move { server.form(&[&basic, &proof], GRANT).await });
    }
    let answers = uses.join_all().await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        refused(answer, "raced", "was used before");
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

async fn of_fifty_uses_of_a_proof_at_once_one_gets_a_token_rfc9449_11_1(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let (proof, servers) = (prover.proof(&server), [Arc::new(server)]);
    assert_eq!(race(&servers, &billing, &proof, 50).await, 1);
    assert_eq!(servers[0].events("token_issued").await.len(), 1);
}

async fn of_two_replicas_one_takes_a_proof_rfc9449_11_1(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let servers = [Arc::new(server.replica().await), Arc::new(server)];
    for _ in 0..5 {
        let proof = prover.proof(&servers[0]);
        assert_eq!(race(&servers, &billing, &proof, 10).await, 1);
    }
}

async fn what_a_proof_must_say_rfc9449_4_3(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    for (changes, public) in [
        (json!({ "htm": "GET" }), "htm"),
        (json!({ "htm": "post" }), "htm"),
        (json!({ "htm": null }), "htm"),
        (json!({ "htu": "http://localhost:8080/oauth2/introspect" }), "htu is not http://localhost:8080/"),
        (json!({ "htu": "https://localhost:8080/oauth2/token" }), "htu"),
        (json!({ "htu": "http://localhost/oauth2/token" }), "htu"),
        (json!({ "htu": "/oauth2/token" }), "htu"),
        (json!({ "htu": null }), "htu"),
        (json!({ "jti": null }), "jti"),
        (json!({ "jti": "" }), "jti"),
        (json!({ "jti": "a".repeat(257) }), "jti"),
        (json!({ "jti": 7 }), "does not prove"),
        (json!({ "iat": null }), "iat"),
        (json!({ "iat": "soon" }), "does not prove"),
    ] {
        let answer = ask(&server, &billing, &[&prover.proof_with(&server, &changes)]).await;
        refused(&answer, &changes.to_string(), public);
    }
    bound(&server, &ask(&server, &billing, &[&prover.proof(&server)]).await, &prover).await;
}

async fn spellings_of_the_endpoint_s_url_are_one_rfc9449_4_3(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    for htu in [
        "HTTP://LOCALHOST:8080/oauth2/token",
        "http://localhost:8080/oauth2/token?a=b#c",
        "http://localhost:8080/%6fauth2/./x/../token",
    ] {
        let proof = prover.proof_with(&server, &json!({ "htu": htu }));
        bound(&server, &ask(&server, &billing, &[&proof]).await, &prover).await;
    }
}

async fn the_header_of_a_proof_is_checked_rfc9449_4_3(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let private = |member: &str| {
        let mut jwk = prover.header()["jwk"].clone();
        jwk[member] = json!("AQ");
        json!({ "jwk": jwk })
    };
    for (changes, public) in [
        (json!({ "typ": null }), "typ"),
        (json!({ "typ": "JWT" }), "typ"),
        (json!({ "typ": "at+jwt" }), "typ"),
        (json!({ "alg": "none" }), "can be read"),
        (json!({ "alg": "HS256" }), "can be read"),
        (json!({ "alg": "ES384" }), "does not prove"),
        (json!({ "alg": "RS256" }), "does not prove"),
        (json!({ "alg": "ML-DSA-65" }), "does not prove"),
        (json!({ "jwk": null, "kid": "a" }), "does not prove"),
        (json!({ "jwk": { "kty": "oct", "k": "AQ" }, "alg": "ES256" }), "does not prove"),
        (private("d"), "does not prove"),
        (private("k"), "does not prove"),
        (json!({ "jwk": Prover::with(Algorithm::Es256).header()["jwk"] }), "does not prove"),
        (json!({ "crit": ["exp"] }), "can be read"),
    ] {
        let answer = ask(&server, &billing, &[&prover.proof_under(&server, &changes)]).await;
        refused(&answer, &changes.to_string(), public);
    }
    // The audit says which.
    let answer = ask(&server, &billing, &[&prover.proof_under(&server, &private("d"))]).await;
    let reason = server.recorded(&answer).await.detail["reason"].clone();
    assert_eq!(reason, "the DPoP proof: jwk has a private member");
    // The key is the one in jwk, whatever else points to one.
    let pointing = json!({ "kid": "x", "jku": "https://evil.example", "x5c": ["AQ"] });
    let answer = ask(&server, &billing, &[&prover.proof_under(&server, &pointing)]).await;
    bound(&server, &answer, &prover).await;
}

async fn two_headers_are_refused_rfc9449_4_3(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let (one, other) = (prover.proof(&server), prover.proof(&server));
    refused(&ask(&server, &billing, &[&one, &other]).await, "two", "one DPoP header");
    let joined = format!("{one}, {}", other.trim_start_matches("DPoP: "));
    refused(&ask(&server, &billing, &[&joined]).await, "joined", "can be read");
    refused(&ask(&server, &billing, &["DPoP:"]).await, "empty", "can be read");
    // Each by itself is good.
    for proof in [one, other] {
        bound(&server, &ask(&server, &billing, &[&proof]).await, &prover).await;
    }
}

/// RFC 7523 §3 for the assertion, RFC 9449 §11.1 for the proof. Beside a replayed one the other is used up all the same.
async fn of_an_assertion_and_a_proof_the_one_that_was_used_is_refused(server: Server) {
    let signer = Signer::start(&server).await;
    let mut prover = Prover::with(Algorithm::Es256);
    let with = async |assertion: &str, proof: &str| {
        server.form(&[proof], &format!("{GRANT}&{}", parameters(assertion))).await
    };
    let assertion = signer.assertion(&server);
    let challenged = with(&assertion, &prover.proof(&server)).await;
    prover.nonce = Some(challenged.header("dpop-nonce").unwrap().to_owned());
    // A challenge is no use of the assertion that it came with (RFC 9449 section 8).
    let proof = prover.proof(&server);
    with(&assertion, &proof).await.expect(200);
    let again = with(&assertion, &prover.proof(&server)).await;
    assertions::refused(&server, "the assertion", &again, "the assertion was used before").await;
    let again = with(&signer.assertion(&server), &proof).await;
    assert!(again.expect_oauth_error(400, "invalid_dpop_proof").contains("was used before"), "{again:?}");
    let both = with(&assertion, &proof).await;
    assertions::refused(&server, "both", &both, "the assertion was used before").await;
}

async fn a_refusal_uses_no_proof_up(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let proof = prover.proof(&server);
    let body = format!("{GRANT}&scope=orders:write");
    ask_for(&server, &billing, &[&proof], &body).await.expect_oauth_error(400, "invalid_scope");
    bound(&server, &ask(&server, &billing, &[&proof]).await, &prover).await;
}

async fn who_is_not_authenticated_hears_nothing_of_proofs(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let stranger = Client::new("billing", "wrong");
    for proof in [prover.proof(&server), prover.proof_with(&server, &json!({ "nonce": null }))] {
        let answer = ask(&server, &stranger, &[&proof]).await;
        answer.expect_oauth_error(401, "invalid_client");
        assert_eq!(answer.header("dpop-nonce"), None);
    }
}

async fn a_nonce_is_asked_for_and_then_taken_rfc9449_8(server: Server) {
    let billing = server.billing().await;
    let mut prover = Prover::with(Algorithm::Es256);
    let answer = ask(&server, &billing, &[&prover.proof(&server)]).await;
    answer.expect_oauth_error(400, "use_dpop_nonce");
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    assert!(
        nonce.len() >= 22 && nonce.bytes().all(|byte| byte > b' ' && byte < 127),
        "RFC 9449 8.1: {nonce}"
    );
    assert_eq!(server.recorded(&answer).await.detail["error"], "use_dpop_nonce", "recorded as well");
    prover.nonce = Some(nonce.clone());
    let answer = ask(&server, &billing, &[&prover.proof(&server)]).await;
    bound(&server, &answer, &prover).await;
    assert_eq!(answer.header("dpop-nonce"), None, "it is the newest still");
    // The same jti as that of the proof that was sent back: nothing was used up by that.
    let jti = json!({ "jti": "kept" });
    let mut both = jti.clone();
    both["nonce"] = Value::Null;
    let sent_back = ask(&server, &billing, &[&prover.proof_with(&server, &both)]).await;
    sent_back.expect_oauth_error(400, "use_dpop_nonce");
    bound(&server, &ask(&server, &billing, &[&prover.proof_with(&server, &jti)]).await, &prover).await;
    // A made-up one is sent back too, and an iat that is off does not matter beside a good one.
    for wrong in ["", "x", &nonce[1..], &nonce.to_lowercase()] {
        let made_up = prover.proof_with(&server, &json!({ "nonce": wrong }));
        let answer = ask(&server, &billing, &[&made_up]).await;
        answer.expect_refusal(wrong, 400, "use_dpop_nonce");
        assert_eq!(answer.header("dpop-nonce"), Some(&*nonce));
    }
    let off = prover.proof_with(&server, &json!({ "iat": 1 }));
    bound(&server, &ask(&server, &billing, &[&off]).await, &prover).await;
}

async fn a_nonce_is_renewed_and_ends_rfc9449_8_2(server: Server) {
    let billing = server.billing().await;
    let mut prover = Prover::start(&server, &billing).await;
    let old = prover.nonce.clone().unwrap();
    server.clock.advance(Duration::from_secs(150));
    let answer = ask(&server, &billing, &[&prover.proof(&server)]).await;
    bound(&server, &answer, &prover).await;
    let fresh = answer.header("dpop-nonce").expect("the answer brings the next one").to_owned();
    assert_ne!(fresh, old);
    server.clock.advance(Duration::from_secs(150));
    let answer = ask(&server, &billing, &[&prover.proof(&server)]).await;
    let said = answer.expect_oauth_error(400, "use_dpop_nonce");
    assert!(said.contains("too old"), "{said}");
    prover.nonce = Some(fresh);
    bound(&server, &ask(&server, &billing, &[&prover.proof(&server)]).await, &prover).await;
}

async fn a_nonce_of_another_replica_is_taken_rfc9449_8(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let replica = server.replica().await;
    bound(&replica, &ask(&replica, &billing, &[&prover.proof(&server)]).await, &prover).await;
    assert_eq!(challenge(&replica, &billing, &prover).await, prover.nonce.clone().unwrap());
    // One whose clock is ahead hands out the next one already.
    let now = server.clock.now();
    let ahead = server.replica_at(Arc::new(ManualClock::new(now.plus(Duration::from_secs(150))))).await;
    let mut early = Prover::with(Algorithm::Es256);
    early.nonce = Some(challenge(&ahead, &billing, &early).await);
    assert_ne!(early.nonce, prover.nonce);
    bound(&server, &ask(&server, &billing, &[&early.proof(&server)]).await, &early).await;
}

async fn a_nonce_outlives_a_restart_rfc9449_8(server: Server) {
    let billing = server.billing().await;
    let prover = Prover::start(&server, &billing).await;
    let server = server.restart_with(|_| {}).await.unwrap();
    bound(&server, &ask(&server, &billing, &[&prover.proof(&server)]).await, &prover).await;
    let secrets = server.database.texts("SELECT name FROM shared_secrets").await;
    assert_eq!(secrets, ["dpop-nonce"]);
}

/// A restore is settled while a server runs: what was used with a nonce of before is forgotten.
async fn a_nonce_ends_with_a_restore_beside_a_running_server(server: Server) {
    let billing = server.billing().await;
    let old = Prover::start(&server, &billing).await;
    bound(&server, &ask(&server, &billing, &[&old.proof(&server)]).await, &old).await;
    let replica = server.replica().await;
    let store = jeton::app::connect(&server.database.config()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.settle_restore(server.clock.now()).await.unwrap();
    tx.note_change(&ChangeKind::Unknown, server.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    let ended = async {
        for one in [&server, &replica] {
            while challenge(one, &billing, &old).await == *old.nonce.as_ref().unwrap() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .expect("the secret of before is never given up");
    assert_eq!(challenge(&replica, &billing, &old).await, challenge(&server, &billing, &old).await);
    let answer = ask(&server, &billing, &[&old.proof(&server)]).await;
    answer.expect_oauth_error(400, "use_dpop_nonce");
    server.clock.advance(Duration::from_secs(1));
    let fresh = Prover::start(&server, &billing).await;
    bound(&server, &ask(&server, &billing, &[&fresh.proof(&server)]).await, &fresh).await;
}

async fn without_required_nonces_iat_decides_rfc9449_11_1(server: Server) {
    let server =
        Server::start_with(server.database.engine, |config| config.dpop_nonce_required = false).await;
    let billing = server.billing().await;
    let prover = Prover::with(Algorithm::Es256);
    bound(&server, &ask(&server, &billing, &[&prover.proof(&server)]).await, &prover).await;
    let now = server.clock.now().as_seconds();
    for (iat, accepted) in [(now - 61, false), (now - 60, true), (now + 10, true), (now + 11, false)] {
        let answer = ask(&server, &billing, &[&prover.proof_with(&server, &json!({ "iat": iat }))]).await;
        if accepted {
            bound(&server, &answer, &prover).await;
        } else {
            refused(&answer, &(iat - now).to_string(), "iat");
        }
    }
    // Its jti is known for as long as it would be accepted.
    let proof = prover.proof_with(&server, &json!({ "iat": now + 10 }));
    bound(&server, &ask(&server, &billing, &[&proof]).await, &prover).await;
    server.clock.advance(Duration::from_secs(70));
    refused(&ask(&server, &billing, &[&proof]).await, "at its end", "was used before");
    server.clock.advance(Duration::from_secs(1));
    refused(&ask(&server, &billing, &[&proof]).await, "after it", "iat");
    // One that is there must be a good one.
    let made_up = prover.proof_with(&server, &json!({ "nonce": "x" }));
    ask(&server, &billing, &[&made_up]).await.expect_oauth_error(400, "use_dpop_nonce");
}

async fn a_client_can_want_bound_tokens_only_rfc9449_5_2(server: Server) {
    let billing = server.billing().await;
    // Before the server has looked at the client.
    server.database.execute("UPDATE clients SET token_binding = 'dpop' WHERE client_id = 'billing'").await;
    let server = server.restart_with(|_| {}).await.unwrap();
    refused(&ask(&server, &billing, &[]).await, "no proof", "this client gets no token without a DPoP proof");
    let prover = Prover::start(&server, &billing).await;
    bound(&server, &ask(&server, &billing, &[&prover.proof(&server)]).await, &prover).await;
}

async fn a_resource_server_can_want_bound_tokens_only_rfc9449_5(server: Server) {
    let shop = crate::token::shop(&server).await;
    server.database.execute("UPDATE resource_servers SET token_binding = 'dpop' WHERE name = 'stock'").await;
    let server = server.restart_with(|_| {}).await.unwrap();
    let (orders, stock) = ("resource=https://orders.example", "resource=https://stock.example");
    ask_for(&server, &shop, &[], &format!("{GRANT}&{orders}")).await.expect(200);
    let both = format!("{GRANT}&{orders}&{stock}");
    for body in [&format!("{GRANT}&{stock}"), &both] {
        refused(&ask_for(&server, &shop, &[], body).await, body, "tokens for 'https://stock.example' need");
        let prover = Prover::start(&server, &shop).await;
        let answer = ask_for(&server, &shop, &[&prover.proof(&server)], body).await;
        bound(&server, &answer, &prover).await;
    }
}

/// The secret of the nonces is sealed like every key: never in the database as it is, and not opened by another
/// master key.
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_the_nonces_is_sealed() {
    let server = Server::start(Engine::Sqlite).await;
    let sealed = server.database.texts("SELECT hex(sealed) FROM shared_secrets").await;
    assert_eq!(sealed.len(), 1);
    assert!(sealed[0].len() > 2 * 32, "an envelope is longer than what is in it");
    // Passed for another one, or changed, it is refused at the start.
    server
        .database
        .execute("UPDATE shared_secrets SET sealed = (SELECT sealed_private FROM audit_keys)")
        .await;
    let fault = server.restart_with(|_| {}).await.err().expect("it is not the nonces' secret").to_string();
    assert!(fault.contains("shared secret dpop-nonce"), "{fault}");
}
