//! What lies beneath a table: bytes under ordered keys.

use std::task::Poll;

use crate::change::bytes::Reader;
use crate::change::key::Keys;
use crate::error::Result;
use crate::plan::OperatorId;

/// A table of state: operators may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    pub operator: OperatorId,
    pub table: u8,
}

/// Bytes in front of the encoded key: key group, operator (big-endian), table.
pub const STATE_KEY_PREFIX: usize = 6;

impl TableId {
    /// `key group | operator | table`: what the state keys of one group start with.
    pub fn prefix(self, group: u8) -> [u8; STATE_KEY_PREFIX] {
        let [a, b, c, d] = self.operator.0.to_be_bytes();
        [group, a, b, c, d, self.table]
    }

    /// The table and the encoded key within a state key.
    pub fn split(state_key: &[u8]) -> Result<(TableId, &[u8])> {
        let mut reader = Reader::new(state_key);
        reader.byte()?;
        let operator = OperatorId(u32::from_be_bytes(reader.array()?));
        let table = reader.byte()?;
        Ok((TableId { operator, table }, reader.rest()))
    }
}

/// Is told the position of a key that was found, and its value.
pub type EachFound<'a> = dyn FnMut(usize, &[u8]) -> Result<()> + 'a;

/// Is told a state key and its value.
pub type EachEntry<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Is told a state key and its value; none: it was deleted.
pub type EachChange<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<()> + 'a;

/// A page of a scan: how far it got.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// There may be more behind the last entry handed out.
    More,
    Last,
}

/// Bytes beneath one table. All keys are state keys (`key group | operator | table | key`) of the table it was opened
/// for, in the shard's key groups.
///
/// Whatever answers `Pending` is asked again, with the same arguments, until it is `Ready`; it must not have called back
/// before. Order: by key bytes within a key group, as RocksDB keeps them.
pub trait Backend: Send {
    /// Nothing lies beneath: nothing needs asking.
    fn is_empty(&self) -> bool;

    /// Looks all keys up in one go; calls `found` with the position of each key that is there, and its value.
    fn get(&mut self, keys: &Keys, found: &mut EachFound<'_>) -> Result<Poll<()>>;

    /// The smallest time greater than `after` that a key starts with, over all groups.
    fn next_time(&mut self, after: Option<i64>) -> Result<Poll<Option<i64>>>;

    /// At most `limit` entries whose key starts with `time`, behind the state key `after` (empty: from the first), in
    /// the order of state keys.
    fn scan_time(&mut self, time: i64, after: &[u8], limit: usize, each: &mut EachEntry<'_>) -> Result<Poll<Page>>;

    /// Puts or (`None`) deletes an entry.
    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// All entries of a table leave memory at each tick's end.
    fn evicts_every_tick(&self) -> bool {
        false
    }

    /// Of a backend that entries go to at every tick's end: what was written since the last freeze, as it is now, is to be
    /// handed out by [`Backend::drain_frozen`].
    fn freeze(&mut self) {}

    /// Hands out what was frozen, as [`super::StateTable::drain_frozen`] does.
    fn drain_frozen(&mut self, _limit_bytes: usize, _each: &mut EachChange<'_>) -> Result<bool> {
        Ok(true)
    }

    /// Puts an entry back that was handed out in an earlier life.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(key, Some(value))
    }

    /// Entries are written beneath: changes must be tracked from the first.
    fn is_written(&self) -> bool;

    /// Bytes it holds in memory.
    fn bytes(&self) -> usize;
}
