//! What somebody has written, so that two configurations can be compared without keeping their secrets.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::Config;

/// Which settings are written. Of each value there is a number that tells only whether two are the same.
#[derive(Clone, Default)]
pub(super) struct Written(BTreeMap<String, u64>);

// === impl Written ===

impl Written {
    pub(super) fn of<'a>(settings: impl Iterator<Item = (&'a String, &'a str)>) -> Self {
        let numbered = settings.filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            (name.clone(), hasher.finish())
        });
        Self(numbered.collect())
    }
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The number of a short secret tells what it is.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// === impl Config ===

impl Config {
    /// The settings that are written differently in the other one.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (&self.written.0, &other.written.0);
        let mut names: Vec<_> = mine
            .keys()
            .chain(theirs.keys())
            .filter(|name| mine.get(*name) != theirs.get(*name))
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The level of the log is that of the other one from now on.
    pub fn log_level_is_now(&mut self, other: &Self) {
        self.log_level.clone_from(&other.log_level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[(&str, &str)]) -> Config {
        let environment = settings.iter().map(|(name, value)| (format!("JETON_{name}"), (*value).to_owned()));
        Config::load(None, environment).unwrap()
    }

    #[test]
    fn what_differs_is_named_and_its_value_is_not_kept() {
        let old = load(&[("LISTEN", "127.0.0.1:1"), ("MASTER_KEY", "sesame"), ("LOG__LEVEL", "")]);
        let new = load(&[("LISTEN", "127.0.0.1:1"), ("MASTER_KEY", "other"), ("SERVER__THREADS", "2")]);
        assert_eq!(old.differing(&new), ["master_key", "server.threads"]);
        assert_eq!(old.differing(&old), Vec::<String>::new());
        assert_eq!(format!("{:?}", old.written), r#"{"listen", "master_key"}"#);
    }
}
