//! A token as it was sent: read, and not believed.

use crate::domain::spiffe::SpiffeId;
use crate::domain::time::Timestamp;
use crate::jose::{Algorithm, ForeignKey, Object, TokenType, Unverified};
use crate::oauth::foreign_jwt::{self, open, payload};
use crate::runtime::remote_keys::KeySet;

use super::Reason;

/// The most characters of a token: clouds put long lists into theirs.
pub const LONGEST: usize = 16_384;

/// The most keys with one `kid` that a signature is tried with.
const MOST_TRIED: usize = 4;

/// A token that could be read. It has no `Debug` form: until it has ended, whoever has it is who it is about.
pub(super) struct Claimed {
    compact: String,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) kind: Kind,
    claims: Object,
}

/// What its header says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsaid,
    Jwt,
    ClientAuthentication,
    AccessToken,
    Jose,
    Other,
}

/// What a set of keys says of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// It is of a key of this set.
    Good,
    /// The key that it names is there, and it is not its signature.
    Wrong,
    /// The key that it names is not there; or it names none, and not exactly one could be meant.
    KeyUnknown,
}

// === impl Kind ===

impl Kind {
    fn of(unverified: &Unverified<'_>) -> Self {
        if unverified.has_no_type() {
            return Self::Unsaid;
        }
        let known = [
            (TokenType::Jwt, Self::Jwt),
            (TokenType::ClientAuthentication, Self::ClientAuthentication),
            (TokenType::AccessToken, Self::AccessToken),
            (TokenType::Jose, Self::Jose),
        ];
        known.into_iter().find(|(typ, _)| unverified.is(*typ)).map_or(Self::Other, |(_, kind)| kind)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unsaid => "none",
            Self::Jwt => "JWT",
            Self::ClientAuthentication => "client-authentication+jwt",
            Self::AccessToken => "at+jwt",
            Self::Jose => "JOSE",
            Self::Other => "that of another kind of token",
        }
    }
}

// === impl Claimed ===

impl Claimed {
    /// Reads a token: the compact serialisation alone (RFC 7515 §7.1), with a header that is understood and the payload
    /// of a JSON object.
    pub(super) fn read(compact: &str) -> Result<Self, Reason> {
        let unverified = open(compact, LONGEST)?;
        let claims = payload(&unverified)?;
        Ok(Self {
            algorithm: unverified.algorithm(),
            kid: unverified.key_id().map(str::to_owned),
            kind: Kind::of(&unverified),
            claims,
            compact: compact.to_owned(),
        })
    }

    /// Whose signature it is, as far as this set can say.
    pub(super) fn signature(&self, set: &KeySet) -> Signature {
        let fitting = set.keys().iter().filter(|key| {
            key.with(self.algorithm).is_some() && self.kid.as_deref().is_none_or(|kid| kid == key.kid())
        });
        let mut fitting: Vec<_> = fitting.take(MOST_TRIED).collect();
        if self.kid.is_none() && fitting.len() > 1 {
            fitting.clear();
        }
        if fitting.is_empty() {
            return Signature::KeyUnknown;
        }
        if fitting.iter().any(|key| self.is_signed_with(key)) { Signature::Good } else { Signature::Wrong }
    }

    fn is_signed_with(&self, key: &ForeignKey) -> bool {
        // It was parsed before; once more costs less than keeping what borrows from the text.
        let Ok(unverified) = Unverified::parse(&self.compact) else { return false };
        key.with(self.algorithm).is_some_and(|key| unverified.is_signed_by(key))
    }

    /// What the signature is of.
    pub(super) fn signed(&self) -> &str {
        self.compact.rsplit_once('.').map_or("", |(signed, _)| signed)
    }

    /// A claim, if it is a text. Who asks before the signature was verified may find a key by it, or say what cannot be
    /// believed, and nothing else.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Who it says that it is about, if that is a SPIFFE ID.
    pub(super) fn spiffe_id(&self) -> Option<SpiffeId> {
        SpiffeId::new(self.text("sub")?).ok()
    }

    /// Whether there is such a claim at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.claims.get(name).is_some()
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Reason> {
        foreign_jwt::time(&self.claims, name)
    }

    pub(super) fn audience(&self) -> Result<Vec<String>, Reason> {
        foreign_jwt::audience(self.claims.get("aud"))
    }

    /// All that it says: of one that counts, or for showing what cannot be believed.
    pub(super) fn into_claims(self) -> Object {
        self.claims
    }
}
