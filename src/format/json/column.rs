//! Growing columns: JSON values go from a message's bytes straight into them.

mod plain;

use std::sync::Arc;

use arrow::array::NullBufferBuilder;
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryViewBuilder, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    LargeBinaryArray, ListArray, PrimitiveArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
};

use bytes::Bytes;

pub(in crate::format) use self::plain::Plain;
use super::base64;
use super::datetime::{self, RecentDate};
use super::failure::{Failure, Scan, excerpt};
use super::number::Number;
use super::object::Object;
use super::scan::{Quoted, Scanner, unescape};
use super::texts::Texts;
use crate::error::{Result, SqlState};
use crate::types::{SqlType, UTC, interval, uuid};

/// A column under construction.
///
/// Invariant between two messages: the column has a value or a null for each row, and no more. While a message is read a
/// column may hold one row more, or (after a failure) remains of one: [`Column::truncate`] restores the invariant.
pub(in crate::format) struct Column {
    ty: SqlType,
    rows: usize,
    validity: NullBufferBuilder,
    values: Values,
}

enum Values {
    Boolean(Vec<bool>),
    SmallInt(Vec<i16>),
    Integer(Vec<i32>),
    BigInt(Vec<i64>),
    Real(Vec<f32>),
    Double(Vec<f64>),
    Numeric { unscaled: Vec<i128>, precision: u8, scale: i8 },
    Text(Texts),
    Bytea { data: Vec<u8>, ends: Vec<usize> },
    Date(Vec<i32>),
    Time { micros: Vec<i64>, precision: u8 },
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<[u8; uuid::BYTES as usize]>),
    Jsonb { data: Vec<u8>, ends: Vec<usize> },
    Timestamp { micros: Vec<i64>, precision: u8, zoned: bool, recent: RecentDate },
    Row(Box<Object>),
    Array { ends: Vec<i32>, item: Box<Column>, field: FieldRef },
}

/// The chunk that is being read. Finished text columns are views of it.
#[derive(Clone, Copy)]
pub(in crate::format) struct Input<'a> {
    pub chunk: &'a Bytes,
    /// All of it is UTF-8; if not, each good message still is.
    pub utf8: bool,
}

impl<'a> Input<'a> {
    pub(in crate::format) fn new(chunk: &'a Bytes) -> Input<'a> {
        // Text that is ASCII, as most is, is found to be so several times faster.
        Input { chunk, utf8: chunk.is_ascii() || std::str::from_utf8(chunk).is_ok() }
    }

    /// Whether the message there is known to be UTF-8: a chunk of UTF-8 is messages of UTF-8, unless a character lies across
    /// a message's end.
    pub(in crate::format) fn is_utf8(&self, start: usize, end: usize) -> bool {
        let is_boundary = |at: usize| self.chunk.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
        self.utf8 && is_boundary(start) && is_boundary(end)
    }
}

impl Column {
    /// An empty column for a wanted field, with room for `rows`.
    pub(in crate::format) fn new(field: &Field, rows: usize) -> Column {
        let ty = SqlType::from_field(field);
        let values = match &ty {
            SqlType::Boolean => Values::Boolean(Vec::with_capacity(rows)),
            SqlType::SmallInt => Values::SmallInt(Vec::with_capacity(rows)),
            SqlType::Integer => Values::Integer(Vec::with_capacity(rows)),
            SqlType::BigInt => Values::BigInt(Vec::with_capacity(rows)),
            SqlType::Real => Values::Real(Vec::with_capacity(rows)),
            SqlType::Double => Values::Double(Vec::with_capacity(rows)),
            SqlType::Numeric(precision, scale) => {
                Values::Numeric { unscaled: Vec::with_capacity(rows), precision: *precision, scale: *scale }
            }
            SqlType::Bytea => Values::Bytea { data: Vec::new(), ends: Vec::with_capacity(rows) },
            SqlType::Date => Values::Date(Vec::with_capacity(rows)),
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) => {
                let zoned = matches!(ty, SqlType::TimestampTz(_));
                Values::Timestamp {
                    micros: Vec::with_capacity(rows),
                    precision: *p,
                    zoned,
                    recent: RecentDate::default(),
                }
            }
            SqlType::Time(p) => Values::Time { micros: Vec::with_capacity(rows), precision: *p },
            SqlType::Interval => Values::Interval(Vec::with_capacity(rows)),
            SqlType::Uuid => Values::Uuid(Vec::with_capacity(rows)),
            SqlType::Jsonb => Values::Jsonb { data: Vec::new(), ends: Vec::with_capacity(rows) },
            SqlType::Text | SqlType::Varchar(_) => {
                let max_characters = if let SqlType::Varchar(n) = ty { n } else { None };
                Values::Text(Texts::new(rows, max_characters))
            }
            SqlType::Row(_) => {
                let fields = if let DataType::Struct(fields) = field.data_type() { fields.clone() } else { [].into() };
                Values::Row(Box::new(Object::new(&fields, rows)))
            }
            SqlType::Array(item) => {
                let field = match field.data_type() {
                    DataType::List(field) => Arc::clone(field),
                    _ => Arc::new(item.field("item")),
                };
                let item = Box::new(Column::new(&field, rows));
                Values::Array { ends: Vec::with_capacity(rows), item, field }
            }
        };
        Column { ty, rows: 0, validity: NullBufferBuilder::new(rows), values }
    }

    pub(in crate::format) fn len(&self) -> usize {
        self.rows
    }

    /// Drops everything behind row `rows`.
    pub(in crate::format) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.validity.truncate(rows);
        match &mut self.values {
            Values::Boolean(v) => v.truncate(rows),
            Values::SmallInt(v) => v.truncate(rows),
            Values::Integer(v) | Values::Date(v) => v.truncate(rows),
            Values::BigInt(v) | Values::Timestamp { micros: v, .. } | Values::Time { micros: v, .. } => {
                v.truncate(rows)
            }
            Values::Interval(v) => v.truncate(rows),
            Values::Uuid(v) => v.truncate(rows),
            Values::Real(v) => v.truncate(rows),
            Values::Double(v) => v.truncate(rows),
            Values::Numeric { unscaled, .. } => unscaled.truncate(rows),
            Values::Text(texts) => texts.truncate(rows),
            Values::Bytea { data, ends } | Values::Jsonb { data, ends } => {
                ends.truncate(rows);
                data.truncate(ends.last().copied().unwrap_or(0));
            }
            Values::Row(object) => object.truncate(rows),
            Values::Array { ends, item, .. } => {
                ends.truncate(rows);
                item.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
    }

    pub(in crate::format) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(v) => v.push(false),
            Values::SmallInt(v) => v.push(0),
            Values::Integer(v) | Values::Date(v) => v.push(0),
            Values::BigInt(v) | Values::Timestamp { micros: v, .. } | Values::Time { micros: v, .. } => v.push(0),
            Values::Interval(v) => v.push(IntervalMonthDayNano::ZERO),
            Values::Uuid(v) => v.push([0; uuid::BYTES as usize]),
            Values::Real(v) => v.push(0.0),
            Values::Double(v) => v.push(0.0),
            Values::Numeric { unscaled, .. } => unscaled.push(0),
            Values::Text(texts) => texts.push_null(),
            Values::Bytea { data, ends } | Values::Jsonb { data, ends } => ends.push(data.len()),
            Values::Row(object) => object.push_null(),
            Values::Array { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
        }
        self.rows += 1;
        self.validity.append_null();
    }

    /// Reads the value at the scanner's cursor and appends it: the commonest types in their commonest form here, where the
    /// compiler sees all of it at once, and everything else in [`Column::read`], which knows these forms too.
    #[inline(always)]
    pub(super) fn read_common(&mut self, scanner: &mut Scanner) -> Scan<()> {
        let done = match &mut self.values {
            Values::BigInt(v) => scanner.small_integer().map(|small| v.push(small)).is_some(),
            Values::Text(texts) => texts.read_plain(scanner),
            Values::Timestamp { micros, precision, zoned, recent } => {
                let text = scanner.plain_string();
                let value = text.and_then(|text| recent.timestamp(scanner.slice(text), *precision, *zoned).ok());
                text.zip(value)
                    .map(|(text, value)| {
                        scanner.step_behind(text);
                        micros.push(value);
                    })
                    .is_some()
            }
            _ => false,
        };
        if !done {
            return self.read(scanner);
        }
        self.rows += 1;
        self.validity.append_non_null();
        Ok(())
    }

    /// Reads the value at the scanner's cursor and appends it.
    pub(super) fn read(&mut self, scanner: &mut Scanner) -> Scan<()> {
        if scanner.peek() == Some(b'n') {
            scanner.literal("null")?;
            self.push_null();
            return Ok(());
        }
        let ty = &self.ty;
        match &mut self.values {
            Values::BigInt(v) => v.push(number(scanner, ty)?.integer(ty)?),
            Values::Text(texts) => texts.read(scanner, ty)?,
            Values::Timestamp { micros, precision, zoned, recent } => {
                micros.push(datetime_text(scanner, ty, |text| recent.timestamp(text, *precision, *zoned))?);
            }
            Values::Integer(v) => v.push(number(scanner, ty)?.integer(ty)?),
            Values::SmallInt(v) => v.push(number(scanner, ty)?.integer(ty)?),
            Values::Numeric { unscaled, precision, scale } => {
                unscaled.push(numeric_number(scanner, ty)?.numeric(*precision, *scale, ty)?);
            }
            Values::Double(v) => v.push(match special_float(scanner) {
                Some(special) => special,
                None => number(scanner, ty)?.double(ty)?,
            }),
            Values::Real(v) => v.push(match special_float(scanner) {
                Some(special) => special as f32,
                None => number(scanner, ty)?.real(ty)?,
            }),
            Values::Boolean(v) => v.push(boolean(scanner, ty)?),
            Values::Date(v) => v.push(datetime_text(scanner, ty, datetime::date)?),
            Values::Bytea { data, ends } => {
                let text = quoted(scanner, ty)?;
                base64::decode(&plain(scanner, text)?, data).ok_or_else(|| malformed(ty, scanner.slice(text)))?;
                ends.push(data.len());
            }
            Values::Time { micros, precision } => {
                micros.push(datetime_text(scanner, ty, |text| datetime::time_of_day(text, *precision))?);
            }
            Values::Interval(v) => v.push(parsed(scanner, ty, interval::parse)?),
            Values::Uuid(v) => v.push(parsed(scanner, ty, uuid::parse)?),
            Values::Jsonb { data, ends } => {
                data.extend_from_slice(&plain::jsonb_of(scanner.skip_value()?)?);
                ends.push(data.len());
            }
            Values::Row(object) => {
                if scanner.peek() != Some(b'{') {
                    return Err(mismatch(scanner, ty));
                }
                object.read(scanner)?;
            }
            Values::Array { ends, item, .. } => ends.push(elements(scanner, item, ty)?),
        }
        self.rows += 1;
        self.validity.append_non_null();
        Ok(())
    }

    /// The finished column.
    pub(in crate::format) fn finish(mut self, input: Input) -> Result<ArrayRef> {
        let nulls = self.validity.finish();
        Ok(match self.values {
            Values::Boolean(v) => Arc::new(BooleanArray::new(v.into(), nulls)),
            Values::SmallInt(v) => primitive::<Int16Type>(v, nulls)?,
            Values::Integer(v) => primitive::<Int32Type>(v, nulls)?,
            Values::BigInt(v) => primitive::<Int64Type>(v, nulls)?,
            Values::Real(v) => primitive::<Float32Type>(v, nulls)?,
            Values::Double(v) => primitive::<Float64Type>(v, nulls)?,
            Values::Numeric { unscaled, precision, scale } => {
                let array = Decimal128Array::try_new(unscaled.into(), nulls)?;
                Arc::new(array.with_precision_and_scale(precision, scale)?)
            }
            Values::Text(texts) => texts.finish(nulls, input)?,
            Values::Bytea { data, ends } => binary(&data, &ends, nulls.as_ref())?,
            Values::Date(v) => primitive::<Date32Type>(v, nulls)?,
            Values::Time { micros, .. } => primitive::<Time64MicrosecondType>(micros, nulls)?,
            Values::Interval(v) => primitive::<IntervalMonthDayNanoType>(v, nulls)?,
            Values::Uuid(v) => {
                let bytes = Buffer::from(v.as_flattened());
                Arc::new(FixedSizeBinaryArray::try_new(uuid::BYTES, bytes, nulls)?)
            }
            Values::Jsonb { data, ends } => {
                let offsets = OffsetBuffer::from_lengths(lengths(&ends));
                Arc::new(LargeBinaryArray::try_new(offsets, data.into(), nulls)?)
            }
            Values::Timestamp { micros, zoned, .. } => {
                let array = TimestampMicrosecondArray::try_new(micros.into(), nulls)?;
                Arc::new(array.with_timezone_opt(zoned.then_some(UTC)))
            }
            Values::Row(object) => {
                let (fields, columns, rows) = object.finish(input)?;
                Arc::new(StructArray::try_new_with_length(fields, columns, nulls, rows)?)
            }
            Values::Array { ends, item, field } => {
                let mut offsets = Vec::with_capacity(ends.len() + 1);
                offsets.push(0);
                offsets.extend(ends);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(field, offsets, item.finish(input)?, nulls)?)
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef>
where
    ScalarBuffer<T::Native>: From<Vec<T::Native>>,
{
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls)?))
}

fn binary(data: &[u8], ends: &[usize], nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(ends.len());
    let mut start = 0;
    for (row, end) in ends.iter().enumerate() {
        match data.get(start..*end) {
            Some(bytes) if nulls.is_none_or(|nulls| nulls.is_valid(row)) => builder.try_append_value(bytes)?,
            _ => builder.append_null(),
        }
        start = *end;
    }
    Ok(Arc::new(builder.finish()))
}

/// How far each of these is from the one before.
fn lengths(ends: &[usize]) -> impl Iterator<Item = usize> + '_ {
    let starts = std::iter::once(&0).chain(ends);
    ends.iter().zip(starts).map(|(end, start)| end.saturating_sub(*start))
}

/// A string that `parse` reads.
fn parsed<T>(scanner: &mut Scanner, ty: &SqlType, parse: impl Fn(&str) -> Option<T>) -> Scan<T> {
    let text = quoted(scanner, ty)?;
    let text = plain(scanner, text)?;
    std::str::from_utf8(&text).ok().and_then(parse).ok_or_else(|| malformed(ty, &text))
}

fn number<'a>(scanner: &mut Scanner<'a>, ty: &SqlType) -> Scan<Number<'a>> {
    match scanner.peek() {
        Some(b'-' | b'0'..=b'9') => scanner.number(),
        _ => Err(mismatch(scanner, ty)),
    }
}

/// A number, or a string that holds one and nothing else.
fn numeric_number<'a>(scanner: &mut Scanner<'a>, ty: &SqlType) -> Scan<Number<'a>> {
    if scanner.peek() != Some(b'"') {
        return number(scanner, ty);
    }
    let text = scanner.string()?;
    let bytes = scanner.slice(text);
    let mut inner = Scanner::new(bytes);
    match inner.number() {
        Ok(number) if inner.peek().is_none() => Ok(number),
        _ => Err(malformed(ty, bytes)),
    }
}

/// Steps over "NaN", "Infinity" or "-Infinity" if it is next.
fn special_float(scanner: &mut Scanner) -> Option<f64> {
    if scanner.peek() != Some(b'"') {
        return None;
    }
    let specials: [(&[u8], f64); 3] =
        [(b"\"NaN\"", f64::NAN), (b"\"Infinity\"", f64::INFINITY), (b"\"-Infinity\"", f64::NEG_INFINITY)];
    let (text, value) = specials.into_iter().find(|(text, _)| scanner.rest().starts_with(text))?;
    scanner.advance(text.len());
    Some(value)
}

fn boolean(scanner: &mut Scanner, ty: &SqlType) -> Scan<bool> {
    match scanner.peek() {
        Some(b't') => scanner.literal("true").map(|()| true),
        Some(b'f') => scanner.literal("false").map(|()| false),
        _ => Err(mismatch(scanner, ty)),
    }
}

#[inline]
pub(super) fn quoted(scanner: &mut Scanner, ty: &SqlType) -> Scan<Quoted> {
    if scanner.peek() == Some(b'"') { scanner.string() } else { Err(mismatch(scanner, ty)) }
}

/// The string itself, escapes resolved. Allocates for those with escapes: rare in the types that ask for this.
fn plain<'a>(scanner: &Scanner<'a>, text: Quoted) -> Scan<std::borrow::Cow<'a, [u8]>> {
    let raw = scanner.slice(text);
    if !text.escaped {
        return Ok(raw.into());
    }
    let mut out = Vec::with_capacity(raw.len());
    unescape(raw, &mut out)?;
    Ok(out.into())
}

fn datetime_text<T>(
    scanner: &mut Scanner,
    ty: &SqlType,
    parse: impl FnOnce(&[u8]) -> Result<T, datetime::Trouble>,
) -> Scan<T> {
    if let Some(b'-' | b'0'..=b'9') = scanner.peek() {
        return Err(mismatch(scanner, ty).with_hint(
            "Declare the column as bigint to read epoch numbers, and compute the timestamp with to_timestamp.",
        ));
    }
    let text = quoted(scanner, ty)?;
    let text = plain(scanner, text)?;
    parse(&text).map_err(|trouble| trouble.into_failure(ty, &text))
}

/// Reads an array's elements; gives where they end in the item column.
fn elements(scanner: &mut Scanner, item: &mut Column, ty: &SqlType) -> Scan<i32> {
    if !scanner.eat(b'[') {
        return Err(mismatch(scanner, ty));
    }
    scanner.skip_whitespace();
    let first = item.len();
    if !scanner.eat(b']') {
        loop {
            let index = item.len() - first;
            item.read(scanner).map_err(|f| f.in_element(index))?;
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    i32::try_from(item.len()).map_err(|_| {
        Failure::new(SqlState::ConfigurationLimitExceeded, "more than 2147483647 array elements in one chunk")
    })
}

/// A value of another type; if it is not even JSON, that.
#[cold]
pub(super) fn mismatch(scanner: &mut Scanner, expected: &SqlType) -> Box<Failure> {
    found_instead(scanner, &expected.to_string())
}

#[cold]
pub(super) fn found_instead(scanner: &mut Scanner, expected: &str) -> Box<Failure> {
    let kind = match scanner.peek() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "",
        _ => "number",
    };
    match scanner.skip_value() {
        Err(not_json) => not_json,
        Ok(value) => {
            let what = format!("expected {expected}, found {kind} {}", excerpt(value)).replace("  ", " ");
            Failure::new(SqlState::InvalidTextRepresentation, what)
        }
    }
}

/// A string that does not say what its type needs.
#[cold]
fn malformed(ty: &SqlType, text: &[u8]) -> Box<Failure> {
    let what = format!("invalid input syntax for type {ty}: \"{}\"", excerpt(text));
    Failure::new(SqlState::InvalidTextRepresentation, what)
}
