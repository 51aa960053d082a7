//! Trusted issuers and federated credentials in the pages.

use serde_json::{Value, json};

use super::{issuer, key};
use crate::admin_pages::Person;
use crate::harness::{Engine, Server};

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_registered_changed_disabled_and_deleted_in_the_pages() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let api = server.administrator().await;
    let form = ada.page("/new-trusted-issuer?preset=github").await;
    assert!(form.contains("https://token.actions.githubusercontent.com"), "{form}");
    let set = json!({ "keys": [key()] }).to_string();
    let fields = [
        ("name", "i"),
        ("issuer", "https://idp.example"),
        ("profile", "jwt"),
        ("keys_from", "inline"),
        ("keys_uri", ""),
        ("keys_jwks", &*set),
        ("algorithms", "EdDSA"),
        ("audience", ""),
        ("max_lifetime", "600"),
        ("leeway", "0"),
        ("reuse", "within_life"),
    ];
    let private = set.replace("\"kid\"", "\"d\":\"c2VjcmV0\",\"kid\"");
    let wrong: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, if *name == "keys_jwks" { &*private } else { *value }))
        .collect();
    let answer = ada.send("/new-trusted-issuer", &wrong).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(
        answer.body.contains("send public keys alone") && !answer.body.contains("c2VjcmV0"),
        "{answer:?}"
    );
    let answer = ada.send("/new-trusted-issuer", &fields).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let made = api.get("/trusted-issuers/i").await.expect(200);
    assert_eq!((&made["leeway"], &made["keys"]["from"]), (&json!(0), &json!("inline")));
    assert!(ada.page("/trusted-issuers").await.contains("https://idp.example"));

    // Whom its tokens convince is asked about before it changes.
    let mut change: Vec<_> = fields[3..].iter().copied().chain([("version", "1")]).collect();
    change.retain(|(name, _)| *name != "leeway");
    change.push(("leeway", "7"));
    let asked = ada.send("/trusted-issuers/i/edit", &change).await;
    assert!(asked.body.contains("Clock difference"), "{asked:?}");
    change.push(("name", "i"));
    let answer = ada.send("/trusted-issuers/i/edit", &change).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let changed = api.get("/trusted-issuers/i").await.expect_version(200, 2);
    assert_eq!((&changed["leeway"], &changed["keys"]), (&json!(7), &made["keys"]));

    assert_eq!(ada.send("/trusted-issuers/i/disable", &[("name", "i")]).await.status, 303);
    assert_eq!(api.get("/trusted-issuers/i").await.expect(200)["enabled"], false);
    assert_eq!(ada.send("/trusted-issuers/i/enable", &[]).await.status, 303);
    let wrong = ada.send("/trusted-issuers/i/delete", &[("name", "x"), ("version", "4")]).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    let gone = ada.send("/trusted-issuers/i/delete", &[("name", "i"), ("version", "4")]).await;
    assert_eq!(gone.status, 303, "{gone:?}");
    assert_eq!(api.get("/trusted-issuers").await.expect(200)["items"], json!([]));
}

/// Whatever else is wrong, or asked: keys that are not public come back in no page.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_public_key_is_never_shown_again() {
    let server = Server::start(Engine::Sqlite).await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let mut stored = issuer("i");
    stored["keys"] = json!({ "from": "inline", "jwks": { "keys": [key()] } });
    server.trusted_issuer(stored).await;
    let create = "/new-trusted-issuer";
    let edit = "/trusted-issuers/i/edit";
    let private = json!({ "keys": [key()] }).to_string().replace("\"kid\"", "\"d\":\"c2VjcmV0\",\"kid\"");
    let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";
    let cut_off = &private[..private.find("c2VjcmV0").unwrap() + 8];
    // What is sent beside the keys: to be asked, with a wrong name, with a wrong field, with an old version.
    let cases: [(&str, &[(&str, &str)]); 6] = [
        (edit, &[("version", "1")]),
        (edit, &[("version", "1"), ("name", "wrong")]),
        (edit, &[("version", "1"), ("max_lifetime", "x"), ("name", "i")]),
        (edit, &[("version", "9"), ("name", "i")]),
        (create, &[("name", "j"), ("issuer", "https://idp.example"), ("profile", "jwt"), ("leeway", "x")]),
        (create, &[("name", "a b"), ("issuer", "https://idp.example"), ("profile", "jwt")]),
    ];
    for (path, beside) in cases {
        for keys in [&*private, pem, cut_off] {
            let usual = [
                ("keys_from", "inline"),
                ("keys_jwks", keys),
                ("algorithms", "EdDSA"),
                ("max_lifetime", "600"),
                ("leeway", "0"),
                ("reuse", "once"),
            ];
            let usual = usual.into_iter().filter(|(name, _)| beside.iter().all(|(other, _)| other != name));
            let fields: Vec<_> = usual.chain(beside.iter().copied()).collect();
            let answer = ada.send(path, &fields).await;
            assert_eq!(answer.status, 422, "{path} {beside:?}: {answer:?}");
            assert!(!answer.body.contains("c2VjcmV0"), "{path} {beside:?}: {answer:?}");
            let told = if keys == private { "send public keys alone" } else { "it is no JWK Set" };
            assert!(answer.body.contains(told), "{path} {beside:?}: {answer:?}");
        }
    }
    let api = server.administrator().await;
    assert_eq!(
        api.get("/trusted-issuers/i").await.expect_version(200, 1)["keys"]["jwks"]["keys"],
        json!([key()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_rules_that_name_an_issuer_are_told_with_what_is_odd_about_them() {
    let server = Server::start(Engine::Sqlite).await;
    server.billing().await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let api = server.administrator().await;
    for name in ["i", "j"] {
        server.trusted_issuer(issuer(name)).await;
    }
    let of =
        |name: &str| json!({ "trusted_issuer": name, "conditions": [{ "claim": "sub", "value": "app*" }] });
    let rule = json!({
        "name": "r", "caller": { "client": "billing" }, "subject": of("i"), "actor": of("j"),
        "resource_server": "orders", "permissions": ["orders:read"],
    });
    let made = api.post("/exchange-rules", rule).await.expect(201);
    assert_eq!(made["warnings"].as_array().unwrap().len(), 1, "once for both: {made}");
    let shown = ada.page("/exchange-rules/r").await;
    assert!(
        made["warnings"][0].as_str().unwrap().contains("app-evil") && shown.contains("app-evil"),
        "{shown}"
    );
    for name in ["i", "j"] {
        let impact = api.get(&format!("/trusted-issuers/{name}/impact")).await.expect(200);
        assert_eq!((&impact["rules"], &impact["clients"]), (&json!(["r"]), &json!(0)));
        assert!(ada.page(&format!("/trusted-issuers/{name}")).await.contains("/exchange-rules/r"));
        for what in ["disable", "delete"] {
            let asked = ada.page(&format!("/trusted-issuers/{name}/{what}")).await;
            assert!(asked.contains("Exchange rules that name it: r."), "{asked}");
            assert!(asked.contains("no longer answered as active"), "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_explained_in_the_pages_and_not_shown_again() {
    let server = Server::start(Engine::Sqlite).await;
    let eve = Person::signed_in(&server, "eve", "auditor").await;
    let at = "/trusted-issuers/explain";
    assert!(eve.page(at).await.contains("It is not shown again"));
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2VjcmV0LXNlY3JldA";
    let fields = [("assertion", token), ("client_id", ""), ("used_as", "client_assertion")];
    let answer = eve.send(at, &fields).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("It would be refused") && !answer.body.contains("c2VjcmV0"), "{answer:?}");
    let wrong = eve.send(at, &[("assertion", token), ("client_id", "a b"), ("used_as", "x")]).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert!(!wrong.body.contains("c2VjcmV0"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_credential_is_added_by_a_preset_and_removed_in_the_pages() {
    let server = Server::start(Engine::Sqlite).await;
    server.billing().await;
    let ada = Person::signed_in(&server, "ada", "administrator").await;
    let at = "/clients/billing/new-federated-credential";
    assert!(ada.page(at).await.contains("There is no trusted issuer yet"));
    let keys = json!({ "from": "discovery" });
    let new = json!({ "name": "gitlab", "issuer": "https://gitlab.com", "keys": keys });
    server.trusted_issuer(new).await;
    let form = ada.page(&format!("{at}?preset=gitlab")).await;
    assert!(form.contains("name=\"project\"") && form.contains("value=\"true\""), "{form}");
    let fields = [
        ("preset", "gitlab"),
        ("trusted_issuer", "gitlab"),
        ("project", ""),
        ("ref-protected", "true"),
        ("conditions", "environment = prod\nx"),
        ("days", "many"),
    ];
    let wrong = ada.send(at, &fields).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    for told in ["the preset gitlab needs it", "has no &#39;=&#39;", "it is not a number of days"] {
        let plain = wrong.body.replace("&#x27;", "&#39;");
        assert!(plain.contains(told), "{told}: {plain}");
    }
    let fields = [
        ("preset", "gitlab"),
        ("trusted_issuer", "gitlab"),
        ("project", "g/p"),
        ("ref-protected", "true"),
        ("conditions", "environment = prod"),
        ("days", "1"),
    ];
    let answer = ada.send(at, &fields).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let api = server.administrator().await;
    let listed = api.get("/clients/billing/federated-credentials").await.expect(200);
    let claims: Vec<&Value> =
        listed[0]["conditions"].as_array().unwrap().iter().map(|one| &one["claim"]).collect();
    assert_eq!(claims, ["environment", "project_path", "ref_protected"]);
    let page = ada.page("/clients/billing").await;
    assert!(page.contains("project_path = g/p") && page.contains("Names can be registered anew"), "{page}");

    let id = listed[0]["credential_id"].as_str().unwrap();
    let edit = format!("/clients/billing/federated-credentials/{id}/edit");
    assert!(ada.page(&edit).await.contains("Change the federated credential"));
    let wrong = ada.send(&edit, &[("description", "x"), ("expires_at", "2020-01-01T00:00:00")]).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert_eq!(ada.send(&edit, &[("description", "the runner"), ("expires_at", "")]).await.status, 303);
    let changed = &api.get("/clients/billing/federated-credentials").await.expect(200)[0];
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("the runner"), &Value::Null));
    let remove = format!("/clients/billing/federated-credentials/{id}/remove");
    assert!(ada.page(&remove).await.contains("it was never used"));
    assert_eq!(ada.send(&remove, &[("name", id)]).await.status, 303);
    assert_eq!(api.get("/clients/billing/federated-credentials").await.expect(200), json!([]));
}
