//! HTTP Basic of client authentication (RFC 6749 §2.3.1, RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jeton::domain::ids::ClientId;
use jeton::oauth::client_auth::parse_basic;
use jeton::oauth::form::Form;
use secrecy::ExposeSecret;
use url::form_urlencoded::byte_serialize;

pub(crate) fn run(input: &[u8]) {
    as_header(input);
    as_credentials(input);
    as_pair(input);
}

/// Whatever the header is, it is read in one way or refused.
fn as_header(input: &[u8]) {
    if let Ok(presented) = super::present(&[input], &Form::default()) {
        let credentials = &input[b"Basic ".len()..];
        assert!(input[..5].eq_ignore_ascii_case(b"Basic"), "another scheme was read as Basic");
        let (client_id, _) = parse_basic(credentials).expect("what is presented can be parsed");
        assert_eq!(Some(client_id), presented.client_id);
    }
}

/// What is accepted stays the same when it is written again.
fn as_credentials(input: &[u8]) {
    if let Ok((client_id, secret)) = parse_basic(STANDARD.encode(input).as_bytes()) {
        let written = encoded(client_id.as_str(), secret.expose_secret());
        let (again, same) = parse_basic(written.as_bytes()).expect("what was read can be written and read");
        assert_eq!((again, same.expose_secret()), (client_id, secret.expose_secret()));
    }
}

/// What an encoder makes is accepted exactly when the identifier is one.
fn as_pair(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (id, secret) = text.split_once('\n').unwrap_or((text, ""));
    match (ClientId::new(id), parse_basic(encoded(id, secret).as_bytes())) {
        (Ok(id), Ok((read, same))) => assert_eq!((read, same.expose_secret()), (id, secret)),
        (Err(_), Err(_)) => {}
        (id, _) => {
            panic!("an identifier that is {} is not read alike", if id.is_ok() { "one" } else { "none" })
        }
    }
}

fn encoded(id: &str, secret: &str) -> String {
    let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret)))
}
