//! Consolidation: equal rows added up, rows of weight zero dropped.

use arrow::array::UInt32Array;
use arrow::buffer::ScalarBuffer;
use hashbrown::HashTable;

use super::ChangeBatch;
use super::key::hash;
use super::row::encode_rows;
use crate::error::{Error, Result, SqlState};

/// The net change of a batch: each distinct row once, in the order of its first appearance, with the sum of its weights;
/// rows that cancel out are gone. Rows are equal if their bytes are (null equals null, -0 is not 0). Judges do not
/// survive: a net change is judged by the tick.
///
/// # Errors
/// `22003` if weights add up to more than 64 bits.
pub fn consolidate(batch: &ChangeBatch) -> Result<ChangeBatch> {
    if batch.weights().is_none() && batch.judges().is_none() && batch.num_rows() <= 1 {
        return Ok(batch.clone());
    }
    let rows = encode_rows(batch.rows())?;
    let mut index: HashTable<(u64, usize)> = HashTable::with_capacity(rows.len());
    let mut sums: Vec<(u32, i64)> = Vec::new();
    for (row, bytes) in rows.iter().enumerate() {
        let hash = hash(bytes);
        let same = |(other, at): &(u64, usize)| {
            *other == hash && sums.get(*at).is_some_and(|(first, _)| rows.get(*first as usize) == bytes)
        };
        match index.find(hash, same).copied() {
            Some((_, at)) => {
                if let Some((_, sum)) = sums.get_mut(at) {
                    *sum = sum.checked_add(batch.weight(row)).ok_or_else(too_many)?;
                }
            }
            None => {
                index.insert_unique(hash, (hash, sums.len()), |(hash, _)| *hash);
                let row = u32::try_from(row).map_err(|_| too_many())?;
                sums.push((row, batch.weight(row as usize)));
            }
        }
    }
    sums.retain(|(_, weight)| *weight != 0);
    let weights: ScalarBuffer<i64> = sums.iter().map(|(_, weight)| *weight).collect();
    let kept = batch.take(&UInt32Array::from_iter_values(sums.iter().map(|(row, _)| *row)))?;
    let kept = ChangeBatch::append_only(kept.rows().clone());
    kept.with_weights(Some(weights))
}

fn too_many() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "too many equal rows in one change")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringViewArray};

    use super::*;

    fn batch(rows: &[(Option<&str>, i64, i64)]) -> ChangeBatch {
        let names: StringViewArray = rows.iter().map(|r| r.0).collect();
        let numbers: Int64Array = rows.iter().map(|r| Some(r.1)).collect();
        let rows_only = RecordBatch::try_from_iter(vec![
            ("name", Arc::new(names) as arrow::array::ArrayRef),
            ("number", Arc::new(numbers)),
        ]);
        ChangeBatch::new(rows_only.unwrap(), Some(rows.iter().map(|r| r.2).collect())).unwrap()
    }

    #[test]
    fn equal_rows_add_up_and_zeroes_go() {
        let net = consolidate(&batch(&[
            (Some("a"), 1, 1),
            (None, 1, 1),
            (Some("b"), 1, -1),
            (Some("a"), 1, 2),
            (Some("b"), 1, 1),
            (None, 1, 1),
            (Some("a"), 2, -1),
        ]));
        let net = net.unwrap();
        let want = batch(&[(Some("a"), 1, 3), (None, 1, 2), (Some("a"), 2, -1)]);
        assert_eq!(net.rows(), want.rows());
        assert_eq!(net.weights(), want.weights());
        assert!(consolidate(&batch(&[(None, 0, i64::MAX), (None, 0, 1)])).is_err());
    }
}
