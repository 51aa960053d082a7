//! `docs/threat-model.md` names tests, files and paths. What it names is there.

use std::fs;
use std::path::Path;

const PAGE: &str = "docs/threat-model.md";

/// The words and the target of every Markdown link of a text.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (before, after) in text.match_indices("](").map(|(at, _)| (&text[..at], &text[at + 2..])) {
        let (Some(begin), Some(end)) = (before.rfind('['), after.find(')')) else { continue };
        found.push((&before[begin + 1..], &after[..end]));
    }
    found
}

/// Whether a source defines a function of this name: `fn` in Rust, `def` in Python.
fn defines(source: &str, name: &str) -> bool {
    source.contains(&format!("fn {name}(")) || source.contains(&format!("def {name}("))
}

#[test]
fn every_test_and_file_that_it_names_is_there() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (mut missing, mut tests) = (Vec::new(), 0);
    for (words, target) in links(&page) {
        let file = target.split('#').next().unwrap_or_default();
        if file.is_empty() || file.contains("://") {
            continue;
        }
        let Ok(source) = fs::read_to_string(Path::new("docs").join(file)) else {
            missing.push(format!("the file {file}"));
            continue;
        };
        if !file.starts_with("../tests/") && !file.starts_with("../src/") {
            continue;
        }
        tests += 1;
        let name = words.trim_matches('`');
        if !defines(&source, name) {
            missing.push(format!("{name} in {file}"));
        }
    }
    assert!(missing.is_empty(), "{PAGE} names what is not there: {missing:#?}");
    // A reader that finds nothing would find nothing missing.
    assert!(tests > 150, "{tests}");
}

#[test]
fn it_speaks_of_every_public_path() {
    let page = fs::read_to_string(PAGE).unwrap();
    let openapi = fs::read_to_string("openapi.yaml").unwrap();
    let paths: Vec<&str> =
        openapi.lines().filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':')).collect();
    assert!(paths.contains(&"oauth2/token"), "{paths:?}");
    for path in paths.into_iter().filter(|path| !path.starts_with("api/v1/")) {
        assert!(page.contains(&format!("/{path}`")), "{PAGE} says nothing of /{path}");
    }
}

#[test]
fn its_settings_are_in_the_configuration() {
    let page = fs::read_to_string(PAGE).unwrap();
    let configuration = fs::read_to_string("docs/configuration.md").unwrap();
    let sections: Vec<&str> = configuration
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('.')?.0))
        .filter(|section| section.chars().all(|letter| letter.is_ascii_lowercase()))
        .collect();
    let mut settings = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let name = word.split(' ').next().unwrap_or_default();
        let is_setting = name.split_once('.').is_some_and(|(section, key)| {
            sections.contains(&section)
                && key != "rs"
                && key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        });
        if is_setting {
            settings += 1;
            assert!(configuration.contains(&format!("`{name}`")), "{PAGE} names the setting {name}");
        }
    }
    assert!(settings > 20, "{settings}");
}
