//! Columns to keys, a column at a time.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::{Form, KeyCodec, Keys, Layout, NULL, PRESENT, nested};
use crate::error::{Error, Result};
use crate::types::interval;

/// Bytes of an encoded time, which is what keys that are scanned in time order start with.
pub const TIME_WIDTH: usize = 9;

/// Bytes that close a text.
const TEXT_END: [u8; 2] = [0, 0];
/// A zero byte within a text.
const TEXT_ZERO: [u8; 2] = [0, 0xff];

pub(super) fn int16(v: i16) -> [u8; 2] {
    (v ^ i16::MIN).to_be_bytes()
}
pub(super) fn int32(v: i32) -> [u8; 4] {
    (v ^ i32::MIN).to_be_bytes()
}
pub(super) fn int64(v: i64) -> [u8; 8] {
    (v ^ i64::MIN).to_be_bytes()
}
pub(super) fn int128(v: i128) -> [u8; 16] {
    (v ^ i128::MIN).to_be_bytes()
}
pub(super) fn float32(v: f32) -> [u8; 4] {
    let bits = if v.is_nan() { f32::NAN.to_bits() & !(1 << 31) } else { (v + 0.0).to_bits() };
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }).to_be_bytes()
}
pub(super) fn float64(v: f64) -> [u8; 8] {
    let bits = if v.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { (v + 0.0).to_bits() };
    (if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }).to_be_bytes()
}

/// One time as keys start with it.
pub fn encode_time(time: i64) -> [u8; TIME_WIDTH] {
    let mut bytes = [PRESENT; TIME_WIDTH];
    put(&mut bytes, int64(time));
    bytes
}

impl KeyCodec {
    /// Writes the keys of `rows` rows into `keys`, in place of what was there.
    ///
    /// # Errors
    /// If the columns are not of this codec's types.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize, keys: &mut Keys) -> Result<()> {
        self.encode_behind(None, columns, rows, keys)
    }

    /// As [`KeyCodec::encode`], each key starting with a time in microseconds (a window's end), encoded as a timestamp
    /// column would be.
    pub fn encode_timed(&self, times: &[i64], columns: &[ArrayRef], keys: &mut Keys) -> Result<()> {
        self.encode_behind(Some(times), columns, times.len(), keys)
    }

    fn encode_behind(&self, times: Option<&[i64]>, columns: &[ArrayRef], rows: usize, keys: &mut Keys) -> Result<()> {
        let fits =
            |(array, (_, data_type)): (&ArrayRef, &(Form, _))| array.data_type() == data_type && array.len() == rows;
        if columns.len() != self.columns.len() || !columns.iter().zip(&self.columns).all(fits) {
            return Err(Error::internal("key columns are not of the declared types"));
        }
        let time_width = if times.is_some() { TIME_WIDTH } else { 0 };
        match self.stride {
            Some(stride) => {
                let stride = stride + time_width;
                keys.data.clear();
                keys.data.resize(rows * stride, 0);
                keys.layout = Layout::Fixed { stride, len: rows };
                if stride == 0 {
                    return Ok(());
                }
                let mut places = Strided { data: &mut keys.data, stride, at: 0 };
                if let Some(times) = times {
                    places.fill(None, times.iter().map(|t| int64(*t)));
                }
                for (array, (form, _)) in columns.iter().zip(&self.columns) {
                    write_fixed(&mut places, array, *form);
                }
            }
            None => {
                let nested = self.nested(columns)?;
                let lengths = self.lengths(time_width, columns, &nested, rows);
                let mut total = 0;
                let spans: Vec<(usize, u32)> = lengths
                    .iter()
                    .map(|length| {
                        total += *length;
                        u32::try_from(*length).map(|length32| (total - *length, length32))
                    })
                    .collect::<Result<_, _>>()
                    .map_err(|_| Error::internal("a key of more than 4 GiB"))?;
                keys.data.clear();
                keys.data.resize(total, 0);
                let starts = spans.iter().map(|(start, _)| *start).collect();
                keys.layout = Layout::Variable { spans, dead_bytes: 0 };
                let mut places = Scattered { data: &mut keys.data, cursors: starts };
                if let Some(times) = times {
                    places.fill(None, times.iter().map(|t| int64(*t)));
                }
                for ((array, (form, _)), nested) in columns.iter().zip(&self.columns).zip(&nested) {
                    match form {
                        Form::Array | Form::Row => places.copy(nested),
                        Form::Text => write_text(&mut places, array.nulls(), array.as_string_view().bytes_iter()),
                        Form::Bytes => write_text(&mut places, array.nulls(), array.as_binary_view().bytes_iter()),
                        Form::Jsonb => write_text(&mut places, array.nulls(), values_of(array)),
                        fixed => write_fixed(&mut places, array, *fixed),
                    }
                }
            }
        }
        Ok(())
    }

    /// For each column that is an array or a row, its encoded values.
    fn nested(&self, columns: &[ArrayRef]) -> Result<Vec<Option<Keys>>> {
        let encode = |(array, (form, _)): (&ArrayRef, &(Form, _))| match form {
            Form::Array | Form::Row => nested::encode(array).map(Some),
            _ => Ok(None),
        };
        columns.iter().zip(&self.columns).map(encode).collect()
    }

    /// The length of each row's key.
    fn lengths(&self, time_width: usize, columns: &[ArrayRef], nested: &[Option<Keys>], rows: usize) -> Vec<usize> {
        let fixed: usize = self.columns.iter().filter_map(|(form, _)| form.width()).sum();
        let mut lengths = vec![fixed + time_width; rows];
        for keys in nested.iter().flatten() {
            lengths.iter_mut().enumerate().for_each(|(row, length)| *length += keys.get(row).len());
        }
        for (array, (form, _)) in columns.iter().zip(&self.columns) {
            match form {
                Form::Text => add_lengths(&mut lengths, array.nulls(), array.as_string_view().bytes_iter()),
                Form::Bytes => add_lengths(&mut lengths, array.nulls(), array.as_binary_view().bytes_iter()),
                Form::Jsonb => add_lengths(&mut lengths, array.nulls(), values_of(array)),
                _ => {}
            }
        }
        lengths
    }
}

/// Where the next column's values go, in each row's key.
trait Places {
    /// One value (or its absence) in each row; places move behind it.
    fn fill<const W: usize>(&mut self, nulls: Option<&NullBuffer>, values: impl Iterator<Item = [u8; W]>);
}

/// All keys are of one length.
struct Strided<'a> {
    data: &'a mut [u8],
    stride: usize,
    at: usize,
}

impl Places for Strided<'_> {
    #[inline]
    fn fill<const W: usize>(&mut self, nulls: Option<&NullBuffer>, values: impl Iterator<Item = [u8; W]>) {
        let at = self.at;
        let cells = self.data.chunks_exact_mut(self.stride).filter_map(|key| key.get_mut(at..at + W + 1));
        match nulls {
            None => cells.zip(values).for_each(|(cell, value)| put(cell, value)),
            Some(nulls) => {
                cells.zip(values).zip(nulls.iter()).for_each(|((cell, value), valid)| put_nullable(cell, value, valid));
            }
        }
        self.at += W + 1;
    }
}

/// Each key has its own length.
struct Scattered<'a> {
    data: &'a mut [u8],
    cursors: Vec<usize>,
}

impl Places for Scattered<'_> {
    fn fill<const W: usize>(&mut self, nulls: Option<&NullBuffer>, values: impl Iterator<Item = [u8; W]>) {
        for (row, (cursor, value)) in self.cursors.iter_mut().zip(values).enumerate() {
            if let Some(cell) = self.data.get_mut(*cursor..*cursor + W + 1) {
                put_nullable(cell, value, nulls.is_none_or(|n| n.is_valid(row)));
            }
            *cursor += W + 1;
        }
    }
}

impl Scattered<'_> {
    /// Values that are encoded already, one in each row.
    fn copy(&mut self, values: &Option<Keys>) {
        let Some(values) = values else { return };
        for (row, cursor) in self.cursors.iter_mut().enumerate() {
            let value = values.get(row);
            if let Some(place) = self.data.get_mut(*cursor..*cursor + value.len()) {
                place.copy_from_slice(value);
            }
            *cursor += value.len();
        }
    }
}

#[inline]
fn put<const W: usize>(cell: &mut [u8], value: [u8; W]) {
    if let [tag, payload @ ..] = cell
        && let Some(payload) = payload.first_chunk_mut::<W>()
    {
        *tag = PRESENT;
        *payload = value;
    }
}

#[inline]
fn put_nullable<const W: usize>(cell: &mut [u8], value: [u8; W], valid: bool) {
    put(cell, if valid { value } else { [0; W] });
    if let (false, Some(tag)) = (valid, cell.first_mut()) {
        *tag = NULL;
    }
}

fn write_fixed(places: &mut impl Places, array: &ArrayRef, form: Form) {
    macro_rules! primitive {
        ($t:ty, $encode:expr) => {
            places.fill(array.nulls(), array.as_primitive::<$t>().values().iter().map(|v| $encode(*v)))
        };
    }
    match form {
        Form::Boolean => places.fill(array.nulls(), array.as_boolean().values().iter().map(|v| [u8::from(v)])),
        Form::Int16 => primitive!(Int16Type, int16),
        Form::Int32 => primitive!(Int32Type, int32),
        Form::Int64 => primitive!(Int64Type, int64),
        Form::Float32 => primitive!(Float32Type, float32),
        Form::Float64 => primitive!(Float64Type, float64),
        Form::Decimal => primitive!(Decimal128Type, int128),
        Form::Date => primitive!(Date32Type, int32),
        Form::Timestamp => primitive!(TimestampMicrosecondType, int64),
        Form::Time => primitive!(Time64MicrosecondType, int64),
        Form::Interval => primitive!(IntervalMonthDayNanoType, |v| int128(interval::length(v))),
        Form::Uuid => {
            let (values, _) = array.as_fixed_size_binary().value_data().as_chunks::<16>();
            places.fill(array.nulls(), values.iter().copied());
        }
        // Not of fixed width: written elsewhere.
        Form::Text | Form::Bytes | Form::Jsonb | Form::Array | Form::Row => {}
    }
}

/// Of each row, whatever lies under a null.
fn values_of(array: &ArrayRef) -> impl Iterator<Item = &[u8]> {
    let values = array.as_binary::<i64>();
    (0..values.len()).map(|row| values.value(row))
}

fn add_lengths<'a>(lengths: &mut [usize], nulls: Option<&NullBuffer>, values: impl Iterator<Item = &'a [u8]>) {
    for (row, (length, value)) in lengths.iter_mut().zip(values).enumerate() {
        *length += match nulls.is_none_or(|n| n.is_valid(row)) {
            true => 1 + value.len() + value.iter().filter(|b| **b == 0).count() + TEXT_END.len(),
            false => 1,
        };
    }
}

fn write_text<'a>(places: &mut Scattered<'_>, nulls: Option<&NullBuffer>, values: impl Iterator<Item = &'a [u8]>) {
    for (row, (cursor, value)) in places.cursors.iter_mut().zip(values).enumerate() {
        let mut append = |bytes: &[u8]| {
            if let Some(place) = places.data.get_mut(*cursor..*cursor + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            *cursor += bytes.len();
        };
        if !nulls.is_none_or(|n| n.is_valid(row)) {
            append(&[NULL]);
            continue;
        }
        append(&[PRESENT]);
        for (i, part) in value.split(|b| *b == 0).enumerate() {
            if i > 0 {
                append(&TEXT_ZERO);
            }
            append(part);
        }
        append(&TEXT_END);
    }
}
