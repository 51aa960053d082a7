//! The layers of DESIGN §8, read off the `use` lines: no upward edge, no cycle, no foreign crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and what it may use of this crate. Nothing else is allowed.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &["app", "http", "admin", "oauth", "runtime", "storage", "domain", "jose", "config", "telemetry"],
    ),
    ("app", &["http", "oauth", "admin", "runtime", "storage", "domain", "jose", "config", "telemetry"]),
    ("http", &["oauth", "admin", "runtime", "storage", "domain", "jose", "config", "telemetry"]),
    ("oauth", &["runtime", "storage", "domain", "jose"]),
    // What the protocol would say of a token, `explain` asks it.
    ("admin", &["oauth", "runtime", "storage", "domain", "jose"]),
    ("runtime", &["storage", "domain", "jose", "config"]),
    ("storage", &["domain", "jose"]),
    ("domain", &["jose"]),
    ("telemetry", &["config", "runtime", "domain"]),
    ("jose", &[]),
    // Whether a setting makes sense, pure rules say.
    ("config", &["domain", "jose"]),
];

/// Crates that only these layers may use.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "app"]),
    ("askama", &["http"]),
    ("prometheus_client", &["http"]),
    ("utoipa_axum", &["http"]),
    // `http::` alone is often our own layer; its imports are not.
    ("tower_service", &["http"]),
    ("futures_util", &["http", "storage"]),
    ("use http", &["http", "cli", "runtime", "telemetry"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("rustix", &["app", "runtime"]),
    ("sqlx", &["storage"]),
    ("reqwest", &["cli", "runtime"]),
    ("openidconnect", &["runtime"]),
    ("tokio", &["cli", "app", "http", "admin", "runtime", "storage", "telemetry"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("moka", &["runtime"]),
    ("governor", &["runtime"]),
    ("arc_swap", &["runtime"]),
    ("cryptoki", &["runtime"]),
    ("qrcode", &["domain"]),
    ("totp_rs", &["domain"]),
    ("zxcvbn", &["domain"]),
    ("argon2", &["runtime"]),
    ("rustls", &["runtime", "http"]),
    ("tokio_rustls", &["http"]),
    ("x509_parser", &["domain"]),
    ("rand", &["runtime"]),
    ("jsonwebtoken", &["jose"]),
];

struct Source {
    path: PathBuf,
    layer: String,
    /// The module inside the layer: the file's or its directory's name; empty for the layer's own face.
    module: String,
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(&root, path));
            }
        }
    }
    found
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    // What stands after the first test module, and comments, is not the layer's code.
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let relative = path.strip_prefix(root).unwrap();
    let parts: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    let module = parts.get(1).filter(|part| *part != "mod").cloned().unwrap_or_default();
    let code = lines.iter().filter(|line| !line.trim().is_empty()).count();
    Source { layer: parts[0].clone(), module, code: lines.join("\n"), lines: code, path }
}

fn allowed(layer: &str) -> &'static [&'static str] {
    LAYERS.iter().find(|(name, _)| *name == layer).unwrap_or_else(|| panic!("{layer} is not a layer")).1
}

/// The names that follow `prefix` in the code, a brace list taken apart: for `crate::` both `crate::a::b`
/// and `crate::{a::b, c}` name `a`, the latter `c` too.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // Part of a longer name, of another path, or the beginning of a text.
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_:\"".contains(c)) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let first = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        match rest.strip_prefix('{') {
            None => drop(names.insert(first(rest))),
            Some(list) => {
                let mut depth = 0_i32;
                let mut part = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => drop(names.insert(first(&std::mem::take(&mut part)))),
                        _ => {}
                    }
                    if c != ',' || depth > 0 {
                        part.push(c);
                    }
                }
                names.insert(first(&part));
            }
        }
    }
    names.remove("");
    names
}

#[test]
fn no_layer_uses_one_above_it() {
    let all: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let mut edges = 0;
    for source in sources().iter().filter(|source| source.layer != "lib") {
        let mut used = named_after(&source.code, "crate::");
        used.extend(named_after(&source.code, "jeton::"));
        for used in used.iter().filter(|used| all.contains(used.as_str())) {
            edges += 1;
            assert!(
                *used == source.layer || allowed(&source.layer).contains(&used.as_str()),
                "{}: {} must not use {used}",
                source.path.display(),
                source.layer
            );
        }
    }
    assert!(edges > 100, "the test reads the code: {edges} edges");
}

#[test]
fn no_layer_uses_a_crate_of_another() {
    let mut uses = 0;
    for source in sources() {
        for (name, layers) in CRATES {
            let of_crate = named_after(&source.code, &format!("{name}::"));
            if of_crate.is_empty() {
                continue;
            }
            uses += 1;
            assert!(
                layers.contains(&source.layer.as_str()),
                "{}: must not use {name}",
                source.path.display()
            );
        }
    }
    assert!(uses > 20, "the test reads the code: {uses} uses");
}

#[test]
fn no_modules_of_a_layer_use_each_other_in_a_circle() {
    let sources = sources();
    let modules: BTreeSet<(String, String)> =
        sources.iter().map(|source| (source.layer.clone(), source.module.clone())).collect();
    let mut graph: BTreeMap<(String, String), BTreeSet<(String, String)>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.module.is_empty()) {
        let from = (source.layer.clone(), source.module.clone());
        let mut used = named_after(&source.code, "super::");
        used.extend(named_after(&source.code, "super::super::"));
        used.extend(named_after(&source.code, &format!("crate::{}::", source.layer)));
        let to = used.into_iter().map(|module| (source.layer.clone(), module));
        graph.entry(from.clone()).or_default().extend(to.filter(|to| *to != from && modules.contains(to)));
    }
    let mut edges = 0;
    for start in graph.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<_> = graph[start].iter().collect();
        while let Some(module) = next.pop() {
            edges += 1;
            assert_ne!(module, start, "{start:?} uses itself through others");
            if reached.insert(module) {
                next.extend(graph.get(module).into_iter().flatten());
            }
        }
    }
    assert!(edges > 50, "the test reads the code: {edges} edges");
}

#[test]
fn files_stay_livable() {
    for source in sources() {
        assert!(source.lines <= 400, "{} has {} lines of code", source.path.display(), source.lines);
        let drawers = ["utils", "util", "helpers", "common", "misc"];
        assert!(!drawers.contains(&source.module.as_str()), "{}", source.path.display());
    }
}

#[test]
fn the_reader_of_use_lines_reads() {
    let code = "use crate::{a::b, c};\nlet x = crate::d::e();\nuse other::crate_::f;\nuse crate::g::{h, i};";
    let names: Vec<_> = named_after(code, "crate::").into_iter().collect();
    assert_eq!(names, ["a", "c", "d", "g"]);
}
