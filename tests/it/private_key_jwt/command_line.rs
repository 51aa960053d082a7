//! Public keys of clients at the command line.

use std::fs;

use serde_json::{Value, json};

use super::{PEM, Signer, register};
use crate::harness::{Server, both_engines, jeton, run};
use jeton::jose::Algorithm;

both_engines!(a_key_is_added_listed_changed_and_removed_offline,);

async fn a_key_is_added_listed_changed_and_removed_offline(server: Server) {
    server.billing().await;
    register(&server, "signer", json!({})).await;
    let signer = Signer::new("signer", Algorithm::Es256);
    let database = &server.database;
    let catch_up = async || server.app.admin().directory.as_ref().unwrap().catch_up().await.unwrap();
    let write = |name: &str, text: &str| fs::write(database.directory.path().join(name), text).unwrap();
    write("key.json", &signer.jwk().to_string());
    write("next.pem", PEM);
    let add = ["clients", "key", "add", "signer"];
    let first = jeton(database, &[&add[..], &["key.json", "--description", "host 7"]].concat());
    assert_eq!((&first["key_type"], &first["description"]), (&json!("EC P-256"), &json!("host 7")));
    let second = jeton(database, &[&add[..], &["next.pem", "--expires-in", "4294967295"]].concat());
    assert!(second["expires_at"].is_string(), "{second}");
    jeton(database, &["clients", "key", "remove", "signer", second["key_id"].as_str().unwrap()]);
    catch_up().await;
    signer.token(&server).await.expect(200);

    write("private.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    for (file, said) in [("private.pem", "private key"), ("key.json", "already"), ("none.json", "none.json")]
    {
        let refused = run(database, &[&add[..], &[file]].concat());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && told.contains(said), "{file}: {told}");
        assert!(!told.contains("c2VjcmV0"), "{told}");
    }

    let id = first["key_id"].as_str().unwrap();
    let change = ["clients", "key", "change", "signer", id];
    let end = "2999-01-01T00:00:00Z";
    let changed = jeton(database, &[&change[..], &["--description", "host 8", "--expires-at", end]].concat());
    assert_eq!((&changed["description"], &changed["expires_at"]), (&json!("host 8"), &json!(end)));
    let never = jeton(database, &[&change[..], &["--never-expires"]].concat());
    assert_eq!((&never["description"], &never["expires_at"]), (&json!("host 8"), &Value::Null));
    let list = ["clients", "key", "list", "signer"];
    let listed = jeton(database, &list);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["key_id"], id);
    let table = String::from_utf8(run(database, &list).stdout).unwrap();
    assert!(table.contains(id) && table.contains("host 8"), "{table}");

    assert_eq!(jeton(database, &["clients", "key", "remove", "signer", id]), json!({ "removed": id }));
    assert_eq!(jeton(database, &list), json!([]));
    catch_up().await;
    signer.token(&server).await.expect_oauth_error(401, "invalid_client");
}
