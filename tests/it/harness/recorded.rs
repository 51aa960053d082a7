use serde_json::{Value, json};

use super::{Answer, Database, Server};

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
    || '\n' || COALESCE(txn, '') || '\n' || CAST(at AS TEXT) || '\n' || event FROM audit_events";

impl Server {
    /// The one audit event of this answer, found by its `x-request-id`: its own, or the one that it is counted in.
    pub(crate) async fn recorded(&self, answer: &Answer) -> Recorded {
        Recorded::of(&self.database, answer.header("x-request-id").unwrap()).await
    }

    /// That the one event of this refusal has this reason.
    pub(crate) async fn reason_is(&self, row: &str, answer: &Answer, reason: &str) {
        let recorded = self.recorded(answer).await.detail["reason"].clone();
        assert!(recorded.as_str().unwrap().contains(reason), "{row}: {recorded}");
    }

    /// Every audit event, in one text each.
    pub(crate) async fn audit_rows(&self) -> Vec<String> {
        self.database.texts(ROWS).await
    }
}

impl Recorded {
    /// The one audit event of the answer with this `x-request-id`.
    pub(crate) async fn of(database: &Database, request_id: &str) -> Self {
        let rows = database.texts(&format!("{ROWS} WHERE event LIKE '%\"{request_id}\"%'")).await;
        assert_eq!(rows.len(), 1, "one event for each answer: {rows:?}: {request_id}");
        Self::parse(&rows[0])
    }

    pub(crate) fn parse(row: &str) -> Self {
        let columns: Vec<&str> = row.split('\n').collect();
        let [kind, outcome, client_id, jti, txn, at, event] = columns[..] else {
            panic!("not a row: {row:?}");
        };
        let mut detail: Value = serde_json::from_str(event).unwrap();
        let members = detail.as_object_mut().unwrap();
        let origin = members.remove("origin").unwrap_or_else(|| json!({}));
        assert_eq!(members.remove("outcome").unwrap(), outcome, "{row}");
        members.remove("happened_at");
        let text = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        Self {
            kind: kind.to_owned(),
            outcome: outcome.to_owned(),
            client_id: text(client_id),
            jti: text(jti),
            txn: text(txn),
            at: at.parse().unwrap(),
            origin,
            detail,
        }
    }
}
