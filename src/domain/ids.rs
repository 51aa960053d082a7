//! Names and identifiers, each a type of its own, so that one is never passed for another.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::error::FieldError;
use super::text::{SECRET_PREFIX, shortened};

/// Declares a checked text type: cheap to clone, ordered by bytes, refused when malformed. What OpenAPI says of it
/// are the most characters, the pattern and an example.
macro_rules! text {
    (
        $(#[$doc:meta])*
        $name:ident, $field:literal, ($most:literal, $pattern:expr, $example:literal), $check:expr, $fix:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps `text`.
            ///
            /// # Errors
            /// The text does not have the form that the type's description gives.
            pub fn new(text: impl AsRef<str>) -> Result<Self, FieldError> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(FieldError::new($field, format!("'{}' is not allowed", shortened(text)), $fix))
                }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = FieldError;
            fn try_from(text: String) -> Result<Self, FieldError> {
                Self::new(text)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
                let text = text.max_length(Some($most)).pattern(Some($pattern));
                text.description(Some($fix)).examples([$example]).into()
            }
        }

        impl ToSchema for $name {}

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }
    };
}

fn printable(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// The pattern of what [`name`] accepts.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._:-]*$";

fn name(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'))
}

text! {
    /// The OAuth `client_id` (RFC 6749 §2.2): public, unique, never changed.
    ///
    /// Any printable text without white space, so that a SPIFFE ID or another server's identifier can
    /// be kept; `self` means the caller in the API's paths, `.` and `..` cannot stand in a path, and what
    /// starts like a generated secret is one that was put into the wrong field: it must not be recorded.
    ClientId, "client_id",
    (255, r"^(?!jtn_)(?!(?:self|\.|\.\.)$)[^\s\u0000-\u001f\u007f-\u009f]+$", "billing"),
    |text| {
        printable(text, 255)
            && !text.contains(char::is_whitespace)
            && !text.starts_with(SECRET_PREFIX)
            && !matches!(text, "self" | "." | "..")
    },
    "use 1 to 255 printable characters without white space, other than 'self', '.' and '..', and not starting with jtn_"
}

text! {
    /// The short name of a resource server, used in paths and on the command line.
    ResourceServerName, "name", (100, NAME, "orders"), name,
    "use 1 to 100 of A-Z a-z 0-9 . _ : - starting with a letter or digit"
}

text! {
    /// A role's name, as it stands in the `roles` claim (RFC 9068 §2.2.3.1).
    RoleName, "name", (100, NAME, "order-reader"), name,
    "use 1 to 100 of A-Z a-z 0-9 . _ : - starting with a letter or digit"
}

text! {
    /// The name of an exchange rule, used in paths, on the command line and in the audit.
    ///
    /// In the API's paths `dry-run` stands for a question, so it cannot be a rule.
    ExchangeRuleName, "name", (100, r"^(?!dry-run$)[A-Za-z0-9][A-Za-z0-9._:-]*$", "orders-to-stock"),
    |text| name(text) && text != "dry-run",
    "use 1 to 100 of A-Z a-z 0-9 . _ : - starting with a letter or digit, other than 'dry-run'"
}

text! {
    /// The name of a trusted issuer, used in paths, on the command line and in the audit.
    ///
    /// In the API's paths `explain` stands for a question and `presets` for a list, so they cannot be issuers.
    TrustedIssuerName, "name", (100, r"^(?!(?:explain|presets)$)[A-Za-z0-9][A-Za-z0-9._:-]*$", "github-actions"),
    |text| name(text) && !matches!(text, "explain" | "presets"),
    "use 1 to 100 of A-Z a-z 0-9 . _ : - starting with a letter or digit, other than 'explain' and 'presets'"
}

text! {
    /// What a resource server calls itself: the token's audience. Compared character by character.
    ///
    /// Usually an absolute URI; clouds want other texts (`sts.amazonaws.com`), so any is allowed.
    Identifier, "identifier",
    (500, r"^(?!\s)[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f]$", "https://orders.example.com"),
    |text| printable(text, 500) && text.trim() == text,
    "use 1 to 500 printable characters without white space at either end"
}

text! {
    /// One `scope-token` of RFC 6749 §3.3, the name of a permission at one resource server.
    Permission, "permission", (200, r"^[!#-\[\]-~]+$", "orders:read"),
    |text| {
        (1..=200).contains(&text.len())
            && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    },
    "use 1 to 200 printable ASCII characters without space, quote or backslash, for example orders:read"
}

text! {
    /// Names one secret of a client in the API, the audit and the logs. Not a secret itself.
    SecretId, "secret_id", (64, r"^[A-Za-z0-9-]+$", "k7q2mzxa"),
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
    "use the secret_id from the list of the client's secrets"
}

text! {
    /// The short name of any credential of a client: of a secret, of a registered key, of a certificate.
    CredentialId, "credential_id", (64, r"^[A-Za-z0-9-]+$", "k7q2mzxa"),
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
    "use the id from the list of the client's credentials"
}

impl From<SecretId> for CredentialId {
    fn from(secret_id: SecretId) -> Self {
        Self(secret_id.0)
    }
}

text! {
    /// The name of somebody who administers: what they sign in with, and what the audit calls them. In lower case, so
    /// that nobody looks like another; an address of mail fits.
    AdministratorName, "name", (100, r"^(?!jtn_)[a-z0-9][a-z0-9._@+-]*$", "ada"),
    |text| {
        text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'+' | b'-'))
            && !text.starts_with(SECRET_PREFIX)
    },
    "use 1 to 100 of a-z 0-9 . _ @ + - starting with a letter or digit, for example ada or ada@example.com"
}

text! {
    /// Names a signing key (`kid`): the RFC 7638 thumbprint of its public part.
    KeyId, "kid", (100, r"^[^\u0000-\u001f\u007f-\u009f]+$", "Sg7b9rBJ0Hc2bV4gkPjGq3n1pXb0C7uN5sTj2aYwVdE"),
    |text| printable(text, 100),
    "use the kid from the list of signing keys"
}

/// Declares a database key. It never leaves the process: paths and answers carry names.
macro_rules! uid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);
    };
}

uid! {
    /// Database key of a client.
    ClientUid
}
uid! {
    /// Database key of a resource server.
    ResourceServerUid
}
uid! {
    /// Database key of an administrator.
    AdministratorUid
}
uid! {
    /// Database key of a role.
    RoleUid
}
uid! {
    /// Database key of an exchange rule.
    ExchangeRuleUid
}
uid! {
    /// Database key of a trusted issuer.
    TrustedIssuerUid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_may_be_anything_printable_without_white_space() {
        for good in ["billing", "a:b%c+dé", "spiffe://prod/ns/a", "0"] {
            assert!(ClientId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\tb", "self", "..", "a\u{7f}", &"x".repeat(256)] {
            assert!(ClientId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_permission_is_a_scope_token_rfc6749_3_3() {
        for good in ["orders:read", "!", "[a]", "https://x/y"] {
            assert!(Permission::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\b", "é"] {
            assert!(Permission::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_value_is_quoted_short() {
        let error = RoleName::new("ä".repeat(500)).unwrap_err();
        assert!(error.problem.chars().count() < 100);
    }
}
