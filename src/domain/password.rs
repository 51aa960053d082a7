//! Passwords of people: which are refused.

use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

use super::error::FieldError;

/// The fewest characters.
pub const LEAST: usize = 12;

/// The most characters. Hashing takes all of them.
pub const MOST: usize = 256;

/// Checks a new password of somebody with this name. There are no rules about kinds of characters: what counts is how
/// many guesses it takes.
///
/// # Errors
/// It is too short or too long, holds the name, or is among the first that are guessed.
pub fn check(field: &'static str, password: &SecretString, name: &str) -> Result<(), FieldError> {
    let text = password.expose_secret();
    let length = text.chars().count();
    let refuse = |problem: &str, fix: &'static str| Err(FieldError::new(field, problem, fix));
    if length < LEAST {
        return refuse("it is too short", "use at least 12 characters: four unusual words, for example");
    }
    if length > MOST {
        return refuse("it is too long", "use at most 256 characters");
    }
    if text.chars().any(char::is_control) {
        return refuse("it has control characters", "use characters that a keyboard has");
    }
    if holds_name(&text.to_lowercase(), name) {
        return refuse("it holds your name", "leave the name out: it is tried first");
    }
    if zxcvbn(text, &[name, "jeton"]).score() < Score::Three {
        return refuse(
            "it is easily guessed: a common password, a word, or a pattern",
            "use four unusual words, or let a password manager make one",
        );
    }
    Ok(())
}

/// Whether the password has the name in it, or of an address of mail the part before the `@`. Very short names are in
/// everything.
fn holds_name(password: &str, name: &str) -> bool {
    let local = name.split('@').next().unwrap_or(name);
    [name, local].iter().any(|part| part.chars().count() >= 4 && password.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(password: &str) -> Option<String> {
        check("password", &SecretString::from(password.to_owned()), "margaret@example.com")
            .err()
            .map(|error| error.problem)
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for (bad, why) in [
            ("abc", "too short"),
            ("tr4-Lo0p!zzy", ""),
            (&"aB3$ x".repeat(60), "too long"),
            ("password1234", "guessed"),
            ("123456789012", "guessed"),
            ("qwertyuiop12", "guessed"),
            ("aaaaaaaaaaaaaaaaaaaa", "guessed"),
            ("jetonjetonjeton", "guessed"),
            ("Margaret is my dear name", "name"),
            ("quiet\u{7}heron violet ladder", "control"),
        ] {
            match problem(bad) {
                Some(problem) => assert!(!why.is_empty() && problem.contains(why), "{bad}: {problem}"),
                None => assert!(why.is_empty(), "{bad} was accepted"),
            }
        }
    }

    #[test]
    fn unusual_words_in_any_script_are_accepted() {
        for good in
            ["quiet heron violet ladder", "čekající šedý mlýn pod kopcem", "静かな青い鳥が朝に歌う丘の上"]
        {
            assert_eq!(problem(good), None, "{good}");
        }
    }
}
