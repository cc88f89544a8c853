//! Keys: our own order-preserving, versioned encoding of key columns, in one contiguous buffer.
//!
//! Comparing two encoded keys byte by byte orders them as SQL orders their columns, ascending with nulls last. Version 1:
//! each column is a tag, [`PRESENT`] or [`NULL`], and then
//!
//! | type | bytes behind the tag |
//! |---|---|
//! | boolean | 1: 0 or 1 |
//! | smallint, integer, bigint, date, time, timestamp, numeric | the integer big-endian, sign bit flipped |
//! | interval | its length in nanoseconds (a month is 30 days, a day 24 hours), as an integer of 16 bytes |
//! | uuid | its 16 bytes |
//! | real, double precision | the bits big-endian, all flipped if negative, else the sign bit; -0 is 0, every NaN the greatest |
//! | text, bytea, jsonb | the bytes, each 0 written as 0 FF, closed by 0 0 |
//!
//! Fixed-width columns take their width even when null (zeroes), so that a key without text has one stride for all rows.
//! A numeric's scale is its column's, not the key's. Of intervals of one length a key gives back the one with the most
//! months, then days: SQL holds them for equal. An
//! array is its items, each as a column, closed by 0; a row its fields, as columns.
//!
//! 1. [`KeyCodec::encode`] (`encode`) writes columns into [`Keys`].
//! 2. [`fn@hash`] and [`key_group`] deal encoded keys into key groups; [`shard_of`] groups to shards.
//! 3. [`KeyCodec::decode`] (`decode`) reads columns back.
//! 4. [`nested`]: arrays and rows, both ways.
//! 5. [`OrderCodec`] (`order`) writes sort keys: columns descending or ascending, nulls first or last.

mod decode;
mod encode;
mod hash;
mod nested;
mod order;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

use crate::error::{Error, Result};
use crate::types::{SqlType, uuid};

pub use decode::leading_time;
pub use encode::{TIME_WIDTH, encode_time};
pub use hash::{KEY_GROUPS, groups_of, hash, key_group, shard_of, single_group};
pub use order::{Direction, OrderCodec, Prefix, SortKeys};

/// Of both the encoding and the hash.
pub const KEY_VERSION: u8 = 1;

/// In front of a value.
const PRESENT: u8 = 1;
/// In front of (or instead of) nothing: null sorts last.
const NULL: u8 = 2;

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal,
    Date,
    Timestamp,
    Time,
    Interval,
    Uuid,
    Text,
    Bytes,
    Jsonb,
    Array,
    Row,
}

impl Form {
    fn of(data_type: &DataType) -> Option<Form> {
        Some(match data_type {
            DataType::Boolean => Form::Boolean,
            DataType::Int16 => Form::Int16,
            DataType::Int32 => Form::Int32,
            DataType::Int64 => Form::Int64,
            DataType::Float32 => Form::Float32,
            DataType::Float64 => Form::Float64,
            DataType::Decimal128(..) => Form::Decimal,
            DataType::Date32 => Form::Date,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Form::Timestamp,
            DataType::Time64(TimeUnit::Microsecond) => Form::Time,
            DataType::Interval(IntervalUnit::MonthDayNano) => Form::Interval,
            DataType::FixedSizeBinary(uuid::BYTES) => Form::Uuid,
            DataType::Utf8View => Form::Text,
            DataType::BinaryView => Form::Bytes,
            DataType::LargeBinary => Form::Jsonb,
            DataType::List(item) => Form::of(item.data_type()).map(|_| Form::Array)?,
            DataType::Struct(fields) => {
                fields.iter().all(|field| Form::of(field.data_type()).is_some()).then_some(Form::Row)?
            }
            _ => return None,
        })
    }

    /// Bytes with the tag, if every value takes as many.
    fn width(self) -> Option<usize> {
        Some(match self {
            Form::Boolean => 2,
            Form::Int16 => 3,
            Form::Int32 | Form::Float32 | Form::Date => 5,
            Form::Int64 | Form::Float64 | Form::Timestamp | Form::Time => 9,
            Form::Decimal | Form::Interval | Form::Uuid => 17,
            Form::Text | Form::Bytes | Form::Jsonb | Form::Array | Form::Row => return None,
        })
    }
}

/// Encodes and decodes keys of certain column types.
#[derive(Debug, Clone)]
pub struct KeyCodec {
    columns: Vec<(Form, DataType)>,
    stride: Option<usize>,
}

impl KeyCodec {
    /// # Errors
    /// `0A000` for a type that cannot be a key.
    pub fn new<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Result<Self> {
        let columns = types
            .into_iter()
            .map(|t| match Form::of(t) {
                Some(form) => Ok((form, t.clone())),
                None => Err(not_a_key(t)),
            })
            .collect::<Result<Vec<_>>>()?;
        let stride = columns.iter().map(|(form, _)| form.width()).sum();
        Ok(KeyCodec { columns, stride })
    }

    /// Whether a key tells all of its values: not of floats (-0 is 0) and intervals (a month is 30 days).
    pub fn is_exact(&self) -> bool {
        self.columns.iter().all(|(_, data_type)| is_exact(data_type))
    }

    /// Bytes of every key, if all columns are of fixed width.
    pub fn stride(&self) -> Option<usize> {
        self.stride
    }
}

fn is_exact(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 | DataType::Interval(_) => false,
        DataType::List(item) => is_exact(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_exact(field.data_type())),
        _ => true,
    }
}

fn not_a_key(data_type: &DataType) -> Error {
    let name = SqlType::from_arrow(data_type);
    Error::unsupported(
        format!("values of type {name} cannot be grouped, compared or distributed"),
        "Use its parts, or cast it to text.",
    )
}

/// Encoded keys, one after the other in one buffer.
#[derive(Debug, Clone)]
pub struct Keys {
    data: Vec<u8>,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Fixed {
        stride: usize,
        len: usize,
    },
    /// Start and length of each.
    Variable {
        spans: Vec<(usize, u32)>,
        dead_bytes: usize,
    },
}

/// Bytes that removed keys may leave behind in a buffer before it is worth moving the living ones together.
const DEAD_BYTES_TOLERATED: usize = 64 << 10;

impl Keys {
    /// `stride`: bytes of every key, if they are all alike.
    pub fn new(stride: Option<usize>) -> Self {
        let layout = match stride {
            Some(stride) => Layout::Fixed { stride, len: 0 },
            None => Layout::Variable { spans: Vec::new(), dead_bytes: 0 },
        };
        Keys { data: Vec::new(), layout }
    }

    pub fn len(&self) -> usize {
        match &self.layout {
            Layout::Fixed { len, .. } => *len,
            Layout::Variable { spans, .. } => spans.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key at `index`; empty if there is none.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let range = match &self.layout {
            Layout::Fixed { stride, .. } => index * stride..(index + 1) * stride,
            Layout::Variable { spans, .. } => match spans.get(index) {
                Some((start, length)) => *start..*start + *length as usize,
                None => 0..0,
            },
        };
        self.data.get(range).unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Appends a key. With a stride, it must have that length.
    #[inline]
    pub fn push(&mut self, key: &[u8]) {
        match &mut self.layout {
            Layout::Fixed { stride, len } => {
                debug_assert_eq!(key.len(), *stride);
                *len += 1;
            }
            Layout::Variable { spans, .. } => spans.push((self.data.len(), key.len() as u32)),
        }
        self.data.extend_from_slice(key);
    }

    /// Puts another key at `index`, where one was removed.
    pub fn replace(&mut self, index: usize, key: &[u8]) {
        match &mut self.layout {
            Layout::Fixed { stride, .. } => {
                let start = index * *stride;
                if let Some(place) = self.data.get_mut(start..start + *stride)
                    && place.len() == key.len()
                {
                    place.copy_from_slice(key);
                }
            }
            Layout::Variable { spans, .. } => {
                if let Some(span) = spans.get_mut(index) {
                    *span = (self.data.len(), key.len() as u32);
                    self.data.extend_from_slice(key);
                }
            }
        }
    }

    /// Forgets the bytes of the key at `index`; its place remains.
    pub fn remove(&mut self, index: usize) {
        let Layout::Variable { spans, dead_bytes } = &mut self.layout else {
            return;
        };
        if let Some(span) = spans.get_mut(index) {
            *dead_bytes += span.1 as usize;
            span.1 = 0;
        }
        if *dead_bytes > DEAD_BYTES_TOLERATED.max(self.data.len() / 2) {
            let mut together = Vec::with_capacity(self.data.len() - *dead_bytes);
            for (start, length) in spans.iter_mut() {
                let key = self.data.get(*start..*start + *length as usize).unwrap_or_default();
                *start = together.len();
                together.extend_from_slice(key);
            }
            self.data = together;
            *dead_bytes = 0;
        }
    }

    pub fn clear(&mut self) {
        self.data.clear();
        match &mut self.layout {
            Layout::Fixed { len, .. } => *len = 0,
            Layout::Variable { spans, dead_bytes } => {
                spans.clear();
                *dead_bytes = 0;
            }
        }
    }

    /// Room for keys of the same layout, with nothing in it.
    pub fn emptied(&self) -> Keys {
        Keys::new(match &self.layout {
            Layout::Fixed { stride, .. } => Some(*stride),
            Layout::Variable { .. } => None,
        })
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        let spans = match &self.layout {
            Layout::Fixed { .. } => 0,
            Layout::Variable { spans, .. } => spans.capacity() * size_of::<(usize, u32)>(),
        };
        self.data.capacity() + spans
    }

    /// The hash of each key, into `hashes`.
    pub fn hash_into(&self, hashes: &mut Vec<u64>) {
        hashes.clear();
        match &self.layout {
            Layout::Fixed { stride, .. } if *stride > 0 => hashes.extend(self.data.chunks_exact(*stride).map(hash)),
            _ => hashes.extend(self.iter().map(hash)),
        }
    }
}

#[cfg(test)]
mod tests;
