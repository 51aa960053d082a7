//! Which client a token proves: the one that is named, or the only one whose conditions hold.

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    ISSUER, JWT_BEARER, JWT_SPIFFE, Platform, cast, change, parameters, present, present_as, refused, sub,
    uid,
};
use crate::harness::{Server, both_engines};
use crate::token::GRANT;
use jeton::domain::trust::Reuse;
use jeton::storage::ChangeKind;

both_engines!(
    a_platforms_token_proves_the_client_that_it_is_of,
    it_counts_at_every_endpoint,
    two_that_match_are_refused_unless_one_is_named,
    a_pattern_is_anchored_and_a_list_contains,
    it_counts_as_often_as_its_issuer_says,
    of_fifty_uses_at_once_one_gets_a_token,
    what_is_switched_off_is_refused_at_once_on_every_replica,
    a_jwt_svid_proves_a_spiffe_id,
    of_two_issuers_of_one_name_the_keys_decide,
    finding_one_among_many_is_one_look_and_of_too_many_nobody_is_found,
    names_of_claims_may_be_long,
);

async fn a_platforms_token_proves_the_client_that_it_is_of(server: Server) {
    let platform = cast(&server).await;
    let credential = platform.credential(&server, "app", sub("other")).await;
    for (answer, sub) in [
        (present(&server, &platform.token(&server, "app")).await, "app"),
        (present_as(&server, "app", &platform.token(&server, "other")).await, "other"),
    ] {
        answer.expect(200);
        let event = server.recorded(&answer).await.detail;
        assert_eq!((&event["client_id"], &event["auth_method"]), (&json!("app"), &json!("federated_jwt")));
        let of_other = event["credential_id"] == json!(credential.credential_id);
        assert_eq!(of_other, sub == "other", "{event}");
    }
    // A token of another platform for a client that is named all the same.
    let answer = present_as(&server, "billing", &platform.token(&server, "app")).await;
    refused(&server, "another client", &answer, "not registered for federated_jwt").await;
    server.app.stop().await.unwrap();
}

async fn it_counts_at_every_endpoint(server: Server) {
    let platform = cast(&server).await;
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let token = platform.token(&server, "app");
        let body = format!("token=x&{}", parameters(JWT_BEARER, &token));
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        assert_eq!(server.send("POST", path, &form, &body).await.status, 200, "{path}");
        let again = server.send("POST", path, &form, &body).await;
        refused(&server, path, &again, "used before").await;
        // What stands for an authorization proves nobody here.
        let assertion = platform.token(&server, "app");
        let body =
            format!("token=x&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={assertion}");
        server.send("POST", path, &form, &body).await.expect_oauth_error(401, "invalid_client");
    }
    server.app.stop().await.unwrap();
}

async fn two_that_match_are_refused_unless_one_is_named(server: Server) {
    let platform = cast(&server).await;
    platform.client(&server, "twin", json!([{ "claim": "sub", "value": "ap*" }])).await;
    let answer = present(&server, &platform.token(&server, "app")).await;
    refused(&server, "two", &answer, "2 clients have federated credentials").await;
    server.reason_is("two", &answer, "app, twin").await;
    for client_id in ["app", "twin"] {
        present_as(&server, client_id, &platform.token(&server, "app")).await.expect(200);
    }
    // One that does not count is none of them.
    let (_, twin) = uid(&server, "twin").await;
    let by = jeton::admin::By::system();
    server.app.admin().set_client_enabled(&by, &twin, false).await.unwrap();
    present(&server, &platform.token(&server, "app")).await.expect(200);
    let answer = present_as(&server, "twin", &platform.token(&server, "app")).await;
    refused(&server, "disabled", &answer, "the client is disabled").await;
    server.app.stop().await.unwrap();
}

async fn a_pattern_is_anchored_and_a_list_contains(server: Server) {
    let platform = cast(&server).await;
    let conditions = json!([
        { "claim": "sub", "value": "repo:octo/app:*" },
        { "claim": "/kubernetes.io/namespace", "value": "prod" },
        { "claim": "groups", "value": "deployers" },
    ]);
    platform.client(&server, "nested", conditions).await;
    let token = |sub: &str, namespace: &str, groups: serde_json::Value| {
        let mut claims = platform.claims(&server, sub);
        claims["kubernetes.io"] = json!({ "namespace": namespace });
        claims["groups"] = groups;
        platform.sign(&platform.header(), &claims)
    };
    let both = json!(["readers", "deployers"]);
    present(&server, &token("repo:octo/app:ref", "prod", both.clone())).await.expect(200);
    present(&server, &token("repo:octo/app:", "prod", json!("deployers"))).await.expect(200);
    for (row, token) in [
        ("not anchored", token("repo:octo/app-evil:ref", "prod", both.clone())),
        ("before it", token("x-repo:octo/app:ref", "prod", both.clone())),
        ("another namespace", token("repo:octo/app:ref", "production", both)),
        ("not in the list", token("repo:octo/app:ref", "prod", json!(["deployers2"]))),
        ("no list", token("repo:octo/app:ref", "prod", json!({ "deployers": true }))),
    ] {
        refused(&server, row, &present(&server, &token).await, "federated credential").await;
    }
    let named =
        present_as(&server, "nested", &token("repo:octo/app-evil:ref", "prod", json!("deployers"))).await;
    refused(&server, "named", &named, "whose conditions hold").await;
    server.app.stop().await.unwrap();
}

async fn it_counts_as_often_as_its_issuer_says(server: Server) {
    let mut platform = cast(&server).await;
    let with = platform.token(&server, "app");
    let mut claims = platform.claims(&server, "app");
    claims.as_object_mut().unwrap().remove("jti");
    let without = platform.sign(&platform.header(), &claims);
    // ECDSA: another good signature of the same.
    let resigned = platform.sign(&platform.header(), &claims);
    assert_ne!(without, resigned);
    let used =
        |answers: Vec<crate::harness::Answer>| answers.iter().map(|one| one.status).collect::<Vec<_>>();
    let both = async |server: &Server| {
        used(vec![
            present(server, &with).await,
            present(server, &without).await,
            present(server, &resigned).await,
        ])
    };
    assert_eq!(both(&server).await, [200, 200, 401], "once");
    let again = present(&server, &with).await;
    refused(&server, "once", &again, "used before").await;
    platform.update(&server, |issuer| issuer.reuse = Reuse::WithoutJti).await;
    assert_eq!(both(&server).await, [401, 200, 200], "without jti");
    platform.update(&server, |issuer| issuer.reuse = Reuse::WithinLife).await;
    assert_eq!(both(&server).await, [200, 200, 200], "within its life");
    server.app.stop().await.unwrap();
}

async fn of_fifty_uses_at_once_one_gets_a_token(server: Server) {
    let platform = cast(&server).await;
    let token = platform.token(&server, "app");
    let server = std::sync::Arc::new(server);
    let mut uses = JoinSet::new();
    for _ in 0..50 {
        let (server, token) = (std::sync::Arc::clone(&server), token.clone());
        uses.spawn(async move { present(&server, &token).await.status });
    }
    let statuses = uses.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
}

async fn what_is_switched_off_is_refused_at_once_on_every_replica(server: Server) {
    let mut platform = cast(&server).await;
    let replica = server.replica().await;
    present(&replica, &platform.token(&server, "app")).await.expect(200);
    platform.update(&server, |issuer| issuer.enabled = false).await;
    replica.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    for server in [&server, &replica] {
        let answer = present(server, &platform.token(server, "app")).await;
        refused(server, "disabled", &answer, "the trusted issuer ci is disabled").await;
    }
    platform.update(&server, |issuer| issuer.enabled = true).await;
    replica.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    present(&replica, &platform.token(&server, "app")).await.expect(200);
    // The credential is taken away.
    let (client, id) = uid(&server, "app").await;
    let credential = server.app.admin().store.federated_credentials(client).await.unwrap().remove(0);
    change(&server, &ChangeKind::Federation(id), async |tx| {
        assert!(tx.delete_federated_credential(client, &credential.credential_id).await.unwrap());
    })
    .await;
    replica.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    for server in [&server, &replica] {
        for answer in [
            present(server, &platform.token(server, "app")).await,
            present_as(server, "app", &platform.token(server, "app")).await,
        ] {
            refused(server, "removed", &answer, "federated credential").await;
        }
    }
    replica.app.stop().await.unwrap();
    server.app.stop().await.unwrap();
}

async fn a_jwt_svid_proves_a_spiffe_id(server: Server) {
    server.billing().await;
    let mut domain = Platform::new("mesh", "spiffe://example.org");
    // That of its tokens in a token exchange: here the sole audience is our issuer all the same.
    domain.trusted.audience = Some("https://orders.example".to_owned());
    domain.trust(&server).await;
    let id = "spiffe://example.org/ns/prod/sa/app";
    domain.client(&server, id, sub(id)).await;
    let svid = |sub: &str, change: fn(&mut serde_json::Value)| {
        let now = server.app.admin().ambient.now().as_seconds();
        // As SPIRE makes them: without iss and jti.
        let mut claims = json!({ "sub": sub, "aud": [ISSUER], "exp": now + 300, "iat": now });
        change(&mut claims);
        domain.sign(&json!({ "alg": "ES256", "kid": domain.kid, "typ": "JOSE" }), &claims)
    };
    let show = async |token: &str, client_id: &str| {
        let body = format!("{GRANT}{client_id}&{}", parameters(JWT_SPIFFE, token));
        server.form(&[], &body).await
    };
    let answer = show(&svid(id, |_| {}), "").await;
    answer.expect(200);
    let event = server.recorded(&answer).await.detail;
    assert_eq!((&event["client_id"], &event["auth_method"]), (&json!(id), &json!("spiffe_jwt")));
    let named = "&client_id=spiffe%3A%2F%2Fexample.org%2Fns%2Fprod%2Fsa%2Fapp";
    show(&svid(id, |claims| claims["iss"] = json!("https://oidc.example.org")), named).await.expect(200);
    // The SPIFFE ID as client_id, also where the client is called something else.
    let database = "spiffe://example.org/ns/prod/sa/db";
    domain.client(&server, "database", sub(database)).await;
    let named = "&client_id=spiffe%3A%2F%2Fexample.org%2Fns%2Fprod%2Fsa%2Fdb";
    let answer = show(&svid(database, |_| {}), named).await;
    answer.expect(200);
    assert_eq!(server.recorded(&answer).await.detail["client_id"], json!("database"));
    for (row, token, reason) in [
        ("another domain", svid("spiffe://evil.example/ns/prod/sa/app", |_| {}), "no trusted issuer"),
        ("no SPIFFE ID", svid("app", |_| {}), "no SPIFFE ID"),
        ("theirs", svid(id, |claims| claims["aud"] = json!("https://orders.example")), "alone"),
        ("two audiences", svid(id, |claims| claims["aud"] = json!([ISSUER, "x"])), "alone"),
        (
            "far ahead",
            svid(id, |claims| claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 4_000)),
            "lifetime",
        ),
        (
            "without iat",
            svid(id, |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
            "iat is absent",
        ),
        ("someone else", svid("spiffe://example.org/ns/prod/sa/other", |_| {}), "no client has"),
    ] {
        refused(&server, row, &show(&token, "").await, reason).await;
    }
    server.app.stop().await.unwrap();
}

async fn of_two_issuers_of_one_name_the_keys_decide(server: Server) {
    server.billing().await;
    let local = "https://kubernetes.default.svc.cluster.local";
    let (first, second) = (Platform::new("cluster-1", local), Platform::new("cluster-2", local));
    for (cluster, client_id) in [(&first, "one"), (&second, "two")] {
        cluster.trust(&server).await;
        cluster.client(&server, client_id, sub("system:serviceaccount:prod:app")).await;
    }
    for (cluster, client_id) in [(&first, "one"), (&second, "two")] {
        let answer = present(&server, &cluster.token(&server, "system:serviceaccount:prod:app")).await;
        answer.expect(200);
        assert_eq!(server.recorded(&answer).await.detail["client_id"], json!(client_id));
    }
    // Somebody has registered the keys of the first once more.
    let mut third = Platform::new("cluster-3", local);
    third.trusted.keys = first.trusted.keys.clone();
    third.trust(&server).await;
    let answer = present(&server, &first.token(&server, "system:serviceaccount:prod:app")).await;
    refused(&server, "shared", &answer, "cluster-1 and cluster-3 have the same name and the same key").await;
    present(&server, &second.token(&server, "system:serviceaccount:prod:app")).await.expect(200);
    server.app.stop().await.unwrap();
}

/// What finds a client are looks at the store: one for each shape that the issuer's credentials have, and none for
/// those that are not meant. Each finds 100 clients at most.
async fn finding_one_among_many_is_one_look_and_of_too_many_nobody_is_found(server: Server) {
    let platform = cast(&server).await;
    let looks_for = async |token: &str| {
        let looks = || server.app.admin().directory.as_ref().unwrap().matches().looks();
        let before = looks();
        let answer = present(&server, token).await;
        (answer, looks() - before)
    };
    let (answer, alone) = looks_for(&platform.token(&server, "app")).await;
    answer.expect(200);
    let names: Vec<String> = (0..101).map(|number| format!("job-{number}")).collect();
    let own: Vec<_> = names.iter().map(|name| (name.as_str(), sub(name))).collect();
    platform.clients(&server, &own).await;
    let (answer, among_many) = looks_for(&platform.token(&server, "job-57")).await;
    answer.expect(200);
    assert_eq!(server.recorded(&answer).await.detail["client_id"], "job-57");
    assert_eq!((alone, among_many), (1, 1), "it does not grow");
    let (_, again) = looks_for(&platform.token(&server, "job-57")).await;
    assert_eq!(again, 0, "what was found is remembered");

    // Under one key: as many as are looked at, and one more.
    let team = json!([{ "claim": "team", "value": "all" }]);
    let of_team = || {
        let mut claims = platform.claims(&server, "somebody");
        claims["team"] = json!("all");
        platform.sign(&platform.header(), &claims)
    };
    for name in &names[..100] {
        platform.credential(&server, name, team.clone()).await;
    }
    let (answer, looks) = looks_for(&of_team()).await;
    refused(&server, "100", &answer, "100 clients have federated credentials that this token").await;
    assert_eq!(looks, 2, "one for each shape");
    platform.credential(&server, &names[100], team).await;
    refused(&server, "101", &looks_for(&of_team()).await.0, "over 100 clients could match").await;
    present_as(&server, "job-100", &of_team()).await.expect(200);
    server.app.stop().await.unwrap();
}

/// `PostgreSQL` takes no index entry of over 2,704 bytes; what the conditions look at is part of one.
async fn names_of_claims_may_be_long(server: Server) {
    let platform = cast(&server).await;
    let name = |number: usize| -> String {
        let letters = (0..198).map(|_| char::from_u32(rand::random_range(0x20000..0x2A000)).unwrap());
        letters.chain(format!("{number:02}").chars()).collect()
    };
    // More of them would be longer than a token may be.
    let names: Vec<String> = (0..10).map(name).collect();
    let conditions: Vec<_> = names.iter().map(|name| json!({ "claim": name, "value": "x" })).collect();
    platform.client(&server, "long", json!(conditions)).await;
    let token = |change: Option<&str>| {
        let mut claims = platform.claims(&server, "somebody");
        for name in &names {
            claims[name] = json!(if change == Some(name) { "y" } else { "x" });
        }
        platform.sign(&platform.header(), &claims)
    };
    let answer = present(&server, &token(None)).await;
    answer.expect(200);
    assert_eq!(server.recorded(&answer).await.detail["client_id"], "long");
    // Each of them is looked at, also those that it is not filed by.
    let last = names.iter().max().unwrap();
    refused(&server, "the last", &present(&server, &token(Some(last))).await, "federated credential").await;
    let first = names.iter().min().unwrap();
    refused(&server, "the first", &present(&server, &token(Some(first))).await, "federated credential").await;
    server.app.stop().await.unwrap();
}
