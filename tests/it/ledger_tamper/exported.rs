//! The same for an exported file, which is checked where the database is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use uuid::Uuid;

use super::{Expected, Scene, expect_findings};
use crate::harness::{Database, jeton, run};

/// A line of the file: whose event it is, and its place; none of a checkpoint.
struct Line {
    text: String,
    event: Option<(Uuid, u64)>,
}

/// Verifies a file where there is no database.
struct Elsewhere {
    directory: tempfile::TempDir,
    keys: PathBuf,
}

impl Elsewhere {
    fn new(keys: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.json");
        fs::write(&file, keys).unwrap();
        Self { directory, keys: file }
    }

    fn verify(&self, lines: &[&str]) -> Output {
        self.verify_text(lines.join("\n"))
    }

    fn verify_text(&self, text: impl AsRef<[u8]>) -> Output {
        let file = self.directory.path().join("events.jsonl");
        fs::write(&file, text).unwrap();
        self.command(&file, &self.keys)
    }

    fn command(&self, file: &Path, keys: &Path) -> Output {
        let nothing = self.directory.path().join("nothing");
        let output = Command::new(env!("CARGO_BIN_EXE_jeton"))
            .env_clear()
            .env("JETON_DATA_DIR", &nothing)
            .current_dir(self.directory.path())
            .args(["audit", "verify", "--json", "--file"])
            .arg(file)
            .arg("--keys")
            .arg(keys)
            .output()
            .unwrap();
        assert!(!nothing.exists(), "no database is touched");
        output
    }

    fn expect(&self, what: &str, lines: &[&str], expected: &Expected) {
        expect_findings(what, &self.verify(lines), expected);
    }

    /// Asserts that a file is refused for what it is, which is no tampering.
    fn expect_error(&self, what: &str, text: impl AsRef<[u8]>, words: &str) {
        let output = self.verify_text(text);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {told}");
        assert!(output.stdout.is_empty() && told.contains(words), "{what}: {told}");
        assert!(told.contains("events.jsonl"), "{what}: which file: {told}");
    }
}

fn parse(text: &str) -> Line {
    let line: Value = serde_json::from_str(text).unwrap();
    let event =
        line["writer"].as_str().map(|writer| (writer.parse().unwrap(), line["seq"].as_u64().unwrap()));
    Line { text: text.to_owned(), event }
}

/// A text with the character at this place replaced by another one.
fn changed(text: &str, at: usize) -> String {
    let other = if &text[at..=at] == "x" { "y" } else { "x" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

pub(super) async fn what_is_done_to_an_exported_file_is_named(scene: &Scene) {
    let exported = String::from_utf8(run(&scene.database, &["audit", "export"]).stdout).unwrap();
    let keys = String::from_utf8(run(&scene.database, &["audit", "keys"]).stdout).unwrap();
    let elsewhere = Elsewhere::new(&keys);
    let lines: Vec<Line> = exported.lines().map(parse).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let events = lines.iter().filter(|line| line.event.is_some()).count();
    assert_eq!(events, scene.chains.iter().flatten().count(), "everything is exported");
    let output = elsewhere.verify(&texts);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report, jeton(&scene.database, &["audit", "verify"]), "the same as of the database");

    a_changed_character_is_named(&elsewhere, &lines, &texts);
    missing_and_moved_lines_are_named(scene, &elsewhere, &lines, &texts);
    other_keys_are_not_trusted(scene, &elsewhere, &texts).await;
    what_is_no_export_is_refused(&elsewhere, &exported);
}

fn a_changed_character_is_named(elsewhere: &Elsewhere, lines: &[Line], texts: &[&str]) {
    for (place, line) in lines.iter().enumerate() {
        let Some((writer, seq)) = line.event else { continue };
        let at = line.text.find("\"kind\":\"").unwrap() + "\"kind\":\"".len();
        let text = changed(&line.text, at);
        let mut all = texts.to_vec();
        all[place] = &text;
        let what = format!("line {}", place + 1);
        elsewhere.expect(&what, &all, &vec![(writer, seq, "altered: it does not have its hash".to_owned())]);
    }
    // What stands around the event is as good as the event.
    let place = lines.iter().position(|line| line.text.contains("\"token_issued\"")).unwrap();
    let (writer, seq) = lines[place].event.unwrap();
    for member in ["writer", "seq", "at", "prev", "hash"] {
        let start = lines[place].text.find(&format!("\"{member}\":")).unwrap() + member.len() + 3;
        let digit = |at: &usize| lines[place].text.as_bytes()[*at].is_ascii_digit();
        let at = (start..lines[place].text.len()).find(digit).unwrap();
        let digit = if &lines[place].text[at..=at] == "1" { "2" } else { "1" };
        let text = format!("{}{digit}{}", &lines[place].text[..at], &lines[place].text[at + 1..]);
        let mut all = texts.to_vec();
        all[place] = &text;
        let output = elsewhere.verify(&all);
        assert_eq!(output.status.code(), Some(1), "{member}: not noticed in {text}");
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(found.contains(&format!("chain {writer}, event {seq}:")), "{member}: {found}");
    }
}

fn missing_and_moved_lines_are_named(scene: &Scene, elsewhere: &Elsewhere, lines: &[Line], texts: &[&str]) {
    let row = scene.token(super::STOPPED);
    let place = lines.iter().position(|line| line.event == Some((row.writer, row.seq))).unwrap();
    let mut all = texts.to_vec();
    all.remove(place);
    let missing = (row.writer, row.seq, format!("missing, up to event {}", row.seq));
    elsewhere.expect("a line removed", &all, &vec![missing.clone()]);

    let next = lines.iter().position(|line| line.event == Some((row.writer, row.seq + 1))).unwrap();
    let mut all = texts.to_vec();
    all.swap(place, next);
    let moved = (row.writer, row.seq, "reordered: it stands after a later one".to_owned());
    elsewhere.expect("two lines exchanged", &all, &vec![missing, moved]);

    let mut all = texts.to_vec();
    all.insert(place, texts[place]);
    let twice = (row.writer, row.seq, "reordered: it stands after a later one, or twice".to_owned());
    elsewhere.expect("a line twice", &all, &vec![twice]);

    let checkpoint = |writer: Uuid| {
        let last = scene.chains.iter().find(|chain| chain[0].writer == writer).unwrap().last().unwrap();
        (writer, last.seq, "the chain ended here in order, but its signature is missing".to_owned())
    };
    let without: Vec<&str> = texts.iter().filter(|text| !text.contains("\"checkpoint\"")).copied().collect();
    let closed = scene.chains.iter().enumerate().filter(|(place, _)| *place != super::KILLED);
    let expected = closed.map(|(_, chain)| checkpoint(chain[0].writer)).collect();
    elsewhere.expect("no checkpoints", &without, &expected);
    let others = lines.iter().filter(|line| line.event.is_none_or(|(writer, _)| writer != row.writer));
    let cut: Vec<&str> = others.map(|line| line.text.as_str()).collect();
    let last = scene.last(super::STOPPED);
    let gone = (row.writer, last.seq, "missing with its whole chain".to_owned());
    elsewhere.expect("a whole chain", &cut, &vec![gone]);
}

async fn other_keys_are_not_trusted(scene: &Scene, elsewhere: &Elsewhere, texts: &[&str]) {
    let other = Database::create(scene.database.engine).await;
    jeton(&other, &["roles", "create", "other"]);
    let keys = String::from_utf8(run(&other, &["audit", "keys"]).stdout).unwrap();
    let untrusting = Elsewhere::new(&keys);
    let output = untrusting.verify(texts);
    assert_eq!(output.status.code(), Some(1));
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let checkpoints = texts.iter().filter(|text| text.contains("\"checkpoint\"")).count();
    let untrusted = found.matches("its checkpoint is not signed by a trusted key").count();
    assert_eq!(untrusted, checkpoints, "each of them: {found}");

    // The database's own word for its keys counts nothing when others are named.
    let keys = untrusting.keys.to_str().unwrap();
    let output = run(&scene.database, &["audit", "verify", "--keys", keys]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("not signed by a trusted key"));

    for (keys, words) in
        [("{\"keys\":[]}", "there is no audit key"), ("[]", "keys.json"), ("nonsense", "keys.json")]
    {
        let output = Elsewhere::new(keys).verify(texts);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{keys}: {told}");
        assert!(told.contains(words), "{keys}: {told}");
    }
    let nowhere = Path::new("nowhere.jsonl");
    let told = elsewhere.command(nowhere, &elsewhere.keys);
    assert!(String::from_utf8_lossy(&told.stderr).contains("nowhere.jsonl"), "{told:?}");
}

fn what_is_no_export_is_refused(elsewhere: &Elsewhere, exported: &str) {
    let no_line = |number: usize| format!("line {number}: it is not a line of `jeton audit export`");
    elsewhere.expect_error("a text", "hello\n", &no_line(1));
    elsewhere.expect_error("other JSON", "{\"kind\":\"token_issued\"}\n", &no_line(1));
    let count = exported.lines().count();
    elsewhere.expect_error("a line more", format!("{exported}hello\n"), &no_line(count + 1));
    let cut = &exported[..exported.trim_end().len() - 10];
    elsewhere.expect_error("the last line cut off", cut, &no_line(count));
    let blank = exported.replacen('\n', "\n\n", 1);
    elsewhere.expect_error("an empty line", blank, &no_line(2));
}
