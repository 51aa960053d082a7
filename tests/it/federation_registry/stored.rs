//! The storage contract of trusted issuers and federated credentials, the same on both engines.

use std::time::Duration;

use uuid::Uuid;

use jeton::domain::claim_conditions::{ClaimPath, Condition, Conditions, Pattern};
use jeton::domain::ids::{TrustedIssuerName, TrustedIssuerUid};
use jeton::domain::trust::{
    FederatedCredential, IssuerProfile, KeySource, Reuse, TrustedIssuer, credential_id,
};
use jeton::jose::Algorithm;
use jeton::storage::{Store, StoreError};

use crate::harness::{Engine, START};
use crate::storage::{client, fresh};

fn issuer(name: &str, keys: KeySource) -> TrustedIssuer {
    TrustedIssuer {
        uid: TrustedIssuerUid(Uuid::from_u128(rand::random())),
        name: TrustedIssuerName::new(name).unwrap(),
        description: "größer\n\"quoted\"".to_owned(),
        enabled: true,
        profile: IssuerProfile::Jwt,
        issuer: "https://idp.example".to_owned(),
        keys,
        algorithms: [Algorithm::Es256, Algorithm::EdDsa].into(),
        audience: None,
        max_lifetime: Duration::from_hours(1),
        leeway: Duration::from_secs(30),
        reuse: Reuse::Once,
        version: 1,
        created_at: START,
        updated_at: START.plus(Duration::from_micros(1)),
    }
}

fn conditions(pairs: &[(&str, &str)]) -> Conditions {
    let condition = |(claim, value): &(&str, &str)| Condition {
        claim: ClaimPath::new(claim).unwrap(),
        value: Pattern::new(value).unwrap(),
    };
    Conditions::new(pairs.iter().map(condition).collect()).unwrap()
}

fn credential(issuer: &TrustedIssuer, pairs: &[(&str, &str)], after: u64) -> FederatedCredential {
    let conditions = conditions(pairs);
    FederatedCredential {
        credential_id: credential_id(issuer.uid, &conditions),
        trusted_issuer: issuer.uid,
        conditions,
        description: "é".to_owned(),
        created_at: START.plus(Duration::from_secs(after)),
        expires_at: Some(START.plus(Duration::from_hours(1))),
    }
}

async fn an_issuer_comes_back_as_it_went_in(store: Store) {
    let sources = [
        KeySource::Discovery,
        KeySource::JwksUri("https://a.example/k".to_owned()),
        KeySource::Inline("{\"keys\":[]}".to_owned()),
        KeySource::BundleFile("a.json".to_owned()),
        KeySource::BundleEndpoint("https://b.example".to_owned()),
    ];
    let mut issuers: Vec<TrustedIssuer> =
        (0..).zip(sources).map(|(number, keys)| issuer(&format!("i{number}"), keys)).collect();
    issuers[1].profile = IssuerProfile::Spiffe;
    issuers[1].audience = Some("urn:ä".to_owned());
    issuers[2].reuse = Reuse::WithoutJti;
    issuers[2].enabled = false;
    let mut tx = store.begin().await.unwrap();
    for issuer in &issuers {
        tx.insert_trusted_issuer(issuer).await.unwrap();
    }
    tx.commit().await.unwrap();
    for issuer in &issuers {
        assert_eq!(store.trusted_issuer(&issuer.name).await.unwrap().as_ref(), Some(issuer));
    }
    let catalog = store.catalog().await.unwrap();
    assert_eq!(catalog.trusted_issuers_of("https://idp.example").count(), 5);
    let mut tx = store.begin().await.unwrap();
    let again = tx.insert_trusted_issuer(&issuer("i0", KeySource::Discovery)).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "{again:?}");
    drop(tx);

    let mut changed = issuers[0].clone();
    (changed.keys, changed.enabled, changed.reuse) = (issuers[2].keys.clone(), false, Reuse::WithinLife);
    (changed.max_lifetime, changed.leeway) = (Duration::from_mins(1), Duration::ZERO);
    (changed.audience, changed.algorithms) = (Some("x".to_owned()), [Algorithm::Rs256].into());
    let mut tx = store.begin().await.unwrap();
    assert!(tx.update_trusted_issuer(&changed).await.unwrap());
    assert!(!tx.update_trusted_issuer(&changed).await.unwrap(), "its version is another");
    assert!(!tx.delete_trusted_issuer(changed.uid, 1).await.unwrap());
    tx.commit().await.unwrap();
    changed.version = 2;
    assert_eq!(store.trusted_issuer(&changed.name).await.unwrap(), Some(changed));
}

async fn credentials_are_found_by_what_they_want(store: Store) {
    let (one, other) = (issuer("one", KeySource::Discovery), issuer("other", KeySource::Discovery));
    let (billing, orders) = (client("billing"), client("orders"));
    let mut tx = store.begin().await.unwrap();
    for issuer in [&one, &other] {
        tx.insert_trusted_issuer(issuer).await.unwrap();
    }
    for client in [&billing, &orders] {
        tx.insert_client(client).await.unwrap();
    }
    let first = credential(&one, &[("sub", "a"), ("env", "p*")], 0);
    let second = credential(&one, &[("sub", "b")], 1);
    tx.insert_federated_credential(billing.uid, &first).await.unwrap();
    tx.insert_federated_credential(billing.uid, &second).await.unwrap();
    tx.insert_federated_credential(orders.uid, &second).await.unwrap();
    tx.insert_federated_credential(orders.uid, &credential(&other, &[("sub", "a")], 0)).await.unwrap();
    assert_eq!(tx.count_federated(billing.uid).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let again = tx.insert_federated_credential(billing.uid, &first).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "{again:?}");
    drop(tx);

    let held = store.federated_credentials(billing.uid).await.unwrap();
    assert_eq!(held, [second.clone(), first.clone()], "newest first");
    let by = async |issuer: &TrustedIssuer, conditions: &Conditions| {
        store.clients_by_match(issuer.uid, &conditions.match_key(), 10).await.unwrap()
    };
    assert_eq!(by(&one, &first.conditions).await, std::slice::from_ref(&billing.client_id));
    let mut both = by(&one, &second.conditions).await;
    both.sort();
    assert_eq!(both, [billing.client_id.clone(), orders.client_id.clone()]);
    assert!(by(&other, &second.conditions).await.is_empty());
    let shapes = store.federation_shapes().await.unwrap();
    assert_eq!(shapes.len(), 2, "one for each issuer: both say exactly what sub is");
    let (count, some) = store.clients_of_issuer(one.uid, 1).await.unwrap();
    assert_eq!((count, some), (2, vec![billing.client_id.clone()]));
    assert_eq!(store.count_of_issuer(one.uid).await.unwrap(), 3);
    assert!(store.roles_of_issuer(one.uid).await.unwrap().is_empty());

    let mut tx = store.begin().await.unwrap();
    let used = tx.delete_trusted_issuer(one.uid, 1).await;
    assert!(matches!(used, Err(StoreError::InUse)), "{used:?}");
    drop(tx);
    let mut changed = first.clone();
    (changed.description, changed.expires_at) = ("new".to_owned(), None);
    let mut tx = store.begin().await.unwrap();
    assert!(tx.update_federated_credential(billing.uid, &changed).await.unwrap());
    assert!(!tx.update_federated_credential(orders.uid, &changed).await.unwrap());
    assert!(tx.delete_federated_credential(billing.uid, &second.credential_id).await.unwrap());
    assert!(!tx.delete_federated_credential(billing.uid, &second.credential_id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.federated_credentials(billing.uid).await.unwrap(), [changed]);
    assert_eq!(by(&one, &second.conditions).await, std::slice::from_ref(&orders.client_id));

    // A shape goes with the last credential of it, also where that goes with its client.
    let shapes_of = async |issuer: &TrustedIssuer| {
        let shapes = store.federation_shapes().await.unwrap();
        shapes.iter().filter(|(of, _)| *of == issuer.uid).count()
    };
    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_federated_credential(billing.uid, &first.credential_id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!((shapes_of(&one).await, shapes_of(&other).await), (1, 1), "one of orders is left");
    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_client(orders.uid, orders.version).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!((shapes_of(&one).await, shapes_of(&other).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_comes_back_as_it_went_in_on_both_engines() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (store, _database) = fresh(engine).await;
        an_issuer_comes_back_as_it_went_in(store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_found_by_what_they_want_on_both_engines() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (store, _database) = fresh(engine).await;
        credentials_are_found_by_what_they_want(store).await;
    }
}
