//! Transactions, and the changes that replicas read.

use std::time::Duration;

use super::{both_stores, client};
use crate::harness::{Database, START};
use jeton::domain::ids::ClientId;
use jeton::storage::{ChangeKind, Store};

both_stores!(
    changes_are_numbered_without_gaps_in_the_order_they_become_visible,
    a_dropped_transaction_did_nothing,
);

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
