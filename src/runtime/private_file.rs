//! Reading files that hold secrets.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fmt, fs};

use secrecy::{ExposeSecret, SecretString};

use crate::domain::error::{Fault, FaultKind};

/// Whom a mode lets in besides the owner.
const GROUP_WRITES: u32 = 0o020;
const GROUP_READS: u32 = 0o040;
const OTHERS: u32 = 0o006;

const ROOT: u32 = 0;

/// The text of a file that holds a secret. Where others can read it too, that is logged as a warning and no
/// more: container engines mount secrets in ways that nobody inside can change.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(path: &Path) -> std::io::Result<SecretString> {
    let text = fs::read_to_string(path)?;
    let metadata = fs::metadata(path)?;
    if let Some(who) = too_open(metadata.mode(), metadata.uid()) {
        tracing::warn!(
            file = %path.display(),
            mode = format_args!("{:04o}", metadata.mode() & 0o7777),
            "a file with a secret can be read or written by {who}: run `chmod 600` on it"
        );
    }
    Ok(SecretString::from(text))
}

/// The same of a setting's file. White space around it is ignored.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read_setting(what: &str, path: &Path) -> Result<SecretString, Fault> {
    let text = read(path).map_err(|error| fault(format_args!("{what} {}", path.display()), &error))?;
    Ok(SecretString::from(text.expose_secret().trim().to_owned()))
}

/// Why a file that the configuration names cannot be read.
pub(super) fn fault(what: impl fmt::Display, error: &io::Error) -> Fault {
    Fault { kind: FaultKind::of_path(error.kind()), detail: format!("{what}: {error}") }
}

/// Who else gets at a file. The rule is the one that `PostgreSQL` has for its private key: 0600, or 0640 when
/// root owns it, which is how a service gets to read a file that is not its own.
const fn too_open(mode: u32, owner: u32) -> Option<&'static str> {
    if mode & OTHERS != 0 {
        Some("everybody on this machine")
    } else if mode & GROUP_WRITES != 0 || (mode & GROUP_READS != 0 && owner != ROOT) {
        Some("its group")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_alone_may_read_or_a_group_what_is_roots() {
        for (mode, owner, fine) in [
            (0o600, 1000, true),
            (0o400, 1000, true),
            (0o640, ROOT, true),
            (0o440, ROOT, true),
            (0o640, 1000, false),
            (0o660, ROOT, false),
            (0o604, ROOT, false),
            (0o444, ROOT, false),
            (0o666, 1000, false),
        ] {
            assert_eq!(too_open(0o10_0000 | mode, owner).is_none(), fine, "{mode:o} of {owner}");
        }
    }
}
