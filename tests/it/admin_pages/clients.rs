//! The pages of clients.

use serde_json::json;

use super::{Person, has};
use crate::harness::{Client, Engine, Server, both_engines};
use crate::private_key_jwt::{Signer, register};
use jeton::jose::Algorithm;

both_engines!(
    a_list_is_searched_and_filtered,
    a_client_is_registered_used_and_deleted,
    a_key_is_added_used_changed_and_removed,
);

async fn a_list_is_searched_and_filtered(server: Server) {
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    has(&ada.page("/clients").await, &["There are no clients here yet", "Register a client"]);
    for (id, kind, owner) in [("alpha", "service", "red"), ("beta", "job", "red"), ("gamma", "job", "blue")] {
        let labels = json!({ "team": owner });
        server
            .client(json!({ "client_id": id, "kind": kind, "owner": owner, "labels": labels, "description": format!("The {id}") }))
            .await;
    }
    let shown = async |query: &str| {
        let page = ada.page(&format!("/clients?{query}")).await;
        ["alpha", "beta", "gamma"]
            .into_iter()
            .filter(|id| page.contains(&format!(">{id}</a>")))
            .collect::<Vec<_>>()
    };
    ada.does("/clients/beta/disable", &[("name", "beta")]).await;
    for (query, ids) in [
        ("", &["alpha", "beta", "gamma"][..]),
        ("q=THE+be", &["beta"]),
        ("kind=job", &["beta", "gamma"]),
        ("owner=red", &["alpha", "beta"]),
        ("label=team%3Dblue", &["gamma"]),
        ("state=disabled", &["beta"]),
        ("state=enabled&kind=job", &["gamma"]),
        ("q=nothing", &[]),
    ] {
        assert_eq!(shown(query).await, ids, "{query}");
    }
    let page = ada.page("/clients?q=nothing").await;
    has(&page, &["No client fits", "value=\"nothing\"", "aria-live=\"polite\""]);
    let answer = ada.open("/clients?label=team").await;
    assert_eq!(answer.status, 422);
    has(&answer.body, &["it has no &#39;=&#39;", "id=\"label-error\"", "value=\"team\""]);
}

/// The text of the element with this id.
fn element<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}: {page}"));
    rest.split_once('<').unwrap().0
}

async fn a_client_is_registered_used_and_deleted(server: Server) {
    server.billing().await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let page = ada.page("/new-client").await;
    has(&page, &["The secret in the Authorization header", "order-reader", "Make its first secret now"]);
    let fields = [
        ("client_id", "in/voices"),
        ("kind", "job"),
        ("description", "Sends <invoices>"),
        ("auth_methods", "client_secret_basic"),
        ("grant_types", "client_credentials"),
        ("token_binding", "optional"),
        ("labels", "team=finance\r\ntier=1"),
        ("roles", "order-reader"),
        ("secret", "yes"),
    ];
    let answer = ada.send("/new-client", &fields).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let secret = element(&answer.body, "secret").to_owned();
    assert!(secret.starts_with("jtn_"), "{answer:?}");
    let curl = format!(
        "curl http://localhost:8080/oauth2/token -d grant_type=client_credentials -u in%2Fvoices:{secret}"
    );
    assert_eq!(element(&answer.body, "curl"), curl);
    has(&answer.body, &["data-copy=\"secret\"", "the only time"]);

    // It is good for a token, and nobody sees it again.
    let request = "grant_type=client_credentials&scope=orders:read";
    server.token(&Client::new("in/voices", &secret), request).await.expect(200);
    let page = ada.page("/clients/in%2Fvoices").await;
    assert!(!page.contains(&secret) && !page.contains("<invoices>"), "{page}");
    has(&page, &["Sends &#60;invoices&#62;", "finance", "order-reader", "orders:read", "token_issued"]);
    has(&page, &["client.create", "client.secret.add"]);
    assert!(!server.database.dump().await.contains(&secret));

    // Rotated with overlap: both count until the old one is removed.
    let old = page.split("/secrets/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let answer = ada.send("/clients/in%2Fvoices/secrets", &[("description", "new"), ("days", "30")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    has(&answer.body, &["1 other secret of in/voices still counts"]);
    let new = element(&answer.body, "secret").to_owned();
    for secret in [&secret, &new] {
        server.token(&Client::new("in/voices", secret), request).await.expect(200);
    }
    let removal = format!("/clients/in%2Fvoices/secrets/{old}/remove");
    has(&ada.page(&removal).await, &["What breaks", "1 other secret left", &old]);
    let used = ["2 tokens that were got with it live now", "in/voices got 2 tokens of that sort"];
    has(&ada.page(&removal).await, &used);
    let refused = ada.send(&removal, &[("name", "other")]).await;
    assert_eq!(refused.status, 422);
    has(&refused.body, &["it is not the secret&#39;s name", "value=\"other\""]);
    ada.does(&removal, &[("name", &old)]).await;
    server.token(&Client::new("in/voices", &secret), request).await.expect(401);
    server.token(&Client::new("in/voices", &new), request).await.expect(200);

    // Roles, and what they give.
    let taking = "/clients/in%2Fvoices/roles/order-reader/remove";
    has(
        &ada.page(taking).await,
        &["It may no longer do orders:read at orders", "have something from the role"],
    );
    assert_eq!(ada.send(taking, &[("name", "")]).await.status, 422);
    let page = ada.does(taking, &[("name", "order-reader")]).await;
    assert_eq!(ada.open(taking).await.status, 404, "it has it no more");
    has(&page, &["its tokens allow nothing", "Nothing anywhere"]);
    let refused = ada.send("/clients/in%2Fvoices/roles", &[("role", "none")]).await;
    assert_eq!(refused.status, 422);
    has(&refused.body, &["there is no role &#39;none&#39;", "value=\"none\""]);
    has(&ada.does("/clients/in%2Fvoices/roles", &[("role", "order-reader")]).await, &["orders:read"]);
    let page = ada.page("/clients/in%2Fvoices/try?scope=orders%3Aread+orders%3Awrite").await;
    has(&page, &["It would be refused", "invalid_scope", "Step by step"]);
    has(
        &ada.page("/clients/in%2Fvoices/try?scope=orders%3Aread").await,
        &["There would be a token", "Its claims"],
    );

    // Switched off and on, its tokens taken back, deleted.
    has(&ada.page("/clients/in%2Fvoices/disable").await, &["that live now", "Enabling it undoes that"]);
    assert_eq!(ada.send("/clients/in%2Fvoices/disable", &[]).await.status, 422);
    let named = [("name", "in/voices")];
    has(&ada.does("/clients/in%2Fvoices/disable", &named).await, &["It is disabled: it gets no tokens"]);
    server.token(&Client::new("in/voices", &new), request).await.expect(401);
    ada.does("/clients/in%2Fvoices/enable", &[]).await;
    ada.does("/clients/in%2Fvoices/revoke-tokens", &[("name", "in/voices")]).await;
    let page = ada.page("/clients/in%2Fvoices/delete").await;
    let version = page.split("name=\"version\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let refused = ada.send("/clients/in%2Fvoices/delete", &[("name", "in"), ("version", version)]).await;
    assert_eq!(refused.status, 422);
    ada.does("/clients/in%2Fvoices/delete", &[("name", "in/voices"), ("version", version)]).await;
    assert_eq!(ada.open("/clients/in%2Fvoices").await.status, 404);
    let changes = server.events("changed").await;
    let by_ada = changes.iter().filter(|event| event["actor"]["name"] == "ada").count();
    assert!(by_ada >= 8, "every change has the person's name: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let fields = [
        ("client_id", "a b"),
        ("description", "<script>alert(1)</script>"),
        ("labels", "team"),
        ("allowed_networks", "10.0.0.0/8\r\nhere"),
        ("expires_at", "soon"),
        ("kind", "service"),
        ("token_binding", "optional"),
        ("grant_types", "client_credentials"),
        ("auth_methods", "client_secret_basic"),
    ];
    let answer = ada.send("/new-client", &fields).await;
    assert_eq!(answer.status, 422);
    has(
        &answer.body,
        &[
            "id=\"client_id-error\"",
            "id=\"labels-error\"",
            "id=\"expires_at-error\"",
            "value=\"a b\"",
            "value=\"soon\"",
            "aria-invalid=\"true\"",
            "here</textarea>",
        ],
    );
    assert!(!answer.body.contains("<script>alert"), "{answer:?}");
    // What only the use-case can tell, as well.
    let mut fields = fields;
    (fields[0].1, fields[2].1, fields[4].1) = ("fine", "a=b", "2020-01-01T00:00");
    let answer = ada.send("/new-client", &fields).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    has(&answer.body, &["id=\"allowed_networks-error\"", "value=\"fine\""]);
    server.client(json!({ "client_id": "taken" })).await;
    (fields[0].1, fields[3].1, fields[4].1) = ("taken", "", "");
    let answer = ada.send("/new-client", &fields).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    has(&answer.body, &["id=\"client_id-error\"", "value=\"taken\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_administrator_sees_both_versions_and_loses_nothing() {
    let server = Server::start(Engine::Sqlite).await;
    server.client(json!({ "client_id": "billing", "owner": "red", "description": "Old" })).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let bob = Person::signed_in(&server, "bob", "administrator").await;
    let form = ada.page("/clients/billing/edit").await;
    has(&form, &["name=\"version\" value=\"1\"", "value=\"Old\""]);
    let fields = |version, owner, description| {
        [
            ("version", version),
            ("kind", "service"),
            ("owner", owner),
            ("description", description),
            ("grant_types", "client_credentials"),
            ("auth_methods", "client_secret_basic"),
            ("auth_methods", "client_secret_post"),
            ("token_binding", "optional"),
        ]
    };
    has(&bob.does("/clients/billing/edit", &fields("1", "blue", "Theirs")).await, &["Theirs", "blue"]);
    let answer = ada.send("/clients/billing/edit", &fields("1", "red", "Mine")).await;
    assert_eq!(answer.status, 412, "{answer:?}");
    has(
        &answer.body,
        &[
            "Somebody else changed it",
            "<td>Theirs</td><td>Mine</td>",
            "<td>blue</td><td>red</td>",
            "name=\"version\" value=\"2\"",
            "value=\"Mine\"",
        ],
    );
    assert!(ada.page("/clients/billing").await.contains("Theirs"), "nothing was saved");
    has(&ada.does("/clients/billing/edit", &fields("2", "red", "Mine")).await, &["Mine", "red"]);
    // The same for what is deleted.
    let answer = ada.send("/clients/billing/delete", &[("name", "billing"), ("version", "1")]).await;
    assert_eq!(answer.status, 412);
}

async fn a_key_is_added_used_changed_and_removed(server: Server) {
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    server.billing().await;
    register(&server, "signer", json!({})).await;
    has(&ada.page("/clients/signer").await, &["It has no key", "Add a key", "no secret or key that counts"]);
    let signer = Signer::new("signer", Algorithm::Es256);
    let refused = ada.send("/clients/signer/keys", &[("key", "nonsense"), ("key_days", "soon")]).await;
    assert_eq!(refused.status, 422);
    has(&refused.body, &["it is not a number of days"]);
    let typed = signer.jwk().to_string();
    let fields = [("key", &*typed), ("key_description", "host 7"), ("key_days", "30")];
    let page = ada.does("/clients/signer/keys", &fields).await;
    has(&page, &["The key is added", "host 7", "EC P-256", "never, as far as is counted"]);
    signer.token(&server).await.expect(200);
    let again = ada.send("/clients/signer/keys", &[("key", &typed)]).await;
    assert_eq!(again.status, 422);
    has(&again.body, &["the client has this key already"]);

    let key = page.split("/keys/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let edit = format!("/clients/signer/keys/{key}/edit");
    has(&ada.page(&edit).await, &["Change the key", "host 7", "End (UTC)"]);
    let wrong = ada.send(&edit, &[("description", "host 7"), ("expires_at", "2020-01-01T00:00")]).await;
    assert_eq!(wrong.status, 422);
    has(&wrong.body, &["it is not in the future", "id=\"expires_at-error\""]);
    let page = ada.does(&edit, &[("description", "host 7"), ("expires_at", "2026-11-22T12:00")]).await;
    has(&page, &["host 7", "2026-11-22 12:00 UTC", "ends soon"]);
    assert_eq!(ada.open("/clients/signer/keys/nothere/edit").await.status, 404);
    let removal = format!("/clients/signer/keys/{key}/remove");
    has(&ada.page(&removal).await, &["What breaks", "no other key that counts", "1 token", &key]);
    assert_eq!(ada.send(&removal, &[("name", "other")]).await.status, 422);
    has(&ada.does(&removal, &[("name", &key)]).await, &["The key is removed", "It has no key"]);
    signer.token(&server).await.expect(401);

    // Where they are instead, and how strict its assertions are read.
    let fields = [
        ("kind", "service"),
        ("auth_methods", "private_key_jwt"),
        ("grant_types", "client_credentials"),
        ("jwks_uri", "https://signer.example/jwks.json"),
        ("assertion_type_required", "true"),
        ("token_binding", "optional"),
        ("version", "1"),
        ("name", "signer"),
    ];
    let asked = ada.send("/clients/signer/edit", &fields[..7]).await;
    has(&asked.body, &["The keys that are published there count", "only when they say that they are some"]);
    let page = ada.does("/clients/signer/edit", &fields).await;
    has(&page, &["https://signer.example/jwks.json", "must have the type client-authentication+jwt"]);
    server.app.stop().await.unwrap();
}
