//! Retention removes events while somebody takes a copy of the audit, page by page.

use std::time::Duration;

use super::RETENTION;
use crate::harness::{START, Server, both_engines, refusal, run};
use jeton::admin::By;
use jeton::admin::audit::EventQuery;
use jeton::domain::time::{DAY, Timestamp};
use jeton::runtime::upkeep::Upkeep;

both_engines!(
    a_copy_says_what_retention_removed_while_it_was_taken,
    a_copy_with_an_end_says_what_retention_removed_while_it_was_taken,
);

/// Takes a copy, in the middle of which the first day goes, and verifies it.
async fn copy(server: Server, to: Option<Timestamp>) {
    let admin = server.app.admin().clone();
    let record = async |at: Timestamp, count: usize| {
        server.clock.set(at);
        let event = refusal(at);
        let recorded = futures_util::future::join_all((0..count).map(|_| admin.ledger.record(&event))).await;
        assert!(recorded.iter().all(Result::is_ok));
    };
    record(START, 500).await;
    record(START.plus(DAY * 4), 300).await;
    let now = START.plus(DAY * 4 + Duration::from_mins(5));
    server.clock.set(now);

    let query = EventQuery { to, ..EventQuery::default() };
    let mut export = admin.export_audit(&By::system(), query).await.unwrap();
    let mut copied = export.next().await.unwrap().unwrap();
    assert!(copied.lines().count() < 500, "the first day is not read to its end");
    let upkeep = Upkeep::new(admin.store.clone(), admin.ledger.clone(), server.clock_check(), RETENTION);
    upkeep.once(now).await.unwrap();
    server.clock.set(now.plus(Duration::from_mins(1)));
    while let Some(lines) = export.next().await.unwrap() {
        copied.push_str(&lines);
    }
    assert!(copied.lines().count() < 700, "much of it went meanwhile");
    let file = server.database.directory.path().join("copy.jsonl");
    std::fs::write(&file, copied).unwrap();
    let keys = server.database.directory.path().join("keys.json");
    std::fs::write(&keys, run(&server.database, &["audit", "keys"]).stdout).unwrap();
    let to = to.map(|to| to.to_string());
    let window: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).collect();
    let (file, keys) = (file.to_str().unwrap(), keys.to_str().unwrap());
    let arguments = [&["audit", "verify", "--file", file, "--keys", keys], &*window].concat();
    let output = run(&server.database, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

async fn a_copy_says_what_retention_removed_while_it_was_taken(server: Server) {
    copy(server, None).await;
}

async fn a_copy_with_an_end_says_what_retention_removed_while_it_was_taken(server: Server) {
    copy(server, Some(START.plus(DAY * 4 + Duration::from_mins(1)))).await;
}
