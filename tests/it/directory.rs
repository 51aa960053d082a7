//! The directory is as fresh as the last change, and never believed when it cannot be (DESIGN §9).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use jeton::admin::By;
use jeton::app::{self, Sealed};
use jeton::domain::audit::{Actor, Origin, ProcessKind};
use jeton::domain::ids::ClientId;
use jeton::jose::Algorithm;
use jeton::runtime::clock::Ambient;
use jeton::runtime::directory::{Directory, Limits};
use jeton::runtime::meters::Lookup;
use jeton::runtime::nonces::NonceSecret;
use jeton::runtime::revocations::Revocations;
use jeton::runtime::rotator::{Rotated, Wanted};
use jeton::storage::Store;

use crate::harness::{Answer, Client, Engine, Server, both_engines, within_a_second};
use crate::token_exchange::access_token;

both_engines!(
    what_another_process_changes_is_seen,
    a_change_of_a_newer_version_reads_everything_anew,
    what_a_newer_version_has_registered_is_passed_over,
    a_gap_in_the_changes_reads_everything_anew,
    a_database_that_went_back_is_read_anew,
    a_database_that_went_back_and_has_overtaken_is_read_anew,
    memory_is_not_believed_when_changes_cannot_be_read,
    made_up_ids_do_not_become_a_query_each,
    a_key_made_while_a_replica_starts_is_known_to_it,
    clients_are_loaded_once_each_and_no_more_are_kept_than_may_be,
);

/// The table of clients is taken away, so that whoever is looked for there gets a 503. Once the server knows
/// which ids there are, about fifty made-up ones a second are looked for, and the others are not.
async fn made_up_ids_do_not_become_a_query_each(server: Server) {
    const MADE_UP: usize = 200;
    let billing = server.billing().await;
    until(&server, &billing, 200).await;
    server.database.execute("ALTER TABLE clients RENAME TO elsewhere").await;
    let flood = async |round: usize| {
        let asked = (0..MADE_UP).map(|n| {
            let made_up = Client::new(&format!("made-up-{round}-{n}"), &billing.secret);
            let server = &server;
            async move { server.token(&made_up, ASK).await.status }
        });
        let answers = futures_util::future::join_all(asked).await;
        let looked_for = answers.iter().filter(|status| **status == 503).count();
        let denied = answers.iter().filter(|status| **status == 401).count();
        assert_eq!(looked_for + denied, MADE_UP, "{answers:?}");
        looked_for
    };
    // It learns in the background which ids there are; it may have to find the table for that.
    let mut looked_for = MADE_UP;
    for round in 0..20 {
        looked_for = flood(round).await;
        if looked_for < MADE_UP {
            break;
        }
        server.database.execute("ALTER TABLE elsewhere RENAME TO clients").await;
        sleep(Duration::from_secs(1)).await;
        server.database.execute("ALTER TABLE clients RENAME TO elsewhere").await;
    }
    assert!((1..=150).contains(&looked_for), "{looked_for} of {MADE_UP} were looked for");
    server.token(&billing, ASK).await.expect(200);
    server.database.execute("ALTER TABLE elsewhere RENAME TO clients").await;
}

const ASK: &str = "grant_type=client_credentials";

/// Waits for an answer with this status; the server polls in real time.
async fn until(server: &Server, client: &Client, status: u16) -> Answer {
    let asking = async {
        loop {
            let answer = server.token(client, ASK).await;
            if answer.status == status {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), asking).await.unwrap_or_else(|_| panic!("never {status}"))
}

/// Switches the client off behind the server's back, without a change row.
async fn disable_silently(server: &Server) {
    server.database.execute("UPDATE clients SET enabled = FALSE WHERE client_id = 'billing'").await;
}

async fn note(server: &Server, seq: &str, kind: &str, subject: &str) {
    let sql = format!(
        "INSERT INTO changes (seq, kind, subject, at)
         SELECT {seq}, '{kind}', '{subject}', 0 FROM counters WHERE name = 'changes'"
    );
    server.database.execute(&sql).await;
    server.database.execute(&format!("UPDATE counters SET value = {seq} WHERE name = 'changes'")).await;
}

async fn what_another_process_changes_is_seen(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    disable_silently(&server).await;
    server.token(&billing, ASK).await.expect(200);
    note(&server, "value + 1", "client", "billing").await;
    until(&server, &billing, 401).await.expect_oauth_error(401, "invalid_client");
}

async fn a_change_of_a_newer_version_reads_everything_anew(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    disable_silently(&server).await;
    note(&server, "value + 1", "from the future", "something").await;
    until(&server, &billing, 401).await.expect_oauth_error(401, "invalid_client");
}

/// Has the engine take exchange rules that an older schema does not allow.
async fn allow_any_rule(server: &Server) -> &'static str {
    let no_checks = "DO $$ DECLARE found RECORD; BEGIN
             FOR found IN SELECT conname FROM pg_constraint
                 WHERE conrelid = 'exchange_rules'::regclass AND contype = 'c'
             LOOP EXECUTE format('ALTER TABLE exchange_rules DROP CONSTRAINT %I', found.conname); END LOOP;
         END $$";
    match server.database.engine {
        Engine::Sqlite => "PRAGMA ignore_check_constraints = ON;",
        Engine::Postgres => {
            server.database.execute(no_checks).await;
            ""
        }
    }
}

/// Old and new version side by side (docs/upgrading.md): words that are not known here take away what they are said of,
/// and nothing else.
async fn what_a_newer_version_has_registered_is_passed_over(server: Server) {
    let billing = server.billing().await;
    let permissions = json!([{ "permission": "stock:read" }]);
    let stock = json!({ "name": "stock", "identifier": "https://stock.example", "permissions": permissions });
    server.resource_server(stock).await;
    let permissions = json!([{ "resource_server": "stock", "permission": "stock:read" }]);
    server.role(json!({ "name": "stock-reader", "permissions": permissions })).await;
    let reader = server.client(json!({ "client_id": "reader", "roles": ["stock-reader"] })).await;
    server.operator("stock", "billing").await;
    server.issuer_of("reader").await;
    for name in ["by-mode", "by-subject"] {
        let rule = json!({
            "name": name, "caller": { "client": "billing" }, "subject": { "role": "stock-reader" },
            "resource_server": "orders", "permissions": ["orders:read"],
        });
        server.exchange_rule(rule).await;
    }
    let token = access_token(&server.token(&reader, ASK).await);

    let any = allow_any_rule(&server).await;
    for sql in [
        "UPDATE exchange_rules SET mode = 'new' WHERE name = 'by-mode'",
        &format!("{any} UPDATE exchange_rules SET subject_role = NULL WHERE name = 'by-subject'"),
        "UPDATE resource_servers SET token_profile = 'new' WHERE name = 'stock'",
        "UPDATE trusted_issuers SET reuse = 'new'",
        "INSERT INTO federation_shapes (trusted_issuer, shape) SELECT uid, 'new' FROM trusted_issuers",
    ] {
        server.database.execute(sql).await;
    }
    note(&server, "value + 1", "catalog", "").await;
    note(&server, "value + 1", "federation", "reader").await;
    // Registering waits until the directory has read the changes.
    let beside = server.client(json!({ "client_id": "beside", "roles": ["order-reader"] })).await;
    for replica in [&server, &server.replica().await] {
        for client in [&billing, &beside] {
            replica.token(client, ASK).await.expect(200);
        }
        replica.token(&reader, ASK).await.expect_oauth_error(400, "invalid_target");
        let headers = ["Content-Type: application/x-www-form-urlencoded", &*billing.basic()];
        let asked = replica.send("POST", "/oauth2/introspect", &headers, format!("token={token}")).await;
        asked.expect_problem(503, "unavailable");
        replica.get("/readyz").await.expect_text(200, "ready");
    }
}

async fn a_gap_in_the_changes_reads_everything_anew(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    disable_silently(&server).await;
    note(&server, "value + 7", "client", "somebody-else").await;
    until(&server, &billing, 401).await.expect_oauth_error(401, "invalid_client");
}

/// As after a restore, or when a standby takes over that lagged.
async fn a_database_that_went_back_is_read_anew(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    disable_silently(&server).await;
    let two_less = "DELETE FROM changes WHERE seq > (SELECT value - 2 FROM counters WHERE name = 'changes')";
    server.database.execute(two_less).await;
    server.database.execute("UPDATE counters SET value = value - 2 WHERE name = 'changes'").await;
    until(&server, &billing, 401).await.expect_oauth_error(401, "invalid_client");
    // And goes on from there.
    server.database.execute("UPDATE clients SET enabled = TRUE WHERE client_id = 'billing'").await;
    note(&server, "value + 1", "client", "billing").await;
    until(&server, &billing, 200).await.expect(200);
}

/// Before it was asked again, there were as many changes as before, or more: others.
async fn a_database_that_went_back_and_has_overtaken_is_read_anew(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    disable_silently(&server).await;
    let another = "UPDATE changes SET at = at + 1
                   WHERE seq = (SELECT value FROM counters WHERE name = 'changes')";
    server.database.execute(another).await;
    until(&server, &billing, 401).await.expect_oauth_error(401, "invalid_client");
}

/// Somebody may have been switched off in the meantime: nothing is decided, and the balancer is told.
async fn memory_is_not_believed_when_changes_cannot_be_read(server: Server) {
    let billing = server.billing().await;
    server.token(&billing, ASK).await.expect(200);
    server.get("/readyz").await.expect_text(200, "ready");
    server.database.execute("ALTER TABLE changes RENAME TO away").await;
    let answer = until(&server, &billing, 503).await;
    answer.expect_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
    server.get("/readyz").await.expect_text(503, "the database does not answer");
    server.database.execute("ALTER TABLE away RENAME TO changes").await;
    until(&server, &billing, 200).await.expect(200);
}

/// What is made between its first look at the keys and the first change that it follows must not escape it: nothing
/// would tell it of the key until the next change of keys, which may be a month away.
async fn a_key_made_while_a_replica_starts_is_known_to_it(server: Server) {
    let config = server.database.config();
    let store = app::connect(&config).await.unwrap();
    let ambient = Ambient::system();
    let starting =
        app::unseal(&config, &store, &ambient, ProcessKind::Server, &Handle::current()).await.unwrap();
    let wanted = Wanted { actor: Actor::System, origin: Origin::default() };
    let rotated = server.app.rotator().rotate(Algorithm::Es256, &wanted).await.unwrap();
    assert_eq!(rotated, Rotated::Made, "none was pending");
    directory(&starting, store, &ambient, 100).await;
    assert_eq!(starting.keyring.lives()[&Algorithm::Es256].len(), 2);
}

/// What is registered, as a process sees it that keeps so many clients.
async fn directory(starting: &Sealed, store: Store, ambient: &Ambient, clients: u64) -> Arc<Directory> {
    let limits = Limits { clients, keys_believed_for: Duration::from_mins(1), grace: None };
    let clock = Arc::clone(starting.rotator.clock());
    let revocations = Revocations::open(store.clone(), Arc::clone(&clock)).await.unwrap();
    let master_keys = starting.master_keys.clone();
    let nonces = NonceSecret::open(store.clone(), master_keys, ambient.clone()).await.unwrap();
    Directory::open(store, clock, starting.keyring.clone(), revocations, nonces, limits).await.unwrap()
}

async fn clients_are_loaded_once_each_and_no_more_are_kept_than_may_be(server: Server) {
    const CLIENTS: u64 = 50;
    const KEPT: u64 = 10;
    let mut ids = Vec::new();
    for number in 0..CLIENTS {
        let id = format!("client-{number}");
        let new = serde_json::from_value(json!({ "client_id": id })).unwrap();
        server.app.admin().create_client(&By::system(), new).await.unwrap();
        ids.push(ClientId::new(&id).unwrap());
    }
    let (config, ambient) = (server.database.config(), Ambient::system());
    let store = app::connect(&config).await.unwrap();
    let starting =
        app::unseal(&config, &store, &ambient, ProcessKind::Server, &Handle::current()).await.unwrap();
    let directory = directory(&starting, store, &ambient, KEPT).await;
    let asked = || directory.lookups().count(Lookup::Asked);

    // However many ask for one at the same time, the database is asked once.
    let all = (0..CLIENTS).map(|_| directory.client(&ids[0]));
    for found in futures_util::future::join_all(all).await {
        assert_eq!(found.unwrap().unwrap().client.client_id, ids[0]);
    }
    assert_eq!(asked(), 1);
    directory.client(&ids[0]).await.unwrap().unwrap();
    assert_eq!(asked(), 1, "and it is in memory");

    // More than may be kept are served, and as many are in memory as may be. Which those are is settled a little later.
    for id in &ids {
        assert_eq!(directory.client(id).await.unwrap().unwrap().client.client_id, *id);
    }
    let before = asked();
    within_a_second("no more are kept than may be", async || {
        directory.client(&ids[0]).await.unwrap().unwrap();
        (1..=KEPT).contains(&directory.held().0)
    })
    .await;
    for id in &ids {
        directory.client(id).await.unwrap().unwrap();
    }
    assert!(asked() - before >= CLIENTS - KEPT, "{} of {CLIENTS} were asked for", asked() - before);
}
