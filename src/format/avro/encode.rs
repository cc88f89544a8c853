//! The encoder: rows by a schema of our own, which the registry gives a number.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroSoeFormat;
use parking_lot::Mutex;

use super::{AvroOptions, check_columns, schema};
use crate::error::{Error, Result};
use crate::format::Encoder;
use crate::format::outward::{json_text, nullable, outward, uuid_text};
use crate::types::{SqlType, UTC};

#[derive(Debug)]
pub struct AvroEncoder {
    options: AvroOptions,
    columns: Vec<(usize, SqlType)>,
    /// The rows as the library takes them, with their Avro schema.
    written: SchemaRef,
    /// Once the schema is registered.
    encoder: Mutex<Option<arrow_avro::writer::Encoder>>,
}

impl AvroEncoder {
    /// An encoder that writes the columns of `schema` with these indices. The registry is not asked yet.
    ///
    /// # Errors
    /// `0A000` for a column whose type Avro has no form for, 42602 for a name that Avro does not allow.
    pub fn new(schema: &Schema, indices: &[usize], options: AvroOptions) -> Result<Self> {
        let taken = schema.project(indices)?;
        check_columns(&taken)?;
        let named = taken.fields().iter().map(|f| (f.name().clone(), SqlType::from_field(f))).collect::<Vec<_>>();
        let avro = schema::of_columns(&named)?;
        let field = |(name, ty): &(String, SqlType)| {
            let written = outward(&new_empty_array(&ty.to_arrow()), ty, &leaf)?;
            Ok(nullable(name, &written))
        };
        let fields = named.iter().map(field).collect::<Result<Vec<_>>>()?;
        let metadata = [(SCHEMA_METADATA_KEY.to_string(), avro)].into();
        let written = Arc::new(Schema::new_with_metadata(fields, metadata));
        // Whether the library takes them is asked now, with any number.
        encoder(&written, 0)?;
        let columns = indices.iter().copied().zip(named.into_iter().map(|(_, ty)| ty)).collect();
        Ok(AvroEncoder { options, columns, written, encoder: Mutex::default() })
    }

    fn registered(&self) -> Result<arrow_avro::writer::Encoder> {
        let avro = self.written.metadata().get(SCHEMA_METADATA_KEY).map(String::as_str).unwrap_or_default();
        encoder(&self.written, self.options.registry.register(&self.options.subject, avro)?)
    }
}

/// An encoder of rows by the schema with this number.
fn encoder(written: &SchemaRef, id: u32) -> Result<arrow_avro::writer::Encoder> {
    let builder = WriterBuilder::new(Schema::clone(written)).with_fingerprint_strategy(FingerprintStrategy::Id(id));
    builder.build_encoder::<AvroSoeFormat>().map_err(cannot_write)
}

#[cold]
fn cannot_write(e: impl std::fmt::Display) -> Error {
    Error::internal(format!("rows cannot be written as Avro: {e}"))
}

/// A column as `schema::of_columns` says it is written.
fn leaf(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let millis = TimeUnit::Millisecond;
    Ok(match ty {
        SqlType::SmallInt => cast(array, &DataType::Int32)?,
        SqlType::Time(0..=3) => cast(array, &DataType::Time32(millis))?,
        SqlType::Timestamp(0..=3) => cast(array, &DataType::Timestamp(millis, None))?,
        SqlType::TimestampTz(0..=3) => cast(array, &DataType::Timestamp(millis, Some(UTC.into())))?,
        SqlType::Jsonb => json_text(array)?,
        SqlType::Uuid => uuid_text(array)?,
        _ => Arc::clone(array),
    })
}

impl Encoder for AvroEncoder {
    fn encode(&self, rows: &RecordBatch, data: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let column = |(index, ty): &(usize, SqlType)| {
            let column = rows.columns().get(*index);
            outward(column.ok_or_else(|| Error::internal("a column for Avro is not there"))?, ty, &leaf)
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let written = RecordBatch::try_new_with_options(Arc::clone(&self.written), columns, &options)?;
        let mut known = self.encoder.lock();
        let mut encoder = match known.take() {
            Some(encoder) => encoder,
            None => self.registered()?,
        };
        // It is kept only if it wrote all rows.
        encoder.encode(&written).map_err(cannot_write)?;
        let encoded = encoder.flush();
        let before = data.len();
        data.extend_from_slice(encoded.bytes());
        ends.extend(encoded.offsets().iter().skip(1).map(|end| before + end));
        *known = Some(encoder);
        Ok(())
    }
}
