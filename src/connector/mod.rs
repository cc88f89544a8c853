//! Connectors: one folder each, with its options, its source and its sink.
//!
//! 1. The WITH options of a statement become a connector's own type as soon as the statement is read ([`options`]), and
//!    are never strings again; so do the formats' ([`format_options`]). [`declared`] says which columns are METADATA.
//! 2. A [`Source`] resolves where to start, once, to [`Positions`] (kept in the catalog) and opens a [`Reader`] there.
//! 3. The tick loop takes what a reader has at hand: [`Chunk`]s of raw bytes (decoded by `format/` on the worker pool)
//!    or of Arrow rows. A reader prefetches in the background, bounded in bytes, and wakes the tick loop.
//! 4. A sink says which changes it [`Takes`]. Its [`SinkWriter`] is handed its outbox in order, in [`Part`]s, and says
//!    what is delivered.
//!
//! What does not live here: ticks, watermarks, retries of a whole job, what becomes of an undecodable row.

pub mod blackhole;
pub mod dead_letter;
pub mod declared;
pub mod file;
pub mod format_options;
pub mod generator;
pub mod kafka;
pub mod options;
pub mod print;
pub mod registry;
pub mod schema_registry;

pub use crate::format::Waker;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::change::{ChangeBatch, Changelog};
use crate::clock::{Micros, SharedClock};
use crate::error::{Error, Result};
use crate::format::RawChunk;
use crate::format::changes::ChangeForm;
use crate::types::{Column, SqlType};

/// A partition of a source, as its connector names it ("0", "1", ... for Kafka; "0" where there is only one).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub Arc<str>);

/// Where to go on reading within a partition: the next thing not yet read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Kafka: the next offset. Generator: the next event's number. File: the next byte of `file`, of a Parquet file the next row.
    pub offset: u64,
    /// File source: the file being read; all files before it in name order are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
}

/// A position for each partition.
pub type Positions = BTreeMap<PartitionId, Position>;

/// What a reader needs of the pipeline that reads.
#[derive(Clone)]
pub struct ReaderContext {
    /// Called when a reader that had nothing at hand may have something now.
    pub waker: Waker,
    /// For what paces itself. A reader with something due later says so by [`Reader::wake_at`].
    pub clock: SharedClock,
}

/// What becomes of a row that cannot be decoded or computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Fail,
    Skip,
    /// It is skipped, and written to a sink of its own: [`dead_letter`].
    DeadLetter,
}

/// A source as declared: options are typed and checked, nothing is connected yet.
pub trait Source: Send + Sync + fmt::Debug {
    /// What kind of changes its rows are.
    fn changelog(&self) -> Changelog {
        Changelog::AppendOnly
    }

    /// Of a source of [`Changelog::Upsert`]: the columns by which its messages replace each other. A partition's messages
    /// may be decoded out of order, so such a source has a column behind the declared ones that orders them:
    /// [`place_column`].
    fn key(&self) -> &[usize] {
        &[]
    }

    /// Whether every partition ends some time: [`Taken::Finished`].
    fn is_bounded(&self) -> bool {
        false
    }

    /// Resolves the startup mode to positions, asking the external system where needed. Blocks; bounded by the
    /// connector's timeout. Called once in the life of a job; the answer is stored.
    fn resolve_start(&self) -> Result<Positions>;

    /// Starts reading at `positions`. `columns` are the declared columns the query needs (indices, in the order of the
    /// wanted rows). Does not block and does not fail because an external system is away: the reader reports that.
    fn open(&self, columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>>;

    /// The format that decodes this source's raw chunks; `None` if it hands in rows. The decoder's output has the
    /// declared columns `columns`, in that order.
    fn decoder(&self, columns: &[usize]) -> Result<Option<Arc<dyn crate::format::Decoder>>>;
}

/// Where in its partition an upsert stands: of two with the same key the one with the greater place counts.
pub fn place_column() -> Column {
    Column { name: "place".into(), ty: SqlType::BigInt, not_null: true }
}

/// A source being read.
///
/// Contract: per partition, chunks come in order and without gaps; `take` never blocks; what is prefetched is bounded.
pub trait Reader: Send {
    /// The partitions known now. Only ever grows at its end.
    fn partitions(&self) -> &[PartitionId];

    /// What is at hand of the partition with that index, at most about `max_bytes` (one indivisible thing may be larger).
    /// A chunk never goes past `until`: its `next` is at most that (two readings of one source meet there).
    fn take(&mut self, partition: usize, max_bytes: usize, until: Option<&Position>) -> Result<Taken>;

    /// When something will be at hand although no waker is called (a paced generator), by the clock of the
    /// [`ReaderContext`]. Asked after `take` said that nothing is.
    fn wake_at(&self) -> Option<Micros> {
        None
    }

    /// Whether it makes its rows for ever, or by the clock, so that there is no end to be read to before its rows can be
    /// called complete.
    fn is_endless(&self) -> bool {
        false
    }

    /// Whether all was taken that a partition without an end held when reading began, though more may be at hand: one that is
    /// written faster than it is read never comes to its end.
    fn is_past_its_beginning(&self, _partition: usize) -> bool {
        false
    }

    /// Why nothing comes, if something is wrong that may pass by itself (the broker is away): shown in SHOW JOBS.
    fn trouble(&self) -> Option<Error> {
        None
    }

    /// Bytes held in prefetch queues.
    fn buffered_bytes(&self) -> usize {
        0
    }
}

#[derive(Debug)]
pub enum Taken {
    Chunk(Chunk),
    /// Nothing at hand, though more is known to exist or is being fetched.
    Pending,
    /// Read to the partition's present end; more may come (an idle partition is one that stays here).
    AtEnd,
    /// A bounded partition, read to its last row.
    Finished,
}

/// A run of rows of one partition.
#[derive(Debug)]
pub struct Chunk {
    pub payload: Payload,
    /// Where to go on after this chunk.
    pub next: Position,
}

#[derive(Debug)]
pub enum Payload {
    /// Bytes for the source's decoder.
    Raw(RawChunk),
    /// Rows with the wanted columns, append-only.
    Rows(RecordBatch),
    /// Rows still to be made: by the worker pool, where raw chunks are decoded, since making them is work.
    Deferred(Deferred),
}

/// Rows with the wanted columns, append-only, that are made when they are asked for.
pub struct Deferred {
    make: Box<dyn FnOnce() -> Result<RecordBatch> + Send + Sync>,
    rows: usize,
    bytes: usize,
}

impl Deferred {
    /// `rows` and `bytes`: how many `make` will give; the bytes are an estimate.
    pub fn new(rows: usize, bytes: usize, make: impl FnOnce() -> Result<RecordBatch> + Send + Sync + 'static) -> Self {
        Deferred { make: Box::new(make), rows, bytes }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn make(self) -> Result<RecordBatch> {
        (self.make)()
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("rows", &self.rows).field("bytes", &self.bytes).finish()
    }
}

impl Payload {
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Raw(raw) => raw.bytes(),
            Payload::Rows(rows) => rows.get_array_memory_size(),
            Payload::Deferred(deferred) => deferred.bytes,
        }
    }
}

/// Names a part of an outbox. Parts are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartId {
    pub epoch: u64,
    pub part: u32,
}

/// A part of a sink's outbox: the net change of one or more whole ticks (or a piece of a tick too large for one part).
#[derive(Debug, Clone)]
pub struct Part {
    pub id: PartId,
    pub batches: Vec<ChangeBatch>,
}

impl Part {
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(ChangeBatch::bytes).sum()
    }
    pub fn rows(&self) -> usize {
        self.batches.iter().map(ChangeBatch::num_rows).sum()
    }
}

/// What a sink can write: what it is handed is arranged to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Rows that are inserted, and stay.
    Appends,
    /// For each key (indices of columns) and tick its last row (weight +1), or that none is left (weight -1).
    Upserts { key: Vec<usize> },
    /// Insertions and deletions. With a key: for each key and tick at most a deletion and, right behind it, an insertion.
    Changes { key: Vec<usize> },
}

impl Takes {
    /// What a sink takes that tells changes in this form. `message_key`: whose rows replace each other in upserts.
    pub fn told_as(form: &ChangeForm, message_key: &[usize]) -> Takes {
        match form {
            ChangeForm::Appends => Takes::Appends,
            ChangeForm::Upserts => Takes::Upserts { key: message_key.to_vec() },
            ChangeForm::Debezium { key } => Takes::Changes { key: key.clone() },
        }
    }
}

/// A sink as declared. `Any`: whoever knows the connector can look at what it alone has (the blackhole's digest).
pub trait Sink: Any + Send + Sync + fmt::Debug {
    /// What the sink can write. What does not fit is refused when a job is created.
    fn takes(&self) -> Takes;

    /// What CREATE should tell the user about delivery ("at-least-once ..."), if anything.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Checks at CREATE STREAMING JOB what can be checked beforehand (topic there or creatable, folder writable).
    /// Blocks; bounded by the connector's timeout.
    fn preflight(&self) -> Result<()> {
        Ok(())
    }

    /// Opens the sink for the job named `job`; rows have `schema` (the declared columns with their declared types).
    fn open(&self, job: &str, schema: SchemaRef) -> Result<Box<dyn SinkWriter>>;
}

/// A sink being written, by one delivery agent on a thread that may block.
///
/// Contract: parts come in increasing order of their ids. When `deliver` returns, the part is delivered as far as the
/// sink can promise it. After an error the same part is handed in again (to this writer, or to a new one).
pub trait SinkWriter: Send {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError>;

    /// The bounded job has ended, or it is stopped: whatever is open is finished.
    fn finish(&mut self) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[derive(Debug)]
pub enum DeliveryError {
    /// May pass by itself: try this part again after a while, with this writer.
    Retry(Error),
    /// This job cannot go on.
    Fatal(Error),
}
