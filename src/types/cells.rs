//! Columns of every type, each brought to the one Arrow type that its SQL type has inside, and the text of their values as
//! PostgreSQL prints it.

use std::fmt::Write;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray, ListArray,
    StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::util::display::FormatOptions;
use chrono_tz::Tz;

use super::{SqlType, datetime, jsonb, number, put, uuid};
use crate::error::{Error, Result};

pub enum Cells {
    Boolean(BooleanArray),
    SmallInt(Int16Array),
    Integer(Int32Array),
    BigInt(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Numeric(Decimal128Array),
    Text(StringViewArray),
    Bytea(BinaryViewArray),
    Date(Date32Array),
    Timestamp(TimestampMicrosecondArray),
    TimestampTz(TimestampMicrosecondArray),
    Time(Time64MicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Uuid(FixedSizeBinaryArray),
    Jsonb(LargeBinaryArray),
    Row(StructArray, Vec<(SqlType, Cells)>),
    Array { lists: ListArray, items: Box<Cells>, item: SqlType },
}

impl Cells {
    /// # Errors
    /// If a value of `array` is none of type `ty`.
    pub fn of(array: &ArrayRef, ty: &SqlType) -> Result<Self> {
        Ok(match ty {
            SqlType::Boolean => Cells::Boolean(cast(array, ty)?),
            SqlType::SmallInt => Cells::SmallInt(cast(array, ty)?),
            SqlType::Integer => Cells::Integer(cast(array, ty)?),
            SqlType::BigInt => Cells::BigInt(cast(array, ty)?),
            SqlType::Real => Cells::Real(cast(array, ty)?),
            SqlType::Double => Cells::Double(cast(array, ty)?),
            SqlType::Numeric(..) => Cells::Numeric(cast(array, ty)?),
            SqlType::Text | SqlType::Varchar(_) => Cells::Text(cast(array, ty)?),
            SqlType::Bytea => Cells::Bytea(cast(array, ty)?),
            SqlType::Date => Cells::Date(cast(array, ty)?),
            SqlType::Timestamp(_) => Cells::Timestamp(cast(array, ty)?),
            SqlType::TimestampTz(_) => Cells::TimestampTz(cast(array, ty)?),
            SqlType::Time(_) => Cells::Time(cast(array, ty)?),
            SqlType::Interval => Cells::Interval(cast(array, ty)?),
            SqlType::Uuid => Cells::Uuid(cast(array, ty)?),
            SqlType::Jsonb => Cells::Jsonb(cast(array, ty)?),
            SqlType::Row(fields) => {
                let row: StructArray = cast(array, ty)?;
                let columns = row.columns().iter().zip(fields);
                let columns = columns.map(|(c, (_, t))| Ok((t.clone(), Cells::of(c, t)?))).collect::<Result<_>>()?;
                Cells::Row(row, columns)
            }
            SqlType::Array(item) => {
                let lists: ListArray = cast(array, ty)?;
                let items = Box::new(Cells::of(lists.values(), item)?);
                Cells::Array { lists, items, item: SqlType::clone(item) }
            }
        })
    }

    pub fn is_null(&self, row: usize) -> bool {
        let array: &dyn Array = match self {
            Cells::Boolean(a) => a,
            Cells::SmallInt(a) => a,
            Cells::Integer(a) => a,
            Cells::BigInt(a) => a,
            Cells::Real(a) => a,
            Cells::Double(a) => a,
            Cells::Numeric(a) => a,
            Cells::Text(a) => a,
            Cells::Bytea(a) => a,
            Cells::Date(a) => a,
            Cells::Timestamp(a) | Cells::TimestampTz(a) => a,
            Cells::Time(a) => a,
            Cells::Interval(a) => a,
            Cells::Uuid(a) => a,
            Cells::Jsonb(a) => a,
            Cells::Row(a, _) => a,
            Cells::Array { lists, .. } => lists,
        };
        array.is_null(row)
    }

    /// Appends the text of a value that is not null. Times with time zone are shown in `zone`.
    pub fn text(&self, row: usize, zone: Tz, out: &mut impl Write) {
        match self {
            Cells::Boolean(a) => put(out, if a.value(row) { "t" } else { "f" }),
            Cells::SmallInt(a) => display(a.value(row), out),
            Cells::Integer(a) => display(a.value(row), out),
            Cells::BigInt(a) => display(a.value(row), out),
            Cells::Real(a) => number::real_text(a.value(row), out),
            Cells::Double(a) => number::double_text(a.value(row), out),
            Cells::Numeric(a) => number::numeric_text(a.value(row), a.scale(), out),
            Cells::Text(a) => put(out, a.value(row)),
            Cells::Bytea(a) => bytea_text(a.value(row), out),
            Cells::Date(a) => datetime::date_text(a.value(row), out),
            Cells::Timestamp(a) => datetime::timestamp_text(a.value(row), out),
            Cells::TimestampTz(a) => datetime::timestamptz_text(a.value(row), zone, out),
            Cells::Time(a) => datetime::time_text(a.value(row), out),
            Cells::Interval(a) => {
                let v = a.value(row);
                datetime::interval_text(v.months, v.days, v.nanoseconds, out);
            }
            Cells::Uuid(a) => uuid::text(a.value(row), out),
            Cells::Jsonb(a) => jsonb::text(a.value(row), out),
            Cells::Row(_, columns) => row_text(columns, row, zone, out),
            Cells::Array { lists, items, .. } => array_text(lists, items, row, zone, out),
        }
    }
}

/// Brings `array` to the Arrow type of `ty`. What does not fit is an error, never a null.
fn cast<A: Array + Clone + 'static>(array: &ArrayRef, ty: &SqlType) -> Result<A> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let wanted = ty.to_arrow();
    let cast = if *array.data_type() == wanted { array.clone() } else { cast_with_options(array, &wanted, &options)? };
    let typed = cast.as_any().downcast_ref::<A>().cloned();
    typed.ok_or_else(|| Error::internal(format!("a column of type {} cannot be shown as {ty}", array.data_type())))
}

fn display(value: impl std::fmt::Display, out: &mut impl Write) {
    let _ = write!(out, "{value}");
}

/// `\\x` and hexadecimal digits.
pub fn bytea_text(bytes: &[u8], out: &mut impl Write) {
    put(out, "\\x");
    bytes.iter().for_each(|byte| display(format_args!("{byte:02x}"), out));
}

/// Where in the items a row's array lies.
pub fn item_range(lists: &ListArray, row: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    match (offsets.get(row), offsets.get(row + 1)) {
        (Some(start), Some(end)) => *start as usize..*end as usize,
        _ => 0..0,
    }
}

/// `{1,NULL,"a b"}`
fn array_text(lists: &ListArray, items: &Cells, row: usize, zone: Tz, out: &mut impl Write) {
    put(out, "{");
    for (n, item) in item_range(lists, row).enumerate() {
        if n > 0 {
            put(out, ",");
        }
        if items.is_null(item) {
            put(out, "NULL");
            continue;
        }
        let mut text = String::new();
        items.text(item, zone, &mut text);
        let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || is_space(c);
        let nested = matches!(items, Cells::Array { .. });
        if !nested && (text.is_empty() || text.contains(special) || text.eq_ignore_ascii_case("null")) {
            quoted(&text, |c| if matches!(c, '"' | '\\') { Some('\\') } else { None }, out);
        } else {
            put(out, &text);
        }
    }
    put(out, "}");
}

/// `(1,,"a b")`
fn row_text(columns: &[(SqlType, Cells)], row: usize, zone: Tz, out: &mut impl Write) {
    put(out, "(");
    for (n, (_, column)) in columns.iter().enumerate() {
        if n > 0 {
            put(out, ",");
        }
        if column.is_null(row) {
            continue;
        }
        let mut text = String::new();
        column.text(row, zone, &mut text);
        let special = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || is_space(c);
        if text.is_empty() || text.contains(special) {
            quoted(&text, |c| if matches!(c, '"' | '\\') { Some(c) } else { None }, out);
        } else {
            put(out, &text);
        }
    }
    put(out, ")");
}

fn quoted(text: &str, escape: impl Fn(char) -> Option<char>, out: &mut impl Write) {
    put(out, "\"");
    for c in text.chars() {
        if let Some(escape) = escape(c) {
            display(escape, out);
        }
        display(c, out);
    }
    put(out, "\"");
}

/// What PostgreSQL's array and row input take for white space.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}
