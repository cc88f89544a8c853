//! The decoder: messages are sorted by the schema that they were written with, and put in order again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::writer::{Run, Writer};
use super::{AvroOptions, MAGIC, check_columns};
use crate::error::{Error, Result, SqlState};
use crate::format::{BadMessage, Decoded, Decoder, RawChunk};

/// Schemas kept: more than a topic has at a time.
const MAX_SCHEMAS: usize = 64;

#[derive(Debug)]
pub struct AvroDecoder {
    options: AvroOptions,
    schema: SchemaRef,
    /// By number, what was read from the registry. Numbers are never given to another schema.
    writers: Mutex<HashMap<u32, Known>>,
}

/// A schema, or why its messages cannot be read.
type Known = std::result::Result<Arc<Writer>, Error>;

/// What stands in front of a message's value.
const HEADER_BYTES: usize = 5;

impl AvroDecoder {
    /// A decoder for the fields of `schema`; others are skipped.
    ///
    /// # Errors
    /// `0A000` for a column whose type Avro has no form for.
    pub fn new(schema: SchemaRef, options: AvroOptions) -> Result<Self> {
        check_columns(&schema)?;
        Ok(AvroDecoder { options, schema, writers: Mutex::default() })
    }

    /// # Errors
    /// If the registry cannot be asked.
    fn writer(&self, id: u32) -> Result<Known> {
        if let Some(known) = self.writers.lock().get(&id) {
            return Ok(known.clone());
        }
        // Not under the lock: whoever needs another schema goes on. Two may ask for the same one, once.
        let Some(text) = self.options.registry.schema(id)? else {
            let message = format!("the schema registry has no schema {id}");
            let hint = "The message was written with another registry, or is not Avro in Confluent's form.";
            // It may get one: this is not kept.
            return Ok(Err(Error::new(SqlState::BadCopyFileFormat, message).with_hint(hint)));
        };
        let known: Known = Writer::new(id, text, &self.schema).map(Arc::new);
        let mut writers = self.writers.lock();
        if writers.len() >= MAX_SCHEMAS {
            // Those in use are soon there again.
            writers.clear();
        }
        writers.insert(id, known.clone());
        Ok(known)
    }
}

/// The number of a message's schema.
fn schema_id(message: &[u8]) -> Option<u32> {
    match message.get(..HEADER_BYTES) {
        Some([MAGIC, id @ ..]) => <[u8; 4]>::try_from(id).ok().map(u32::from_be_bytes),
        _ => None,
    }
}

impl Decoder for AvroDecoder {
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
                    groups.push((self.writer(id)?, Vec::new()));
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
