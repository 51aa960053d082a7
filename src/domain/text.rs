//! Texts from outside: checking those that people read, quoting those that callers sent.

use super::error::FieldError;

/// What a generated secret starts with.
pub(super) const SECRET_PREFIX: &str = "jtn_";

/// Checks a text that only people read.
///
/// # Errors
/// It is longer than `most` characters, or has control characters other than a line end.
pub fn check_text(field: &'static str, text: &str, most: usize) -> Result<(), FieldError> {
    let length = text.chars().count();
    if length > most || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(FieldError::new(
            field,
            format!("{length} characters, or control characters among them"),
            format!("use at most {most} printable characters"),
        ));
    }
    Ok(())
}

/// A text without the generated secrets in it.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut parts = text.split(SECRET_PREFIX);
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push_str(SECRET_PREFIX);
        safe.push_str("(redacted)");
        // What was redacted before stays as it is.
        let part = part.strip_prefix("(redacted)").unwrap_or(part);
        safe.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    }
    safe
}

/// What stood in a refused field, short enough to be quoted back in an error.
pub(super) fn shortened(text: &str) -> String {
    const QUOTED: usize = 60;
    let text = redacted(text);
    if text.chars().count() <= QUOTED {
        return text;
    }
    text.chars().take(QUOTED).chain(std::iter::once('…')).collect()
}

/// The most characters of a caller's own words that an event keeps.
const QUOTED: usize = 300;

/// A caller's words, fit for an event: shortened, without the control characters that a database or a
/// terminal would stumble over, and without a secret that was put into the wrong field.
#[must_use]
pub fn quoted(text: &str) -> String {
    let harmless = text.len() <= QUOTED && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if harmless && !text.contains(SECRET_PREFIX) {
        return text.to_owned();
    }
    redacted(text).chars().take(QUOTED).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_are_short_and_printable() {
        assert_eq!(quoted("a\0b\n"), "a\u{fffd}b\u{fffd}");
        assert_eq!(quoted(&"é".repeat(1_000)).chars().count(), 300);
    }

    #[test]
    fn a_secret_in_the_wrong_field_is_not_quoted() {
        let secret = format!("jtn_{}", "aB3".repeat(16));
        assert_eq!(quoted(&format!("x {secret} y {secret}")), "x jtn_(redacted) y jtn_(redacted)");
        assert_eq!(quoted("jtn_short"), "jtn_(redacted)");
        assert_eq!(quoted(&quoted("jtn_short")), "jtn_(redacted)");
    }
}
