//! Secrets as other servers have hashed them: which forms can be taken over, and what they may cost.
//!
//! Such a hash is checked with what its maker chose, until its secret is presented for the first time; from then on
//! it is one of ours. Its text is read here and nowhere else, so that what is stored can be checked.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::error::FieldError;
use super::words::words;

words! {
    /// How another server has hashed a secret.
    ForeignScheme {
        /// bcrypt: `$2a$`, `$2b$` or `$2y$`.
        Bcrypt = "bcrypt",
        /// PBKDF2 with HMAC-SHA-256, as Hydra and Kratos write it.
        Pbkdf2Sha256 = "pbkdf2-sha256",
        /// PBKDF2 with HMAC-SHA-512, as Hydra and Kratos write it.
        Pbkdf2Sha512 = "pbkdf2-sha512",
    }
}

/// The most rounds of bcrypt, as a power of two: one or two seconds of a core for each check.
pub const MOST_BCRYPT_COST: u32 = 14;

/// The most iterations of PBKDF2: one or two seconds of a core for each check.
pub const MOST_PBKDF2_ITERATIONS: u32 = 2_000_000;

/// The least iterations of PBKDF2 that a server has ever been shipped with. Fewer are a slip.
const LEAST_PBKDF2_ITERATIONS: u32 = 1_000;

/// The alphabet of bcrypt's own base 64.
const BCRYPT: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A hash that another server has made.
#[derive(Clone, PartialEq, Eq)]
pub enum ForeignHash {
    /// Its text is what is checked with.
    Bcrypt,
    /// PBKDF2, in parts.
    Pbkdf2 {
        /// Which digest.
        scheme: ForeignScheme,
        /// How many rounds.
        iterations: NonZeroU32,
        /// The salt.
        salt: Vec<u8>,
        /// What was derived.
        derived: Vec<u8>,
    },
}

// === impl ForeignScheme ===

impl ForeignScheme {
    /// Of a stored hash; `None` when it is one of ours.
    #[must_use]
    pub fn of(hash: &str) -> Option<Self> {
        match hash.split('$').nth(1)? {
            "2a" | "2b" | "2y" => Some(Self::Bcrypt),
            word => Self::from_word(word).filter(|scheme| *scheme != Self::Bcrypt),
        }
    }
}

// === impl ForeignHash ===

impl ForeignHash {
    /// Reads the text of a hash.
    ///
    /// # Errors
    /// It has none of the forms that are known, or checking it would cost too much. The text is not repeated.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        match ForeignScheme::of(text) {
            Some(ForeignScheme::Bcrypt) => bcrypt(text),
            Some(scheme) => pbkdf2(scheme, text),
            None => Err(refusal(
                "it is not a hash that can be taken over",
                "send bcrypt ($2a$, $2b$ or $2y$), $pbkdf2-sha256$i=…,l=…$salt$hash or $pbkdf2-sha512$…; a plain secret goes into 'secret'",
            )),
        }
    }
}

fn refusal(problem: impl Into<String>, fix: &'static str) -> FieldError {
    FieldError::new("secret_hash", problem, fix)
}

fn bcrypt(text: &str) -> Result<ForeignHash, FieldError> {
    let malformed =
        || refusal("it is not a whole bcrypt hash", "send all of its 60 characters, for example $2b$12$…");
    if text.len() != 60 || !text.is_ascii() {
        return Err(malformed());
    }
    let (cost, digits) = text[4..].split_once('$').ok_or_else(malformed)?;
    let cost = number(cost, 2).filter(|_| cost.len() == 2).ok_or_else(malformed)?;
    if digits.len() != 53 || !digits.chars().all(|digit| BCRYPT.contains(digit)) {
        return Err(malformed());
    }
    // The last digits of salt and hash have bits to spare, which are nought in what any library writes; one that
    // reads strictly would take the hash for a broken store later.
    let spare = |at: usize, bits: u32| {
        let digit = digits.chars().nth(at).and_then(|digit| BCRYPT.find(digit));
        digit.is_none_or(|value| value & ((1 << bits) - 1) != 0)
    };
    if spare(21, 4) || spare(52, 2) {
        return Err(malformed());
    }
    if !(4..=MOST_BCRYPT_COST).contains(&cost) {
        return Err(refusal(
            format!("its cost is {cost}, and 4 to {MOST_BCRYPT_COST} are allowed"),
            "each check would take seconds, for anybody who names the client: bring the plain secret, or have a new one generated",
        ));
    }
    Ok(ForeignHash::Bcrypt)
}

fn pbkdf2(scheme: ForeignScheme, text: &str) -> Result<ForeignHash, FieldError> {
    let malformed = || {
        refusal(
            "it is not a whole PBKDF2 hash",
            "send it as $pbkdf2-sha256$i=25000,l=32$salt$hash, salt and hash in base64 without padding",
        )
    };
    let parts: Vec<&str> = text.split('$').collect();
    let [_, _, parameters, salt, derived] = parts[..] else { return Err(malformed()) };
    let (iterations, length) = parameters
        .strip_prefix("i=")
        .and_then(|rest| rest.split_once(",l="))
        .and_then(|(iterations, length)| Some((number(iterations, 10)?, number(length, 3)?)))
        .ok_or_else(malformed)?;
    let salt = BASE64.decode(salt).map_err(|_| malformed())?;
    let derived = BASE64.decode(derived).map_err(|_| malformed())?;
    let whole = usize::try_from(length).is_ok_and(|length| length == derived.len());
    if !whole || !(16..=64).contains(&derived.len()) || !(8..=64).contains(&salt.len()) {
        return Err(malformed());
    }
    if !(LEAST_PBKDF2_ITERATIONS..=MOST_PBKDF2_ITERATIONS).contains(&iterations) {
        return Err(refusal(
            format!(
                "it has {iterations} iterations, and {LEAST_PBKDF2_ITERATIONS} to {MOST_PBKDF2_ITERATIONS} are allowed"
            ),
            "fewer protect nothing, more take seconds for anybody who names the client: bring the plain secret, or have a new one generated",
        ));
    }
    let iterations = NonZeroU32::new(iterations).ok_or_else(malformed)?;
    Ok(ForeignHash::Pbkdf2 { scheme, iterations, salt, derived })
}

/// A number in digits alone: `parse` would take a sign.
fn number(text: &str, most_digits: usize) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= most_digits && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cost 4.
    const OF_BCRYPT: &str = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";
    const OF_PBKDF2: &str = "$pbkdf2-sha256$i=25000,l=16$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ";

    fn problem(text: &str) -> String {
        ForeignHash::parse(text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_others_export_is_read() {
        for version in ["2a", "2b", "2y"] {
            let text = OF_BCRYPT.replace("2b", version);
            assert!(ForeignHash::parse(&text).is_ok(), "{text}");
            assert_eq!(ForeignScheme::of(&text), Some(ForeignScheme::Bcrypt));
        }
        let Ok(ForeignHash::Pbkdf2 { scheme, iterations, salt, derived }) = ForeignHash::parse(OF_PBKDF2)
        else {
            panic!("it is PBKDF2")
        };
        assert_eq!((scheme, iterations.get()), (ForeignScheme::Pbkdf2Sha256, 25_000));
        assert_eq!((&salt[..], &derived[..]), (&b"saltsalt"[..], &b"0123456789012345"[..]));
        let sha512 = OF_PBKDF2.replace("sha256", "sha512");
        assert!(matches!(
            ForeignHash::parse(&sha512),
            Ok(ForeignHash::Pbkdf2 { scheme: ForeignScheme::Pbkdf2Sha512, .. })
        ));
        assert_eq!(ForeignScheme::of("$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA"), None);
    }

    #[test]
    fn what_costs_too_much_is_refused_with_the_reason() {
        assert!(ForeignHash::parse(&OF_BCRYPT.replace("$04$", "$14$")).is_ok());
        for cost in ["03", "15", "31"] {
            let told = problem(&OF_BCRYPT.replace("$04$", &format!("${cost}$")));
            assert!(told.contains("its cost is") && told.contains("seconds"), "{told}");
        }
        assert!(ForeignHash::parse(&OF_PBKDF2.replace("25000", "2000000")).is_ok());
        for iterations in ["0", "999", "2000001", "4294967295"] {
            let told = problem(&OF_PBKDF2.replace("25000", iterations));
            assert!(told.contains("iterations"), "{told}");
        }
    }

    #[test]
    fn what_is_broken_is_refused_and_not_repeated() {
        let broken = [
            "",
            "$",
            "$2b$",
            "$2x$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie",
            &OF_BCRYPT[..59],
            &OF_BCRYPT.replace('E', "é"),
            &OF_BCRYPT.replace("$04$", "$+4$"),
            &OF_BCRYPT.replace("cie", "cif"),
            &OF_PBKDF2.replace("l=16", "l=32"),
            &OF_PBKDF2.replace("i=25000", "i=+25000"),
            &OF_PBKDF2.replace("25000", "99999999999"),
            &OF_PBKDF2.replace("MDEy", "MDE="),
            &OF_PBKDF2.replace("c2FsdHNhbHQ", "c2FsdA"),
            &format!("{OF_PBKDF2}$"),
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "a plain secret of mine",
        ];
        for text in broken {
            let told = problem(text);
            assert!(!told.is_empty(), "{text}");
            assert!(text.len() < 5 || !told.contains(text), "{told}");
        }
    }
}
