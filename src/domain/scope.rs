//! The OAuth `scope` parameter (RFC 6749 §3.3).

use std::collections::BTreeSet;
use std::fmt;

use super::error::{ErrorCode, OAuthError};
use super::ids::Permission;

/// A set of permissions asked for or granted, without order or repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<Permission>);

// === impl Scope ===

impl Scope {
    /// Reads a `scope` parameter. Absent, empty and blank all mean "nothing asked for": `None`.
    ///
    /// Spaces are only separators, so that doubled ones are harmless.
    ///
    /// # Errors
    /// `invalid_scope` when a value has a character that RFC 6749 §3.3 does not allow.
    pub fn parse(parameter: Option<&str>) -> Result<Option<Self>, OAuthError> {
        let values = parameter.unwrap_or_default().split(' ').filter(|value| !value.is_empty());
        let set = values
            .map(|value| {
                Permission::new(value).map_err(|_| {
                    OAuthError::new(
                        ErrorCode::InvalidScope,
                        "a scope value is malformed; separate values by single spaces and use printable ASCII only",
                    )
                })
            })
            .collect::<Result<BTreeSet<_>, _>>()?;
        Ok((!set.is_empty()).then_some(Self(set)))
    }

    /// The values, in order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds `permission`.
    #[must_use]
    pub fn contains(&self, permission: &str) -> bool {
        self.0.contains(permission)
    }

    /// Whether all of it is also in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<Permission> for Scope {
    fn from_iter<I: IntoIterator<Item = Permission>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_blank_are_absent() {
        for parameter in [None, Some(""), Some(" "), Some("   ")] {
            assert_eq!(Scope::parse(parameter), Ok(None));
        }
    }

    #[test]
    fn only_the_space_separates() {
        assert!(Scope::parse(Some("a\tb")).is_err());
        assert!(Scope::parse(Some("a\u{a0}b")).is_err());
    }

    proptest! {
        #[test]
        fn order_repetition_and_spacing_do_not_matter(
            mut values in prop::collection::vec("[!#-\\[\\]-~]{1,12}", 1..8),
            gap in " {1,3}",
        ) {
            let once = Scope::parse(Some(&values.join(" "))).unwrap();
            values.reverse();
            values.push(values[0].clone());
            let again = Scope::parse(Some(&format!(" {} ", values.join(&gap)))).unwrap();
            prop_assert_eq!(&once, &again);
            let text = once.unwrap().to_string();
            prop_assert_eq!(Scope::parse(Some(&text)).unwrap(), again);
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Scope::parse(Some(&text));
        }
    }
}
