//! The pages of the people who administer.

use super::{Person, has};
use crate::harness::{Browser, PASSWORD, Server, both_engines};

both_engines!(somebody_is_registered_helped_in_demoted_and_deleted);

fn version(page: &str) -> &str {
    page.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

/// The one-time link on a page, as a browser follows it.
fn link(page: &str) -> String {
    let (_, rest) = page.split_once("<code id=\"link\">").unwrap_or_else(|| panic!("no link: {page}"));
    rest.split_once('<').unwrap().0.replace("&#38;", "&")
}

async fn somebody_is_registered_helped_in_demoted_and_deleted(server: Server) {
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    // Whoever has nothing to sign in with is not one who is left.
    server.database.execute("UPDATE administrators SET password_hash = 'set' WHERE name = 'ada'").await;
    has(
        &ada.page("/administrators").await,
        &["There is nobody else", ">ada</a>", "Register an administrator"],
    );
    let answer = ada.send("/new-administrator", &[("name", "Bo B"), ("role", "administrator")]).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    has(&answer.body, &["id=\"name-error\"", "value=\"Bo B\"", "value=\"administrator\" selected"]);
    let provider =
        [("name", "cy"), ("role", "auditor"), ("external.issuer", "sso"), ("external.subject", "c")];
    let answer = ada.send("/new-administrator", &provider).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    has(&answer.body, &["id=\"external.issuer-error\"", "value=\"sso\""]);

    // The link is shown once, and whoever follows it is in.
    let answer = ada.send("/new-administrator", &[("name", "bo"), ("role", "administrator")]).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    let mut bo = Browser::new(&server).set_up(&link(&answer.body), "bo").await;
    assert!(bo.browser.is_in().await);
    has(&ada.page("/administrators/bo").await, &["administrator: everything", "set", "/audit?person=bo"]);
    let taken = ada.send("/new-administrator", &[("name", "bo"), ("role", "auditor")]).await;
    assert_eq!(taken.status, 422, "{taken:?}");

    // Signed out, then let in anew: the old password is good until the link is used.
    assert_eq!(ada.send("/administrators/bo/end-sessions", &[]).await.status, 422);
    ada.does("/administrators/bo/end-sessions", &[("name", "bo")]).await;
    assert!(!bo.browser.is_in().await);
    has(&ada.page("/administrators/bo/link").await, &["every session end", "What breaks"]);
    let answer = ada.send("/administrators/bo/link", &[("name", "bo")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let again = link(&answer.body);
    Browser::new(&server).sign_in("bo", PASSWORD).await.expect_redirect("/admin/second-factor?next=%2Fadmin");
    let mut bo = Browser::new(&server).set_up(&again, "bo").await;

    // From now on bo looks only: at once, in the session that is open.
    let page = ada.page("/administrators/bo/role").await;
    has(&page, &["Make bo an auditor?", "change nothing"]);
    let fields = [("name", "bo"), ("version", version(&page))];
    ada.does("/administrators/bo/role", &fields).await;
    let stale = ada.send("/administrators/bo/disable", &fields).await;
    assert_eq!(stale.status, 412, "somebody else changed it: {stale:?}");
    let listed = bo.browser.get("/admin/administrators").await;
    assert!(listed.status == 200 && !listed.body.contains("/new-administrator"), "{listed:?}");

    // Nobody is left who could change anything: not so.
    let page = ada.page("/administrators/ada/disable").await;
    has(&page, &["This is your own account"]);
    let own = [("name", "ada"), ("version", version(&page))];
    for action in ["role", "disable", "delete"] {
        let answer = ada.send(&format!("/administrators/ada/{action}"), &own).await;
        assert_eq!(answer.status, 409, "{action}: {answer:?}");
        has(&answer.body, &["the last administrator"]);
    }
    let page = ada.page("/administrators/bo/disable").await;
    let fields = [("name", "bo"), ("version", version(&page))];
    has(&ada.does("/administrators/bo/disable", &fields).await, &["they cannot sign in"]);
    assert!(!bo.browser.is_in().await);
    ada.does("/administrators/bo/enable", &[]).await;
    let page = ada.page("/administrators/bo/delete").await;
    ada.does("/administrators/bo/delete", &[("name", "bo"), ("version", version(&page))]).await;
    assert_eq!(ada.open("/administrators/bo").await.status, 404);
}
