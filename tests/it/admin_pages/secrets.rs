//! Secrets on the pages: rotating with a confirmation, and changing an end.

use super::{Person, has};
use crate::harness::{Client, Server, both_engines};

both_engines!(a_secret_is_rotated_after_a_question, a_secret_s_end_is_changed);

const ASK: &str = "grant_type=client_credentials";

fn shown(page: &str) -> Client {
    let (_, rest) = page.split_once("<code id=\"secret\">").unwrap_or_else(|| panic!("no secret: {page}"));
    Client::new("billing", rest.split_once('<').unwrap().0)
}

async fn a_secret_is_rotated_after_a_question(server: Server) {
    let old = server.billing().await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    has(&ada.page("/clients/billing").await, &["Rotate…", "The newest that counts", "this server"]);
    let fields = [("replaces", ""), ("overlap_hours", "2"), ("rotated_description", "the next")];
    let before = server.last_change().await;
    let asked = ada.send("/clients/billing/rotate-secret", &fields).await;
    has(
        &asked.body,
        &[
            "Rotate the secret of billing?",
            "in 2 hours is refused from then on",
            "it was never used",
            "the next",
        ],
    );
    assert_eq!(server.last_change().await, before, "it only asks");
    let wrong = [&fields[..], &[("name", "bill")]].concat();
    assert_eq!(ada.send("/clients/billing/rotate-secret", &wrong).await.status, 422);
    let sure = [&fields[..], &[("name", "billing")]].concat();
    let answer = ada.send("/clients/billing/rotate-secret", &sure).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    has(
        &answer.body,
        &["This is the only time that the secret is shown", "counts until", "2026-11-22 10:00 UTC"],
    );
    for client in [&old, &shown(&answer.body)] {
        server.token(client, ASK).await.expect(200);
    }
    has(&ada.page("/clients/billing").await, &["replaced by", "the next", "ends soon"]);

    let wrong = [("overlap_hours", "soon"), ("name", "billing")];
    let refused = ada.send("/clients/billing/rotate-secret", &wrong).await;
    assert_eq!(refused.status, 422);
    has(&refused.body, &["it is not a number of hours", "id=\"overlap_hours-error\""]);
    let wrong = [("overlap_hours", "9000"), ("name", "billing")];
    let refused = ada.send("/clients/billing/rotate-secret", &wrong).await;
    has(&refused.body, &["it is too long", "id=\"overlap_hours-error\""]);
}

async fn a_secret_s_end_is_changed(server: Server) {
    server.billing().await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let id = server.database.texts("SELECT secret_id FROM client_secrets").await.remove(0);
    let path = format!("/clients/billing/secrets/{id}/edit");
    has(&ada.page(&path).await, &["Change the secret", "End (UTC)"]);
    let wrong = ada.send(&path, &[("description", ""), ("expires_at", "2020-01-01T00:00")]).await;
    assert_eq!(wrong.status, 422);
    has(&wrong.body, &["it is not in the future", "id=\"expires_at-error\""]);
    ada.does(&path, &[("description", "till noon"), ("expires_at", "2026-11-22T12:00")]).await;
    has(&ada.page("/clients/billing").await, &["till noon", "2026-11-22 12:00 UTC", "ends soon"]);
    assert_eq!(ada.open("/clients/billing/secrets/nothere/edit").await.status, 404);
    // A box of the client's form.
    let form = ada.page("/clients/billing/edit").await;
    has(&form, &["It may rotate its own secrets"]);
}
