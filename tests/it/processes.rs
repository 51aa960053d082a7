//! Two servers on one database: what changes on one holds on the other within a second.

use serde_json::{Value, json};

use crate::harness::{Database, Engine, Process, http, jeton, within_a_second};

async fn token(process: &Process, client: &str, secret: &str, scope: &str) -> (u16, Value) {
    let answer = http()
        .post(format!("{}/oauth2/token", process.base))
        .basic_auth(client, Some(secret))
        .form(&[("grant_type", "client_credentials"), ("scope", scope)])
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn api(
    process: &Process,
    token: &str,
    method: reqwest::Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let request =
        reqwest::Client::new().request(method, format!("{}/api/v1{path}", process.base)).bearer_auth(token);
    let answer = request.json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn api_token(process: &Process, database: &Database) -> String {
    let made = jeton(database, &["clients", "create", "root", "--role", "administrator"]);
    let secret = made["secret"]["client_secret"].as_str().unwrap();
    let answer = reqwest::Client::new()
        .post(format!("{}/oauth2/token", process.base))
        .basic_auth("root", Some(secret))
        .form(&[("grant_type", "client_credentials"), ("resource", "http://localhost:8080/api/v1")])
        .send()
        .await
        .unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

async fn what_changes_on_one_holds_on_the_other(database: &Database, one: &Process, other: &Process) {
    use reqwest::Method;
    let root = api_token(one, database).await;
    let server = json!({
        "name": "orders", "identifier": "https://orders.example",
        "permissions": [{ "permission": "orders:read" }, { "permission": "orders:write" }],
    });
    assert_eq!(api(one, &root, Method::POST, "/resource-servers", server).await.0, 201);
    let role = json!({
        "name": "reader", "permissions": [{ "resource_server": "orders", "permission": "orders:read" }],
    });
    assert_eq!(api(one, &root, Method::POST, "/roles", role).await.0, 201);

    // The other has asked for this client before, and remembers that there was none.
    assert_eq!(token(other, "billing", "jtn_nobody", "orders:read").await.0, 401);
    let client = json!({ "client_id": "billing", "roles": ["reader"] });
    assert_eq!(api(one, &root, Method::POST, "/clients", client).await.0, 201);
    let (status, added) = api(one, &root, Method::POST, "/clients/billing/secrets", json!({})).await;
    assert_eq!(status, 201);
    let (secret, secret_id) =
        (added["client_secret"].as_str().unwrap(), added["secret_id"].as_str().unwrap());

    let asked = async |process: &Process, scope: &str| {
        let (status, body) = token(process, "billing", secret, scope).await;
        (status, body["error"].as_str().unwrap_or_default().to_owned())
    };
    let granted = (200, String::new());
    within_a_second("made on one, used on the other", async || asked(other, "orders:read").await == granted)
        .await;

    // Both processes sign with keys that both publish.
    let jwks = |process: &Process| reqwest::get(format!("{}/.well-known/jwks.json", process.base));
    assert_eq!(
        jwks(one).await.unwrap().text().await.unwrap(),
        jwks(other).await.unwrap().text().await.unwrap()
    );

    // A role that gives more, then nothing.
    let (_, role) = api(one, &root, Method::GET, "/roles/reader", Value::Null).await;
    let both = json!({ "permissions": [
        { "resource_server": "orders", "permission": "orders:read" },
        { "resource_server": "orders", "permission": "orders:write" },
    ]});
    let patched = reqwest::Client::new()
        .patch(format!("{}/api/v1/roles/reader", one.base))
        .bearer_auth(&root)
        .header("If-Match", format!("\"{}\"", role["version"]))
        .json(&both)
        .send()
        .await
        .unwrap();
    assert_eq!(patched.status(), 200);
    within_a_second("the role gives more", async || asked(other, "orders:write").await == granted).await;
    assert_eq!(api(other, &root, Method::DELETE, "/clients/billing/roles/reader", Value::Null).await.0, 204);
    within_a_second("the role is taken away", async || {
        asked(one, "orders:read").await == (400, "invalid_scope".to_owned())
    })
    .await;
    assert_eq!(api(other, &root, Method::PUT, "/clients/billing/roles/reader", Value::Null).await.0, 204);
    within_a_second("it is given again", async || asked(one, "orders:read").await == granted).await;

    let path = format!("/clients/billing/secrets/{secret_id}");
    assert_eq!(api(one, &root, Method::DELETE, &path, Value::Null).await.0, 204);
    within_a_second("revoked on one, refused by the other", async || {
        asked(other, "orders:read").await == (401, "invalid_client".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_postgres_agree_within_a_second() {
    let database = Database::create(Engine::Postgres).await;
    // Both at once on an empty database: one migrates and makes the keys, the other finds them.
    let (one, other) = tokio::join!(Process::serve(&database, &[]), Process::serve(&database, &[]));
    what_changes_on_one_holds_on_the_other(&database, &one, &other).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_sqlite_file_agree_within_a_second() {
    let database = Database::create(Engine::Sqlite).await;
    let (one, other) = tokio::join!(Process::serve(&database, &[]), Process::serve(&database, &[]));
    what_changes_on_one_holds_on_the_other(&database, &one, &other).await;
    one.stop().await;
    other.stop().await;
}
