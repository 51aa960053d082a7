//! What an event of `tracing` says, by name.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use tracing::field::{Field, Visit};

/// The name that `tracing` gives to the text of a line.
const MESSAGE: &str = "message";

/// A value, as JSON and OTLP know it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(Cow<'static, str>),
    Whole(i64),
    Number(f64),
    Truth(bool),
}

/// Names with their values, in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

// === impl Value ===

impl Value {
    /// How many bytes it has beside itself.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Whole(_) | Self::Number(_) | Self::Truth(_) => 0,
        }
    }
}

// === impl Fields ===

impl Fields {
    /// The text of the line, which is no attribute of it.
    pub(super) fn take_message(&mut self) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| *name == MESSAGE)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn text(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(text) if *name == wanted => Some(text.as_ref()),
            _ => None,
        })
    }

    pub(super) fn into_pairs(self) -> Vec<(&'static str, Value)> {
        self.0
    }

    fn push(&mut self, field: &Field, value: Value) {
        self.0.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::Text(format!("{value:?}").into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned().into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Whole(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let whole = i64::try_from(value).map(Value::Whole);
        self.push(field, whole.unwrap_or_else(|_| Value::Text(value.to_string().into())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::Number(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Truth(value));
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Whole(number) => map.serialize_entry(name, number)?,
                Value::Number(number) => map.serialize_entry(name, number)?,
                Value::Truth(truth) => map.serialize_entry(name, truth)?,
            }
        }
        map.end()
    }
}
