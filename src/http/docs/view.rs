//! The OpenAPI description, sorted for a page that people read.

use askama::Template;
use serde_json::{Map, Value};

/// What OAuth's requests are.
const FORM: &str = "application/x-www-form-urlencoded";

/// The page.
#[derive(Template)]
#[template(path = "docs.html")]
pub(super) struct Page<'a> {
    title: &'a str,
    version: &'a str,
    description: &'a str,
    server: &'a str,
    tags: Vec<Tag<'a>>,
    schemas: Vec<Schema<'a>>,
}

/// Operations on one sort of thing.
struct Tag<'a> {
    name: &'a str,
    anchor: String,
    description: &'a str,
    operations: Vec<Operation<'a>>,
}

struct Operation<'a> {
    anchor: String,
    method: String,
    path: &'a str,
    summary: Vec<Piece<'a>>,
    description: Vec<Piece<'a>>,
    needs: Needs<'a>,
    parameters: Vec<Field<'a>>,
    request: Option<Body<'a>>,
    answers: Vec<Answer<'a>>,
}

/// How a caller proves itself.
enum Needs<'a> {
    Nothing,
    Client,
    Permission(&'a str),
}

struct Body<'a> {
    media_type: &'a str,
    kind: Kind<'a>,
    example: Option<String>,
}

struct Answer<'a> {
    status: &'a str,
    description: Vec<Piece<'a>>,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<Body<'a>>,
}

struct Schema<'a> {
    name: &'a str,
    description: Vec<Piece<'a>>,
    kind: Kind<'a>,
    limits: Vec<String>,
    fields: Vec<Field<'a>>,
}

/// A member of an object, or a parameter.
struct Field<'a> {
    name: &'a str,
    place: &'a str,
    required: bool,
    kind: Kind<'a>,
    limits: Vec<String>,
    description: Vec<Piece<'a>>,
}

/// A type in words, with the schemas that it refers to.
struct Kind<'a>(Vec<Word<'a>>);

enum Word<'a> {
    Text(&'a str),
    Schema(&'a str),
}

/// A part of a text: as it is, or as code between backticks.
struct Piece<'a> {
    code: bool,
    text: &'a str,
}

// === impl Page ===

impl<'a> Page<'a> {
    pub(super) fn new(openapi: &'a Value) -> Self {
        let operations: Vec<(&str, &str, &Value)> = members(&openapi["paths"])
            .flat_map(|(path, item)| members(item).map(move |(method, operation)| (path, method, operation)))
            .filter(|(_, _, operation)| operation["operationId"].is_string())
            .collect();
        let tags = list(&openapi["tags"]).iter().map(|tag| {
            let name = text(&tag["name"]);
            let of_tag = operations.iter().filter(|(_, _, operation)| operation["tags"][0] == tag["name"]);
            Tag {
                name,
                anchor: format!("tag-{}", name.to_lowercase().replace(' ', "-")),
                description: text(&tag["description"]),
                operations: of_tag
                    .map(|(path, method, operation)| Operation::new(path, method, operation))
                    .collect(),
            }
        });
        Self {
            title: text(&openapi["info"]["title"]),
            version: text(&openapi["info"]["version"]),
            description: text(&openapi["info"]["description"]),
            server: text(&openapi["servers"][0]["url"]),
            tags: tags.collect(),
            schemas: members(&openapi["components"]["schemas"])
                .map(|(name, schema)| Schema::new(name, schema))
                .collect(),
        }
    }
}

// === impl Operation ===

impl<'a> Operation<'a> {
    fn new(path: &'a str, method: &str, operation: &'a Value) -> Self {
        let needs = match &operation["security"][0] {
            Value::Object(way) if way.contains_key("token") => Needs::Permission(text(&way["token"][0])),
            Value::Object(_) => Needs::Client,
            _ => Needs::Nothing,
        };
        let parameters = list(&operation["parameters"]).iter().map(|parameter| Field {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            required: parameter["required"] == true,
            kind: Kind::new(&parameter["schema"]),
            limits: limits(&parameter["schema"]),
            description: pieces(text(&parameter["description"])),
        });
        let answers = members(&operation["responses"]).map(|(status, answer)| Answer {
            status,
            description: pieces(text(&answer["description"])),
            headers: members(&answer["headers"])
                .map(|(name, header)| (name, text(&header["description"])))
                .collect(),
            body: Body::new(answer),
        });
        Self {
            anchor: text(&operation["operationId"]).to_owned(),
            method: method.to_uppercase(),
            path,
            summary: pieces(text(&operation["summary"])),
            description: pieces(text(&operation["description"])),
            needs,
            parameters: parameters.collect(),
            request: Body::new(&operation["requestBody"]),
            answers: answers.collect(),
        }
    }
}

// === impl Body ===

impl<'a> Body<'a> {
    fn new(holder: &'a Value) -> Option<Self> {
        let (media_type, content) = members(&holder["content"]).next()?;
        let example = content.get("example").and_then(|example| match example.as_object() {
            Some(form) if media_type == FORM => Some(form_text(form)),
            _ => serde_json::to_string_pretty(example).ok(),
        });
        Some(Self { media_type, kind: Kind::new(&content["schema"]), example })
    }
}

/// A form as it is sent (RFC 6749 Appendix B).
fn form_text(form: &Map<String, Value>) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        // One that may be repeated is there once.
        text.append_pair(name, value.as_str().or_else(|| value[0].as_str()).unwrap_or_default());
    }
    text.finish()
}

// === impl Schema ===

impl<'a> Schema<'a> {
    fn new(name: &'a str, schema: &'a Value) -> Self {
        // What is flattened into one stands as the parts of it.
        let parts = list(&schema["allOf"]).iter().filter(|part| part["properties"].is_object());
        let whole = std::iter::once(schema).chain(parts);
        Self {
            name,
            description: pieces(text(&schema["description"])),
            kind: Kind::new(schema),
            limits: limits(schema),
            fields: whole.flat_map(fields).collect(),
        }
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = Field<'_>> {
    members(&schema["properties"]).map(|(name, member)| Field {
        name,
        place: "",
        required: list(&schema["required"]).iter().any(|required| required == name),
        kind: Kind::new(member),
        limits: limits(member),
        description: pieces(described(member)),
    })
}

/// The words about a member, which stand beside a reference where there is one.
fn described(member: &Value) -> &str {
    let choices = list(&member["oneOf"]).iter().map(|choice| &choice["description"]);
    std::iter::once(&member["description"]).chain(choices).find_map(Value::as_str).unwrap_or_default()
}

// === impl Kind ===

impl<'a> Kind<'a> {
    fn new(schema: &'a Value) -> Self {
        let mut words = Vec::new();
        say(schema, &mut words);
        Self(words)
    }
}

fn say<'a>(schema: &'a Value, words: &mut Vec<Word<'a>>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        words.push(Word::Schema(name));
        return;
    }
    for (member, between) in [("oneOf", " or "), ("allOf", " with ")] {
        for (index, choice) in list(&schema[member]).iter().enumerate() {
            if index > 0 {
                words.push(Word::Text(between));
            }
            say(choice, words);
        }
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.as_slice(),
        one @ Value::String(_) => std::slice::from_ref(one),
        _ => &[],
    };
    for (index, kind) in types.iter().enumerate() {
        if index > 0 {
            words.push(Word::Text(" or "));
        }
        match (text(kind), text(&schema["format"])) {
            ("array", _) => {
                words.push(Word::Text("list of "));
                say(&schema["items"], words);
            }
            ("string", "date-time") => words.push(Word::Text("time (RFC 3339)")),
            (kind, _) => words.push(Word::Text(kind)),
        }
    }
}

/// The limits of a value, in words.
fn limits(schema: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    let number = |member: &str| schema[member].as_u64();
    let mut between = |least: Option<u64>, most: Option<u64>, what: &str| match (least, most) {
        (Some(least), Some(most)) => limits.push(format!("{least} to {most}{what}")),
        (Some(least), None) if least > 0 => limits.push(format!("at least {least}{what}")),
        (None, Some(most)) => limits.push(format!("at most {most}{what}")),
        _ => {}
    };
    between(number("minLength"), number("maxLength"), " characters");
    between(number("minItems"), number("maxItems"), " entries");
    between(number("minProperties"), number("maxProperties"), " members");
    between(number("minimum"), number("maximum"), "");
    let words: Vec<&str> = list(&schema["enum"]).iter().filter_map(Value::as_str).collect();
    if !words.is_empty() {
        limits.push(format!("one of {}", words.join(", ")));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        limits.push(format!("pattern {pattern}"));
    }
    if schema["additionalProperties"] == false {
        limits.push("no other members".to_owned());
    }
    limits
}

// --- Reading the description ---

/// A text; none is empty.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list; none is empty.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of an object; none has none.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let parts = text.split('`').enumerate().map(|(index, text)| Piece { code: index % 2 == 1, text });
    parts.filter(|piece| !piece.text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(schema: &Value) -> String {
        let words = Kind::new(schema).0.into_iter().map(|word| match word {
            Word::Text(text) => text.to_owned(),
            Word::Schema(name) => format!("<{name}>"),
        });
        words.collect()
    }

    #[test]
    fn a_type_is_said_in_words() {
        assert_eq!(words(&json!({ "type": ["string", "null"] })), "string or null");
        assert_eq!(words(&json!({ "type": "string", "format": "date-time" })), "time (RFC 3339)");
        let list = json!({ "type": "array", "items": { "$ref": "#/components/schemas/RoleName" } });
        assert_eq!(words(&list), "list of <RoleName>");
        let either = json!({ "oneOf": [{ "$ref": "#/components/schemas/ClientId" }, { "type": "null" }] });
        assert_eq!(words(&either), "<ClientId> or null");
    }

    #[test]
    fn limits_are_said_in_words() {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a$" });
        assert_eq!(limits(&schema), ["1 to 9 characters", "pattern ^a$"]);
        assert_eq!(limits(&json!({ "enum": ["a", "b"], "minimum": 0 })), ["one of a, b"]);
    }

    #[test]
    fn a_form_is_shown_as_it_is_sent() {
        let form = json!({ "grant_type": "client_credentials", "resource": ["https://a.example"] });
        let text = form_text(form.as_object().unwrap());
        assert_eq!(text, "grant_type=client_credentials&resource=https%3A%2F%2Fa.example");
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        let pieces: Vec<_> = pieces("see `jti`.").into_iter().map(|piece| (piece.code, piece.text)).collect();
        assert_eq!(pieces, [(false, "see "), (true, "jti"), (false, ".")]);
    }
}
