//! string_agg and array_agg: all values of a group, in an order that does not depend on how they came: that of ORDER BY,
//! and then their own.
//!
//! A value is kept as the key that sorts it: the columns of ORDER BY, then the value itself, from which it is read back.
//! Where a key does not tell all of a value ([`KeyCodec::is_exact`]), the value stands behind its key once more. Last come
//! four bytes that say where the value begins.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::column::{Accumulated, Kind};
use super::domain::Strings;
use super::values::ValuesCell;
use super::{Accumulator, Input};
use crate::change::bytes::{Reader, corrupt};
use crate::change::key::{Direction, KeyCodec, Keys, OrderCodec};
use crate::change::row::{decode_rows, encode_rows};
use crate::error::{Error, Result, SqlState};
use crate::plan::AggregateCall;
use crate::plan::functions::bounded::MAX_VALUE_BYTES;

/// What the answers that are made at once may hold together, those of a chunk's groups: each alone may be
/// [`MAX_VALUE_BYTES`] long, but not thousands of them.
const MAX_ANSWERS_BYTES: usize = 1 << 30;

/// Values that are put together at once: as many as the offsets of Arrow's lists can count.
const MAX_VALUES: usize = i32::MAX as usize;

/// Bytes behind a kept value that say where it begins.
const PLACE_BYTES: usize = 4;

struct Collect {
    answer: Answer,
    distinct: bool,
    /// Of the columns of ORDER BY.
    directions: Vec<Direction>,
    /// One column: the values.
    schema: SchemaRef,
    codec: KeyCodec,
}

enum Answer {
    Text { separator: String },
    Array { item: FieldRef },
}

/// The accumulator of string_agg or, if `answer` is an array, of array_agg.
///
/// # Errors
/// `0A000` for values that have no order.
pub fn create(call: &AggregateCall, values: &DataType, answer: &DataType) -> Result<Box<dyn Accumulator>> {
    let answer = match answer {
        DataType::List(item) => Answer::Array { item: Arc::clone(item) },
        _ => Answer::Text { separator: call.separator.clone().unwrap_or_default() },
    };
    Ok(Accumulated::boxed(Collect {
        answer,
        distinct: call.distinct,
        directions: call.order.iter().map(|by| by.direction).collect(),
        schema: Arc::new(Schema::new(vec![Field::new("value", values.clone(), true)])),
        codec: KeyCodec::new([values])?,
    }))
}

/// A kept value cut into its key and itself.
fn cut(kept: &[u8]) -> Result<(&[u8], &[u8])> {
    let (kept, place) = kept.split_last_chunk::<PLACE_BYTES>().ok_or_else(corrupt)?;
    kept.split_at_checked(u32::from_le_bytes(*place) as usize).ok_or_else(corrupt)
}

/// The values of several answers, one behind the other.
struct Collected<'a> {
    values: Vec<&'a [u8]>,
    /// How many of them each answer has.
    lengths: Vec<usize>,
}

impl Collect {
    fn name(&self) -> &'static str {
        match self.answer {
            Answer::Text { .. } => "string_agg",
            Answer::Array { .. } => "array_agg",
        }
    }

    /// The values of each cell, in order, as often as they are there. What their answers would hold is reckoned before
    /// anything is made of them.
    ///
    /// # Errors
    /// 54000 if an answer would be too large, or all together.
    fn collect<'a>(&self, cells: impl Iterator<Item = &'a ValuesCell<Strings>>) -> Result<Collected<'a>> {
        let mut collected = Collected { values: Vec::new(), lengths: Vec::new() };
        let separator = match &self.answer {
            Answer::Text { separator } => separator.len(),
            Answer::Array { .. } => 0,
        };
        let mut all_bytes = 0_usize;
        for cell in cells {
            let start = collected.values.len();
            let mut bytes = 0_usize;
            let mut last: Option<&[u8]> = None;
            for (kept, count) in cell.iter().filter(|(_, count)| *count > 0) {
                let (key, value) = cut(kept)?;
                // ORDER BY of DISTINCT values names nothing but them.
                let peer = if self.codec.is_exact() { value } else { key };
                let times = match self.distinct {
                    true => usize::from(last.replace(peer) != Some(peer)),
                    false => usize::try_from(count).unwrap_or(usize::MAX),
                };
                // A kept value is not shorter than what it stands for.
                bytes = bytes.saturating_add((value.len() + separator).saturating_mul(times));
                if bytes > MAX_VALUE_BYTES {
                    let message =
                        format!("result of {} would be larger than {} MiB", self.name(), MAX_VALUE_BYTES >> 20);
                    return Err(too_large(&message));
                }
                if times > MAX_VALUES - collected.values.len() || all_bytes.saturating_add(bytes) > MAX_ANSWERS_BYTES {
                    let most = MAX_ANSWERS_BYTES >> 20;
                    let message =
                        format!("results of {} that change together would hold more than {most} MiB", self.name());
                    return Err(too_large(&message));
                }
                collected.values.extend(std::iter::repeat_n(value, times));
            }
            all_bytes += bytes;
            collected.lengths.push(collected.values.len() - start);
        }
        Ok(collected)
    }

    fn column(&self, values: &[&[u8]]) -> Result<ArrayRef> {
        let values = values.iter().copied();
        let columns = match self.codec.is_exact() {
            true => self.codec.decode(values)?,
            false => decode_rows(&self.schema, values)?.columns().to_vec(),
        };
        columns.into_iter().next().ok_or_else(corrupt)
    }
}

fn too_large(message: &str) -> Error {
    Error::new(SqlState::ProgramLimitExceeded, message)
        .with_hint("Group by more columns, or leave values out with FILTER (WHERE ...).")
}

/// Each answer's texts with the separator between them; of none it is null.
fn joined(texts: &ArrayRef, lengths: &[usize], separator: &str) -> Result<ArrayRef> {
    let texts = texts.as_string_view_opt().ok_or_else(|| Error::internal("string_agg collects texts"))?;
    let mut texts = texts.iter();
    let mut answers = StringViewBuilder::with_capacity(lengths.len());
    for length in lengths {
        let mut answer = String::new();
        for (place, text) in texts.by_ref().take(*length).enumerate() {
            answer.push_str(if place > 0 { separator } else { "" });
            answer.push_str(text.unwrap_or_default());
        }
        answers.append_option((*length > 0).then_some(answer));
    }
    Ok(Arc::new(answers.finish()))
}

impl Kind for Collect {
    type Cell = ValuesCell<Strings>;
    /// What is to be kept of each row.
    type View<'a> = Keys;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<Keys> {
        let values = input.argument()?;
        let order = input.order();
        let types = order.iter().map(|column| column.data_type()).zip(self.directions.iter().copied());
        let order_codec = OrderCodec::new(types)?;
        let order_keys = order_codec.encode(order, values.len())?;
        let mut value_keys = Keys::new(self.codec.stride());
        self.codec.encode(std::slice::from_ref(values), values.len(), &mut value_keys)?;
        let exact = match self.codec.is_exact() {
            true => None,
            false => Some(encode_rows(&RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?)?),
        };
        let mut kept = Keys::new(None);
        let mut bytes = Vec::new();
        for row in 0..values.len() {
            bytes.clear();
            order_keys.write(row, &mut bytes);
            let mut place = bytes.len();
            bytes.extend_from_slice(value_keys.get(row));
            if let Some(exact) = &exact {
                place = bytes.len();
                bytes.extend_from_slice(exact.get(row));
            }
            let place = u32::try_from(place).map_err(|_| too_large("an ORDER BY key is longer than 4 GB"))?;
            bytes.extend_from_slice(&place.to_le_bytes());
            kept.push(&bytes);
        }
        Ok(kept)
    }

    fn add(&self, cell: &mut Self::Cell, kept: &Keys, row: usize, weight: i64) -> Result<()> {
        cell.add(kept.get(row), weight);
        Ok(())
    }

    fn merge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        cell.add_all(other);
        Ok(())
    }

    fn unmerge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        cell.take_all(other);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a Self::Cell>) -> Result<ArrayRef> {
        let Collected { values, lengths } = self.collect(cells)?;
        let values = self.column(&values)?;
        match &self.answer {
            Answer::Text { separator } => joined(&values, &lengths, separator),
            Answer::Array { item } => {
                let there: NullBuffer = lengths.iter().map(|length| *length > 0).collect();
                let offsets = OffsetBuffer::from_lengths(lengths);
                Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(there))?))
            }
        }
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        cell.encode(out);
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Self::Cell> {
        ValuesCell::decode(reader)
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    /// Bytes of a value, about.
    const VALUE: usize = 1000;

    /// What is made of cells that hold one value so often: whether it is, or why not.
    fn check(answer: Answer, times: &[usize], expected: std::result::Result<(), &str>) {
        let codec = KeyCodec::new([&DataType::Utf8View]).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8View, true)]));
        let collect = Collect { answer, distinct: false, directions: Vec::new(), schema, codec };
        let value: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(VALUE)]));
        let mut keys = Keys::new(None);
        collect.codec.encode(&[value], 1, &mut keys).unwrap();
        let kept = [keys.get(0), &0_u32.to_le_bytes()].concat();
        let cells = times.iter().map(|times| {
            let mut cell = ValuesCell::default();
            cell.add(&kept[..], *times as i64);
            cell
        });
        let cells: Vec<ValuesCell<Strings>> = cells.collect();
        match (collect.finish(cells.iter()), expected) {
            (Ok(answers), Ok(())) => assert_eq!(answers.len(), times.len()),
            (Err(error), Err(message)) => {
                assert_eq!((error.state(), error.message()), (SqlState::ProgramLimitExceeded, message));
            }
            (made, expected) => panic!("{made:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn an_answer_has_a_bound_and_so_have_all_together() {
        let text = || Answer::Text { separator: ", ".into() };
        let array = || Answer::Array { item: Arc::new(Field::new("item", DataType::Utf8View, true)) };
        check(text(), &[1, 10_000], Ok(()));
        check(array(), &[1, 10_000], Ok(()));
        check(text(), &[1, 70_000], Err("result of string_agg would be larger than 64 MiB"));
        check(array(), &[70_000, 1], Err("result of array_agg would be larger than 64 MiB"));
        let many = [60_000; 20];
        check(text(), &many, Err("results of string_agg that change together would hold more than 1024 MiB"));
        check(array(), &many, Err("results of array_agg that change together would hold more than 1024 MiB"));
    }
}
