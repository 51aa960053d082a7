//! Changing what somebody else may have changed in the meantime: the version that a form is based on, and both
//! versions side by side when it is no longer the one that is stored.

use super::error::PageError;
use super::form::Form;

/// A field of a form, and what people call it.
pub(super) type Label = (&'static str, &'static str);

/// A field that has another value than what is stored.
pub(super) struct Difference {
    /// What people call it.
    pub(super) label: &'static str,
    /// What is stored.
    pub(super) stored: String,
    /// What was typed.
    pub(super) typed: String,
}

/// The version that a form is based on.
///
/// # Errors
/// It does not say, so it does not come from our pages.
pub(super) fn version(form: &Form) -> Result<i64, PageError> {
    form.text("version").parse().map_err(|_| PageError::Malformed("The form names no version".to_owned()))
}

/// What differs from what is stored by now.
pub(super) fn differences(typed: &Form, stored: &Form, labels: &[Label]) -> Vec<Difference> {
    let differs = labels.iter().filter(|(name, _)| !typed.agrees(stored, name));
    let difference =
        |(name, label): &Label| Difference { label, stored: stored.line(name), typed: typed.line(name) };
    differs.map(difference).collect()
}

/// The lines of a field that are stored and were not typed again: what a change takes away.
pub(super) fn removed<'s>(typed: &Form, stored: &'s Form, name: &str) -> Vec<&'s str> {
    let kept: Vec<&str> = typed.lines(name).collect();
    stored.lines(name).filter(|line| !kept.contains(line)).collect()
}

/// Both versions side by side, and the form as it was typed, based on what is stored now: sent once more, it counts.
pub(super) struct Clash {
    /// What was typed.
    pub(super) form: Form,
    /// Where it differs.
    pub(super) differences: Vec<Difference>,
}

// === impl Clash ===

impl Clash {
    /// `stored` is the form of what is stored now, its version included.
    pub(super) fn new(mut typed: Form, stored: &Form, labels: &[Label]) -> Self {
        let differences = differences(&typed, stored, labels);
        typed.replace("version", stored.text("version"));
        Self { form: typed, differences }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clash_keeps_what_was_typed_and_names_what_differs() {
        let of = |description: &str, version: &str| {
            Form::of([
                ("description", description.to_owned()),
                ("owner", "a".to_owned()),
                ("version", version.to_owned()),
            ])
        };
        let labels = [("description", "Description"), ("owner", "Owner")];
        let clash = Clash::new(of("Mine", "1"), &of("Theirs", "2"), &labels);
        let named: Vec<_> = clash.differences.iter().map(|d| (d.label, &*d.stored, &*d.typed)).collect();
        assert_eq!(named, [("Description", "Theirs", "Mine")]);
        assert_eq!((clash.form.text("description"), clash.form.text("version")), ("Mine", "2"));
    }
}
