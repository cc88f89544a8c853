//! A schema that messages were written with, and the messages of it: `arrow-avro` makes columns of Avro's types of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow::datatypes::{Field, SchemaRef};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use parking_lot::Mutex;

use super::bounds;
use crate::error::{Error, Result, SqlState};
use crate::format::conform::{conform, place_of};
use crate::format::{BadMessage, RawChunk};
use crate::types::SqlType;

/// More rows than a chunk can have: a batch ends where we say.
const MAX_ROWS: usize = u32::MAX as usize;

#[derive(Debug)]
pub struct Writer {
    id: u32,
    text: String,
    /// Indices of the record's fields that are decoded; `None`: all.
    projection: Option<Vec<usize>>,
    /// The wanted columns.
    schema: SchemaRef,
    /// For each wanted column its place among the decoded ones.
    places: Vec<Option<usize>>,
    /// Decoders that wait for messages: as many as ever were at work at once.
    idle: Mutex<Vec<Decoder>>,
}

/// Messages that became rows: their indices in the chunk, and a row for each.
pub type Run = (Vec<usize>, RecordBatch);

/// Why messages could not all be decoded, and the first that could not, where that is known.
struct Stopped {
    at: Option<usize>,
    error: Error,
}

impl Writer {
    /// `text`: the schema with number `id`; `schema`: the wanted columns.
    ///
    /// # Errors
    /// If the text is no schema that can be read, or its fields do not fit into the columns: all its messages are bad then.
    pub fn new(id: u32, text: String, schema: &SchemaRef) -> Result<Writer> {
        let named = |e: Error| e.context(format!("schema {id}"));
        let names = bounds::check(&text).map_err(named)?;
        let fields = names.iter().map(|name| Field::new(name, arrow::datatypes::DataType::Null, true)).collect();
        let mut projection =
            schema.fields().iter().filter_map(|field| place_of(field.name(), &fields)).collect::<Vec<_>>();
        projection.sort_unstable();
        projection.dedup();
        let schema = Arc::clone(schema);
        let mut writer =
            Writer { id, text, projection: Some(projection), schema, places: Vec::new(), idle: Mutex::default() };
        let decoder = match writer.build() {
            Ok(decoder) => decoder,
            // A wanted field may name a type that one defines which is not wanted.
            Err(_) => {
                writer.projection = None;
                writer.build().map_err(named)?
            }
        };
        let found = decoder.schema();
        for field in writer.schema.fields() {
            let place = place_of(field.name(), found.fields());
            if let Some(found) = place.and_then(|place| found.fields().get(place)) {
                conformed(&new_empty_array(found.data_type()), field).map_err(named)?;
            }
            writer.places.push(place);
        }
        writer.idle.lock().push(decoder);
        Ok(writer)
    }

    fn build(&self) -> Result<Decoder> {
        let build = || {
            let number = Fingerprint::Id(self.id);
            let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
            store.set(number, AvroSchema::new(self.text.clone()))?;
            let builder = ReaderBuilder::new().with_batch_size(MAX_ROWS).with_writer_schema_store(store);
            let builder = builder.with_active_fingerprint(number);
            match &self.projection {
                Some(projection) => builder.with_projection(projection.clone()).build_decoder(),
                None => builder.build_decoder(),
            }
        };
        match catch_unwind(AssertUnwindSafe(build)) {
            Ok(built) => built.map_err(|e| bad(format!("the schema cannot be used: {e}"))),
            Err(_) => Err(bad("the schema cannot be used")),
        }
    }

    /// Decodes the messages of `chunk` with these indices, which are all of this schema. Those that are good go to `runs`, the
    /// others to `bad`.
    ///
    /// The library keeps what it has read of a message that it then fails on. So the decoder is given up with it, and the
    /// messages in front of it are decoded again.
    pub fn decode(&self, chunk: &RawChunk, indices: &[usize], runs: &mut Vec<Run>, bad: &mut Vec<BadMessage>) {
        let mut rest = indices;
        while let [first, behind @ ..] = rest {
            match (self.decode_all(chunk, rest), behind) {
                (Ok(rows), _) => {
                    runs.push((rest.to_vec(), rows));
                    return;
                }
                (Err(Stopped { at: Some(at), error }), _) => {
                    let (good, stopped) = rest.split_at(at.min(rest.len()));
                    self.decode(chunk, good, runs, bad);
                    let Some((index, behind)) = stopped.split_first() else { return };
                    bad.push(BadMessage { index: *index, error });
                    rest = behind;
                }
                (Err(Stopped { at: None, error }), []) => {
                    bad.push(BadMessage { index: *first, error });
                    return;
                }
                // A value is bad, though its message could be read: it is looked for by halves.
                (Err(Stopped { at: None, .. }), _) => {
                    let (first, second) = rest.split_at(rest.len() / 2);
                    self.decode(chunk, first, runs, bad);
                    rest = second;
                }
            }
        }
    }

    fn decode_all(&self, chunk: &RawChunk, indices: &[usize]) -> Result<RecordBatch, Stopped> {
        let stopped = |error: Error| Stopped { at: None, error };
        let idle = self.idle.lock().pop();
        let mut decoder = idle.map_or_else(|| self.build(), Ok).map_err(stopped)?;
        let decoded = catch_unwind(AssertUnwindSafe(|| read(&mut decoder, chunk, indices)));
        let decoded = decoded.map_err(|_| stopped(bad("the library cannot read it")))??;
        if decoded.num_rows() != indices.len() {
            return Err(stopped(bad("a message is not one row")));
        }
        let rows = self.conformed(&decoded).map_err(stopped);
        // It is as it was before, whatever the values are.
        self.idle.lock().push(decoder);
        rows
    }

    fn conformed(&self, decoded: &RecordBatch) -> Result<RecordBatch> {
        let rows = decoded.num_rows();
        let column = |(field, place): (&Arc<Field>, &Option<usize>)| -> Result<ArrayRef> {
            match place.and_then(|place| decoded.columns().get(place)) {
                Some(column) => conformed(column, field),
                None => Ok(new_null_array(field.data_type(), rows)),
            }
        };
        let columns = self.schema.fields().iter().zip(&self.places).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn conformed(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    conform(array, &SqlType::from_field(field)).map_err(|e| e.context(format!("field \"{}\"", field.name())))
}

/// All of the messages, each exactly one row.
fn read(decoder: &mut Decoder, chunk: &RawChunk, indices: &[usize]) -> Result<RecordBatch, Stopped> {
    for (at, index) in indices.iter().enumerate() {
        let message = chunk.message(*index);
        let room = decoder.capacity();
        let read = decoder.decode(message);
        let rows = room.saturating_sub(decoder.capacity());
        let error = match read {
            Ok(length) if rows == 1 && length == message.len() => continue,
            // What follows was taken for another message.
            _ if rows >= 1 => bad("bytes are left over behind the value"),
            Ok(_) => bad(format!("the value does not end within its {} bytes", message.len())),
            Err(e) => bad(e),
        };
        return Err(Stopped { at: Some(at), error });
    }
    let flushed = decoder.flush().map_err(|e| Stopped { at: None, error: bad(e) })?;
    flushed.ok_or_else(|| Stopped { at: None, error: bad("nothing was read") })
}

/// A message is not what its schema says.
#[cold]
fn bad(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::BadCopyFileFormat, format!("invalid Avro: {what}"))
}
