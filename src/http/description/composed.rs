//! Examples composed of what the schemas say: a whole is made of the examples of its parts, so that it always fits.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::Components;

/// What examples are composed of.
pub(super) struct Examples {
    schemas: Map<String, Value>,
}

// === impl Examples ===

impl Examples {
    pub(super) fn new(components: &Components) -> Self {
        let schemas = match serde_json::to_value(&components.schemas) {
            Ok(Value::Object(schemas)) => schemas,
            _ => Map::new(),
        };
        Self { schemas }
    }

    /// An example of this schema, if every part of it has one.
    pub(super) fn of<T: Serialize>(&self, schema: &T) -> Option<Value> {
        self.example(&serde_json::to_value(schema).ok()?)
    }

    /// Whether every member of what this schema describes may be left out.
    pub(super) fn all_optional<T: Serialize>(&self, schema: &T) -> bool {
        let schema = serde_json::to_value(schema).unwrap_or_default();
        let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
        name.and_then(|name| self.schemas.get(name)).is_some_and(|schema| schema.get("required").is_none())
    }

    /// An example of the schema of this name.
    pub(super) fn named(&self, name: &str) -> Option<Value> {
        self.example(self.schemas.get(name)?)
    }

    fn example(&self, schema: &Value) -> Option<Value> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.named(name.strip_prefix("#/components/schemas/")?);
        }
        let given = schema.get("example").or_else(|| schema["examples"].get(0));
        if let Some(example) = given.or_else(|| schema["enum"].get(0)).or_else(|| schema.get("default")) {
            return Some(example.clone());
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let mut whole = Map::new();
            for part in parts {
                if let Value::Object(part) = self.example(part)? {
                    whole.extend(part);
                }
            }
            return Some(Value::Object(whole));
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            // One that may be absent is.
            let absent = choices.iter().any(|choice| choice["type"] == "null");
            return if absent { Some(Value::Null) } else { self.example(choices.first()?) };
        }
        match &schema["type"] {
            Value::Array(types) if types.contains(&json!("null")) => Some(Value::Null),
            Value::String(word) => match word.as_str() {
                "object" => self.object(schema),
                "array" => Some(json!([self.example(&schema["items"])?])),
                "boolean" => Some(json!(true)),
                "integer" => Some(schema.get("minimum").cloned().unwrap_or(json!(1))),
                "string" if schema["format"] == "date-time" => Some(json!("2026-11-22T08:00:00Z")),
                _ => None,
            },
            _ => None,
        }
    }

    /// Every member that is always there, and those that have an example of their own.
    fn object(&self, schema: &Value) -> Option<Value> {
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let mut object = Map::new();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let always = required.iter().any(|required| required == name);
            let shown = member.get("example").is_some() || member.get("examples").is_some();
            if always || shown {
                object.insert(name.clone(), self.example(member)?);
            }
        }
        Some(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Examples {
        let schemas = json!({ "Name": { "type": "string", "examples": ["orders"] } });
        Examples { schemas: schemas.as_object().unwrap().clone() }
    }

    #[test]
    fn a_whole_is_made_of_its_parts() {
        let schema = json!({
            "type": "object",
            "required": ["name", "at", "on", "kinds", "owner"],
            "properties": {
                "name": { "$ref": "#/components/schemas/Name" },
                "at": { "type": "string", "format": "date-time" },
                "on": { "type": "boolean" },
                "kinds": { "type": "array", "items": { "type": "string", "enum": ["job", "agent"] } },
                "owner": { "type": ["string", "null"] },
                "depth": { "type": "integer", "example": 3 },
                "left_out": { "type": "string" },
            },
        });
        let whole = json!({
            "name": "orders", "at": "2026-11-22T08:00:00Z", "on": true, "kinds": ["job"], "owner": null, "depth": 3,
        });
        assert_eq!(examples().of(&schema), Some(whole));
    }

    #[test]
    fn what_lacks_a_part_is_no_example() {
        let schema =
            json!({ "type": "object", "required": ["x"], "properties": { "x": { "type": "string" } } });
        assert_eq!(examples().of(&schema), None);
    }
}
