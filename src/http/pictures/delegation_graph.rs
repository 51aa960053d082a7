//! Who acts for whom towards what: three columns, whose identity, who passes it on, and where to.
//!
//! A client that does both stands in both columns. So no edge goes back, whatever the exchanges were, and a picture is
//! read from left to right.

use std::collections::{BTreeMap, BTreeSet};

use super::svg::{Role, Svg, escape, fitted, local, many, real};

/// Who acts for whom towards what.
#[derive(Clone, Debug)]
pub struct DelegationGraph<'a> {
    /// Makes what the picture refers to its own.
    pub id: &'a str,
    /// What it is called.
    pub title: &'a str,
    /// The edges. Those with the most exchanges are drawn.
    pub edges: &'a [Edge],
}

/// Somebody who acts for somebody towards something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Whose identity is passed on.
    pub subject: Node,
    /// Who passes it on.
    pub actor: Node,
    /// What the new tokens are for.
    pub audience: Node,
    /// The path of a page that tells more about it.
    pub href: Option<String>,
    /// How often.
    pub exchanges: u64,
}

/// A client or a resource server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// What it is called. Two of one name in a column are one.
    pub label: String,
    /// The path of its page.
    pub href: Option<String>,
}

/// How many nodes are drawn.
const NODES: usize = 60;

/// Room for the edge of a node at the picture's own.
const EDGE: f64 = 2.0;

const COLUMN: f64 = 176.0;
const GAP: f64 = 96.0;
const TOP: f64 = 34.0;
const ROW: f64 = 36.0;
const NODE: f64 = 26.0;

/// How often each column is put in the order of its neighbours.
const SWEEPS: usize = 4;

/// What stands over the columns.
const HEADS: [&str; 3] = ["The identity of", "passed on by", "towards"];

/// What is drawn: the nodes of each column from the top, and how often there are exchanges between them.
struct Layout<'a> {
    columns: [Vec<&'a Node>; 3],
    /// From the first column to the second, and from the second to the third.
    between: [BTreeMap<(&'a str, &'a str), Line<'a>>; 2],
    left_out: usize,
}

/// A line between two nodes: one for all edges that go along it.
#[derive(Default)]
struct Line<'a> {
    exchanges: u64,
    /// Of the edge with the most exchanges.
    href: Option<&'a str>,
}

/// Draws who acts for whom towards what.
#[must_use]
pub fn delegation_graph(graph: &DelegationGraph<'_>) -> String {
    let layout = Layout::new(graph.edges);
    let rows = layout.columns.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let words = if layout.left_out > 0 { ROW } else { 0.0 };
    let height = TOP + ROW * real(rows as u64) + words;
    // Whole and small.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
    let size = ((COLUMN * 3.0 + GAP * 2.0 + EDGE * 2.0) as u32, height as u32);
    let mut svg = Svg::new(graph.id, &Role::Group, size, graph.title, &described(graph.edges, &layout));
    if graph.edges.is_empty() {
        svg.label(
            "picture-text picture-middle",
            f64::from(size.0) / 2.0,
            TOP + 20.0,
            "No exchanges in this time",
        );
        return svg.finish();
    }
    let tall = real(rows as u64);
    for (column, head) in HEADS.iter().enumerate() {
        svg.label("picture-text picture-faint", left(column), 16.0, head);
    }
    for (first, between) in layout.between.iter().enumerate() {
        for ((from, to), line) in between {
            let (Some(from_y), Some(to_y)) = (layout.y(first, from, tall), layout.y(first + 1, to, tall))
            else {
                continue;
            };
            let (x1, x2) = (left(first) + COLUMN, left(first + 1));
            let bend = GAP / 2.0;
            let along = format!(
                "M{x1:.1} {from_y:.1}C{:.1} {from_y:.1} {:.1} {to_y:.1} {x2:.1} {to_y:.1}",
                x1 + bend,
                x2 - bend
            );
            draw_line(
                &mut svg,
                line,
                &along,
                &format!("{from} → {to}: {}", many(line.exchanges, "exchange")),
            );
        }
    }
    for (column, nodes) in layout.columns.iter().enumerate() {
        for node in nodes {
            if let Some(y) = layout.y(column, &node.label, tall) {
                draw_node(&mut svg, column, node, y);
            }
        }
    }
    if layout.left_out > 0 {
        let words =
            format!("{} with fewer exchanges not drawn", many(layout.left_out as u64, "more delegation"));
        svg.label("picture-text picture-faint", EDGE, height - 12.0, &words);
    }
    svg.finish()
}

/// A line, and around one that leads somewhere room to hit it.
fn draw_line(svg: &mut Svg, line: &Line<'_>, along: &str, told: &str) {
    let (href, told) = (line.href.and_then(local), escape(told));
    if let Some(href) = &href {
        svg.put(format_args!(
            "<a class=\"picture-link\" href=\"{href}\" aria-label=\"{told}\"><path class=\"picture-grip\" d=\"{along}\"/>"
        ));
    }
    svg.put(format_args!(
        "<path class=\"picture-edge picture-w{}\" d=\"{along}\"><title>{told}</title></path>",
        weight(line.exchanges)
    ));
    if href.is_some() {
        svg.put(format_args!("</a>"));
    }
}

fn draw_node(svg: &mut Svg, column: usize, node: &Node, y: f64) {
    let href = node.href.as_deref().and_then(local);
    if let Some(href) = &href {
        svg.put(format_args!("<a class=\"picture-link\" href=\"{href}\">"));
    }
    let class = if column == 2 { "picture-node picture-server" } else { "picture-node" };
    let x = left(column);
    svg.put(format_args!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{COLUMN}\" height=\"{NODE}\" rx=\"5\"><title>{}</title></rect>",
        y - NODE / 2.0,
        escape(&node.label)
    ));
    svg.label("picture-text", x + 8.0, y + 4.0, &fitted(&node.label));
    if href.is_some() {
        svg.put(format_args!("</a>"));
    }
}

fn left(column: usize) -> f64 {
    EDGE + (COLUMN + GAP) * real(column as u64)
}

/// How thick a line is: one step for each factor of ten.
fn weight(exchanges: u64) -> u32 {
    (exchanges.max(1).ilog10() + 1).min(5)
}

// === impl Layout ===

impl<'a> Layout<'a> {
    fn new(edges: &'a [Edge]) -> Self {
        let mut by_number: Vec<&Edge> = edges.iter().collect();
        by_number.sort_by(|a, b| b.exchanges.cmp(&a.exchanges).then_with(|| parts(a).cmp(&parts(b))));
        let mut nodes: [BTreeSet<&str>; 3] = Default::default();
        let mut columns: [Vec<&Node>; 3] = Default::default();
        let mut between: [BTreeMap<(&str, &str), Line<'_>>; 2] = Default::default();
        let mut left_out = 0;
        for edge in by_number {
            let ends = [&edge.subject, &edge.actor, &edge.audience];
            let new =
                ends.iter().zip(&nodes).filter(|(end, column)| !column.contains(end.label.as_str())).count();
            if nodes.iter().map(BTreeSet::len).sum::<usize>() + new > NODES {
                left_out += 1;
                continue;
            }
            for (place, end) in ends.into_iter().enumerate() {
                if nodes[place].insert(&end.label) {
                    columns[place].push(end);
                }
            }
            let ends = [(&edge.subject, &edge.actor), (&edge.actor, &edge.audience)];
            for (lines, (from, to)) in between.iter_mut().zip(ends) {
                let line = lines.entry((&from.label, &to.label)).or_default();
                line.exchanges += edge.exchanges;
                line.href = line.href.or(edge.href.as_deref());
            }
        }
        let mut layout = Self { columns, between, left_out };
        layout.untangle();
        layout
    }

    /// Puts every node beside its neighbours, column after column and back, so that few edges cross.
    fn untangle(&mut self) {
        for column in &mut self.columns {
            column.sort();
        }
        for _ in 0..SWEEPS {
            for (column, neighbour) in [(1, 0), (2, 1), (1, 2), (0, 1)] {
                let places: BTreeMap<&str, f64> = self.columns[neighbour]
                    .iter()
                    .enumerate()
                    .map(|(place, node)| (node.label.as_str(), real(place as u64)))
                    .collect();
                let between = &self.between[column.min(neighbour)];
                let centre = |node: &Node| {
                    let beside = between.keys().filter_map(|(from, to)| {
                        let (own, other) = if column < neighbour { (from, to) } else { (to, from) };
                        (*own == node.label).then(|| places.get(other)).flatten()
                    });
                    let (count, sum) =
                        beside.fold((0.0, 0.0), |(count, sum), place| (count + 1.0, sum + place));
                    if count > 0.0 { sum / count } else { 0.0 }
                };
                // Where it makes no difference the order stays.
                self.columns[column].sort_by(|a, b| centre(a).total_cmp(&centre(b)));
            }
        }
    }

    /// How far from the top the middle of a node is: short columns stand in the middle.
    fn y(&self, column: usize, label: &str, rows: f64) -> Option<f64> {
        let nodes = &self.columns[column];
        let place = nodes.iter().position(|node| node.label == label)?;
        let above = (rows - real(nodes.len() as u64)) / 2.0;
        Some(TOP + ROW * (above + real(place as u64)) + ROW / 2.0)
    }
}

fn parts(edge: &Edge) -> [&str; 3] {
    [&edge.subject.label, &edge.actor.label, &edge.audience.label]
}

/// The picture in words.
fn described(edges: &[Edge], layout: &Layout<'_>) -> String {
    if edges.is_empty() {
        return "No token was exchanged in this time.".to_owned();
    }
    let most =
        edges.iter().max_by(|a, b| a.exchanges.cmp(&b.exchanges).then_with(|| parts(b).cmp(&parts(a))));
    let most = most.map_or_else(String::new, |edge| {
        let [subject, actor, audience] = parts(edge);
        format!(
            " Most often {actor} acts for {subject} towards {audience}: {}.",
            many(edge.exchanges, "exchange")
        )
    });
    let left_out = if layout.left_out > 0 {
        format!(" {} with fewer exchanges not drawn.", many(layout.left_out as u64, "delegation"))
    } else {
        String::new()
    };
    let [subjects, actors, audiences] = layout.columns.each_ref().map(|nodes| nodes.len() as u64);
    format!(
        "Identities of {} are passed on by {} towards {}.{most}{left_out}",
        many(subjects, "client"),
        many(actors, "client"),
        many(audiences, "resource server")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(label: &str) -> Node {
        Node { label: label.to_owned(), href: Some(format!("/admin/{label}")) }
    }

    fn edge(subject: &str, actor: &str, audience: &str, exchanges: u64) -> Edge {
        let href = Some(format!("/admin/audit?client_id={actor}"));
        Edge { subject: node(subject), actor: node(actor), audience: node(audience), href, exchanges }
    }

    fn draw(edges: &[Edge]) -> String {
        delegation_graph(&DelegationGraph { id: "graph", title: "Delegations", edges })
    }

    #[test]
    fn nothing_is_said_in_words() {
        let drawn = draw(&[]);
        assert!(drawn.contains(">No exchanges in this time<"), "{drawn}");
        assert!(drawn.contains("No token was exchanged"), "{drawn}");
    }

    #[test]
    fn one_exchange_is_three_nodes_and_two_lines() {
        let drawn = draw(&[edge("front", "orders", "payments", 12)]);
        assert_eq!(
            (drawn.matches("picture-link").count(), drawn.matches("picture-edge").count()),
            (5, 2),
            "every node and every line leads somewhere: {drawn}"
        );
        assert!(
            drawn.contains(
                "href=\"/admin/audit?client_id=orders\" aria-label=\"front → orders: 12 exchanges\""
            ),
            "{drawn}"
        );
        assert!(drawn.contains("href=\"/admin/front\""), "{drawn}");
        assert!(
            drawn.contains("Most often orders acts for front towards payments: 12 exchanges."),
            "{drawn}"
        );
        assert!(drawn.contains("picture-w2"), "a ten is a step: {drawn}");
        assert!(!drawn.contains("style") && !drawn.contains("<script"));
    }

    #[test]
    fn whoever_is_too_much_is_said_in_words_and_the_same_each_time() {
        let many: Vec<_> = (0..100).map(|n| edge(&format!("s{n:03}"), "gateway", "api", 1_000 - n)).collect();
        let drawn = draw(&many);
        assert_eq!(
            drawn.matches("picture-link").count(),
            60 + 59,
            "58 subjects, one actor, one audience, and the lines between them"
        );
        assert!(drawn.contains("42 more delegations with fewer exchanges not drawn"), "{drawn}");
        assert!(drawn.contains("s057") && !drawn.contains("s058"), "the most frequent ones are drawn");
        let mut turned = many.clone();
        turned.reverse();
        assert_eq!(drawn, draw(&turned), "whatever the order of the edges");
    }

    #[test]
    fn lines_do_not_cross_where_they_need_not() {
        let edges = [edge("a", "z", "1", 1), edge("b", "y", "2", 1), edge("c", "x", "3", 1)];
        let layout = Layout::new(&edges);
        let order =
            |column: usize| layout.columns[column].iter().map(|node| node.label.clone()).collect::<Vec<_>>();
        let (subjects, actors) = (order(0), order(1));
        for (place, subject) in subjects.iter().enumerate() {
            let pair = edges.iter().find(|edge| edge.subject.label == *subject).unwrap();
            assert_eq!(actors[place], pair.actor.label, "{subjects:?} {actors:?}");
        }
    }

    #[test]
    fn labels_are_escaped_and_links_stay_here() {
        let mut evil = edge("<script>", "a\"b", "x", 1);
        evil.subject.href = Some("javascript:alert(1)".to_owned());
        evil.href = Some("//elsewhere.example".to_owned());
        let drawn = draw(&[evil]);
        assert!(
            !drawn.contains("<script>") && !drawn.contains("javascript") && !drawn.contains("a\"b"),
            "{drawn}"
        );
        assert_eq!(drawn.matches("picture-link").count(), 2, "it is drawn without a link");
    }
}
