//! Settling a tick's keys: once all of its rows are there, some keys at once, since state may have to be fetched. What a
//! key's row was and what it is now goes out. Both operators that keep one row a key do so: `upsert` in front of sinks,
//! `normalize` behind sources.

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

use super::{CHUNK_ROWS, Pull};
use crate::change::ChangeBatch;
use crate::change::row::decode_rows;
use crate::error::Result;

/// Keys settled at once: each gives at most two rows.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

/// An operator whose keys are settled when a tick ends.
pub trait Settles {
    /// Distinct keys of the tick.
    fn keys(&self) -> u32;

    /// Settles keys `from..to` of the tick; `None` while state is being fetched.
    fn settle(&mut self, from: u32, to: u32) -> Result<Option<Out>>;

    /// What was settled, as the operator puts it out.
    fn emit(&self, out: Out) -> Result<ChangeBatch>;

    /// The tick is over.
    fn clear(&mut self);

    /// The keys from here on are still to be settled; none while rows are taken in.
    fn settling(&mut self) -> &mut Option<u32>;

    /// Settles until there is something to put out.
    fn pull_settled(&mut self) -> Result<Pull> {
        while let Some(from) = *self.settling() {
            let to = (from + KEYS_AT_ONCE).min(self.keys());
            if from == to {
                self.clear();
                *self.settling() = None;
                break;
            }
            let Some(out) = self.settle(from, to)? else { return Ok(Pull::Blocked) };
            *self.settling() = Some(to);
            if !out.rows.is_empty() {
                return self.emit(out).map(Pull::Batch);
            }
        }
        Ok(Pull::Done)
    }
}

/// Rows on their way out, encoded.
#[derive(Default)]
pub struct Out {
    rows: Vec<Box<[u8]>>,
    weights: Vec<i64>,
}

impl Out {
    /// What a key's row was and what it is now; without `with_before`, the former only if there is none now.
    pub fn put(&mut self, before: Option<&[u8]>, after: Option<&[u8]>, with_before: bool) {
        if let Some(before) = before.filter(|_| with_before || after.is_none()) {
            self.rows.push(before.into());
            self.weights.push(-1);
        }
        if let Some(after) = after {
            self.rows.push(after.into());
            self.weights.push(1);
        }
    }

    /// The rows, without the first `front` bytes of each.
    pub fn batch(self, schema: &SchemaRef, front: usize) -> Result<ChangeBatch> {
        let rows = self.rows.iter().map(|row| row.get(front..).unwrap_or_default());
        ChangeBatch::new(decode_rows(schema, rows)?, Some(ScalarBuffer::from(self.weights)))
    }
}
