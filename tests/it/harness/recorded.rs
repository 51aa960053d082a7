use serde_json::Value;

use super::{Answer, Server};

/// An audit event as it stands in the database.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) client_id: Option<String>,
    pub(crate) jti: Option<String>,
    pub(crate) txn: Option<String>,
    pub(crate) at: i64,
    pub(crate) origin: Value,
    pub(crate) detail: Value,
}

/// One text of a row, its columns on a line each: no column can hold a line end, and JSON is written on one.
const ROWS: &str =
    "SELECT kind || '\n' || outcome || '\n' || COALESCE(client_id, '') || '\n' || COALESCE(jti, '')
    || '\n' || COALESCE(txn, '') || '\n' || CAST(at AS TEXT) || '\n' || CAST(origin AS TEXT)
    || '\n' || CAST(detail AS TEXT) FROM audit_events";

impl Server {
    /// The one audit event of this answer, found by its `x-request-id`.
    pub(crate) async fn recorded(&self, answer: &Answer) -> Recorded {
        let request_id = answer.header("x-request-id").unwrap();
        let rows =
            self.database.texts(&format!("{ROWS} WHERE origin ->> 'request_id' = '{request_id}'")).await;
        assert_eq!(rows.len(), 1, "one event for each answer: {rows:?}: {answer:?}");
        Recorded::parse(&rows[0])
    }

    /// Every audit event, in one text each.
    pub(crate) async fn audit_rows(&self) -> Vec<String> {
        self.database.texts(ROWS).await
    }
}

impl Recorded {
    pub(crate) fn parse(row: &str) -> Self {
        let columns: Vec<&str> = row.split('\n').collect();
        let [kind, outcome, client_id, jti, txn, at, origin, detail] = columns[..] else {
            panic!("not a row: {row:?}");
        };
        let text = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        Self {
            kind: kind.to_owned(),
            outcome: outcome.to_owned(),
            client_id: text(client_id),
            jti: text(jti),
            txn: text(txn),
            at: at.parse().unwrap(),
            origin: serde_json::from_str(origin).unwrap(),
            detail: serde_json::from_str(detail).unwrap(),
        }
    }
}
