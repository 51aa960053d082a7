//! `[sso]`: the OpenID provider by which people may sign in too.

use std::path::PathBuf;

use secrecy::SecretString;

use super::Settings;
use super::values::{list, path, secret};
use crate::domain::single_sign_on::{ClaimPath, Mapping, check_provider};

/// An OpenID provider, and how its claims are read.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What it calls itself; its configuration is published below that.
    pub issuer: String,
    /// What this Jeton is called there.
    pub client_id: String,
    /// What this Jeton proves itself with there.
    pub client_secret: ClientSecretSource,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// What people call it.
    pub label: String,
    /// How claims become a role and a name.
    pub mapping: Mapping,
}

/// Where the client secret comes from.
#[derive(Clone, Debug)]
pub enum ClientSecretSource {
    /// A file that an operator made.
    File(PathBuf),
    /// The environment.
    Value(SecretString),
}

/// Without any of these there is no single sign-on.
const NEEDED: [&str; 3] = ["sso.issuer", "sso.client_id", "sso.role_claim"];

const SECRET: [&str; 2] = ["sso.client_secret", "sso.client_secret_file"];

const VALUES: [&str; 2] = ["sso.administrators", "sso.auditors"];

// === impl Settings ===

impl Settings {
    /// Every setting about single sign-on; nothing when none is given.
    pub(super) fn sso(&mut self) -> Option<Upstream> {
        let given = self.values.iter().any(|(name, (text, _))| name.starts_with("sso.") && !text.is_empty());
        let issuer = self.take("sso.issuer", |text| check_provider(text).map(|()| text.to_owned()));
        let client_id = self.take("sso.client_id", |text| printable(text, 255));
        let client_secret = self.client_secret(given);
        let scopes = self.take("sso.scopes", list(scope));
        let label = self.take("sso.label", |text| printable(text, 60));
        let role_claim = self.take("sso.role_claim", ClaimPath::parse);
        let name_claim = self.take("sso.name_claim", ClaimPath::parse);
        let administrators = self.take(VALUES[0], list(value)).unwrap_or_default();
        let auditors = self.take(VALUES[1], list(value)).unwrap_or_default();
        if !given {
            return None;
        }
        for (name, missing) in
            NEEDED.into_iter().zip([issuer.is_none(), client_id.is_none(), role_claim.is_none()])
        {
            if missing && !self.is_wrong(&[name]) {
                self.refuse(
                    name,
                    "missing",
                    "single sign-on needs it; docs/administration.md has an example",
                );
            }
        }
        if administrators.is_empty() && auditors.is_empty() && !self.is_wrong(&VALUES) {
            self.refuse(
                VALUES[0],
                "missing",
                "say which values of the claim make an administrator (sso.administrators) or an auditor \
                 (sso.auditors): nobody else is let in",
            );
        }
        if let Some(both) = administrators.iter().find(|value| auditors.contains(value)) {
            let origin = format!("also in {}", VALUES[0]);
            self.refuse(
                VALUES[1],
                &origin,
                format!("'{both}' can make one of the two; an administrator may read"),
            );
        }
        let usual_name = || ClaimPath::parse("preferred_username").ok();
        let (issuer, client_id) = issuer.zip(client_id)?;
        Some(Upstream {
            label: label.unwrap_or_else(|| host(&issuer)),
            issuer,
            client_id,
            client_secret: client_secret?,
            scopes: scopes.unwrap_or_else(|| vec!["profile".to_owned(), "email".to_owned()]),
            mapping: Mapping {
                role_claim: role_claim?,
                administrators,
                auditors,
                name_claim: name_claim.or_else(usual_name)?,
            },
        })
    }

    fn client_secret(&mut self, given: bool) -> Option<ClientSecretSource> {
        let value = self.take(SECRET[0], secret).map(ClientSecretSource::Value);
        let file = self.take(SECRET[1], path).map(ClientSecretSource::File);
        match (value, file) {
            (Some(_), Some(_)) => {
                self.refuse(SECRET[0], "more than one given", "give one of it and sso.client_secret_file");
                None
            }
            (None, None) => {
                if given {
                    self.refuse(
                        SECRET[1],
                        "missing",
                        "the provider has given this Jeton a client secret: put it into a file, or into \
                         JETON_SSO__CLIENT_SECRET",
                    );
                }
                None
            }
            (value, file) => value.or(file),
        }
    }
}

/// What a provider is called without a label: where it is.
fn host(issuer: &str) -> String {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

fn printable(text: &str, most: usize) -> Result<String, String> {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(format!("write at most {most} printable characters"));
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, String> {
    printable(text, 500)
}

/// A `scope-token` of RFC 6749 §3.3.
fn scope(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        Ok(text.to_owned())
    } else {
        Err("write a list of scope values, for example profile,groups".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::{Config, ConfigError};

    const WHOLE: [(&str, &str); 5] = [
        ("JETON_SSO__ISSUER", "https://sso.example.com/realm"),
        ("JETON_SSO__CLIENT_ID", "jeton"),
        ("JETON_SSO__CLIENT_SECRET", "open-sesame"),
        ("JETON_SSO__ROLE_CLAIM", "groups"),
        ("JETON_SSO__ADMINISTRATORS", "ops, platform"),
    ];

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(None, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn nothing_given_is_no_single_sign_on() {
        assert!(load(&[]).unwrap().sso.is_none());
        assert!(load(&[("JETON_SSO__ISSUER", "")]).unwrap().sso.is_none());
    }

    #[test]
    fn what_is_not_given_has_a_usual_value() {
        let sso = load(&WHOLE).unwrap().sso.unwrap();
        assert_eq!(sso.label, "sso.example.com");
        assert_eq!(sso.scopes, ["profile", "email"]);
        assert_eq!(sso.mapping.name_claim.as_str(), "preferred_username");
        assert_eq!(sso.mapping.administrators, ["ops", "platform"]);
        assert!(sso.mapping.auditors.is_empty());
        assert!(!format!("{sso:?}").contains("sesame"), "secrets do not print");
    }

    #[test]
    fn everything_that_is_missing_or_wrong_is_told_at_once() {
        let error = load(&[("JETON_SSO__LABEL", "x")]).unwrap_err().to_string();
        for part in [&NEEDED[..], &[SECRET[1]], &[VALUES[0]]].concat() {
            assert!(error.contains(part), "{part}: {error}");
        }
        for (setting, wrong, part) in [
            ("JETON_SSO__ISSUER", "http://sso.example.com", "use https"),
            ("JETON_SSO__CLIENT_SECRET_FILE", "/run/secret", "give one of it"),
            ("JETON_SSO__SCOPES", "a\"b", "scope values"),
            ("JETON_SSO__ROLE_CLAIM", "/a~b", "JSON pointer"),
            ("JETON_SSO__AUDITORS", "ops", "one of the two"),
            ("JETON_SSO__ISUER", "x", "no such setting"),
        ] {
            let mut given = WHOLE.to_vec();
            given.push((setting, wrong));
            let error = load(&given).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(part) && !text.contains("sesame"), "{setting}: {text}");
            assert_eq!(text.lines().count(), 2, "one mistake is told once: {text}");
        }
    }

    #[test]
    fn a_value_in_the_file_may_have_a_comma() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            file,
            "[sso]\nissuer = \"https://sso.example.com\"\nclient_id = \"jeton\"\nclient_secret_file = \"/run/x\"\n\
             role_claim = \"memberOf\"\nauditors = [\"CN=a,OU=b\", \"c\"]"
        )
        .unwrap();
        let sso = Config::load(Some(file.path()), []).unwrap().sso.unwrap();
        assert_eq!(sso.mapping.auditors, ["CN=a,OU=b", "c"]);
    }
}
