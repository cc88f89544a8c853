//! The encoder: each row as one record, without a line end.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema,
    TimestampMicrosecondType,
};

use super::check_columns;
use super::options::{COMMENT, CsvOptions};
use crate::error::{Error, Result};
use crate::format::Encoder;
use crate::format::json::{TimestampFormat, datetime, number};
use crate::types::SqlType;

/// Writes rows as CSV records, fields in the order of the columns. A field is quoted only where it must be.
#[derive(Debug)]
pub struct CsvEncoder {
    options: CsvOptions,
    columns: Vec<(usize, SqlType)>,
}

impl CsvEncoder {
    /// An encoder that writes the columns of `schema` with these indices.
    ///
    /// # Errors
    /// `0A000` for a column whose type CSV has no form for.
    pub fn new(schema: &Schema, indices: &[usize], options: CsvOptions) -> Result<Self> {
        let written = schema.project(indices)?;
        check_columns(&written)?;
        let types = written.fields().iter().map(|field| SqlType::from_field(field));
        Ok(CsvEncoder { options, columns: indices.iter().copied().zip(types).collect() })
    }

    /// A record that names `columns`.
    pub fn header<'a>(columns: impl Iterator<Item = &'a str>, options: &CsvOptions) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, name) in columns.enumerate() {
            if place > 0 {
                out.push(options.delimiter());
            }
            // A header's quotes are a matter of letters alone, so this cannot be refused.
            let _ = write_field(name.as_bytes(), place == 0, options, &mut out);
        }
        out
    }
}

impl Encoder for CsvEncoder {
    fn encode(&self, rows: &RecordBatch, data: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (index, ty) in &self.columns {
            match rows.columns().get(*index) {
                Some(array) if array.data_type().equals_datatype(&ty.to_arrow()) => arrays.push((array, ty)),
                found => {
                    let found = found.map(|array| array.data_type().to_string());
                    return Err(Error::internal(format!("CSV column {index} expects {ty}, got {found:?}")));
                }
            }
        }
        let mut text = Vec::new();
        for row in 0..rows.num_rows() {
            for (place, (array, ty)) in arrays.iter().enumerate() {
                if place > 0 {
                    data.push(self.options.delimiter());
                }
                if array.is_null(row) {
                    data.extend_from_slice(self.options.null().as_bytes());
                    continue;
                }
                text.clear();
                write_value(array, row, ty, &mut text);
                write_field(&text, place == 0, &self.options, data)?;
            }
            ends.push(data.len());
        }
        Ok(())
    }
}

/// Appends a field; `first`: of its record.
fn write_field(text: &[u8], first: bool, options: &CsvOptions, out: &mut Vec<u8>) -> Result<()> {
    let special = |b: &u8| *b == options.delimiter() || Some(*b) == options.quote() || matches!(b, b'\n' | b'\r');
    let like_comment = first && options.comments() && text.first() == Some(&COMMENT);
    // A record of one empty field would be a blank line; so it is quoted, whatever the null literal is.
    let plain = !(text.is_empty() || text == options.null().as_bytes() || like_comment || text.iter().any(special));
    let Some(quote) = options.quote() else {
        if plain || (text.is_empty() && !options.null().is_empty()) {
            out.extend_from_slice(text);
            return Ok(());
        }
        let shown = String::from_utf8_lossy(text);
        return Err(Error::new(
            crate::error::SqlState::InvalidParameterValue,
            format!("the value \"{shown}\" cannot be written as CSV without quotes"),
        )
        .with_hint("Remove 'csv.disable-quote-character', or choose another 'csv.null-literal'."));
    };
    if plain {
        out.extend_from_slice(text);
        return Ok(());
    }
    out.push(quote);
    for byte in text {
        if *byte == quote || *byte == options.escape() {
            out.push(options.escape());
        }
        out.push(*byte);
    }
    out.push(quote);
    Ok(())
}

/// A value that is not null, as text that PostgreSQL and Flink read alike. The array's type is `ty`'s.
fn write_value(array: &ArrayRef, row: usize, ty: &SqlType, out: &mut Vec<u8>) {
    match ty {
        SqlType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
        }
        SqlType::SmallInt => number::write_integer(array.as_primitive::<Int16Type>().value(row).into(), out),
        SqlType::Integer => number::write_integer(array.as_primitive::<Int32Type>().value(row).into(), out),
        SqlType::BigInt => number::write_integer(array.as_primitive::<Int64Type>().value(row), out),
        SqlType::Real => {
            let value = array.as_primitive::<Float32Type>().value(row);
            write_float(value, f64::from(value), out);
        }
        SqlType::Double => {
            let value = array.as_primitive::<Float64Type>().value(row);
            write_float(value, value, out);
        }
        SqlType::Numeric(_, scale) => {
            number::write_numeric(array.as_primitive::<Decimal128Type>().value(row), *scale, out);
        }
        SqlType::Text | SqlType::Varchar(_) => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        SqlType::Bytea => {
            out.extend_from_slice(b"\\x");
            for byte in array.as_binary_view().value(row) {
                let _ = write!(out, "{byte:02x}");
            }
        }
        SqlType::Date => datetime::write_date(array.as_primitive::<Date32Type>().value(row).into(), out),
        SqlType::Timestamp(precision) | SqlType::TimestampTz(precision) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let zoned = matches!(ty, SqlType::TimestampTz(_));
            datetime::write_timestamp(micros, *precision, zoned, TimestampFormat::Sql, out);
        }
        SqlType::Array(item) => write_array(&array.as_list::<i32>().value(row), item, out),
        // Refused when the encoder is made.
        SqlType::Interval | SqlType::Row(_) => {}
    }
}

/// As PostgreSQL writes arrays: `{1,NULL,"a b"}`.
fn write_array(items: &ArrayRef, ty: &SqlType, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut text = Vec::new();
    for element in 0..items.len() {
        if element > 0 {
            out.push(b',');
        }
        if items.is_null(element) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        text.clear();
        write_value(items, element, ty, &mut text);
        let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace();
        if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
            out.extend_from_slice(&text);
            continue;
        }
        out.push(b'"');
        for byte in &text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    }
    out.push(b'}');
}

/// The shortest text that reads back as the same value.
fn write_float<T: std::fmt::Display + std::fmt::LowerExp>(value: T, magnitude: f64, out: &mut Vec<u8>) {
    let begin = out.len();
    number::write_float(value, magnitude, out);
    // JSON's quotes around what is no number there.
    if out.get(begin) == Some(&b'"') {
        out.remove(begin);
        out.pop();
    }
}
