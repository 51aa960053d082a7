//! What commands read from a file or from standard input, and the ends that they give.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Database, Engine, Issued, command, jeton, run};
use jeton::domain::time::Timestamp;

/// A P-256 key.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// Runs a command with this as its standard input. It may have read enough before it has all.
fn piped(database: &Database, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = command(database, arguments);
    command.env("JETON_ISSUER", "http://localhost:8080").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || pipe.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_its_name_and_what_to_do() {
    let database = Database::create(Engine::Sqlite).await;
    jeton(&database, &["clients", "create", "billing", "--no-secret"]);
    let issuer = ["trusted-issuers", "create", "a", "--issuer", "https://a.example", "--jwks"];
    for (arguments, most) in [
        (&["clients", "certificate", "add", "billing"][..], 49_152),
        (&["clients", "key", "add", "billing"], 65_536),
        (&["clients", "secret", "add", "billing", "--secret-file"], 65_536),
        (&["clients", "secret", "add", "billing", "--hash-file"], 65_536),
        (&["clients", "import"], 67_108_864),
        (&issuer, 131_072),
        (&["explain-assertion"], 17_384),
        (&["audit", "verify", "--keys"], 16_777_216),
    ] {
        let of = |file| [arguments, &[file]].concat();
        let long = told(&piped(&database, &of("-"), &vec![b'x'; most + 1]));
        assert!(
            long.contains(&format!("standard input has more than {most} bytes")),
            "{arguments:?}: {long}"
        );
        fs::write(database.directory.path().join("binary"), b"hunter2\xff").unwrap();
        let binary = told(&run(&database, &of("binary")));
        assert!(binary.contains("binary is no text in UTF-8"), "{arguments:?}: {binary}");
        assert!(!binary.contains("hunter2"), "{arguments:?}: {binary}");
        let absent = told(&run(&database, &of("absent")));
        assert!(absent.contains("cannot read absent (name a file"), "{arguments:?}: {absent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_stands_for_a_file() {
    let database = Database::create(Engine::Sqlite).await;
    let done = |arguments: &[&str], input: &str| -> Value {
        let output = piped(&database, &[arguments, &["--json"]].concat(), input.as_bytes());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let imported = done(&["clients", "import", "-"], "{\"client_id\": \"billing\"}\n");
    assert_eq!(imported[0]["client_id"], "billing");
    let key = done(&["clients", "key", "add", "billing", "-"], JWK);
    assert_eq!(key["key_type"], "EC P-256");
    let certificate =
        done(&["clients", "certificate", "add", "billing", "-"], &Issued::by_itself("billing").pem());
    assert_eq!(certificate["subject"], "CN=billing");
    let issuer = ["trusted-issuers", "create", "a", "--issuer", "https://a.example", "--jwks", "-"];
    let issuer = done(&issuer, &json!({ "keys": [serde_json::from_str::<Value>(JWK).unwrap()] }).to_string());
    assert_eq!(issuer["keys"]["from"], "inline");
    let explained = piped(&database, &["explain-assertion", "-"], b"no token\n");
    assert!(
        String::from_utf8_lossy(&explained.stdout).contains("It would not be accepted."),
        "{explained:?}"
    );
    let no_client = told(&piped(&database, &["clients", "import", "-"], b"\n"));
    assert!(no_client.contains("standard input has no client"), "{no_client}");
    let keys = run(&database, &["audit", "keys"]).stdout;
    let verified = piped(&database, &["audit", "verify", "--keys", "-"], &keys);
    assert!(verified.status.success(), "{verified:?}");
}

/// Whatever is added to a client can be given its end as a time or as seconds from now, and not as both.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_a_time_or_seconds_from_now() {
    let database = Database::create(Engine::Sqlite).await;
    jeton(&database, &["clients", "create", "billing", "--no-secret"]);
    jeton(&database, &["trusted-issuers", "create", "github", "--preset", "github"]);
    let write = |name: &str, text: &str| fs::write(database.directory.path().join(name), text).unwrap();
    write("key.json", JWK);
    write("own.pem", &Issued::by_itself("billing").pem());
    let replaceable = |add: &[&str]| {
        if add[2] == "rotate" {
            jeton(&database, &["clients", "secret", "add", "billing"]);
        }
    };
    let federation =
        ["clients", "federation", "add", "billing", "--issuer", "github", "--condition", "sub=a"];
    for (add, remove, id) in [
        (&["clients", "certificate", "add", "billing", "own.pem"][..], "remove", "certificate_id"),
        (&["clients", "key", "add", "billing", "key.json"], "remove", "key_id"),
        (&federation, "remove", "credential_id"),
        (&["clients", "secret", "add", "billing"], "revoke", "secret_id"),
        (&["clients", "secret", "rotate", "billing"], "revoke", "secret_id"),
    ] {
        let both = ["--expires-at", "2999-01-01T00:00:00Z", "--expires-in", "3600"];
        replaceable(add);
        let at = jeton(&database, &[add, &both[..2]].concat());
        assert_eq!(at["expires_at"], both[1], "{add:?}");
        jeton(&database, &[&add[..2], &[remove, "billing", at[id].as_str().unwrap()]].concat());
        replaceable(add);
        let within = jeton(&database, &[add, &both[2..]].concat());
        let end = within["expires_at"].as_str().unwrap_or_else(|| panic!("{add:?}: {within}"));
        let created = within["created_at"].as_str().unwrap();
        assert_eq!(seconds(end) - seconds(created), 3_600, "{add:?}: {within}");
        jeton(&database, &[&add[..2], &[remove, "billing", within[id].as_str().unwrap()]].concat());
        let refused = run(&database, &[add, &both[..]].concat());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && told.contains("cannot be used with"), "{add:?}: {told}");
    }
}

fn seconds(time: &str) -> i64 {
    Timestamp::parse(time).unwrap().as_seconds()
}
