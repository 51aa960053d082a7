//! The second factor: one-time codes by time (RFC 6238), and recovery codes for when the device is lost.

use aws_lc_rs::digest::{SHA256, digest};
use qrcode::{Color, QrCode};
use secrecy::SecretString;
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::error::Fault;
use super::time::Timestamp;

/// Bytes of a secret, as RFC 4226 §4 recommends.
pub const SECRET: usize = 20;

/// How many recovery codes there are at first.
pub const RECOVERY_CODES: usize = 10;

/// Bytes that a recovery code is made of: 80 bits, which nobody guesses, so a plain hash of it will do.
pub const RECOVERY: usize = 10;

/// How many modules of quiet ISO 18004 wants around a picture.
const QUIET: usize = 4;

/// Digits and letters that are not taken for others (Crockford's base 32, in lower case).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What somebody scans or types into their device.
pub struct Enrolment {
    /// The secret in base 32.
    pub secret: SecretString,
    /// The same as a picture: the `d` of a path in SVG, in a square of `modules` a side.
    pub picture: String,
    /// How many modules the picture has a side, its quiet zone included.
    pub modules: usize,
}

/// SHA-1, six digits, thirty seconds, one step of tolerance: what every device does (RFC 6238 §5.2).
fn totp(secret: &[u8], name: &str, issuer: &str) -> Result<Totp, Fault> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(secret)
        .with_account_name(name)
        .with_issuer(Some(issuer))
        .build()
        .map_err(|error| Fault::internal(format!("one-time codes: {error}")))
}

/// What to show so that a device makes codes with this secret. `host` tells one Jeton from another in its list.
///
/// # Errors
/// The secret is too short, or the picture cannot be drawn; both are bugs.
pub fn enrol(secret: &[u8], name: &str, host: &str) -> Result<Enrolment, Fault> {
    // A colon separates issuer and account there.
    let totp = totp(secret, name, &format!("Jeton {}", host.replace(':', " ")))?;
    let url = totp.to_url().map_err(|error| Fault::internal(format!("one-time codes: {error}")))?;
    let code = QrCode::new(url).map_err(|error| Fault::internal(format!("QR code: {error}")))?;
    let width = code.width();
    let mut picture = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (at % width + QUIET, at / width + QUIET);
            for part in ["M", &x.to_string(), " ", &y.to_string(), "h1v1h-1z"] {
                picture.push_str(part);
            }
        }
    }
    let secret = SecretString::from(totp.secret().to_base32());
    Ok(Enrolment { secret, picture, modules: width + 2 * QUIET })
}

/// Reads a secret back from its base 32.
#[must_use]
pub fn read_secret(text: &str) -> Option<Vec<u8>> {
    let secret = Secret::try_from_base32(text.trim()).ok()?;
    Some(secret.as_bytes().to_vec()).filter(|bytes| bytes.len() == SECRET)
}

/// The step that a code belongs to, if it is one of this secret about now. A code counts once: only a step after the
/// last one that counted does (RFC 6238 §5.2).
///
/// # Errors
/// The secret is too short, which is a bug.
pub fn step_of(code: &str, secret: &[u8], now: Timestamp) -> Result<Option<i64>, Fault> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let seconds = u64::try_from(now.as_seconds()).unwrap_or_default();
    let step = totp(secret, "", "Jeton")?.check(&code, seconds);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// A recovery code from random bytes: `xxxx-xxxx-xxxx-xxxx`.
#[must_use]
pub fn recovery_code(entropy: [u8; RECOVERY]) -> SecretString {
    let mut bits = entropy.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let mut text = String::new();
    for at in 0..16 {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[(bits & 31) as usize]));
        bits >>= 5;
    }
    SecretString::from(text)
}

/// What the store has of a recovery code, as it may be typed: in any case, with or without what separates; `None` for
/// what cannot be one.
#[must_use]
pub fn recovery_hash(typed: &str) -> Option<[u8; 32]> {
    let text: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        })
        .collect();
    let whole = text.len() == 16 && text.bytes().all(|byte| LETTERS.contains(&byte));
    whole.then(|| digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const RFC: &[u8] = b"12345678901234567890";

    #[test]
    fn the_test_vectors_of_rfc6238_appendix_b() {
        // The last six of their eight digits.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924")] {
            let now = Timestamp::from_seconds(seconds);
            assert_eq!(step_of(code, RFC, now).unwrap(), Some(seconds / 30), "{seconds}");
            assert_eq!(
                step_of(&format!("{} {}", &code[..3], &code[3..]), RFC, now).unwrap(),
                Some(seconds / 30)
            );
        }
    }

    #[test]
    fn a_code_counts_one_step_early_or_late() {
        let step = |seconds| step_of("081804", RFC, Timestamp::from_seconds(seconds)).unwrap().is_some();
        let begin = 1_111_111_109 / 30 * 30;
        assert!(!step(begin - 31) && step(begin - 30) && step(begin + 59) && !step(begin + 60));
        for bad in ["", "08180", "0818041", "abcdef", "081804'"] {
            assert_eq!(step_of(bad, RFC, Timestamp::from_seconds(begin)).unwrap(), None, "{bad}");
        }
    }

    #[test]
    fn what_is_scanned_is_what_is_typed() {
        let enrolment = enrol(RFC, "ada@example.com", "localhost:8080").unwrap();
        assert_eq!(read_secret(enrolment.secret.expose_secret()).as_deref(), Some(RFC));
        assert!(enrolment.picture.starts_with("M4 4h1") && enrolment.modules > 30);
        assert_eq!(read_secret("MFRGG"), None);
        assert_eq!(read_secret("!"), None);
    }

    #[test]
    fn a_recovery_code_is_read_as_people_type_it() {
        let code = recovery_code([0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let text = code.expose_secret();
        assert_eq!(text.len(), 19);
        let typed = text.to_uppercase().replace('-', " ").replace('0', "O").replace('1', "l");
        assert_eq!(recovery_hash(&typed), recovery_hash(text));
        assert!(recovery_hash(text).is_some());
        assert_eq!(recovery_hash("short"), None);
    }
}
