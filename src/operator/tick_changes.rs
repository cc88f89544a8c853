//! A tick's changes, gathered by key as they come: what cancels out within the tick is gone.

use super::bags::Bags;
use super::combine::KEYS_KEPT;
use crate::memory::Account;
use crate::state::{KeyIndex, StateContext, Values};

/// Encoded rows by key, in the order in which keys first appear.
pub struct TickChanges {
    pub index: KeyIndex,
    pub rows: Bags,
    account: Account,
}

impl TickChanges {
    /// `stride`: bytes of every key, if they are all alike.
    pub fn new(stride: Option<usize>, context: &StateContext) -> Self {
        TickChanges { index: KeyIndex::new(stride), rows: Bags::default(), account: context.budget.account() }
    }

    /// The slot of a key.
    pub fn slot(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = self.index.find_or_insert(hash, key);
        self.rows.grow(self.index.slots());
        slot
    }

    /// Accounts for what was gathered.
    pub fn settle(&mut self) {
        self.account.set(self.index.bytes() + self.rows.bytes());
    }

    /// The tick is over.
    pub fn clear(&mut self) {
        self.index.clear(KEYS_KEPT);
        self.rows.clear();
        self.settle();
    }
}
