//! Pictures: pure functions from plain values to SVG, to stand inside a page.
//!
//! They obey a strict Content-Security-Policy: no script, no `style`; everything that is seen comes from the classes
//! of [`CSS`], whose custom properties have values for light and for dark. Every text is escaped, links go to paths of
//! this server only, and the same input makes the same picture. `id` makes what a picture refers to its own; two on one
//! page need different ones.
//!
//! A picture keeps its width where the page is narrow, so that its text stays readable: it stands in an element of
//! class `picture-frame`, which scrolls and needs `tabindex="0"` for the keyboard.

mod bars;
mod delegation_graph;
mod key_time_line;
mod svg;

pub use bars::{BarSeries, BarStep, Bars, stacked_bars};
pub use delegation_graph::{DelegationGraph, Edge, Node, delegation_graph};
pub use key_time_line::{KeyLine, KeyTimeLine, key_time_line};

/// What the classes of the pictures look like.
pub const CSS: &str = include_str!("pictures.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn every_class_that_is_drawn_has_a_look_and_every_property_a_value_for_dark() {
        let at = Timestamp::from_seconds(0);
        let sort =
            |refusals: bool| move |n: u64| BarSeries { name: n.to_string(), refusals, values: vec![n + 1] };
        let series: Vec<_> = (0..11).map(sort(false)).chain((0..9).map(sort(true))).collect();
        let bars =
            stacked_bars(&Bars { id: "a", title: "", step: BarStep::Hour, times: &[at], series: &series });
        let node = |label: &str| Node { label: label.to_owned(), href: Some("/x".to_owned()) };
        let edge = |n: u32| Edge {
            subject: node("a"),
            actor: node(&n.to_string()),
            audience: node("c"),
            href: Some("/x".to_owned()),
            exchanges: 10_u64.pow(n),
        };
        let edges: Vec<_> = (0..5).map(edge).collect();
        let graph = delegation_graph(&DelegationGraph { id: "b", title: "", edges: &edges });
        let day = std::time::Duration::from_hours(24);
        let key = |revoked_at| KeyLine {
            label: String::new(),
            href: None,
            published_at: at,
            active_at: at.plus(day),
            retired_at: Some(at.plus(day * 3)),
            leaves_at: Some(at.plus(day * 4)),
            revoked_at,
        };
        let keys = [key(None), key(Some(at.plus(day * 2)))];
        let line = KeyTimeLine { id: "c", title: "", keys: &keys, now: at, next_rotation_at: Some(at) };
        let drawn = [bars, graph, key_time_line(&line)].concat();
        let mut seen = 0;
        for classes in drawn.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            for class in classes.split(' ').filter(|class| *class != "picture-link") {
                seen += 1;
                assert!(CSS.contains(&format!(".{class} {{")), "{class} has no look");
            }
        }
        assert!(seen > 50, "{seen}");
        for (property, _) in CSS.split("var(").skip(1).filter_map(|rest| rest.split_once(')')) {
            assert_eq!(
                CSS.matches(&format!("{property}:")).count(),
                3,
                "{property}: light, dark, chosen dark"
            );
        }
    }
}
