//! `jeton clients import`: many clients with the secrets that they have elsewhere, one JSON object a line.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::arguments::role_name;
use super::{Offline, input, output};
use crate::admin::AdminError;
use crate::admin::client_import::ImportedClient;
use crate::domain::error::FieldError;
use crate::domain::foreign_hash::ForeignScheme;
use crate::domain::ids::RoleName;
use crate::domain::text::quoted;
use crate::http::read_value;

/// The most of a file that is read: some kilobytes for each of the clients that one import takes.
const LARGEST: usize = 64 * 1_024 * 1_024;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file, with one client as a JSON object on each line; `-` for standard input.
    file: PathBuf,
    /// The server that wrote the objects.
    #[arg(long, default_value = "jeton")]
    format: Format,
    /// A role that every one of them gets; may be repeated.
    #[arg(long = "role", value_name = "ROLE", value_parser = role_name)]
    roles: Vec<RoleName>,
    /// Say what would be registered, and what is wrong, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As `POST /api/v1/clients` takes them, with `secrets` and `enabled` beside.
    Jeton,
    /// As Ory Hydra's API shows them, with the secret in plain text or as its database has it.
    Hydra,
    /// As Keycloak exports them.
    Keycloak,
}

/// The lines of a file, read.
#[derive(Default)]
struct Lines {
    clients: Vec<ImportedClient>,
    errors: Vec<FieldError>,
    /// What stands in a line and has no place here.
    left_out: Vec<String>,
}

pub(super) async fn run(import: Import, offline: &Offline, json: bool) -> anyhow::Result<()> {
    let text = input::read(&import.file, "an import of clients", LARGEST)?;
    let Lines { mut clients, mut errors, left_out } = lines(text.expose_secret(), import.format);
    if clients.is_empty() && errors.is_empty() {
        bail!("{} has no client: write one JSON object a line", input::name(&import.file));
    }
    for imported in &mut clients {
        imported.client.roles.extend(import.roles.iter().cloned());
    }
    let Offline { admin, by, .. } = offline;
    // What is wrong with the lines that can be read is told at once with those that cannot.
    let unreadable = !errors.is_empty();
    let imported = match admin.import_clients(by, clients, import.dry_run || unreadable).await {
        Ok(imported) => imported,
        Err(AdminError::Invalid(more)) => {
            errors.extend(more);
            Vec::new()
        }
        Err(other) => return Err(other.into()),
    };
    if !errors.is_empty() {
        let told: Vec<_> = errors.iter().map(|error| format!("\n  {error}")).collect();
        bail!("nothing was imported:{}", told.concat());
    }
    output::rows(&imported, &["line", "client_id", "secrets"], json)?;
    for note in left_out {
        eprintln!("{note}");
    }
    let done = if import.dry_run { "would be registered" } else { "are registered" };
    eprintln!("{} clients {done}.", imported.len());
    Ok(())
}

fn lines(text: &str, format: Format) -> Lines {
    let mut lines = Lines::default();
    for (place, text) in text.lines().enumerate() {
        let line = place + 1;
        if text.trim().is_empty() {
            continue;
        }
        match one(line, text, format) {
            Ok((client, left_out)) => {
                if !left_out.is_empty() {
                    lines.left_out.push(format!(
                        "line {line}: {} is not taken over: {}",
                        client.client.client_id,
                        left_out.join(", ")
                    ));
                }
                lines.clients.push(client);
            }
            Err(error) => {
                let field = format!("line {line}: {}", error.field);
                lines.errors.push(error.in_field(field));
            }
        }
    }
    lines
}

/// A line as a client, and what of it has no place here.
fn one(line: usize, text: &str, format: Format) -> Result<(ImportedClient, Vec<String>), FieldError> {
    // The error's own words could quote what stands there, and that may be a secret.
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("it is not JSON, at character {}", error.column());
        FieldError::new("the line", place, "write one object a line: `jq -c '.[]'` makes that of a list")
    })?;
    let Value::Object(members) = value else {
        let fix = "write one object a line: `jq -c '.[]'` makes that of a list";
        return Err(FieldError::new("the line", "it is no JSON object", fix));
    };
    let (mut members, left_out) = match format {
        Format::Jeton => (members, Vec::new()),
        Format::Hydra => hydra(&members)?,
        Format::Keycloak => keycloak(&members)?,
    };
    let enabled = members.remove("enabled").unwrap_or(Value::Bool(true));
    let secrets = members.remove("secrets").unwrap_or_else(|| json!([]));
    let wrong = |problem, fix| move |field| FieldError::new(field, problem, fix);
    let enabled =
        enabled.as_bool().ok_or("enabled").map_err(wrong("it is no truth value", "write true or false"))?;
    let secrets = secrets
        .as_array()
        .ok_or("secrets")
        .map_err(wrong("it is no list", "write a list of objects with secret or secret_hash"))?;
    let secrets = secrets.iter().enumerate().map(|(place, secret)| {
        read_value(secret).map_err(|error: FieldError| {
            let field = format!("secrets[{place}].{}", error.field);
            error.in_field(field)
        })
    });
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    let client = read_value(&Value::Object(members))?;
    Ok((ImportedClient { line, client, enabled, secrets }, left_out))
}

/// A secret as another server has it: a hash when it looks like one of those that are known.
fn secret(text: &str) -> Value {
    let member = if ForeignScheme::of(text).is_some() { "secret_hash" } else { "secret" };
    json!([{ "description": "imported", member: text }])
}

/// A text that is there and not empty.
fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Those of these members that say something.
fn said(members: &Map<String, Value>, names: &[&str]) -> Vec<String> {
    let says = |name: &&&str| match members.get(**name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    };
    names.iter().filter(says).map(|name| (*name).to_owned()).collect()
}

type Mapped = (Map<String, Value>, Vec<String>);

fn put(client: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    client.insert(name.to_owned(), value.into());
}

fn hydra(members: &Map<String, Value>) -> Result<Mapped, FieldError> {
    let mut client = Map::new();
    // In Hydra's database it is called `id`.
    let id = text(members, "client_id").or_else(|| text(members, "id"));
    put(
        &mut client,
        "client_id",
        id.ok_or_else(|| FieldError::new("client_id", "it is missing", "export it too"))?,
    );
    put(&mut client, "description", text(members, "client_name").unwrap_or_default());
    if let Some(owner) = text(members, "owner") {
        put(&mut client, "owner", owner);
    }
    let method = text(members, "token_endpoint_auth_method").unwrap_or("client_secret_basic");
    if !method.starts_with("client_secret_") || method == "client_secret_jwt" {
        return Err(FieldError::new(
            "token_endpoint_auth_method",
            format!("'{}' has no secret to bring along", quoted(method)),
            "register this client by itself, and leave the line out",
        ));
    }
    put(&mut client, "auth_methods", json!([method]));
    let known = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
    let grants: Vec<&str> = members
        .get("grant_types")
        .and_then(Value::as_array)
        .map_or(vec![known[0]], |grants| grants.iter().filter_map(Value::as_str).collect());
    let (kept, others): (Vec<&str>, Vec<&str>) = grants.into_iter().partition(|grant| known.contains(grant));
    if kept.is_empty() {
        let fix = "leave the line out: it asks for tokens for people";
        return Err(FieldError::new("grant_types", "it has no grant that machines use here", fix));
    }
    put(&mut client, "grant_types", json!(kept));
    if let Some(kept) = text(members, "client_secret") {
        put(&mut client, "secrets", secret(kept));
    }
    let names =
        ["scope", "audience", "redirect_uris", "jwks", "jwks_uri", "metadata", "access_token_strategy"];
    let mut left_out = said(members, &names);
    left_out.extend(others.into_iter().map(|grant| format!("grant {}", quoted(grant))));
    if members.get("client_secret_expires_at").and_then(Value::as_i64).is_some_and(|end| end != 0) {
        left_out.push("client_secret_expires_at".to_owned());
    }
    Ok((client, left_out))
}

fn keycloak(members: &Map<String, Value>) -> Result<Mapped, FieldError> {
    let mut client = Map::new();
    let truth = |name: &str| members.get(name).and_then(Value::as_bool);
    let refuse = |field: &'static str, problem: &str| {
        let fix = "leave the line out: it gets no tokens for itself with a secret";
        Err(FieldError::new(field, problem.to_owned(), fix))
    };
    if truth("publicClient") == Some(true) {
        return refuse("publicClient", "it is public, so it has no secret");
    }
    if truth("bearerOnly") == Some(true) {
        return refuse("bearerOnly", "it takes tokens and asks for none");
    }
    if truth("serviceAccountsEnabled") != Some(true) {
        return refuse("serviceAccountsEnabled", "it is not on");
    }
    let method = text(members, "clientAuthenticatorType").unwrap_or("client-secret");
    if method != "client-secret" {
        return refuse("clientAuthenticatorType", &format!("'{}' is no plain secret", quoted(method)));
    }
    let id = text(members, "clientId");
    put(
        &mut client,
        "client_id",
        id.ok_or_else(|| FieldError::new("clientId", "it is missing", "export it too"))?,
    );
    let description = text(members, "description").or_else(|| text(members, "name"));
    put(&mut client, "description", description.unwrap_or_default());
    put(&mut client, "enabled", truth("enabled").unwrap_or(true));
    let hidden = |text: &&str| !text.chars().all(|c| c == '*');
    match text(members, "secret") {
        Some(kept) if hidden(&kept) => put(&mut client, "secrets", secret(kept)),
        Some(_) => {
            let fix = "export it from the database (`kc.sh export`), or with `kcadm.sh get clients`";
            return Err(FieldError::new("secret", "it was hidden when it was exported", fix));
        }
        None => {}
    }
    let names = [
        "defaultClientScopes",
        "optionalClientScopes",
        "protocolMappers",
        "defaultRoles",
        "redirectUris",
        "authorizationSettings",
    ];
    Ok((client, said(members, &names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: Format) -> Lines {
        lines(text, format)
    }

    fn told(lines: &Lines) -> String {
        lines.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_client_of_hydra_keeps_its_secret_and_says_what_is_left_out() {
        let hash =
            "$pbkdf2-sha256$i=25000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$VHkM4SjcGU7m9dJUx0jPEvTLp+bK7tT3IWXOxzsxu4I";
        let line = json!({
            "client_id": "4d4", "client_name": "Billing", "client_secret": hash, "owner": "finance",
            "grant_types": ["client_credentials", "authorization_code"], "scope": "a b",
            "token_endpoint_auth_method": "client_secret_post", "client_secret_expires_at": 0, "redirect_uris": [],
        });
        let lines = read(&line.to_string(), Format::Hydra);
        assert_eq!(told(&lines), "");
        let found = &lines.clients[0];
        assert_eq!((found.client.client_id.as_str(), found.client.description.as_str()), ("4d4", "Billing"));
        assert!(found.secrets[0].secret_hash.is_some() && found.secrets[0].secret.is_none());
        assert_eq!(found.client.auth_methods.len(), 1);
        assert_eq!(lines.left_out, ["line 1: 4d4 is not taken over: scope, grant authorization_code"]);
    }

    #[test]
    fn a_client_of_keycloak_keeps_its_plain_secret() {
        let line = json!({
            "id": "7", "clientId": "billing", "name": "Billing", "enabled": false, "secret": "0123456789abcdef",
            "serviceAccountsEnabled": true, "publicClient": false, "bearerOnly": false,
            "clientAuthenticatorType": "client-secret", "defaultClientScopes": ["roles"],
        });
        let lines = read(&line.to_string(), Format::Keycloak);
        assert_eq!(told(&lines), "");
        let found = &lines.clients[0];
        assert!(!found.enabled && found.secrets[0].secret.is_some());
        assert_eq!(found.client.description, "Billing");
        for (member, value, problem) in [
            ("publicClient", json!(true), "it is public"),
            ("bearerOnly", json!(true), "asks for none"),
            ("serviceAccountsEnabled", json!(false), "it is not on"),
            ("clientAuthenticatorType", json!("client-jwt"), "no plain secret"),
            ("secret", json!("**********"), "hidden"),
        ] {
            let mut other = line.clone();
            other[member] = value;
            let told = told(&read(&other.to_string(), Format::Keycloak));
            assert!(told.starts_with(&format!("line 1: {member}: ")) && told.contains(problem), "{told}");
        }
    }

    #[test]
    fn every_wrong_line_is_told_by_its_number_and_no_secret_is_repeated() {
        let text = concat!(
            "{\"client_id\": \"a\", \"secrets\": [{\"secret\": 1234567890123456}]}\n",
            "\n",
            "{\"client_id\": \"b\", \"secrets\": [{\"secret\": \"hunter2 hunter2 hunter2\"}]\n",
            "[]\n",
            "{\"client_id\": \"c\", \"enabled\": \"hunter2\"}\n",
            "{\"client_id\": \"d\", \"secret\": \"hunter2 hunter2 hunter2\"}\n",
            "{\"client_id\": \"e\"}\n",
        );
        let lines = read(text, Format::Jeton);
        let told = told(&lines);
        for start in
            ["line 1: secrets[0].secret: ", "line 3: the line: ", "line 4: ", "line 5: enabled: ", "line 6: "]
        {
            assert!(told.lines().any(|line| line.starts_with(start)), "no {start:?}: {told}");
        }
        assert!(!told.contains("hunter2") && !told.contains("1234567890123456"), "{told}");
        assert_eq!(lines.clients.len(), 1);
        assert_eq!(lines.clients[0].line, 7);
    }
}
