use super::*;
use crate::domain::chain::Chain;

const DAY_ONE: Timestamp = Timestamp::from_seconds(1_700_006_400);

/// Ten events of one day, signed at its end, and three of two days later, of which the last says that those of the first
/// day are removed.
struct Events {
    writer: Uuid,
    found: Vec<Found>,
    signed: Vec<ChainEnd>,
}

impl Events {
    fn new() -> Self {
        let writer = Uuid::from_u128(1);
        let mut chain = Chain::new(writer, DAY_ONE);
        let (mut found, mut signed) = (Vec::new(), Vec::new());
        for seq in 1..=13 {
            let at = if seq <= 10 { DAY_ONE } else { DAY_ONE.plus(DAY * 2) };
            let cut = DAY_ONE.plus(DAY);
            let text = match seq {
                13 => format!(r#"{{"kind":"events_dropped","before":"{cut}"}}"#),
                _ => format!(r#"{{"kind":"token_refused","reason":"{seq}"}}"#),
            };
            let link = chain.append(at, &text);
            let (prev, hash) = (link.prev.as_bytes().to_vec(), link.hash.as_bytes().to_vec());
            found.push(Found { writer, seq, at, prev, hash, columns: None, text });
            if [10, 13].contains(&seq) {
                signed.push(chain.end().clone());
            }
        }
        Self { writer, found, signed }
    }

    fn heed(&self, check: &mut Check) {
        let last = &self.found[12];
        check.heed(self.writer, last.seq, last.at, &last.text);
    }

    /// The findings, when events in these places were shown, and retention was heard of or not.
    fn findings(&self, shown: &[std::ops::RangeInclusive<usize>], heard: bool) -> Vec<(u64, Problem)> {
        let mut check = Check::default();
        for end in &self.signed {
            check.expect(end.clone(), Witness::Checkpoint);
        }
        for found in shown.iter().cloned().flatten().map(|seq| &self.found[seq - 1]) {
            check.event(found);
        }
        if heard {
            self.heed(&mut check);
        }
        let findings = check.finish(Window::ALL, true).findings;
        findings.into_iter().map(|finding| (finding.seq, finding.problem)).collect()
    }
}

#[test]
fn what_retention_removes_while_events_are_shown_is_not_missing() {
    let events = Events::new();
    for shown in [&[1..=4, 11..=13][..], &[1..=4, 8..=13], &[1..=2, 5..=6, 11..=13], &[11..=13], &[1..=13]] {
        let found = events.findings(shown, true);
        assert!(found.is_empty(), "{shown:?}: {found:?}");
    }
}

#[test]
fn what_is_missing_otherwise_is_told() {
    let events = Events::new();
    assert_eq!(events.findings(&[1..=4, 11..=13], false), [(5, Problem::MissingTo(10))], "nobody said so");
    for shown in [&[1..=4, 12..=13][..], &[1..=10, 12..=13]] {
        let first = *shown[0].end() as u64 + 1;
        assert_eq!(
            events.findings(shown, true),
            [(first, Problem::MissingTo(11))],
            "beyond the cut: {shown:?}"
        );
    }
}

#[test]
fn a_check_that_heard_too_early_of_retention_is_overtaken() {
    let events = Events::new();
    let (mut later, mut check) = (Check::default(), Check::default());
    assert!(!check.is_overtaken_by_retention(&later), "nothing was removed");
    events.heed(&mut later);
    assert!(check.is_overtaken_by_retention(&later), "it was not said yet");
    events.heed(&mut check);
    assert!(check.is_overtaken_by_retention(&later), "it was not signed yet");
    check.expect(events.signed[1].clone(), Witness::Checkpoint);
    assert!(!check.is_overtaken_by_retention(&later));
}
