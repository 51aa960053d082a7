//! Secrets are seen once (DESIGN §1): nothing that a server logs at TRACE, or stores, has one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use jeton::runtime::clock::{Clock, SystemClock};

use crate::harness::{Database, Engine, PASSWORD, Process, jeton};

async fn no_secret_is_logged_or_stored(engine: Engine) {
    let database = Database::create(engine).await;
    let server = Process::serve(&database, &[("JETON_LOG__LEVEL", "trace")]).await;
    let http = reqwest::Client::new();
    let token_endpoint = format!("{}/oauth2/token", server.base);
    let ask = async |client: &str, secret: &str, more: &[(&str, &str)]| -> Value {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(more);
        let request = http.post(&token_endpoint).basic_auth(client, Some(secret)).form(&form);
        request.send().await.unwrap().json().await.unwrap()
    };

    let root = jeton(&database, &["clients", "create", "root", "--role", "administrator"]);
    let root_secret = root["secret"]["client_secret"].as_str().unwrap();
    let api_token = ask("root", root_secret, &[("resource", "http://localhost:8080/api/v1")]).await;
    let api_token = api_token["access_token"].as_str().unwrap();
    let post = async |path: &str, body: Value| -> Value {
        let request = http.post(format!("{}/api/v1{path}", server.base)).bearer_auth(api_token).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    post("/resource-servers", json!({
        "name": "orders", "identifier": "https://orders.example", "permissions": [{ "permission": "orders:read" }],
    }))
    .await;
    post(
        "/roles",
        json!({
            "name": "reader", "permissions": [{ "resource_server": "orders", "permission": "orders:read" }],
        }),
    )
    .await;
    post("/clients", json!({ "client_id": "billing", "roles": ["reader"] })).await;
    let generated = post("/clients/billing/secrets", json!({})).await;
    let generated = generated["client_secret"].as_str().unwrap();
    let chosen = "chosen-by-a-person-once";
    let added = post("/clients/billing/secrets", json!({ "secret": chosen })).await;
    assert_eq!(added["client_secret"], chosen);
    let refused = "jtn_refused-because-of-its-form";
    let answer = post("/clients/billing/secrets", json!({ "secret": refused })).await;
    assert!(!answer.to_string().contains(refused), "an error repeats the secret: {answer}");
    let wrong = "wrong-secret-of-some-length";
    let mut tokens = vec![api_token.to_owned()];
    for secret in [generated, chosen] {
        let answer = ask("billing", secret, &[]).await;
        tokens.push(answer["access_token"].as_str().unwrap().to_owned());
    }
    ask("billing", wrong, &[]).await;
    let body = [("grant_type", "client_credentials"), ("client_id", "billing"), ("client_secret", wrong)];
    http.post(&token_endpoint).form(&body).send().await.unwrap();
    http.post(format!("{token_endpoint}?client_secret={wrong}")).form(&body).send().await.unwrap();

    // Somebody else's token is written down neither where it is presented nor where it is explained.
    let [header, claims] =
        [json!({ "alg": "ES256", "kid": "k" }), json!({ "iss": "https://ci.example", "sub": "job" })]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signature = URL_SAFE_NO_PAD.encode([9_u8; 64]);
    let assertion = format!("{header}.{claims}.{signature}");
    let explained = post("/trusted-issuers/explain", json!({ "assertion": assertion })).await;
    assert_eq!(explained["steps"][0]["check"], "form", "{explained}");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let body = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", kind),
        ("client_assertion", assertion.as_str()),
    ];
    assert_eq!(http.post(&token_endpoint).form(&body).send().await.unwrap().status().as_u16(), 401);

    let person = sign_in(&server).await;

    let log = server.log();
    assert!(log.contains("TRACE"), "the server logs at TRACE: {}", &log[..log.len().min(500)]);
    let stored = database.dump().await;
    assert!(stored.contains("$argon2id$") && stored.contains("token_issued"), "the dump has rows");
    let master_key = std::fs::read_to_string(database.directory.path().join("data/master.key"))
        .unwrap_or_else(|_| "07".repeat(32));
    let mut secrets = vec![root_secret.to_owned(), generated.to_owned(), master_key];
    secrets.extend([chosen, refused, wrong].map(str::to_owned));
    for client in ["root", "billing"] {
        for secret in [root_secret, generated, chosen, wrong] {
            secrets.push(STANDARD.encode(format!("{client}:{secret}")));
        }
    }
    // A token's signature is what makes it worth stealing.
    secrets.extend(tokens.iter().map(|token| token.rsplit('.').next().unwrap().to_owned()));
    secrets.push(URL_SAFE_NO_PAD.encode([7_u8; 32]));
    secrets.extend(person);
    secrets.extend([claims, signature]);
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "the log has {secret}");
        assert!(!stored.contains(secret.as_str()), "the database has {secret}");
    }
    server.stop().await;
}

/// Sets the first administrator up by the link in the log, and signs in wrongly too. Answers what must not be found:
/// the link itself is logged, for whoever reads the log of a server that nobody administers yet.
async fn sign_in(server: &Process) -> Vec<String> {
    let log = server.log();
    let (_, rest) = log.split_once("/admin/set-up?link=").unwrap();
    let opener = rest.split_whitespace().next().unwrap();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let post = async |path: &str, fields: &[(&str, &str)], cookie: &str| {
        let request = http.post(format!("{}/admin{path}", server.base)).form(fields);
        request.header("Sec-Fetch-Site", "same-origin").header("Cookie", cookie).send().await.unwrap()
    };
    let fields = [("link", opener), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    let answer = post("/set-up", &fields, "").await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = http.get(format!("{}/admin/second-factor", server.base)).header("Cookie", &cookie);
    let page = page.send().await.unwrap().text().await.unwrap();
    let (_, rest) = page.split_once("name=\"secret\" value=\"").unwrap();
    let secret = rest.split('"').next().unwrap().to_owned();
    let code =
        totp_rs::Builder::new().with_secret(totp_rs::Secret::try_from_base32(&secret).unwrap()).build();
    let now = u64::try_from(SystemClock.now().as_seconds()).unwrap();
    let code = code.unwrap().generate(now).to_string();
    let answer = post("/second-factor", &[("secret", &secret), ("code", &code)], &cookie).await;
    let whole = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = answer.text().await.unwrap();
    let recovery = page.split("<li><code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mistyped = "my password in the wrong field";
    post("/sign-in", &[("name", mistyped), ("password", "wrong and long enough")], "").await;
    post("/sign-in", &[("name", "ada"), ("password", "wrong and long enough")], "").await;
    let openers = [cookie, whole].map(|cookie| cookie.split_once('=').unwrap().1.to_owned());
    let mut secrets = vec![PASSWORD.to_owned(), secret, recovery, mistyped.to_owned()];
    secrets.extend(openers);
    secrets.push("wrong and long enough".to_owned());
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_or_stored_on_sqlite() {
    no_secret_is_logged_or_stored(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_or_stored_on_postgres() {
    no_secret_is_logged_or_stored(Engine::Postgres).await;
}
