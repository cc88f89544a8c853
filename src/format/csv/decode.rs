//! The decoder: a chunk's records, one after the other.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use super::check_columns;
use super::options::CsvOptions;
use super::record::{Field, Fields, trim_line_end};
use crate::error::{Result, SqlState};
use crate::format::json::column::{Column, Input};
use crate::format::json::failure::{Failure, Scan};
use crate::format::{BadMessage, Decoded, Decoder, RawChunk};

/// Reads one CSV record a message.
#[derive(Debug)]
pub struct CsvDecoder {
    options: CsvOptions,
    /// The wanted columns.
    schema: SchemaRef,
    /// Names of the declared columns: one for each field of a record.
    names: Vec<String>,
    /// For each declared column its place in `schema`, if it is wanted.
    places: Vec<Option<usize>>,
}

impl CsvDecoder {
    /// `declared`: a column for each field of a record; `wanted`: indices into it, the columns of the rows.
    ///
    /// # Errors
    /// `0A000` for a declared column whose type CSV has no form for.
    pub fn new(declared: &Schema, wanted: &[usize], options: CsvOptions) -> Result<Self> {
        check_columns(declared)?;
        let schema = SchemaRef::new(declared.project(wanted)?);
        let names = declared.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let place = |index: usize| wanted.iter().position(|w| *w == index);
        let places = (0..names.len()).map(place).collect();
        Ok(CsvDecoder { options, schema, names, places })
    }

    /// Reads the record in `bytes[start..]` as one more row. After a failure the columns hold remains of it.
    fn read_record(&self, bytes: &[u8], start: usize, columns: &mut [Column], scratch: &mut Vec<u8>) -> Scan<()> {
        let mut fields = Fields::new(&self.options, bytes, start);
        for (name, place) in self.names.iter().zip(&self.places) {
            let Some(field) = fields.next(scratch).map_err(|failure| failure.in_field(name))? else {
                let what = format!("missing data for column \"{name}\"");
                return Err(Failure::new(SqlState::BadCopyFileFormat, what));
            };
            let Some(column) = place.and_then(|place| columns.get_mut(place)) else { continue };
            match field {
                Field::Null => column.push_null(),
                Field::Value(plain) => column.read_plain(plain).map_err(|failure| failure.in_field(name))?,
            }
        }
        if fields.next(scratch)?.is_some() {
            return Err(Failure::new(SqlState::BadCopyFileFormat, "extra data after last expected column"));
        }
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let input = Input::new(&chunk.data);
        let mut columns = self.schema.fields().iter().map(|field| Column::new(field, chunk.len())).collect::<Vec<_>>();
        let (mut bad, mut rows, mut scratch) = (Vec::new(), 0, Vec::new());
        let mut tombstones = chunk.nulls.iter().peekable();
        let mut start = 0;
        for (index, end) in chunk.ends.iter().map(|end| *end as usize).enumerate() {
            if tombstones.next_if(|null| **null as usize == index).is_none() {
                let record = trim_line_end(input.chunk.get(start..end).unwrap_or_default());
                let bytes = input.chunk.get(..start + record.len()).unwrap_or_default();
                let read = check_utf8(record, start, &input)
                    .and_then(|()| self.read_record(bytes, start, &mut columns, &mut scratch));
                match read {
                    Ok(()) => rows += 1,
                    Err(failure) => {
                        columns.iter_mut().for_each(|column| column.truncate(rows));
                        bad.push(BadMessage { index, error: failure.into_error() });
                    }
                }
            }
            start = end;
        }
        let arrays = columns.into_iter().map(|column| column.finish(input)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        Ok(Decoded { rows, weights: None, messages: None, bad })
    }
}

/// Each record by itself, unless the whole chunk is known to be UTF-8. (All letters with a meaning are ASCII, so that fields
/// of a good record are good.)
fn check_utf8(record: &[u8], start: usize, input: &Input) -> Scan<()> {
    if input.is_utf8(start, start + record.len()) {
        return Ok(());
    }
    match std::str::from_utf8(record) {
        Ok(_) => Ok(()),
        Err(e) => {
            let what = format!("invalid byte sequence for encoding \"UTF8\" at byte {}", e.valid_up_to());
            Err(Failure::new(SqlState::BadCopyFileFormat, what))
        }
    }
}
