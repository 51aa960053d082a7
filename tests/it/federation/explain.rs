//! *Explain*: what was checked of a token, what held, and how to mend the rest.

use serde_json::{Value, json};

use super::{Platform, cast, present, sub};
use crate::harness::{Answer, Engine, Server, both_engines};
use jeton::domain::trust::KeySource;

both_engines!(what_holds_and_what_fails_is_told_and_nothing_is_used_up,);

async fn ask(server: &Server, admin: &str, body: Value) -> Answer {
    server.api("POST", "/trusted-issuers/explain", admin, &[], body).await
}

/// The step of this name.
fn step(explained: &Value, check: &str) -> Value {
    let steps = explained["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["check"].as_str().unwrap().starts_with(check));
    found.unwrap_or_else(|| panic!("no {check} in {explained}")).clone()
}

fn failed(explained: &Value) -> Vec<&str> {
    let steps = explained["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["verdict"] == "failed").map(|step| step["check"].as_str().unwrap()).collect()
}

async fn what_holds_and_what_fails_is_told_and_nothing_is_used_up(server: Server) {
    let mut platform = cast(&server).await;
    let admin = server.api_token("administrator").await;
    let good = platform.token(&server, "app");
    for more in [json!({}), json!({ "client_id": "app" })] {
        let mut body = json!({ "assertion": good });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let explained = ask(&server, &admin, body).await.expect(200);
        assert_eq!(
            (&explained["accepted"], &explained["client_id"], &explained["trusted_issuer"]),
            (&json!(true), &json!("app"), &json!("ci")),
            "{explained}"
        );
    }
    present(&server, &good).await.expect(200);

    // Everything that is wrong is told, not just the first of it.
    let now = server.app.admin().ambient.now().as_seconds();
    let mut claims = platform.claims(&server, "app-evil");
    claims["aud"] = json!(["https://other.example"]);
    (claims["iat"], claims["exp"]) = (json!(now - 600), json!(now - 120));
    let explained = ask(&server, &admin, json!({ "assertion": platform.sign(&platform.header(), &claims) }))
        .await
        .expect(200);
    let names = failed(&explained);
    assert_eq!((names[0], names[1]), ("aud", "exp"), "{explained}");
    assert!(names[2].starts_with("condition sub") && names.len() == 3, "{explained}");
    assert_eq!(step(&explained, "aud")["found"], "'https://other.example'");
    assert!(step(&explained, "exp")["found"].as_str().unwrap().contains("120 s ago"), "{explained}");
    let condition = step(&explained, "condition sub");
    assert_eq!((&condition["found"], &condition["wanted"]), (&json!("'app-evil'"), &json!("'app'")));

    // Without the claim: how it may be called.
    let names = json!({ "claim": "/kubernetes.io/namespace", "value": "prod" });
    platform.client(&server, "pod", json!([names, { "claim": "sub", "value": "pod" }])).await;
    let pod = json!({ "assertion": platform.token(&server, "pod"), "client_id": "pod" });
    let explained = ask(&server, &admin, pod).await.expect(200);
    let condition = step(&explained, "condition /kubernetes.io/namespace");
    assert_eq!(condition["found"], "absent; the token has aud, exp, iat, iss, jti, sub");
    assert!(condition["mend"].as_str().unwrap().contains("how the claim is called"), "{condition}");
    // An unknown key, with the keys that there are; another spelling of the issuer; two clients.
    let mut stranger = Platform::new("stranger", "https://ci.example");
    "new".clone_into(&mut stranger.kid);
    let explained =
        ask(&server, &admin, json!({ "assertion": stranger.token(&server, "app") })).await.expect(200);
    let key = step(&explained, "key");
    assert_eq!(key["found"], "kid 'new'");
    let known = format!("registered at {}, ", platform.trusted.updated_at);
    let wanted = key["wanted"].as_str().unwrap();
    assert!(wanted.contains(&known) && wanted.contains("s ago: 'key-of-ci' (EC P-256)"), "{key}");
    assert!(key["mend"].as_str().unwrap().contains("register them"), "they are not fetched: {key}");
    let mut header = platform.header();
    header.as_object_mut().unwrap().remove("kid");
    let nameless = stranger.sign(&header, &platform.claims(&server, "app"));
    let nameless = ask(&server, &admin, json!({ "assertion": nameless })).await.expect(200);
    assert_eq!(step(&nameless, "signature")["verdict"], "failed", "the only key is the one: {nameless}");
    let slash = Platform::new("slash", "https://ci.example/");
    let explained =
        ask(&server, &admin, json!({ "assertion": slash.token(&server, "app") })).await.expect(200);
    assert!(
        step(&explained, "issuer")["mend"].as_str().unwrap().contains("'https://ci.example'"),
        "{explained}"
    );
    platform.client(&server, "twin", sub("ap*")).await;
    let explained =
        ask(&server, &admin, json!({ "assertion": platform.token(&server, "app") })).await.expect(200);
    assert_eq!(step(&explained, "client")["found"], "2: app, twin");

    platform.update(&server, |issuer| issuer.enabled = false).await;
    let explained = ask(&server, &admin, json!({ "assertion": good, "client_id": "app" })).await.expect(200);
    assert_eq!(failed(&explained), ["issuer"], "{explained}");
    assert_eq!(step(&explained, "signature")["verdict"], "skipped");
    assert!(step(&explained, "issuer")["mend"].as_str().unwrap().contains("enable"), "{explained}");

    let explained = ask(&server, &admin, json!({ "assertion": "nonsense" })).await.expect(200);
    assert_eq!(failed(&explained), ["form"]);
    let too_long = ask(&server, &admin, json!({ "assertion": "x".repeat(20_000) })).await;
    too_long.expect_problem(422, "invalid");

    // It is recorded without the token, and only for whoever may know.
    let reader = server.api_token("auditor").await;
    ask(&server, &reader, json!({ "assertion": good })).await.expect(200);
    let events = server.events("assertion_explained").await;
    assert!(events.len() >= 8, "{events:?}");
    let signature = good.rsplit('.').next().unwrap();
    for row in server.audit_rows().await {
        assert!(!row.contains(signature), "{row}");
    }
    server.app.stop().await.unwrap();
}

/// What a token would be of, or what it is instead, is told where nobody has vouched for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_is_is_told_although_nobody_vouches_for_it() {
    let server = Server::start_with(Engine::Sqlite, |config| {
        config.outbound.outside.allow_http = true;
        config.outbound.outside.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut platform = cast(&server).await;
    let admin = server.api_token("administrator").await;
    let explain = async |token: &str, used_as: &str| {
        ask(&server, &admin, json!({ "assertion": token, "used_as": used_as })).await.expect(200)
    };
    let mend = |explained: &Value| step(explained, "issuer")["mend"].as_str().unwrap().to_owned();

    // A client's own assertion is of no trusted issuer.
    let own = Platform::new("own", "app");
    let told = mend(&explain(&own.token(&server, "app"), "client_assertion").await);
    assert!(told.contains("a client's own assertion (private_key_jwt)"), "{told}");

    // An issuer that is there, of the other profile.
    let domain = Platform::new("mesh", "spiffe://example.org");
    domain.trust(&server).await;
    let told = mend(&explain(&domain.token(&server, "no SPIFFE ID"), "client_assertion").await);
    assert!(told.contains("the trusted issuer mesh is a SPIFFE trust domain"), "{told}");
    let told = mend(&explain(&platform.token(&server, "app"), "spiffe_assertion").await);
    assert!(told.contains("the trusted issuer ci is no SPIFFE trust domain"), "{told}");

    // Of a subject token the exchange rules are not looked at; and only a SPIFFE ID has a trust domain.
    let explained = explain(&platform.token(&server, "app"), "subject_token").await;
    assert_eq!(step(&explained, "exchange rule")["verdict"], "skipped");
    assert!(!explained["steps"].to_string().contains("trust domain"), "{explained}");

    // What ends before it begins has no lifetime that could hold, however little the clocks are off.
    let now = server.app.admin().ambient.now().as_seconds();
    let mut claims = platform.claims(&server, "app");
    claims["iat"] = json!(now + 20);
    claims["exp"] = json!(now + 10);
    let explained = explain(&platform.sign(&platform.header(), &claims), "client_assertion").await;
    assert_eq!(step(&explained, "lifetime")["verdict"], "failed");

    // While the keys are away, the rest is looked at all the same.
    platform
        .update(&server, |issuer| issuer.keys = KeySource::JwksUri("http://127.0.0.1:1/keys".to_owned()))
        .await;
    let mut claims = platform.claims(&server, "app");
    claims["aud"] = json!("https://other.example");
    let explained = explain(&platform.sign(&platform.header(), &claims), "client_assertion").await;
    assert_eq!(failed(&explained), ["keys", "aud"], "{explained}");
    assert_eq!(step(&explained, "signature")["verdict"], "skipped");
    assert_eq!((&explained["accepted"], &explained["trusted_issuer"]), (&json!(false), &json!("ci")));
    step(&explained, "condition");
}
