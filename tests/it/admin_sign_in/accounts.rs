//! Accounts: what ends sessions, who may make whom, the command line.

use secrecy::ExposeSecret;
use serde_json::json;

use jeton::admin::By;
use jeton::config::{Config, MasterKeySource};
use jeton::domain::builtin::HeldBy;
use jeton::domain::ids::AdministratorName;

use crate::harness::{Browser, Engine, PASSWORD, Person, Server, both_engines, command, field, jeton, run};

both_engines!(
    who_is_disabled_or_deleted_is_out_at_once,
    a_new_password_ends_everything_from_before,
    nobody_makes_somebody_stronger,
    a_link_does_not_outlive_the_role_that_it_was_made_for,
);

/// Another way in: an API token of an administrator's.
pub(super) async fn registered(server: &Server, name: &str, role: &str) -> String {
    let root = server.administrator().await;
    root.post("/administrators", json!({ "name": name, "role": role })).await.expect(201);
    let link = root.post(&format!("/administrators/{name}/link"), json!({})).await.expect(201);
    link["link"].as_str().unwrap().to_owned()
}

async fn who_is_disabled_or_deleted_is_out_at_once(server: Server) {
    let mut ada = server.first("ada").await.browser;
    let link = registered(&server, "eve", "auditor").await;
    let mut eve = Browser::new(&server).set_up(&link, "eve").await;
    assert!(eve.browser.is_in().await && ada.is_in().await);
    let root = server.administrator().await;
    let version = root.get("/administrators/eve").await.expect(200)["version"].as_i64().unwrap();
    root.patch("/administrators/eve", version - 1, json!({ "enabled": false }))
        .await
        .expect_problem(412, "stale");
    root.patch("/administrators/eve", version, json!({ "enabled": false })).await.expect(200);
    assert!(!eve.browser.is_in().await, "disabled");
    Browser::new(&server).sign_in("eve", PASSWORD).await.expect_page(401, "wrong");
    root.patch("/administrators/eve", version + 1, json!({ "enabled": true })).await.expect(200);
    assert!(!eve.browser.is_in().await, "what ended does not begin again");
    let mut browser = Browser::new(&server);
    browser.sign_in("eve", PASSWORD).await;
    server.clock.advance(std::time::Duration::from_secs(30));
    browser.post("/admin/second-factor", &[("code", &eve.code())]).await.expect_redirect("/admin");
    root.delete("/administrators/eve", Some(version + 2)).await.expect(204);
    assert!(!browser.is_in().await && ada.is_in().await, "deleted");

    let version = root.get("/administrators/ada").await.expect(200)["version"].as_i64().unwrap();
    for change in [json!({ "enabled": false }), json!({ "role": "auditor" })] {
        let answer = root.patch("/administrators/ada", version, change).await;
        let problem = answer.expect_problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("last administrator"), "{problem}");
    }
    root.delete("/administrators/ada", Some(version)).await.expect_problem(409, "conflict");
}

async fn a_new_password_ends_everything_from_before(server: Server) {
    let server = server.at_one_address();
    let mut ada = server.first("ada").await;
    let mut other = Browser::new(&server);
    other.sign_in("ada", PASSWORD).await;
    other.post("/admin/second-factor", &[("code", &ada.recovery_codes[0])]).await.expect_redirect("/admin");
    let browser = &mut ada.browser;
    browser.get("/admin/account").await.expect_page(200, "this one");
    let told = "End<span class=\"unseen\"> the session begun 2026-11-22 08:00 UTC from 127.0.0.1</span>";
    browser.get("/admin/account").await.expect_page(200, told);

    let new = "umbrella cactus morning train";
    let change = [("password", "not the one now"), ("new_password", new), ("again", new)];
    browser.post("/admin/account/password", &change).await.expect_page(401, "The password is wrong.");
    let change = [("password", PASSWORD), ("new_password", "password1234"), ("again", "password1234")];
    browser.post("/admin/account/password", &change).await.expect_page(422, "easily guessed");
    let change = [("password", PASSWORD), ("new_password", new), ("again", new)];
    browser.post("/admin/account/password", &change).await.expect_redirect("/admin/account");
    assert!(browser.is_in().await && !other.is_in().await);
    Browser::new(&server).sign_in("ada", PASSWORD).await.expect_page(401, "wrong");

    // One session is ended from another; then all of them.
    other.sign_in("ada", new).await;
    other.post("/admin/second-factor", &[("code", &ada.recovery_codes[1])]).await.expect_redirect("/admin");
    let page = browser.get("/admin/account").await.body;
    let (_, rest) = page.split_once("/admin/account/sessions/").unwrap();
    let handle = rest.split('/').next().unwrap();
    browser
        .post(&format!("/admin/account/sessions/{handle}/end"), &[])
        .await
        .expect_redirect("/admin/account");
    assert!(browser.is_in().await && !other.is_in().await);
    other.sign_in("ada", new).await;
    other.post("/admin/second-factor", &[("code", &ada.recovery_codes[2])]).await.expect_redirect("/admin");
    let before = browser.cookie.clone();
    browser.post("/admin/account/sign-out-everywhere", &[]).await.expect_redirect("/admin/sign-in");
    browser.cookie = before;
    assert!(!browser.is_in().await && !other.is_in().await);

    // A lost device: a link brings a new password and a new second factor, and the old ones go.
    let name = AdministratorName::new("ada").unwrap();
    let link = server.app.admin().link_for(&By::system(), &name).await.unwrap().link;
    let again = Browser::new(&server).set_up(link.expose_secret(), "ada").await;
    assert_ne!(again.secret, ada.secret);
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    let codes = [("code", &*ada.recovery_codes[3])];
    browser.post("/admin/second-factor", &codes).await.expect_page(401, "The code is wrong");
}

async fn nobody_makes_somebody_stronger(server: Server) {
    let new = |role: &str| json!({ "name": "mallory", "role": role });
    let boss = server.client(json!({ "client_id": "boss", "roles": ["administrator"] })).await;
    let narrow = server.api_as(&boss, "administrators:write").await;
    narrow.post("/administrators", new("auditor")).await.expect_forbidden("administrators:read");
    let reads: Vec<&str> = jeton::domain::builtin::PERMISSIONS
        .iter()
        .filter(|(name, _, held)| *held == HeldBy::Readers || *name == "administrators:write")
        .map(|(name, _, _)| *name)
        .collect();
    let half = server.api_as(&boss, &reads.join("+")).await;
    half.post("/administrators", new("administrator")).await.expect_forbidden("clients:write");
    half.post("/administrators", new("auditor")).await.expect(201);
    half.patch("/administrators/mallory", 1, json!({ "role": "administrator" }))
        .await
        .expect_forbidden("clients:write");
    server.first_other("ada").await;
    half.post("/administrators/ada/link", json!({})).await.expect_forbidden("clients:write");
    // Taking away is allowed.
    half.delete("/administrators/mallory", Some(1)).await.expect(204);
    let auditor = server.api_with(server.api_token("auditor").await);
    auditor.get("/administrators").await.expect(200);
    auditor.post("/administrators", new("auditor")).await.expect_forbidden("administrators:write");
}

impl Server {
    async fn first_other(&self, name: &str) {
        let new = serde_json::from_value(json!({ "name": name, "role": "administrator" })).unwrap();
        self.app.admin().create_administrator(&By::system(), new).await.unwrap();
    }
}
/// A link is made by whoever may as much as the role that somebody has then.
async fn a_link_does_not_outlive_the_role_that_it_was_made_for(server: Server) {
    drop(server.first("ada").await);
    let link = registered(&server, "eve", "auditor").await;
    let root = server.administrator().await;
    root.patch("/administrators/eve", 1, json!({ "role": "administrator" })).await.expect(200);
    let opener = link.split_once("link=").unwrap().1;
    let fields = [("link", opener), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    let mut eve = Browser::new(&server);
    eve.post("/admin/set-up", &fields).await.expect_page(409, "this link was used");
    let link = root.post("/administrators/eve/link", json!({})).await.expect(201);
    Browser::new(&server).set_up(link["link"].as_str().unwrap(), "eve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_replaced_by_whoever_knows_the_password() {
    let server = Server::start(Engine::Sqlite).await;
    let mut ada = server.first("ada").await;
    server.clock.advance(std::time::Duration::from_mins(1));
    let answer = ada.browser.get("/admin/account/second-factor").await;
    ada.secret = field(&answer, "secret");
    let code = ada.code();
    let mut fields = [("secret", &*ada.secret), ("code", &*code), ("password", "not the one now")];
    let answer = ada.browser.post("/admin/account/second-factor", &fields).await;
    answer.expect_page(401, "The password is wrong.");
    fields[2].1 = PASSWORD;
    ada.browser.post("/admin/account/second-factor", &fields).await.expect_page(200, "Recovery codes");
    assert!(ada.browser.is_in().await);
    server.clock.advance(std::time::Duration::from_secs(30));
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    browser.post("/admin/second-factor", &[("code", &ada.code())]).await.expect_redirect("/admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_outlives_a_change_of_the_master_key() {
    const NEXT: &str = "4242424242424242424242424242424242424242424242424242424242424242";
    let server = Server::start(Engine::Sqlite).await;
    let secret = server.first("ada").await.secret;
    let mut rewrap = command(&server.database, &["keys", "rewrap", "--json"]);
    rewrap.env("JETON_OTHER_MASTER_KEY_FILES", "data/master.key").env("JETON_MASTER_KEY", NEXT);
    let output = rewrap.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["second_factors"], 1, "{done}");
    let next = |config: &mut Config| config.master_key = Some(MasterKeySource::Value(NEXT.into()));
    let server = server.restart_with(next).await.unwrap();
    server.clock.advance(std::time::Duration::from_mins(1));
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await;
    let ada = Person { browser: Browser::new(&server), name: "ada", secret, recovery_codes: Vec::new() };
    browser.post("/admin/second-factor", &[("code", &ada.code())]).await.expect_redirect("/admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_and_unmakes_administrators() {
    let server = Server::start(Engine::Sqlite).await;
    let database = &server.database;
    let made = jeton(database, &["admin", "create", "ada", "--role", "administrator"]);
    let link = made["link"].as_str().unwrap();
    assert!(link.starts_with("http://localhost:8080/admin/set-up?link="), "{made}");
    let mut ada = Browser::new(&server).set_up(link, "ada").await.browser;
    let listed = jeton(database, &["admin", "list"]);
    assert_eq!((&listed[0]["name"], &listed[0]["second_factor"]), (&json!("ada"), &json!(true)), "{listed}");
    assert!(ada.is_in().await);
    assert_eq!(jeton(database, &["admin", "disable", "ada"])["enabled"], false);
    assert!(!ada.is_in().await);
    let refused = run(database, &["admin", "reset-password", "ada"]);
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("disabled"),
        "{refused:?}"
    );
    assert_eq!(jeton(database, &["admin", "enable", "ada"])["enabled"], true);
    let link = jeton(database, &["admin", "reset-password", "ada"]);
    Browser::new(&server).set_up(link["link"].as_str().unwrap(), "ada").await;
    assert_eq!(jeton(database, &["admin", "delete", "ada"])["deleted"], true);
    assert_eq!(jeton(database, &["admin", "list"]), json!([]));
}
