/// The `typ` header, which keeps one kind of token from being taken for another (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// `JWT`.
    Jwt,
    /// `token-introspection+jwt` (RFC 9701 §5).
    Introspection,
    /// A signed checkpoint of the audit; no verifier of tokens knows it.
    AuditCheckpoint,
    /// `dpop+jwt` (RFC 9449 §4.2): not a token, but the proof of a key.
    DpopProof,
    /// `client-authentication+jwt` (RFC 10070): what a client proves itself with.
    ClientAuthentication,
    /// `JOSE`, which a JWT-SVID may say instead of `JWT`.
    Jose,
}

// === impl TokenType ===

impl TokenType {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
            Self::Introspection => "token-introspection+jwt",
            Self::AuditCheckpoint => "jeton-audit-checkpoint+jwt",
            Self::DpopProof => "dpop+jwt",
            Self::ClientAuthentication => "client-authentication+jwt",
            Self::Jose => "JOSE",
        }
    }

    /// Whether a `typ` header says this type: media types compare without case, and may carry the
    /// `application/` that RFC 7515 §4.1.9 lets one leave out.
    #[must_use]
    pub fn matches(self, typ: Option<&str>) -> bool {
        typ.is_some_and(|typ| {
            let short = typ
                .get(..12)
                .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
                .map_or(typ, |prefix| &typ[prefix.len()..]);
            short.eq_ignore_ascii_case(self.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typ_compares_as_a_media_type() {
        assert!(TokenType::AccessToken.matches(Some("application/AT+JWT")));
        assert!(!TokenType::AccessToken.matches(None));
        assert!(!TokenType::Jwt.matches(Some("at+jwt")));
    }
}
