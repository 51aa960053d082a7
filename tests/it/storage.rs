//! The storage contract, the same on both engines.

mod changes;
mod events;
mod exchange_rules;
mod registry;
mod schema;
mod versions;

use std::time::Duration;

use uuid::Uuid;

use crate::harness::{Database, Engine, START};
use jeton::app;
use jeton::domain::binding::TokenBinding;
use jeton::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use jeton::domain::client::{AuthMethod, Client, ClientKind, GrantType};
use jeton::domain::ids::{
    ClientId, ClientUid, Identifier, Permission, ResourceServerName, ResourceServerUid, RoleName, RoleUid,
};
use jeton::domain::resource::{ResourceServer, TokenProfile};
use jeton::domain::role::Role;
use jeton::jose::Algorithm;
use jeton::storage::{Store, StoreError};

/// Runs tests of the form `async fn(store: Store, database: Database)` on both engines.
macro_rules! both_stores {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::Engine;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let (store, database) = crate::storage::fresh(Engine::Sqlite).await;
                super::$test(store, database).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let (store, database) = crate::storage::fresh(Engine::Postgres).await;
                super::$test(store, database).await;
            }
        })+
    };
}
use both_stores;

pub(crate) async fn fresh(engine: Engine) -> (Store, Database) {
    let database = Database::create(engine).await;
    let store = app::connect(&database.config()).await.unwrap();
    store.migrate().await.unwrap();
    (store, database)
}

fn uuid() -> Uuid {
    Uuid::from_u128(rand::random())
}

pub(crate) fn client(id: &str) -> Client {
    Client {
        uid: ClientUid(uuid()),
        client_id: ClientId::new(id).unwrap(),
        description: "größer\n\"quoted\"".to_owned(),
        kind: ClientKind::Agent,
        owner: Some("team".to_owned()),
        labels: [("a.b/c".to_owned(), "v\\'x".to_owned())].into(),
        enabled: true,
        expires_at: Some(START.plus(Duration::from_micros(1))),
        default_resource_server: None,
        grant_types: [GrantType::ClientCredentials].into(),
        auth_methods: [AuthMethod::ClientSecretPost].into(),
        allowed_networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        may_act: Some(ClientId::new("orders").unwrap()),
        token_binding: TokenBinding::Dpop,
        certificate_subject: Some(ExpectedSubject::new(SubjectKind::SanDns, "Agent.example.com").unwrap()),
        may_rotate_own_secrets: true,
        jwks_uri: Some("https://a.example/jwks.json".to_owned()),
        assertion_type_required: true,
        legacy_assertion_audience: true,
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

fn resource_server(name: &str) -> ResourceServer {
    ResourceServer {
        uid: ResourceServerUid(uuid()),
        name: ResourceServerName::new(name).unwrap(),
        identifier: Identifier::new(format!("https://{name}")).unwrap(),
        description: String::new(),
        permissions: [(Permission::new("read").unwrap(), "Read".to_owned())].into(),
        token_lifetime: Duration::from_mins(5),
        signing_algorithm: Algorithm::Rs256,
        signing_algorithm_before: None,
        token_profile: TokenProfile::Jwt,
        token_binding: TokenBinding::Optional,
        enabled: true,
        builtin: false,
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

fn role(name: &str, server: &ResourceServer) -> Role {
    Role {
        uid: RoleUid(uuid()),
        name: RoleName::new(name).unwrap(),
        description: String::new(),
        permissions: [(server.uid, Permission::new("read").unwrap())].into(),
        builtin: false,
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

async fn insert(store: &Store, client: &Client) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.insert_client(client).await?;
    tx.commit().await
}
