//! What commands print: tables for people, JSON for programs.

use serde::Serialize;
use serde_json::Value;

/// Prints a value as JSON, or as its fields, one a line.
pub(super) fn one<T: Serialize>(value: &T, json: bool) -> anyhow::Result<()> {
    let value = serde_json::to_value(value)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        fields(&value, "");
    }
    Ok(())
}

fn fields(value: &Value, prefix: &str) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        match value {
            Value::Object(inner) if !inner.is_empty() => fields(value, &format!("{prefix}{name}.")),
            value => println!("{:<26} {}", format!("{prefix}{name}"), cell(value)),
        }
    }
}

/// Prints rows as JSON, or as a table of the named fields.
pub(super) fn rows<T: Serialize>(rows: &[T], columns: &[&str], json: bool) -> anyhow::Result<()> {
    let rows: Vec<Value> = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table: Vec<Vec<String>> =
        vec![columns.iter().map(|name| name.replace('_', " ").to_uppercase()).collect()];
    table.extend(rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name])).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in table {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        println!("{}", line.join("  ").trim_end());
    }
    Ok(())
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
