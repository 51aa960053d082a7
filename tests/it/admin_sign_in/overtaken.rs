//! What is overtaken while it is looked at: something else is committed between what it has read and what it writes.

use std::time::Duration;

use secrecy::SecretString;

use crate::harness::{Answer, Browser, PASSWORD, Server, both_engines};
use jeton::domain::administrator::Administrator;
use jeton::domain::ids::AdministratorName;
use jeton::storage::{Store, Tx};

both_engines!(a_password_that_was_reset_meanwhile_opens_nothing,);

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
