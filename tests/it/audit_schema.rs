//! `docs/audit-event.schema.json` is what the code says, and what the ledger writes is what the schema says.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Browser, Client, Database, Engine, Server, both_engines, command, jeton, run, token};
use crate::retention::leave_text;
use crate::token::GRANT;
use jeton::admin::By;
use jeton::admin::abandoned::{abandon, sealed_under};
use jeton::admin::audit_watch::AuditWatch;
use jeton::config::{Config, MasterKeySource, OutageMode};
use jeton::domain::audit::{Actor, AuditEvent, Event, Origin, RestoredKeys};
use jeton::domain::once::Purpose;
use jeton::domain::time::{DAY, Timestamp};
use jeton::runtime::expiry_watch::{EndingCounts, ExpiryWatch};
use jeton::runtime::ledger::Recording;
use jeton::runtime::upkeep::Upkeep;
use jeton::storage::UsedId;

both_engines!(every_event_of_a_busy_server_fits_the_schema);

const SCHEMA: &str = include_str!("../../docs/audit-event.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Whether a value fits a schema, as far as ours goes: a keyword that is not known here fails the test. JSON
/// Schema 2020-12.
fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let problem = || Err(format!("{keyword} {wanted}: {value}"));
        let parts = || wanted.as_array().unwrap().iter().map(|part| fits(root, part, value));
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                fits(root, root.pointer(pointer).unwrap_or_else(|| panic!("{wanted} is not there")), value)?;
            }
            "allOf" => parts().collect::<Result<(), _>>()?,
            "oneOf" if parts().flatten().count() == 1 => {}
            "type" => {
                let types: Vec<_> = wanted.as_array().map_or(vec![wanted], |types| types.iter().collect());
                if !types.iter().any(|name| is(name.as_str().unwrap(), value)) {
                    return problem();
                }
            }
            "enum" if wanted.as_array().unwrap().contains(value) => {}
            "minimum" if value.as_i64() >= wanted.as_i64() => {}
            "format" if wanted == "int64" => {}
            "format" if wanted == "date-time" => {
                if value.as_str().is_some_and(|text| Timestamp::parse(text).is_err()) {
                    return problem();
                }
            }
            "required" => {
                if let Some(missing) =
                    wanted.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none())
                {
                    return Err(format!("{missing} is missing: {value}"));
                }
            }
            "properties" => {
                for (name, part) in wanted.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |member| fits(root, part, member))?;
                }
            }
            "additionalProperties" => {
                let named = |name: &str| schema["properties"].get(name).is_some();
                let mut others = value.as_object().into_iter().flatten().filter(|(name, _)| !named(name));
                others.try_for_each(|(_, member)| fits(root, wanted, member))?;
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                    fits(root, wanted, &json!(name))?;
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(root, wanted, item)?;
                }
            }
            "oneOf" | "enum" | "minimum" => return problem(),
            unknown => panic!("this test does not know the keyword {unknown}"),
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        unknown => panic!("this test does not know the type {unknown}"),
    }
}

/// The members that the schema has for this kind of event.
fn members(schema: &Value, kind: &Value) -> BTreeSet<String> {
    let names =
        |part: &Value| part["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let variants = schema["$defs"]["Event"]["oneOf"].as_array().unwrap();
    let variant = variants.iter().find(|part| part["properties"]["kind"]["enum"][0] == *kind);
    &names(variant.unwrap_or_else(|| panic!("there is no {kind}"))) | &names(&schema["allOf"][1])
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_jeton"))
        .env_clear()
        .current_dir(std::env::temp_dir())
        .args(["audit", "schema"])
        .output()
        .unwrap();
    let generated = String::from_utf8(output.stdout).unwrap();
    assert!(
        SCHEMA == generated,
        "the schema is out of date: cargo run -- audit schema > docs/audit-event.schema.json"
    );
}

#[test]
fn the_schema_has_every_kind_of_event() {
    let schema = schema();
    let variants = schema["$defs"]["Event"]["oneOf"].as_array().unwrap();
    let kinds: BTreeSet<_> =
        variants.iter().map(|part| part["properties"]["kind"]["enum"][0].as_str().unwrap()).collect();
    assert_eq!(kinds, Event::KINDS.iter().copied().collect());
}

async fn events(database: &Database) -> Vec<Value> {
    let texts = database.texts("SELECT event FROM audit_events").await;
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// Everything that makes an event, but what time does.
async fn be_busy(server: &Server) {
    let billing = server.billing().await;
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    server.form(&[&billing.basic(), trace], &format!("{GRANT}&scope=orders:read")).await.expect(200);
    let everything = format!("{GRANT}&resource=https://orders.example&audience=https://orders.example");
    server.token(&billing, &everything).await.expect(200);
    let in_body = format!("{GRANT}&client_id=billing&client_secret={}", billing.secret);
    server.form(&[], &in_body).await.expect(200);
    let refused = [server.token(&billing, "grant_type=x"), server.token(&billing, "grant_type=x")];
    futures_util::future::join_all(refused).await;
    server.token(&Client::new("nobody", "x"), GRANT).await.expect(401);
    server.form(&[], "").await.expect(400);

    let root = server.administrator().await;
    server.api("GET", "/clients", "nonsense", &[], Value::Null).await.expect(401);
    let auditor = server.api_with(server.api_token("auditor").await);
    let refused = [
        auditor.post("/clients/billing/disable", Value::Null),
        auditor.post("/clients/billing/disable", Value::Null),
    ];
    futures_util::future::join_all(refused).await;
    root.patch("/clients/billing", 1, json!({ "owner": "x" })).await.expect(200);
    root.post("/clients/billing/secrets", json!({ "secret": "a chosen secret of some length" }))
        .await
        .expect(201);
    root.post("/clients/billing/secrets", json!({ "expires_in": 60 })).await.expect(201);
    root.delete("/clients/billing/roles/order-reader", None).await.expect(204);
    root.put("/clients/billing/roles/order-reader").await.expect(204);
    root.post("/clients/billing/disable", Value::Null).await.expect(200);
    root.post("/revocations", json!({ "kind": "client", "subject": "billing" })).await.expect(201);
    root.post("/trusted-issuers/explain", json!({ "assertion": "no token" })).await.expect(200);
    root.post("/signing-keys/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    let kid = "SELECT kid FROM signing_keys WHERE algorithm = 'RS256'";
    let kid = server.database.texts(kid).await.remove(0);
    root.post(&format!("/signing-keys/{kid}/revoke"), Value::Null).await.expect(200);
    let mut ada = server.first("ada").await.browser;
    futures_util::future::join_all([guess(server), guess(server)]).await;
    assert_eq!(ada.get("/admin/audit/export?client_id=billing").await.status, 200);
    ada.post("/admin/sign-out", &[]).await.expect_redirect("/admin/sign-in");
    leave_text(server, "by hand").await;
    go_back(server).await;
    crate::private_key_jwt::use_an_old_audience(server).await;
    jeton(&server.database, &["clients", "create", "job", "--role", "order-reader"]);
    rewrap(server);
}

/// As if a backup was taken, and put back.
async fn go_back(server: &Server) {
    let (actor, sha256, at) = (Actor::System, "00".repeat(32), server.app.admin().ambient.now());
    let backed_up = Event::BackedUp { actor: actor.clone(), taken_at: at, sha256: sha256.clone() };
    let (keys, sha256) = (RestoredKeys::Kept, Some(sha256));
    let restored = Event::Restored { actor, taken_at: at, sha256, keys, revoked_keys: 0, revocations: 0 };
    for event in [backed_up, restored] {
        let event = AuditEvent { at, origin: Origin::default(), event };
        leave_text(server, &event.write_for_later().unwrap().text).await;
    }
}

async fn guess(server: &Server) {
    Browser::new(server).sign_in("ada", "a wrong password").await.expect_page(401, "wrong");
}

const NEXT_MASTER_KEY: &str = "4242424242424242424242424242424242424242424242424242424242424242";

/// Changes the master key, so that the server has to be started anew with the next one.
fn rewrap(server: &Server) {
    let mut rewrap = command(&server.database, &["keys", "rewrap"]);
    match server.database.engine {
        Engine::Sqlite => rewrap.env("JETON_OTHER_MASTER_KEY_FILES", "data/master.key"),
        Engine::Postgres => rewrap.env("JETON_OTHER_MASTER_KEYS", "07".repeat(32)),
    };
    let output = rewrap.env("JETON_MASTER_KEY", NEXT_MASTER_KEY).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// For a moment the database takes no token, and somebody else uses an identifier up that is used here.
async fn ride_out(server: &Server) {
    server.database.refuse_rows("audit_events", "NEW.kind IN ('token_issued', 'outage_began')").await;
    let admin = server.app.admin();
    let issue = async |used| {
        let event = AuditEvent { at: admin.ambient.now(), ..token() };
        admin.ledger.record_issuance(&event, used).await.unwrap();
    };
    issue(Vec::new()).await;
    server.clock.advance(Duration::from_secs(1));
    let now = admin.ambient.now();
    let (id, issued_at) = ("used".to_owned(), Some(now));
    issue(vec![UsedId {
        purpose: Purpose::OutsideToken,
        id,
        issued_at,
        expires_at: now.plus(DAY),
        possible_since: now,
    }])
    .await;
    let elsewhere = format!("VALUES ('outside_token', 'used', {})", now.plus(DAY).as_micros());
    server.database.execute(&format!("INSERT INTO used_ids (purpose, id, expires_at) {elsewhere}")).await;
    server.database.take_rows("audit_events").await;
    let over = async {
        while admin.ledger.recording() != Recording::Works {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), over).await.expect("the outage does not end by itself");
}

async fn every_event_of_a_busy_server_fits_the_schema(server: Server) {
    let server = server.at_one_address();
    be_busy(&server).await;
    let next = |config: &mut Config| {
        config.master_key = Some(MasterKeySource::Value(NEXT_MASTER_KEY.into()));
        config.outage.mode = OutageMode::Spool;
    };
    let spool = server.database.directory.path().join("data/spool");
    std::fs::create_dir_all(&spool).unwrap();
    std::fs::write(spool.join("x.spool"), "not one").unwrap();
    let server = server.restart_with(next).await.unwrap();
    // It looks by itself too, and of two that do one warns.
    let admin = server.app.admin();
    let (store, ledger, clock) = (admin.store.clone(), admin.ledger.clone(), server.clock_check());
    ExpiryWatch::new(store, ledger, clock, DAY, EndingCounts::default()).once().await.unwrap();
    server.app.admin().ledger.collect().await.unwrap();
    ride_out(&server).await;
    let mut all = events(&server.database).await;
    server.clock.advance(DAY * 3);
    server.app.rotator().settle().await.unwrap();
    let admin = server.app.admin();
    let (store, ledger, clock) = (admin.store.clone(), admin.ledger.clone(), server.clock_check());
    Upkeep::new(store, ledger, clock, Duration::from_hours(24))
        .once(server.app.admin().ambient.now())
        .await
        .unwrap();
    let (store, ledger, clock) = (admin.store.clone(), admin.ledger.clone(), server.clock_check());
    AuditWatch::new(store, ledger, clock, Uuid::nil()).once().await.unwrap();
    // Nothing comes after this: what the server goes on with, it has in memory.
    let sealed = sealed_under(&admin.store).await.unwrap();
    abandon(&admin.store, &By::system(), &sealed[0], &admin.ambient).await.unwrap();
    admin.ledger.collect().await.unwrap();
    all.extend(events(&server.database).await);

    let schema = schema();
    for event in &all {
        fits(&schema, &schema, event).unwrap_or_else(|problem| panic!("{problem}\nin {event:#}"));
        let known = members(&schema, &event["kind"]);
        let unknown: Vec<_> =
            event.as_object().unwrap().keys().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "the schema does not have {unknown:?}: {event:#}");
    }
    let kinds: BTreeSet<_> = all.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, Event::KINDS.iter().copied().collect(), "all kinds occurred");
    let text = Value::Array(all.clone()).to_string();
    for rare in [
        "repeated",
        "happened_at",
        "trace_id",
        "command_line",
        "\"system\"",
        "permission",
        "previous\":[{",
        "\"person\"",
        "second_factors\":1",
    ] {
        assert!(text.contains(rare), "no event has {rare}");
    }

    // What does not fit is told: each event without one of its members that are required…
    for event in &all {
        for name in event.as_object().unwrap().keys() {
            let mut without = event.clone();
            without.as_object_mut().unwrap().shift_remove(name);
            let required = schema["$defs"]["Event"]["oneOf"].as_array().unwrap().iter().any(|part| {
                part["properties"]["kind"]["enum"][0] == event["kind"]
                    && part["required"].as_array().unwrap().contains(&json!(name))
            });
            let must = required || name == "outcome";
            assert_eq!(fits(&schema, &schema, &without).is_err(), must, "without {name}: {event}");
        }
    }
    // …and a word that is none.
    for (member, wrong) in [("outcome", json!("Success")), ("kind", json!("x")), ("origin", json!("x"))] {
        let mut event = all.iter().find(|event| event.get(member).is_some()).unwrap().clone();
        event[member] = wrong;
        assert!(fits(&schema, &schema, &event).is_err(), "{event}");
    }
}

/// The events of commands on a database that no server has seen.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_a_command_fits_the_schema() {
    let database = Database::create(Engine::Sqlite).await;
    assert!(run(&database, &["roles", "create", "other"]).status.success());
    let schema = schema();
    let all = events(&database).await;
    assert!(all.len() >= 3, "{all:?}");
    for event in all {
        fits(&schema, &schema, &event).unwrap_or_else(|problem| panic!("{problem}\nin {event:#}"));
    }
}
