//! Checking the audit, in the store or in an exported file, and exporting it. Needs no master key and no
//! server: whoever may read the events may check them.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::chain::{ChainEnd, Hash};
use crate::domain::chain_check::{Check, Found, Line, Report, Window, Witness};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;
use crate::jose::{PublicJwkSet, TokenType, Unverified, VerifyingKey};
use crate::runtime::step;
use crate::storage::{EventOrder, Store, StoreError};

/// How often progress is told: every so many events.
const TOLD: u64 = 10_000;

/// How often a check begins anew because retention has removed events meanwhile.
const TRIES: u32 = 3;

/// How many checkpoints are read at a time.
pub(super) const CHECKPOINTS: u32 = 500;

/// How many events after one its checkpoint is looked for: twice what is signed for at a time, for a batch may end with
/// as many again.
const COVERED: u64 = 2_048;

/// Keys whose checkpoints are believed.
pub struct TrustedKeys(HashMap<String, VerifyingKey>);

/// Which witnesses are heard, and how fast.
pub(super) struct Hearing {
    /// Those of what was recorded from this time on.
    pub(super) since: Timestamp,
    /// How long others have the thread and the database to themselves after each page.
    pub(super) breath: Duration,
}

/// Why a check or an export could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read.
    #[error("line {line}: {problem}")]
    Line {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Whoever takes the export takes no more.
    #[error(transparent)]
    Taken(#[from] std::io::Error),
}

// === impl Hearing ===

impl Default for Hearing {
    /// All of them, as fast as they come.
    fn default() -> Self {
        Self { since: Window::ALL.from, breath: Duration::ZERO }
    }
}

// === impl TrustedKeys ===

impl TrustedKeys {
    /// From a JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    /// A key is of a kind that cannot be used, or there is none.
    pub fn new(jwks: &PublicJwkSet) -> Result<Self, Fault> {
        let mut keys = HashMap::new();
        for jwk in &jwks.keys {
            let kid = jwk.key_id().to_owned();
            let key = VerifyingKey::from_jwk(jwk)
                .map_err(|error| Fault::internal(format!("the audit key '{kid}': {error}")))?;
            keys.insert(kid, key);
        }
        if keys.is_empty() {
            return Err(Fault::internal("there is no audit key: nothing was ever recorded here"));
        }
        Ok(Self(keys))
    }

    /// Hears what a checkpoint says, which is kept for this place, if that is known.
    fn check(&self, jws: &str, place: Option<(Uuid, u64)>, check: &mut Check) {
        let claimed = match self.signed(jws) {
            Ok(end) if place.is_none_or(|place| place == (end.writer, end.seq)) => {
                return check.expect(end, Witness::Checkpoint);
            }
            Ok(end) => Some(end),
            Err(claimed) => claimed,
        };
        match place.or(claimed.map(|end| (end.writer, end.seq))) {
            Some((writer, seq)) => check.forged(writer, seq),
            None => check.unreadable(),
        }
    }

    /// What a checkpoint says; if it is not signed by one of these keys, what it claims, as far as that can be read.
    fn signed(&self, jws: &str) -> Result<ChainEnd, Option<ChainEnd>> {
        let unverified = Unverified::parse(jws).map_err(|_| None)?;
        let key = unverified
            .key_id()
            .filter(|_| unverified.is(TokenType::AuditCheckpoint))
            .and_then(|kid| self.0.get(kid));
        let verified = key.and_then(|key| unverified.verify::<ChainEnd>(key).ok());
        verified.ok_or_else(|| unverified.claimed())
    }

    /// Whether a checkpoint covers this event as it was found: it is signed, and the events from this one to the one
    /// that it names are chained to each other.
    pub(super) async fn cover(&self, store: &Store, found: &Found) -> Result<bool, StoreError> {
        let Some(stored) = store.checkpoint_from(found.writer, found.seq).await? else { return Ok(false) };
        let Ok(end) = self.signed(&stored.jws) else { return Ok(false) };
        // Of another place than it is kept for, or further away than any is: somebody has moved or removed some.
        let within = found.seq..=found.seq.saturating_add(COVERED);
        if end.writer != found.writer || !within.contains(&end.seq) {
            return Ok(false);
        }
        let events = store.events_of_chain(found.writer, found.seq..=end.seq).await?;
        if events.first() != Some(found) || events.len() as u64 != end.seq - found.seq + 1 {
            return Ok(false);
        }
        let mut before: Option<Hash> = None;
        for (event, place) in events.iter().zip(found.seq..) {
            let (Ok(prev), Ok(hash)) = (Hash::from_bytes(&event.prev), Hash::from_bytes(&event.hash)) else {
                return Ok(false);
            };
            let chained = event.seq == place && before.is_none_or(|before| before == prev);
            if !chained || Hash::of(event.writer, event.seq, event.at, &prev, &event.text) != hash {
                return Ok(false);
            }
            before = Some(hash);
        }
        Ok(before == Some(end.hash))
    }
}

/// The public keys that sign checkpoints, as a JWK Set.
///
/// # Errors
/// The database is away.
pub async fn public_keys(store: &Store) -> Result<PublicJwkSet, StoreError> {
    let keys = store.audit_keys().await?;
    Ok(PublicJwkSet { keys: keys.into_iter().map(|key| key.public_jwk).collect() })
}

/// Checks what the store has of a window, and tells how many events it has seen so far.
///
/// # Errors
/// The database is away.
pub async fn check_store(
    store: &Store,
    keys: &TrustedKeys,
    window: Window,
    mut told: impl FnMut(u64),
) -> Result<Report, AuditError> {
    let mut tries = 1;
    loop {
        let check = show_events(store, keys, window, &mut told).await?;
        let mut later = Check::default();
        heed_marks(store, &mut later, Window::ALL.from).await?;
        // What it removes is missed no longer when everything is read anew. It comes once a day.
        if tries == TRIES || !check.is_overtaken_by_retention(&later) {
            return Ok(check.finish(window, true));
        }
        tries += 1;
    }
}

/// What a check was shown of a window, before it ends.
async fn show_events(
    store: &Store,
    keys: &TrustedKeys,
    window: Window,
    mut told: impl FnMut(u64),
) -> Result<Check, AuditError> {
    let mut check = Check::default();
    // First what must be there, then what is: events that come in between do no harm.
    hear_witnesses(store, keys, &mut check, Hearing::default()).await?;
    let mut seen = 0;
    store
        .each_event::<AuditError>(window, EventOrder::Chains, |found| {
            check.event(&found);
            seen += 1;
            if seen % TOLD == 0 {
                told(seen);
            }
            Ok(())
        })
        .await?;
    look_before(store, &mut check).await?;
    Ok(check)
}

/// Tells the check what must be there: what is signed, and what events say about others. Twice does no harm.
pub(super) async fn hear_witnesses(
    store: &Store,
    keys: &TrustedKeys,
    check: &mut Check,
    Hearing { since, breath }: Hearing,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let window = Window { from: since, ..Window::ALL };
        let some = step(store.checkpoints_within(window, after, CHECKPOINTS)).await?;
        for stored in &some {
            keys.check(&stored.jws, Some((stored.writer, stored.seq.unsigned_abs())), check);
        }
        after = some.last().map(|last| (last.writer, last.seq));
        if some.len() < CHECKPOINTS as usize {
            break;
        }
        // A signature takes a while, and others wait for this thread.
        tokio::task::yield_now().await;
        tokio::time::sleep(breath).await;
    }
    heed_marks(store, check, since).await
}

/// Tells the check what events of this time and later say about others.
async fn heed_marks(store: &Store, check: &mut Check, since: Timestamp) -> Result<(), StoreError> {
    for mark in step(store.marks()).await?.into_iter().filter(|mark| mark.at >= since) {
        check.heed(mark.writer, mark.seq, mark.at, &mark.text);
    }
    Ok(())
}

/// Shows the check the events before those that it was shown first.
pub(super) async fn look_before(store: &Store, check: &mut Check) -> Result<(), StoreError> {
    for (writer, first) in check.cut_off() {
        check.before(writer, step(store.event(writer, first - 1)).await?.as_ref());
    }
    Ok(())
}

/// Checks an exported file, which `open` opens from its beginning each time, and tells how many events it has
/// seen so far. What an export with a beginning or an end leaves out is not missed when the same `window` is
/// named.
///
/// # Errors
/// The file cannot be read, or a line is not one of an export.
pub fn check_file<R: BufRead>(
    mut open: impl FnMut() -> std::io::Result<R>,
    keys: &TrustedKeys,
    window: Window,
    mut told: impl FnMut(u64),
) -> Result<Report, AuditError> {
    let mut check = Check::default();
    let mut empty = true;
    each_line(open()?, |line| {
        empty = false;
        match line {
            Line::Checkpoint { checkpoint } => keys.check(&checkpoint, None, &mut check),
            Line::Event { writer, seq, at, event, .. } => check.heed(writer, seq, at, event.get()),
        }
    })?;
    if empty {
        return Err(AuditError::Line { line: 1, problem: "the file is empty".to_owned() });
    }
    let mut seen = 0;
    each_line(open()?, |line| {
        let Line::Event { writer, seq, at, prev, hash, event } = line else { return };
        if !(window.from..window.to).contains(&at) {
            return;
        }
        let bytes = |hash: Hash| hash.as_bytes().to_vec();
        let text = event.get().to_owned();
        check.event(&Found { writer, seq, at, prev: bytes(prev), hash: bytes(hash), columns: None, text });
        seen += 1;
        if seen % TOLD == 0 {
            told(seen);
        }
    })?;
    Ok(check.finish(window, false))
}

fn each_line(mut file: impl BufRead, mut take: impl FnMut(Line<'_>)) -> Result<(), AuditError> {
    let mut text = String::new();
    let mut number = 0;
    loop {
        text.clear();
        if file.read_line(&mut text)? == 0 {
            return Ok(());
        }
        number += 1;
        let line = Line::read(&text).ok_or_else(|| AuditError::Line {
            line: number,
            problem: "it is not a line of `jeton audit export`".to_owned(),
        })?;
        take(line);
    }
}

/// Hands over the events of a window, as time went on, then the checkpoints, each as a line of JSON.
///
/// # Errors
/// The database is away, or whatever the receiver answers.
pub async fn export(
    store: &Store,
    window: Window,
    mut take: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<(), AuditError> {
    store
        .each_event::<AuditError>(window, EventOrder::Time, |found| {
            take(&exported(&found)?)?;
            Ok(())
        })
        .await?;
    for stored in store.checkpoints().await? {
        take(&checkpoint_line(stored.jws)?)?;
    }
    Ok(())
}

/// The line of a checkpoint.
pub(super) fn checkpoint_line(jws: String) -> Result<String, AuditError> {
    json(&Line::Checkpoint { checkpoint: jws })
}

/// The line of an event.
pub(super) fn exported(found: &Found) -> Result<String, AuditError> {
    let Found { writer, seq, at, .. } = *found;
    // Somebody may have altered it: then the text that it is stands there, and does not have its hash.
    let altered = serde_json::to_string(&found.text).map_err(std::io::Error::from)?;
    let whole = if found.text.contains(['\n', '\r']) { &altered } else { &found.text };
    let event = serde_json::from_str(whole).or_else(|_| serde_json::from_str(&altered));
    let hash = |bytes: &[u8]| Hash::from_bytes(bytes).unwrap_or(Hash::NONE);
    json(&Line::Event {
        writer,
        seq,
        at,
        prev: hash(&found.prev),
        hash: hash(&found.hash),
        event: event.map_err(std::io::Error::from)?,
    })
}

fn json(line: &Line<'_>) -> Result<String, AuditError> {
    Ok(serde_json::to_string(line).map_err(std::io::Error::from)?)
}
