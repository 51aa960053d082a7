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
