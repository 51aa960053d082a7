//! Several replicas keep one set of signing keys (DESIGN §10): none leads, and any may die at any moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Database, Engine, Process, Replica, START, Server, both_engines, both_replicas};
use crate::metrics;
use crate::signing_keys::DAY;
use crate::token::GRANT;
use jeton::config::{Config, MetricsListener};
use jeton::domain::rotation::{self, KeyState};
use jeton::domain::schedule::{Schedule, Timing};
use jeton::domain::time::Timestamp;
use jeton::jose::{Algorithm, TokenType};
use jeton::runtime::clock::{Clock, SystemClock};

both_engines!(
    replicas_that_plan_at_once_make_one_key,
    a_replica_that_slept_through_ten_rotations_signs_as_the_others,
    another_replica_takes_over_when_one_dies_after_a_revocation,
    a_replica_that_hears_nothing_publishes_and_signs_nothing,
);

both_replicas!(
    whoever_dies_half_way_leaves_rings_that_work,
    a_key_that_was_revoked_stops_signing_although_another_cannot_be_opened,
);

const JWKS: &str = "/.well-known/jwks.json";

/// Waits until all of them publish the same keys, which is until they have heard.
async fn agree(servers: &[&Server]) -> Value {
    let agreeing = async {
        loop {
            let mut sets = Vec::new();
            for server in servers {
                sets.push(server.get(JWKS).await.expect(200));
            }
            if sets.iter().all(|set| *set == sets[0]) {
                return sets.remove(0);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), agreeing).await.expect("they never agree")
}

async fn replicas_that_plan_at_once_make_one_key(one: Server) {
    const GENERATIONS: usize = 3;
    let billing = one.billing().await;
    let (other, third) = (one.replica().await, one.replica().await);
    let replicas = [&one, &other, &third];
    let mut signing = one.signs(&billing).await;
    for generation in 1..=GENERATIONS {
        let rotation = START.plus(30 * DAY * u32::try_from(generation).unwrap());
        one.clock.set(rotation.minus(DAY));
        futures_util::future::join_all(replicas.map(Server::settle)).await;
        let published = agree(&replicas).await;
        let sql = "SELECT algorithm FROM signing_keys ORDER BY 1";
        assert_eq!(one.database.texts(sql).await, ["ES256", "ES256", "RS256", "RS256"], "{published}");
        assert_eq!(one.events("key_created").await.len(), 2 + 2 * generation);

        one.clock.set(rotation.minus(Duration::from_micros(1)));
        for replica in replicas {
            assert_eq!(replica.signs(&billing).await, signing);
        }
        one.clock.set(rotation);
        let next = one.kids("ES256").await.remove(1);
        for replica in replicas {
            assert_eq!(replica.signs(&billing).await, next, "all of them at the same instant");
        }
        signing = next;
        one.clock.set(rotation.plus(DAY));
        futures_util::future::join_all(replicas.map(Server::settle)).await;
    }
    let scheduled = one.events("key_scheduled").await;
    let removed = one.events("key_removed").await;
    assert_eq!((scheduled.len(), removed.len()), (2 * GENERATIONS, 2 * GENERATIONS));
}

async fn a_replica_that_slept_through_ten_rotations_signs_as_the_others(one: Server) {
    let billing = one.billing().await;
    let sleeper = one.replica().await;
    assert_eq!(sleeper.signs(&billing).await, one.signs(&billing).await);
    sleeper.app.stop().await.unwrap();
    for day in (29..=331).step_by(15) {
        one.clock.set(START.plus(day * DAY));
        one.settle().await;
    }
    assert!(one.events("key_created").await.len() >= 22);
    let signing = one.signs(&billing).await;
    let sleeper = one.replica().await;
    assert_eq!(sleeper.signs(&billing).await, signing, "from its first token");
    assert_eq!(one.signs(&billing).await, signing);
    assert_eq!(sleeper.get(JWKS).await.comparable(), one.get(JWKS).await.comparable());
}

/// One revokes a key in the database and is gone before it made another.
async fn another_replica_takes_over_when_one_dies_after_a_revocation(server: Server) {
    let billing = server.billing().await;
    server.clock.set(START.plus(29 * DAY));
    server.settle().await;
    // The retired key is known to leave.
    server.clock.set(START.plus(30 * DAY));
    let compromised = server.signs(&billing).await;
    let now = START.plus(30 * DAY).as_micros();
    let revoked = format!("UPDATE signing_keys SET revoked_at = {now} WHERE kid = '{compromised}'");
    server.database.execute(&revoked).await;
    server
        .database
        .execute(
            "INSERT INTO changes (seq, kind, subject, at) SELECT value + 1, 'keys', '', 0 FROM counters \
        WHERE name = 'changes'",
        )
        .await;
    server.database.execute("UPDATE counters SET value = value + 1 WHERE name = 'changes'").await;
    let begun = Instant::now();
    while server.get(JWKS).await.body.contains(&compromised)
        || server.token(&billing, GRANT).await.status != 200
    {
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody makes a fresh key");
        sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(server.signs(&billing).await, compromised);
}

// === Half-done ===

/// What must hold at any moment: one key signs, and what it signs verifies with what is published.
async fn check_works(replica: &Replica, what: &str) {
    replica.keyring.reload().await.unwrap();
    let now = replica.clock.now();
    let published = replica.keyring.jwks(now);
    for (algorithm, ring) in replica.keyring.lives() {
        let states: Vec<_> = (0..ring.len()).map(|index| rotation::state(&ring, index, now)).collect();
        let active = states.iter().filter(|state| **state == KeyState::Active).count();
        assert_eq!(active, 1, "{what}: {algorithm}: {states:?}");
        let signed =
            replica.keyring.sign([algorithm], TokenType::Jwt, &json!({ "a": 1 }), now).await.unwrap();
        assert!(published.find(signed.kid.as_str()).is_some(), "{what}: {algorithm}");
        let claims = replica.keyring.verify::<Value>(&signed.token, &[TokenType::Jwt], now);
        assert_eq!(claims, Some((json!({ "a": 1 }), TokenType::Jwt)), "{what}: {algorithm}");
    }
}

async fn whoever_dies_half_way_leaves_rings_that_work(dying: Replica, database: Database) {
    // A key for each ring, its predecessor's end, both rings; and as many to remove.
    const MOST: usize = 5;
    let survivor = Replica::start(&database).await;
    for actions in 0..=2 {
        dying.rotator.act_at_most(actions).await.unwrap();
    }
    survivor.rotator.settle().await.unwrap();
    for actions in 0..=MOST {
        let rotation = START.plus(30 * DAY * (1 + u32::try_from(actions).unwrap()));
        let moments = [("made", rotation.minus(DAY)), ("begun", rotation), ("left", rotation.plus(DAY))];
        for (what, now) in moments {
            for replica in [&dying, &survivor] {
                replica.clock.set(now);
            }
            let what = format!("{what}, {actions} actions");
            dying.rotator.act_at_most(actions).await.unwrap();
            check_works(&dying, &what).await;
            check_works(&survivor, &what).await;
            survivor.rotator.settle().await.unwrap();
            check_works(&survivor, &what).await;
            check_works(&dying, &what).await;
        }
        let ring = &survivor.keyring.lives()[&Algorithm::Es256];
        assert_eq!(ring.len(), 1, "all is done: {ring:?}");
        assert_eq!(ring[0].activates_at, rotation, "in time, whoever did it");
    }
    dying.kill().await;
    survivor.stop().await;
}

async fn a_key_that_was_revoked_stops_signing_although_another_cannot_be_opened(
    replica: Replica,
    database: Database,
) {
    replica.rotator.settle().await.unwrap();
    let (now, rings) = (replica.clock.now(), replica.keyring.lives());
    let kid = rings[&Algorithm::Es256][0].kid.as_str().to_owned();
    let sign = async || {
        replica.keyring.sign([Algorithm::Es256], TokenType::Jwt, &json!({ "a": 1 }), now).await.is_ok()
    };
    assert!(sign().await);
    let fresh = format!(
        "INSERT INTO signing_keys (kid, algorithm, generation, public_jwk, sealed_private, created_at, activates_at, \
         longest_token) SELECT 'fresh', algorithm, generation + 1, public_jwk, substr(sealed_private, 2), created_at, \
         activates_at, longest_token FROM signing_keys WHERE kid = '{kid}'"
    );
    database.execute(&fresh).await;
    let revoked = format!("UPDATE signing_keys SET revoked_at = {} WHERE kid = '{kid}'", now.as_micros());
    database.execute(&revoked).await;
    let fault = replica.keyring.reload().await.unwrap_err();
    assert!(fault.to_string().contains("fresh"), "{fault}");
    assert!(replica.keyring.jwks(now).find(&kid).is_none(), "it is not published");
    assert!(!sign().await, "and signs nothing");
    replica.stop().await;
}

/// What is read later is newer: a slow reader must not put back what somebody else has replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_old_keys_back() {
    let database = Database::create(Engine::Postgres).await;
    let replica = Replica::start(&database).await;
    replica.rotator.settle().await.unwrap();
    // Reads the keys as they are, and takes its time.
    for sql in [
        "ALTER TABLE signing_keys RENAME TO stored_keys",
        "CREATE TABLE slowness AS SELECT 1 AS seconds",
        "CREATE VIEW signing_keys AS SELECT stored_keys.* FROM stored_keys, (SELECT pg_sleep(seconds) FROM slowness) s",
    ] {
        database.execute(sql).await;
    }
    let keyring = Arc::clone(&replica.keyring);
    let slow = tokio::spawn(async move { keyring.reload().await.unwrap() });
    let asleep =
        "SELECT query FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    while database.texts(asleep).await.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    database.execute("UPDATE slowness SET seconds = 0").await;
    database.execute("UPDATE stored_keys SET revoked_at = 1 WHERE algorithm = 'ES256'").await;
    replica.keyring.reload().await.unwrap();
    slow.await.unwrap();
    assert!(replica.keyring.lives()[&Algorithm::Es256][0].revoked_at.is_some(), "it was revoked");
    replica.kill().await;
}

// === Cut off ===

async fn a_replica_that_hears_nothing_publishes_and_signs_nothing(server: Server) {
    let timing = Timing {
        lead: Duration::from_secs(4),
        verifier_cache: Duration::from_secs(1),
        clock_tolerance: Duration::ZERO,
        ..Timing::usual(Duration::from_hours(1))
    };
    let schedule = Schedule::new(timing).unwrap();
    let server = server.restart_with(|config| config.keys = schedule).await.unwrap();
    let billing = server.billing().await;
    server.signs(&billing).await;

    server.database.execute("ALTER TABLE changes RENAME TO away").await;
    let cut_off = Instant::now();
    let last_answer = loop {
        let asked = cut_off.elapsed();
        let answer = server.get(JWKS).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(asked < schedule.staleness() + Duration::from_millis(200), "{asked:?}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    };
    // It may have heard of changes half a second before they were taken away.
    assert!(cut_off.elapsed() + Duration::from_millis(600) > schedule.staleness(), "{:?}", cut_off.elapsed());
    last_answer.expect_problem(503, "unavailable");
    assert!(last_answer.header("retry-after").is_some());
    server.token(&billing, GRANT).await.expect_problem(503, "unavailable");
    server.get("/.well-known/oauth-authorization-server").await.expect(200);

    server.database.execute("ALTER TABLE away RENAME TO changes").await;
    let back = Instant::now();
    while server.get(JWKS).await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(5), "it does not recover");
        sleep(Duration::from_millis(20)).await;
    }
    server.signs(&billing).await;
}

// === With a clock that is off ===

/// The world's time, and an error in microseconds.
#[derive(Default)]
pub(crate) struct Off(pub(crate) AtomicI64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros() + self.0.load(Ordering::SeqCst))
    }

    fn tells_world_time(&self) -> bool {
        true
    }
}

async fn ready(server: &Server, status: u16) {
    let begun = Instant::now();
    loop {
        let answer = server.get("/readyz").await;
        if answer.status == status {
            let text = if status == 200 { "ready" } else { "the clock is off" };
            return answer.expect_text(status, text);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// SQLite has no clock but this machine's.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_plans_no_keys_and_serves_on() {
    let short = |config: &mut Config| {
        let (every, lead) = (Duration::from_mins(5), Duration::from_mins(4));
        let (verifier_cache, clock_tolerance) = (Duration::from_mins(1), Duration::from_secs(5));
        let usual = Timing::usual(Duration::from_mins(5));
        config.keys =
            Schedule::new(Timing { every, lead, verifier_cache, clock_tolerance, ..usual }).unwrap();
        config.metrics = MetricsListener::At(metrics::ANY);
    };
    let server = Server::start_with(Engine::Postgres, short).await;
    let billing = server.billing().await;
    let kid = server.signs(&billing).await;
    // The keys were made for the test's time; now they are as old as this process.
    let now = SystemClock.now();
    server.database.execute(&format!("UPDATE signing_keys SET activates_at = {}", now.as_micros())).await;
    let clock = Arc::new(Off(AtomicI64::new(0)));
    let off = server.replica_at(Arc::clone(&clock) as _).await;
    server.app.stop().await.unwrap();
    ready(&off, 200).await;

    let ten_minutes = 600_000_000;
    clock.0.store(ten_minutes, Ordering::SeqCst);
    // What it planned before it knew is none.
    let before = off.database.texts("SELECT kid FROM signing_keys ORDER BY kid").await;
    ready(&off, 503).await;
    let ahead = metrics::value(&metrics::scrape(&off).await, "jeton_clock_ahead_seconds");
    assert!((ahead - 600.0).abs() < 1.0, "{ahead}");
    assert_eq!(off.signs(&billing).await, kid);
    let rotate = off.app.admin().rotate_signing_key(&jeton::admin::By::system(), Algorithm::Es256).await;
    assert!(rotate.unwrap_err().to_string().contains("keys.clock_tolerance"), "nor for an operator");
    assert_eq!(off.database.texts("SELECT kid FROM signing_keys ORDER BY kid").await, before);

    clock.0.store(0, Ordering::SeqCst);
    ready(&off, 200).await;
    off.app.rotator().settle().await.unwrap();
    assert_eq!(off.kids("ES256").await.len(), 1);
    assert_eq!(off.signs(&billing).await, kid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_off_says_so_in_its_log() {
    let database = Database::create(Engine::Postgres).await;
    // Keys are there, made by a clock that was right.
    Process::serve(&database, &[]).await.stop().await;
    // Whoever connects from now on is told an hour more than this machine's clock says.
    database
        .execute(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
             AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$",
        )
        .await;
    database
        .execute(
            "DO $$ BEGIN
                 EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
             END $$",
        )
        .await;
    let server = Process::start(&database, &["serve"], &[]);
    let said = async {
        while !server.log().contains("no keys are planned by this clock") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), said).await.is_ok(), "{}", server.log());
    let line = server.log().lines().find(|line| line.contains("planned by this clock")).unwrap().to_owned();
    assert!(line.contains("behind the database's") && line.contains("keys.clock_tolerance"), "{line}");
    server.stop().await;
}
