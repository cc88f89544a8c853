//! The decoder: messages are sorted by the schema that they were written with, and put in order again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::schemas::{Known, MAX_IN_CHUNK, Schemas};
use super::writer::Run;
use super::{AvroOptions, MAGIC, check_columns};
use crate::clock::Micros;
use crate::error::{Error, Result, SqlState};
use crate::format::{BadMessage, Decoded, Decoder, RawChunk, Waits, Waker};

#[derive(Debug)]
pub struct AvroDecoder {
    schema: SchemaRef,
    schemas: Schemas,
}

/// What stands in front of a message's value.
const HEADER_BYTES: usize = 5;

impl AvroDecoder {
    /// A decoder for the fields of `schema`; others are skipped.
    ///
    /// # Errors
    /// `0A000` for a column whose type Avro has no form for.
    pub fn new(schema: SchemaRef, options: AvroOptions) -> Result<Self> {
        check_columns(&schema)?;
        let schemas = Schemas::new(options.registry, Arc::clone(&schema));
        Ok(AvroDecoder { schema, schemas })
    }
}

/// The number of a message's schema.
fn schema_id(message: &[u8]) -> Option<u32> {
    match message.get(..HEADER_BYTES) {
        Some([MAGIC, id @ ..]) => <[u8; 4]>::try_from(id).ok().map(u32::from_be_bytes),
        _ => None,
    }
}

/// The numbers of the chunk's schemas, if they are not too many to wait for.
fn schema_ids(chunk: &RawChunk) -> Option<Vec<u32>> {
    let mut ids: Vec<u32> = Vec::new();
    for id in (0..chunk.len()).filter_map(|index| schema_id(chunk.message(index))) {
        // Mostly the one before it.
        if ids.iter().rev().all(|known| *known != id) {
            if ids.len() == MAX_IN_CHUNK {
                return None;
            }
            ids.push(id);
        }
    }
    Some(ids)
}

impl Waits for AvroDecoder {
    fn prepare(&self, chunk: &RawChunk, now: Micros, wake: &Waker) -> Result<bool> {
        schema_ids(chunk).map_or(Ok(true), |ids| self.schemas.prepare(&ids, now, wake))
    }

    fn wake_at(&self) -> Option<Micros> {
        self.schemas.wake_at()
    }

    fn trouble(&self) -> Option<Error> {
        self.schemas.trouble()
    }
}

impl Decoder for AvroDecoder {
    fn waits(&self) -> Option<&dyn Waits> {
        Some(self)
    }

    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let mut bad: Vec<BadMessage> = Vec::new();
        // In the order in which they are met.
        let mut groups: Vec<(Known, Vec<usize>)> = Vec::new();
        let mut group_of: HashMap<u32, usize> = HashMap::new();
        let mut nulls = chunk.nulls.iter().peekable();
        for index in 0..chunk.len() {
            if nulls.next_if(|null| **null as usize == index).is_some() {
                continue;
            }
            let Some(id) = schema_id(chunk.message(index)) else {
                let message = "invalid Avro: the message does not begin with a zero and the number of its schema";
                let error = Error::new(SqlState::BadCopyFileFormat, message);
                bad.push(BadMessage { index, error });
                continue;
            };
            let group = match group_of.get(&id) {
                Some(group) => *group,
                None => {
                    groups.push((self.schemas.get(id)?, Vec::new()));
                    group_of.insert(id, groups.len() - 1);
                    groups.len() - 1
                }
            };
            if let Some((_, indices)) = groups.get_mut(group) {
                indices.push(index);
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (known, indices) in groups {
            match known {
                Ok(writer) => writer.decode(chunk, &indices, &mut runs, &mut bad),
                Err(error) => {
                    bad.extend(indices.into_iter().map(|index| BadMessage { index, error: error.clone() }));
                }
            }
        }
        bad.sort_unstable_by_key(|bad| bad.index);
        Ok(Decoded { rows: in_order(runs, &self.schema)?, weights: None, messages: None, bad })
    }
}

/// The rows of all runs in the order of their messages.
fn in_order(mut runs: Vec<Run>, schema: &SchemaRef) -> Result<RecordBatch> {
    if runs.len() <= 1 {
        return Ok(runs.pop().map_or_else(|| RecordBatch::new_empty(Arc::clone(schema)), |(_, rows)| rows));
    }
    let of_run = |(run, (messages, _)): (usize, &Run)| {
        let rows = messages.iter().enumerate();
        rows.map(|(row, message)| (*message, (run, row))).collect::<Vec<_>>()
    };
    let mut places = runs.iter().enumerate().flat_map(of_run).collect::<Vec<_>>();
    places.sort_unstable_by_key(|(message, _)| *message);
    let places = places.into_iter().map(|(_, place)| place).collect::<Vec<_>>();
    let column = |index: usize| {
        let parts = runs.iter().map(|(_, rows)| rows.column(index).as_ref()).collect::<Vec<_>>();
        interleave(&parts, &places)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
