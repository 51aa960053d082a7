//! Conditions on the claims of somebody else's token: which of its tokens are meant.
//!
//! A condition names a claim and says what it must be: exactly a text, or a text in which `*` stands for anything,
//! anchored at both ends. All conditions must hold; a claim that is absent is never what it must be.
//!
//! Finding the one set among many that holds must not mean trying each. So every set has a [`Shape`], which claims it
//! looks at, and under that a [`MatchKey`], made from what it wants there. A registry has few shapes however many sets
//! it has, and for each shape the claims of a token give the keys that they could be found under.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::error::FieldError;
use super::text::shortened;
use crate::jose::Object;

/// The most conditions of one set.
pub const MOST_CONDITIONS: usize = 20;

/// The most characters of a claim's name, and of what it must be.
const LONGEST_CLAIM: usize = 200;
const LONGEST_VALUE: usize = 500;

/// The most keys under which one token is looked for by one shape: claims with long lists of values could be made to
/// ask for as many as they like.
const MOST_KEYS: usize = 50;

/// The least of a beginning or end that a set is filed by beside exact conditions: less tells few apart.
const LEAST_FILED: usize = 4;

/// The most bytes of a shape as it is stored, where PostgreSQL indexes it: an entry there has 2,704 at most. What does
/// not fit tells no sets apart, and is one more thing to look at in those that are found.
const LONGEST_SHAPE: usize = 2_000;

/// Names a claim: a member's name (`sub`), or a JSON pointer (RFC 6901) to something within one
/// (`/kubernetes.io/namespace`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "/kubernetes.io/namespace", min_length = 1, max_length = 200)]
pub struct ClaimPath(Arc<str>);

/// What a claim must be: a text in which `*` stands for any text, also none. Everything else stands for itself, from
/// the first character to the last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "repo:octo-org/octo-repo:*", min_length = 1, max_length = 500)]
pub struct Pattern(Arc<str>);

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which claim.
    pub claim: ClaimPath,
    /// What it must be. If the claim is a list, what one of its members must be.
    pub value: Pattern,
}

/// Conditions that must all hold. There is at least one, and at least one of them is exact or begins or ends with
/// something: what matches everybody is no condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Condition>", into = "Vec<Condition>")]
pub struct Conditions(Vec<Condition>);

/// How a condition fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds.
    Holds,
    /// There is no such claim.
    Absent,
    /// The claim is something else: this, as far as it is a text, a number, a truth value or a list of such.
    Differs(Vec<String>),
}

/// Which claims a set of conditions looks at, and how: what it is filed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(Vec<Facet>);

/// One claim of a shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Facet {
    claim: ClaimPath,
    of: Extent,
}

/// How much of a claim's text a shape looks at, in bytes: as many whole characters as fit into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Extent {
    All,
    First(usize),
    Last(usize),
}

/// What a set of conditions is found by, among those of its issuer: a hash of its shape and of what it wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchKey(String);

/// A token's claims could be found under too many keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token's claim {claim} has too many values to look for a client by each (over {MOST_KEYS} looks): send client_id"
)]
pub struct TooManyValues {
    /// Where it became too many.
    pub claim: ClaimPath,
}

// === impl ClaimPath ===

impl ClaimPath {
    /// Checks one.
    ///
    /// # Errors
    /// It is empty, too long, or a JSON pointer that is not well formed.
    pub fn new(text: &str) -> Result<Self, FieldError> {
        let refused = |fix: &'static str| {
            Err(FieldError::new("claim", format!("'{}' is not allowed", shortened(text)), fix))
        };
        if text.is_empty() || text.chars().count() > LONGEST_CLAIM || text.chars().any(char::is_control) {
            return refused("use a claim's name, for example sub, of 1 to 200 printable characters");
        }
        let mut escapes = text.split('~').skip(1);
        if text.starts_with('/') && !escapes.all(|rest| rest.starts_with(['0', '1'])) {
            return refused("in a JSON pointer write ~0 for ~ and ~1 for / (RFC 6901)");
        }
        Ok(Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is there, if something is.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Object) -> Option<&'c Value> {
        let Some(pointer) = self.0.strip_prefix('/') else { return claims.get(&self.0) };
        let (first, rest) = pointer.find('/').map_or((pointer, ""), |at| pointer.split_at(at));
        let first: Cow<'_, str> = if first.contains('~') {
            first.replace("~1", "/").replace("~0", "~").into()
        } else {
            first.into()
        };
        claims.get(&first)?.pointer(rest)
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = FieldError;
    fn try_from(text: String) -> Result<Self, FieldError> {
        Self::new(&text)
    }
}

impl From<ClaimPath> for String {
    fn from(path: ClaimPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Pattern ===

impl Pattern {
    /// Checks one.
    ///
    /// # Errors
    /// It is empty, too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, FieldError> {
        if text.is_empty() || text.chars().count() > LONGEST_VALUE || text.chars().any(char::is_control) {
            return Err(FieldError::new(
                "value",
                format!("'{}' is not allowed", shortened(text)),
                "use 1 to 500 printable characters; * stands for any text",
            ));
        }
        Ok(Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one text alone.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether a text fits it, from its first character to its last.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(between) = text.strip_prefix(first).and_then(|text| text.strip_suffix(last)) else {
            return false;
        };
        // The first place where each part can be leaves the most for those that follow.
        let mut left = between;
        middle.split('*').all(|part| {
            let at = left.find(part);
            left = at.map_or("", |at| &left[at + part.len()..]);
            at.is_some()
        })
    }

    /// What it begins with, and what it ends with.
    fn ends(&self) -> (&str, &str) {
        let before = self.0.split('*').next().unwrap_or_default();
        (before, self.0.rsplit('*').next().unwrap_or_default())
    }
}

impl TryFrom<String> for Pattern {
    type Error = FieldError;
    fn try_from(text: String) -> Result<Self, FieldError> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_ref().to_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Condition ===

impl Condition {
    /// How it fares with these claims.
    #[must_use]
    pub fn find(&self, claims: &Object) -> Finding {
        let Some(value) = self.claim.find(claims) else { return Finding::Absent };
        let texts = texts(value);
        if texts.iter().any(|text| self.value.fits(text)) {
            return Finding::Holds;
        }
        Finding::Differs(texts.into_iter().map(Cow::into_owned).collect())
    }

    /// Whether it holds for these claims.
    #[must_use]
    pub fn holds(&self, claims: &Object) -> bool {
        self.claim.find(claims).is_some_and(|value| texts(value).iter().any(|text| self.value.fits(text)))
    }
}

/// What of a claim can be compared with a text: a text, an integer, a truth value; of a list those of its members that
/// are such.
fn texts(value: &Value) -> Vec<Cow<'_, str>> {
    fn one(value: &Value) -> Option<Cow<'_, str>> {
        match value {
            Value::String(text) => Some(text.into()),
            Value::Bool(truth) => Some(if *truth { "true" } else { "false" }.into()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
            _ => None,
        }
    }
    match value {
        Value::Array(members) => members.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

// === impl Conditions ===

impl Conditions {
    /// Checks a set. Their order does not matter, and one that stands twice counts once.
    ///
    /// # Errors
    /// There is none, there are too many, or none of them holds on to anything.
    pub fn new(mut conditions: Vec<Condition>) -> Result<Self, FieldError> {
        conditions.sort();
        conditions.dedup();
        let count = conditions.len();
        if !(1..=MOST_CONDITIONS).contains(&count) {
            return Err(FieldError::new("conditions", format!("{count} conditions"), "use 1 to 20 of them"));
        }
        let holds_on =
            |condition: &Condition| condition.value.is_exact() || condition.value.ends() != ("", "");
        if !conditions.iter().any(holds_on) {
            return Err(FieldError::new(
                "conditions",
                "none of them is exact, or begins or ends with something",
                "say at least of one claim how it begins or ends: *x* alone is anybody's",
            ));
        }
        Ok(Self(conditions))
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Whether all of them hold.
    #[must_use]
    pub fn hold(&self, claims: &Object) -> bool {
        self.0.iter().all(|condition| condition.holds(claims))
    }

    /// What it is filed by: every claim of which it says exactly what it must be, and the longest beginning or end that
    /// it wants of another; of very long names of claims as many as fit.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape(self.facets().into_iter().map(|(facet, _)| facet).collect())
    }

    /// What it is found by.
    #[must_use]
    pub fn match_key(&self) -> MatchKey {
        let (facets, wanted): (Vec<_>, Vec<_>) = self.facets().into_iter().unzip();
        MatchKey::new(&Shape(facets), &wanted)
    }

    /// The claims that it is filed by, with what it wants of each. No claim twice: of a list with many members each pair
    /// would have to be tried.
    fn facets(&self) -> Vec<(Facet, &str)> {
        let mut facets: Vec<(Facet, &str)> = Vec::new();
        let mut left = LONGEST_SHAPE;
        for condition in self.0.iter().filter(|condition| condition.value.is_exact()) {
            let facet = Facet { claim: condition.claim.clone(), of: Extent::All };
            let is_new = facets.iter().all(|(filed, _)| filed.claim != facet.claim);
            if is_new && let Some(less) = left.checked_sub(facet.stored_length()) {
                left = less;
                facets.push((facet, condition.value.as_str()));
            }
        }
        let others = self.0.iter().filter(|one| !one.value.is_exact());
        let others = others.filter(|one| facets.iter().all(|(facet, _)| facet.claim != one.claim));
        let ends = others.flat_map(|condition| {
            let (first, last) = condition.value.ends();
            let facet = |of| Facet { claim: condition.claim.clone(), of };
            [
                (facet(Extent::First(filed(first.len()))), first),
                (facet(Extent::Last(filed(last.len()))), last),
            ]
        });
        let longest =
            ends.filter(|(facet, _)| facet.stored_length() <= left).max_by_key(|(_, text)| text.len());
        let enough = |text: &str| facets.is_empty() || text.len() >= LEAST_FILED;
        if let Some((facet, text)) = longest.filter(|(_, text)| enough(text))
            && let Some(wanted) = facet.of.cut(text)
        {
            facets.push((facet, wanted));
        }
        facets
    }
}

/// How many bytes of so long a beginning or end a set is filed by: nearly all, because what tells the names of one
/// registry apart is often at their end, and of few lengths, so that there are few shapes however long the names are.
const fn filed(length: usize) -> usize {
    let step = if length < LEAST_FILED {
        1
    } else if length < 64 {
        4
    } else {
        16
    };
    length - length % step
}

impl TryFrom<Vec<Condition>> for Conditions {
    type Error = FieldError;
    fn try_from(conditions: Vec<Condition>) -> Result<Self, FieldError> {
        Self::new(conditions)
    }
}

impl From<Conditions> for Vec<Condition> {
    fn from(conditions: Conditions) -> Self {
        conditions.0
    }
}

// === impl Facet ===

impl Facet {
    /// How many bytes it adds to a stored shape, with what stands between two.
    fn stored_length(&self) -> usize {
        serde_json::to_string(self).unwrap_or_default().len() + 1
    }
}

// === impl Shape ===

impl Shape {
    /// As it is stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was stored; nothing, when it is none.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Everything that a set of conditions of this shape can be found by, if these claims fulfil it.
    ///
    /// # Errors
    /// That would be too much.
    pub fn keys(&self, claims: &Object) -> Result<Vec<MatchKey>, TooManyValues> {
        let found: Vec<Vec<Cow<'_, str>>> =
            self.0.iter().map(|facet| facet.claim.find(claims).map(texts).unwrap_or_default()).collect();
        let cut = self.0.iter().zip(&found).map(|(facet, texts)| {
            let mut cut: Vec<&str> = texts.iter().filter_map(|text| facet.of.cut(text)).collect();
            cut.sort_unstable();
            cut.dedup();
            (facet, cut)
        });
        let cut: Vec<(&Facet, Vec<&str>)> = cut.collect();
        // Where one claim is not what is looked at, nothing is found, however many values the others have.
        if cut.iter().any(|(_, texts)| texts.is_empty()) {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<Vec<&str>> = vec![Vec::new()];
        for (facet, texts) in &cut {
            if wanted.len().saturating_mul(texts.len()) > MOST_KEYS {
                return Err(TooManyValues { claim: facet.claim.clone() });
            }
            wanted = wanted
                .iter()
                .flat_map(|before| texts.iter().map(move |text| [&before[..], &[*text]].concat()))
                .collect();
        }
        Ok(wanted.iter().map(|wanted| MatchKey::new(self, wanted)).collect())
    }
}

// === impl Extent ===

impl Extent {
    /// What it looks at of a text, unless that is too short. Of all texts that begin (or end) with one that is long
    /// enough it is the same.
    fn cut(self, text: &str) -> Option<&str> {
        match self {
            Self::All => Some(text),
            Self::First(bytes) if bytes <= text.len() => Some(&text[..text.floor_char_boundary(bytes)]),
            Self::Last(bytes) => Some(&text[text.ceil_char_boundary(text.len().checked_sub(bytes)?)..]),
            Self::First(_) => None,
        }
    }
}

// === impl MatchKey ===

impl MatchKey {
    fn new(shape: &Shape, wanted: &[&str]) -> Self {
        let mut all = shape.to_text();
        for text in wanted {
            // The length before each, so that no two lists give the same text.
            all.extend(["\n", &text.len().to_string(), ":", text]);
        }
        Self(BASE64URL.encode(digest(&SHA256, all.as_bytes())))
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[path = "claim_conditions_tests.rs"]
mod tests;
