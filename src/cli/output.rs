//! What commands print: tables for people, JSON for programs.

use std::io::{ErrorKind, Write};

use serde::Serialize;
use serde_json::Value;

/// Prints a value as JSON, or as its fields, one a line.
pub(super) fn one<T: Serialize>(value: &T, json: bool) -> anyhow::Result<()> {
    let value = serde_json::to_value(value)?;
    if json {
        return print(&serde_json::to_string_pretty(&value)?);
    }
    let mut lines = Vec::new();
    fields(&value, "", &mut lines);
    print(&lines.join("\n"))
}

/// Prints what there is now: as JSON the whole of it, for people one line that says what is so.
pub(super) fn now<T: Serialize>(value: &T, line: &str, json: bool) -> anyhow::Result<()> {
    if json { one(value, json) } else { print(line) }
}

/// Prints what a change came to: as JSON what there is now, for people what is not as it was.
pub(super) fn changed<T: Serialize>(what: &str, before: &T, after: &T, json: bool) -> anyhow::Result<()> {
    if json {
        return one(after, json);
    }
    let differences = differences(&serde_json::to_value(before)?, &serde_json::to_value(after)?);
    if differences.is_empty() {
        return print(&format!("{what} is as it was"));
    }
    print(&format!("{what} is changed:\n{}", differences.join("\n")))
}

/// What every change changes.
const COUNTED: [&str; 2] = ["version", "updated_at"];

/// The members that differ, a line each; of a list what came and what went.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    // What is left out when there is none of it stands in one of them alone.
    let gone = names(before).filter(|name| after.get(name).is_none());
    for name in names(after).chain(gone).filter(|name| !COUNTED.contains(name)) {
        match (&before[name], &after[name]) {
            (old, new) if old == new => {}
            (Value::Array(old), Value::Array(new)) => {
                let gone = old.iter().filter(|value| !new.contains(value)).map(|value| ('-', value));
                let come = new.iter().filter(|value| !old.contains(value)).map(|value| ('+', value));
                let signed = gone.chain(come);
                lines.extend(signed.map(|(sign, value)| format!("{name:<30} {sign} {}", cell(value))));
            }
            (old, new) => lines.push(format!("{name:<30} {} -> {}", said(old), said(new))),
        }
    }
    lines
}

fn names(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

/// A value beside another, where nothing at all could not be seen.
fn said(value: &Value) -> String {
    let text = cell(value);
    if text.is_empty() { "-".to_owned() } else { text }
}

fn fields(value: &Value, prefix: &str, lines: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) if !inner.is_empty() => fields(value, &format!("{name}."), lines),
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                lines.extend(rows.iter().map(|row| format!("{name:<30} {}", cell(row))));
            }
            value => lines.push(format!("{name:<30} {}", cell(value))),
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`jeton … | head`) is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints rows as JSON, or as a table of the named fields.
pub(super) fn rows<T: Serialize>(rows: &[T], columns: &[&str], json: bool) -> anyhow::Result<()> {
    let rows: Vec<Value> = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    if json {
        return print(&serde_json::to_string_pretty(&rows)?);
    }
    let mut table: Vec<Vec<String>> =
        vec![columns.iter().map(|name| name.replace('_', " ").to_uppercase()).collect()];
    table.extend(rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name])).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let lines: Vec<String> = table
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    print(&lines.join("\n"))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_names_what_differs_and_nothing_else() {
        let before = json!({
            "name": "orders", "description": "", "owner": null, "permissions": ["a", "b"], "version": 1,
            "end": "soon",
        });
        let after = json!({
            "name": "orders", "description": "Orders", "owner": "shop", "permissions": ["b", "c"], "version": 2,
        });
        let lines = differences(&before, &after);
        let words: Vec<String> =
            lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            words,
            [
                "description - -> Orders",
                "owner - -> shop",
                "permissions - a",
                "permissions + c",
                "end soon -> -"
            ]
        );
        assert!(differences(&after, &after).is_empty());
    }
}
