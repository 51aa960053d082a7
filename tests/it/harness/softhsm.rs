//! A PKCS#11 token: `SoftHSM2` plays it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use super::Database;

/// Where Debian puts it.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const PIN: &str = "4711-user";
pub(crate) const LABEL: &str = "jeton test";

/// A token of one test's own, in the database's directory.
pub(crate) struct Token {
    settings: Vec<(&'static str, String)>,
    pub(crate) directory: PathBuf,
}

/// What is in a token, as `pkcs11-tool` (opensc) sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) is_private: bool,
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) access: String,
}

impl Token {
    pub(crate) fn create(database: &Database) -> Self {
        assert!(Path::new(MODULE).exists(), "SoftHSM2 is missing: apt-get install softhsm2");
        let directory = database.directory.path();
        let tokens = directory.join("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration = directory.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        fs::write(&configuration, text).unwrap();
        let pin_file = directory.join("pin");
        fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        fs::set_permissions(&pin_file, PermissionsExt::from_mode(0o600)).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let token = Self {
            settings: vec![
                ("SOFTHSM2_CONF", text(&configuration)),
                // Its usual port may be taken, which would be warned about.
                ("JETON_METRICS__LISTEN", "off".to_owned()),
                ("JETON_PKCS11__MODULE", MODULE.to_owned()),
                ("JETON_PKCS11__TOKEN", LABEL.to_owned()),
                ("JETON_PKCS11__PIN_FILE", text(&pin_file)),
            ],
            directory: tokens,
        };
        let officer = ["--pin", PIN, "--so-pin", "0815-officer"];
        let initialise = ["--init-token", "--free", "--label", LABEL];
        token.tool("softhsm2-util", &[&initialise[..], &officer].concat());
        token
    }

    /// The token's settings and these.
    pub(crate) fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        // The last one of a name counts.
        own.chain(more.iter().copied()).collect()
    }

    /// Takes a mechanism away.
    pub(crate) fn forbid(&self, mechanism: &str) {
        let mut configuration = fs::OpenOptions::new().append(true).open(&self.settings[0].1).unwrap();
        // Of what is to be taken away, it takes the first one to be named with its minus.
        writeln!(configuration, "slots.mechanisms = -,{mechanism}").unwrap();
    }

    /// Changes something in it.
    ///
    /// Of two processes that make something at the same moment, `SoftHSM2` may hide what the other has made until
    /// there is another change: each counts the changes, and takes the other's for its own.
    pub(crate) fn stir(&self) {
        let spoon = self.directory.with_extension("spoon");
        fs::write(&spoon, "something").unwrap();
        let data = ["--type", "data", "--label", "spoon"];
        self.pkcs11_tool(&[&["--write-object", spoon.to_str().unwrap()], &data[..]].concat());
        self.pkcs11_tool(&[&["--delete-object"], &data[..]].concat());
    }

    /// What the program says. `SoftHSM2` may have a general error for whoever asks while another process logs in.
    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let run = || command(program, &self.settings[0].1, arguments);
        let mut output = run();
        for _ in 0..20 {
            if output.status.success() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            output = run();
        }
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let own = ["--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN];
        self.tool("pkcs11-tool", &[&own[..], arguments].concat())
    }

    /// The keys in it, in order. Best when nothing is made there: `SoftHSM2` writes the usual value of each attribute that it
    /// does not find when it reads an object, and over all that another process has written into it meanwhile.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let mut objects: Vec<Object> = Vec::new();
        let mut is_key = false;
        for line in self.pkcs11_tool(&["--list-objects"]).lines() {
            let is_private = line.starts_with("Private Key Object");
            if !line.starts_with(' ') {
                is_key = is_private || line.starts_with("Public Key Object");
                if is_key {
                    objects.push(Object { is_private, ..Object::default() });
                }
            } else if let (true, Some(object), Some((name, value))) =
                (is_key, objects.last_mut(), line.split_once(':'))
            {
                match name.trim() {
                    "ID" => object.id = unhex(value.trim()),
                    "label" => value.trim().clone_into(&mut object.label),
                    "Access" => value.trim().clone_into(&mut object.access),
                    _ => {}
                }
            }
        }
        objects.sort();
        objects
    }

    /// What `CKA_ID` its private keys have, in order. Of each there must be a public one too.
    pub(crate) fn kids(&self) -> Vec<String> {
        let (private, public): (Vec<_>, Vec<_>) =
            self.objects().into_iter().partition(|object| object.is_private);
        let ids = |objects: Vec<Object>| objects.into_iter().map(|object| object.id).collect::<Vec<_>>();
        let private = ids(private);
        assert_eq!(ids(public), private, "pairs");
        private
    }

    /// Destroys a private key behind Jeton's back.
    pub(crate) fn destroy(&self, kid: &str) {
        self.pkcs11_tool(&["--delete-object", "--type", "privkey", "--id", &hex(kid)]);
    }

    /// Makes another pair with this identifier.
    pub(crate) fn imitate(&self, kid: &str) {
        self.pkcs11_tool(&["--keypairgen", "--key-type", "EC:prime256v1", "--id", &hex(kid)]);
    }
}

fn command(program: &str, configuration: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).env("SOFTHSM2_CONF", configuration).args(arguments).output();
    output.unwrap_or_else(|_| panic!("{program} is missing: apt-get install softhsm2 opensc"))
}

fn hex(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    bytes.concat()
}

fn unhex(text: &str) -> String {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    String::from_utf8((0..text.len()).step_by(2).map(byte).collect()).unwrap()
}
