//! Errors as values: what the caller may read apart from what only the audit may hold.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

/// The `error` values of RFC 6749 §5.2, `invalid_target` of RFC 8707 §2, those of RFC 9449 §5 and §8, and
/// `temporarily_unavailable` of RFC 6749 §4.1.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is malformed, repeats a parameter, or authenticates in two ways at once.
    InvalidRequest,
    /// Client authentication failed, whatever the reason.
    InvalidClient,
    /// The assertion that stands for an authorization does not count, or is another client's.
    InvalidGrant,
    /// The client may not use this grant type.
    UnauthorizedClient,
    /// No such grant type here.
    UnsupportedGrantType,
    /// An asked scope value is malformed, unknown or not granted.
    InvalidScope,
    /// The asked resource server is unknown, not granted, or not named where it must be.
    InvalidTarget,
    /// The DPoP proof is missing where there must be one, or is not one for this request.
    InvalidDpopProof,
    /// The DPoP proof needs the nonce that comes with the answer.
    UseDpopNonce,
    /// Too many authentications have failed from there.
    TemporarilyUnavailable,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::TemporarilyUnavailable,
    ];

    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// A refusal in OAuth's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The `error` parameter.
    pub code: ErrorCode,
    /// The `error_description`: what the caller may know, and what to do about it.
    pub public: Cow<'static, str>,
    /// The exact reason, for the audit and the administrator only.
    pub private: Cow<'static, str>,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

// === impl OAuthError ===

impl OAuthError {
    /// A refusal whose reason holds nothing that the caller did not send.
    #[must_use]
    pub fn new(code: ErrorCode, public: impl Into<Cow<'static, str>>) -> Self {
        let public = public.into();
        Self { code, private: public.clone(), public, retry_after: None }
    }

    /// The same refusal with a reason that the caller is not told.
    #[must_use]
    pub fn because(mut self, private: impl Into<Cow<'static, str>>) -> Self {
        self.private = private.into();
        self
    }

    /// A malformed request.
    #[must_use]
    pub fn invalid_request(public: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, public)
    }

    /// Failed client authentication. The text never varies with the reason, so that an unknown
    /// client, a wrong secret and a disabled client look the same.
    #[must_use]
    pub fn invalid_client(private: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            ErrorCode::InvalidClient,
            "client authentication failed; the audit log has the reason under this response's x-request-id",
        )
        .because(private)
    }

    /// An assertion that does not count as an authorization (RFC 7521 §4.1.1). Its text never varies either.
    #[must_use]
    pub fn invalid_grant(private: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            ErrorCode::InvalidGrant,
            "the assertion is not accepted; the audit log has the reason under this response's x-request-id",
        )
        .because(private)
    }

    /// Too many authentications have failed. The text never varies either, nor does it say which limit it is.
    #[must_use]
    pub fn too_many_failures(retry_after: Duration, private: impl Into<Cow<'static, str>>) -> Self {
        let public = "too many authentications have failed from here: correct the credential, and try again after \
                      the seconds of Retry-After";
        let error = Self::new(ErrorCode::TemporarilyUnavailable, public).because(private);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The description in the characters that RFC 6749 §5.2 allows.
    #[must_use]
    pub fn description(&self) -> String {
        self.public
            .chars()
            .map(|c| match c {
                '"' | '\\' => '\'',
                ' '..='~' => c,
                _ => '?',
            })
            .collect()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.private)
    }
}

impl std::error::Error for OAuthError {}

/// Something on our side went wrong. Never a verdict about the caller.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whether trying again can help.
    pub kind: FaultKind,
    /// What happened, for the log only. Never holds a secret.
    pub detail: String,
}

/// Whether a fault passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The database, or a bounded resource, is away for now: 503 with `Retry-After`.
    Unavailable,
    /// The same, of a change of which nobody knows whether it was made: 503, in other words.
    Uncertain,
    /// A bug or a corrupt store: 500.
    Internal,
    /// What an operator has set up cannot work, and no restart mends it: 500, and the program ends with 78.
    Setup,
}

// === impl FaultKind ===

impl FaultKind {
    /// Of a file or directory that an operator has named and that cannot be used. Where it is and who may use it stays as
    /// it is until somebody changes it. What is not there may be on its way, from whatever writes secrets and
    /// certificates; and what is wrong with the disk may pass.
    #[must_use]
    pub const fn of_path(error: ErrorKind) -> Self {
        match error {
            ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::Unsupported
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidData => Self::Setup,
            _ => Self::Unavailable,
        }
    }
}

// === impl Fault ===

impl Fault {
    /// A fault that may pass by itself.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Unavailable, detail: detail.to_string() }
    }

    /// A change of which nobody knows whether it was made.
    pub fn uncertain(detail: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Uncertain, detail: detail.to_string() }
    }

    /// What an operator has set up cannot work until they change it.
    pub fn setup(detail: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Setup, detail: detail.to_string() }
    }

    /// A fault that somebody must mend.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Internal, detail: detail.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

/// Why an OAuth request was not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A verdict: recorded, and told to the caller.
    #[error(transparent)]
    Refused(#[from] OAuthError),
    /// No verdict could be reached.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One wrong field of an administrator's input: which, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as it was sent.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub problem: String,
    /// What to send instead.
    pub fix: Cow<'static, str>,
}

// === impl FieldError ===

impl FieldError {
    /// Names a field, its problem and the way out.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<String>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), problem: problem.into(), fix: fix.into() }
    }

    /// The same error under another field name, where a type is used in several places.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.fix)
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restart_mends_is_no_wrong_set_up() {
        let kind = |code| FaultKind::of_path(std::io::Error::from_raw_os_error(code).kind());
        for (name, code) in [("EACCES", 13), ("EPERM", 1), ("EEXIST", 17), ("ENOTDIR", 20), ("EROFS", 30)] {
            assert_eq!(kind(code), FaultKind::Setup, "{name}");
        }
        let passing =
            [("ENOENT", 2), ("EIO", 5), ("EMFILE", 24), ("ENOSPC", 28), ("ETIMEDOUT", 110), ("ESTALE", 116)];
        for (name, code) in passing {
            assert_eq!(kind(code), FaultKind::Unavailable, "{name}");
        }
    }

    #[test]
    fn a_description_keeps_to_rfc6749_5_2_characters() {
        let error = OAuthError::invalid_request("scope \"é\\\n\" is unknown");
        assert_eq!(error.description(), "scope '?'?' is unknown");
    }
}
