//! Values of a result, as PostgreSQL prints them (text) and packs them (binary).
//!
//! 1. [`RowEncoder::new`] takes a batch: each column is brought to the one Arrow type that its SQL type has inside, so that
//!    whatever an expression yields (nanoseconds, dictionaries, unsigned integers) is written in one way.
//! 2. [`RowEncoder::put_row`] appends one `DataRow` message: a length and the bytes for each column, -1 for null.
//!
//! [`number`] and [`datetime`] hold the shapes of scalars; composite values are here, since they contain the others.

pub mod datetime;
pub mod number;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch, StringViewArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::util::display::FormatOptions;
use bytes::{BufMut, BytesMut};
use chrono_tz::Tz;

use super::wire_type::{OID, WireType};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// How a value goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// The formats of `count` columns, from the codes of a Bind message: none (all text), one for all, or one for each.
    pub fn expand(codes: &[i16], count: usize) -> Result<Vec<Format>> {
        let format = |code: &i16| match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Error::new(SqlState::InvalidParameterValue, format!("unsupported format code: {other}"))),
        };
        match codes {
            [] => Ok(vec![Format::Text; count]),
            [one] => Ok(vec![format(one)?; count]),
            all if all.len() == count => all.iter().map(format).collect(),
            all => Err(super::message::violation(format!(
                "bind message has {} format codes but there are {count} values",
                all.len()
            ))),
        }
    }

    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// A batch, ready to be written row by row.
pub struct RowEncoder {
    columns: Vec<Column>,
    formats: Vec<Format>,
    zone: Tz,
    rows: usize,
}

impl RowEncoder {
    /// `types` and `formats`: one for each column.
    pub fn new(batch: &RecordBatch, types: &[WireType], formats: &[Format], zone: Tz) -> Result<Self> {
        if batch.num_columns() != types.len() || types.len() != formats.len() {
            return Err(Error::internal("a result's batch has other columns than its description"));
        }
        let columns =
            batch.columns().iter().zip(types).map(|(array, ty)| Column::new(array, ty)).collect::<Result<_>>()?;
        Ok(RowEncoder { columns, formats: formats.to_vec(), zone, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends a whole `DataRow` message, or nothing.
    pub fn put_row(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        put_message(b'D', out, |out| {
            out.put_u16(self.columns.len() as u16);
            for (column, format) in self.columns.iter().zip(&self.formats) {
                column.put(row, *format, self.zone, out);
            }
        })
    }

    /// Appends a whole `CopyData` message with the row as a line of COPY's text format, or nothing.
    pub fn put_line(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let mut text = BytesMut::new();
        put_message(b'd', out, |out| {
            for (n, column) in self.columns.iter().enumerate() {
                if n > 0 {
                    out.put_u8(b'\t');
                }
                if column.is_null(row) {
                    out.put_slice(b"\\N");
                    continue;
                }
                text.clear();
                column.put_text(row, self.zone, &mut text);
                put_escaped(&text, out);
            }
            out.put_u8(b'\n');
        })
    }
}

/// Appends a message with what `body` writes, or nothing if that is too long.
fn put_message(kind: u8, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) -> Result<()> {
    out.put_u8(kind);
    let start = out.len();
    out.put_i32(0);
    body(out);
    let done = set_length(out, start, out.len() - start);
    if done.is_err() {
        out.truncate(start - 1);
    }
    done
}

/// A value as COPY's text format has it: what would end it or its line, and backslashes, behind a backslash.
fn put_escaped(text: &[u8], out: &mut BytesMut) {
    for byte in text {
        let escape = match byte {
            b'\\' => b'\\',
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            plain => {
                out.put_u8(*plain);
                continue;
            }
        };
        out.put_slice(&[b'\\', escape]);
    }
}

/// Overwrites the four bytes at `at` with `length`.
fn set_length(out: &mut BytesMut, at: usize, length: usize) -> Result<()> {
    let too_long = || Error::new(SqlState::ConfigurationLimitExceeded, "a row of the result is longer than 2 GiB");
    let length = i32::try_from(length).map_err(|_| too_long())?;
    let place = out.get_mut(at..at + 4).ok_or_else(too_long)?;
    place.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A column in the one Arrow type of its SQL type.
enum Column {
    Boolean(BooleanArray),
    SmallInt(Int16Array),
    Integer(Int32Array),
    BigInt(Int64Array),
    /// Eight bytes inside, four on the wire.
    Oid(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Numeric(Decimal128Array),
    Text(StringViewArray),
    Bytea(BinaryViewArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    TimestampTz(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Row(StructArray, Vec<(u32, Column)>),
    Array {
        lists: ListArray,
        items: Box<Column>,
        item_oid: u32,
    },
}

impl Column {
    fn new(array: &ArrayRef, ty: &WireType) -> Result<Self> {
        if ty.oid == OID {
            return Ok(Column::Oid(cast(array, &SqlType::BigInt)?));
        }
        Column::of(array, &ty.sql)
    }

    fn of(array: &ArrayRef, ty: &SqlType) -> Result<Self> {
        Ok(match ty {
            SqlType::Boolean => Column::Boolean(cast(array, ty)?),
            SqlType::SmallInt => Column::SmallInt(cast(array, ty)?),
            SqlType::Integer => Column::Integer(cast(array, ty)?),
            SqlType::BigInt => Column::BigInt(cast(array, ty)?),
            SqlType::Real => Column::Real(cast(array, ty)?),
            SqlType::Double => Column::Double(cast(array, ty)?),
            SqlType::Numeric(..) => Column::Numeric(cast(array, ty)?),
            SqlType::Text | SqlType::Varchar(_) => Column::Text(cast(array, ty)?),
            SqlType::Bytea => Column::Bytea(cast(array, ty)?),
            SqlType::Date => Column::Date(cast(array, ty)?),
            SqlType::Timestamp(_) => Column::Timestamp(cast(array, ty)?),
            SqlType::TimestampTz(_) => Column::TimestampTz(cast(array, ty)?),
            SqlType::Interval => Column::Interval(cast(array, ty)?),
            SqlType::Row(fields) => {
                let row: StructArray = cast(array, ty)?;
                let columns = row.columns().iter().zip(fields);
                let columns = columns.map(|(c, (_, t))| Ok((t.oid(), Column::of(c, t)?))).collect::<Result<_>>()?;
                Column::Row(row, columns)
            }
            SqlType::Array(item) => {
                let lists: ListArray = cast(array, ty)?;
                let items = Box::new(Column::of(lists.values(), item)?);
                Column::Array { lists, items, item_oid: item.oid() }
            }
        })
    }

    fn is_null(&self, row: usize) -> bool {
        let array: &dyn Array = match self {
            Column::Boolean(a) => a,
            Column::SmallInt(a) => a,
            Column::Integer(a) => a,
            Column::BigInt(a) | Column::Oid(a) => a,
            Column::Real(a) => a,
            Column::Double(a) => a,
            Column::Numeric(a) => a,
            Column::Text(a) => a,
            Column::Bytea(a) => a,
            Column::Date(a) => a,
            Column::Timestamp(a) | Column::TimestampTz(a) => a,
            Column::Interval(a) => a,
            Column::Row(a, _) => a,
            Column::Array { lists, .. } => lists,
        };
        array.is_null(row)
    }

    /// Appends the value's length and bytes.
    fn put(&self, row: usize, format: Format, zone: Tz, out: &mut BytesMut) {
        if self.is_null(row) {
            return out.put_i32(-1);
        }
        let at = out.len();
        out.put_i32(0);
        match format {
            Format::Text => self.put_text(row, zone, out),
            Format::Binary => self.put_binary(row, zone, out),
        }
        let length = out.len() - at - 4;
        // A value beyond 2 GiB makes its row too long as well, which `put_row` refuses.
        let _ = set_length(out, at, length);
    }

    /// A value that is not null.
    fn put_text(&self, row: usize, zone: Tz, out: &mut BytesMut) {
        match self {
            Column::Boolean(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Column::SmallInt(a) => put_integer(i64::from(a.value(row)), out),
            Column::Integer(a) => put_integer(i64::from(a.value(row)), out),
            Column::BigInt(a) | Column::Oid(a) => put_integer(a.value(row), out),
            Column::Real(a) => number::real_text(a.value(row), out),
            Column::Double(a) => number::double_text(a.value(row), out),
            Column::Numeric(a) => number::numeric_text(a.value(row), a.scale(), out),
            Column::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Column::Bytea(a) => put_hex(a.value(row), out),
            Column::Date(a) => datetime::date_text(a.value(row), out),
            Column::Timestamp(a) => datetime::timestamp_text(a.value(row), out),
            Column::TimestampTz(a) => datetime::timestamptz_text(a.value(row), zone, out),
            Column::Interval(a) => {
                let v = a.value(row);
                datetime::interval_text(v.months, v.days, v.nanoseconds, out);
            }
            Column::Row(_, columns) => put_row_text(columns, row, zone, out),
            Column::Array { lists, items, .. } => put_array_text(lists, items, row, zone, out),
        }
    }

    /// A value that is not null.
    fn put_binary(&self, row: usize, zone: Tz, out: &mut BytesMut) {
        match self {
            Column::Boolean(a) => out.put_u8(u8::from(a.value(row))),
            Column::SmallInt(a) => out.put_i16(a.value(row)),
            Column::Integer(a) => out.put_i32(a.value(row)),
            Column::BigInt(a) => out.put_i64(a.value(row)),
            Column::Oid(a) => out.put_u32(a.value(row) as u32),
            Column::Real(a) => out.put_f32(a.value(row)),
            Column::Double(a) => out.put_f64(a.value(row)),
            Column::Numeric(a) => number::numeric_binary(a.value(row), a.scale(), out),
            Column::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Column::Bytea(a) => out.put_slice(a.value(row)),
            Column::Date(a) => datetime::date_binary(a.value(row), out),
            Column::Timestamp(a) | Column::TimestampTz(a) => datetime::timestamp_binary(a.value(row), out),
            Column::Interval(a) => {
                let v = a.value(row);
                datetime::interval_binary(v.months, v.days, v.nanoseconds, out);
            }
            Column::Row(_, columns) => {
                out.put_i32(columns.len() as i32);
                for (oid, column) in columns {
                    out.put_u32(*oid);
                    column.put(row, Format::Binary, zone, out);
                }
            }
            Column::Array { lists, items, item_oid } => {
                let range = item_range(lists, row);
                out.put_i32(i32::from(!range.is_empty()));
                out.put_i32(i32::from(range.clone().any(|i| items.is_null(i))));
                out.put_u32(*item_oid);
                if !range.is_empty() {
                    out.put_i32(range.len() as i32);
                    out.put_i32(1);
                }
                range.for_each(|i| items.put(i, Format::Binary, zone, out));
            }
        }
    }
}

/// Brings `array` to the Arrow type of `ty`. What does not fit is an error, never a null.
fn cast<A: Array + Clone + 'static>(array: &ArrayRef, ty: &SqlType) -> Result<A> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let wanted = ty.to_arrow();
    let cast = if *array.data_type() == wanted { array.clone() } else { cast_with_options(array, &wanted, &options)? };
    let typed = cast.as_any().downcast_ref::<A>().cloned();
    typed.ok_or_else(|| Error::internal(format!("a column of type {} cannot be sent as {ty}", array.data_type())))
}

fn put_integer(value: i64, out: &mut BytesMut) {
    use std::io::Write;
    let _ = write!(out.writer(), "{value}");
}

fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + 2 * bytes.len());
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

fn item_range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    match (offsets.get(row), offsets.get(row + 1)) {
        (Some(start), Some(end)) => *start as usize..*end as usize,
        _ => 0..0,
    }
}

/// `{1,NULL,"a b"}`
fn put_array_text(lists: &ListArray, items: &Column, row: usize, zone: Tz, out: &mut BytesMut) {
    out.put_u8(b'{');
    for (n, item) in item_range(lists, row).enumerate() {
        if n > 0 {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.put_slice(b"NULL");
            continue;
        }
        let mut text = BytesMut::new();
        items.put_text(item, zone, &mut text);
        let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*b);
        let nested = matches!(items, Column::Array { .. });
        if !nested && (text.is_empty() || text.iter().any(special) || text.eq_ignore_ascii_case(b"null")) {
            put_quoted(&text, |b| if matches!(b, b'"' | b'\\') { Some(b'\\') } else { None }, out);
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b'}');
}

/// `(1,,"a b")`
fn put_row_text(columns: &[(u32, Column)], row: usize, zone: Tz, out: &mut BytesMut) {
    out.put_u8(b'(');
    for (n, (_, column)) in columns.iter().enumerate() {
        if n > 0 {
            out.put_u8(b',');
        }
        if column.is_null(row) {
            continue;
        }
        let mut text = BytesMut::new();
        column.put_text(row, zone, &mut text);
        let special = |b: &u8| matches!(b, b'(' | b')' | b',' | b'"' | b'\\') || is_space(*b);
        if text.is_empty() || text.iter().any(special) {
            put_quoted(&text, |b| if matches!(b, b'"' | b'\\') { Some(b) } else { None }, out);
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b')');
}

fn put_quoted(text: &[u8], escape: impl Fn(u8) -> Option<u8>, out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        if let Some(escape) = escape(*byte) {
            out.put_u8(escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// What PostgreSQL's array and row input take for white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests;
