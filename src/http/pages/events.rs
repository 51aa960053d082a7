//! Audit events as rows, on the audit's page and wherever something's recent events are shown.

use serde_json::Value;

use crate::admin::audit::AuditEventView;
use crate::domain::time::Timestamp;

/// An event in a line, and in full.
pub(super) struct EventRow {
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) refused: bool,
    /// Who did it, as far as it says.
    pub(super) who: String,
    /// What happened, in a few words.
    pub(super) what: String,
    /// Its place in its chain, and its hash.
    pub(super) place: String,
    /// All of it.
    pub(super) full: String,
}

// === impl EventRow ===

impl From<AuditEventView> for EventRow {
    fn from(view: AuditEventView) -> Self {
        let event: Value = serde_json::from_str(view.event.get()).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Self {
            at: view.at,
            kind: text("kind"),
            refused: event["outcome"] == "refused",
            who: who(&event),
            what: what(&event),
            place: format!("{} {}, hash {}", view.writer, view.seq, view.hash),
            // What was altered may not be JSON; then it is the text that it is.
            full: serde_json::to_string_pretty(&event).unwrap_or_else(|_| view.event.get().to_owned()),
        }
    }
}

fn who(event: &Value) -> String {
    let actor = &event["actor"];
    let names = [&actor["client_id"], &actor["name"], &actor["user"], &event["client_id"], &actor["type"]];
    names.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}

/// The members that tell most, in this order.
fn what(event: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for name in ["action", "target", "error", "reason", "scope", "audience"] {
        match &event[name] {
            Value::String(text) if !text.is_empty() => parts.push(text.clone()),
            Value::Array(texts) => parts.extend(texts.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
    }
    parts.join(" · ")
}
