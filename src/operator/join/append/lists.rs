//! What an append-only side keeps: for each key the list of its rows, as numbers in one store of columns.
//!
//! A list is linked from its newest row to its oldest, so adding a row is two numbers written, whatever there is already.

use crate::change::ChangeBatch;
use crate::error::Result;
use crate::operator::row_store::{NOWHERE, RowStore};
use crate::state::Values;

/// Rows by key. None is ever taken out but all of them.
pub struct RowLists {
    store: RowStore,
    /// For each row the next older one of its list.
    older: Vec<u32>,
    /// The newest row of each slot.
    newest: Vec<u32>,
}

impl RowLists {
    /// Of rows that go into `store`.
    pub fn new(store: RowStore) -> Self {
        RowLists { store, older: Vec::new(), newest: Vec::new() }
    }

    pub fn store(&self) -> &RowStore {
        &self.store
    }

    /// Takes rows in that are in no list yet; they are numbered from `store().len()` on.
    pub fn push(&mut self, rows: &ChangeBatch) -> Result<()> {
        self.store.push(rows.clone().compacted()?.rows())?;
        self.older.resize(self.store.len() as usize, NOWHERE);
        Ok(())
    }

    /// Puts a row at the front of a slot's list.
    pub fn link(&mut self, slot: u32, row: u32) {
        if let (Some(newest), Some(older)) = (self.newest.get_mut(slot as usize), self.older.get_mut(row as usize)) {
            *older = *newest;
            *newest = row;
        }
    }

    /// The newest row of a slot, or [`NOWHERE`].
    #[inline]
    pub fn newest(&self, slot: u32) -> u32 {
        self.newest.get(slot as usize).copied().unwrap_or(NOWHERE)
    }

    /// The row behind this one in its list, or [`NOWHERE`].
    #[inline]
    pub fn older(&self, row: u32) -> u32 {
        self.older.get(row as usize).copied().unwrap_or(NOWHERE)
    }

    /// The rows of a slot, oldest first.
    fn rows(&self, slot: u32) -> Vec<u32> {
        let next = |row: &u32| Some(self.older(*row)).filter(|row| *row != NOWHERE);
        let first = Some(self.newest(slot)).filter(|row| *row != NOWHERE);
        let mut rows: Vec<u32> = std::iter::successors(first, next).collect();
        rows.reverse();
        rows
    }
}

impl Values for RowLists {
    fn grow(&mut self, slots: usize) {
        if self.newest.len() < slots {
            self.newest.resize(slots, NOWHERE);
        }
    }

    /// The rows stay where they are, in no list, until all are forgotten.
    fn reset(&mut self, slot: u32) {
        if let Some(newest) = self.newest.get_mut(slot as usize) {
            *newest = NOWHERE;
        }
    }

    fn clear(&mut self) {
        *self = RowLists::new(RowStore::new(self.store.schema()));
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.store.encode(&self.rows(slot), out);
    }

    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        let rows = self.store.decode(bytes)?;
        self.older.resize(self.store.len() as usize, NOWHERE);
        rows.for_each(|row| self.link(slot, row));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + 4 * (self.older.capacity() + self.newest.capacity())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn texts(texts: &[&str]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("s", DataType::Utf8View, true)]);
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
    }

    fn lists() -> RowLists {
        let mut lists = RowLists::new(RowStore::new(&texts(&[]).schema()));
        lists.grow(2);
        lists
    }

    #[test]
    fn lists_survive_encoding_in_order() {
        let mut lists = lists();
        lists.push(&ChangeBatch::append_only(texts(&["a", "b", "c", "d"]))).unwrap();
        [(1, 0), (0, 1), (1, 2), (1, 3)].into_iter().for_each(|(slot, row)| lists.link(slot, row));
        assert_eq!((lists.rows(0), lists.rows(1)), (vec![1], vec![0, 2, 3]));
        for slot in [0, 1] {
            let mut bytes = Vec::new();
            lists.encode(slot, &mut bytes);
            let mut back = self::lists();
            back.push(&ChangeBatch::append_only(texts(&["in front"]))).unwrap();
            back.decode(1, &bytes).unwrap();
            let mut again = Vec::new();
            back.encode(1, &mut again);
            assert_eq!((again, back.rows(1).len()), (bytes.clone(), lists.rows(slot).len()));
            assert!(self::lists().decode(0, &bytes[..bytes.len() - 1]).is_err());
        }
        lists.reset(1);
        assert!(lists.rows(1).is_empty());
        lists.clear();
        assert_eq!((lists.rows(0), lists.store().len()), (vec![], 0));
    }
}
