//! Change batches: what flows between operators.
//!
//! A [`ChangeBatch`] is an Arrow `RecordBatch` whose rows carry a weight: +1 inserted, -1 deleted, any other multiple
//! (a Z-set, as in differential dataflow and DBSP). Append-only streams carry no weight column at all.
//!
//! 1. [`batch`]: the batch itself and what can be done to it row-wise (filter, take, slice, concatenate).
//! 2. [`key`]: our own order-preserving, versioned encoding of key columns, and the key-group hash over it.
//! 3. [`row`]: our own versioned encoding of whole rows, for values in state and for views.
//! 4. [`bytes`]: the reader and the small writers that encodings share.
//! 5. [`stored`]: batches as bytes, for results that wait in a store.
//! 6. [`consolidate`]: equal rows added up, zeroes dropped.
//! 7. [`changelog`]: what kind of changes a stream has, and a batch's changes as sinks name them.
//!
//! What does not live here: operators, or anything that knows where a batch came from or goes to.

pub mod batch;
pub mod bytes;
pub mod changelog;
pub mod consolidate;
pub mod key;
pub mod row;
pub mod stored;

use serde::{Deserialize, Serialize};

pub use batch::ChangeBatch;
pub use changelog::{Change, Changelog};

/// A promise about event time in microseconds: no row with a time at or below it is still to come.
/// `Watermark::NONE` promises nothing; `Watermark::END` comes from a bounded input that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub i64);

impl Default for Watermark {
    fn default() -> Self {
        Watermark::NONE
    }
}

impl Watermark {
    pub const NONE: Watermark = Watermark(i64::MIN);
    pub const END: Watermark = Watermark(i64::MAX);
}
