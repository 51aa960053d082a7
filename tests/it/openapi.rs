//! `openapi.yaml` is what the code says.

use serde_json::Value;

use jeton::http::openapi;

#[test]
fn the_committed_description_is_the_generated_one() {
    let committed = include_str!("../../openapi.yaml");
    let generated = openapi().to_yaml().unwrap();
    assert!(committed == generated, "openapi.yaml is out of date: cargo run -- openapi > openapi.yaml");
}

#[test]
fn every_operation_has_an_identifier_a_tag_and_words() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            for member in ["operationId", "summary", "tags", "responses"] {
                assert!(!operation[member].is_null(), "{method} {path} has no {member}");
            }
        }
    }
    assert!(operations >= 25, "{operations}");
}

/// Every request and every answer that has a body shows one.
#[test]
fn every_operation_has_examples_of_its_request_and_its_answers() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut missing = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let bodies = answers.iter().map(|(status, answer)| (status.as_str(), answer));
            for (what, body) in bodies.chain([("request", &operation["requestBody"])]) {
                for (media_type, content) in body["content"].as_object().into_iter().flatten() {
                    if content["example"].is_null() {
                        missing.push(format!("{method} {path}: {what} {media_type}"));
                    }
                }
            }
            // What any operation of the API can answer, and those with a body as well.
            let mut wanted = vec!["500"];
            if path.starts_with("/api/v1") {
                wanted.extend(["400", "401", "403", "503"]);
                if !operation["requestBody"].is_null() {
                    wanted.extend(["413", "415", "422"]);
                }
            }
            let unsaid = wanted.iter().filter(|status| !answers.contains_key(**status));
            missing.extend(unsaid.map(|status| format!("{method} {path}: the status {status}")));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// "Which." beside a member says no more than its name.
#[test]
fn no_description_is_one_word() {
    fn look(value: &Value, place: &str, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| look(item, place, found)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(text) if name == "description" && text.split_whitespace().count() < 2 => {
                            found.push(format!("{place}: {text}"));
                        }
                        _ if name.starts_with("example") => {}
                        _ => look(member, &format!("{place}/{name}"), found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    look(&serde_json::to_value(openapi()).unwrap(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}
