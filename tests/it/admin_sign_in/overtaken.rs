//! What is overtaken while it is looked at: something else is committed between what it has read and what it writes.

use std::time::Duration;

use secrecy::SecretString;

use crate::harness::{Answer, Browser, PASSWORD, Server, both_engines, code as code_of, field};
use jeton::domain::administrator::Administrator;
use jeton::domain::ids::AdministratorName;
use jeton::storage::{Store, Tx};

both_engines!(
    a_password_that_was_reset_meanwhile_opens_nothing,
    a_session_that_was_ended_meanwhile_does_not_go_on,
);

/// Longer than anything needs to read what it stands on.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Another process's way to the same database.
async fn store(server: &Server) -> Store {
    jeton::app::connect(&server.database.config()).await.unwrap()
}

async fn stored(store: &Store, name: &str) -> Administrator {
    store.administrator(&AdministratorName::new(name).unwrap()).await.unwrap().unwrap()
}

/// Has something asked while this transaction is open, and commits it a moment later: what was asked has read what was
/// before, and writes after it.
async fn overtake(tx: Tx, asked: impl Future<Output = Answer>) -> Answer {
    let commit = async {
        tokio::time::sleep(A_MOMENT).await;
        tx.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(asked, commit);
    answer
}

async fn a_password_that_was_reset_meanwhile_opens_nothing(server: Server) {
    drop(server.first("ada").await);
    let store = store(&server).await;
    let ada = stored(&store, "ada").await;
    // What a set-up link does: another password, and no second factor until the owner gets one.
    let mut tx = store.begin().await.unwrap();
    let now = ada.updated_at;
    tx.set_password(ada.uid, &SecretString::from("$argon2id$another"), now).await.unwrap();
    tx.set_second_factor(ada.uid, None, 0, now).await.unwrap();
    tx.end_sessions_of(ada.uid).await.unwrap();
    let mut mallory = Browser::new(&server);
    overtake(tx, mallory.sign_in("ada", PASSWORD))
        .await
        .expect_page(401, "The name or the password is wrong");
    assert!(mallory.cookie.is_none());
    let refused = server.events("sign_in_refused").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    let reasons = ["the account was changed while this was looked at", "the password is wrong"];
    assert!(reasons.contains(&refused[0]["reason"].as_str().unwrap()), "{refused:?}");
}

async fn a_session_that_was_ended_meanwhile_does_not_go_on(server: Server) {
    let mut ada = server.first("ada").await;
    let store = store(&server).await;
    let uid = stored(&store, "ada").await.uid;
    let end = async || {
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.end_sessions_of(uid).await.unwrap(), 1);
        tx
    };
    let new = "umbrella cactus morning train";
    let change = [("password", PASSWORD), ("new_password", new), ("again", new)];
    let answer = overtake(end().await, ada.browser.post("/admin/account/password", &change)).await;
    assert!(answer.header("set-cookie").is_none(), "{answer:?}");
    answer.expect_page(401, "Please sign in");
    assert!(!ada.browser.is_in().await);

    server.clock.advance(Duration::from_secs(30));
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");
    let code = ada.code();
    let answer = overtake(end().await, browser.post("/admin/second-factor", &[("code", &code)])).await;
    answer.expect_page(401, "Please sign in");
    assert!(!browser.is_in().await);
    // Nothing of it happened: the code still counts, for a session that lasts.
    browser.sign_in("ada", PASSWORD).await;
    browser.post("/admin/second-factor", &[("code", &code)]).await.expect_redirect("/admin");

    server.clock.advance(Duration::from_secs(30));
    let page = browser.get("/admin/account/second-factor").await;
    let secret = field(&page, "secret");
    let code = code_of(&secret, &server);
    let enrol = [("secret", &*secret), ("code", &*code), ("password", PASSWORD)];
    let answer = overtake(end().await, browser.post("/admin/account/second-factor", &enrol)).await;
    answer.expect_page(401, "Please sign in");
    assert!(!browser.is_in().await);
    browser.sign_in("ada", PASSWORD).await;
    let fields = [("code", &*ada.code())];
    browser.post("/admin/second-factor", &fields).await.expect_redirect("/admin");
    let refused = server.events("sign_in_refused").await;
    let why = "the session had ended while this was looked at";
    assert!(!refused.is_empty() && refused.iter().all(|event| event["reason"] == why), "{refused:?}");
}
