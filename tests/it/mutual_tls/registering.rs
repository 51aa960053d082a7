//! Registering certificates and subjects, and what a server says it can do with them.

use serde_json::{Value, json};

use super::{BY_CERTIFICATE, SUBJECT, Stage, both_stages};
use crate::admin_pages::Person;
use crate::harness::{Engine, Issued, Server};
use jeton::config::{CertificateHeader, Config};

both_stages!(
    certificates_are_registered_listed_changed_and_removed,
    what_is_no_certificate_is_refused_with_what_to_send,
    the_subject_is_a_field_of_the_client_rfc8705_2_1_2,
    a_client_has_ten_certificates_at_most,
    people_register_change_and_remove_certificates,
);

const PATH: &str = "/clients/paying/certificates";

async fn certificates_are_registered_listed_changed_and_removed(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let admin = stage.server.administrator().await;
    let own = Issued::by_itself("paying");
    let new = json!({ "certificate": own.pem(), "description": "the first", "expires_in": 3_600 });
    let added = admin.post(PATH, new.clone()).await.expect(201);
    assert_eq!(added["thumbprint"], jeton::domain::certificate::thumbprint(&own.der));
    assert!(added["subject"].as_str().unwrap().contains("CN=paying"), "{added}");
    assert_eq!(
        (&added["not_before"], &added["not_after"]),
        (&json!("2026-01-01T00:00:00Z"), &json!("2035-01-01T00:00:00Z"))
    );
    assert_eq!((&added["expired"], &added["expires_at"]), (&json!(false), &json!("2026-11-22T09:00:00Z")));
    let said = admin.post(PATH, new).await.expect_problem(409, "conflict");
    assert!(said["detail"].as_str().unwrap().contains("has this certificate already"), "{said}");

    stage.ask(Some(&own), &[], BY_CERTIFICATE).await.expect(200);
    let listed = admin.get(PATH).await.expect(200);
    assert_eq!(listed[0]["certificate_id"], added["certificate_id"]);
    let event = stage.server.events("changed").await;
    let event = event.iter().find(|event| event["action"] == "client.certificate.add").unwrap();
    assert_eq!(event["after"]["thumbprint"], added["thumbprint"]);

    let one = format!("{PATH}/{}", added["certificate_id"].as_str().unwrap());
    let change = async |change: Value| stage.server.api("PATCH", &one, &admin.token, &[], change).await;
    let changed = change(json!({ "expires_at": "2026-11-22T08:30:00Z" })).await.expect(200);
    assert_eq!(
        (&changed["description"], &changed["expires_at"]),
        (&json!("the first"), &json!("2026-11-22T08:30:00Z"))
    );
    let changed = change(json!({ "description": "the second", "expires_at": null })).await.expect(200);
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("the second"), &Value::Null));
    assert_eq!(admin.get(PATH).await.expect(200)[0]["description"], "the second");
    change(json!({ "expires_at": "2026-11-22T08:00:00Z" }))
        .await
        .expect_invalid("expires_at", "a later time");
    let event = stage.server.events("changed").await;
    let event = event.iter().rfind(|event| event["action"] == "client.certificate.update").unwrap();
    assert_eq!(
        (&event["before"]["description"], &event["after"]["expires_at"]),
        (&json!("the first"), &Value::Null)
    );
    admin.delete(&one, None).await.expect(204);
    stage.ask(Some(&own), &[], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");
    admin.delete(&one, None).await.expect_problem(404, "not-found");
    assert_eq!(admin.get(PATH).await.expect(200), json!([]));
    // Whoever may only read may only read.
    let auditor = stage.server.api_with(stage.server.api_token("auditor").await);
    auditor.get(PATH).await.expect(200);
    auditor.post(PATH, json!({ "certificate": own.pem() })).await.expect_forbidden("clients:write");
    auditor.patch(&one, 1, json!({})).await.expect_forbidden("clients:write");
    auditor.delete(&one, None).await.expect_forbidden("clients:write");
}

async fn what_is_no_certificate_is_refused_with_what_to_send(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let admin = stage.server.administrator().await;
    let own = Issued::by_itself("paying");
    let add = async |certificate: String| admin.post(PATH, json!({ "certificate": certificate })).await;
    add("hello".to_owned()).await.expect_invalid("certificate", "BEGIN CERTIFICATE");
    add(format!("{}{}", own.pem(), stage.authority.pem())).await.expect_invalid("certificate", "alone");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let refused = add(format!("{}{key}", own.pem())).await;
    refused.expect_invalid("certificate", "keep that to the client");
    assert!(!refused.body.contains("AAAA"), "{refused:?}");
    let expired =
        stage.authority.issue_with("old", |params| params.not_after = rcgen::date_time_ymd(2026, 2, 1));
    add(expired.pem()).await.expect_invalid("certificate", "in force");
    let both = json!({ "certificate": own.pem(), "expires_in": 60, "expires_at": "2027-01-01T00:00:00Z" });
    admin.post(PATH, both).await.expect_invalid("expires_in", "one of them");
    let past = json!({ "certificate": own.pem(), "expires_at": "2026-01-01T00:00:00Z" });
    admin.post(PATH, past).await.expect_invalid("expires_at", "later");
    admin.post(PATH, json!({})).await.expect_invalid("certificate", "");
    admin
        .post("/clients/nobody/certificates", json!({ "certificate": own.pem() }))
        .await
        .expect_problem(404, "not-found");
}

async fn the_subject_is_a_field_of_the_client_rfc8705_2_1_2(stage: Stage) {
    stage.server.billing().await;
    let admin = stage.server.administrator().await;
    let methods = json!(["tls_client_auth"]);
    let without = json!({ "client_id": "a", "auth_methods": methods });
    admin.post("/clients", without).await.expect_invalid("tls_client_auth_subject", "san_dns");
    for (kind, value, fix) in [
        ("subject_dn", "billing", "RFC 4514"),
        ("san_dns", "*.example.com", "without wildcard"),
        ("san_ip", "192.0.2", "192.0.2.7"),
    ] {
        let subject = json!({ "kind": kind, "value": value });
        let new = json!({ "client_id": "a", "auth_methods": methods, "tls_client_auth_subject": subject });
        admin.post("/clients", new).await.expect_invalid("tls_client_auth_subject", fix);
    }
    let subject = json!({ "kind": "subject_dn", "value": "CN=billing, O=Nobody" });
    let new = json!({ "client_id": "a", "auth_methods": methods, "tls_client_auth_subject": subject,
        "roles": ["order-reader"] });
    let view = admin.post("/clients", new).await.expect_version(201, 1);
    assert_eq!(view["tls_client_auth_subject"], subject);
    assert_eq!(admin.get("/clients/a").await.expect(200)["tls_client_auth_subject"], subject);

    let own = stage.issue(SUBJECT);
    let body = BY_CERTIFICATE.replace("paying", "a");
    stage.ask(Some(&own), &[], &body).await.expect_oauth_error(401, "invalid_client");
    // A name with everything in it that the certificate has, and no more (RFC 5280 §7.1).
    let name = json!({ "tls_client_auth_subject": { "kind": "subject_dn", "value": "cn=Billing" } });
    let named = stage.authority.issue_with("billing", |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "billing");
    });
    admin.patch("/clients/a", 1, name).await.expect(200);
    stage.ask(Some(&named), &[], &body).await.expect(200);
    let taken = admin.patch("/clients/a", 2, json!({ "tls_client_auth_subject": null })).await;
    taken.expect_invalid("tls_client_auth_subject", "name it");
    let other = json!({ "tls_client_auth_subject": null, "auth_methods": ["client_secret_basic"] });
    let view = admin.patch("/clients/a", 2, other).await.expect_version(200, 3);
    assert_eq!(view["tls_client_auth_subject"], Value::Null);
    stage.ask(Some(&named), &[], &body).await.expect_oauth_error(401, "invalid_client");
}

async fn a_client_has_ten_certificates_at_most(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let admin = stage.server.administrator().await;
    for _ in 0..10 {
        admin.post(PATH, json!({ "certificate": Issued::by_itself("paying").pem() })).await.expect(201);
    }
    let more = admin.post(PATH, json!({ "certificate": Issued::by_itself("paying").pem() })).await;
    let said = more.expect_problem(409, "conflict");
    assert!(said["detail"].as_str().unwrap().contains("10 certificates"), "{said}");
    // A client that is gone takes them with it.
    admin.delete("/clients/paying", Some(1)).await.expect(204);
    let left = stage.server.database.texts("SELECT certificate_id FROM client_certificates").await;
    assert!(left.is_empty(), "{left:?}");
}

async fn people_register_change_and_remove_certificates(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let ada = Person::signed_in(&stage.server, "ada", "administrator").await;
    let page = ada.page("/clients/paying").await;
    assert!(page.contains("It has no certificate that counts"), "{page}");
    let own = Issued::by_itself("paying");
    let at = "/clients/paying/certificates";
    let refused = ada.send(at, &[("certificate", "hello"), ("certificate_description", "x")]).await;
    refused.expect_page(422, "it is not one X.509 certificate");
    refused.expect_page(422, "hello");
    let added =
        ada.send(at, &[("certificate", &own.pem()), ("certificate_description", "of the host")]).await;
    added.expect_redirect("/admin/clients/paying?done=certificate-added");
    stage.ask(Some(&own), &[], BY_CERTIFICATE).await.expect(200);

    let page = ada.page("/clients/paying").await;
    assert!(page.contains("of the host") && !page.contains("It has no certificate that counts"), "{page}");
    let id = page.split("/certificates/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let edit = format!("{at}/{id}/edit");
    assert!(ada.page(&edit).await.contains("that of its validity"));
    let wrong = ada.send(&edit, &[("description", ""), ("expires_at", "2020-01-01T00:00")]).await;
    assert_eq!((wrong.status, wrong.body.contains("id=\"expires_at-error\"")), (422, true), "{wrong:?}");
    let page = ada.does(&edit, &[("description", "till noon"), ("expires_at", "2026-11-22T12:00")]).await;
    assert!(page.contains("till noon") && page.contains("2026-11-22 12:00 UTC"), "{page}");
    let remove = format!("{at}/{id}/remove");
    let asked = ada.page(&remove).await;
    assert!(
        asked.contains("no other certificate that counts") && asked.contains("1 token that were got with it"),
        "{asked}"
    );
    ada.send(&remove, &[("name", "another")]).await.expect_page(422, "no other certificate that counts");
    ada.send(&remove, &[("name", &id)])
        .await
        .expect_redirect("/admin/clients/paying?done=certificate-removed");
    stage.ask(Some(&own), &[], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");

    // The subject is a field of the form, and losing it is asked about.
    let form = ada.page("/clients/paying/edit").await;
    assert!(form.contains("tls_client_auth_subject") && form.contains(SUBJECT), "{form}");
    let fields = [
        ("version", "1"),
        ("kind", "service"),
        ("auth_methods", "self_signed_tls_client_auth"),
        ("grant_types", "client_credentials"),
        ("token_binding", "optional"),
        ("subject_kind", "san_uri"),
        ("tls_client_auth_subject", "spiffe://example/paying"),
    ];
    let asked = ada.send("/clients/paying/edit", &fields).await;
    assert!(asked.body.contains("Certificates with another subject"), "{asked:?}");
    let confirmed: Vec<_> = fields.iter().copied().chain([("name", "paying")]).collect();
    let changed = ada.send("/clients/paying/edit", &confirmed).await;
    changed.expect_redirect("/admin/clients/paying?done=changed");
    assert!(ada.page("/clients/paying").await.contains("spiffe://example/paying"));
}

/// What the metadata says of certificates: the methods, and whether tokens can be bound.
async fn offered(server: &Server) -> (bool, bool, bool) {
    let metadata = server.get("/.well-known/oauth-authorization-server").await.expect(200);
    let has = |method: &str| {
        ["token", "introspection", "revocation"].map(|endpoint| {
            let methods = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
            methods.contains(&json!(method))
        })
    };
    let all = |listed: [bool; 3]| {
        assert!(listed.iter().all(|one| *one == listed[0]), "{metadata}");
        listed[0]
    };
    let bound = metadata.get("tls_client_certificate_bound_access_tokens") == Some(&json!(true));
    (all(has("tls_client_auth")), all(has("self_signed_tls_client_auth")), bound)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_offered_that_does_not_work_rfc8414_2() {
    let server = Server::start(Engine::Sqlite).await;
    assert_eq!(offered(&server).await, (false, false, false));
    let admin = server.administrator().await;
    let subject = json!({ "kind": "san_dns", "value": SUBJECT });
    let register = |method: &str| json!({ "client_id": method, "auth_methods": [method], "tls_client_auth_subject": subject });
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let refused = admin.post("/clients", register(method)).await;
        let problem = refused.expect_invalid("auth_methods", "docs/mutual-tls.md");
        assert!(problem.contains("no certificate of a client reaches this server"), "{problem}");
    }
    let bound = json!({ "client_id": "a", "token_binding": "mtls" });
    admin.post("/clients", bound).await.expect_invalid("token_binding", "dpop or either");
    let bound = json!({ "name": "a", "identifier": "https://a.example", "token_binding": "mtls" });
    admin.post("/resource-servers", bound).await.expect_invalid("token_binding", "dpop or either");
    let page = Person::signed_in(&server, "ada", "administrator").await.page("/new-client").await;
    assert!(!page.contains("tls_client_auth"), "{page}");
    server.app.stop().await.unwrap();

    // Without an authority that is trusted a certificate stands for itself only.
    let server = Server::start_with(Engine::Sqlite, |config: &mut Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.tls.header = Some(CertificateHeader::ClientCert);
    })
    .await;
    assert_eq!(offered(&server).await, (false, true, true));
    let admin = server.administrator().await;
    let refused = admin.post("/clients", register("tls_client_auth")).await;
    let problem = refused.expect_invalid("auth_methods", "docs/mutual-tls.md");
    assert!(problem.contains("no authority"), "{problem}");
    admin.post("/clients", register("self_signed_tls_client_auth")).await.expect(201);
    // What was registered while it worked can be changed in other ways still.
    let server = server.restart_with(|config| config.tls.header = None).await.unwrap();
    let admin = server.administrator().await;
    let change = json!({ "description": "as before" });
    admin.patch("/clients/self_signed_tls_client_auth", 1, change).await.expect(200);
    server.app.stop().await.unwrap();

    let stage = Stage::start(Engine::Sqlite).await;
    assert_eq!(offered(&stage.server).await, (true, true, true));
}
