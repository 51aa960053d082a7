//! What a backup says of itself, and whether this program can use it.

use serde::{Deserialize, Serialize};

use super::chain::ChainEnd;
use super::time::Timestamp;

/// The form of the manifest that this version writes and reads.
const FORMAT: u32 = 1;

/// What is written beside the copy of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this.
    pub format: u32,
    /// The version of Jeton that took it.
    pub jeton: String,
    /// Everything that was answered before this instant is in it.
    pub taken_at: Timestamp,
    /// The newest migration of the database.
    pub schema: i64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// How long the file is.
    pub bytes: u64,
    /// The ids of the master keys that open what is sealed in it. They are not in it.
    pub master_keys: Vec<String>,
    /// The PKCS#11 tokens that signing keys are in. They are not in it either.
    pub pkcs11_tokens: Vec<String>,
    /// The event that was recorded last.
    pub newest_event: Option<ChainEnd>,
}

/// Why a backup cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A later version wrote the manifest in another form.
    #[error(
        "its manifest has the form {0}, and this Jeton knows {FORMAT}: restore it with the version that took it"
    )]
    Format(u32),
    /// The database has migrations that this version does not know.
    #[error(
        "its schema is {schema}, and this Jeton ({}) knows {known}: restore it with Jeton {jeton} or a newer one",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Its schema.
        schema: i64,
        /// Ours.
        known: i64,
        /// Who took it.
        jeton: String,
    },
    /// The file is another one than was written, or was damaged.
    #[error(
        "its file has {found}, and had {bytes} bytes with the SHA-256 {sha256} when it was written: it was damaged, or \
         is of another backup; use another one"
    )]
    Altered {
        /// What the file is: its length and hash.
        found: String,
        /// How long it was.
        bytes: u64,
        /// What its hash was.
        sha256: String,
    },
}

// === impl Manifest ===

impl Manifest {
    /// The form that is written now.
    pub const FORMAT: u32 = FORMAT;

    /// Whether a program that knows this schema can use it.
    ///
    /// # Errors
    /// It is of a later version.
    pub fn check(&self, known: i64) -> Result<(), Unusable> {
        if self.format != FORMAT {
            return Err(Unusable::Format(self.format));
        }
        if self.schema > known {
            return Err(Unusable::Newer { schema: self.schema, known, jeton: self.jeton.clone() });
        }
        Ok(())
    }

    /// Whether a file of this length and hash is the one that was written.
    ///
    /// # Errors
    /// It is not.
    pub fn check_file(&self, bytes: u64, sha256: &str) -> Result<(), Unusable> {
        if self.bytes == bytes && self.sha256 == sha256 {
            return Ok(());
        }
        let found = format!("{bytes} bytes with the SHA-256 {sha256}");
        Err(Unusable::Altered { found, bytes: self.bytes, sha256: self.sha256.clone() })
    }
}

/// What a backup that was taken at this time is called, where nobody says: names sort as the times do.
#[must_use]
pub fn name(taken_at: Timestamp) -> String {
    let second: String = taken_at.to_string().chars().take(19).filter(|c| !"-:".contains(*c)).collect();
    format!("jeton-{second}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            jeton: "9.0.0".to_owned(),
            taken_at: Timestamp::from_seconds(1_795_334_400),
            schema: 15,
            sha256: "ab".to_owned(),
            bytes: 7,
            master_keys: Vec::new(),
            pkcs11_tokens: Vec::new(),
            newest_event: None,
        }
    }

    #[test]
    fn an_older_schema_is_migrated_and_a_newer_one_refused_with_the_version_to_use() {
        assert_eq!(manifest().check(15), Ok(()));
        assert_eq!(manifest().check(16), Ok(()));
        let refused = manifest().check(14).unwrap_err().to_string();
        assert!(refused.contains("schema is 15") && refused.contains("Jeton 9.0.0"), "{refused}");
        let other = Manifest { format: 2, ..manifest() };
        assert_eq!(other.check(15), Err(Unusable::Format(2)));
    }

    #[test]
    fn a_file_of_another_length_or_hash_is_another_file() {
        assert_eq!(manifest().check_file(7, "ab"), Ok(()));
        assert!(manifest().check_file(6, "ab").is_err());
        assert!(manifest().check_file(7, "ac").is_err());
    }

    #[test]
    fn a_name_has_the_time_to_the_second() {
        let at = Timestamp::parse("2026-11-28T02:15:07.25Z").unwrap();
        assert_eq!(name(at), "jeton-20261128T021507Z");
    }
}
