//! Who is let in, and as what.

use serde_json::{Value, json};

use super::{BACK, BEGIN, Browser, reason, reasons, trusting};
use crate::harness::{Browser as PasswordBrowser, Engine, PASSWORD, START, Server, both_engines};
use jeton::domain::administrator::{Administrator, AdministratorRole, ExternalIdentity};
use jeton::domain::ids::{AdministratorName, AdministratorUid};

both_engines!(
    who_has_a_role_is_let_in_with_it,
    what_is_here_stays_ones_own,
    somebody_new_comes_twice_at_once,
);

async fn changes(server: &Server) -> Vec<(String, String, Value)> {
    let mut changes: Vec<_> = server.events("changed").await;
    changes.retain(|event| event["actor"]["type"] == "person");
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    changes
        .iter()
        .map(|event| (text(event, "action"), text(&event["actor"], "name"), event["after"]["role"].clone()))
        .collect()
}

async fn who_has_a_role_is_let_in_with_it(server: Server) {
    let (server, provider) = trusting(server).await;
    let mut browser = Browser::new(&server);
    browser.get("/admin/sign-in?next=%2Fadmin%2Fclients").await.expect_page(
        200,
        "href=\"/admin/sign-in/sso?next=%2Fadmin%2Fclients\">Sign in with Example &#60;SSO&#62;</a>",
    );
    // The first of all, as an administrator.
    provider.person("1", "Ada@Example.com", &["staff", "ops"]);
    let answer = browser.get(&format!("{BEGIN}?next=%2Fadmin%2Fclients%3Ftext%3Dx")).await;
    let location = answer.header("location").unwrap().to_owned();
    assert!(
        location.contains("redirect_uri=http%3A%2F%2Flocalhost%3A8080%2Fadmin%2Fsign-in%2Fsso%2Fcallback")
    );
    let begun = browser.cookies.clone();
    let back = provider.authorize(&location);
    browser.get(&back).await.expect_redirect("/admin/clients?text=x");
    // The cookie that it began with stays, because another window may be under way with it. It opens nothing.
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["jeton_session", "jeton_sso"]);
    assert_eq!(browser.cookies["jeton_sso"], begun["jeton_sso"]);
    let mut another = Browser { server: &server, cookies: begun.clone() };
    assert!(!another.is_in().await);
    browser.get("/admin/account").await.expect_page(200, "ada@example.com");
    let account = browser.get("/admin/account").await.body;
    assert!(!account.contains("type=\"password\""), "there is no password here to change");
    let created = ("administrator.create".to_owned(), "ada@example.com".to_owned(), json!("administrator"));
    assert_eq!(changes(&server).await, [created]);
    let signed_in = server.events("signed_in").await;
    assert_eq!(signed_in.len(), 1);
    assert_eq!(signed_in[0]["how"], "single-sign-on");
    assert_eq!(signed_in[0]["actor"], json!({ "type": "person", "name": "ada@example.com" }));

    // Nothing that would help whoever reads the database.
    let stored = server.database.dump().await;
    let secrets = begun.values().chain(browser.cookies.values()).map(String::as_str);
    let parameters = url::Url::parse(&location).unwrap();
    let parameters: Vec<_> =
        parameters.query_pairs().filter(|(name, _)| name == "state" || name == "nonce").collect();
    for secret in secrets.chain(parameters.iter().map(|(_, value)| value.as_ref())) {
        assert!(secret.len() == 43 && !stored.contains(secret), "{secret}");
    }

    // Demoted there, and somebody new, who may only read; under another name the account is the same.
    provider.person("1", "ada.lovelace", &["audit"]);
    let mut again = Browser::new(&server);
    again.sign_in(&provider).await.expect_redirect("/admin");
    again.get("/admin/account").await.expect_page(200, "<strong>ada@example.com</strong>, auditor");
    browser.get("/admin/account").await.expect_page(200, ", auditor");
    let lowered = ("administrator.update".to_owned(), "ada@example.com".to_owned(), json!("auditor"));
    assert!(changes(&server).await.contains(&lowered));

    // Without a role nobody is let in, and what they had ends.
    provider.person("1", "ada", &["staff"]);
    Browser::new(&server).sign_in(&provider).await.expect_page(403, "does not say that you may administer");
    assert!(!browser.is_in().await && !again.is_in().await);
    assert_eq!(
        reasons(&server).await,
        ["single sign-on: no value of the claim groups gives the subject 1 a role here"]
    );
    let refused = &server.events("sign_in_refused").await[0];
    assert_eq!(refused["claimed_name"], "ada@example.com");
    let out = server.events("signed_out").await;
    assert!(out.len() == 1 && out[0]["sessions"] == 2, "{out:?}");

    // And with one again they are.
    provider.person("1", "ada", &["ops"]);
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
}

async fn what_is_here_stays_ones_own(server: Server) {
    server.first("ada").await;
    let (server, provider) = trusting(server).await;
    provider.person("7", "ada", &["ops"]);
    let mut browser = Browser::new(&server);
    browser.sign_in(&provider).await.expect_page(403, "Somebody else here is called &#39;ada&#39;");
    assert!(!browser.is_in().await);
    assert_eq!(
        reasons(&server).await,
        ["single sign-on: ada is somebody else here, so the subject 7 was not let in as them"]
    );

    // Registered beforehand under a name that is free, it works.
    let root = server.administrator().await;
    let external = json!({ "issuer": provider.issuer(), "subject": "7" });
    let new = json!({ "name": "ada.other", "role": "auditor", "external": external });
    root.post("/administrators", new).await.expect(201);
    browser.sign_in(&provider).await.expect_redirect("/admin");
    browser.get("/admin/account").await.expect_page(200, "<strong>ada.other</strong>, administrator");

    // No password leads in, and none can be made.
    let problem =
        root.post("/administrators/ada.other/link", json!({})).await.expect_problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("has no password here"), "{problem}");
    PasswordBrowser::new(&server).sign_in("ada.other", PASSWORD).await.expect_page(401, "wrong");
    assert!(reasons(&server).await.iter().any(|why| why.contains("it signs in by its provider")));

    // Disabled here is disabled, whatever the provider says; the same name there is nobody else.
    let account = root.get("/administrators/ada.other").await.expect(200);
    let version = account["version"].as_i64().unwrap();
    root.patch("/administrators/ada.other", version, json!({ "enabled": false })).await.expect(200);
    assert!(!browser.is_in().await);
    browser.sign_in(&provider).await.expect_page(403, "Your account here is disabled");
    provider.person("8", "ada.other", &["ops"]);
    Browser::new(&server).sign_in(&provider).await.expect_page(403, "Somebody else here is called");
}

async fn somebody_new_comes_twice_at_once(server: Server) {
    let (server, provider) = trusting(server).await;
    provider.person("1", "ada", &["ops"]);
    let mut browser = Browser::new(&server);
    let back = provider.authorize(&browser.begin().await);
    // Another window of theirs makes the account after this one has seen that there is none.
    let store = jeton::app::connect(&server.database.config()).await.unwrap();
    let identity = ExternalIdentity { issuer: provider.issuer().to_owned(), subject: "1".to_owned() };
    let account = Administrator {
        uid: AdministratorUid(uuid::Uuid::from_u128(1)),
        name: AdministratorName::new("ada").unwrap(),
        role: AdministratorRole::Administrator,
        enabled: true,
        password_hash: None,
        second_factor: None,
        code_step: 0,
        external: Some(identity),
        signed_in_at: None,
        version: 1,
        created_at: START,
        updated_at: START,
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_administrator(&account).await.unwrap();
    let commit = async {
        server.held_up().await;
        tx.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(browser.get(&back), commit);
    answer.expect_redirect("/admin");
    assert!(browser.is_in().await);
    // It is the other window's account, and nobody has made another.
    let people = server.database.texts("SELECT name FROM administrators").await;
    assert_eq!(people, ["ada"]);
    assert_eq!(changes(&server).await, []);
    let stored = store.administrator(&account.name).await.unwrap().unwrap();
    assert_eq!((stored.uid, stored.signed_in_at), (account.uid, Some(START)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_no_such_page() {
    let server = Server::start(Engine::Sqlite).await;
    let mut browser = Browser::new(&server);
    for path in [BEGIN, BACK, "/admin/sign-in/sso/callback?code=a&state=b"] {
        browser.get(path).await.expect_page(404, "There is no such page");
    }
    assert!(!browser.get("/admin/sign-in").await.body.contains("sso"));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_id_token_lacks_are_asked_of_userinfo() {
    let (server, provider) = trusting(Server::start(Engine::Sqlite).await).await;
    let info = json!({ "preferred_username": "grace", "groups": ["audit"], "email_verified": "true" });
    provider.script().userinfo = Some(info);
    let mut browser = Browser::new(&server);
    browser.sign_in(&provider).await.expect_redirect("/admin");
    browser.get("/admin/account").await.expect_page(200, "<strong>grace</strong>, auditor");
    assert_eq!(provider.script().asked["userinfo"], 1);
    // What the ID token says stands, and if it says everything nobody else is asked.
    provider.person("9", "linus", &["ops"]);
    Browser::new(&server).sign_in(&provider).await.expect_redirect("/admin");
    assert_eq!(provider.script().asked["userinfo"], 1);
    // Userinfo about somebody else is no answer.
    provider.script().claims = json!({});
    provider.script().userinfo =
        Some(json!({ "sub": "1", "preferred_username": "linus", "groups": ["ops"] }));
    let answer = Browser::new(&server).sign_in(&provider).await;
    answer.expect_page(403, "does not hold");
    assert!(reason(&server, &answer).await.contains("userinfo does not count"));
}
