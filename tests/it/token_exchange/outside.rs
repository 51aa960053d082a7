//! Identities from elsewhere: tokens of trusted issuers as subject and actor.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Chain, EXCHANGE, access_token, exchange, exchanged, inactive, introspect};
use crate::dpop::{Prover, ask_for};
use crate::harness::{Answer, Client, Server, both_engines};
use crate::private_key_jwt::Signer;
use crate::token::verified;
use jeton::jose::Algorithm;

both_engines!(
    a_trusted_issuer_s_token_is_exchanged_for_what_the_rule_lets_through,
    what_no_rule_lets_through_is_refused_rfc8693_2_2_2,
    it_dies_with_its_issuer_and_its_rule,
    a_service_passes_somebody_from_elsewhere_on,
    an_actor_from_elsewhere_acts_where_a_rule_names_it,
    of_two_issuers_of_one_name_everybody_is_told_apart,
    a_token_counts_as_often_as_its_issuer_says,
    a_rule_about_somebody_from_elsewhere_is_kept_and_shown,
);

const ISSUER: &str = "http://localhost:8080";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Somebody else's issuer, which is trusted, and whose keys are registered.
struct Platform {
    issuer: String,
    signer: Signer,
}

impl Platform {
    async fn start(server: &Server, name: &'static str, reuse: &str) -> Self {
        Self::called(server, name, &format!("https://{name}.example"), reuse).await
    }

    async fn called(server: &Server, name: &'static str, issuer: &str, reuse: &str) -> Self {
        let signer = Signer::new(name, Algorithm::Es256);
        let new = json!({
            "name": name, "issuer": issuer, "reuse": reuse,
            "keys": { "from": "inline", "jwks": { "keys": [signer.jwk()] } },
        });
        server.trusted_issuer(new).await;
        Self { issuer: issuer.to_owned(), signer }
    }

    /// A token of it about `sub`, which says more.
    fn token(&self, server: &Server, sub: &str, more: &Value) -> String {
        let mut claims = self.signer.claims(server);
        claims["iss"] = json!(self.issuer);
        claims["sub"] = json!(sub);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.signer.sign(&json!({ "alg": "ES256", "typ": "JWT" }), &claims)
    }
}

/// Lets `caller` pass jobs of the platform `ci` on that deploy.
fn jobs(caller: &str, target: &str, conditions: &Value) -> Value {
    json!({
        "name": format!("jobs-{caller}-to-{target}"), "caller": { "client": caller },
        "subject": { "trusted_issuer": "ci", "conditions": conditions }, "resource_server": target,
        "permissions": [format!("{target}:read"), format!("{target}:write")],
    })
}

fn deploys() -> Value {
    json!([{ "claim": "sub", "value": "job:*" }, { "claim": "/env/name", "value": "prod" }])
}

/// What a job says that deploys.
fn prod() -> Value {
    json!({ "env": { "name": "prod" } })
}

async fn ask(server: &Server, caller: &Client, token: &str, token_type: &str, more: &str) -> Answer {
    let body = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={token_type}&{more}");
    server.token(caller, &body).await
}

/// `orders` may pass jobs that deploy on to `payments`, and has done so.
async fn deployed(server: &Server) -> (Chain, Platform, String, Value) {
    let chain = Chain::start(server).await;
    let ci = Platform::start(server, "ci", "within_life").await;
    chain.rule(server, jobs("orders", "payments", &deploys())).await;
    let token = access_token(
        &ask(server, &chain.orders, &ci.token(server, "job:1", &prod()), JWT, "scope=payments:read").await,
    );
    let claims = verified(server, &token).await.1;
    (chain, ci, token, claims)
}

async fn a_trusted_issuer_s_token_is_exchanged_for_what_the_rule_lets_through(server: Server) {
    let (chain, ci, token, claims) = deployed(&server).await;
    let mark = claims["jti"].as_str().unwrap()[..6].to_owned();
    for (member, value) in [
        ("sub", json!("ci|job:1")),
        ("sub_id", json!({ "format": "iss_sub", "iss": "https://ci.example", "sub": "job:1" })),
        ("client_id", json!("orders")),
        ("act", json!({ "sub": "orders" })),
        ("scope", json!("payments:read")),
        ("roles", json!([])),
        ("aud", json!("https://payments.example")),
    ] {
        assert_eq!(claims[member], value, "{member}");
    }
    assert!(claims["txn"].as_str().unwrap().starts_with(&mark), "a chain of the caller's");
    let now = server.app.admin().ambient.now().as_seconds();
    assert_eq!(claims["exp"], now + 60, "no longer than the token that it was");

    let shown = introspect(&server, &chain.payments, &token).await;
    for member in ["sub", "sub_id", "act", "scope", "client_id"] {
        assert_eq!(shown[member], claims[member], "{member}");
    }

    // An ID token of theirs is the same; without a scope it is all that the rule lets through.
    let answer = ask(&server, &chain.orders, &ci.token(&server, "job:2", &prod()), ID_TOKEN, "").await;
    assert_eq!(answer.expect(200)["scope"], "payments:read payments:write");

    let path = format!("/audit-events?txn={}", claims["txn"].as_str().unwrap());
    let events = chain.api(&server, "GET", &path, Value::Null).await.expect(200);
    let event = &events["items"][0]["event"];
    assert_eq!((&event["subject"], &event["subject_issuer"]), (&json!("ci|job:1"), &json!("ci")));
    assert_eq!(event["exchange"]["subject_token"]["trusted_issuer"], "ci");
    assert_eq!(event["exchange"].get("subject_jti"), None, "that would be one of ours");

    // A client that is called the same is another one, and taking back what it has takes nothing of this.
    server.client(json!({ "client_id": "ci|job:1" })).await;
    server.clock.advance(Duration::from_secs(1));
    let everything = json!({ "kind": "client", "subject": "ci|job:1" });
    chain.api(&server, "POST", "/revocations", everything).await.expect(201);
    assert_eq!(introspect(&server, &chain.payments, &token).await["active"], true);
    let of_caller = json!({ "kind": "client", "subject": "orders" });
    chain.api(&server, "POST", "/revocations", of_caller).await.expect(201);
    assert_eq!(introspect(&server, &chain.payments, &token).await, inactive());
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn what_no_rule_lets_through_is_refused_rfc8693_2_2_2(server: Server) {
    let (chain, ci, ours, _) = deployed(&server).await;
    let stranger = Signer::new("ci", Algorithm::Es256);
    let forged = Platform { issuer: ci.issuer.clone(), signer: stranger }.token(&server, "job:1", &prod());
    let bound = json!({ "env": { "name": "prod" }, "cnf": { "jkt": "k" } });
    let other = json!({ "env": { "name": "prod" }, "cnf": { "kid": "k" } });
    let may_act = json!({ "env": { "name": "prod" }, "may_act": { "sub": "orders" } });
    let unknown =
        json!({ "env": { "name": "prod" }, "may_act": { "sub": "orders", "iss": "https://x.example" } });
    let job = |more: Value| ci.token(&server, "job:1", &more);
    let rule = "exchange rule 'jobs-orders-to-payments': the rule is not about this subject: the claim '/env/name' must be \
                'prod', and";
    let (tested, nameless) = (format!("{rule} is 'test'"), format!("{rule} there is none"));
    for (row, caller, token, (token_type, more), (error, reason)) in [
        (
            "another's job",
            &chain.orders,
            job(json!({ "env": { "name": "test" } })),
            (JWT, ""),
            ("invalid_target", &*tested),
        ),
        ("a job without it", &chain.orders, job(json!({})), (JWT, ""), ("invalid_target", &nameless)),
        (
            "another caller",
            &chain.payments,
            job(prod()),
            (JWT, ""),
            ("invalid_target", "no exchange rule lets 'payments' pass on 'ci|job:1'"),
        ),
        (
            "another target",
            &chain.orders,
            job(prod()),
            (JWT, "resource=https://ledger.example"),
            ("invalid_target", "no exchange rule lets 'orders' pass on 'ci|job:1'"),
        ),
        (
            "beyond the rule",
            &chain.orders,
            job(prod()),
            (JWT, "scope=payments:audit"),
            ("invalid_scope", "payments:audit"),
        ),
        (
            "not our type",
            &chain.orders,
            job(prod()),
            (ACCESS_TOKEN, ""),
            ("invalid_request", "subject_token: "),
        ),
        (
            "ours as another's",
            &chain.orders,
            ours.clone(),
            (ID_TOKEN, ""),
            ("invalid_request", "no trusted issuer is called 'http://localhost:8080'"),
        ),
        ("forged", &chain.orders, forged, (JWT, ""), ("invalid_request", "signature")),
        (
            "for another",
            &chain.orders,
            job(json!({ "aud": "https://x.example" })),
            (JWT, ""),
            ("invalid_request", "the token's aud is 'https://x.example'"),
        ),
        (
            "ended",
            &chain.orders,
            job(json!({ "exp": 1 })),
            (JWT, ""),
            ("invalid_request", "the token's exp is"),
        ),
        ("bound to a key", &chain.orders, job(bound), (JWT, ""), ("invalid_dpop_proof", "bound to a key")),
        (
            "bound in another way",
            &chain.orders,
            job(other),
            (JWT, ""),
            ("invalid_request", "bound in a way that is not checked here"),
        ),
        (
            "for their own actor",
            &chain.orders,
            job(may_act),
            (JWT, ""),
            ("invalid_request", "may_act names 'ci|orders', and 'orders' acts"),
        ),
        (
            "for an unknown actor",
            &chain.orders,
            job(unknown),
            (JWT, ""),
            (
                "invalid_request",
                "may_act: its iss is 'https://x.example', and no trusted issuer is called so",
            ),
        ),
        ("no token", &chain.orders, "x".to_owned(), (JWT, ""), ("invalid_request", "subject_token: ")),
    ] {
        let refused = ask(&server, caller, &token, token_type, more).await;
        refused.expect_refusal(row, 400, error);
        server.reason_is(row, &refused, reason).await;
    }
    let ours_to_act = json!({ "env": { "name": "prod" }, "may_act": { "sub": "orders", "iss": ISSUER } });
    let token = access_token(&ask(&server, &chain.orders, &job(ours_to_act), JWT, "").await);
    assert_eq!(verified(&server, &token).await.1["may_act"], json!({ "sub": "orders" }));
}

async fn it_dies_with_its_issuer_and_its_rule(server: Server) {
    let (chain, ci, token, _) = deployed(&server).await;
    let alive = async || introspect(&server, &chain.payments, &token).await["active"] == json!(true);
    assert!(alive().await);
    chain.api(&server, "POST", "/trusted-issuers/ci/disable", Value::Null).await.expect(200);
    assert!(!alive().await, "a disabled issuer vouches for nobody");
    let refused = ask(&server, &chain.orders, &ci.token(&server, "job:1", &prod()), JWT, "").await;
    refused.expect_refusal("disabled", 400, "invalid_request");
    server.reason_is("disabled", &refused, "the trusted issuer ci is disabled").await;
    chain.api(&server, "POST", "/trusted-issuers/ci/enable", Value::Null).await.expect(200);
    assert!(alive().await);
    let rule = "/exchange-rules/jobs-orders-to-payments";
    let removal =
        server.api("DELETE", "/trusted-issuers/ci", &chain.admin, &["If-Match: \"3\""], Value::Null);
    let problem = removal.await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains("jobs-orders-to-payments"), "{problem}");
    chain.change_rule(&server, "jobs-orders-to-payments", json!({ "permissions": ["payments:write"] })).await;
    assert!(!alive().await, "what it has is let through no more");
    chain.change_rule(&server, "jobs-orders-to-payments", json!({ "permissions": ["payments:read"] })).await;
    assert!(alive().await);
    chain.api(&server, "POST", &format!("{rule}/disable"), Value::Null).await.expect(200);
    assert!(!alive().await);
    let body = format!("token={token}");
    let headers = [&*chain.orders.basic(), "Content-Type: application/x-www-form-urlencoded"];
    server.send("POST", "/oauth2/revoke", &headers, body).await.expect_text(200, "");
    chain.api(&server, "POST", &format!("{rule}/enable"), Value::Null).await.expect(200);
    assert!(!alive().await, "it was taken back");
}

async fn a_service_passes_somebody_from_elsewhere_on(server: Server) {
    let (chain, _, token, before) = deployed(&server).await;
    let more = "resource=https://ledger.example";
    // Of whom it is about, our token says the name alone.
    chain.rule(&server, jobs("payments", "ledger", &deploys())).await;
    let refused = exchange(&server, &chain.payments, &token, more).await;
    refused.expect_refusal("unknown env", 400, "invalid_target");
    server
        .reason_is("unknown env", &refused, "the claim '/env/name' must be 'prod', and there is none")
        .await;
    let by_name = json!({ "subject": {
        "trusted_issuer": "ci",
        "conditions": [{ "claim": "sub", "value": "job:*" }, { "claim": "iss", "value": "https://ci.example" }],
    } });
    chain.change_rule(&server, "jobs-payments-to-ledger", by_name.clone()).await;
    let (passed_on, claims) = exchanged(&server, &chain.payments, &token, more).await;
    for (member, value) in [
        ("sub", before["sub"].clone()),
        ("sub_id", before["sub_id"].clone()),
        ("txn", before["txn"].clone()),
        ("exp", before["exp"].clone()),
        ("act", json!({ "sub": "payments", "act": { "sub": "orders" } })),
        ("scope", json!("ledger:read ledger:write")),
        ("roles", json!([])),
    ] {
        assert_eq!(claims[member], value, "{member}");
    }
    assert_eq!(introspect(&server, &chain.ledger, &passed_on).await["active"], true);
    let stray = json!({
        "name": "stray", "caller": { "client": "orders" }, "subject": by_name["subject"], "resource_server": "ledger",
        "permissions": ["ledger:read"],
    });
    chain.rule(&server, stray).await;
    let stolen = exchange(&server, &chain.orders, &token, more).await;
    stolen.expect_refusal("addressed to somebody else by now", 400, "invalid_request");
    let reason = "the caller operates none of the subject token's resource servers";
    server.reason_is("addressed to somebody else by now", &stolen, reason).await;
    chain.api(&server, "POST", "/trusted-issuers/ci/disable", Value::Null).await.expect(200);
    assert_eq!(introspect(&server, &chain.ledger, &passed_on).await, inactive());
}

async fn an_actor_from_elsewhere_acts_where_a_rule_names_it(server: Server) {
    let chain = Chain::start(&server).await;
    let mesh = Platform::start(&server, "mesh", "within_life").await;
    let subject = chain.token(&server).await;
    let with = |actor: &str| format!("actor_token={actor}&actor_token_type={JWT}");
    let robot = mesh.token(&server, "robot", &json!({}));
    let refused = exchange(&server, &chain.orders, &subject, &with(&robot)).await;
    refused.expect_refusal("no rule names it", 400, "invalid_target");
    server.reason_is("no rule names it", &refused, "names no such actor").await;
    let actor = json!({ "trusted_issuer": "mesh", "conditions": [{ "claim": "sub", "value": "robot" }] });
    chain.change_rule(&server, "orders-to-payments", json!({ "actor": actor })).await;
    let (token, claims) = exchanged(&server, &chain.orders, &subject, &with(&robot)).await;
    let sub_id = json!({ "format": "iss_sub", "iss": "https://mesh.example", "sub": "robot" });
    assert_eq!(claims["act"], json!({ "sub": "mesh|robot", "sub_id": sub_id }));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("front"), &json!("orders")));
    let event = server.events("token_issued").await.into_iter().find(|event| event["jti"] == claims["jti"]);
    assert_eq!(event.unwrap()["outside_actors"], json!(["mesh|robot"]));
    assert_eq!(introspect(&server, &chain.payments, &token).await["act"], claims["act"]);
    for (row, more, error, reason) in [
        ("nobody", String::new(), "invalid_target", "the rule wants an actor token of a trusted issuer"),
        (
            "another",
            with(&mesh.token(&server, "other", &json!({}))),
            "invalid_target",
            "the rule is not about this actor",
        ),
        (
            "bound",
            with(&mesh.token(&server, "robot", &json!({ "cnf": { "jkt": "k" } }))),
            "invalid_request",
            "bound to a key",
        ),
        (
            "on behalf",
            with(&mesh.token(&server, "robot", &json!({ "act": { "sub": "x" } }))),
            "invalid_request",
            "acts",
        ),
    ] {
        let answer = exchange(&server, &chain.orders, &subject, &more).await;
        answer.expect_refusal(row, 400, error);
        server.reason_is(row, &answer, reason).await;
    }
    chain.api(&server, "POST", "/trusted-issuers/mesh/disable", Value::Null).await.expect(200);
    assert_eq!(introspect(&server, &chain.payments, &token).await, inactive());
    chain.api(&server, "POST", "/trusted-issuers/mesh/enable", Value::Null).await.expect(200);
    chain.change_rule(&server, "orders-to-payments", json!({ "actor": null })).await;
    exchanged(&server, &chain.orders, &subject, "").await;
}

/// Clusters that call themselves the same, and have service accounts of one name each.
async fn of_two_issuers_of_one_name_everybody_is_told_apart(server: Server) {
    let chain = Chain::start(&server).await;
    let shared = "https://kubernetes.default.svc.cluster.local";
    let blue = Platform::called(&server, "blue", shared, "within_life").await;
    let green = Platform::called(&server, "green", shared, "within_life").await;
    let party = |name: &str, sub: &str| json!({ "trusted_issuer": name, "conditions": [{ "claim": "sub", "value": sub }] });
    for (name, target) in [("blue", "payments"), ("green", "ledger")] {
        let rule = json!({
            "name": name, "caller": { "client": "orders" }, "subject": party(name, "pod"), "resource_server": target,
            "permissions": [format!("{target}:read")],
        });
        chain.rule(&server, rule).await;
    }
    // What they may reach says the rule of the cluster whose key has signed.
    let (plain, at) = (json!({}), |target: &str| format!("resource=https://{target}.example"));
    let ask = async |token: &str, more: &str| ask(&server, &chain.orders, token, JWT, more).await;
    for (cluster, name, own, other) in
        [(&blue, "blue", "payments", "ledger"), (&green, "green", "ledger", "payments")]
    {
        let token = cluster.token(&server, "pod", &plain);
        let refused = ask(&token, &at(other)).await;
        refused.expect_refusal(name, 400, "invalid_target");
        let reason = format!("no exchange rule lets 'orders' pass on '{name}|pod'");
        server.reason_is(name, &refused, &reason).await;
        let claims = verified(&server, &access_token(&ask(&token, &at(own)).await)).await.1;
        // RFC 9493 section 3.2.7: by the words of either, the subject would be somebody of both.
        let sub_id = json!({ "format": "opaque", "id": format!("{name}|pod") });
        assert_eq!((&claims["sub"], &claims["sub_id"]), (&json!(format!("{name}|pod")), &sub_id));
    }

    // Whom a cluster lets act is somebody of that cluster, also where a rule would let another's.
    let for_robot = blue.token(&server, "pod", &json!({ "may_act": { "sub": "robot" } }));
    let with = |cluster: &Platform| {
        let actor = cluster.token(&server, "robot", &plain);
        format!("{}&actor_token={actor}&actor_token_type={JWT}", at("payments"))
    };
    chain.change_rule(&server, "blue", json!({ "actor": party("green", "robot") })).await;
    let refused = ask(&for_robot, &with(&green)).await;
    refused.expect_refusal("a namesake acts", 400, "invalid_request");
    server.reason_is("a namesake acts", &refused, "may_act names 'blue|robot', and 'green|robot' acts").await;
    chain.change_rule(&server, "blue", json!({ "actor": party("blue", "robot") })).await;
    let token = access_token(&ask(&for_robot, &with(&blue)).await);
    let claims = verified(&server, &token).await.1;
    let robot = json!({ "sub": "blue|robot", "sub_id": { "format": "opaque", "id": "blue|robot" } });
    assert_eq!((&claims["may_act"], &claims["act"]), (&robot, &robot));
    assert_eq!(introspect(&server, &chain.payments, &token).await["may_act"], robot);
    server.app.stop().await.unwrap();
}

async fn a_token_counts_as_often_as_its_issuer_says(server: Server) {
    let chain = Chain::start(&server).await;
    let ci = Platform::start(&server, "ci", "once").await;
    chain.rule(&server, jobs("orders", "payments", &deploys())).await;
    let token = ci.token(&server, "job:1", &prod());
    let refused = ask(&server, &chain.orders, &token, JWT, "scope=payments:audit").await;
    refused.expect_refusal("a refusal uses nothing up", 400, "invalid_scope");
    server.reason_is("a refusal uses nothing up", &refused, "payments:audit").await;
    // Nor does a challenge (RFC 9449 section 8).
    let body = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={JWT}");
    let mut prover = Prover::with(Algorithm::Es256);
    let challenged = ask_for(&server, &chain.orders, &[&prover.proof(&server)], &body).await;
    challenged.expect_oauth_error(400, "use_dpop_nonce");
    prover.nonce = challenged.header("dpop-nonce").map(str::to_owned);
    ask_for(&server, &chain.orders, &[&prover.proof(&server)], &body).await.expect(200);
    let used = ask(&server, &chain.orders, &token, JWT, "").await;
    used.expect_refusal("used", 400, "invalid_request");
    server.reason_is("used", &used, "was used before").await;
    let change = json!({ "reuse": "within_life" });
    server.api("PATCH", "/trusted-issuers/ci", &chain.admin, &["If-Match: \"1\""], change).await.expect(200);
    for _ in 0..2 {
        ask(&server, &chain.orders, &token, JWT, "").await.expect(200);
    }
}

async fn a_rule_about_somebody_from_elsewhere_is_kept_and_shown(server: Server) {
    let (chain, _, _, _) = deployed(&server).await;
    let rule =
        chain.api(&server, "GET", "/exchange-rules/jobs-orders-to-payments", Value::Null).await.expect(200);
    let mut conditions = deploys();
    conditions.as_array_mut().unwrap().sort_by_key(|it| it["claim"].to_string());
    assert_eq!(rule["subject"], json!({ "trusted_issuer": "ci", "conditions": conditions }));
    assert_eq!(rule["actor"], Value::Null);
    for (subject, problem) in [
        (json!({ "trusted_issuer": "ci" }), "0 conditions"),
        (json!({ "trusted_issuer": "ci", "conditions": [] }), "0 conditions"),
        (
            json!({ "trusted_issuer": "ci", "conditions": [{ "claim": "sub", "value": "*" }] }),
            "none of them is exact",
        ),
        (json!({ "trusted_issuer": "nobody", "conditions": deploys() }), "no trusted issuer 'nobody'"),
        (
            json!({ "trusted_issuer": "ci", "client": "front", "conditions": deploys() }),
            "somebody registered here",
        ),
        (json!({ "client": "front", "conditions": deploys() }), "no \"trusted_issuer\""),
    ] {
        let wrong = json!({
            "name": "wrong", "caller": { "client": "orders" }, "subject": subject, "resource_server": "payments",
            "permissions": ["payments:read"],
        });
        let answer = chain.api(&server, "POST", "/exchange-rules", wrong).await.expect(422);
        assert!(answer.to_string().replace("\\\"", "\"").contains(problem), "{answer}");
    }

    // The dry run tells why, rule by rule.
    let mut wanted = json!({
        "caller": "orders", "outside_subject": { "trusted_issuer": "ci", "claims": { "sub": "job:1", "env": { "name": "prod" } } },
    });
    let tried = async |wanted: &Value| {
        chain.api(&server, "POST", "/exchange-rules/dry-run", wanted.clone()).await.expect(200)
    };
    let found = tried(&wanted).await;
    assert_eq!(
        (&found["allowed"], &found["rules"][0]["bounded_by"]),
        (&json!(true), &json!("rule")),
        "{found}"
    );
    assert_eq!(found["token"]["scope"], "payments:read payments:write");
    wanted["outside_subject"]["claims"]["env"]["name"] = json!("test");
    let found = tried(&wanted).await;
    assert!(
        found["rules"][0]["objection"].as_str().unwrap().contains("must be 'prod', and is 'test'"),
        "{found}"
    );
    let arguments = [
        "exchange-rules",
        "create",
        "by-hand",
        "--caller-client",
        "orders",
        "--subject-issuer",
        "ci",
        "--subject-condition",
        "sub=job:9",
        "--resource-server",
        "payments",
        "--permission",
        "payments:read",
    ];
    let made = crate::harness::jeton(&server.database, &arguments);
    assert_eq!(made["subject"]["conditions"], json!([{ "claim": "sub", "value": "job:9" }]));
    let arguments = [
        "exchange-rules",
        "try",
        "--caller",
        "orders",
        "--subject-issuer",
        "ci",
        "--subject-claims",
        "{\"sub\":\"job:9\"}",
    ];
    assert_eq!(crate::harness::jeton(&server.database, &arguments)["token"]["rule"], "by-hand");
}
