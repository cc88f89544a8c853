//! The decoder: a chunk's messages, one after the other.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::JsonOptions;
use super::column::{Input, found_instead};
use super::failure::{Failure, Scan};
use super::object::Object;
use super::scan::Scanner;
use crate::error::Result;
use crate::format::{BadMessage, Decoded, Decoder, RawChunk};

/// Reads one JSON object a message.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
}

impl JsonDecoder {
    /// A decoder for the fields of `schema` (as [`crate::types::SqlType::field`] makes them); other keys are skipped.
    ///
    /// # Errors
    /// `0A000` for a column whose type JSON has no form for.
    pub fn new(schema: SchemaRef, _options: JsonOptions) -> Result<Self> {
        Ok(JsonDecoder { schema })
    }
}

impl Decoder for JsonDecoder {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let (rows, bad) =
            decode_messages(&self.schema, chunk, |input, _, message, columns| read_message(input, message, columns))?;
        Ok(Decoded { rows, weights: None, messages: None, bad })
    }
}

/// Reads the messages of a chunk, but for tombstones: `read` is given one's index, where it starts and ends, and appends its rows.
/// What it appended of a message that it fails on is taken back.
pub(super) fn decode_messages(
    schema: &SchemaRef,
    chunk: &RawChunk,
    mut read: impl FnMut(Input, usize, (usize, usize), &mut Object) -> Scan<()>,
) -> Result<(RecordBatch, Vec<BadMessage>)> {
    let input = Input::new(&chunk.data);
    let mut columns = Object::new(schema.fields(), chunk.len());
    let mut bad = Vec::new();
    let mut tombstones = chunk.nulls.iter().peekable();
    let mut start = 0;
    for (index, end) in chunk.ends.iter().map(|end| *end as usize).enumerate() {
        if tombstones.next_if(|null| **null as usize == index).is_none() {
            let rows = columns.rows();
            if let Err(failure) = read(input, index, (start, end), &mut columns) {
                columns.truncate(rows);
                bad.push(BadMessage { index, error: failure.into_error() });
            }
        }
        start = end;
    }
    let (_, arrays, rows) = columns.finish(input)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok((RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?, bad))
}

fn read_message(input: Input, (start, end): (usize, usize), columns: &mut Object) -> Scan<()> {
    check_utf8(input, start, end)?;
    let mut scanner = Scanner::of_message(input.chunk, start, end);
    to_object(&mut scanner)?;
    columns.read(&mut scanner)?;
    nothing_more(&mut scanner)
}

/// Moves to the brace of the message's object.
#[inline]
pub(super) fn to_object(scanner: &mut Scanner) -> Scan<()> {
    scanner.skip_whitespace();
    match scanner.peek() {
        Some(b'{') => Ok(()),
        None => Err(Failure::syntax("the message is empty")),
        Some(_) => Err(found_instead(scanner, "a JSON object")),
    }
}

/// The message ends here.
#[inline]
pub(super) fn nothing_more(scanner: &mut Scanner) -> Scan<()> {
    scanner.skip_whitespace();
    if scanner.peek().is_some() { Err(scanner.expected("nothing after the object")) } else { Ok(()) }
}

#[inline]
pub(super) fn check_utf8(input: Input, start: usize, end: usize) -> Scan<()> {
    if input.is_utf8(start, end) {
        return Ok(());
    }
    let message = input.chunk.get(start..end).unwrap_or_default();
    match std::str::from_utf8(message) {
        Ok(_) => Ok(()),
        Err(e) => Err(Failure::syntax(format_args!("the message is not UTF-8 at byte {}", e.valid_up_to()))),
    }
}
