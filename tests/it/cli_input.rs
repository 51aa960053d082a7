//! What commands read from a file or from standard input.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Database, Engine, Issued, command, jeton, run};

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
