//! The storage contract, the same on both engines.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Database, Engine, START};
use jeton::app;
use jeton::domain::audit::{AskedFor, AuditEvent, Event, Origin, Recorded};
use jeton::domain::binding::TokenBinding;
use jeton::domain::certificate_subject::{ExpectedSubject, SubjectKind};
use jeton::domain::chain::Chain;
use jeton::domain::client::{AuthMethod, Client, ClientKind, ClientSecret, GrantType};
use jeton::domain::client_certificate::ClientCertificate;
use jeton::domain::exchange_rule::{ExchangeMode, ExchangeRule, Party};
use jeton::domain::ids::{
    ClientId, ClientUid, CredentialId, ExchangeRuleName, ExchangeRuleUid, Identifier, Permission,
    ResourceServerName, ResourceServerUid, RoleName, RoleUid, SecretId,
};
use jeton::domain::resource::{ResourceServer, TokenProfile};
use jeton::domain::role::Role;
use jeton::domain::secret::SecretOrigin;
use jeton::jose::Algorithm;
use jeton::storage::{
    ChangeKind, ClientFilter, Cursor, LedgerConnection, Store, StoreError, UsedId, all_statements,
};

/// Runs tests of the form `async fn(store: Store, database: Database)` on both engines.
macro_rules! both_stores {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::Engine;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let (store, database) = super::fresh(Engine::Sqlite).await;
                super::$test(store, database).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let (store, database) = super::fresh(Engine::Postgres).await;
                super::$test(store, database).await;
            }
        })+
    };
}

both_stores!(
    every_statement_prepares,
    a_client_comes_back_as_it_went_in,
    names_are_unique,
    references_hold,
    an_exchange_rule_comes_back_as_it_went_in,
    what_an_exchange_rule_names_stays,
    operators_are_found_from_both_sides,
    only_the_version_that_was_read_is_replaced,
    lists_page_by_bytes_and_filter_literally,
    room_that_is_there_waits_for_nobody,
    changes_are_numbered_without_gaps_in_the_order_they_become_visible,
    a_dropped_transaction_did_nothing,
    several_migrate_at_once,
    events_are_appended_together_and_whole,
    of_identifiers_that_are_used_together_each_counts_once,
);

async fn fresh(engine: Engine) -> (Store, Database) {
    let database = Database::create(engine).await;
    let store = app::connect(&database.config()).await.unwrap();
    store.migrate().await.unwrap();
    (store, database)
}

fn uuid() -> Uuid {
    Uuid::from_u128(rand::random())
}

fn client(id: &str) -> Client {
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

async fn every_statement_prepares(_: Store, database: Database) {
    let mut prepared = 0;
    for (name, sql) in all_statements() {
        let outcome = database.prepare(sql).await;
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        prepared += 1;
    }
    assert!(prepared > 30, "{prepared}");
}

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

/// A rule with everything that a rule can have.
fn exchange_rule(name: &str, caller: Party, subject: Party, server: &ResourceServer) -> ExchangeRule {
    ExchangeRule {
        uid: ExchangeRuleUid(uuid()),
        name: ExchangeRuleName::new(name).unwrap(),
        description: "größer\n".to_owned(),
        enabled: true,
        expires_at: Some(START.plus(Duration::from_micros(1))),
        caller,
        subject,
        resource_server: server.uid,
        permissions: [Permission::new("read").unwrap()].into(),
        sources: [server.uid].into(),
        mode: ExchangeMode::Impersonation,
        max_depth: 10,
        token_lifetime: Some(Duration::from_secs(10)),
        version: 1,
        created_at: START,
        updated_at: START,
    }
}

async fn an_exchange_rule_comes_back_as_it_went_in(store: Store, _: Database) {
    let (server, other) = (resource_server("rs"), resource_server("other"));
    let role = role("r", &server);
    let (caller, subject) = (client("caller"), client("subject"));
    let mut one = exchange_rule("one", Party::Client(caller.uid), Party::Client(subject.uid), &server);
    let mut two = exchange_rule("two", Party::Role(role.uid), Party::Role(role.uid), &server);
    (two.expires_at, two.token_lifetime, two.enabled) = (None, None, false);
    let mut tx = store.begin().await.unwrap();
    for server in [&server, &other] {
        tx.insert_resource_server(server).await.unwrap();
    }
    tx.insert_role(&role).await.unwrap();
    for client in [&caller, &subject] {
        tx.insert_client(client).await.unwrap();
    }
    for rule in [&one, &two] {
        tx.insert_exchange_rule(rule).await.unwrap();
    }
    tx.commit().await.unwrap();
    let stored = async |rule: &ExchangeRule| store.exchange_rule(&rule.name).await.unwrap().unwrap();
    assert_eq!((&stored(&one).await, &stored(&two).await), (&one, &two));
    let mut all = store.all_exchange_rules().await.unwrap();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(all, [one.clone(), two.clone()]);
    let clients = async |first: &ExchangeRule, last: &ExchangeRule| {
        store.clients_in_exchange_rules(&first.name, &last.name).await.unwrap()
    };
    let expected = [(caller.uid, caller.client_id.clone()), (subject.uid, subject.client_id.clone())].into();
    assert_eq!(clients(&one, &two).await, expected);
    assert_eq!(clients(&one, &one).await, expected);
    assert!(clients(&two, &two).await.is_empty(), "it names roles alone");

    let write = async |rule: &ExchangeRule| {
        let mut tx = store.begin().await.unwrap();
        let done = tx.update_exchange_rule(rule).await.unwrap();
        tx.commit().await.unwrap();
        done
    };
    (one.caller, one.subject) = (Party::Role(role.uid), Party::Client(caller.uid));
    (one.expires_at, one.token_lifetime, one.enabled) = (None, None, false);
    (one.mode, one.max_depth, one.sources) = (ExchangeMode::Delegation, 1, [other.uid].into());
    (one.description, one.updated_at) = (String::new(), START.plus(Duration::from_micros(1)));
    assert!(write(&one).await);
    assert!(!write(&one).await, "the stored version is 2 by now");
    one.version = 2;
    assert_eq!(stored(&one).await, one);
    assert_eq!(stored(&two).await, two, "the other one stays");

    let mut taken = two.clone();
    taken.uid = ExchangeRuleUid(uuid());
    let mut tx = store.begin().await.unwrap();
    assert!(matches!(tx.insert_exchange_rule(&taken).await, Err(StoreError::AlreadyExists)));
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.delete_exchange_rule(one.uid, 1).await.unwrap());
    assert!(tx.delete_exchange_rule(one.uid, 2).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.all_exchange_rules().await.unwrap(), [two]);
}

async fn what_an_exchange_rule_names_stays(store: Store, _: Database) {
    let (server, source) = (resource_server("rs"), resource_server("source"));
    let role = role("r", &resource_server("unused"));
    let role = Role { permissions: BTreeSet::new(), ..role };
    let client = client("c");
    let mut naming = exchange_rule("rule", Party::Client(client.uid), Party::Role(role.uid), &server);
    naming.sources = [source.uid].into();
    let mut tx = store.begin().await.unwrap();
    for server in [&server, &source] {
        tx.insert_resource_server(server).await.unwrap();
    }
    tx.insert_role(&role).await.unwrap();
    tx.insert_client(&client).await.unwrap();
    tx.insert_exchange_rule(&naming).await.unwrap();
    tx.commit().await.unwrap();

    let in_use = |outcome: Result<_, StoreError>| matches!(outcome, Err(StoreError::InUse));
    let read = Permission::new("read").unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_client(client.uid, 1).await.map(drop)), "it calls");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_role(role.uid, 1).await.map(drop)), "it is the subject");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.delete_permission(server.uid, &read).await), "it is let through");
    drop(tx);
    for server in [&server, &source] {
        let mut tx = store.begin().await.unwrap();
        assert!(in_use(tx.delete_resource_server(server.uid, 1).await.map(drop)), "{}", server.name);
    }
    let undefined = ExchangeRule { permissions: [Permission::new("none").unwrap()].into(), ..naming.clone() };
    let mut tx = store.begin().await.unwrap();
    assert!(in_use(tx.update_exchange_rule(&undefined).await.map(drop)), "it defines no such permission");
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_exchange_rule(naming.uid, 1).await.unwrap());
    assert!(tx.delete_client(client.uid, 1).await.unwrap());
    assert!(tx.delete_role(role.uid, 1).await.unwrap());
    for server in [&server, &source] {
        assert!(tx.delete_resource_server(server.uid, 1).await.unwrap());
    }
    tx.commit().await.unwrap();
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

/// As while PostgreSQL analyses the table of events, and somebody waits for that to make room for another day.
async fn room_that_is_there_waits_for_nobody(store: Store, database: Database) {
    let Some(url) = &database.url else { return };
    store.make_room(START).await.unwrap();
    let mut analysing = PgConnection::connect(url).await.unwrap();
    for sql in [
        "BEGIN",
        "SELECT pg_advisory_xact_lock(hashtextextended('jeton audit partitions', 0))",
        "LOCK TABLE audit_events IN SHARE UPDATE EXCLUSIVE MODE",
    ] {
        sqlx::query(sql).execute(&mut analysing).await.unwrap();
    }
    let soon = Duration::from_secs(4);
    tokio::time::timeout(soon, store.make_room(START)).await.expect("it waits").unwrap();
    let another = store.make_room(START.plus(Duration::from_hours(24)));
    let given_up = tokio::time::timeout(soon, another).await.expect("it waits for ever");
    assert!(given_up.is_err(), "nobody can make it now");
    analysing.close().await.unwrap();
    store.make_room(START.plus(Duration::from_hours(24))).await.unwrap();
}

async fn changes_are_numbered_without_gaps_in_the_order_they_become_visible(store: Store, _: Database) {
    const WRITERS: i64 = 20;
    let latest = async || store.latest_change().await.unwrap().map_or(0, |change| change.seq);
    let start = latest().await;
    let watching = tokio::spawn({
        let store = store.clone();
        async move {
            let mut seen = start;
            while seen < start + WRITERS {
                for change in store.changes_from(seen + 1, 5).await.unwrap() {
                    assert_eq!(change.seq, seen + 1, "a change became visible after a later one");
                    seen = change.seq;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                tx.insert_client(&client(&format!("c{n}"))).await.unwrap();
                tx.note_change(&ChangeKind::Catalog, START).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(30), watching).await.expect("every change is seen").unwrap();

    let mut tx = store.begin().await.unwrap();
    tx.forget_changes(START.plus(Duration::from_secs(1))).await.unwrap();
    tx.commit().await.unwrap();
    let kept = store.changes_from(0, 100).await.unwrap();
    assert_eq!(kept.len(), 1, "whoever missed the others notices the gap");
    assert_eq!(kept[0].seq, start + WRITERS);
    assert_eq!(latest().await, start + WRITERS, "numbers are never used again");
}

async fn a_dropped_transaction_did_nothing(store: Store, _: Database) {
    let mut tx = store.begin().await.unwrap();
    tx.insert_client(&client("c")).await.unwrap();
    tx.note_change(&ChangeKind::Catalog, START).await.unwrap();
    drop(tx);
    assert!(store.client(&ClientId::new("c").unwrap()).await.unwrap().is_none());
    assert_eq!(store.latest_change().await.unwrap(), None);
}

/// More than one statement takes on SQLite, with every column absent and present.
async fn events_are_appended_together_and_whole(store: Store, database: Database) {
    const MANY: usize = 3_001;
    let event = |n: usize| AuditEvent {
        at: START.plus(Duration::from_micros(n as u64)),
        origin: Origin { request_id: n.is_multiple_of(2).then(|| format!("r{n}")), ..Origin::default() },
        event: Event::TokenRefused {
            client_id: n.is_multiple_of(3).then(|| ClientId::new(format!("c{n}")).unwrap()),
            authenticated: false,
            auth_method: None,
            credential_id: None,
            grant_type: None,
            asked: AskedFor::default(),
            error: "invalid_request",
            reason: format!("\"größer\" {n}"),
            repeated: None,
        },
    };
    let mut chain = Chain::new(uuid(), START);
    let events: Vec<Recorded> = (0..MANY)
        .map(|n| {
            let event = Arc::new(event(n).write().unwrap());
            Recorded { link: chain.append(event.at, &event.text), event }
        })
        .collect();
    store.make_room(START).await.unwrap();
    let (few, many) = events.split_at(64);
    let mut held = LedgerConnection::new(store.clone()).hold().await.unwrap();
    held.append(few).await.unwrap();
    held.append(many).await.unwrap();
    let rows = database
        .texts("SELECT COALESCE(client_id, '-') || ' ' || event FROM audit_events ORDER BY seq")
        .await;
    assert_eq!(rows.len(), MANY);
    for (n, row) in rows.iter().enumerate() {
        let client = if n % 3 == 0 { format!("c{n}") } else { "-".to_owned() };
        let request = if n % 2 == 0 { format!("r{n}") } else { "-".to_owned() };
        let (found, event) = row.split_once(' ').unwrap();
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(found, client);
        assert_eq!(event["origin"]["request_id"].as_str().unwrap_or("-"), request);
        assert_eq!(event["reason"], format!("\"größer\" {n}"));
    }
}

/// In one statement and in several.
async fn of_identifiers_that_are_used_together_each_counts_once(store: Store, _: Database) {
    let id = |n| UsedId { purpose: "p", id: format!("{n:04}"), expires_at: START };
    let all: Vec<UsedId> = (0..150).map(id).collect();
    let twice: Vec<&UsedId> = all[..100].iter().flat_map(|one| [one, one]).collect();
    let overlapping: Vec<&UsedId> = all[50..].iter().collect();
    let mut held = LedgerConnection::new(store).hold().await.unwrap();
    for committed in [false, true] {
        let mut tx = held.begin().await.unwrap();
        assert_eq!(tx.use_ids(&[]).await.unwrap().len(), 0);
        let first = tx.use_ids(&twice).await.unwrap();
        assert_eq!(first.len(), 100, "after a transaction that was not committed, too");
        assert!(first.contains(&("p", "0099")));
        let first = tx.use_ids(&overlapping).await.unwrap();
        assert_eq!(first.len(), 50);
        assert!(first.contains(&("p", "0100")) && !first.contains(&("p", "0099")));
        if committed {
            tx.commit().await.unwrap();
        }
    }
    let mut tx = held.begin().await.unwrap();
    assert_eq!(tx.use_ids(&overlapping).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_ledger_that_has_died_is_replaced_postgres() {
    let (store, database) = fresh(Engine::Postgres).await;
    let mut connection = LedgerConnection::new(store);
    let held = connection.hold().await.unwrap();
    connection.give_back(held);
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()",
        )
        .await;
    // Less than a second after its last use it is not asked whether it lives.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let id = UsedId { purpose: "p", id: "a".to_owned(), expires_at: START };
    let mut held = connection.hold().await.unwrap();
    let mut tx = held.begin().await.unwrap();
    assert_eq!(tx.use_ids(&[&id]).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

async fn several_migrate_at_once(_: Store, database: Database) {
    let fresh = Database::create(database.engine).await;
    let migrate = || async {
        let store = app::connect(&fresh.config()).await.unwrap();
        store.migrate().await
    };
    let (a, b, c) = tokio::join!(migrate(), migrate(), migrate());
    for outcome in [a, b, c] {
        outcome.unwrap();
    }
    assert_eq!(app::connect(&fresh.config()).await.unwrap().latest_change().await.unwrap(), None);
}

/// As servers and commands that start at the same moment. SQLite refuses one of two that switch a new file to
/// write-ahead logging, and does not let it wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_sqlite_file_opens_for_all_who_come_at_once() {
    for _ in 0..200 {
        let database = Database::create(Engine::Sqlite).await;
        let mut opening = JoinSet::new();
        for _ in 0..2 {
            let config = database.config();
            opening.spawn(async move { app::connect(&config).await });
        }
        for opened in opening.join_all().await {
            opened.unwrap().ping().await.unwrap();
        }
    }
}

/// The pools do not get in each other's way or their own, either: each opens one connection at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_pool_opens_one_connection_at_first() {
    for _ in 0..100 {
        let database = Database::create(Engine::Sqlite).await;
        let store = app::connect(&database.config()).await.unwrap();
        let Store::Sqlite { readers, writer, .. } = &store else { panic!("{store:?}") };
        assert_eq!((writer.size(), readers.size()), (1, 1));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_schemas_have_the_same_columns() {
    let (_, sqlite) = fresh(Engine::Sqlite).await;
    let (_, postgres) = fresh(Engine::Postgres).await;
    let of_sqlite = sqlite
        .texts(
            "SELECT t.name || '.' || c.name || CASE WHEN c.\"notnull\" OR c.pk THEN ' NOT NULL' ELSE '' END
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite%'",
        )
        .await;
    let of_postgres = postgres
        .texts(
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END
             FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
        )
        .await;
    let set = |columns: Vec<String>| columns.into_iter().collect::<BTreeSet<_>>();
    assert!(of_sqlite.len() > 50);
    assert_eq!(set(of_sqlite), set(of_postgres));
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}
