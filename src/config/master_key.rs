//! Where the master keys come from: files, the environment, a PKCS#11 token; and whether the signing keys are in
//! that token themselves.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::values::{list, path, secret, text};
use super::{Database, Settings};

/// Where a master key comes from.
#[derive(Clone, Debug)]
pub enum MasterKeySource {
    /// A file that an operator made.
    File(PathBuf),
    /// The environment.
    Value(SecretString),
    /// The key with this label in the PKCS#11 token.
    Token(String),
    /// `master.key` in the data directory, made at the first start (SQLite only).
    Managed(PathBuf),
}

/// A PKCS#11 token, and how to get into it.
#[derive(Clone, Debug)]
pub struct Pkcs11 {
    /// The library of its maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// A file with the user's PIN.
    pub pin_file: PathBuf,
    /// How many sessions sign at the same time.
    pub sessions: u8,
}

/// Where the private parts of new signing keys are kept. Those that are there already stay where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldIn {
    /// In the database, sealed under the master key.
    #[default]
    Database,
    /// In the PKCS#11 token, which makes them and never gives them out.
    Pkcs11,
}

/// Every setting about master keys.
pub(super) struct MasterKeys {
    pub(super) current: Option<MasterKeySource>,
    pub(super) others: Vec<MasterKeySource>,
    pub(super) pkcs11: Option<Pkcs11>,
}

const TOKEN: [&str; 3] = ["pkcs11.module", "pkcs11.token", "pkcs11.pin_file"];

/// What to do about settings that this program does not know.
const BUILT_WITHOUT: &str =
    "this jeton was built without PKCS#11: build it with `cargo build --release --features pkcs11`";

/// Four keep a token busy that is a program or a card in this machine; one far away may want more.
const SESSIONS: u8 = 4;

// === impl Settings ===

impl Settings {
    pub(super) fn master_keys(&mut self, database: &Database, data_dir: &Path) -> MasterKeys {
        let pkcs11 = self.pkcs11();
        let file = self.take("master_key_file", path).map(MasterKeySource::File);
        let value = self.take("master_key", secret).map(MasterKeySource::Value);
        let label = self.take("master_key_label", text).map(MasterKeySource::Token);
        let mut given: Vec<_> = [file, value, label].into_iter().flatten().collect();
        if given.len() > 1 {
            self.refuse(
                "master_key",
                "more than one given",
                "give one of master_key_file, JETON_MASTER_KEY and master_key_label; another key that only opens belongs into other_master_key_files, JETON_OTHER_MASTER_KEYS or other_master_key_labels",
            );
        }
        let current = given.pop().or_else(|| match database {
            Database::Sqlite => Some(MasterKeySource::Managed(data_dir.join("master.key"))),
            Database::Postgres { .. } => None,
        });

        let files = self.take("other_master_key_files", list(path)).unwrap_or_default();
        let values = self.take("other_master_keys", list(secret)).unwrap_or_default();
        let labels = self.take("other_master_key_labels", list(text)).unwrap_or_default();
        let others: Vec<_> = files
            .into_iter()
            .map(MasterKeySource::File)
            .chain(values.into_iter().map(MasterKeySource::Value))
            .chain(labels.into_iter().map(MasterKeySource::Token))
            .collect();

        let of_token = |source: &MasterKeySource| matches!(source, MasterKeySource::Token(_));
        if pkcs11.is_none() && !self.is_wrong(&TOKEN) && current.iter().chain(&others).any(of_token) {
            self.refuse(
                "master_key_label",
                "without a token",
                "say which token has the key: pkcs11.module, pkcs11.token and pkcs11.pin_file",
            );
        }
        MasterKeys { current, others, pkcs11 }
    }

    /// Where the private parts of new signing keys are kept.
    pub(super) fn held_in(&mut self, pkcs11: Option<&Pkcs11>) -> HeldIn {
        let held_in = self.take("keys.held_in", |text| match text {
            "database" => Ok(HeldIn::Database),
            "pkcs11" => Ok(HeldIn::Pkcs11),
            _ => Err("write database or pkcs11".to_owned()),
        });
        if held_in == Some(HeldIn::Pkcs11) && pkcs11.is_none() && !self.is_wrong(&TOKEN) {
            self.refuse(
                "keys.held_in",
                "without a token",
                if self.has_pkcs11 {
                    "say which token is to have the keys: pkcs11.module, pkcs11.token and pkcs11.pin_file"
                } else {
                    BUILT_WITHOUT
                },
            );
        }
        held_in.unwrap_or_default()
    }

    fn pkcs11(&mut self) -> Option<Pkcs11> {
        let given = TOKEN.iter().any(|name| self.values.get(*name).is_some_and(|(text, _)| !text.is_empty()));
        let module = self.take(TOKEN[0], path);
        let token = self.take(TOKEN[1], text);
        let pin_file = self.take(TOKEN[2], path);
        let sessions = self.take("pkcs11.sessions", |text| {
            text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or("write a number from 1 to 64".to_owned())
        });
        if !given {
            return None;
        }
        if !self.has_pkcs11 {
            self.refuse(TOKEN[0], "not in this program", BUILT_WITHOUT);
            return None;
        }
        if let (Some(module), Some(token), Some(pin_file)) = (module, token, pin_file) {
            return Some(Pkcs11 { module, token, pin_file, sessions: sessions.unwrap_or(SESSIONS) });
        }
        self.refuse(TOKEN[0], "not whole", "give all of pkcs11.module, pkcs11.token and pkcs11.pin_file");
        None
    }

    pub(super) fn is_wrong(&self, names: &[&str]) -> bool {
        self.problems.iter().any(|problem| names.contains(&problem.setting.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::written::Written;
    use crate::config::{Config, ConfigError};

    /// What a program loads that was built with PKCS#11, or without.
    fn load_by(has_pkcs11: bool, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut settings = Settings { has_pkcs11, ..Settings::default() };
        settings.read_environment(
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let config = settings.config(Written::of(std::iter::empty()));
        settings.finish(config)
    }

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load_by(true, environment)
    }

    #[test]
    fn one_key_is_the_current_one_and_any_number_open() {
        let config = load(&[
            ("JETON_MASTER_KEY_FILE", "/run/new.key"),
            ("JETON_OTHER_MASTER_KEY_FILES", "/run/old.key, /run/older.key"),
            ("JETON_OTHER_MASTER_KEYS", "c2VzYW1l"),
        ])
        .unwrap();
        assert!(matches!(config.master_key, Some(MasterKeySource::File(path)) if path.ends_with("new.key")));
        let [MasterKeySource::File(old), MasterKeySource::File(older), MasterKeySource::Value(_)] =
            &config.other_master_keys[..]
        else {
            panic!("{:?}", config.other_master_keys)
        };
        assert!(old.ends_with("old.key") && older.ends_with("older.key"));
        assert!(!format!("{:?}", config.other_master_keys).contains("c2VzYW1l"), "secrets do not print");
    }

    #[test]
    fn two_current_keys_are_one_too_many() {
        let error =
            load(&[("JETON_MASTER_KEY_FILE", "/run/a"), ("JETON_MASTER_KEY", "b")]).unwrap_err().to_string();
        assert!(error.contains("give one of master_key_file"), "{error}");
        assert!(error.contains("other_master_key_files"), "where the second one belongs: {error}");
    }

    #[test]
    fn pkcs11_is_given_whole() {
        let whole = [
            ("JETON_PKCS11__MODULE", "/usr/lib/softhsm/libsofthsm2.so"),
            ("JETON_PKCS11__TOKEN", "jeton"),
            ("JETON_PKCS11__PIN_FILE", "/run/pin"),
            ("JETON_MASTER_KEY_LABEL", "master"),
        ];
        let config = load(&whole).unwrap();
        assert!(matches!(config.master_key, Some(MasterKeySource::Token(label)) if label == "master"));
        assert_eq!(config.keys_held_in, HeldIn::Database);
        let token = config.pkcs11.unwrap();
        assert_eq!((token.token.as_str(), token.sessions), ("jeton", 4));
        for missing in 0..3 {
            let mut part = whole.to_vec();
            part.remove(missing);
            let error = load(&part).unwrap_err().to_string();
            assert!(error.contains("give all of pkcs11.module"), "{error}");
            assert!(!error.contains("say which token"), "one mistake is told once: {error}");
        }
        let error = load(&whole[3..]).unwrap_err().to_string();
        assert!(error.contains("say which token has the key"), "{error}");
    }

    #[test]
    fn pkcs11_holds_signing_keys_if_it_is_given() {
        let wanted = ("JETON_KEYS__HELD_IN", "pkcs11");
        let whole = [
            ("JETON_PKCS11__MODULE", "/usr/lib/softhsm/libsofthsm2.so"),
            ("JETON_PKCS11__TOKEN", "jeton"),
            ("JETON_PKCS11__PIN_FILE", "/run/pin"),
            ("JETON_PKCS11__SESSIONS", "16"),
            wanted,
        ];
        let config = load(&whole).unwrap();
        assert_eq!((config.keys_held_in, config.pkcs11.unwrap().sessions), (HeldIn::Pkcs11, 16));
        let error = load(&[wanted]).unwrap_err().to_string();
        assert!(error.contains("say which token is to have the keys"), "{error}");
        let error = load(&[wanted, whole[0]]).unwrap_err().to_string();
        assert!(error.contains("give all of") && !error.contains("say which"), "told once: {error}");
        let error = load(&[("JETON_KEYS__HELD_IN", "hsm")]).unwrap_err().to_string();
        assert!(error.contains("write database or pkcs11"), "{error}");
        let mut none = whole;
        none[3].1 = "0";
        assert!(load(&none).unwrap_err().to_string().contains("write a number from 1 to 64"));
    }

    #[test]
    fn pkcs11_needs_a_build_with_it() {
        let load = |environment: &[(&str, &str)]| load_by(false, environment);
        for setting in ["JETON_PKCS11__MODULE", "JETON_PKCS11__TOKEN", "JETON_PKCS11__PIN_FILE"] {
            let error = load(&[(setting, "x")]).unwrap_err().to_string();
            assert!(error.contains("--features pkcs11"), "{error}");
        }
        let error = load(&[("JETON_MASTER_KEY_LABEL", "master")]).unwrap_err().to_string();
        assert!(error.contains("pkcs11.module"), "{error}");
        let error = load(&[("JETON_KEYS__HELD_IN", "pkcs11")]).unwrap_err().to_string();
        assert!(error.contains("keys.held_in") && error.contains("--features pkcs11"), "{error}");
        // Which of them this program is, the build says.
        let error = Config::load(None, [("JETON_PKCS11__MODULE".to_owned(), "x".to_owned())]).unwrap_err();
        assert_eq!(error.to_string().contains("--features pkcs11"), !cfg!(feature = "pkcs11"), "{error}");
    }
}
