//! What is overtaken while it is looked at: something else is committed between what it has read and what it writes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::accounts::registered;
use crate::harness::{Answer, Browser, PASSWORD, Server, both_engines, code as code_of, field};
use jeton::domain::administrator::{Administrator, AdministratorRole};
use jeton::domain::ids::{AdministratorName, AdministratorUid};
use jeton::storage::{ChangeKind, Store, Tx};

both_engines!(
    a_password_that_was_reset_meanwhile_opens_nothing,
    a_session_that_was_ended_meanwhile_does_not_go_on,
    two_do_not_make_the_last_administrators_auditors,
    the_first_administrator_is_made_while_there_is_none,
);

/// Another process's way to the same database.
async fn store(server: &Server) -> Store {
    jeton::app::connect(&server.database.config()).await.unwrap()
}

async fn stored(store: &Store, name: &str) -> Administrator {
    store.administrator(&AdministratorName::new(name).unwrap()).await.unwrap().unwrap()
}

/// Has something asked while this transaction is open, and commits it when the server waits for it: what was asked has
/// read what was before, and writes after it.
async fn overtake(server: &Server, tx: Tx, asked: impl Future<Output = Answer>) -> Answer {
    let commit = async {
        server.held_up().await;
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
    overtake(&server, tx, mallory.sign_in("ada", PASSWORD))
        .await
        .expect_page(401, "The name or the password is wrong");
    assert!(mallory.cookie.is_none());
    let refused = server.events("sign_in_refused").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["reason"], "the account was changed while this was looked at");
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
    let answer = overtake(&server, end().await, ada.browser.post("/admin/account/password", &change)).await;
    assert!(answer.header("set-cookie").is_none(), "{answer:?}");
    answer.expect_page(401, "Please sign in");
    assert!(!ada.browser.is_in().await);

    server.clock.advance(Duration::from_secs(30));
    let mut browser = Browser::new(&server);
    browser.sign_in("ada", PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");
    let code = ada.code();
    let answer =
        overtake(&server, end().await, browser.post("/admin/second-factor", &[("code", &code)])).await;
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
    let answer = overtake(&server, end().await, browser.post("/admin/account/second-factor", &enrol)).await;
    answer.expect_page(401, "Please sign in");
    assert!(!browser.is_in().await);
    browser.sign_in("ada", PASSWORD).await;
    let fields = [("code", &*ada.code())];
    browser.post("/admin/second-factor", &fields).await.expect_redirect("/admin");
    let refused = server.events("sign_in_refused").await;
    let why = "the session had ended while this was looked at";
    assert!(!refused.is_empty() && refused.iter().all(|event| event["reason"] == why), "{refused:?}");
}

async fn two_do_not_make_the_last_administrators_auditors(server: Server) {
    drop(server.first("ada").await);
    let link = registered(&server, "eve", "administrator").await;
    drop(Browser::new(&server).set_up(&link, "eve").await);
    registered(&server, "max", "administrator").await;
    let store = store(&server).await;
    let eve = stored(&store, "eve").await;
    let version = stored(&store, "ada").await.version;
    let root = server.administrator().await;
    // What the same change of eve does, on another replica.
    let mut tx = store.begin().await.unwrap();
    let changed = Administrator { role: AdministratorRole::Auditor, ..eve };
    assert!(tx.update_administrator(&changed).await.unwrap());
    tx.note_change(&ChangeKind::Administrator, changed.updated_at).await.unwrap();
    let answer =
        overtake(&server, tx, root.patch("/administrators/ada", version, json!({ "role": "auditor" }))).await;
    let problem = answer.expect_problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("last administrator"), "{problem}");
    let answer = root.delete("/administrators/ada", Some(version)).await;
    answer.expect_problem(409, "conflict");
    // max was never signed in and has nothing to sign in with, so nobody is missed.
    root.delete("/administrators/max", Some(1)).await.expect(204);
}

async fn the_first_administrator_is_made_while_there_is_none(server: Server) {
    let link = server.app.first_link().unwrap().expose_secret().to_owned();
    // An auditor is nobody who could make an administrator.
    registered(&server, "eve", "auditor").await;
    let replica = server.replica().await;
    assert!(replica.app.first_link().is_some(), "an auditor alone does not end it");
    let link = replica.app.first_link().map_or(link, |link| link.expose_secret().to_owned());
    let link = link.split_once("link=").unwrap().1;
    let store = store(&server).await;
    // Another replica makes one at the same time, by a link of its own.
    let mut tx = store.begin().await.unwrap();
    let eve = stored(&store, "eve").await;
    let uid = AdministratorUid(uuid::Uuid::from_u128(7));
    let name = AdministratorName::new("max").unwrap();
    let max = Administrator { uid, name, role: AdministratorRole::Administrator, ..eve };
    tx.insert_administrator(&max).await.unwrap();
    tx.note_change(&ChangeKind::Administrator, max.updated_at).await.unwrap();
    let fields = [("link", link), ("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)];
    let mut browser = Browser::new(&server);
    let answer = overtake(&server, tx, browser.post("/admin/set-up", &fields)).await;
    answer.expect_page(409, "this link was used");
    assert!(store.administrator(&AdministratorName::new("ada").unwrap()).await.unwrap().is_none());
}
