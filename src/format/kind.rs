//! What 'format' = '...' comes to: one of the formats, with its options.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::avro::{AvroDecoder, AvroEncoder, AvroOptions};
use super::changes::ChangeForm;
use super::csv::{CsvDecoder, CsvEncoder, CsvOptions};
use super::json::{DebeziumDecoder, JsonDecoder, JsonEncoder, JsonOptions};
use super::raw::{RawDecoder, RawEncoder, RawOptions};
use super::{Decoder, Encoder};
use crate::change::Changelog;
use crate::error::Result;

/// A format of messages: of a Kafka record's value or key, of a file's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A row as an object.
    Json(JsonOptions),
    /// A change of a row, with the row before and after it.
    DebeziumJson(JsonOptions),
    Csv(CsvOptions),
    Avro(AvroOptions),
    Raw(RawOptions),
}

impl Format {
    /// As 'format' names it.
    pub fn name(&self) -> &'static str {
        match self {
            Format::Json(_) => "json",
            Format::DebeziumJson(_) => "debezium-json",
            Format::Csv(_) => "csv",
            Format::Avro(_) => "avro-confluent",
            Format::Raw(_) => "raw",
        }
    }

    /// What kind of changes messages of this format are.
    pub fn changelog(&self) -> Changelog {
        match self {
            Format::DebeziumJson(_) => Changelog::Changing,
            Format::Json(_) | Format::Csv(_) | Format::Avro(_) | Format::Raw(_) => Changelog::AppendOnly,
        }
    }

    /// How a sink with this primary key tells changes in this format.
    pub fn form(&self, primary_key: &[usize]) -> ChangeForm {
        match self {
            Format::DebeziumJson(_) => ChangeForm::Debezium { key: primary_key.to_vec() },
            Format::Json(_) | Format::Csv(_) | Format::Avro(_) | Format::Raw(_) => ChangeForm::Appends,
        }
    }

    /// A decoder of messages that hold the columns `declared`; the rows have those with the indices `wanted`, in that
    /// order.
    ///
    /// # Errors
    /// If the format has no form for one of the declared columns.
    pub fn decoder(&self, declared: &Schema, wanted: &[usize]) -> Result<Arc<dyn Decoder>> {
        Ok(match self {
            Format::Json(options) => {
                // Refused at once, not when somebody wants the column.
                JsonDecoder::new(Arc::new(declared.clone()), *options)?;
                Arc::new(JsonDecoder::new(Arc::new(declared.project(wanted)?), *options)?)
            }
            Format::DebeziumJson(options) => {
                DebeziumDecoder::new(Arc::new(declared.clone()), *options)?;
                Arc::new(DebeziumDecoder::new(Arc::new(declared.project(wanted)?), *options)?)
            }
            Format::Csv(options) => Arc::new(CsvDecoder::new(declared, wanted, options.clone())?),
            Format::Avro(options) => {
                AvroDecoder::new(Arc::new(declared.clone()), options.clone())?;
                Arc::new(AvroDecoder::new(Arc::new(declared.project(wanted)?), options.clone())?)
            }
            Format::Raw(options) => Arc::new(RawDecoder::new(declared, wanted, *options)?),
        })
    }

    /// An encoder of rows of `schema` that writes the columns with these indices: what [`super::changes::ChangeEncoder`] puts
    /// into messages.
    ///
    /// # Errors
    /// If the format has no form for one of them.
    pub fn encoder(&self, schema: &Schema, indices: &[usize]) -> Result<Box<dyn Encoder>> {
        Ok(match self {
            Format::Json(options) | Format::DebeziumJson(options) => {
                Box::new(JsonEncoder::with_columns(schema, indices, *options)?)
            }
            Format::Csv(options) => Box::new(CsvEncoder::new(schema, indices, options.clone())?),
            Format::Avro(options) => Box::new(AvroEncoder::new(schema, indices, options.clone())?),
            Format::Raw(_) => Box::new(RawEncoder::new(schema, indices)?),
        })
    }
}
