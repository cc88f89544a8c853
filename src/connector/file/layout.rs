//! Which declared columns a line holds, and which are metadata: from a line and its place to a row.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, StringViewBuilder};
use arrow::datatypes::{Schema, SchemaRef};

use super::framing::Framing;
use crate::change::Changelog;
use crate::connector::declared::Declared;
use crate::error::Result;
use crate::format::message::{MessageDecoder, Origin, Sides};
use crate::format::{Decoded, Decoder, Format, RawChunk};
use crate::types::{SqlType, schema_of};

/// What a file's METADATA columns can be.
const METADATA: &[(&str, &str)] = &[("path", "text"), ("offset", "bigint: the byte where the line begins")];

#[derive(Debug, Clone)]
pub struct Layout {
    /// All declared columns.
    schema: SchemaRef,
    /// Indices of the columns that a line holds, in the order of its fields.
    physical: Vec<usize>,
    metadata: Vec<(usize, Metadata)>,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Path,
    Offset,
}

impl Layout {
    /// # Errors
    /// What METADATA columns are refused for.
    pub fn new(declared: Declared, format: Format) -> Result<Self> {
        let metadata = declared.resolve_metadata(METADATA, |key, ty| match (key, ty) {
            ("path", SqlType::Text | SqlType::Varchar(None)) => Some(Metadata::Path),
            ("offset", SqlType::BigInt) => Some(Metadata::Offset),
            _ => None,
        })?;
        Ok(Layout { schema: schema_of(declared.columns), physical: declared.physical(), metadata, format })
    }

    pub fn changelog(&self) -> Changelog {
        self.format.changelog()
    }

    pub fn framing(&self) -> Framing {
        let name = |index: &usize| self.schema.field(*index).name().clone();
        Framing::new(&self.format, self.physical.iter().map(name).collect())
    }

    /// A decoder of the declared columns `wanted`, in that order.
    ///
    /// # Errors
    /// If the format has no form for a column that a line holds.
    pub fn decoder(&self, wanted: &[usize]) -> Result<Arc<dyn Decoder>> {
        let line: Schema = self.schema.project(&self.physical)?;
        let (mut values, mut sides, mut origins) = (Vec::new(), Vec::new(), Vec::with_capacity(wanted.len()));
        for column in wanted {
            origins.push(match self.metadata.iter().find(|(index, _)| index == column) {
                Some((_, metadata)) => {
                    sides.push(*metadata);
                    Origin::Side(sides.len() - 1)
                }
                None => {
                    values.extend(self.physical.iter().position(|index| index == column));
                    Origin::Value(values.len() - 1)
                }
            });
        }
        let value = self.format.decoder(&line, &values)?;
        let decoder: Arc<dyn Decoder> = if sides.is_empty() {
            value
        } else {
            let schema = Arc::new(self.schema.project(wanted)?);
            let sides = Box::new(FileSides(sides));
            Arc::new(MessageDecoder { schema, value, key: None, sides, origins, upserts: false })
        };
        Ok(Arc::new(FileDecoder { decoder }))
    }
}

/// What a chunk says of its lines.
struct FileSides(Vec<Metadata>);

impl Sides for FileSides {
    fn columns(&self, chunk: &RawChunk) -> Result<Vec<ArrayRef>> {
        let column = |metadata: &Metadata| -> ArrayRef {
            match metadata {
                Metadata::Path => Arc::new(repeated(chunk.file.as_deref().unwrap_or_default(), chunk.len())),
                Metadata::Offset => {
                    let offsets = chunk.offsets.iter().map(|offset| i64::try_from(*offset).unwrap_or(i64::MAX));
                    Arc::new(offsets.collect::<Int64Array>())
                }
            }
        };
        Ok(self.0.iter().map(column).collect())
    }
}

/// A text so many times: its bytes are there once.
fn repeated(text: &str, times: usize) -> StringViewArray {
    let mut builder = StringViewBuilder::with_capacity(times).with_deduplicate_strings();
    (0..times).for_each(|_| builder.append_value(text));
    builder.finish()
}

/// Decodes lines, and can say which line of which file one is.
struct FileDecoder {
    decoder: Arc<dyn Decoder>,
}

impl Decoder for FileDecoder {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        self.decoder.decode(chunk)
    }

    fn takes_nulls(&self) -> bool {
        self.decoder.takes_nulls()
    }

    /// Counts the lines in front of it: an error is rare, and a position knows bytes only.
    fn place(&self, chunk: &RawChunk, index: usize) -> String {
        let path = chunk.file.as_deref().unwrap_or_default();
        let offset = chunk.offsets.get(index).copied().unwrap_or_default();
        match lines_before(path, offset) {
            Ok(lines) => format!("file \"{path}\", line {}", lines + 1),
            Err(_) => format!("file \"{path}\", byte {offset}"),
        }
    }
}

fn lines_before(path: &str, offset: u64) -> std::io::Result<usize> {
    let mut reader = BufReader::new(File::open(path)?.take(offset));
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|b| **b == b'\n').count();
        let read = buffer.len();
        reader.consume(read);
    }
}
