//! Certificates of clients at the command line.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{BY_CERTIFICATE, Stage, both_stages};
use crate::harness::{Issued, command, jeton, run};
use jeton::domain::certificate::thumbprint;

both_stages!(a_certificate_is_added_listed_and_removed_offline,);

async fn a_certificate_is_added_listed_and_removed_offline(stage: Stage) {
    stage.billing(&["self_signed_tls_client_auth"]).await;
    let database = &stage.server.database;
    let catch_up = async || stage.server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    let (own, next) = (Issued::by_itself("paying"), Issued::by_itself("next"));
    fs::write(database.directory.path().join("own.pem"), own.pem()).unwrap();
    let add = ["clients", "certificate", "add", "paying"];
    let first = jeton(
        database,
        &[&add[..], &["own.pem", "--description", "host 7", "--expires-at", "2027-01-01T00:00:00Z"]].concat(),
    );
    assert_eq!(
        (&first["thumbprint"], &first["description"], &first["expires_at"]),
        (&json!(thumbprint(&own.der)), &json!("host 7"), &json!("2027-01-01T00:00:00Z"))
    );
    let mut child = command(database, &[&add[..], &["-", "--json"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(next.pem().as_bytes()).unwrap();
    let second: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&second["thumbprint"], &second["expires_at"]), (&json!(thumbprint(&next.der)), &Value::Null));
    catch_up().await;
    for certificate in [&own, &next] {
        stage.bound(&stage.ask(Some(certificate), &[], BY_CERTIFICATE).await, certificate).await;
    }

    // What is no certificate, or is registered, or whose client there is not, is refused with what to do.
    fs::write(database.directory.path().join("not.pem"), "hello").unwrap();
    for (arguments, said) in [
        (["paying", "not.pem"], "BEGIN CERTIFICATE"),
        (["paying", "none.pem"], "cannot read none.pem"),
        (["paying", "own.pem"], "has this certificate already"),
        (["nobody", "own.pem"], "nobody"),
    ] {
        let refused = run(database, &[&add[..3], &arguments].concat());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && told.contains(said), "{arguments:?}: {told}");
    }

    let list = ["clients", "certificate", "list", "paying"];
    let ids = |listed: &Value| {
        let listed = listed.as_array().unwrap().iter();
        listed.map(|one| one["certificate_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (first, second) =
        (first["certificate_id"].as_str().unwrap(), second["certificate_id"].as_str().unwrap());
    let mut listed = ids(&jeton(database, &list));
    listed.sort_unstable();
    let mut both = [first, second];
    both.sort_unstable();
    assert_eq!(listed, both);
    let table = String::from_utf8(run(database, &list).stdout).unwrap();
    assert!(table.contains(first) && table.contains("host 7") && table.contains("CN=paying"), "{table}");

    let removed = jeton(database, &["clients", "certificate", "remove", "paying", first]);
    assert_eq!(removed, json!({ "removed": first }));
    assert_eq!(ids(&jeton(database, &list)), [second]);
    catch_up().await;
    stage.ask(Some(&own), &[], BY_CERTIFICATE).await.expect_oauth_error(401, "invalid_client");
    stage.ask(Some(&next), &[], BY_CERTIFICATE).await.expect(200);
    let again = run(database, &["clients", "certificate", "remove", "paying", first]);
    assert_eq!(again.status.code(), Some(1), "it is gone: {again:?}");
    let actions: Vec<_> = stage
        .server
        .events("changed")
        .await
        .into_iter()
        .filter(|event| event["actor"]["type"] == "command_line")
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions.len(), 3, "{actions:?}");
    for (action, times) in [("client.certificate.add", 2), ("client.certificate.remove", 1)] {
        assert_eq!(actions.iter().filter(|one| *one == action).count(), times, "{actions:?}");
    }
}
