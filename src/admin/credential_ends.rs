//! The ends of secrets, keys and certificates, as forms give them, and what is wrong with them.

use std::time::Duration;

use super::AdminError;
use crate::domain::error::FieldError;
use crate::domain::text::check_text;
use crate::domain::time::Timestamp;

/// When a new one ends.
pub(super) fn end(
    expires_at: Option<Timestamp>,
    expires_in: Option<u32>,
    now: Timestamp,
) -> Option<Timestamp> {
    expires_in.map(|seconds| now.plus(Duration::from_secs(seconds.into()))).or(expires_at)
}

/// What is wrong with the end of a new one, if anything is.
pub(super) fn check_end(
    expires_at: Option<Timestamp>,
    expires_in: Option<u32>,
    now: Timestamp,
) -> Option<FieldError> {
    if expires_at.is_some() && expires_in.is_some() {
        return Some(FieldError::new("expires_in", "expires_at is given too", "give one of them"));
    }
    if end(expires_at, expires_in, now).is_some_and(|end| end <= now) {
        let field = if expires_in.is_some() { "expires_in" } else { "expires_at" };
        return Some(FieldError::new(field, "it is not in the future", "name a later time, or leave it out"));
    }
    None
}

/// Checks what a change says of one, and its end; `fix` says what else could be done about one that has passed.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn check_change(
    (description, expires_at): (Option<&str>, Option<Timestamp>),
    now: Timestamp,
    fix: &'static str,
) -> Result<(), AdminError> {
    let mut errors = Vec::new();
    errors.extend(description.and_then(|text| check_text("description", text, 255).err()));
    if expires_at.is_some_and(|end| end <= now) {
        errors.push(FieldError::new("expires_at", "it is not in the future", fix));
    }
    if errors.is_empty() { Ok(()) } else { Err(AdminError::Invalid(errors)) }
}
