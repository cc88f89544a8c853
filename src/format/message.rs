//! A message's value, its key, and what its connector knows of it become one row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::{BadMessage, Decoded, Decoder, RawChunk, Waits, Waker};
use crate::clock::Micros;
use crate::error::{Error, Result, SqlState};

/// Where a row's column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A column of the value's decoder.
    Value(usize),
    /// A column of the key's decoder.
    Key(usize),
    /// A column of [`Sides::columns`].
    Side(usize),
}

/// What a connector knows of each message of a chunk.
pub trait Sides: Send + Sync {
    /// Columns with a value for each message, also for those that are no row.
    fn columns(&self, chunk: &RawChunk) -> Result<Vec<ArrayRef>>;

    /// The messages' keys, for a decoder of their own. Asked only if there is one.
    fn keys(&self, _chunk: &RawChunk) -> Result<ArrayRef> {
        Err(Error::internal("a connector without keys was asked for them"))
    }
}

/// [`Sides`] of chunks whose reader has collected them: the columns of [`RawChunk::side`].
pub struct Collected {
    /// The column that holds the keys, if there is one: bytes.
    pub key: Option<usize>,
}

impl Sides for Collected {
    fn columns(&self, chunk: &RawChunk) -> Result<Vec<ArrayRef>> {
        chunk.side.as_ref().map(|side| side.columns().to_vec()).ok_or_else(missing)
    }

    fn keys(&self, chunk: &RawChunk) -> Result<ArrayRef> {
        let side = chunk.side.as_ref().ok_or_else(missing)?;
        self.key.and_then(|key| side.columns().get(key)).cloned().ok_or_else(missing)
    }
}

fn missing() -> Error {
    Error::internal("a chunk came without the metadata that is wanted of it")
}

/// Decodes whole messages.
///
/// Of a format that only inserts: a message is a row if its value is one and neither value nor key is bad. The columns of a
/// missing key are null. Of upserts, a message without a value is a row too, with weight -1 and nulls beside its key; one
/// without a key is bad.
pub struct MessageDecoder {
    pub schema: SchemaRef,
    pub value: Arc<dyn Decoder>,
    pub key: Option<Arc<dyn Decoder>>,
    pub sides: Box<dyn Sides>,
    /// For each column of `schema`.
    pub origins: Vec<Origin>,
    /// Messages replace each other by key.
    pub upserts: bool,
}

impl MessageDecoder {
    /// Those of the two decoders that wait.
    fn waiting(&self) -> impl Iterator<Item = &dyn Waits> {
        std::iter::once(&self.value).chain(&self.key).filter_map(|decoder| decoder.waits())
    }
}

impl Waits for MessageDecoder {
    fn prepare(&self, chunk: &RawChunk, now: Micros, wake: &Waker) -> Result<bool> {
        if let Some(value) = self.value.waits()
            && !value.prepare(chunk, now, wake)?
        {
            return Ok(false);
        }
        match self.key.as_ref().and_then(|key| key.waits()) {
            Some(key) if !chunk.is_empty() => key.prepare(&key_chunk(&self.sides.keys(chunk)?, chunk)?, now, wake),
            _ => Ok(true),
        }
    }

    fn wake_at(&self) -> Option<Micros> {
        self.waiting().filter_map(|decoder| decoder.wake_at()).min()
    }

    fn trouble(&self) -> Option<Error> {
        self.waiting().find_map(|decoder| decoder.trouble())
    }
}

impl Decoder for MessageDecoder {
    fn waits(&self) -> Option<&dyn Waits> {
        self.waiting().next().map(|_| self as &dyn Waits)
    }

    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        if chunk.is_empty() {
            let rows = RecordBatch::new_empty(Arc::clone(&self.schema));
            return Ok(Decoded { rows, weights: None, messages: None, bad: Vec::new() });
        }
        let Decoded { rows: values, weights: None, messages: None, mut bad } = self.value.decode(chunk)? else {
            return Err(Error::internal("a changelog format beside keys or metadata"));
        };
        let value_rows = rows_of(chunk.len(), if self.value.takes_nulls() { &[] } else { &chunk.nulls }, &bad);
        let (keys, key_rows) = match &self.key {
            None => (None, Vec::new()),
            Some(decoder) => {
                let keys = key_chunk(&self.sides.keys(chunk)?, chunk)?;
                let decoded = decoder.decode(&keys)?;
                let rows = rows_of(chunk.len(), if decoder.takes_nulls() { &[] } else { &keys.nulls }, &decoded.bad);
                let bad_keys = if self.upserts { with_missing(decoded.bad, &keys.nulls) } else { decoded.bad };
                merge(&mut bad, bad_keys);
                (Some(decoded.rows), rows)
            }
        };
        let is_bad = |message: usize| bad.binary_search_by_key(&message, |b| b.index).is_ok();
        let has_row = |message: usize| self.upserts || value_rows.get(message).is_some_and(Option::is_some);
        let kept = (0..chunk.len()).filter(|message| has_row(*message) && !is_bad(*message)).collect::<Vec<_>>();
        let tombstones = self.upserts && !chunk.nulls.is_empty();
        let sides = self.sides.columns(chunk)?;
        let picked = |rows: &[Option<u32>]| -> UInt32Array {
            kept.iter().map(|message| rows.get(*message).copied().flatten()).collect()
        };
        let of_value = (tombstones || kept.len() != values.num_rows()).then(|| picked(&value_rows));
        let of_key = keys.is_some().then(|| picked(&key_rows));
        let of_side = (kept.len() != chunk.len()).then(|| kept.iter().map(|m| *m as u32).collect::<UInt32Array>());
        let column = |origin: &Origin| {
            let (column, rows) = match *origin {
                Origin::Value(index) => (values.columns().get(index), &of_value),
                Origin::Key(index) => (keys.as_ref().and_then(|keys| keys.columns().get(index)), &of_key),
                Origin::Side(index) => (sides.get(index), &of_side),
            };
            let column = column.ok_or_else(missing)?;
            match rows {
                Some(rows) => Ok(take(column, rows, None)?),
                None => Ok(Arc::clone(column)),
            }
        };
        let columns = self.origins.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let weight = |message: &usize| if chunk.nulls.binary_search(&(*message as u32)).is_ok() { -1 } else { 1 };
        let weights = tombstones.then(|| kept.iter().map(weight).collect());
        let messages = Some(kept.into_iter().map(|message| message as u32).collect());
        Ok(Decoded { rows, weights, messages, bad })
    }
}

/// For each message the row that it became: the good ones that are not `nulls` became rows, in order.
fn rows_of(messages: usize, nulls: &[u32], bad: &[BadMessage]) -> Vec<Option<u32>> {
    let (mut nulls, mut bad) = (nulls.iter().peekable(), bad.iter().peekable());
    let mut next = 0;
    let row = |message: usize| {
        let null = nulls.next_if(|null| **null as usize == message).is_some();
        let bad = bad.next_if(|bad| bad.index == message).is_some();
        (!null && !bad).then(|| {
            next += 1;
            next - 1
        })
    };
    (0..messages).map(row).collect()
}

/// The keys as messages.
fn key_chunk(keys: &ArrayRef, chunk: &RawChunk) -> Result<RawChunk> {
    let keys = keys.as_binary_view_opt().ok_or_else(missing)?;
    let mut data = Vec::new();
    let (mut ends, mut nulls) = (Vec::with_capacity(keys.len()), Vec::new());
    for (message, key) in keys.iter().enumerate() {
        match key {
            Some(key) => data.extend_from_slice(key),
            None => nulls.push(message as u32),
        }
        ends.push(data.len() as u32);
    }
    Ok(RawChunk { data: Bytes::from(data), ends, offsets: chunk.offsets.clone(), nulls, ..RawChunk::default() })
}

/// The bad keys, and those that are missing though a row is named by them.
fn with_missing(mut bad: Vec<BadMessage>, missing: &[u32]) -> Vec<BadMessage> {
    let no_key = || {
        Error::new(SqlState::BadCopyFileFormat, "the message has none")
            .with_hint("Messages without a key are no upserts: read the topic with 'connector' = 'kafka'.")
    };
    for index in missing.iter().map(|index| *index as usize) {
        match bad.binary_search_by_key(&index, |b| b.index) {
            Ok(_) => {}
            Err(place) => bad.insert(place, BadMessage { index, error: no_key() }),
        }
    }
    bad
}

/// Adds what is bad of the keys; of a message whose value is bad as well, the value's error counts.
fn merge(bad: &mut Vec<BadMessage>, keys: Vec<BadMessage>) {
    for key in keys {
        if let Err(place) = bad.binary_search_by_key(&key.index, |b| b.index) {
            bad.insert(place, BadMessage { index: key.index, error: key.error.context("key") });
        }
    }
}

/// About the bytes that a chunk's side holds of its own rows (a slice shares its buffers).
pub fn side_bytes(side: &RecordBatch) -> usize {
    side.columns().iter().map(|column| array_bytes(column)).sum()
}

fn array_bytes(array: &dyn Array) -> usize {
    const VALUE: usize = 16;
    let own = VALUE * array.len();
    if let Some(texts) = array.as_string_view_opt() {
        own + texts.lengths().map(|length| length as usize).sum::<usize>()
    } else if let Some(bytes) = array.as_binary_view_opt() {
        own + bytes.lengths().map(|length| length as usize).sum::<usize>()
    } else if let Some(list) = array.as_list_opt::<i32>() {
        let first = list.value_offsets().first().copied().unwrap_or(0) as usize;
        let end = list.value_offsets().last().copied().unwrap_or(0) as usize;
        own + array_bytes(&list.values().slice(first, end - first))
    } else if let Some(row) = array.as_struct_opt() {
        own + row.columns().iter().map(|column| array_bytes(column)).sum::<usize>()
    } else {
        own
    }
}
