//! Formats: bytes <-> Arrow. Synchronous and pure; they know no connector.
//!
//! 1. A connector hands in a [`RawChunk`]: many messages in one buffer, and what else it knows of each of them.
//! 2. A [`Decoder`] made for the wanted columns turns it into one `RecordBatch`, and names the messages it could not read.
//!    [`Format`] makes it: [`json`], [`csv`], [`avro`] or [`raw`] for a message's value, and [`message`] where key and metadata
//!    become columns beside it.
//! 3. What a library decodes has types of its own; [`conform`] brings it to the declared ones, and
//!    [`outward`] is the way back.
//! 4. An [`Encoder`] turns rows of a result into messages; [`changes`] says what becomes of deletions.

pub mod avro;
pub mod changes;
pub mod conform;
pub mod csv;
pub mod json;
pub mod kind;
pub mod message;
pub mod outward;
pub mod raw;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use bytes::Bytes;

pub use self::kind::Format;

use crate::clock::Micros;
use crate::error::{Error, Result};

/// Messages of one partition, back to back.
#[derive(Debug, Clone, Default)]
pub struct RawChunk {
    /// All values' bytes.
    pub data: Bytes,
    /// End of each message's value in `data` (the first starts at 0).
    pub ends: Vec<u32>,
    /// Where each message stands: Kafka offset, or byte of the file. Same length as `ends`.
    pub offsets: Vec<u64>,
    /// Messages without a value (Kafka tombstones): index into `ends`, ascending. They take no bytes of `data`.
    pub nulls: Vec<u32>,
    /// The file that the messages are from, if they are from one.
    pub file: Option<Arc<str>>,
    /// What the connector knows of each message beside its value, if anything of it is wanted: a row for each, also for
    /// those without a value.
    pub side: Option<RecordBatch>,
}

impl RawChunk {
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.data.len() + 12 * self.ends.len() + self.side.as_ref().map_or(0, message::side_bytes)
    }
    /// The bytes of message `index`.
    pub fn message(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.data[start..self.ends[index] as usize]
    }
}

/// A message that could not be decoded.
#[derive(Debug)]
pub struct BadMessage {
    /// Index of the message in its chunk.
    pub index: usize,
    /// Names the field where there is one; the caller adds source, partition and offset.
    pub error: Error,
}

#[derive(Debug)]
pub struct Decoded {
    /// A row for each good message, in order; of a changelog format a row for each row that a message inserts or deletes.
    pub rows: RecordBatch,
    /// Of a changelog format: each row's weight. `None`: all are insertions.
    pub weights: Option<ScalarBuffer<i64>>,
    /// Each row's message, by its index, ascending. `None`: a row for each message that is neither bad nor, unless the
    /// decoder takes those, without a value.
    pub messages: Option<Vec<u32>>,
    /// In order. Empty in the common case.
    pub bad: Vec<BadMessage>,
}

/// Called (from any thread) when what was waited for may be there.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

pub trait Decoder: Send + Sync {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded>;

    /// Whether a message without a value is a row (of null) rather than no row.
    fn takes_nulls(&self) -> bool {
        false
    }

    /// Of a decoder that may lack what a chunk takes.
    fn waits(&self) -> Option<&dyn Waits> {
        None
    }

    /// Says in an error where message `index` stands.
    fn place(&self, chunk: &RawChunk, index: usize) -> String {
        format!("message at offset {}", chunk.offsets.get(index).copied().unwrap_or_default())
    }
}

/// A decoder that needs what lives elsewhere (schemas): chunks are prepared before they are decoded.
pub trait Waits {
    /// Whether all is at hand that decoding this chunk takes. If not, it is being asked for: prepare the chunk again behind
    /// `wake`, or at [`Waits::wake_at`]. `now` is by the reader's clock. Does not block.
    ///
    /// # Errors
    /// What does not pass by itself.
    fn prepare(&self, chunk: &RawChunk, now: Micros, wake: &Waker) -> Result<bool>;

    /// When it is asked for again what could not be had.
    fn wake_at(&self) -> Option<Micros>;

    /// Why that could not be had.
    fn trouble(&self) -> Option<Error>;
}

/// Turns rows into messages.
pub trait Encoder: Send + Sync {
    /// Appends each row's message to `data` and its end to `ends`.
    fn encode(&self, rows: &RecordBatch, data: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()>;
}
