//! Keyed state.

/// One operator's state table in one shard, as the driver sees it.
pub trait StateTable {
    /// Bytes held in memory.
    fn bytes(&self) -> usize;
}
