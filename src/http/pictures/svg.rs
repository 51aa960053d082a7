//! What all pictures are made of.

use std::fmt::Write as _;

use crate::domain::time::Timestamp;

/// How many characters of a label are drawn; the whole text is in its title.
const LABEL: usize = 22;

/// A picture that grows.
pub(super) struct Svg {
    text: String,
}

/// What a picture is to whoever does not see it.
pub(super) enum Role {
    /// One image, told by its description.
    Image,
    /// A group of links.
    Group,
}

// === impl Svg ===

impl Svg {
    /// A picture of this size, with what it is called and what it shows in words.
    pub(super) fn new(
        id: &str,
        role: &Role,
        (width, height): (u32, u32),
        title: &str,
        described: &str,
    ) -> Self {
        let id = word(id);
        let role = match role {
            Role::Image => "img",
            Role::Group => "group",
        };
        let mut svg = Self { text: String::new() };
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" viewBox=\"0 0 {width} {height}\" \
             role=\"{role}\" aria-labelledby=\"{id}-title {id}-desc\">\
             <title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>",
            escape(title),
            escape(described)
        ));
        svg
    }

    /// Adds markup, in which every text is escaped already.
    pub(super) fn put(&mut self, markup: std::fmt::Arguments<'_>) {
        // A string takes whatever is written.
        let _ = self.text.write_fmt(markup);
    }

    /// A text at a place.
    pub(super) fn label(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.put(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }

    /// A line between two places.
    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A filled box, with what it stands for.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), title: &str) {
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">"
        ));
        if !title.is_empty() {
            self.put(format_args!("<title>{}</title>", escape(title)));
        }
        self.put(format_args!("</rect>"));
    }

    /// Lines across a box, which tell it from others without its colour.
    pub(super) fn hatch(&mut self, id: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let id = word(id);
        self.put(format_args!(
            "<rect fill=\"url(#{id}-hatch)\" class=\"picture-through\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// What [`Svg::hatch`] draws with.
    pub(super) fn define_hatch(&mut self, id: &str) {
        let id = word(id);
        self.put(format_args!(
            "<defs><pattern id=\"{id}-hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect class=\"picture-hatch\" width=\"2\" height=\"6\"/></pattern></defs>"
        ));
    }

    /// The whole picture.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// A text as it stands in markup, without what XML cannot hold.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An identifier that can stand in `url(#…)` and between spaces.
fn word(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// A link's target, if it is a path of this server: nothing else is ever linked.
pub(super) fn local(href: &str) -> Option<String> {
    let is_path =
        href.starts_with('/') && !href.starts_with("//") && !href.contains(['\\', '\n', '\r', '\t']);
    is_path.then(|| escape(href))
}

/// A label that fits: identifiers differ at their ends as often as at their beginnings.
pub(super) fn fitted(text: &str) -> String {
    let length = text.chars().count();
    if length <= LABEL {
        return text.to_owned();
    }
    let head: String = text.chars().take(LABEL / 2).collect();
    let tail: String = text.chars().skip(length - (LABEL - LABEL / 2 - 1)).collect();
    format!("{head}…{tail}")
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number on an axis.
pub(super) fn short(number: u64) -> String {
    let in_unit = |unit: u64, name: &str| {
        let tenths = number / (unit / 10);
        if tenths.is_multiple_of(10) {
            format!("{}{name}", tenths / 10)
        } else {
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        }
    };
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => in_unit(1_000, "k"),
        1_000_000..1_000_000_000 => in_unit(1_000_000, "M"),
        _ => in_unit(1_000_000_000, "G"),
    }
}

/// The day of a time: `2026-11-22`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The minute of a time: `08:00`.
pub(super) fn minute(at: Timestamp) -> String {
    at.to_string().chars().skip(11).take(5).collect()
}

/// Both.
pub(super) fn day_and_minute(at: Timestamp) -> String {
    format!("{} {} UTC", day(at), minute(at))
}

/// "1 key", "2 keys".
pub(super) fn many(number: u64, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {one}{s}", grouped(number))
}

/// A picture cannot be finer than this: what is lost does not show.
#[expect(clippy::cast_precision_loss, reason = "a coordinate")]
pub(super) const fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_told_shortly_and_in_full() {
        for (number, in_full, on_axis) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1,000", "1k"),
            (1_550, "1,550", "1.5k"),
            (250_000, "250,000", "250k"),
            (1_234_567, "1,234,567", "1.2M"),
            (20_000_000_000, "20,000,000,000", "20G"),
        ] {
            assert_eq!((grouped(number), short(number)), (in_full.to_owned(), on_axis.to_owned()));
        }
    }

    #[test]
    fn links_stay_on_this_server() {
        for good in ["/admin/clients/a", "/admin/clients/a%20b?x=1&y=2"] {
            assert!(local(good).is_some(), "{good}");
        }
        for bad in
            ["javascript:alert(1)", "//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "a"]
        {
            assert_eq!(local(bad), None, "{bad}");
        }
        assert_eq!(local("/a\"b&c").unwrap(), "/a&quot;b&amp;c");
    }

    #[test]
    fn a_long_label_keeps_both_ends() {
        assert_eq!(fitted("short"), "short");
        let fitted = fitted("https://orders.internal.example/v1");
        assert_eq!(fitted, "https://ord…example/v1");
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "\\PC*|[<>&\"'\\x00-\\x1f]*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']) && !escaped.chars().any(char::is_control));
        }
    }
}
