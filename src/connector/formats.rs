//! 'format' and its options, as all connectors of messages read them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::options::{Choice, OptionReader};
use crate::change::Changelog;
use crate::error::Result;
use crate::format::Decoder;
use crate::format::changes::{ChangeEncoder, ChangeForm};
use crate::format::json::{DebeziumDecoder, JsonDecoder, JsonEncoder, JsonOptions, TimestampFormat};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// A row as an object.
    Json,
    /// A change of a row, with the row before and after it.
    DebeziumJson,
}

impl Choice for FormatName {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("json", FormatName::Json), ("debezium-json", FormatName::DebeziumJson)];
}

impl Choice for TimestampFormat {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("SQL", TimestampFormat::Sql), ("ISO-8601", TimestampFormat::Iso8601)];
}

/// A format and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub name: FormatName,
    pub json: JsonOptions,
}

impl Format {
    /// Reads `name` (such as 'format') and the options that belong to it.
    ///
    /// # Errors
    /// 22023 if there is none, or no such format.
    pub fn read(options: &mut OptionReader, name: &str) -> Result<Format> {
        let Some(format) = options.choice(name)? else {
            return Err(options.missing(name).with_hint(format!("Add '{name}' = 'json' to the WITH clause.")));
        };
        // 'value.format' has 'value.json.timestamp-format.standard'.
        let prefix = name.strip_suffix("format").unwrap_or_default();
        let of = match format {
            FormatName::Json => "json",
            FormatName::DebeziumJson => "debezium-json",
        };
        let timestamp_format = options.choice(&format!("{prefix}{of}.timestamp-format.standard"))?;
        Ok(Format { name: format, json: JsonOptions { timestamp_format: timestamp_format.unwrap_or_default() } })
    }

    /// What kind of changes messages of this format are.
    pub fn changelog(&self) -> Changelog {
        match self.name {
            FormatName::Json => Changelog::AppendOnly,
            FormatName::DebeziumJson => Changelog::Changing,
        }
    }

    /// # Errors
    /// 0A000 for a column that the format has no form for.
    pub fn decoder(&self, schema: SchemaRef) -> Result<Arc<dyn Decoder>> {
        Ok(match self.name {
            FormatName::Json => Arc::new(JsonDecoder::new(schema, self.json)?),
            FormatName::DebeziumJson => Arc::new(DebeziumDecoder::new(schema, self.json)?),
        })
    }

    /// The encoder of results with `schema` of which messages hold `columns`.
    ///
    /// # Errors
    /// 0A000 for a column that the format has no form for.
    pub fn encoder(&self, form: ChangeForm, schema: &Schema, columns: &[usize]) -> Result<ChangeEncoder> {
        Ok(ChangeEncoder::new(form, Box::new(JsonEncoder::with_columns(schema, columns, self.json)?)))
    }
}
