//! Picked rows on their way out: pairs of places, with weights, that become a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::change::ChangeBatch;
use crate::change::key::Keys;
use crate::change::row::decode_rows;
use crate::error::Result;
use crate::operator::CHUNK_ROWS;
use crate::operator::aggregate::retracted_too_often;
use crate::operator::row_store::NOWHERE;

/// Places in a unit's left and right rows.
pub type Pair = [u32; 2];

/// At most [`CHUNK_ROWS`] rows of output, as places.
#[derive(Default)]
pub struct Chunk {
    pairs: Vec<Pair>,
    weights: Vec<i64>,
    /// An append-only output writes a row as often as it is there: this pair still has to be, so many times.
    owed: Option<(Pair, i64)>,
}

impl Chunk {
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.pairs.len() >= CHUNK_ROWS
    }

    /// Adds a pair, with a weight that is not zero, to a chunk that is not full.
    pub fn push(&mut self, pair: Pair, weight: i64, append_only: bool) -> Result<()> {
        if !append_only {
            self.pairs.push(pair);
            self.weights.push(weight);
            return Ok(());
        }
        if weight < 0 {
            return Err(retracted_too_often());
        }
        self.owed = Some((pair, weight));
        self.repay();
        Ok(())
    }

    /// Writes what is owed, as far as there is room.
    pub fn repay(&mut self) {
        let Some((pair, times)) = self.owed.take() else { return };
        let room = CHUNK_ROWS.saturating_sub(self.pairs.len());
        let now = usize::try_from(times).unwrap_or(usize::MAX).min(room);
        self.pairs.extend(std::iter::repeat_n(pair, now));
        let left = times - now as i64;
        self.owed = (left > 0).then_some((pair, left));
    }

    /// The places of one side; what is owed stays.
    pub fn places(&self, side: usize) -> impl Iterator<Item = u32> {
        self.pairs.iter().map(move |pair| pair[side])
    }

    /// These columns with the chunk's weights, which starts anew.
    pub fn flush(&mut self, schema: &SchemaRef, columns: Vec<ArrayRef>, append_only: bool) -> Result<ChangeBatch> {
        let rows = record_batch(schema, columns, self.pairs.len())?;
        self.pairs.clear();
        let weights = std::mem::take(&mut self.weights);
        ChangeBatch::new(rows, (!append_only).then(|| weights.into()))
    }
}

pub fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Decodes rows at places: each row once, however often it stands there.
#[derive(Default)]
pub struct Decoder {
    /// For each row of the unit its number among the decoded ones.
    numbers: Vec<u32>,
    decoded: Vec<u32>,
}

impl Decoder {
    /// The columns of the rows at `places` of `rows`.
    pub fn columns(
        &mut self,
        schema: &SchemaRef,
        rows: &Keys,
        places: impl Iterator<Item = u32>,
    ) -> Result<Vec<ArrayRef>> {
        self.numbers.resize(rows.len(), NOWHERE);
        let mut picks: Vec<u32> = Vec::with_capacity(places.size_hint().0);
        let mut nulls = 0;
        for place in places {
            let Some(number) = self.numbers.get_mut(place as usize) else {
                nulls += 1;
                picks.push(NOWHERE);
                continue;
            };
            if *number == NOWHERE {
                *number = self.decoded.len() as u32;
                self.decoded.push(place);
            }
            picks.push(*number);
        }
        if nulls == picks.len() {
            return Ok(schema.fields().iter().map(|f| new_null_array(f.data_type(), nulls)).collect());
        }
        let batch = decode_rows(schema, self.decoded.iter().map(|place| rows.get(*place as usize)))?;
        let as_they_are = nulls == 0 && self.decoded.len() == picks.len();
        for place in self.decoded.drain(..) {
            if let Some(number) = self.numbers.get_mut(place as usize) {
                *number = NOWHERE;
            }
        }
        if as_they_are {
            return Ok(batch.columns().to_vec());
        }
        let valid = (nulls > 0).then(|| picks.iter().map(|pick| *pick != NOWHERE).collect::<NullBuffer>());
        let picks = UInt32Array::new(picks.into(), valid);
        batch.columns().iter().map(|column| Ok(take(column, &picks, None)?)).collect()
    }
}
