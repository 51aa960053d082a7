//! The lives of signing keys: published, active, retired, and what comes next.

use super::svg::{Role, Svg, day, day_and_minute, escape, fitted, local, many, real};
use crate::domain::time::Timestamp;

/// The lives of the keys of one algorithm or of several.
#[derive(Clone, Debug)]
pub struct KeyTimeLine<'a> {
    /// Makes what the picture refers to its own.
    pub id: &'a str,
    /// What it is called.
    pub title: &'a str,
    /// The keys, from the top.
    pub keys: &'a [KeyLine],
    /// When it is.
    pub now: Timestamp,
    /// When another key begins to sign.
    pub next_rotation_at: Option<Timestamp>,
}

/// The life of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// What it is called.
    pub label: String,
    /// The path of its page.
    pub href: Option<String>,
    /// Since when it is published.
    pub published_at: Timestamp,
    /// When it signs, or began to.
    pub active_at: Timestamp,
    /// When another one signs in its place, or did.
    pub retired_at: Option<Timestamp>,
    /// When it is no longer published.
    pub leaves_at: Option<Timestamp>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 182.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const ROW: f64 = 32.0;
const BAR: f64 = 16.0;

/// How many days are written below.
const DAYS: u32 = 5;

/// The part of a life that something is drawn for.
struct Part {
    class: &'static str,
    name: &'static str,
    hatched: bool,
    from: Timestamp,
    /// Open, when absent.
    to: Option<Timestamp>,
}

/// What is drawn of all time.
struct Scale {
    from: Timestamp,
    to: Timestamp,
}

/// Draws the lives of keys.
#[must_use]
pub fn key_time_line(line: &KeyTimeLine<'_>) -> String {
    let below = TOP + ROW * real(line.keys.len().max(1) as u64);
    // Whole and small.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
    let size = (WIDTH as u32, (below + 66.0) as u32);
    let mut svg = Svg::new(line.id, &Role::Group, size, line.title, &described(line));
    svg.define_hatch(line.id);
    if line.keys.is_empty() {
        svg.label("picture-text picture-middle", WIDTH / 2.0, TOP + 20.0, "There are no keys");
        return svg.finish();
    }
    let scale = Scale::new(line);
    for n in 0..DAYS {
        let at = scale.part(n, DAYS - 1);
        let x = scale.x(at);
        svg.line("picture-grid", (x, TOP), (x, below));
        svg.label("picture-text picture-middle", x.clamp(LEFT + 34.0, WIDTH - 36.0), below + 18.0, &day(at));
    }
    for (row, key) in line.keys.iter().enumerate() {
        let y = TOP + ROW * real(row as u64) + (ROW - BAR) / 2.0;
        draw_key(&mut svg, line.id, &scale, key, y);
    }
    draw_marks(&mut svg, line, &scale, below);
    let mut x = LEFT;
    for (class, name, hatched) in [
        ("picture-published", "published", false),
        ("picture-active", "active", false),
        ("picture-retired", "retired", true),
        ("picture-revoked", "revoked", true),
    ] {
        svg.rect(class, (x, below + 40.0), (12.0, 12.0), "");
        if hatched {
            svg.hatch(line.id, (x, below + 40.0), (12.0, 12.0));
        }
        svg.label("picture-text", x + 18.0, below + 50.0, name);
        x += 110.0;
    }
    svg.finish()
}

fn draw_key(svg: &mut Svg, id: &str, scale: &Scale, key: &KeyLine, y: f64) {
    let href = key.href.as_deref().and_then(local);
    if let Some(href) = &href {
        svg.put(format_args!("<a class=\"picture-link\" href=\"{href}\">"));
    }
    svg.put(format_args!("<g><title>{}</title>", escape(&key.label)));
    svg.label("picture-text", 0.0, y + BAR - 4.0, &fitted(&key.label));
    svg.put(format_args!("</g>"));
    for part in key.parts() {
        let (from, to) = (scale.x(part.from), scale.x(part.to.unwrap_or(scale.to)));
        if to <= from {
            continue;
        }
        let until = part.to.map_or_else(String::new, |to| format!(" until {}", day_and_minute(to)));
        let title = format!("{}: {} from {}{until}", key.label, part.name, day_and_minute(part.from));
        svg.rect(part.class, (from, y), (to - from, BAR), &title);
        if part.hatched {
            svg.hatch(id, (from, y), (to - from, BAR));
        }
    }
    if href.is_some() {
        svg.put(format_args!("</a>"));
    }
}

/// Now, and the next rotation.
fn draw_marks(svg: &mut Svg, line: &KeyTimeLine<'_>, scale: &Scale, below: f64) {
    let mark = |svg: &mut Svg, at: Timestamp, class: &str, (text, y): (&str, f64), from: f64| {
        let x = scale.x(at);
        svg.line(class, (x, from), (x, below));
        let room = 3.6 * real(text.chars().count() as u64);
        svg.label("picture-text picture-middle", x.clamp(LEFT + room, WIDTH - 4.0 - room), y, text);
    };
    mark(svg, line.now, "picture-now", ("now", 32.0), 36.0);
    if let Some(next) = line.next_rotation_at {
        // Not through the word below it.
        let is_near = (scale.x(next) - scale.x(line.now)).abs() < 24.0;
        let text = format!("next rotation {}", day(next));
        mark(svg, next, "picture-next", (&text, 14.0), if is_near { 36.0 } else { 18.0 });
    }
}

// === impl KeyLine ===

impl KeyLine {
    fn parts(&self) -> Vec<Part> {
        // What was withdrawn ends there.
        let end = |at: Option<Timestamp>| match (at, self.revoked_at) {
            (Some(at), Some(revoked)) => Some(at.min(revoked)),
            (at, revoked) => at.or(revoked),
        };
        let until = |at: Timestamp| end(Some(at)).unwrap_or(at);
        let mut parts = vec![
            Part {
                class: "picture-published",
                name: "published",
                hatched: false,
                from: self.published_at,
                to: Some(until(self.active_at)),
            },
            Part {
                class: "picture-active",
                name: "active",
                hatched: false,
                from: self.active_at,
                to: end(self.retired_at.or(self.leaves_at)),
            },
        ];
        if let Some(retired) = self.retired_at {
            parts.push(Part {
                class: "picture-retired",
                name: "retired",
                hatched: true,
                from: retired,
                to: end(self.leaves_at),
            });
        }
        if let Some(revoked) = self.revoked_at {
            parts.push(Part {
                class: "picture-revoked",
                name: "revoked",
                hatched: true,
                from: revoked,
                to: self.leaves_at,
            });
        }
        parts
    }
}

// === impl Scale ===

impl Scale {
    /// All that is known, and a little more on both sides.
    fn new(line: &KeyTimeLine<'_>) -> Self {
        let times = line.keys.iter().flat_map(|key| {
            let ends = [key.retired_at, key.leaves_at, key.revoked_at].into_iter().flatten();
            [key.published_at, key.active_at].into_iter().chain(ends)
        });
        let times = times.chain([line.now]).chain(line.next_rotation_at);
        let (from, to) = times.fold((line.now, line.now), |(from, to), at| (from.min(at), to.max(at)));
        let day = std::time::Duration::from_hours(24);
        let span = std::time::Duration::from_micros(to.as_micros().abs_diff(from.as_micros())).max(day);
        Self { from: from.minus(span / 30), to: from.plus(span).plus(span / 12) }
    }

    fn x(&self, at: Timestamp) -> f64 {
        let all = real(self.to.as_micros().abs_diff(self.from.as_micros()).max(1));
        let at = at.max(self.from).min(self.to);
        let part = real(at.as_micros().abs_diff(self.from.as_micros()));
        LEFT + (WIDTH - LEFT - RIGHT) * part / all
    }

    /// The time so many parts of all after the beginning.
    fn part(&self, n: u32, of: u32) -> Timestamp {
        let all = std::time::Duration::from_micros(self.to.as_micros().abs_diff(self.from.as_micros()));
        self.from.plus(all / of.max(1) * n)
    }
}

/// The picture in words.
fn described(line: &KeyTimeLine<'_>) -> String {
    if line.keys.is_empty() {
        return "There are no keys.".to_owned();
    }
    let (mut published, mut active, mut retired, mut revoked) = (0_u64, 0_u64, 0_u64, 0_u64);
    for key in line.keys {
        if key.revoked_at.is_some() {
            revoked += 1;
        } else if key.active_at > line.now {
            published += 1;
        } else if key.retired_at.is_some_and(|at| at <= line.now) {
            retired += 1;
        } else {
            active += 1;
        }
    }
    let next = line
        .next_rotation_at
        .map_or_else(String::new, |at| format!(" The next key begins to sign on {}.", day_and_minute(at)));
    format!(
        "{}: {published} published and not yet signing, {active} active, {retired} retired, {revoked} revoked.{next}",
        many(line.keys.len() as u64, "key")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: i64) -> Timestamp {
        Timestamp::from_seconds(days * 86_400)
    }

    fn key(label: &str, published: i64) -> KeyLine {
        KeyLine {
            label: label.to_owned(),
            href: Some("/admin/keys".to_owned()),
            published_at: days(published),
            active_at: days(published + 1),
            retired_at: None,
            leaves_at: None,
            revoked_at: None,
        }
    }

    fn draw(keys: &[KeyLine], now: i64, next: Option<i64>) -> String {
        let next_rotation_at = next.map(days);
        key_time_line(&KeyTimeLine { id: "keys", title: "Keys", keys, now: days(now), next_rotation_at })
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert!(draw(&[], 0, None).contains(">There are no keys<"));
    }

    #[test]
    fn one_key_is_published_then_active() {
        let drawn = draw(&[key("k1", 0)], 10, Some(31));
        assert!(
            drawn.contains("k1: published from 1970-01-01 00:00 UTC until 1970-01-02 00:00 UTC"),
            "{drawn}"
        );
        assert!(drawn.contains("k1: active from 1970-01-02 00:00 UTC<"), "it has no end: {drawn}");
        assert!(drawn.contains("next rotation 1970-02-01") && drawn.contains("picture-now"), "{drawn}");
        assert!(
            drawn.contains("1 key: 0 published and not yet signing, 1 active, 0 retired, 0 revoked."),
            "{drawn}"
        );
        assert!(!drawn.contains("style") && !drawn.contains("<script"));
    }

    #[test]
    fn each_part_of_a_life_has_its_look_and_a_revocation_ends_it() {
        let old = KeyLine { retired_at: Some(days(31)), leaves_at: Some(days(33)), ..key("old", 0) };
        let gone = KeyLine {
            revoked_at: Some(days(20)),
            leaves_at: Some(days(40)),
            retired_at: Some(days(31)),
            ..key("gone", 0)
        };
        let drawn = draw(&[old, gone, key("new", 30), key("next", 60)], 32, None);
        assert!(
            drawn.contains("old: retired from 1970-02-01 00:00 UTC until 1970-02-03 00:00 UTC"),
            "{drawn}"
        );
        assert!(
            drawn.contains("gone: active from 1970-01-02 00:00 UTC until 1970-01-21 00:00 UTC"),
            "{drawn}"
        );
        assert!(drawn.contains("gone: revoked from 1970-01-21 00:00 UTC"), "{drawn}");
        assert!(!drawn.contains("gone: retired"), "{drawn}");
        assert!(
            drawn.contains("4 keys: 1 published and not yet signing, 1 active, 1 retired, 1 revoked."),
            "{drawn}"
        );
        let copy = draw(&[key("new", 30)], 32, None);
        assert_eq!(copy, draw(&[key("new", 30)], 32, None), "the same again");
    }

    #[test]
    fn times_at_the_ends_of_time_are_drawn_at_the_ends() {
        let mut odd = key("odd", 0);
        odd.published_at = Timestamp::from_micros(i64::MIN);
        odd.leaves_at = Some(Timestamp::from_micros(i64::MAX));
        let drawn = draw(&[odd], 1, Some(2));
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn labels_are_escaped() {
        let drawn = draw(&[key("<b>&\"", 0)], 1, None);
        assert!(!drawn.contains("<b>") && drawn.contains("&lt;b&gt;&amp;&quot;"), "{drawn}");
    }
}
