//! Before anything is removed, that is recorded and signed: otherwise it would look like what somebody hides.

use super::{RETENTION, days, dropped, refusals, verified};
use crate::harness::{Database, Replica, both_replicas};

both_replicas!(nothing_goes_before_it_is_recorded_and_signed_that_it_does);

async fn nothing_goes_before_it_is_recorded_and_signed_that_it_does(replica: Replica, database: Database) {
    let all = days(&replica).await.len();
    // The same one each time, as in a server: it remembers what it has announced.
    let upkeep = replica.upkeep(RETENTION);
    let keep = || upkeep.once(replica.ambient.now());
    for (table, condition) in
        [("audit_events", "NEW.kind = 'events_dropped'"), ("audit_checkpoints", "NEW.seq > 0")]
    {
        database.refuse_rows(table, condition).await;
        for _ in 0..2 {
            let fault = keep().await.expect_err(table);
            assert!(fault.to_string().contains("refused"), "{table}: {fault}");
            assert_eq!(refusals(&database).await.len(), all, "{table}");
        }
        database.take_rows(table).await;
        verified(&database);
    }
    let tried = dropped(&database).await.len();
    keep().await.unwrap();
    assert_eq!(refusals(&database).await.len(), all / 2);
    let said = dropped(&database).await;
    assert_eq!(said.len(), tried + 1, "it is said anew, where it is signed");
    verified(&database);
    keep().await.unwrap();
    assert_eq!(dropped(&database).await, said, "and not again");
    drop(upkeep);
    replica.stop().await;
    verified(&database);
}
