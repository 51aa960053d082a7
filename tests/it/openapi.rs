//! `openapi.yaml` is what the code says.

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
