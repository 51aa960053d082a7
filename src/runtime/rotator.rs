//! Rotation: does what [`rotation::plan`] says, whenever there is something to do.
//!
//! Every replica runs this, and none leads. Each action is a transaction of its own that leaves a ring which
//! works; where two replicas want the same, a unique constraint or a condition lets one of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::clock::Ambient;
use super::clock_check::ClockCheck;
use super::key_maker::KeyMaker;
use super::keyring::Keyring;
use super::ledger::Ledger;
use super::trouble::Trouble;
use super::{fault, fault_point, patiently};
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::error::Fault;
use crate::domain::ids::KeyId;
use crate::domain::rotation::{self, Action, Need, RingKey};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use crate::jose::Algorithm;
use crate::storage::{ChangeKind, Store, StoreError, StoredKey, Tx};

/// How often the plan is asked, from memory.
const TICK: Duration = Duration::from_millis(200);

/// How often the clock is compared with the database's.
const CLOCK: Duration = Duration::from_secs(5);

/// How often the store is asked for what to do, whatever memory says: a resource server may have begun to use
/// another algorithm.
const FULL: Duration = Duration::from_mins(1);

/// How many times in a row the plan is asked: more than all rings together can need.
const MOST_ROUNDS: usize = 200;

/// Keeps the rings in order.
pub struct Rotator {
    store: Store,
    keyring: Arc<Keyring>,
    ledger: Ledger,
    ambient: Ambient,
    schedule: Schedule,
    maker: KeyMaker,
    clock: Arc<ClockCheck>,
    /// How much each ring was needed when the store was last asked.
    needs: ArcSwap<BTreeMap<Algorithm, Need>>,
}

/// Who wants something done about keys, for the audit.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
}

/// What came of the wish for a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// It is published, and signs after the lead.
    Made,
    /// There was one already, or another replica has just made it.
    IsPending,
    /// Nothing is signed with that algorithm.
    NotInUse,
}

/// A key that was withdrawn.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// What it signed with.
    pub algorithm: Algorithm,
    /// Until when verifiers may go on trusting what it signed: they may keep the old key set for so long.
    pub trusted_until: Timestamp,
}

// === impl Rotator ===

impl Rotator {
    /// Of these keys.
    #[must_use]
    pub fn new(
        store: Store,
        keyring: Arc<Keyring>,
        ledger: Ledger,
        ambient: Ambient,
        (schedule, maker): (Schedule, KeyMaker),
    ) -> Self {
        let clock = ClockCheck::new(store.clone(), ambient.clone(), schedule.clock_tolerance());
        let clock = Arc::new(clock);
        Self { store, keyring, ledger, ambient, schedule, maker, clock, needs: ArcSwap::default() }
    }

    /// What makes its keys.
    #[must_use]
    pub const fn maker(&self) -> &KeyMaker {
        &self.maker
    }

    /// The schedule that it keeps.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The longest lifetime of any token that may live, also of those from before a setting was lowered.
    #[must_use]
    pub fn longest_token(&self) -> Duration {
        let lives = self.keyring.lives();
        let signed = lives.values().flatten().map(|key| key.longest_token);
        signed.fold(self.schedule.longest_token(), Duration::max)
    }

    /// What must be done before anything is signed: a key for every algorithm in use.
    ///
    /// # Errors
    /// The database is away, or a key cannot be made.
    pub async fn start(&self) -> Result<(), Fault> {
        self.clock.compare().await?;
        // Before anything is signed: a key stays for as long as the longest token that it may have signed.
        self.change(None, self.ambient.now(), async |tx| {
            tx.lengthen_tokens(self.schedule.longest_token()).await
        })
        .await?;
        let is_complete = self.rings().await?.values().all(|(ring, _)| !ring.is_empty());
        if is_complete && self.clock.check().is_err() {
            return Ok(());
        }
        self.check_makes().await?;
        self.act_at_most(usize::MAX).await?;
        self.maker.sweep(self.ambient.now()).await;
        Ok(())
    }

    /// Makes sure that a key can be made for every algorithm in use.
    async fn check_makes(&self) -> Result<(), Fault> {
        for (algorithm, _) in patiently(self.store.used_algorithms()).await? {
            if let Some(obstacle) = self.maker.obstacle(algorithm).await? {
                return Err(Fault::internal(format!(
                    "{obstacle}, and a resource server uses it: set keys.held_in to database until none does"
                )));
            }
        }
        Ok(())
    }

    /// Keeps the rings in order until `stop`. Each action is a transaction of its own, so it may stop anywhere.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_in_order() => {}
        }
    }

    async fn keep_in_order(&self) {
        let (mut compared, mut asked) = (Instant::now(), Instant::now());
        let mut comparing = Trouble::with("the clock cannot be compared with the database's");
        let mut settling = Trouble::with("the signing keys cannot be kept in order");
        loop {
            tokio::time::sleep(TICK).await;
            if compared.elapsed() > CLOCK {
                compared = Instant::now();
                comparing.note(self.clock.compare().await);
            }
            if self.clock.check().is_err() || !(self.is_anything_due() || asked.elapsed() > FULL) {
                continue;
            }
            asked = Instant::now();
            if !settling.note(self.settle().await) {
                tokio::time::sleep(TICK * 5).await;
            }
        }
    }

    /// Whether there is something to do about a ring in memory.
    fn is_anything_due(&self) -> bool {
        let (now, needs) = (self.ambient.now(), self.needs.load());
        self.keyring.lives().iter().any(|(algorithm, ring)| {
            let need = needs.get(algorithm).copied().unwrap_or_default();
            !rotation::plan(now, ring, need, &self.schedule).is_empty()
        })
    }

    /// Does all there is to do now.
    ///
    /// # Errors
    /// The clock is off, the database is away, or a key cannot be made: what was done stands, and the rest is done
    /// later.
    pub async fn settle(&self) -> Result<(), Fault> {
        self.clock.trust().await?;
        let done = self.act_at_most(usize::MAX).await;
        self.maker.sweep(self.ambient.now()).await;
        done
    }

    /// Does the next so many things, as somebody who is killed after them has.
    ///
    /// # Errors
    /// As [`Rotator::settle`].
    pub async fn act_at_most(&self, mut actions: usize) -> Result<(), Fault> {
        let mut done = false;
        // One ring's trouble, for example with a token, is not the others'.
        let mut failed: BTreeMap<Algorithm, Fault> = BTreeMap::new();
        for _ in 0..MOST_ROUNDS {
            let rings = self.rings().await?;
            let mut planned = rings.iter().flat_map(|(algorithm, (ring, need))| {
                let now = self.ambient.now();
                let plan = rotation::plan(now, ring, *need, &self.schedule);
                plan.into_iter().map(move |action| (*algorithm, now, action))
            });
            // One at a time: what it changes may change the rest of the plan.
            let next = planned.find(|(algorithm, ..)| !failed.contains_key(algorithm));
            let Some((algorithm, now, action)) = next.filter(|_| actions > 0) else { break };
            actions -= 1;
            // Boxed, because it is large and seldom needed: whoever waits for it carries its size about.
            match Box::pin(self.act(algorithm, &rings[&algorithm].0, now, action, None)).await {
                Ok(_) => done = true,
                Err(fault) => drop(failed.insert(algorithm, fault)),
            }
        }
        if done {
            self.publish().await?;
        }
        failed.into_values().next().map_or(Ok(()), Err)
    }

    /// Every ring in the store, and every one that ought to be there; and how much it is needed.
    async fn rings(&self) -> Result<BTreeMap<Algorithm, (Vec<RingKey>, Need)>, Fault> {
        let stored = patiently(self.store.signing_keys()).await?;
        let used = patiently(self.store.used_algorithms()).await?;
        let now = self.ambient.now();
        let mut rings: BTreeMap<Algorithm, (Vec<RingKey>, Need)> = BTreeMap::new();
        for key in stored {
            rings.entry(key.algorithm).or_default().0.push(key.life);
        }
        let mut needs: Vec<_> = Algorithm::ALWAYS.iter().map(|algorithm| (*algorithm, Need::Now)).collect();
        for (algorithm, before) in used {
            let signs =
                rings.get(&algorithm).is_some_and(|(ring, _)| rotation::active_index(ring, now).is_some());
            match before.filter(|_| !signs) {
                Some(before) => needs.extend([(algorithm, Need::Later), (before, Need::Now)]),
                None => needs.push((algorithm, Need::Now)),
            }
        }
        for (algorithm, need) in needs {
            let (_, known) = rings.entry(algorithm).or_default();
            *known = need.max(*known);
        }
        let needs = rings.iter().map(|(algorithm, (_, need))| (*algorithm, *need)).collect();
        self.needs.store(Arc::new(needs));
        Ok(rings)
    }

    /// How much each ring is needed.
    ///
    /// # Errors
    /// The database is away.
    pub async fn needs(&self) -> Result<BTreeMap<Algorithm, Need>, Fault> {
        Ok(self.rings().await?.into_iter().map(|(algorithm, (_, need))| (algorithm, need)).collect())
    }

    /// When the next key of a ring in memory begins to sign. `None` while none does, or when nothing uses it.
    #[must_use]
    pub fn next_activation(
        &self,
        algorithm: Algorithm,
        ring: &[RingKey],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let need = self.needs.load().get(&algorithm).copied().unwrap_or_default();
        (need != Need::None).then(|| rotation::next_activation(now, ring, &self.schedule)).flatten()
    }

    /// Whether a key of this algorithm signs now, as far as is known here.
    #[must_use]
    pub fn signs_with(&self, algorithm: Algorithm) -> bool {
        let rings = self.keyring.lives();
        rings.get(&algorithm).is_some_and(|ring| rotation::active_index(ring, self.ambient.now()).is_some())
    }

    /// Makes what was done visible here, and has it in the ledger.
    async fn publish(&self) -> Result<(), Fault> {
        self.keyring.reload().await?;
        fault_point::pass("rotation", "reloaded");
        self.ledger.collect().await?;
        fault_point::pass("rotation", "recorded");
        Ok(())
    }

    /// Carries out one action, in one transaction with its event. Answers whether it was not done already.
    async fn act(
        &self,
        algorithm: Algorithm,
        ring: &[RingKey],
        now: Timestamp,
        action: Action,
        wanted: Option<&Wanted>,
    ) -> Result<bool, Fault> {
        tracing::info!(%algorithm, ?action, "signing keys");
        let life = |kid: &KeyId| ring.iter().find(|key| key.kid == *kid).cloned();
        match action {
            Action::Create { generation, activates_at } => {
                self.create(algorithm, generation, now, activates_at, wanted).await
            }
            Action::Advance { kid, activates_at } => {
                let Some(life) = life(&kid) else { return Ok(false) };
                let event = scheduled(algorithm, &RingKey { activates_at, ..life });
                self.change(Some(event), now, async |tx| tx.advance_key(&kid, activates_at).await).await
            }
            Action::End { kid, leaves_at } => {
                let Some(life) = life(&kid) else { return Ok(false) };
                let known = life.leaves_at;
                let event = scheduled(algorithm, &RingKey { leaves_at, ..life });
                self.change(Some(event), now, async |tx| tx.end_key(&kid, known, leaves_at).await).await
            }
            Action::Remove { kid } => {
                let Some(life) = life(&kid) else { return Ok(false) };
                let event = Event::KeyRemoved { kid: kid.clone(), algorithm };
                self.change(Some(event), now, async |tx| tx.remove_key(&kid, life.leaves_at, now).await).await
            }
        }
    }

    /// Makes a key, unless another replica was faster. Its times count from when it is stored, because making it
    /// can take seconds.
    async fn create(
        &self,
        algorithm: Algorithm,
        generation: i64,
        planned: Timestamp,
        activates_at: Timestamp,
        wanted: Option<&Wanted>,
    ) -> Result<bool, Fault> {
        let made = self.maker.make(algorithm).await?;
        fault_point::pass("key_created", "generated");
        let now = self.ambient.now();
        let took = now.as_micros().saturating_sub(planned.as_micros());
        let activates_at = activates_at.plus(Duration::from_micros(u64::try_from(took).unwrap_or(0)));
        let (kid, private, public_jwk) = (made.kid.clone(), made.private.clone(), made.public_jwk.clone());
        let life = RingKey {
            kid,
            generation,
            activates_at,
            leaves_at: None,
            revoked_at: None,
            longest_token: self.schedule.longest_token(),
        };
        let key = StoredKey { algorithm, life, public_jwk, private, created_at: now };
        let event = Event::KeyCreated {
            kid: made.kid.clone(),
            algorithm,
            activates_at,
            actor: wanted.map(|wanted| wanted.actor.clone()),
        };
        let origin = wanted.map(|wanted| wanted.origin.clone()).unwrap_or_default();
        let stored = self.change_from(Some((origin, event)), now, async |tx| {
            KeyMaker::claim(tx, &made).await?;
            tx.insert_key(&key).await?;
            Ok(true)
        });
        match timeout(self.schedule.write(), stored).await {
            // Another replica was faster: its key is the one.
            Ok(Err(StoreError::AlreadyExists)) => {
                self.maker.discard(&made).await;
                Ok(false)
            }
            Ok(done) => done.map_err(fault),
            // Later, the lead would be shorter than verifiers need.
            Err(_) => Err(Fault::unavailable("the database takes too long to store a key")),
        }
    }

    async fn change(
        &self,
        event: Option<Event>,
        at: Timestamp,
        change: impl AsyncFnOnce(&mut Tx) -> Result<bool, StoreError>,
    ) -> Result<bool, Fault> {
        let event = event.map(|event| (Origin::default(), event));
        patiently(Box::pin(self.change_from(event, at, change))).await
    }

    /// A change and its event, or neither. Answers whether there was anything to change.
    async fn change_from(
        &self,
        event: Option<(Origin, Event)>,
        at: Timestamp,
        change: impl AsyncFnOnce(&mut Tx) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let step = event.as_ref().map_or("lengthen", |(_, event)| event.kind());
        let event =
            event.map(|(origin, event)| AuditEvent { at, origin, event }.write_for_later()).transpose()?;
        let mut tx = self.store.begin().await?;
        let changed = change(&mut tx).await?;
        if changed {
            if let Some(event) = event {
                tx.leave_event(self.ambient.uuid()?, &event).await?;
            }
            tx.note_change(&ChangeKind::Keys, at).await?;
            fault_point::pass(step, "written");
            tx.commit().await?;
            fault_point::pass(step, "committed");
        }
        Ok(changed)
    }

    /// Makes the next key of a ring before its time. It signs after the lead.
    ///
    /// # Errors
    /// The clock is off, the database is away, or the key cannot be made.
    pub async fn rotate(&self, algorithm: Algorithm, wanted: &Wanted) -> Result<Rotated, Fault> {
        // A ring that is to be there is, before it is asked for the key after its first.
        self.settle().await?;
        let (ring, need) = self.rings().await?.remove(&algorithm).unwrap_or_default();
        if need == Need::None {
            return Ok(Rotated::NotInUse);
        }
        let now = self.ambient.now();
        let Some(action) = rotation::plan_now(now, &ring, &self.schedule) else {
            return Ok(Rotated::IsPending);
        };
        let made = Box::pin(self.act(algorithm, &ring, now, action, Some(wanted))).await?;
        self.settle().await?;
        self.publish().await?;
        Ok(if made { Rotated::Made } else { Rotated::IsPending })
    }

    /// Withdraws a key: it is no longer published, and if it was the one that signs, a fresh one does. `None`
    /// when there is no such key, or it was withdrawn before.
    ///
    /// # Errors
    /// The clock is off, or the database is away. If a fresh key cannot be made, the key is withdrawn all the same.
    pub async fn revoke(&self, kid: &KeyId, wanted: &Wanted) -> Result<Option<Revoked>, Fault> {
        // By when a key was revoked and when it signed, it is told whether it can have signed.
        self.clock.trust().await?;
        let rings = self.rings().await?;
        let found = rings.iter().find(|(_, (ring, _))| ring.iter().any(|key| key.kid == *kid));
        let Some((&algorithm, _)) = found else { return Ok(None) };
        let now = self.ambient.now();
        let trusted_until = now.plus(self.schedule.verifier_cache());
        let event =
            Event::KeyRevoked { kid: kid.clone(), algorithm, actor: wanted.actor.clone(), trusted_until };
        let event = Some((wanted.origin.clone(), event));
        let changed =
            patiently(Box::pin(self.change_from(event, now, async |tx| tx.revoke_key(kid, now).await)))
                .await?;
        if !changed {
            return Ok(None);
        }
        // Its withdrawal stands, and whoever asked for it must hear that, whatever happens to the fresh key.
        let rest = async {
            self.publish().await?;
            self.act_at_most(usize::MAX).await
        };
        if let Err(fault) = rest.await {
            tracing::error!(%fault, %kid, "the key is withdrawn, but there is no fresh one yet; trying again");
        }
        Ok(Some(Revoked { algorithm, trusted_until }))
    }

    /// This process's clock against the database's.
    #[must_use]
    pub const fn clock(&self) -> &Arc<ClockCheck> {
        &self.clock
    }
}

fn scheduled(algorithm: Algorithm, life: &RingKey) -> Event {
    Event::KeyScheduled {
        kid: life.kid.clone(),
        algorithm,
        activates_at: life.activates_at,
        leaves_at: life.leaves_at,
    }
}
