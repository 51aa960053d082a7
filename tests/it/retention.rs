//! What time does to the ledger: old events go in whole days and nothing else does, what a killed process has
//! left is chained, a database that is away for a moment costs no event, and a clock that goes back breaks no chain.

mod served;

pub(crate) use served::leave_text;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Database, Engine, START, jeton, run};
use jeton::app::{self, Sealed};
use jeton::domain::audit::{AskedFor, AuditEvent, Event, Origin, ProcessKind};
use jeton::domain::error::Fault;
use jeton::domain::time::{DAY, Timestamp};
use jeton::runtime::clock::{Ambient, Clock, SystemEntropy};
use jeton::runtime::ledger::Ledger;
use jeton::runtime::upkeep::Upkeep;
use jeton::storage::Store;

/// Runs tests of the form `async fn(process: Process, database: Database)` on both engines.
macro_rules! both_processes {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::harness::{Database, Engine};

            async fn run(engine: Engine) {
                let database = Database::create(engine).await;
                let process = super::Process::start(&database, super::START).await;
                super::$test(process, database).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                run(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                run(Engine::Postgres).await;
            }
        })+
    };
}

both_processes!(
    what_is_older_goes_in_whole_days_and_nothing_else,
    nothing_goes_before_its_time,
    two_upkeeps_at_once_do_no_harm,
    what_takes_several_steps_is_removed_to_its_end,
    one_event_less_than_retention_left_is_noticed,
    chains_that_are_gone_are_forgotten_and_those_that_go_on_are_not,
    there_is_room_for_the_days_to_come,
    a_window_that_ends_before_the_last_day_misses_nothing_in_it,
    a_clock_that_goes_back_begins_another_chain,
);

/// A clock that goes wherever it is set.
struct Settable(AtomicI64);

impl Clock for Settable {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// What of a server keeps the ledger.
struct Process {
    store: Store,
    ledger: Ledger,
    writing: JoinHandle<()>,
    ambient: Ambient,
    clock: Arc<Settable>,
}

const RETENTION: Duration = Duration::from_hours(48);

impl Process {
    async fn start(database: &Database, at: Timestamp) -> Self {
        let clock = Arc::new(Settable(AtomicI64::new(at.as_micros())));
        let ambient = Ambient::new(Arc::clone(&clock) as _, Arc::new(SystemEntropy));
        let config = database.config();
        let store = app::connect(&config).await.unwrap();
        store.migrate().await.unwrap();
        let Sealed { ledger, writing, .. } =
            app::unseal(&config, &store, &ambient, ProcessKind::Server).await.unwrap();
        Self { store, ledger, writing, ambient, clock }
    }

    /// Records an event at this time.
    async fn record(&self, at: Timestamp) {
        self.clock.0.store(at.as_micros(), Ordering::SeqCst);
        let event = Event::TokenRefused {
            client_id: None,
            authenticated: false,
            auth_method: None,
            secret_id: None,
            grant_type: None,
            asked: AskedFor::default(),
            error: "invalid_request",
            reason: format!("at {at}"),
            repeated: None,
        };
        self.ledger.record(&AuditEvent { at, origin: Origin::default(), event }).await.unwrap();
    }

    /// Records events on six days, four a day.
    async fn days(&self) -> Vec<Timestamp> {
        let mut all = Vec::new();
        for day in 0..6 {
            for hour in [0, 6, 12, 15] {
                let at = START.plus(DAY * day).plus(Duration::from_hours(hour));
                all.push(at);
                self.record(at).await;
            }
        }
        all
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::new(self.store.clone(), self.ledger.clone(), self.ambient.clone(), RETENTION)
    }

    async fn keep(&self) -> Result<(), Fault> {
        self.upkeep().once(self.ambient.now()).await
    }

    /// Ends the chain in order.
    async fn stop(self) {
        drop(self.ledger);
        self.writing.await.unwrap();
        self.store.close().await;
    }

    /// Ends as a process does that is killed: its chain stays open.
    async fn kill(self) {
        self.writing.abort();
        let _ = self.writing.await;
        self.store.close().await;
    }
}

fn verified(database: &Database) -> Value {
    let report = jeton(database, &["audit", "verify"]);
    assert_eq!(report["findings"], json!([]));
    report
}

/// Runs `verify`, which must fail, and answers what it has found.
fn findings(database: &Database) -> Vec<String> {
    let output = run(database, &["audit", "verify", "--json"]);
    assert_eq!(output.status.code(), Some(1), "not noticed");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(report["findings"].clone()).unwrap()
}

async fn refusals(database: &Database) -> Vec<String> {
    let sql = "SELECT event FROM audit_events WHERE kind = 'token_refused' ORDER BY at, seq";
    let texts = database.texts(sql).await;
    texts
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["reason"].as_str().unwrap()[3..].to_owned())
        .collect()
}

async fn dropped(database: &Database) -> Vec<String> {
    let sql = "SELECT event FROM audit_events WHERE kind = 'events_dropped' ORDER BY at, seq";
    let texts = database.texts(sql).await;
    texts
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["before"].as_str().unwrap().to_owned())
        .collect()
}

async fn partitions(database: &Database) -> Vec<String> {
    let sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass ORDER BY 1";
    database.texts(sql).await
}

/// A chain goes on across the cut.
async fn what_is_older_goes_in_whole_days_and_nothing_else(process: Process, database: Database) {
    let all = process.days().await;
    verified(&database);
    process.keep().await.unwrap();
    // The last was at 23:00 on the 27th; two days before that the 25th had begun.
    let cut = Timestamp::parse("2026-11-25T00:00:00Z").unwrap();
    let kept: Vec<String> = all.iter().filter(|at| **at >= cut).map(ToString::to_string).collect();
    assert_eq!(kept.len(), 12);
    assert_eq!(refusals(&database).await, kept);
    assert_eq!(dropped(&database).await, ["2026-11-25T00:00:00Z"]);
    let older = format!("SELECT event FROM audit_events WHERE at < {}", cut.as_micros());
    assert_eq!(database.texts(&older).await, [""; 0], "also of the ledger's own");
    if database.engine == Engine::Postgres {
        let days = ["25", "26", "27", "28", "29", "30"].map(|day| format!("audit_events_202611{day}"));
        assert_eq!(partitions(&database).await, days, "those of the days that are gone, too");
    }
    verified(&database);
    process.keep().await.unwrap();
    assert_eq!(dropped(&database).await.len(), 1, "there is nothing more to do, and nothing to record");
    process.record(process.ambient.now()).await;
    process.stop().await;
    let report = verified(&database);
    assert_eq!(report["chains"].as_array().unwrap().len(), 1);
    assert_eq!(report["chains"][0]["closed"], true);
}

async fn nothing_goes_before_its_time(process: Process, database: Database) {
    process.record(START).await;
    let last = START.start_of_day().plus(DAY + RETENTION).minus(Duration::from_micros(1));
    process.record(last).await;
    process.keep().await.unwrap();
    assert_eq!(
        dropped(&database).await,
        [""; 0],
        "a day is kept until its last microsecond was kept long enough"
    );
    assert_eq!(refusals(&database).await.len(), 2);
    process.record(last.plus(Duration::from_micros(1))).await;
    process.keep().await.unwrap();
    assert_eq!(refusals(&database).await.len(), 2, "then all of it goes");
    assert_eq!(dropped(&database).await, ["2026-11-23T00:00:00Z"]);
    verified(&database);
}

async fn two_upkeeps_at_once_do_no_harm(process: Process, database: Database) {
    let all = process.days().await;
    let other = Process::start(&database, process.ambient.now()).await;
    other.record(process.ambient.now()).await;
    let (one, two) = tokio::join!(process.keep(), other.keep());
    one.unwrap();
    two.unwrap();
    let cut = Timestamp::parse("2026-11-25T00:00:00Z").unwrap();
    let kept = all.iter().filter(|at| **at >= cut).count();
    assert_eq!(refusals(&database).await.len(), kept + 1);
    verified(&database);
    process.stop().await;
    other.stop().await;
    verified(&database);
}

/// SQLite removes a few at a time.
async fn what_takes_several_steps_is_removed_to_its_end(process: Process, database: Database) {
    futures_util::future::join_all((0..1_200).map(|_| process.record(START))).await;
    let kept = START.plus(DAY * 2);
    process.record(kept).await;
    process.record(START.plus(DAY * 4)).await;
    process.keep().await.unwrap();
    assert_eq!(refusals(&database).await, [kept.to_string(), START.plus(DAY * 4).to_string()]);
    process.stop().await;
    verified(&database);
}

async fn one_event_less_than_retention_left_is_noticed(process: Process, database: Database) {
    process.days().await;
    process.keep().await.unwrap();
    process.stop().await;
    verified(&database);
    let first = "SELECT CAST(MIN(seq) AS TEXT) FROM audit_events";
    let seq: u64 = database.texts(first).await[0].parse().unwrap();
    database.execute(&format!("DELETE FROM audit_events WHERE seq = {seq}")).await;
    let found = findings(&database);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with(&format!("event 1: missing, up to event {seq}")), "{found:?}");
}

async fn chains_that_are_gone_are_forgotten_and_those_that_go_on_are_not(
    process: Process,
    database: Database,
) {
    process.record(START).await;
    process.stop().await;
    let killed = Process::start(&database, START.plus(Duration::from_hours(1))).await;
    killed.record(START.plus(Duration::from_hours(1))).await;
    killed.kill().await;
    let process = Process::start(&database, START.plus(Duration::from_hours(2))).await;
    let all = process.days().await;
    let count = async |table: &str| {
        let sql = format!("SELECT DISTINCT CAST(COUNT(DISTINCT writer) AS TEXT) FROM {table}");
        database.texts(&sql).await.remove(0)
    };
    assert_eq!(count("audit_chains").await, "3");
    process.keep().await.unwrap();
    verified(&database);
    assert_eq!(count("audit_events").await, "1");
    assert_eq!(count("audit_checkpoints").await, "1", "what signs for nothing is gone");
    assert_eq!(count("audit_chains").await, "2", "the killed one is looked at for a week");
    let later = all.last().unwrap().plus(DAY * 7);
    process.record(later).await;
    process.stop().await;
    let process = Process::start(&database, later).await;
    process.record(later.plus(DAY * 4)).await;
    process.keep().await.unwrap();
    process.stop().await;
    assert_eq!(count("audit_chains").await, "1");
    verified(&database);
}

async fn there_is_room_for_the_days_to_come(process: Process, database: Database) {
    process.keep().await.unwrap();
    if database.engine == Engine::Postgres {
        let days = ["22", "23", "24", "25"].map(|day| format!("audit_events_202611{day}"));
        assert_eq!(partitions(&database).await, days);
    }
    // And where nobody has made room, it is made when it is needed.
    process.record(START.plus(DAY * 40)).await;
    assert_eq!(refusals(&database).await, ["2027-01-01T08:00:00Z"]);
    verified(&database);
}

/// The end of the first day is signed: that there is more beyond the window does not excuse what is missing in it.
async fn a_window_that_ends_before_the_last_day_misses_nothing_in_it(process: Process, database: Database) {
    process.days().await;
    process.stop().await;
    let to = "2026-11-24T00:00:00Z";
    let day = Timestamp::parse("2026-11-23T00:00:00Z").unwrap();
    assert!(run(&database, &["audit", "verify", "--to", to]).status.success());
    let last =
        format!("SELECT CAST(MAX(seq) AS TEXT) FROM audit_events WHERE at < {}", day.plus(DAY).as_micros());
    let seq: u64 = database.texts(&last).await[0].parse().unwrap();
    database.execute(&format!("DELETE FROM audit_events WHERE seq = {seq}")).await;
    let output = run(&database, &["audit", "verify", "--to", to, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        found.contains(&format!("event {seq}: missing with all that follows: a signed checkpoint")),
        "{found}"
    );
}

async fn a_clock_that_goes_back_begins_another_chain(process: Process, database: Database) {
    process.record(START).await;
    let back = START.minus(Duration::from_hours(1));
    process.record(back).await;
    process.record(back.plus(Duration::from_secs(5))).await;
    assert_eq!(refusals(&database).await.len(), 3, "nothing is refused because of a clock");
    let starts = database.texts("SELECT event FROM audit_events WHERE kind = 'started' ORDER BY at").await;
    assert_eq!(starts.len(), 2);
    let second: Value = serde_json::from_str(&starts[0]).unwrap();
    assert_eq!(second["previous"][0]["seq"], 2, "the second names the first: {second}");
    process.record(START.plus(Duration::from_hours(1))).await;
    process.stop().await;
    let report = verified(&database);
    assert_eq!(report["chains"].as_array().unwrap().len(), 2, "and goes on when the clock is right again");
    // A moment is no reason: requests overtake each other.
    let process = Process::start(&database, START.plus(Duration::from_hours(2))).await;
    process.record(START.plus(Duration::from_hours(2))).await;
    process.record(START.plus(Duration::from_hours(2)).minus(Duration::from_secs(1))).await;
    process.stop().await;
    assert_eq!(verified(&database)["chains"].as_array().unwrap().len(), 3);
}
