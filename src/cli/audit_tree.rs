//! `jeton audit tree`: a chain of token exchanges, drawn.

use crate::domain::exchange_tree::{ExchangeTree, TakenBack, TreeToken};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;

/// How much of an identifier is shown: its end, which is random.
const SHORT: usize = 8;

/// A line, and how far it is from the root.
struct Line {
    depth: usize,
    text: String,
}

/// The tree as text. What the events say is shown without control characters: somebody may have altered them.
pub(super) fn draw(tree: &ExchangeTree) -> String {
    let mut lines = vec![Line { depth: 0, text: format!("txn {}", quoted(&tree.txn)) }];
    lines.extend(tree.revocations.iter().map(|taken| Line { depth: 1, text: revocation(taken) }));
    for token in &tree.tokens {
        let depth = token.depth + 1;
        lines.push(Line { depth, text: issued(token) });
        lines
            .extend(token.revocations.iter().map(|taken| Line { depth: depth + 1, text: revocation(taken) }));
    }
    // From the end, because a branch goes on as long as another one of its depth follows.
    let mut goes_on: Vec<bool> = Vec::new();
    let mut drawn: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines.iter().rev() {
        goes_on.resize(line.depth + 1, false);
        let mut text: String =
            (1..line.depth).map(|depth| if goes_on[depth] { "│  " } else { "   " }).collect();
        if line.depth > 0 {
            text.push_str(if goes_on[line.depth] { "├─ " } else { "└─ " });
        }
        text.push_str(&line.text);
        goes_on[line.depth] = true;
        drawn.push(text);
    }
    drawn.reverse();
    drawn.join("\n")
}

fn issued(token: &TreeToken) -> String {
    let TreeToken { orphan, at, issued, .. } = token;
    let scope = if issued.scope.is_empty() { String::new() } else { format!("  [{}]", issued.scope) };
    let (exchange, orphan) = match &issued.exchange {
        Some(exchange) if *orphan => (
            format!("  {} ({})", exchange.rule, exchange.mode),
            format!(
                "  ORPHAN: exchanged for {}, which is not recorded",
                short(exchange.subject_jti.as_deref().unwrap_or_default())
            ),
        ),
        Some(exchange) => (format!("  {} ({})", exchange.rule, exchange.mode), String::new()),
        None => (String::new(), String::new()),
    };
    // Each by itself: together they may be longer than what is quoted.
    let parts = [
        format!("{}  {}", to_the_second(*at), quoted(&issued.client_id)),
        format!(" for {}", quoted(&issued.subject)),
        format!(" → {}", quoted(&issued.audience.join(", "))),
        quoted(&scope),
        quoted(&exchange),
        format!("  jti {}  until {}", short(&issued.jti), until(*at, issued.expires_at)),
        orphan,
    ];
    parts.concat()
}

fn revocation(taken: &TakenBack) -> String {
    let subject = match taken.what.as_str() {
        "client" => format!(" {}", quoted(&taken.subject)),
        _ => String::new(),
    };
    format!("{}  REVOKED: {}{subject}, by {}", to_the_second(taken.at), taken.what, quoted(&taken.by))
}

fn short(id: &str) -> String {
    let length = id.chars().count();
    let tail: String = id.chars().skip(length.saturating_sub(SHORT)).collect();
    format!("…{}", quoted(&tail))
}

fn to_the_second(at: Timestamp) -> String {
    Timestamp::from_seconds(at.as_seconds()).to_string()
}

/// An end, without the day when that is the beginning's.
fn until(at: Timestamp, end: Timestamp) -> String {
    let text = to_the_second(end);
    match text.split_once('T') {
        Some((_, time)) if at.start_of_day() == end.start_of_day() => time.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(jti: &str, from: Option<&str>) -> String {
        let mut event = json!({
            "kind": "token_issued", "jti": jti, "client_id": "c\u{1b}[31m", "subject": "front", "audience": ["https://x"],
            "scope": "x:read", "expires_at": "1970-01-01T00:05:00Z",
        });
        if let Some(from) = from {
            event["exchange"] = json!({ "rule": "r", "mode": "delegation", "subject_jti": from });
        }
        event.to_string()
    }

    #[test]
    fn branches_go_on_while_there_is_another_one() {
        let texts = [
            token("0123456789", None),
            token("b", Some("0123456789")),
            token("c", Some("b")),
            token("d", Some("0123456789")),
            token("e", Some("gone")),
        ];
        let timed = texts.iter().zip(1..).map(|(text, at)| (Timestamp::from_seconds(at), text.as_str()));
        let drawn = draw(&ExchangeTree::build("t", timed));
        let client = "c\u{fffd}[31m for front → https://x  [x:read]";
        let expected = [
            "txn t".to_owned(),
            format!("├─ 1970-01-01T00:00:01Z  {client}  jti …23456789  until 00:05:00Z"),
            format!("│  ├─ 1970-01-01T00:00:02Z  {client}  r (delegation)  jti …b  until 00:05:00Z"),
            format!("│  │  └─ 1970-01-01T00:00:03Z  {client}  r (delegation)  jti …c  until 00:05:00Z"),
            format!("│  └─ 1970-01-01T00:00:04Z  {client}  r (delegation)  jti …d  until 00:05:00Z"),
            format!(
                "└─ 1970-01-01T00:00:05Z  {client}  r (delegation)  jti …e  until 00:05:00Z  \
                 ORPHAN: exchanged for …gone, which is not recorded"
            ),
        ];
        assert_eq!(drawn.lines().collect::<Vec<_>>(), expected);
    }
}
