//! Sorted entries of state: an epoch's changes (a delta), or all of it (a base). Both are **runs**: each key once, in
//! order, with its value or that it is gone.
//!
//! 1. A [`Cursor`] walks over entries, one at a time. [`entries`]: those that lie in memory.
//! 2. [`segment`]: a run's files. What is written comes from a cursor, and never more than one segment of it is held.
//! 3. [`merge`]: several cursors as one; the newest entry of a key wins. A base is a merge without what is gone.
//!
//! What does not live here: where files lie, and when runs are merged.
//!
//! Invariants:
//! - Keys strictly increase along a run, over all its files.
//! - A value is read only from a block whose checksum is right.

pub mod entries;
pub mod merge;
pub mod segment;

#[cfg(test)]
mod tests;

use crate::error::Result;

pub use entries::{Entries, SortedEntries};
pub use merge::{Merged, WithoutGone};
pub use segment::{RunWriter, SegmentReader};

/// Entries in the order of their keys, which strictly increase. It stands before the first one at first.
pub trait Cursor: Send {
    /// Goes to the next entry; false if there is none, and it is not asked again then. May block.
    fn advance(&mut self) -> Result<bool>;

    /// The present entry's key.
    fn key(&self) -> &[u8];

    /// The present entry's value; `None` says that the key is gone.
    fn value(&self) -> Option<&[u8]>;
}
