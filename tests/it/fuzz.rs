//! The fuzz targets over their corpus, and over inputs near it: without a coverage-guided search, but every time.
//! `scripts/fuzz` searches.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

/// How many inputs near the corpus each target gets.
const NEAR: usize = 3_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// What means something to one parser or another.
const MEANT: &[u8] = b"\0%+&=:.\n\"{}[],\\\xff";

/// A byte changed, taken out, doubled, or something of another input put in.
fn near(input: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        match random.random_range(0..5) {
            0 if at < input.len() => input[at] = random.random(),
            1 if at < input.len() => drop(input.remove(at)),
            2 if at < input.len() => input.insert(at, input[at]),
            3 => input.insert(at, MEANT[random.random_range(0..MEANT.len())]),
            _ if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let to = (from + random.random_range(1..=20)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => {}
        }
    }
    input
}

#[test]
fn every_target_holds_for_its_corpus_and_near_it() {
    for (name, target) in targets::TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "{name} has a corpus to begin with");
        for input in &corpus {
            target(input);
        }
        // The same each time: a failure here is one that can be repeated.
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..NEAR {
            let one = &corpus[random.random_range(0..corpus.len())];
            let other = &corpus[random.random_range(0..corpus.len())];
            target(&near(one, other, &mut random));
        }
    }
}

/// A folder that no target reads would be forgotten.
#[test]
fn every_corpus_belongs_to_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(targets::TARGETS.iter().any(|(target, _)| *target == name), "fuzz/corpus/{name}");
    }
}
