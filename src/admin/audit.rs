//! Reading the audit.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::{Admin, AdminError, By, Page, PageRequest};
use crate::domain::audit::{Event, EventText, Outcome};
use crate::domain::builtin;
use crate::domain::chain::Hash;
use crate::domain::chain_check::{Found, Window};
use crate::domain::error::Fault;
use crate::domain::text::{check_text, quoted};
use crate::domain::time::Timestamp;
use crate::domain::token_id;
use crate::runtime::ledger::OVERTAKEN;
use crate::storage::{EventCursor, EventFilter};

/// Which events a list shows. What is absent fits all.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Of this client.
    pub client_id: Option<String>,
    /// Of this client, or done to it.
    pub about: Option<String>,
    /// Of this person.
    pub person: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// About this token, or done with it.
    pub jti: Option<String>,
    /// Of this chain of tokens.
    pub txn: Option<String>,
}

/// One event, and its place in its chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "writer": "01a202c8-7fb2-7d24-bcb2-3bdb794cda0b", "seq": 4, "at": "2026-11-22T10:23:47.617278Z",
    "hash": "77012fa0cd8d2b2c796353e322f46ea18b5f72b20462a47303e741694102868e",
    "event": {
        "kind": "changed",
        "actor": { "type": "client", "client_id": "admin", "jti": "an8MpQBmDa32EvNr0n46NjYpf5KR5BJl74" },
        "action": "client.role.unassign", "target": "billing", "before": "auditor", "outcome": "success",
        "happened_at": "2026-11-22T10:23:47.617278Z",
        "origin": { "request_id": "jq4f7-uzCOxzSDklGDT52w", "address": "127.0.0.1" },
    },
}))]
pub struct AuditEventView {
    /// The chain: the process that recorded it.
    #[schema(value_type = String, example = "019aa8c2-7d1e-7a6b-9f4e-2d1c0b3a4e5f")]
    pub writer: Uuid,
    /// Its place in the chain.
    pub seq: u64,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its hash, which covers its place, its time, its text and the hash before it.
    #[schema(value_type = String)]
    pub hash: Hash,
    /// What happened.
    #[schema(value_type = EventText)]
    pub event: Box<RawValue>,
}

// === impl EventQuery ===

impl EventQuery {
    /// What the store looks for.
    pub(super) fn filter(self) -> Result<EventFilter, AdminError> {
        if let Some(kind) = self.kind.as_deref().filter(|kind| !Event::KINDS.contains(kind)) {
            let problem = format!("there is no kind of event '{}'", quoted(kind));
            return Err(AdminError::invalid(
                "kind",
                problem,
                format!("use one of {}", Event::KINDS.join(", ")),
            ));
        }
        for (field, text) in [
            ("client_id", &self.client_id),
            ("about", &self.about),
            ("person", &self.person),
            ("jti", &self.jti),
            ("txn", &self.txn),
        ] {
            check_text(field, text.as_deref().unwrap_or_default(), 255)?;
        }
        let near = |id: String| {
            // Recorded at the time in it, or, when others overtook it, a moment later.
            let near = token_id::made_at(&id).map(|at| Window { from: at, to: at.plus(OVERTAKEN) });
            (id, near)
        };
        Ok(EventFilter {
            from: self.from,
            to: self.to,
            client_id: self.client_id,
            about: self.about,
            person: self.person,
            kind: self.kind,
            outcome: self.outcome.map(|outcome| outcome.as_str().to_owned()),
            jti: self.jti.map(near),
            txn: self.txn.map(near),
        })
    }

    /// What was asked for, as the audit tells it.
    pub(super) fn told(&self) -> BTreeMap<&'static str, String> {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let members = [
            ("from", time(self.from)),
            ("to", time(self.to)),
            ("client_id", self.client_id.clone()),
            ("about", self.about.clone()),
            ("person", self.person.clone()),
            ("kind", self.kind.clone()),
            ("outcome", self.outcome.map(|outcome| outcome.as_str().to_owned())),
            ("jti", self.jti.clone()),
            ("txn", self.txn.clone()),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, quoted(&value?)))).collect()
    }
}

// === impl Admin ===

impl Admin {
    /// Events that fit, newest first.
    ///
    /// # Errors
    /// A missing permission, or a filter or cursor that is none.
    pub async fn audit_events(
        &self,
        by: &By,
        query: EventQuery,
        page: &PageRequest,
    ) -> Result<Page<AuditEventView>, AdminError> {
        self.require(by, builtin::AUDIT_READ).await?;
        let filter = query.filter()?;
        let (cursor, limit) = page.cursor()?;
        let after = if cursor.after.is_empty() { None } else { Some(read_cursor(&cursor.after)?) };
        let found = self.store.events(&filter, after, cursor.limit).await?;
        let items = found.iter().map(AuditEventView::new).collect::<Result<_, _>>()?;
        Ok(Page::numbered(items, limit, |event: &AuditEventView| {
            format!("{}.{}.{}", event.at.as_micros(), event.writer.simple(), event.seq)
        }))
    }
}

fn read_cursor(text: &str) -> Result<EventCursor, AdminError> {
    let mut parts = text.splitn(3, '.');
    let mut part = || parts.next().unwrap_or_default();
    let (at, writer, seq) = (part().parse(), part().parse(), part().parse());
    match (at, writer, seq) {
        (Ok(at), Ok(writer), Ok(seq)) => Ok(EventCursor { at: Timestamp::from_micros(at), writer, seq }),
        _ => Err(AdminError::not_a_cursor()),
    }
}

// === impl AuditEventView ===

impl AuditEventView {
    fn new(found: &Found) -> Result<Self, Fault> {
        let event = match serde_json::from_str::<&RawValue>(&found.text) {
            Ok(event) => event.to_owned(),
            // Somebody has altered it: then it is shown as the text that it is.
            Err(_) => to_raw_value(&found.text).map_err(Fault::internal)?,
        };
        Ok(Self {
            writer: found.writer,
            seq: found.seq,
            at: found.at,
            // One of another length was altered: then it is no hash at all.
            hash: Hash::from_bytes(&found.hash).unwrap_or(Hash::NONE),
            event,
        })
    }
}

/// The JSON schema (2020-12) of an event, made from the types that are written.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut parts = Vec::new();
    EventText::schemas(&mut parts);
    let definition = |schema| {
        // What is `#/components/schemas/X` in an OpenAPI document is `#/$defs/X` here.
        let text = serde_json::to_string(&schema).unwrap_or_default();
        let text = text.replace("#/components/schemas/", "#/$defs/");
        serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
    };
    let definitions: serde_json::Map<String, serde_json::Value> =
        parts.into_iter().map(|(name, schema)| (name, definition(schema))).collect();
    let mut schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Jeton audit event",
        "description": "Later versions may add kinds and members; ignore those that you do not know.",
    });
    if let (Some(schema), serde_json::Value::Object(event)) =
        (schema.as_object_mut(), definition(EventText::schema()))
    {
        schema.extend(event.into_iter().filter(|(name, _)| name != "description"));
        schema.insert("$defs".to_owned(), definitions.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_no_json_any_more_is_shown_as_the_text_that_it_is() {
        let shown = |text: &str| {
            let at = Timestamp::from_seconds(1_000_000_000);
            let (prev, hash, text) = (Vec::new(), Vec::new(), text.to_owned());
            let found = Found { writer: Uuid::nil(), seq: 1, at, prev, hash, columns: None, text };
            AuditEventView::new(&found).unwrap().event.get().to_owned()
        };
        assert_eq!(shown(r#"{"kind":"stopped"}"#), r#"{"kind":"stopped"}"#);
        assert_eq!(shown(r#"{"kind":"stopped"} mallory"#), r#""{\"kind\":\"stopped\"} mallory""#);
    }
}
