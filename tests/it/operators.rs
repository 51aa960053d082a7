//! Which clients operate a resource server, in the REST API.

use std::time::Duration;

use serde_json::{Value, json};

use jeton::domain::ids::ClientId;

use crate::harness::{Server, both_engines};

both_engines!(
    operators_are_added_and_removed_any_number_of_times,
    who_is_unknown_is_not_found,
    pages_of_operators_hold_everything_once,
    every_change_is_recorded,
    a_removed_client_operates_nothing,
    another_replica_sees_it,
);

const PATH: &str = "/resource-servers/orders/operators";

async fn operators_are_added_and_removed_any_number_of_times(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    assert_eq!(api.get(PATH).await.expect(200), json!({ "items": [] }));
    let path = format!("{PATH}/billing");
    let answer = api.put(&path).await;
    answer.expect(204);
    assert_eq!(answer.body, "");
    let added = server.last_change().await;
    server.clock.advance(Duration::from_secs(1));
    api.put(&path).await.expect(204);
    assert_eq!(server.last_change().await, added, "adding it again changes nothing");
    let expected = json!({ "items": [{ "client_id": "billing", "assigned_at": "2026-11-22T08:00:00Z" }] });
    assert_eq!(api.get(PATH).await.expect(200), expected);
    api.delete(&path, None).await.expect(204);
    let removed = server.last_change().await;
    api.delete(&path, None).await.expect(204);
    assert_eq!(server.last_change().await, removed, "removing it again changes nothing");
    assert_eq!(api.get(PATH).await.expect(200), json!({ "items": [] }));
    api.get("/resource-servers/orders").await.expect_version(200, 1);
}

async fn who_is_unknown_is_not_found(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    for (resource_server, client, what) in
        [("orders", "nobody", "client 'nobody'"), ("nowhere", "billing", "resource server 'nowhere'")]
    {
        let path = format!("/resource-servers/{resource_server}/operators/{client}");
        for answer in [api.put(&path).await, api.delete(&path, None).await] {
            assert_eq!(answer.expect_problem(404, "not-found")["detail"], format!("there is no {what}"));
        }
    }
    api.get("/resource-servers/nowhere/operators").await.expect_problem(404, "not-found");
}

async fn pages_of_operators_hold_everything_once(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let ids = ["B", "a%", "billing", "spiffe://prod/ns/é"];
    for id in ids {
        if id != "billing" {
            server.client(json!({ "client_id": id })).await;
        }
        api.put(&format!("{PATH}/{}", crate::harness::encoded(id))).await.expect(204);
    }
    // Of another one, which must not show.
    server.client(json!({ "client_id": "c" })).await;
    api.put("/resource-servers/jeton/operators/c").await.expect(204);
    for limit in [1, 2, 3, 4, 500] {
        let pages = api.pages(&format!("{PATH}?"), limit, "client_id", async {}).await;
        assert_eq!(pages.concat(), ids, "by {limit}, in the order of their bytes");
        assert_eq!(pages.len(), ids.len().div_ceil(limit), "by {limit}: no empty page at the end");
    }
    api.get(&format!("{PATH}?limit=501")).await.expect_invalid("limit", "use 1 to 500");
    api.get(&format!("{PATH}?q=b")).await.expect_problem(400, "malformed");
}

async fn every_change_is_recorded(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    let path = format!("{PATH}/billing");
    for (answer, action, before, after) in [
        (api.put(&path).await, "add", Value::Null, json!("billing")),
        (api.delete(&path, None).await, "remove", json!("billing"), Value::Null),
    ] {
        let event = server.recorded(&answer).await;
        assert_eq!(event.kind, "changed");
        assert_eq!(event.detail["action"], format!("resource_server.operator.{action}"));
        assert_eq!(event.detail["target"], "orders");
        assert_eq!((&event.detail["before"], &event.detail["after"]), (&before, &after));
    }
}

async fn a_removed_client_operates_nothing(server: Server) {
    server.billing().await;
    let api = server.administrator().await;
    api.put(&format!("{PATH}/billing")).await.expect(204);
    api.delete("/clients/billing", Some(1)).await.expect(204);
    assert_eq!(api.get(PATH).await.expect(200), json!({ "items": [] }));
    // A new one of the same name is another one.
    server.client(json!({ "client_id": "billing" })).await;
    assert_eq!(api.get(PATH).await.expect(200), json!({ "items": [] }));
}

async fn another_replica_sees_it(server: Server) {
    server.billing().await;
    let replica = server.replica().await;
    let api = server.administrator().await;
    let client =
        server.app.admin().store.client(&ClientId::new("billing").unwrap()).await.unwrap().unwrap().uid;
    let seen = async |wanted: bool| {
        let seeing = async {
            loop {
                let catalog = replica.app.admin().directory.as_ref().unwrap().catalog();
                let orders = catalog.by_identifier("https://orders.example").map(|server| server.uid);
                if orders.is_some_and(|orders| catalog.operates(client, orders) == wanted) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), seeing).await;
        assert!(found.is_ok(), "never seen: {wanted}");
    };
    seen(false).await;
    api.put(&format!("{PATH}/billing")).await.expect(204);
    seen(true).await;
    api.delete(&format!("{PATH}/billing"), None).await.expect(204);
    seen(false).await;
}
