//! What time does to the ledger: old events go in whole days and nothing else does, what a killed process has
//! left is chained, a database that is away for a moment costs no event, and a clock that goes back breaks no chain.

mod announced;
mod clock_off;
mod exported_meanwhile;
mod served;
mod verified_meanwhile;

pub(crate) use served::leave_text;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Database, Engine, Replica, START, both_replicas, jeton, run};
use jeton::domain::error::Fault;
use jeton::domain::time::{DAY, Timestamp};

both_replicas!(
    what_is_older_goes_in_whole_days_and_nothing_else,
    nothing_goes_before_its_time,
    two_upkeeps_at_once_do_no_harm,
    what_takes_several_steps_is_removed_to_its_end,
    one_event_less_than_retention_left_is_noticed,
    chains_that_are_gone_are_forgotten_and_those_that_go_on_are_not,
    there_is_room_for_the_days_to_come,
    a_window_that_ends_before_the_last_day_misses_nothing_in_it,
    a_window_knows_the_event_before_its_first_one,
    a_clock_that_goes_back_begins_another_chain,
    a_chain_that_was_silent_goes_on_as_another,
);

const RETENTION: Duration = Duration::from_hours(48);

/// Records events on six days, four a day.
async fn days(replica: &Replica) -> Vec<Timestamp> {
    let mut all = Vec::new();
    for day in 0..6 {
        for hour in [0, 6, 12, 15] {
            let at = START.plus(DAY * day).plus(Duration::from_hours(hour));
            all.push(at);
            replica.record(at).await;
        }
    }
    all
}

async fn keep(replica: &Replica) -> Result<(), Fault> {
    replica.upkeep(RETENTION).once(replica.ambient.now()).await
}

fn verified(database: &Database) -> Value {
    let report = jeton(database, &["audit", "verify"]);
    assert_eq!(report["findings"], json!([]));
    report
}

/// Runs `verify`, which must fail, and answers what it has found.
fn findings(database: &Database, arguments: &[&str]) -> Vec<String> {
    let output = run(database, &[&["audit", "verify", "--json"], arguments].concat());
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
async fn what_is_older_goes_in_whole_days_and_nothing_else(replica: Replica, database: Database) {
    let all = days(&replica).await;
    verified(&database);
    keep(&replica).await.unwrap();
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
    keep(&replica).await.unwrap();
    assert_eq!(dropped(&database).await.len(), 1, "there is nothing more to do, and nothing to record");
    replica.record(replica.ambient.now()).await;
    replica.stop().await;
    let report = verified(&database);
    assert_eq!(report["chains"].as_array().unwrap().len(), 1);
    assert_eq!(report["chains"][0]["closed"], true);
}

async fn nothing_goes_before_its_time(replica: Replica, database: Database) {
    replica.record(START).await;
    let last = START.start_of_day().plus(DAY + RETENTION).minus(Duration::from_micros(1));
    replica.record(last).await;
    keep(&replica).await.unwrap();
    assert_eq!(
        dropped(&database).await,
        [""; 0],
        "a day is kept until its last microsecond was kept long enough"
    );
    assert_eq!(refusals(&database).await.len(), 2);
    replica.record(last.plus(Duration::from_micros(1))).await;
    keep(&replica).await.unwrap();
    assert_eq!(refusals(&database).await.len(), 2, "then all of it goes");
    assert_eq!(dropped(&database).await, ["2026-11-23T00:00:00Z"]);
    verified(&database);
}

async fn two_upkeeps_at_once_do_no_harm(replica: Replica, database: Database) {
    let all = days(&replica).await;
    let other = Replica::start_at(&database, replica.ambient.now()).await;
    other.record(replica.ambient.now()).await;
    let (one, two) = tokio::join!(keep(&replica), keep(&other));
    one.unwrap();
    two.unwrap();
    let cut = Timestamp::parse("2026-11-25T00:00:00Z").unwrap();
    let kept = all.iter().filter(|at| **at >= cut).count();
    assert_eq!(refusals(&database).await.len(), kept + 1);
    verified(&database);
    replica.stop().await;
    other.stop().await;
    verified(&database);
}

/// SQLite removes a few at a time.
async fn what_takes_several_steps_is_removed_to_its_end(replica: Replica, database: Database) {
    futures_util::future::join_all((0..1_200).map(|_| replica.record(START))).await;
    let kept = START.plus(DAY * 2);
    replica.record(kept).await;
    replica.record(START.plus(DAY * 4)).await;
    keep(&replica).await.unwrap();
    assert_eq!(refusals(&database).await, [kept.to_string(), START.plus(DAY * 4).to_string()]);
    replica.stop().await;
    verified(&database);
}

async fn one_event_less_than_retention_left_is_noticed(replica: Replica, database: Database) {
    days(&replica).await;
    keep(&replica).await.unwrap();
    replica.stop().await;
    verified(&database);
    let first = "SELECT CAST(MIN(seq) AS TEXT) FROM audit_events";
    let seq: u64 = database.texts(first).await[0].parse().unwrap();
    database.execute(&format!("DELETE FROM audit_events WHERE seq = {seq}")).await;
    let found = findings(&database, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with(&format!("event 1: missing, up to event {seq}")), "{found:?}");
}

async fn chains_that_are_gone_are_forgotten_and_those_that_go_on_are_not(
    replica: Replica,
    database: Database,
) {
    replica.record(START).await;
    replica.stop().await;
    let killed = Replica::start_at(&database, START.plus(Duration::from_hours(1))).await;
    killed.record(START.plus(Duration::from_hours(1))).await;
    killed.kill().await;
    let replica = Replica::start_at(&database, START.plus(Duration::from_hours(2))).await;
    let all = days(&replica).await;
    let count = async |table: &str| {
        let sql = format!("SELECT DISTINCT CAST(COUNT(DISTINCT writer) AS TEXT) FROM {table}");
        database.texts(&sql).await.remove(0)
    };
    assert_eq!(count("audit_chains").await, "3");
    keep(&replica).await.unwrap();
    verified(&database);
    assert_eq!(count("audit_events").await, "1");
    assert_eq!(count("audit_checkpoints").await, "1", "what signs for nothing is gone");
    assert_eq!(count("audit_chains").await, "2", "the killed one is looked at for a week");
    let later = all.last().unwrap().plus(DAY * 7);
    replica.record(later).await;
    replica.stop().await;
    let replica = Replica::start_at(&database, later).await;
    replica.record(later.plus(DAY * 4)).await;
    keep(&replica).await.unwrap();
    replica.stop().await;
    assert_eq!(count("audit_chains").await, "1");
    verified(&database);
}

async fn there_is_room_for_the_days_to_come(replica: Replica, database: Database) {
    keep(&replica).await.unwrap();
    if database.engine == Engine::Postgres {
        let days = ["22", "23", "24", "25"].map(|day| format!("audit_events_202611{day}"));
        assert_eq!(partitions(&database).await, days);
    }
    // And where nobody has made room, it is made when it is needed.
    replica.record(START.plus(DAY * 40)).await;
    assert_eq!(refusals(&database).await, ["2027-01-01T08:00:00Z"]);
    verified(&database);
}

/// The end of the first day is signed: that there is more beyond the window does not excuse what is missing in it.
async fn a_window_that_ends_before_the_last_day_misses_nothing_in_it(replica: Replica, database: Database) {
    days(&replica).await;
    replica.stop().await;
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

/// The first event of a window follows one that must be there as it was, though it is not in the window.
async fn a_window_knows_the_event_before_its_first_one(replica: Replica, database: Database) {
    days(&replica).await;
    keep(&replica).await.unwrap();
    replica.stop().await;
    // Retention has removed what comes before the one, and nothing what comes before the other.
    let windows = ["2026-11-25T00:00:00Z", "2026-11-26T12:00:00Z"];
    for from in windows {
        let output = run(&database, &["audit", "verify", "--from", from]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let from = Timestamp::parse(windows[1]).unwrap();
    let before = format!("SELECT CAST(MAX(seq) AS TEXT) FROM audit_events WHERE at < {}", from.as_micros());
    let seq: u64 = database.texts(&before).await[0].parse().unwrap();
    database.execute("CREATE TABLE saved AS SELECT * FROM audit_events").await;
    let first = seq + 1;
    for (change, expected) in [
        (
            format!("UPDATE audit_events SET hash = prev WHERE seq = {seq}"),
            format!("event {seq}: altered with its hash"),
        ),
        (
            format!("UPDATE audit_events SET prev = hash WHERE seq = {first}"),
            format!("event {first}: altered: it does not"),
        ),
        (
            format!("DELETE FROM audit_events WHERE seq = {seq}"),
            format!("event {seq}: missing, up to event {seq}"),
        ),
    ] {
        database.execute(&change).await;
        let found = findings(&database, &["--from", windows[1]]);
        assert_eq!(found.len(), 1, "{change}: {found:?}");
        assert!(found[0].contains(&expected), "{change}: {found:?}");
        database.execute("DELETE FROM audit_events").await;
        database.execute("INSERT INTO audit_events SELECT * FROM saved").await;
    }
}

/// Retention may have removed all that there was of it meanwhile.
async fn a_chain_that_was_silent_goes_on_as_another(replica: Replica, database: Database) {
    replica.record(START).await;
    replica.record(START.plus(Duration::from_hours(11))).await;
    let begun = START.plus(DAY * 10);
    let other = Replica::start_at(&database, begun).await;
    other.record(begun).await;
    keep(&other).await.unwrap();
    verified(&database);
    replica.record(begun).await;
    replica.stop().await;
    other.stop().await;
    let chains = verified(&database)["chains"].as_array().unwrap().clone();
    assert_eq!(chains.len(), 2, "{chains:?}");
    assert!(chains.iter().all(|chain| chain["closed"] == true), "{chains:?}");
    assert!(
        chains.iter().all(|chain| chain["events"] == chain["last"]),
        "both begin with a start: {chains:?}"
    );
}

async fn a_clock_that_goes_back_begins_another_chain(replica: Replica, database: Database) {
    replica.record(START).await;
    let back = START.minus(Duration::from_hours(1));
    replica.record(back).await;
    replica.record(back.plus(Duration::from_secs(5))).await;
    assert_eq!(refusals(&database).await.len(), 3, "nothing is refused because of a clock");
    let starts = database.texts("SELECT event FROM audit_events WHERE kind = 'started' ORDER BY at").await;
    assert_eq!(starts.len(), 2);
    let second: Value = serde_json::from_str(&starts[0]).unwrap();
    assert_eq!(second["previous"][0]["seq"], 2, "the second names the first: {second}");
    replica.record(START.plus(Duration::from_hours(1))).await;
    replica.stop().await;
    let report = verified(&database);
    assert_eq!(report["chains"].as_array().unwrap().len(), 2, "and goes on when the clock is right again");
    // A moment is no reason: requests overtake each other.
    let replica = Replica::start_at(&database, START.plus(Duration::from_hours(2))).await;
    replica.record(START.plus(Duration::from_hours(2))).await;
    replica.record(START.plus(Duration::from_hours(2)).minus(Duration::from_secs(1))).await;
    replica.stop().await;
    assert_eq!(verified(&database)["chains"].as_array().unwrap().len(), 3);
}
