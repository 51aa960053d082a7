//! Checking chains of audit events: what was altered, is missing, or stands in another place.
//!
//! Pure: it is told what must be there (signed checkpoints, and the ends of chains that later ones named), then
//! shown the events, those of each chain in the order of their places; other chains may come in between.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::audit::Columns;
use super::chain::{ChainEnd, Hash};
use super::time::{DAY, Timestamp};

/// How far from its place a moved event is looked for.
const MOVED: u64 = 64;

/// An event as it was found: nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The chain.
    pub writer: Uuid,
    /// Its place.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The hash of the event before it.
    pub prev: Vec<u8>,
    /// Its own hash.
    pub hash: Vec<u8>,
    /// What it is found by; absent in an exported file, which has no columns.
    pub columns: Option<Columns>,
    /// The event.
    pub text: String,
}

/// A line of an exported file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line<'a> {
    /// An event.
    Event {
        /// The chain.
        writer: Uuid,
        /// Its place.
        seq: u64,
        /// When it was recorded.
        at: Timestamp,
        /// The hash of the event before it.
        prev: Hash,
        /// Its own hash.
        hash: Hash,
        /// The event, byte for byte as it was hashed.
        event: &'a RawValue,
    },
    /// A signed checkpoint, as a compact JWS.
    Checkpoint {
        /// The JWS.
        checkpoint: String,
    },
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The chain.
    pub writer: Uuid,
    /// The first event that it is about.
    pub seq: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The event is not the one that was hashed.
    Altered,
    /// The event was rewritten together with its hash: the one after it was chained to another.
    Rewritten,
    /// A column does not say what the event says.
    Column(&'static str),
    /// The event belongs to another place in its chain.
    MovedFrom(u64),
    /// It stands after one of a later place, or twice.
    OutOfOrder,
    /// Events up to this place are missing.
    MissingTo(u64),
    /// The chain must go on at least to this place, as somebody says.
    EndMissing(u64, Witness),
    /// The whole chain is missing; it must have come to the place that is named.
    ChainMissing(Witness),
    /// The event is not the one that somebody says was there.
    NotAsWitnessed(Witness),
    /// The chain ended in order, which is always signed, but no signature is left.
    Unsigned,
    /// A checkpoint is not signed by a key that is trusted.
    ForgedCheckpoint,
    /// A checkpoint, of whichever chain, cannot be read.
    UnreadableCheckpoint,
    /// It stands after the event that ended its chain.
    AfterTheEnd,
}

/// Who says that a chain has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A signed checkpoint.
    Checkpoint,
    /// The start of this later chain.
    StartOf(Uuid),
}

/// What is known of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// How many events were seen.
    pub events: u64,
    /// How far it came.
    pub end: ChainEnd,
    /// Whether it ended in order; otherwise its process still runs, or was killed.
    pub closed: bool,
    /// How many events come after the last signed one.
    pub unsigned: u64,
}

/// The check of all chains.
#[derive(Debug, Default)]
pub struct Check {
    expected: HashMap<Uuid, BTreeMap<u64, Vec<(ChainEnd, Witness)>>>,
    chains: HashMap<Uuid, Progress>,
    /// Where retention is said to have removed events: chain, place, time, and the end of what was removed.
    dropped: Vec<(Uuid, u64, Timestamp, Timestamp)>,
    gaps: Vec<Gap>,
    findings: Vec<Finding>,
}

/// Places that no event was shown for.
#[derive(Debug)]
struct Gap {
    writer: Uuid,
    first: u64,
    /// The event after them: its place, what it was chained to, and its time.
    next: (u64, Hash, Timestamp),
}

#[derive(Debug)]
struct Progress {
    report: ChainReport,
    /// What the first event that was seen was chained to.
    first: (u64, Hash, Timestamp),
    /// Whether the event before that is there.
    follows: bool,
    signed: u64,
}

// === impl Check ===

impl Check {
    /// Somebody says that a chain has come so far.
    pub fn expect(&mut self, end: ChainEnd, witness: Witness) {
        self.expected.entry(end.writer).or_default().entry(end.seq).or_default().push((end, witness));
    }

    /// What an event says about others, if it does: the start of a chain names those before it, and retention
    /// the time before which it has removed events.
    pub fn heed(&mut self, writer: Uuid, seq: u64, at: Timestamp, text: &str) {
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Said {
            Started { previous: Vec<ChainEnd> },
            EventsDropped { before: Timestamp },
        }
        match serde_json::from_str(text) {
            Ok(Said::Started { previous }) => {
                for end in previous {
                    self.expect(end, Witness::StartOf(writer));
                }
            }
            Ok(Said::EventsDropped { before }) => self.dropped.push((writer, seq, at, before)),
            Err(_) => {}
        }
    }

    /// A checkpoint cannot be read.
    pub fn unreadable(&mut self) {
        self.find(Uuid::nil(), 0, Problem::UnreadableCheckpoint);
    }

    /// The events from before this time are gone by retention. It is believed only where it is signed, and
    /// only of what was a day old: otherwise whoever removes events would say that it was retention.
    fn dropped(&self) -> Option<Timestamp> {
        let signed = |writer: &Uuid, seq: u64| {
            self.expected.get(writer).is_some_and(|chain| {
                chain.range(seq..).flat_map(|(_, said)| said).any(|(_, by)| *by == Witness::Checkpoint)
            })
        };
        let believed = self
            .dropped
            .iter()
            .filter(|(writer, seq, at, before)| before.plus(DAY) <= *at && signed(writer, *seq));
        believed.map(|(.., before)| *before).max()
    }

    /// Whether retention may have removed events that this check believes are there: that it would is said, but was not
    /// signed yet, or not said yet, when this check heard what must be there. `later` has heard what events say now.
    #[must_use]
    pub fn is_overtaken_by_retention(&self, later: &Self) -> bool {
        let said = later.dropped.iter().filter(|(_, _, at, before)| before.plus(DAY) <= *at);
        said.map(|(.., before)| *before).max() > self.dropped()
    }

    /// Whether retention, with this cut, has removed all between a place and the event before it that was shown: the
    /// event there is older itself, or it begins what was left, right after a signed event from before the cut.
    fn begins_at_cut(&self, writer: Uuid, (seq, prev, at): (u64, Hash, Timestamp), cut: Timestamp) -> bool {
        let signed_before = |(end, witness): &(ChainEnd, Witness)| {
            *witness == Witness::Checkpoint && end.hash == prev && end.at < cut
        };
        let before = || self.expected.get(&writer).and_then(|chain| chain.get(&(seq - 1)));
        at < cut || before().is_some_and(|said| said.iter().any(signed_before))
    }

    /// The checkpoint for this place is not signed by a trusted key.
    pub fn forged(&mut self, writer: Uuid, seq: u64) {
        self.find(writer, seq, Problem::ForgedCheckpoint);
    }

    /// Checks the next event.
    pub fn event(&mut self, found: &Found) {
        let Found { writer, seq, at, .. } = *found;
        let (Ok(prev), Ok(hash)) = (Hash::from_bytes(&found.prev), Hash::from_bytes(&found.hash)) else {
            self.find(writer, seq, Problem::Altered);
            self.advance(found, Hash::NONE, Hash::NONE);
            return;
        };
        let last = self.chains.get(&writer).map(|chain| (chain.report.end.seq, chain.report.end.hash));
        if self.chains.get(&writer).is_some_and(|chain| chain.report.closed) {
            self.find(writer, seq, Problem::AfterTheEnd);
        }
        match last {
            Some((last, _)) if seq <= last => {
                self.find(writer, seq, Problem::OutOfOrder);
                return;
            }
            Some((last, _)) if seq > last + 1 => {
                self.gaps.push(Gap { writer, first: last + 1, next: (seq, prev, at) });
            }
            _ => {}
        }
        if Hash::of(writer, seq, at, &prev, &found.text) != hash {
            let nearby = seq.saturating_sub(MOVED)..=seq + MOVED;
            let moved =
                nearby.into_iter().find(|place| Hash::of(writer, *place, at, &prev, &found.text) == hash);
            self.find(writer, seq, moved.map_or(Problem::Altered, Problem::MovedFrom));
        } else if let Some((last, before)) = last
            && seq == last + 1
            && prev != before
            && !self.findings.iter().rev().any(|finding| finding.writer == writer && finding.seq == last)
        {
            self.find(writer, last, Problem::Rewritten);
        }
        if let Some(columns) = &found.columns {
            match Columns::read(&found.text) {
                Ok(said) => {
                    if let Some(column) = different(&said, columns) {
                        self.find(writer, seq, Problem::Column(column));
                    }
                }
                Err(_) => self.find(writer, seq, Problem::Altered),
            }
        }
        self.advance(found, prev, hash);
    }

    fn advance(&mut self, found: &Found, prev: Hash, hash: Hash) {
        let Found { writer, seq, at, .. } = *found;
        let end = ChainEnd { writer, seq, at, hash };
        let witnesses = self.witnesses(writer, seq);
        let closed = Columns::read(&found.text).is_ok_and(|columns| columns.kind == "stopped");
        let chain = self.chains.entry(writer).or_insert_with(|| Progress {
            report: ChainReport { events: 0, end: end.clone(), closed, unsigned: 0 },
            first: (seq, prev, at),
            follows: false,
            signed: seq - u64::from(seq > 0),
        });
        chain.report.events += 1;
        chain.report.end = end;
        chain.report.closed = closed;
        for (witnessed, witness) in witnesses {
            if witness == Witness::Checkpoint {
                chain.signed = seq;
            }
            if witnessed.hash != hash {
                self.findings.push(Finding { writer, seq, problem: Problem::NotAsWitnessed(witness) });
            }
        }
    }

    /// What was said of an event that is seen now. It is kept no longer, but for the last signature of a chain, which
    /// says what else of it is signed.
    fn witnesses(&mut self, writer: Uuid, seq: u64) -> Vec<(ChainEnd, Witness)> {
        let Some(chain) = self.expected.get_mut(&writer) else { return Vec::new() };
        let signs = |said: &[(ChainEnd, Witness)]| said.iter().any(|(_, by)| *by == Witness::Checkpoint);
        if chain.range(seq + 1..).any(|(_, said)| signs(said)) {
            return chain.remove(&seq).unwrap_or_default();
        }
        chain.get(&seq).cloned().unwrap_or_default()
    }

    fn find(&mut self, writer: Uuid, seq: u64, problem: Problem) {
        self.findings.push(Finding { writer, seq, problem });
    }

    /// The chains that were seen from a later place than their first on, and that place: whoever has what was
    /// recorded before the window can show the events before those, with [`Check::before`].
    #[must_use]
    pub fn cut_off(&self) -> Vec<(Uuid, u64)> {
        let first = self.chains.iter().map(|(writer, chain)| (*writer, chain.first.0));
        first.filter(|(_, seq)| *seq > 1).collect()
    }

    /// The event before the first one of its chain that was seen, from before the window; `None` when there is
    /// none.
    pub fn before(&mut self, writer: Uuid, found: Option<&Found>) {
        let Some(chain) = self.chains.get_mut(&writer) else { return };
        let (seq, prev, _) = chain.first;
        let Some(found) = found else { return };
        chain.follows = true;
        let accused = |finding: &Finding| finding.writer == writer && finding.seq == seq;
        if found.hash != prev.as_bytes() && !self.findings.iter().any(accused) {
            self.find(writer, seq - 1, Problem::Rewritten);
        }
    }

    /// Ends the check. `seen` says of which times all events were shown, and `told` whether the events before
    /// them were, too.
    #[must_use]
    pub fn finish(mut self, seen: Window, told: bool) -> Report {
        let dropped = self.dropped();
        let begin = seen.from.max(dropped.unwrap_or(Timestamp::from_micros(i64::MIN)));
        // What retention removed while events were shown is no gap. What is missing at a place is said before what
        // else is wrong there.
        let gaps = std::mem::take(&mut self.gaps).into_iter();
        let kept = |gap: &Gap| !dropped.is_some_and(|cut| self.begins_at_cut(gap.writer, gap.next, cut));
        let missing = |Gap { writer, first, next }| {
            let problem = Problem::MissingTo(next.0 - 1);
            Finding { writer, seq: first, problem }
        };
        let missing: Vec<_> = gaps.filter(kept).map(missing).collect();
        self.findings.splice(..0, missing);
        for (writer, chain) in &self.chains {
            let (seq, prev, at) = chain.first;
            let whole = seq == 1 && prev == Hash::NONE;
            // Before the time that was looked at, there may be more.
            let cut = chain.follows
                || (seen.from > Timestamp::from_micros(i64::MIN) && !told)
                || dropped.is_some_and(|dropped| self.begins_at_cut(*writer, chain.first, dropped));
            if chain.report.closed && chain.signed < chain.report.end.seq && chain.report.end.at < seen.to {
                let seq = chain.report.end.seq;
                self.findings.push(Finding { writer: *writer, seq, problem: Problem::Unsigned });
            }
            if !whole && !cut && at >= begin {
                let problem = if seq <= 1 { Problem::Altered } else { Problem::MissingTo(seq - 1) };
                // Of what comes before the window, only the last was looked for.
                let windowed = seen.from > Timestamp::from_micros(i64::MIN);
                let first = if windowed { seq.saturating_sub(1).max(1) } else { 1 };
                self.findings.push(Finding { writer: *writer, seq: first, problem });
            }
        }
        for (writer, expected) in &self.expected {
            let last = self.chains.get(writer).map(|chain| chain.report.end.seq);
            let beyond = expected.range(last.map_or(0, |last| last + 1)..);
            let mut within = beyond.filter_map(|(_, witnesses)| witnesses.first());
            // What must be there after the window does not excuse what is missing in it.
            let Some((end, witness)) = within.rfind(|(end, _)| (begin..seen.to).contains(&end.at)) else {
                continue;
            };
            let (seq, problem) = match last {
                Some(last) => (last + 1, Problem::EndMissing(end.seq, *witness)),
                None => (end.seq, Problem::ChainMissing(*witness)),
            };
            self.findings.push(Finding { writer: *writer, seq, problem });
        }
        let mut chains: Vec<ChainReport> = self
            .chains
            .into_values()
            .map(|chain| ChainReport { unsigned: chain.report.end.seq - chain.signed, ..chain.report })
            .collect();
        chains.sort_by_key(|chain| chain.end.writer);
        self.findings.sort_by_key(|finding| (finding.writer, finding.seq));
        self.findings.dedup();
        Report { chains, findings: self.findings }
    }

    /// How many events were checked.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.chains.values().map(|chain| chain.report.events).sum()
    }
}

/// From when, and before when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end, not in it.
    pub to: Timestamp,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The chains, in the order of their names, which is about that of their beginnings.
    pub chains: Vec<ChainReport>,
    /// What is wrong, in the order of chains and places.
    pub findings: Vec<Finding>,
}

// === impl Line ===

impl<'a> Line<'a> {
    /// Reads a line.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            writer: Option<Uuid>,
            seq: Option<u64>,
            at: Option<Timestamp>,
            prev: Option<Hash>,
            hash: Option<Hash>,
            #[serde(borrow)]
            event: Option<&'a RawValue>,
            checkpoint: Option<String>,
        }
        let line: Members<'a> = serde_json::from_str(text).ok()?;
        if let Some(checkpoint) = line.checkpoint {
            return Some(Self::Checkpoint { checkpoint });
        }
        Some(Self::Event {
            writer: line.writer?,
            seq: line.seq?,
            at: line.at?,
            prev: line.prev?,
            hash: line.hash?,
            event: line.event?,
        })
    }
}

// === impl Window ===

impl Window {
    /// All times.
    pub const ALL: Self =
        Self { from: Timestamp::from_micros(i64::MIN), to: Timestamp::from_micros(i64::MAX) };
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, seq, problem } = self;
        if *problem == Problem::UnreadableCheckpoint {
            return write!(f, "a checkpoint: {problem}");
        }
        write!(f, "chain {writer}, event {seq}: {problem}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered => f.write_str("altered: it does not have its hash"),
            Self::Rewritten => {
                f.write_str("altered with its hash: the event after it was chained to another")
            }
            Self::Column(column) => {
                write!(f, "altered: its column {column} does not say what the event says")
            }
            Self::MovedFrom(place) => write!(f, "reordered: it belongs to place {place}"),
            Self::OutOfOrder => f.write_str("reordered: it stands after a later one, or twice"),
            Self::MissingTo(place) => write!(f, "missing, up to event {place}"),
            Self::EndMissing(place, witness) => {
                write!(
                    f,
                    "missing with all that follows: {witness} says that the chain came to event {place}"
                )
            }
            Self::ChainMissing(witness) => {
                write!(f, "missing with its whole chain, which came this far: {witness} says so")
            }
            Self::NotAsWitnessed(witness) => write!(f, "altered: {witness} has another hash"),
            Self::Unsigned => f.write_str("the chain ended here in order, but its signature is missing"),
            Self::ForgedCheckpoint => f.write_str("its checkpoint is not signed by a trusted key"),
            Self::UnreadableCheckpoint => f.write_str("altered: it is no signed text"),
            Self::AfterTheEnd => f.write_str("added: the chain had ended before it"),
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("a signed checkpoint"),
            Self::StartOf(writer) => write!(f, "the start of chain {writer}"),
        }
    }
}

/// The first column that differs.
fn different(said: &Columns, found: &Columns) -> Option<&'static str> {
    let columns = [
        ("kind", said.kind == found.kind),
        ("outcome", said.outcome == found.outcome),
        ("client_id", said.client_id == found.client_id),
        ("jti", said.jti == found.jti),
        ("txn", said.txn == found.txn),
        ("continues", said.continues == found.continues),
        ("person", said.person == found.person),
        ("about", said.about == found.about),
    ];
    columns.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
}

#[cfg(test)]
#[path = "chain_check_retention_tests.rs"]
mod retention_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chain::Chain;

    #[test]
    fn what_is_said_of_an_event_is_forgotten_once_it_is_seen() {
        let (writer, at) = (Uuid::from_u128(1), Timestamp::from_seconds(1_000_000_000));
        let mut chain = Chain::new(writer, at);
        let mut check = Check::default();
        let dropped = r#"{"kind":"events_dropped","before":"1970-01-01T00:00:00Z"}"#;
        let mut events = Vec::new();
        for _ in 0..100 {
            let link = chain.append(at, dropped);
            check.expect(chain.end().clone(), Witness::Checkpoint);
            let (prev, hash) = (link.prev.as_bytes().to_vec(), link.hash.as_bytes().to_vec());
            let text = dropped.to_owned();
            events.push(Found { writer, seq: link.seq, at, prev, hash, columns: None, text });
        }
        check.expect(ChainEnd { seq: 50, ..chain.end().clone() }, Witness::StartOf(Uuid::from_u128(2)));
        check.heed(writer, 100, at, dropped);
        for found in &events {
            check.event(found);
        }
        assert_eq!(check.expected[&writer].len(), 1);
        assert!(check.dropped().is_some(), "the last signature still counts");
        let findings = check.finish(Window::ALL, true).findings;
        let problem = Problem::NotAsWitnessed(Witness::StartOf(Uuid::from_u128(2)));
        assert_eq!(findings, [Finding { writer, seq: 50, problem }], "what was said wrongly is told");
    }
}
