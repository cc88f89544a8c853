//! The commits that are there, as far as this process knows, and which files they name.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::commit::Commit;
use crate::store::Digest;

/// A commit that is there, and its digest.
#[derive(Debug, Clone)]
pub struct Known {
    pub commit: Commit,
    pub digest: Digest,
}

#[derive(Debug, Default)]
pub struct Log {
    commits: BTreeMap<u64, Known>,
    /// How many commits name each file.
    named: BTreeMap<String, usize>,
}

impl Log {
    pub fn newest(&self) -> Option<&Known> {
        self.commits.last_key_value().map(|(_, known)| known)
    }

    pub fn next_epoch(&self) -> u64 {
        self.newest().map_or(1, |known| known.commit.epoch + 1)
    }

    pub fn contains(&self, epoch: u64) -> bool {
        self.commits.contains_key(&epoch)
    }

    pub fn get(&self, epoch: u64) -> Option<&Known> {
        self.commits.get(&epoch)
    }

    pub fn push(&mut self, known: Known) {
        for file in known.commit.files() {
            *self.named.entry(file.to_string()).or_default() += 1;
        }
        self.commits.insert(known.commit.epoch, known);
    }

    pub fn names(&self, file: &str) -> bool {
        self.named.contains_key(file)
    }

    /// The commits that are neither among the newest `retained` nor named within by one of those.
    pub fn superfluous(&self, retained: u32, named_stay: bool) -> Vec<u64> {
        let newest = self.commits.keys().next_back().copied().unwrap_or(0);
        let first = (newest + 1).saturating_sub(u64::from(retained));
        let kept = self.commits.range(first..).map(|(_, known)| known);
        let named: BTreeSet<u64> = kept.flat_map(|known| known.commit.commits()).filter(|_| named_stay).collect();
        self.commits.range(..first).map(|(epoch, _)| *epoch).filter(|epoch| !named.contains(epoch)).collect()
    }

    /// Forgets a commit; gives the files that no other one names.
    pub fn forget(&mut self, epoch: u64) -> Vec<String> {
        let Some(known) = self.commits.remove(&epoch) else { return Vec::new() };
        let mut unnamed = Vec::new();
        for file in known.commit.files() {
            if let Some(count) = self.named.get_mut(file) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(file);
                    unnamed.push(file.to_string());
                }
            }
        }
        unnamed
    }
}
