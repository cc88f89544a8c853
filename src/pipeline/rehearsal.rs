//! Recovery, rehearsed while a pipeline runs: for tests. Every few ticks what has changed is frozen and handed out to a store in
//! memory, in pieces, as a checkpoint does; or the pipeline ends there, and another one, of another parallelism and perhaps over
//! another backend, goes on from bytes. Answers must be the same.
//!
//! Its sinks and whoever reads it stay as they are: they do not see the difference. Members that have failed are taken over, and
//! so are subscriptions, which no recovery outlives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::change::key::{KEY_GROUPS, hash};
use crate::dataflow::Fragment;
use crate::error::Result;
use crate::memory::Budget;
use crate::state::{BackendKind, StateContext};

use super::core::Core;
use super::image::{CoreImage, Life};
use super::member::{Member, NewPlan, rows_of};
use super::recovery::is_durable;

/// Of this many ticks one is the last of a life, and one ends with a checkpoint.
const PERIOD: u64 = 4;

/// Bytes handed out between two ticks.
const PIECE_BYTES: usize = 256;

/// Parallelisms that lives have.
const PARALLELISMS: [usize; 3] = [2, 1, 3];

#[derive(Debug, Clone, Default)]
pub struct RehearsalPlan {
    /// Decides which ticks, parallelisms and backends.
    pub seed: u64,
    /// Counts the lives that ended.
    pub ended: Arc<AtomicU64>,
}

pub struct Rehearsal {
    random: u64,
    budget: Arc<Budget>,
    ended: Arc<AtomicU64>,
    lives: usize,
    /// All entries of state as of the last checkpoint, or as far as they have been handed out since.
    entries: BTreeMap<(Life, Vec<u8>), Vec<u8>>,
}

impl Rehearsal {
    pub fn new(plan: &RehearsalPlan, pipeline: &str, budget: &Arc<Budget>) -> Self {
        let (random, ended) = (plan.seed ^ hash(pipeline.as_bytes()), Arc::clone(&plan.ended));
        Rehearsal { random, budget: Arc::clone(budget), ended, lives: 0, entries: BTreeMap::new() }
    }

    /// Between two ticks.
    pub fn after_tick(&mut self, core: &mut Core) -> Result<()> {
        let written = self.write(core, PIECE_BYTES)?;
        match self.draw() % PERIOD {
            0 => self.restart(core),
            1 if written => core.freeze().map(drop),
            _ => Ok(()),
        }
    }

    /// Takes what is frozen, at most about `limit_bytes`. True if that was all.
    fn write(&mut self, core: &mut Core, limit_bytes: usize) -> Result<bool> {
        core.drain_frozen(limit_bytes, &mut |life, key, value| {
            let key = (life, key.to_vec());
            match value {
                Some(value) => drop(self.entries.insert(key, value.to_vec())),
                None => drop(self.entries.remove(&key)),
            }
            Ok(())
        })
    }

    fn restart(&mut self, core: &mut Core) -> Result<()> {
        self.write(core, usize::MAX)?;
        let image = core.freeze()?.to_bytes()?;
        self.write(core, usize::MAX)?;
        let image = CoreImage::from_bytes(&image)?;
        self.entries.retain(|(life, _), _| image.lives().any(|alive| alive == *life));

        let state = self.state();
        let parallelism = PARALLELISMS[self.lives % PARALLELISMS.len()];
        self.lives += 1;
        self.ended.fetch_add(1, Ordering::Relaxed);
        let ended = std::mem::take(core);
        let Some(open) = ended.open else { return Ok(()) };
        *core = Core::resumed(image, ended.policy, open);
        // What has been read ahead is read again.
        drop(ended.readings);
        for member in ended.members {
            match is_durable(&member) {
                true => core.add(again(&member, parallelism, &state)?)?,
                false => core.members.push(member),
            }
        }
        for ((life, key), value) in &self.entries {
            core.restore(*life, key, value)?;
        }
        core.begin();
        Ok(())
    }

    fn state(&mut self) -> StateContext {
        let backend = if self.draw().is_multiple_of(2) { BackendKind::Memory } else { BackendKind::Evicting };
        StateContext { backend, groups: 0..KEY_GROUPS, budget: Arc::clone(&self.budget), tracked: true }
    }

    /// splitmix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The member's plan, with nothing of its state. It has been in an image, so nobody asks where it starts.
fn again(member: &Member, parallelism: usize, state: &StateContext) -> Result<NewPlan> {
    let plan = member.fragment.plan();
    let view = member.view.as_ref().map(|view| rows_of(plan, view.snapshot().schema(), true)).transpose()?;
    Ok(NewPlan {
        id: member.id,
        name: member.name.clone(),
        fingerprint: member.fingerprint,
        fragment: Fragment::new(Arc::clone(plan), parallelism, state)?,
        view,
        starts: BTreeMap::new(),
    })
}
