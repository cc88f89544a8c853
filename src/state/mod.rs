//! Keyed state: what an operator remembers about each key, in one shard.
//!
//! 1. An operator is built with a [`StateContext`]: the backend's kind, the shard's key groups, the memory budget. It
//!    opens its tables with it.
//! 2. [`table`]: [`KeyedTable`], the one table there is. At a tick's end an operator looks up all distinct keys of the
//!    tick in batches and gets slots; a lookup may answer `Pending` and is then asked again. Values lie in columns
//!    ([`Values`]), indexed by slot.
//! 3. [`index`]: encoded keys to slots, by hash.
//! 4. [`times`]: slots by the time their key starts with; scans in time order are chunked and may be `Pending`, too.
//! 5. [`frozen`]: what changed since the last freeze, and what was frozen and is not written yet.
//! 6. [`backend`]: what lies beneath, as bytes under `key group | operator | table | key`. [`memory`]: nothing does.
//!    [`evicting`]: a test's backend, beneath which everything goes at every tick's end.
//!
//! What does not live here: what values mean (operators bring their [`Values`]), and when to freeze or evict (drivers
//! and checkpoints decide).
//!
//! Invariants:
//! - A slot is valid from the lookup or scan that gave it until it is removed or the tick ends.
//! - Nothing pending has happened: a lookup that answers `Pending` has changed nothing that can be seen.
//! - A value is changed only through [`KeyedTable::update`], which keeps track of it.
//! - Every value survives `encode` and `decode` unchanged in all that an operator can ask of it.

mod backend;
mod evicting;
mod frozen;
mod index;
mod memory;
mod table;
mod times;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use crate::change::key::KEY_GROUPS;
use crate::error::Result;
use crate::memory::Budget;

pub use backend::{Backend, EachChange, EachEntry, EachFound, Page, STATE_KEY_PREFIX, TableId};
pub use index::KeyIndex;
pub use table::{KeyedTable, NO_SLOT, Scan};

/// What lies beneath the tables in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// Nothing: the tables are everything.
    #[default]
    Memory,
    /// For tests: at each tick's end everything is encoded, and leaves memory; every first question is `Pending`.
    Evicting,
}

/// What an operator needs to open its tables in one shard.
#[derive(Debug, Clone)]
pub struct StateContext {
    pub backend: BackendKind,
    /// The shard's key groups, within 0..256.
    pub groups: Range<usize>,
    pub budget: Arc<Budget>,
    /// Tables keep track of changes from the first, for whoever will freeze them; else nothing piles up.
    pub tracked: bool,
}

impl StateContext {
    /// A shard that owns every key group, over memory.
    pub fn in_memory(budget: &Arc<Budget>) -> Self {
        StateContext { backend: BackendKind::Memory, groups: 0..KEY_GROUPS, budget: Arc::clone(budget), tracked: false }
    }

    /// What lies beneath a table that is being opened.
    pub fn open(&self, _table: TableId) -> Box<dyn Backend> {
        match self.backend {
            BackendKind::Memory => Box::new(memory::Memory),
            BackendKind::Evicting => Box::new(evicting::Evicting::new(self.tracked)),
        }
    }

    pub fn owns(&self, group: u8) -> bool {
        self.groups.contains(&usize::from(group))
    }
}

/// The value columns of a table: one value for each slot. Which slots are in use is the table's matter.
pub trait Values: Send {
    /// Makes room for slots `0..slots`; new ones hold the initial value.
    fn grow(&mut self, slots: usize);

    /// Puts the initial value into a slot.
    fn reset(&mut self, slot: u32);

    /// Forgets all slots.
    fn clear(&mut self);

    /// Appends the value as bytes, its format's version in front.
    fn encode(&self, slot: u32, out: &mut Vec<u8>);

    /// Reads a value that `encode` wrote into a slot that holds the initial value.
    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()>;

    /// Bytes held in memory.
    fn bytes(&self) -> usize;
}

/// One operator's state table in one shard, as the driver and checkpoints see it.
pub trait StateTable {
    fn id(&self) -> TableId;

    /// Entries in memory.
    fn entries(&self) -> usize;

    /// Bytes held in memory, those of a backend that keeps its entries in memory included.
    fn bytes(&self) -> usize;

    /// A tick has ended and its output was pulled: what was changed may leave memory now, and the account is settled.
    fn end_tick(&mut self) -> Result<()>;

    /// Freezes what changed since the last freeze, by a swap. A frozen entry that is touched again is copied first, so
    /// what [`StateTable::drain_frozen`] hands out is the state at this instant.
    ///
    /// # Errors
    /// If the last frozen set was not drained.
    fn freeze(&mut self) -> Result<()>;

    /// Hands frozen entries out, `key group | operator | table | key` and value (`None`: deleted), in no particular
    /// order, until about `limit_bytes` are out. True when all are.
    fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool>;

    /// Puts an entry in place that was drained from this table in an earlier life. It counts as unchanged.
    fn restore(&mut self, state_key: &[u8], value: &[u8]) -> Result<()>;
}
