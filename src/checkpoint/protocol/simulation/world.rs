//! The store and the sinks, and what must always be true of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vocabulary::Found;
use super::{Chance, Flaw};
use crate::checkpoint::commit::{Commit, Place, Run, Stored};
use crate::checkpoint::names;
use crate::connector::PartId;
use crate::error::{Error, SqlState};
use crate::store::Digest;

/// State keys of the small pipeline.
pub const KEYS: u64 = 6;

/// Takes a marker with the data, and knows its owner.
pub const EXACTLY_ONCE: &str = "exactly-once";
/// Takes data, and keeps no marker.
pub const AT_LEAST_ONCE: &str = "at-least-once";

pub type Entry = (u8, Option<u64>);

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Run(Vec<Entry>),
    Part(Vec<u64>),
}

#[derive(Debug, Clone)]
pub struct StoredCommit {
    pub commit: Commit,
    pub digest: Digest,
    /// Inputs that were read.
    pub image: u64,
    pub within: Vec<Content>,
    pub is_damaged: bool,
}

#[derive(Debug, Default)]
pub struct Sink {
    pub records: Vec<u64>,
    pub marker: Option<PartId>,
    /// Who may deliver: whoever asked for the marker last, by the number of its question.
    pub owner: u64,
}

#[derive(Debug, Default)]
pub struct World {
    pub flaw: Option<Flaw>,
    /// By number, and by generation where names hold it.
    pub commits: BTreeMap<(u64, u64), StoredCommit>,
    pub files: BTreeMap<String, Content>,
    pub damaged: BTreeSet<String>,
    pub sinks: BTreeMap<&'static str, Sink>,
    /// What went wrong first.
    pub violation: Option<String>,
    /// Something was damaged on purpose.
    pub has_damage: bool,
}

impl World {
    pub fn new(flaw: Option<Flaw>) -> Self {
        let sinks = [EXACTLY_ONCE, AT_LEAST_ONCE].into_iter().map(|name| (name, Sink::default())).collect();
        World { flaw, sinks, ..World::default() }
    }

    pub fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    pub fn epochs(&self) -> Vec<u64> {
        let mut epochs: Vec<u64> = self.commits.keys().map(|(epoch, _)| *epoch).collect();
        epochs.dedup();
        epochs
    }

    pub fn newest(&self) -> Option<&StoredCommit> {
        self.commits.values().next_back()
    }

    pub fn commit(&self, epoch: u64) -> Option<&StoredCommit> {
        self.commits.range((epoch, 0)..=(epoch, u64::MAX)).next_back().map(|(_, commit)| commit)
    }

    pub fn read(&self, epoch: u64) -> Found {
        match self.commit(epoch) {
            None => Found::Missing,
            Some(stored) if stored.is_damaged && self.flaw != Some(Flaw::HashesAreNotChecked) => {
                Found::Damaged(Error::new(SqlState::DataCorrupted, "damaged"))
            }
            Some(stored) => Found::Commit(Box::new(stored.commit.clone()), stored.digest),
        }
    }

    /// Whether it was created. Everything that it names must be there.
    pub fn create(&mut self, stored: StoredCommit) -> bool {
        let epoch = stored.commit.epoch;
        let key = (epoch, if self.flaw == Some(Flaw::GenerationInTheName) { stored.commit.generation } else { 0 });
        if self.commits.contains_key(&key) && self.flaw != Some(Flaw::CreateReplaces) {
            return false;
        }
        let is_newest = self.newest().is_none_or(|newest| newest.commit.epoch < epoch);
        self.commits.insert(key, stored);
        if is_newest {
            self.check_newest();
        }
        true
    }

    pub fn delete(&mut self, name: &str) {
        match names::epoch_of(name) {
            Some(epoch) => self.commits.retain(|(e, _), _| *e != epoch),
            None => {
                self.files.remove(name);
            }
        }
        self.check_newest();
    }

    /// Everything that the newest commit names is there, and so is the one before it.
    fn check_newest(&mut self) {
        let Some(newest) = self.newest() else { return self.violated("there is no commit any more") };
        let commit = &newest.commit;
        let file = commit.files().find(|name| !self.files.contains_key(*name)).map(str::to_string);
        let within = commit.commits().chain(commit.epoch.checked_sub(1).filter(|e| *e > 0));
        let missing = file.or_else(|| {
            within
                .map(names::commit)
                .find(|name| names::epoch_of(name).is_some_and(|epoch| self.commit(epoch).is_none()))
        });
        if let Some(missing) = missing.filter(|_| !self.has_damage) {
            let epoch = commit.epoch;
            self.violated(format!("commit {epoch} is the newest and needs {missing}, which is not there"));
        }
    }

    /// Reads what a commit names; an error if it is missing, or damaged and that is looked at.
    pub fn content(&self, stored: &Stored) -> Result<Content, String> {
        let (content, is_damaged) = match &stored.at {
            Place::File(name) => {
                (self.files.get(name).ok_or(format!("{name} is missing"))?, self.damaged.contains(name))
            }
            Place::Within(epoch, piece) => {
                let commit = self.commit(*epoch).ok_or(format!("commit {epoch} is missing"))?;
                let piece = commit.within.get(*piece as usize).ok_or(format!("{epoch} has no piece {piece}"))?;
                (piece, commit.is_damaged)
            }
        };
        if !is_damaged && digest(content) == stored.sha256 {
            return Ok(content.clone());
        }
        match self.flaw {
            Some(Flaw::HashesAreNotChecked) if is_damaged => Ok(flipped(content)),
            Some(Flaw::HashesAreNotChecked) => Ok(content.clone()),
            _ => Err("damaged".into()),
        }
    }

    /// Runs laid over each other, oldest first.
    pub fn merged(&self, runs: &[Run]) -> Result<BTreeMap<u8, Option<u64>>, String> {
        let mut merged = BTreeMap::new();
        for stored in runs.iter().flat_map(|run| &run.files) {
            match self.content(stored)? {
                Content::Run(entries) => merged.extend(entries),
                Content::Part(_) => return Err("a part is no run".into()),
            }
        }
        Ok(merged)
    }

    /// Damages something that is there, or takes it away; true if that must be noticed in any case. What nobody can
    /// notice is not done: the newest commit is taken away, or replaced by another whole one.
    pub fn damage(&mut self, chance: &mut Chance) -> Option<bool> {
        self.has_damage = true;
        let (commits, files) = (self.commits.len(), self.files.len());
        let at = chance.below((commits + files).max(1));
        if at >= commits {
            let name = self.files.keys().nth(at - commits)?.clone();
            if chance.percent(50) {
                self.damaged.insert(name.clone());
            } else {
                self.files.remove(&name);
            }
            return Some(false);
        }
        let (key, stored) = self.commits.iter_mut().nth(at)?;
        let key = *key;
        let breaks_chain = at + 2 == commits;
        match chance.below(3) {
            // Whole, and another one than was written.
            0 if at + 1 < commits => {
                stored.digest = Digest::of(b"another");
                stored.image += 1;
            }
            1 if at + 1 < commits => {
                self.commits.remove(&key);
            }
            _ => {
                stored.is_damaged = true;
                return Some(at + 1 == commits);
            }
        }
        Some(breaks_chain)
    }
}

/// Input number `input` changes one key, or, one time in three, removes it.
pub fn change(input: u64) -> Entry {
    let mixed = input.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    ((mixed % KEYS) as u8, (!(mixed >> 8).is_multiple_of(3)).then_some(input))
}

/// State after the first `inputs` inputs.
pub fn state_after(inputs: u64) -> BTreeMap<u8, u64> {
    let mut state = BTreeMap::new();
    for (key, value) in (0..inputs).map(change) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// What stands for a SHA-256: the same for the same content.
pub fn digest(content: &Content) -> Digest {
    let numbers: Vec<u64> = match content {
        Content::Run(entries) => {
            entries.iter().flat_map(|(key, value)| [u64::from(*key), value.map_or(0, |v| v + 1)]).collect()
        }
        Content::Part(records) => records.iter().map(|record| record + (1 << 40)).collect(),
    };
    digest_of_numbers(numbers.into_iter())
}

pub fn digest_of_numbers(numbers: impl Iterator<Item = u64>) -> Digest {
    let mut hashed = Chance(1);
    for number in numbers {
        hashed.0 ^= number;
        hashed.0 = hashed.next();
    }
    let mut bytes = [0; Digest::BYTES];
    bytes.chunks_mut(8).for_each(|eight| eight.copy_from_slice(&hashed.next().to_le_bytes()));
    Digest::from_bytes(bytes)
}

fn flipped(content: &Content) -> Content {
    match content {
        Content::Run(entries) => Content::Run(entries.iter().map(|(key, _)| (*key, Some(u64::MAX))).collect()),
        Content::Part(records) => Content::Part(records.iter().map(|record| record ^ 1).collect()),
    }
}
