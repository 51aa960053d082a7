//! Clients, resource servers and roles.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{both_stores, client, insert, resource_server, role};
use crate::harness::{Database, START};
use jeton::domain::client::{AuthMethod, Client, ClientKind, ClientSecret};
use jeton::domain::client_certificate::ClientCertificate;
use jeton::domain::ids::{ClientId, CredentialId, KeyId, Permission, SecretId};
use jeton::domain::resource::ResourceServer;
use jeton::domain::rotation::RingKey;
use jeton::domain::secret::SecretOrigin;
use jeton::jose::{Algorithm, RsaBits, SigningKey};
use jeton::storage::{ClientFilter, Cursor, Store, StoreError, StoredKey, StoredPrivate};

both_stores!(
    a_client_comes_back_as_it_went_in,
    names_are_unique,
    references_hold,
    operators_are_found_from_both_sides,
    only_the_version_that_was_read_is_replaced,
    lists_page_by_bytes_and_filter_literally,
    a_key_that_comes_after_its_time_is_not_stored,
);

async fn a_client_comes_back_as_it_went_in(store: Store, _: Database) {
    let server = resource_server("rs");
    let role = role("r", &server);
    let mut client = client("spiffe://prod/ns/ä:%");
    client.default_resource_server = Some(server.uid);
    client.auth_methods.insert(AuthMethod::SelfSignedTlsClientAuth);
    let certificate = ClientCertificate {
        certificate_id: CredentialId::new("abc").unwrap(),
        thumbprint: "x".to_owned(),
        subject: "CN=é".to_owned(),
        description: "d".to_owned(),
        not_before: START,
        not_after: START.plus(Duration::from_secs(1)),
        created_at: START,
        expires_at: Some(START),
    };
    let secret = ClientSecret {
        secret_id: SecretId::new("abc").unwrap(),
        hash: "$argon2id$".to_owned().into(),
        origin: SecretOrigin::Chosen,
        description: "d".to_owned(),
        created_at: START,
        expires_at: None,
        replaced_by: None,
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_resource_server(&server).await.unwrap();
    tx.insert_role(&role).await.unwrap();
    tx.insert_client(&client).await.unwrap();
    tx.insert_secret(client.uid, &secret).await.unwrap();
    tx.insert_certificate(client.uid, &certificate, b"der").await.unwrap();
    assert!(tx.assign_role(client.uid, role.uid, START).await.unwrap());
    assert!(!tx.assign_role(client.uid, role.uid, START).await.unwrap(), "twice is once");
    tx.commit().await.unwrap();

    let found = store.registration(&client.client_id).await.unwrap().unwrap();
    assert_eq!(found.client, client);
    assert_eq!(found.roles, [role.uid]);
    assert_eq!(found.certificates, [certificate]);
    assert_eq!(found.secrets.len(), 1);
    assert_eq!(found.secrets[0].hash.expose_secret(), secret.hash.expose_secret());
    assert_eq!(store.resource_server(&server.name).await.unwrap().unwrap(), server);
    assert_eq!(store.role(&role.name).await.unwrap().unwrap(), role);
    assert_eq!(store.all_roles().await.unwrap(), [role]);
    assert_eq!(store.all_resource_servers().await.unwrap(), [server]);
    assert!(store.client(&ClientId::new("nobody").unwrap()).await.unwrap().is_none());
}

async fn names_are_unique(store: Store, _: Database) {
    insert(&store, &client("a")).await.unwrap();
    assert!(matches!(insert(&store, &client("a")).await, Err(StoreError::AlreadyExists)));
    insert(&store, &client("A")).await.unwrap();

    let server = resource_server("rs");
    let mut same_identifier = resource_server("other");
    same_identifier.identifier = server.identifier.clone();
    let mut tx = store.begin().await.unwrap();
    tx.insert_resource_server(&server).await.unwrap();
    tx.commit().await.unwrap();
    for taken in [resource_server("rs"), same_identifier] {
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.insert_resource_server(&taken).await, Err(StoreError::AlreadyExists)));
    }
}

async fn references_hold(store: Store, _: Database) {
    let server = resource_server("rs");
    let role = role("r", &server);
    let client = client("c");
    let read = Permission::new("read").unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.insert_resource_server(&server).await.unwrap();
    tx.insert_role(&role).await.unwrap();
    tx.insert_client(&client).await.unwrap();
    tx.assign_role(client.uid, role.uid, START).await.unwrap();
    tx.commit().await.unwrap();

    let in_use = |outcome: Result<_, StoreError>| matches!(outcome, Err(StoreError::InUse));
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_role(role.uid, 1).await.map(drop)), "a client has it");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_permission(server.uid, &read).await), "a role gives it");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_resource_server(server.uid, 1).await.map(drop)), "a role gives its permission");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    let undefined = Permission::new("undefined").unwrap();
    assert!(
        in_use(tx.add_role_permission(role.uid, server.uid, &undefined).await),
        "it defines no such permission"
    );
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_client(client.uid, 1).await.unwrap());
    assert!(tx.delete_role(role.uid, 1).await.unwrap(), "nobody has it any more");
    assert!(tx.delete_resource_server(server.uid, 1).await.unwrap());
    tx.commit().await.unwrap();
    assert!(store.all_roles().await.unwrap().is_empty());
}

async fn operators_are_found_from_both_sides(store: Store, _: Database) {
    let servers = [resource_server("one"), resource_server("two")];
    let clients = [client("b"), client("B"), client("é")];
    let mut tx = store.begin().await.unwrap();
    for server in &servers {
        tx.insert_resource_server(server).await.unwrap();
    }
    for client in &clients {
        tx.insert_client(client).await.unwrap();
        assert!(tx.add_operator(client.uid, servers[0].uid, START).await.unwrap());
        assert!(!tx.add_operator(client.uid, servers[0].uid, START).await.unwrap(), "twice is once");
    }
    assert!(tx.add_operator(clients[0].uid, servers[1].uid, START).await.unwrap());
    tx.commit().await.unwrap();
    let of = async |server: &ResourceServer, after: &str, limit| -> Vec<String> {
        let page = Cursor { after: after.to_owned(), limit };
        let found = store.operators_of(server.uid, &page).await.unwrap();
        assert!(found.iter().all(|(_, at)| *at == START));
        found.into_iter().map(|(client, _)| client.to_string()).collect()
    };
    assert_eq!(of(&servers[0], "", 10).await, ["B", "b", "é"], "by bytes on both engines");
    assert_eq!(of(&servers[0], "B", 1).await, ["b"]);
    assert_eq!(of(&servers[1], "", 10).await, ["b"]);
    let mut by = store.operated_by(clients[0].uid).await.unwrap();
    by.sort();
    let mut both = [servers[0].uid, servers[1].uid];
    both.sort();
    assert_eq!(by, both);
    let catalog = store.catalog().await.unwrap();
    assert!(catalog.operates(clients[1].uid, servers[0].uid));
    assert!(!catalog.operates(clients[1].uid, servers[1].uid));

    let mut tx = store.begin().await.unwrap();
    assert!(tx.remove_operator(clients[0].uid, servers[0].uid).await.unwrap());
    assert!(!tx.remove_operator(clients[0].uid, servers[0].uid).await.unwrap(), "it is none any more");
    assert!(tx.delete_client(clients[1].uid, 1).await.unwrap(), "that it operates is no reason to stay");
    assert!(tx.delete_resource_server(servers[1].uid, 1).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(of(&servers[0], "", 10).await, ["é"]);
    assert_eq!(store.all_operators().await.unwrap(), [(clients[2].uid, servers[0].uid)]);
}

async fn only_the_version_that_was_read_is_replaced(store: Store, _: Database) {
    let mut client = client("c");
    insert(&store, &client).await.unwrap();
    let write = async |client: &Client| {
        let mut tx = store.begin().await.unwrap();
        let done = tx.update_client(client).await.unwrap();
        tx.commit().await.unwrap();
        done
    };
    client.owner = None;
    assert!(write(&client).await);
    assert!(!write(&client).await, "the stored version is 2 by now");
    client.version = 2;
    let (one, other) = tokio::join!(write(&client), write(&client));
    assert!(one ^ other, "of two at once, one");
    let stored = store.client(&client.client_id).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.owner), (3, None));
}

async fn lists_page_by_bytes_and_filter_literally(store: Store, _: Database) {
    for id in ["b", "B", "a%", "a_", "aB", "é"] {
        insert(&store, &client(id)).await.unwrap();
    }
    let page = async |filter: ClientFilter, after: &str, limit| -> Vec<String> {
        let cursor = Cursor { after: after.to_owned(), limit };
        let found = store.clients(&filter, &cursor, START).await.unwrap();
        found.into_iter().map(|(client, _)| client.client_id.to_string()).collect()
    };
    let all = ClientFilter::default;
    assert_eq!(page(all(), "", 10).await, ["B", "a%", "aB", "a_", "b", "é"], "by bytes on both engines");
    assert_eq!(page(all(), "aB", 2).await, ["a_", "b"]);
    let text = |text: &str| ClientFilter { text: Some(text.to_owned()), ..all() };
    assert_eq!(page(text("%"), "", 10).await, ["a%"]);
    assert_eq!(page(text("A_"), "", 10).await, ["a_"]);
    assert_eq!(page(text("\\"), "", 10).await, [""; 0]);
    let label = |value: &str| ClientFilter { label: Some(("a.b/c".to_owned(), value.to_owned())), ..all() };
    assert_eq!(page(label("v\\'x"), "", 10).await.len(), 6);
    assert_eq!(page(label("other"), "", 10).await.len(), 0);
    let of_kind = |kind| ClientFilter { kind: Some(kind), ..all() };
    assert_eq!(page(of_kind(ClientKind::Job), "", 10).await.len(), 0);
    assert_eq!(page(of_kind(ClientKind::Agent), "", 10).await.len(), 6);
}

/// A replica that was suspended while it made a key, until the key's generation had come and gone.
async fn a_key_that_comes_after_its_time_is_not_stored(store: Store, _: Database) {
    let generation = |generation| {
        let key = SigningKey::generate(Algorithm::Es256, RsaBits::Rsa2048).unwrap();
        let public_jwk = key.public_jwk();
        let life = RingKey {
            kid: KeyId::new(public_jwk.key_id()).unwrap(),
            generation,
            activates_at: START,
            leaves_at: None,
            revoked_at: None,
            longest_token: Duration::from_mins(5),
        };
        let private = StoredPrivate::Sealed(vec![1]);
        StoredKey { algorithm: Algorithm::Es256, life, public_jwk, private, created_at: START }
    };
    for (number, stored) in [(2, true), (1, false), (2, false), (3, true)] {
        let mut tx = store.begin().await.unwrap();
        let outcome = tx.insert_key(&generation(number)).await;
        match &outcome {
            Ok(()) => tx.commit().await.unwrap(),
            Err(StoreError::AlreadyExists) => drop(tx),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(store.signing_keys().await.unwrap().last().unwrap().life.generation, number.max(2));
        assert_eq!(outcome.is_ok(), stored, "generation {number}");
    }
}
