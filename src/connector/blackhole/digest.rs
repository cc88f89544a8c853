//! A hash of each row over all its columns, column by column.
//!
//! A row's hash depends on the order of the columns and on their values, not on how Arrow holds them (a sliced, inlined or
//! shared buffer hashes like a fresh one). The mixing step is the folded multiplication of wyhash. Stable within a build
//! of Tidemill; nothing durable holds it.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, ByteView, MAX_INLINE_VIEW_LEN, RecordBatch};
use arrow::datatypes::{self as types, ByteViewType, DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};

use crate::error::{Error, Result};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const NULL: u64 = 0xa076_1d64_78bd_642f;
const FOLD: u64 = 0xe703_7ed1_a0b4_28db;

/// Keeps its buffer from batch to batch.
#[derive(Debug, Default)]
pub struct RowHasher {
    hashes: Vec<u64>,
}

impl RowHasher {
    /// The hash of each row of `rows`.
    ///
    /// # Errors
    /// If a column has a type that no SQL type is made of.
    pub fn hash(&mut self, rows: &RecordBatch) -> Result<&[u64]> {
        self.hashes.clear();
        self.hashes.resize(rows.num_rows(), SEED);
        for column in rows.columns() {
            hash_column(column, &mut self.hashes)?;
        }
        Ok(&self.hashes)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn mix(hash: u64, value: u64) -> u64 {
    fold(hash ^ value, FOLD ^ value.rotate_left(32))
}

/// Sixteen bytes a step; the length closes it, so that a zero byte counts.
fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<16>();
    for word in words {
        let word = u128::from_le_bytes(*word);
        hash = fold(hash ^ (word as u64), FOLD ^ ((word >> 64) as u64));
    }
    // What is left is read with the bytes before it, as wyhash does: a copy of unknown length costs more.
    let last = match bytes.last_chunk::<16>() {
        Some(last) => *last,
        None => {
            let mut padded = [0; 16];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    };
    let last = u128::from_le_bytes(last);
    fold(hash ^ (last as u64), FOLD ^ ((last >> 64) as u64)).wrapping_add(bytes.len() as u64)
}

/// Mixes each row's value of `column` into its hash.
fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    use DataType as D;
    match column.data_type() {
        D::Boolean => {
            let values = column.as_boolean().values();
            each(column, hashes, |row| u64::from(values.value(row)));
        }
        D::Int16 => primitive::<types::Int16Type>(column, hashes, |v| v as u64),
        D::Int32 => primitive::<types::Int32Type>(column, hashes, |v| v as u64),
        D::Int64 => primitive::<types::Int64Type>(column, hashes, |v| v as u64),
        D::Float32 => primitive::<types::Float32Type>(column, hashes, |v| u64::from(v.to_bits())),
        D::Float64 => primitive::<types::Float64Type>(column, hashes, f64::to_bits),
        D::Date32 => primitive::<types::Date32Type>(column, hashes, |v| v as u64),
        D::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<types::TimestampMicrosecondType>(column, hashes, |v| v as u64);
        }
        D::Decimal128(..) => {
            primitive::<types::Decimal128Type>(column, hashes, |v| fold(v as u64 ^ SEED, FOLD) ^ ((v >> 64) as u64));
        }
        D::Interval(IntervalUnit::MonthDayNano) => {
            primitive::<IntervalMonthDayNanoType>(column, hashes, |v| {
                mix(mix(v.months as u64, v.days as u64), v.nanoseconds as u64)
            });
        }
        D::Time64(TimeUnit::Microsecond) => primitive::<types::Time64MicrosecondType>(column, hashes, |v| v as u64),
        D::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            each(column, hashes, |row| mix_bytes(SEED, values.value(row)));
        }
        D::LargeBinary => {
            let values = column.as_binary::<i64>();
            each(column, hashes, |row| mix_bytes(SEED, values.value(row)));
        }
        D::Utf8View => views::<types::StringViewType>(column, hashes),
        D::BinaryView => views::<types::BinaryViewType>(column, hashes),
        D::Struct(_) => {
            let before = column.nulls().map(|_| hashes.to_vec());
            for child in column.as_struct().columns() {
                hash_column(child, hashes)?;
            }
            nulls_over(column, before, hashes);
        }
        D::List(_) => lists(column, hashes)?,
        other => {
            return Err(Error::internal(format!("the blackhole cannot digest a column of type {other}")));
        }
    }
    Ok(())
}

/// Mixes `value(row)` into each row's hash, and a constant for nulls.
fn each(column: &dyn Array, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    match column.nulls() {
        None => hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash = mix(*hash, value(row))),
        Some(nulls) => {
            for ((row, hash), valid) in hashes.iter_mut().enumerate().zip(nulls) {
                *hash = if valid { mix(*hash, value(row)) } else { fold(*hash, NULL) };
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(column: &dyn Array, hashes: &mut [u64], bits: impl Fn(T::Native) -> u64) {
    let values = column.as_primitive::<T>().values();
    match column.nulls() {
        None => hashes.iter_mut().zip(values).for_each(|(hash, value)| *hash = mix(*hash, bits(*value))),
        Some(nulls) => {
            for ((hash, value), valid) in hashes.iter_mut().zip(values).zip(nulls) {
                *hash = if valid { mix(*hash, bits(*value)) } else { fold(*hash, NULL) };
            }
        }
    }
}

/// Short texts are hashed as their view, which holds all of them; long ones by their bytes.
fn views<T: ByteViewType>(column: &dyn Array, hashes: &mut [u64]) {
    let array = column.as_byte_view::<T>();
    let buffers = array.data_buffers();
    let hash_of = |hash: u64, view: u128| -> u64 {
        let long = ByteView::from(view);
        if long.length <= MAX_INLINE_VIEW_LEN {
            return fold(hash ^ (view as u64), FOLD ^ ((view >> 64) as u64));
        }
        let start = long.offset as usize;
        let bytes = buffers.get(long.buffer_index as usize).and_then(|b| b.get(start..start + long.length as usize));
        mix_bytes(hash, bytes.unwrap_or_default())
    };
    match column.nulls() {
        None => hashes.iter_mut().zip(array.views()).for_each(|(hash, view)| *hash = hash_of(*hash, *view)),
        Some(nulls) => {
            for ((hash, view), valid) in hashes.iter_mut().zip(array.views()).zip(nulls) {
                *hash = if valid { hash_of(*hash, *view) } else { fold(*hash, NULL) };
            }
        }
    }
}

fn lists(column: &dyn Array, hashes: &mut [u64]) -> Result<()> {
    let before = column.nulls().map(|_| hashes.to_vec());
    let list = column.as_list::<i32>();
    let mut items = vec![SEED; list.values().len()];
    hash_column(list.values(), &mut items)?;
    for (hash, ends) in hashes.iter_mut().zip(list.value_offsets().windows(2)) {
        let [start, end] = ends else { continue };
        let items = items.get(*start as usize..*end as usize).unwrap_or_default();
        *hash = items.iter().fold(mix(*hash, items.len() as u64), |hash, item| mix(hash, *item));
    }
    nulls_over(column, before, hashes);
    Ok(())
}

/// What lies under a null of a nested column must not count.
fn nulls_over(column: &dyn Array, before: Option<Vec<u64>>, hashes: &mut [u64]) {
    let (Some(nulls), Some(before)) = (column.nulls(), before) else {
        return;
    };
    for ((hash, before), valid) in hashes.iter_mut().zip(before).zip(nulls) {
        if !valid {
            *hash = fold(before, NULL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, ListArray, StringViewArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::compute;
    use arrow::datatypes::{Field, Fields, Int32Type};
    use std::sync::Arc;

    fn hashes(column: ArrayRef) -> Vec<u64> {
        let rows = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).expect("a batch");
        RowHasher::default().hash(&rows).expect("hashed").to_vec()
    }

    #[test]
    fn how_a_text_is_held_does_not_matter() {
        let long = "a text that does not fit into its view";
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter(vec![Some("short"), Some(long), None, Some("")]));
        let whole = hashes(Arc::clone(&texts));
        assert_eq!(whole.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(hashes(texts.slice(1, 2)), whole[1..3]);
        let other = compute::concat(&[&texts.slice(3, 1), &texts.slice(0, 3)]).expect("concatenated");
        assert_eq!(hashes(other), [whole[3], whole[0], whole[1], whole[2]]);
    }

    #[test]
    fn every_byte_of_a_text_counts() {
        let base = b"0123456789abcdef0123456789abcdef01234".to_vec();
        for i in 0..base.len() {
            let mut changed = base.clone();
            changed[i] ^= 1;
            assert_ne!(mix_bytes(SEED, &base), mix_bytes(SEED, &changed), "byte {i}");
        }
        assert_ne!(mix_bytes(SEED, b"a"), mix_bytes(SEED, b"a\0"));
    }

    #[test]
    fn what_lies_under_a_null_does_not_count() {
        let fields = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
        let row = |under: i64| -> ArrayRef {
            let child: ArrayRef = Arc::new(Int64Array::from(vec![7, under]));
            Arc::new(StructArray::new(fields.clone(), vec![child], Some(NullBuffer::from(vec![true, false]))))
        };
        assert_eq!(hashes(row(1)), hashes(row(2)));
        assert_ne!(hashes(row(1))[0], hashes(row(1))[1]);
    }

    #[test]
    fn the_bounds_of_a_list_count() {
        let lists = |items: Vec<Option<Vec<Option<i32>>>>| -> Vec<u64> {
            hashes(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(items)))
        };
        let one = |items: &[i32]| lists(vec![Some(items.iter().copied().map(Some).collect())])[0];
        assert_ne!(one(&[1, 2]), one(&[2, 1]));
        assert_ne!(one(&[]), one(&[0]));
        assert_ne!(lists(vec![None])[0], one(&[]));
        let two = lists(vec![Some(vec![Some(1)]), Some(vec![Some(2), Some(3)])]);
        assert_eq!(two, [one(&[1]), one(&[2, 3])]);
    }
}
