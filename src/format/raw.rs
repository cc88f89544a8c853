//! Raw: a message's value is one column's value, as it is: TEXT or BYTEA.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, RecordBatch, StringViewBuilder};
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::{Error, Result, SqlState};
use crate::format::{BadMessage, Decoded, Decoder, Encoder, RawChunk};
use crate::types::SqlType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawOptions {
    /// A message ends behind its line end, which is no part of the value.
    pub lines: bool,
}

/// Refuses all but one column of TEXT, VARCHAR or BYTEA.
fn check_columns(schema: &Schema) -> Result<SqlType> {
    let refuse =
        |message: String, hint: &str| Err(Error::new(SqlState::InvalidTableDefinition, message).with_hint(hint));
    let [field] = schema.fields().as_ref() else {
        let message = format!("format \"raw\" needs exactly one column, not {}", schema.fields().len());
        return refuse(message, "Declare one column of type text or bytea; METADATA columns and keys do not count.");
    };
    match SqlType::from_field(field) {
        ty @ (SqlType::Text | SqlType::Varchar(None) | SqlType::Bytea) => Ok(ty),
        ty => {
            let message = format!("column \"{}\" of type {ty} cannot hold a raw message", field.name());
            refuse(message, "Declare it as text or bytea, and cast it in the query.")
        }
    }
}

#[derive(Debug)]
pub struct RawDecoder {
    options: RawOptions,
    /// No column at all if none is wanted.
    schema: SchemaRef,
    text: bool,
}

impl RawDecoder {
    /// # Errors
    /// `42P16` unless `declared` is one column of text or bytes.
    pub fn new(declared: &Schema, wanted: &[usize], options: RawOptions) -> Result<Self> {
        let text = check_columns(declared)? != SqlType::Bytea;
        Ok(RawDecoder { options, schema: Arc::new(declared.project(wanted)?), text })
    }

    fn value<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        match message {
            [value @ .., b'\r', b'\n'] | [value @ .., b'\n'] if self.options.lines => value,
            value => value,
        }
    }

    fn texts(&self, values: &[Option<&[u8]>]) -> Result<(ArrayRef, Vec<BadMessage>)> {
        let (mut builder, mut bad) = (StringViewBuilder::with_capacity(values.len()), Vec::new());
        for (index, value) in values.iter().enumerate() {
            match value.map(std::str::from_utf8) {
                None => builder.append_null(),
                Some(Ok(text)) => builder.try_append_value(text)?,
                Some(Err(e)) => {
                    let what = format!("the message is not UTF-8 at byte {}", e.valid_up_to());
                    let error = Error::new(SqlState::InvalidTextRepresentation, what);
                    bad.push(BadMessage { index, error: error.with_hint("Declare the column as bytea.") });
                }
            }
        }
        Ok((Arc::new(builder.finish()), bad))
    }
}

impl Decoder for RawDecoder {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let mut tombstones = chunk.nulls.iter().peekable();
        let mut value = |index: usize| {
            let null = tombstones.next_if(|null| **null as usize == index).is_some();
            (!null).then(|| self.value(chunk.message(index)))
        };
        let values = (0..chunk.len()).map(&mut value).collect::<Vec<_>>();
        let (column, bad) = if self.text {
            self.texts(&values)?
        } else {
            let mut builder = BinaryViewBuilder::with_capacity(values.len());
            values.iter().try_for_each(|value| match value {
                Some(value) => builder.try_append_value(value),
                None => {
                    builder.append_null();
                    Ok(())
                }
            })?;
            (Arc::new(builder.finish()) as ArrayRef, Vec::new())
        };
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(column.len()));
        let columns = if self.schema.fields().is_empty() { Vec::new() } else { vec![column] };
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Decoded { rows, weights: None, messages: None, bad })
    }

    fn takes_nulls(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct RawEncoder {
    column: usize,
    name: String,
    text: bool,
}

impl RawEncoder {
    /// # Errors
    /// As [`RawDecoder::new`].
    pub fn new(schema: &Schema, indices: &[usize]) -> Result<Self> {
        let written = schema.project(indices)?;
        let text = check_columns(&written)? != SqlType::Bytea;
        let name = written.fields().first().map(|field| field.name().clone()).unwrap_or_default();
        Ok(RawEncoder { column: indices.first().copied().unwrap_or(0), name, text })
    }
}

impl Encoder for RawEncoder {
    fn encode(&self, rows: &RecordBatch, data: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let column = rows.columns().get(self.column).ok_or_else(|| Error::internal("no column for a raw message"))?;
        for row in 0..column.len() {
            if column.is_null(row) {
                let message = format!("a null in column \"{}\" cannot be written as a raw message", self.name);
                return Err(Error::new(SqlState::NullValueNotAllowed, message)
                    .with_hint("Filter such rows, or give them a value with coalesce()."));
            }
            if self.text {
                data.extend_from_slice(column.as_string_view().value(row).as_bytes());
            } else {
                data.extend_from_slice(column.as_binary_view().value(row));
            }
            ends.push(data.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryViewArray, StringViewArray};

    fn schema(ty: SqlType) -> Schema {
        Schema::new(vec![ty.field("m")])
    }

    fn chunk(messages: &[Option<&[u8]>]) -> RawChunk {
        let mut chunk = RawChunk::default();
        let mut data = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match message {
                Some(message) => data.extend_from_slice(message),
                None => chunk.nulls.push(index as u32),
            }
            chunk.ends.push(data.len() as u32);
            chunk.offsets.push(index as u64);
        }
        chunk.data = data.into();
        chunk
    }

    #[test]
    fn messages_are_values() {
        let messages = chunk(&[Some(b"one"), None, Some(b""), Some(b"\xff\x00")]);
        let bytes = RawDecoder::new(&schema(SqlType::Bytea), &[0], RawOptions::default()).unwrap();
        let decoded = bytes.decode(&messages).unwrap();
        let expected = BinaryViewArray::from(vec![Some(&b"one"[..]), None, Some(b""), Some(b"\xff\x00")]);
        assert_eq!(decoded.rows.column(0).as_binary_view(), &expected);
        let text = RawDecoder::new(&schema(SqlType::Text), &[0], RawOptions::default()).unwrap();
        let decoded = text.decode(&messages).unwrap();
        assert_eq!(decoded.rows.column(0).as_string_view(), &StringViewArray::from(vec![Some("one"), None, Some("")]));
        assert_eq!(decoded.bad.len(), 1);
        assert_eq!((decoded.bad[0].index, decoded.bad[0].error.message()), (3, "the message is not UTF-8 at byte 0"));
    }

    #[test]
    fn line_ends_are_no_part_of_a_line() {
        let lines = chunk(&[Some(b" a \n"), Some(b"b\r\n"), Some(b"\n"), Some(b"c\r")]);
        let decoder = RawDecoder::new(&schema(SqlType::Text), &[0], RawOptions { lines: true }).unwrap();
        let rows = decoder.decode(&lines).unwrap().rows;
        let expected = StringViewArray::from(vec![" a ", "b", "", "c\r"]);
        assert_eq!(rows.column(0).as_string_view(), &expected);
        let decoder = RawDecoder::new(&schema(SqlType::Text), &[], RawOptions { lines: true }).unwrap();
        assert_eq!(decoder.decode(&lines).unwrap().rows.num_rows(), 4);
    }
}
