//! Resource servers and roles at the command line, and what it says of a change.

use serde_json::{Value, json};

use crate::harness::{Database, Engine, jeton, run};

/// What a command prints for people, each run of spaces as one.
fn said(database: &Database, arguments: &[&str]) -> String {
    let output = run(database, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a command that must fail says.
fn refused(database: &Database, arguments: &[&str]) -> String {
    let output = run(database, arguments);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn with<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_servers_are_changed_and_nothing_of_them_is_lost() {
    let database = Database::create(Engine::Sqlite).await;
    let create = ["resource-servers", "create", "orders", "--identifier", "https://orders.example"];
    let made =
        jeton(&database, &with(&create, &["--permission", "read=Read", "--permission", "write=Write"]));
    assert_eq!(jeton(&database, &["resource-servers", "show", "orders"]), made);
    assert_eq!(jeton(&database, &["resource-servers", "list", "--text", "ORDERS.ex"]), json!([made]));
    let table = said(&database, &["resource-servers", "list", "--text", "orders"]);
    assert!(table.ends_with("orders https://orders.example 300 true false read, write"), "{table}");

    let change = ["resource-servers", "change", "orders"];
    let told = said(
        &database,
        &with(&change, &["--add-permission", "delete", "--add-permission", "read", "--token-lifetime", "60"]),
    );
    assert_eq!(
        told,
        "the resource server orders is changed:\n\
         permissions + permission=delete description=\n\
         token_lifetime 300 -> 60"
    );
    let changed = with(
        &change,
        &["--add-permission", "read=Look", "--remove-permission", "delete", "--description", "d"],
    );
    let now = jeton(&database, &changed);
    let mut expected = made.clone();
    expected["permissions"][0]["description"] = json!("Look");
    expected["token_lifetime"] = json!(60);
    expected["description"] = json!("d");
    for field in ["version", "updated_at"] {
        assert_ne!(now[field], expected[field], "{field}");
        expected[field] = now[field].clone();
    }
    assert_eq!(now, expected, "what is not named stays");
    assert_eq!(
        said(&database, &with(&change, &["--description", "d"])),
        "the resource server orders is as it was"
    );

    let told = said(&database, &["resource-servers", "disable", "orders"]);
    assert!(told.starts_with("the resource server orders is disabled: no tokens"), "{told}");
    assert_eq!(jeton(&database, &["resource-servers", "enable", "orders"])["enabled"], true);

    jeton(&database, &["roles", "create", "reader", "--permission", "orders/read"]);
    for (arguments, words) in [
        (with(&change, &[]), "required"),
        (with(&change, &["--remove-permission", "fly"]), "defines no permission 'fly'"),
        (with(&change, &["--remove-permission", "read"]), "roles still give 'read'"),
        (with(&change, &["--token-lifetime", "-1"]), "write a number of seconds"),
        (vec!["resource-servers", "change", "jeton", "--description", "x"], "cannot be changed"),
        (vec!["resource-servers", "show", "nothing"], "there is no resource server 'nothing'"),
        (vec!["resource-servers", "delete", "orders"], "roles give permissions of 'orders'"),
    ] {
        let told = refused(&database, &arguments);
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    jeton(&database, &["roles", "delete", "reader"]);
    assert_eq!(
        said(&database, &["resource-servers", "delete", "orders"]),
        "the resource server orders is gone"
    );
    assert_eq!(jeton(&database, &["resource-servers", "list", "--text", "orders"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_changed_and_nothing_of_them_is_lost() {
    let database = Database::create(Engine::Sqlite).await;
    let create = ["resource-servers", "create", "orders", "--identifier", "https://orders.example"];
    jeton(&database, &with(&create, &["--permission", "read", "--permission", "write"]));
    let made = jeton(&database, &["roles", "create", "clerk", "--permission", "orders/read"]);
    assert_eq!(jeton(&database, &["roles", "show", "clerk"]), made);
    let names: Vec<Value> = jeton(&database, &["roles", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].clone())
        .collect();
    assert_eq!(names, ["administrator", "auditor", "clerk"]);

    let change = ["roles", "change", "clerk"];
    let told = said(&database, &with(&change, &["--add-permission", "orders/write"]));
    assert_eq!(told, "the role clerk is changed:\npermissions + resource_server=orders permission=write");
    let table = said(&database, &["roles", "list", "--text", "clerk"]);
    assert_eq!(table, "NAME BUILTIN DESCRIPTION PERMISSIONS\nclerk false orders/read, orders/write");
    let now =
        jeton(&database, &with(&change, &["--remove-permission", "orders/read", "--description", "Writes"]));
    assert_eq!(now["permissions"], json!([{ "resource_server": "orders", "permission": "write" }]));
    assert_eq!((&now["description"], &now["version"]), (&json!("Writes"), &json!(3)));

    jeton(&database, &["clients", "create", "billing", "--role", "clerk", "--no-secret"]);
    for (arguments, words) in [
        (with(&change, &[]), "required"),
        (with(&change, &["--remove-permission", "orders/read"]), "does not give orders/read"),
        (with(&change, &["--add-permission", "orders/fly"]), "defines no permission 'fly'"),
        (vec!["roles", "change", "auditor", "--description", "x"], "is built in"),
        (vec!["roles", "show", "nothing"], "there is no role 'nothing'"),
        (vec!["roles", "delete", "clerk"], "among them billing"),
    ] {
        let told = refused(&database, &arguments);
        assert!(told.contains(words), "{arguments:?}: {told}");
    }

    // What is so now, in a line, and of a change what differs.
    for (arguments, line) in [
        (
            ["clients", "disable", "billing"].as_slice(),
            "billing is disabled: it gets no tokens from the next second on",
        ),
        (&["clients", "enable", "billing"], "billing is enabled"),
        (&["clients", "own-secrets", "billing", "on"], "billing may rotate its own secrets"),
        (&["clients", "change", "billing", "--owner", "finance"], "billing is changed:\nowner - -> finance"),
        (&["clients", "role", "remove", "billing", "clerk"], "billing no longer has the role clerk"),
        (&["roles", "delete", "clerk"], "the role clerk is gone"),
    ] {
        assert_eq!(said(&database, arguments), line, "{arguments:?}");
    }
    let told = refused(&database, &["clients", "secret", "rotate", "billing", "--overlap", "-1"]);
    assert!(told.contains("write a number of seconds"), "{told}");
}
