//! Form-urlencoded bodies, beside what the URL Standard makes of them.

use std::collections::BTreeMap;

use jeton::oauth::form::{Form, decode};
use url::form_urlencoded::{self, byte_serialize};

pub(crate) fn run(input: &[u8]) {
    whole(input);
    one_value(input);
}

/// The other reader takes everything. What ours takes too, both read alike; and written again it is the same.
fn whole(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let mut others = BTreeMap::<String, Vec<String>>::new();
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(input) {
        written.append_pair(&name, &value);
        let values = others.entry(name.into_owned()).or_default();
        if !value.is_empty() {
            values.push(value.into_owned());
        }
    }
    let again = Form::parse(written.finish().as_bytes()).expect("what was read can be written and read");
    for (name, values) in others {
        assert!(form.all(&name).eq(values.iter()), "'{name}' is read in two ways");
        assert!(again.all(&name).eq(values.iter()), "'{name}' does not stay what it is");
    }
}

/// What an encoder makes of a text is that text.
fn one_value(input: &[u8]) {
    let written: String = byte_serialize(input).collect();
    match (std::str::from_utf8(input), decode(written.as_bytes())) {
        (Ok(text), Ok(read)) => assert_eq!(read, text),
        (Err(_), Err(_)) => {}
        _ => panic!("UTF-8 is not what both say it is"),
    }
}
