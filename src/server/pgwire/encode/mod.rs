//! Values of a result, as PostgreSQL prints them (text) and packs them (binary).
//!
//! 1. [`RowEncoder::new`] takes a batch: each column is brought to the one Arrow type that its SQL type has inside, so that
//!    whatever an expression yields (nanoseconds, dictionaries, unsigned integers) is written in one way.
//! 2. [`RowEncoder::put_row`] appends one `DataRow` message: a length and the bytes for each column, -1 for null.
//!
//! Text is that of [`Cells`]; binary forms are here, those of numbers and times in [`number`] and [`datetime`]. COPY's lines are
//! in [`copy`].

pub mod copy;
pub mod datetime;
pub mod number;

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use bytes::{BufMut, BytesMut};
use chrono_tz::Tz;

use self::copy::Lines;
use super::wire_type::{OID, WireType};
use crate::error::{Error, Result, SqlState};
use crate::types::cells::{Cells, item_range};
use crate::types::jsonb;

/// In front of the text that is jsonb's binary form.
pub const JSONB_VERSION: u8 = 1;

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

    /// Appends a whole `CopyData` message with the row as a line, or nothing.
    pub fn put_line(&self, row: usize, lines: &Lines, out: &mut BytesMut) -> Result<()> {
        lines.put(self.columns.len(), out, |column, text| {
            let column = self.columns.get(column).filter(|column| !column.is_null(row));
            column.map(|column| column.put_text(row, self.zone, text)).is_some()
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

/// Overwrites the four bytes at `at` with `length`.
fn set_length(out: &mut BytesMut, at: usize, length: usize) -> Result<()> {
    let too_long = || Error::new(SqlState::ConfigurationLimitExceeded, "a row of the result is longer than 2 GiB");
    let length = i32::try_from(length).map_err(|_| too_long())?;
    let place = out.get_mut(at..at + 4).ok_or_else(too_long)?;
    place.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A column, ready to be written.
enum Column {
    /// Eight bytes inside, four on the wire.
    Oid(Int64Array),
    Of(Cells),
}

impl Column {
    fn new(array: &ArrayRef, ty: &WireType) -> Result<Self> {
        match (ty.oid, Cells::of(array, &ty.sql)?) {
            (OID, Cells::BigInt(oids)) => Ok(Column::Oid(oids)),
            (_, cells) => Ok(Column::Of(cells)),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Oid(a) => a.is_null(row),
            Column::Of(cells) => cells.is_null(row),
        }
    }

    fn put(&self, row: usize, format: Format, zone: Tz, out: &mut BytesMut) {
        match self {
            _ if self.is_null(row) => out.put_i32(-1),
            Column::Oid(a) if format == Format::Binary => {
                out.put_i32(4);
                out.put_u32(a.value(row) as u32);
            }
            Column::Oid(_) => put_measured(out, |out| self.put_text(row, zone, out)),
            Column::Of(cells) => put_value(cells, row, format, zone, out),
        }
    }

    /// A value that is not null, as text alone.
    fn put_text(&self, row: usize, zone: Tz, out: &mut BytesMut) {
        match self {
            Column::Oid(a) => {
                let _ = write!(out, "{}", a.value(row));
            }
            Column::Of(cells) => cells.text(row, zone, out),
        }
    }
}

/// What `put` appends, behind its length.
fn put_measured(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    put(out);
    let length = out.len() - at - 4;
    // A value beyond 2 GiB makes its row too long as well, which `put_row` refuses.
    let _ = set_length(out, at, length);
}

/// Appends the value's length and bytes.
fn put_value(cells: &Cells, row: usize, format: Format, zone: Tz, out: &mut BytesMut) {
    if cells.is_null(row) {
        return out.put_i32(-1);
    }
    put_measured(out, |out| match format {
        Format::Text => cells.text(row, zone, out),
        Format::Binary => put_binary(cells, row, zone, out),
    });
}

/// A value that is not null.
fn put_binary(cells: &Cells, row: usize, zone: Tz, out: &mut BytesMut) {
    match cells {
        Cells::Boolean(a) => out.put_u8(u8::from(a.value(row))),
        Cells::SmallInt(a) => out.put_i16(a.value(row)),
        Cells::Integer(a) => out.put_i32(a.value(row)),
        Cells::BigInt(a) => out.put_i64(a.value(row)),
        Cells::Real(a) => out.put_f32(a.value(row)),
        Cells::Double(a) => out.put_f64(a.value(row)),
        Cells::Numeric(a) => number::numeric_binary(a.value(row), a.scale(), out),
        Cells::Text(a) => out.put_slice(a.value(row).as_bytes()),
        Cells::Bytea(a) => out.put_slice(a.value(row)),
        Cells::Date(a) => datetime::date_binary(a.value(row), out),
        Cells::Timestamp(a) | Cells::TimestampTz(a) => datetime::timestamp_binary(a.value(row), out),
        Cells::Time(a) => out.put_i64(a.value(row)),
        Cells::Interval(a) => {
            let v = a.value(row);
            datetime::interval_binary(v.months, v.days, v.nanoseconds, out);
        }
        Cells::Uuid(a) => out.put_slice(a.value(row)),
        Cells::Jsonb(a) => {
            out.put_u8(JSONB_VERSION);
            jsonb::text(a.value(row), out);
        }
        Cells::Row(_, columns) => {
            out.put_i32(columns.len() as i32);
            for (ty, column) in columns {
                out.put_u32(ty.oid());
                put_value(column, row, Format::Binary, zone, out);
            }
        }
        Cells::Array { lists, items, item } => {
            let range = item_range(lists, row);
            out.put_i32(i32::from(!range.is_empty()));
            out.put_i32(i32::from(range.clone().any(|i| items.is_null(i))));
            out.put_u32(item.oid());
            if !range.is_empty() {
                out.put_i32(range.len() as i32);
                out.put_i32(1);
            }
            range.for_each(|i| put_value(items, i, Format::Binary, zone, out));
        }
    }
}

#[cfg(test)]
mod tests;
