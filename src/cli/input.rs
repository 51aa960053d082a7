//! What commands read: the text of a file, or of standard input.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// What there is room for at first.
const FIRST: usize = 8 * 1_024;

/// The text of a file, or of standard input for `-`. Where it should be no secret it can be one by mistake, as when
/// somebody names a private key: so it is always wiped, and has no form to print.
///
/// # Errors
/// It cannot be read, it has more than `most` bytes, or it is no text; `what` says what it should be.
pub(super) fn read(file: &Path, what: &str, most: usize) -> anyhow::Result<SecretString> {
    let name = name(file);
    let bytes = if is_standard_input(file) {
        bytes(io::stdin().lock(), most)
    } else {
        File::open(file).and_then(|opened| bytes(opened, most))
    };
    let bytes = bytes.with_context(|| {
        format!("cannot read {name} (name a file that you may read, or - for standard input)")
    })?;
    ensure!(
        bytes.len() <= most,
        "{name} has more than {most} bytes, which is the most for {what}: give less, or another file"
    );
    // The error's own form holds what was read.
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| anyhow!("{name} is no text in UTF-8, as {what} is: convert it, or give another file"))?;
    Ok(SecretString::from(text))
}

/// What messages call it.
pub(super) fn name(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// All of it; of what has more than `most` bytes, at least one more.
fn bytes(mut source: impl Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut read = Zeroizing::new(vec![0; FIRST]);
    let mut length = 0;
    while length <= most {
        if length == read.len() {
            // A vector that grows by itself leaves what it held in memory.
            let mut larger = Zeroizing::new(vec![0; length * 2]);
            larger[..length].copy_from_slice(&read);
            read = larger;
        }
        match source.read(&mut read[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    read.truncate(length);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn of(content: &[u8], most: usize) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, content).unwrap();
        let read = read(&file, "a key", most);
        read.map(|text| text.expose_secret().to_owned()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_read_whole_and_what_is_longer_is_refused() {
        for most in [0, 1, FIRST - 1, FIRST, FIRST + 1, 10 * FIRST] {
            let text = "x".repeat(most);
            assert_eq!(of(text.as_bytes(), most).unwrap(), text);
            let told = of(format!("{text}x").as_bytes(), most).unwrap_err();
            assert!(told.contains(&format!("has more than {most} bytes")), "{told}");
            assert!(told.contains("for a key: give less"), "{told}");
        }
    }

    /// One that gives little at a time, is interrupted between, and never ends.
    struct Endless(bool);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let most = into.len().min(100);
            into[..most].fill(b'x');
            Ok(most)
        }
    }

    #[test]
    fn no_more_is_read_than_shows_that_it_is_too_long() {
        let read = bytes(Endless(false), 20_000).unwrap();
        assert!((20_001..=20_100).contains(&read.len()), "{}", read.len());
    }

    #[test]
    fn what_is_no_text_or_not_there_is_told_without_what_it_holds() {
        let told = of(b"secret\xff", 100).unwrap_err();
        assert!(told.contains("is no text in UTF-8, as a key is: convert it") && !told.contains("secret"));
        let told = format!("{:#}", read(Path::new("/nowhere/key.pem"), "a key", 1).unwrap_err());
        assert!(told.starts_with("cannot read /nowhere/key.pem (name a file"), "{told}");
        assert_eq!(name(Path::new("-")), "standard input");
    }
}
