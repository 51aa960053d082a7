//! A JSON body, read strictly. What is wrong is named field by field, as much of it as can be told at once.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::error::Problem;
use crate::admin::object::Object;
use crate::domain::error::FieldError;
use crate::domain::text::quoted;

/// The most wrong fields that are told at once: each costs another reading of the body.
const MOST_ERRORS: usize = 20;

/// Where the form of a field stands.
const FORMS: &str = "openapi.yaml has the form of every field; `jeton openapi` prints it";

/// Reads a body.
pub(super) fn read<T: DeserializeOwned + ToSchema>(text: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let first = match serde_path_to_error::deserialize(Object(&mut json)) {
        Ok(value) => {
            json.end()
                .map_err(|error| Problem::malformed(format!("the body is not one JSON value: {error}")))?;
            return Ok(value);
        }
        Err(first) => first,
    };
    let value = serde_json::from_slice::<Value>(text)
        .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
    let mut errors = wrong_fields::<T>(value);
    if errors.is_empty() {
        // A member that stands twice: as a value it has gone.
        let (path, _) = place(first.path(), &BTreeMap::new());
        errors.push(wrong_value(path, &first.into_inner().to_string()));
    }
    Err(Problem::invalid(errors))
}

/// Reads what is JSON already; an error names the member.
pub(crate) fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Object(value)).map_err(|error| {
        let (path, _) = place(error.path(), &BTreeMap::new());
        wrong_value(path, &error.into_inner().to_string())
    })
}

/// Every field that is wrong or missing. What was found wrong is taken out and the rest is read again, because
/// reading ends at the first error.
fn wrong_fields<T: DeserializeOwned + ToSchema>(mut value: Value) -> Vec<FieldError> {
    let given: Option<Vec<String>> = value.as_object().map(|object| object.keys().cloned().collect());
    let mut errors = Vec::new();
    let mut taken_out = BTreeMap::new();
    while errors.len() < MOST_ERRORS {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(Object(&value)) else { return errors };
        let words = error.inner().to_string();
        let (path, top) = place(error.path(), &taken_out);
        match (top, &given) {
            // The top level itself, which reads its fields before it looks for those that are missing. One that
            // was taken out is missing now, and would hide the others.
            (None, Some(given)) => {
                let missing = required::<T>().into_iter().filter(|name| !given.contains(name));
                errors.extend(missing.map(|name| FieldError::new(name, "it is missing", FORMS)));
                if errors.is_empty() {
                    errors.push(wrong_value(path, &words));
                }
                return errors;
            }
            (None, None) => {
                errors.push(wrong_value(path, &words));
                return errors;
            }
            (Some(top), _) => {
                errors.push(wrong_value(path, &words));
                take_out(&mut value, top, &mut taken_out);
            }
        }
    }
    errors
}

/// A field of the top level, and the place in its list, where the error is in one.
type Top = (String, Option<usize>);

/// Where an error is, as people write it, and what to take out to see the others. Places in a list count those
/// that were taken out of it before.
fn place(path: &Path, taken_out: &BTreeMap<String, usize>) -> (String, Option<Top>) {
    let mut segments = path.iter();
    let Some(Segment::Map { key }) = segments.next() else { return ("body".to_owned(), None) };
    let index = match path.iter().nth(1) {
        Some(Segment::Seq { index }) => Some(*index),
        _ => None,
    };
    let before = taken_out.get(key).copied().unwrap_or(0);
    let rest = segments.enumerate().map(|(depth, segment)| match segment {
        Segment::Seq { index } => format!("[{}]", index + if depth == 0 { before } else { 0 }),
        Segment::Map { key } => format!(".{key}"),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    });
    let text: String = std::iter::once(key.clone()).chain(rest).collect();
    (quoted(&text), Some((key.clone(), index)))
}

fn take_out(value: &mut Value, (key, index): Top, taken_out: &mut BTreeMap<String, usize>) {
    match (value.get_mut(&key).and_then(Value::as_array_mut), index) {
        (Some(list), Some(index)) if index < list.len() => {
            list.remove(index);
            *taken_out.entry(key).or_default() += 1;
        }
        _ => {
            if let Some(object) = value.as_object_mut() {
                object.shift_remove(&key);
            }
        }
    }
}

/// The fields that must be there, as the description of the form says.
fn required<T: ToSchema>() -> Vec<String> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.required,
        _ => Vec::new(),
    }
}

/// serde's words for a value of the wrong form, without the value: it could be a secret. Our own types'
/// words ("name: problem; fix") name the way out themselves.
fn wrong_value(field: String, words: &str) -> FieldError {
    // The place in the text helps nobody.
    let words = words.rsplit_once(" at line ").map_or(words, |(words, _)| words);
    if let Some(name) = words.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return FieldError::new(format!("{field}.{name}"), "it is missing", FORMS);
    }
    if let Some((found, expected)) = words.rsplit_once(", expected ")
        && found.starts_with("invalid ")
    {
        let kind = found.split(['`', '"']).next().unwrap_or(found).trim_end();
        return FieldError::new(field, format!("{kind}, expected {}", in_words(expected)), FORMS);
    }
    match words.split_once("; ") {
        Some((problem, fix)) => {
            let problem = problem.split_once(": ").map_or(problem, |(_, problem)| problem);
            FieldError::new(field, quoted(problem), fix.to_owned())
        }
        None => FieldError::new(field, quoted(words), FORMS),
    }
}

/// What Rust's words for a type mean to whoever writes JSON.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u32" => "a whole number from 0 to 4294967295",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::client::ClientKind;
    use crate::domain::ids::RoleName;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form counts")]
    struct Form {
        #[schema(value_type = String)]
        name: RoleName,
        kind: ClientKind,
        depth: u8,
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        roles: Vec<RoleName>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        on: bool,
    }

    /// The wrong fields and what is wrong with each.
    fn wrong(text: &str) -> Vec<(String, String)> {
        let problem = serde_json::to_value(read::<Form>(text.as_bytes()).unwrap_err()).unwrap();
        assert_eq!(problem["status"], 422, "{problem}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| (text(&error["field"]), text(&error["problem"]))).collect()
    }

    fn fields(text: &str) -> Vec<String> {
        wrong(text).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn every_kind_of_field_is_named_when_it_has_another_type() {
        let good = r#"{"name":"a","kind":"job","depth":1,"roles":[],"labels":{},"on":true}"#;
        assert!(read::<Form>(good.as_bytes()).is_ok());
        let good: Value = serde_json::from_str(good).unwrap();
        for member in good.as_object().unwrap().keys() {
            for other in ["null", "7.5", "[[]]", r#"{"a":{}}"#, "-1", "true", r#""""#, "1e400"] {
                // What happens to be of the right type.
                if matches!((&**member, other), ("on", "true")) {
                    continue;
                }
                let mut rest = good.clone();
                rest.as_object_mut().unwrap().shift_remove(member);
                let rest = rest.to_string();
                let text = format!("{{\"{member}\":{other},{}", &rest[1..]);
                if other == "1e400" {
                    // No number that JSON readers agree on, so it is no JSON.
                    assert!(read::<Form>(text.as_bytes()).is_err(), "{text}");
                    continue;
                }
                let [(field, problem)]: [_; 1] = wrong(&text).try_into().unwrap();
                assert!(field.starts_with(&**member), "{text}: {field}");
                assert!(problem.contains("expected") || problem.contains("allowed"), "{text}: {problem}");
            }
        }
    }

    #[test]
    fn what_to_write_is_said() {
        let problem = |text: &str| wrong(text)[0].1.clone();
        let words = "expected one of `service`, `machine`, `job`, `agent`";
        assert_eq!(problem(r#"{"kind":null}"#), format!("invalid type: null, {words}"));
        assert_eq!(problem(r#"{"kind":"robot"}"#), format!("unknown variant `robot`, {words}"));
        assert_eq!(
            problem(r#"{"depth":300}"#),
            "invalid value: integer, expected a whole number from 0 to 255"
        );
        assert_eq!(problem(r#"{"on":"yes"}"#), "invalid type: string, expected true or false");
        assert_eq!(problem("7"), "invalid type: integer, expected an object");
        // What serde takes for a struct, too: its members' values in a list.
        assert_eq!(problem("[]"), "invalid type: sequence, expected an object");
        assert_eq!(problem(r#"["a","job",1,[],{},true]"#), "invalid type: sequence, expected an object");
        assert!(problem(r#"{"colour":1}"#).starts_with("unknown field `colour`, expected one of `name`"));
        let twice = r#"{"name":"a","name":"b","kind":"job","depth":1}"#;
        assert_eq!(problem(twice), "duplicate field `name`");
    }

    #[test]
    fn all_wrong_fields_are_told_at_once() {
        let text = r#"{"name":null,"kind":"robot","roles":["ok"," ","b","c d"],"colour":1,"labels":{"a":1}}"#;
        assert_eq!(fields(text), ["name", "kind", "roles[1]", "roles[3]", "colour", "labels.a", "depth"]);
        assert_eq!(fields("{}"), ["name", "kind", "depth"]);
        assert_eq!(fields(r#"{"depth":1,"kind":null}"#), ["kind", "name"]);
        let many = (0..100).map(|n| format!("\"x{n}\":1")).collect::<Vec<_>>().join(",");
        assert_eq!(fields(&format!("{{{many}}}")).len(), MOST_ERRORS);
    }

    #[test]
    fn a_value_is_not_repeated_where_it_could_be_a_secret() {
        for (_, problem) in wrong(r#"{"name":1,"kind":1,"depth":"sesame","on":"sesame, expected ;"}"#) {
            assert!(!problem.contains("sesame"), "{problem}");
        }
    }
}
