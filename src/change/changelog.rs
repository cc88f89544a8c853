//! What kind of changes a stream has, and a batch's changes as sinks name them.

use super::ChangeBatch;
use crate::error::Result;

/// The changes that a stream can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changelog {
    /// Only insertions, each of weight 1.
    AppendOnly,
    /// Insertions and deletions.
    Changing,
    /// By key, in order: weight +1 sets the key's row, whatever it was; weight -1 says that nothing is left of it, and of
    /// its row only the key counts.
    Upsert,
}

/// A change as changelog formats name it, by the rows of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Insert { row: usize, times: u64 },
    Delete { row: usize, times: u64 },
    Update { before: usize, after: usize },
}

/// The changes of `batch`, in order. A deletion and the insertion right behind it are an update if they agree in the
/// columns `key`; without such columns nothing is.
///
/// # Errors
/// `0A000` for a column of a type that cannot be a key.
pub fn changes(batch: &ChangeBatch, key: &[usize]) -> Result<Vec<Change>> {
    let rows = batch.num_rows();
    let keys = if key.is_empty() || batch.weights().is_none() { None } else { Some(batch.keys(key)?) };
    let mut changes = Vec::with_capacity(rows);
    let mut row = 0;
    while row < rows {
        let (weight, next) = (batch.weight(row), row + 1);
        let updates = |keys: &super::key::Keys| {
            weight == -1 && next < rows && batch.weight(next) == 1 && keys.get(row) == keys.get(next)
        };
        if keys.as_ref().is_some_and(updates) {
            changes.push(Change::Update { before: row, after: next });
            row += 2;
            continue;
        }
        let times = weight.unsigned_abs();
        changes.push(if weight < 0 { Change::Delete { row, times } } else { Change::Insert { row, times } });
        row = next;
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn a_deletion_and_the_insertion_behind_it_are_an_update_of_their_key() {
        let keys: Int64Array = [1, 1, 1, 2, 2, 3, 3].into_iter().collect();
        let rows = RecordBatch::try_from_iter([("k", Arc::new(keys) as arrow::array::ArrayRef)]).unwrap();
        let batch = ChangeBatch::new(rows, Some(vec![-1, 1, -1, 1, -2, 1, 3].into())).unwrap();
        let (insert, delete) = (|row, times| Change::Insert { row, times }, |row, times| Change::Delete { row, times });
        assert_eq!(
            changes(&batch, &[0]).unwrap(),
            [
                Change::Update { before: 0, after: 1 },
                delete(2, 1),
                insert(3, 1),
                delete(4, 2),
                insert(5, 1),
                insert(6, 3)
            ]
        );
        assert_eq!(changes(&batch, &[]).unwrap().len(), 7);
    }
}
