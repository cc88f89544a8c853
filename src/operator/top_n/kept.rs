//! What is kept of each partition whose first rows are wanted: those rows, as numbers in one store of columns.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::operator::CHUNK_ROWS;
use crate::operator::row_store::{NOWHERE, RowStore};
use crate::state::Values;

/// Up to `most` rows by slot, first rank first.
pub struct KeptRows {
    store: RowStore,
    most: usize,
    /// `most` numbers for each slot, [`NOWHERE`] behind the last.
    rows: Vec<u32>,
    /// Rows of the store that are some slot's.
    alive: usize,
}

impl KeptRows {
    pub fn new(schema: &SchemaRef, most: usize) -> Self {
        KeptRows { store: RowStore::new(schema), most, rows: Vec::new(), alive: 0 }
    }

    pub fn store(&self) -> &RowStore {
        &self.store
    }

    /// The rows of a slot.
    pub fn rows(&self, slot: u32) -> impl Iterator<Item = u32> {
        let from = slot as usize * self.most;
        let rows = self.rows.get(from..from + self.most).unwrap_or_default();
        rows.iter().copied().take_while(|row| *row != NOWHERE)
    }

    /// Takes rows in that are no slot's yet; gives the first's number.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<u32> {
        let first = self.store.len();
        self.store.push(ChangeBatch::append_only(rows.clone()).compacted()?.rows())?;
        Ok(first)
    }

    /// Puts other rows into a slot, at most as many as it has room for.
    pub fn set(&mut self, slot: u32, rows: impl Iterator<Item = u32>) {
        let before = self.rows(slot).count();
        let from = slot as usize * self.most;
        let Some(places) = self.rows.get_mut(from..from + self.most) else { return };
        places.fill(NOWHERE);
        let mut now = 0;
        for (place, row) in places.iter_mut().zip(rows) {
            *place = row;
            now += 1;
        }
        self.alive = (self.alive + now).saturating_sub(before);
    }

    /// Moves the rows that are still some slot's together, if most of those held are not: so that what is held is bounded by
    /// what is kept, and each row that came pays for moving at most one other.
    pub fn compact(&mut self) -> Result<()> {
        if self.store.len() as usize <= 2 * self.alive + CHUNK_ROWS {
            return Ok(());
        }
        let mut together = RowStore::new(self.store.schema());
        let rows = self.rows.iter_mut().filter(|row| **row != NOWHERE);
        self.store.move_to(rows, |rows| together.push(rows))?;
        self.store = together;
        Ok(())
    }
}

impl Values for KeptRows {
    fn grow(&mut self, slots: usize) {
        if self.rows.len() < slots * self.most {
            self.rows.resize(slots * self.most, NOWHERE);
        }
    }

    fn reset(&mut self, slot: u32) {
        self.set(slot, std::iter::empty());
    }

    fn clear(&mut self) {
        *self = KeptRows::new(self.store.schema(), self.most);
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.store.encode(&self.rows(slot).collect::<Vec<_>>(), out);
    }

    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        let rows = self.store.decode(bytes)?;
        if rows.len() > self.most {
            return Err(Error::internal("more rows of a partition were kept than are wanted"));
        }
        self.set(slot, rows);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.store.bytes() + 4 * self.rows.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn kept(most: usize) -> KeptRows {
        let mut kept = KeptRows::new(&Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])), most);
        kept.grow(100);
        kept
    }

    fn push(kept: &mut KeptRows, slot: u32, numbers: std::ops::Range<i64>) {
        let column: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
        let rows = RecordBatch::try_new(Arc::clone(kept.store.schema()), vec![column]).unwrap();
        let first = kept.push(&rows).unwrap();
        kept.set(slot, first..first + rows.num_rows() as u32);
    }

    fn seen(kept: &KeptRows, slot: u32) -> Vec<i64> {
        let numbers: Vec<u32> = kept.rows(slot).collect();
        let columns = kept.store.gather_all(&numbers).unwrap();
        columns[0].as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn what_is_replaced_does_not_stay() {
        let mut kept = kept(3);
        for n in 0..40_000 {
            let slot = (n % 100) as u32;
            push(&mut kept, slot, n..n + n % 4);
            kept.compact().unwrap();
        }
        assert!(kept.store.len() as usize <= 2 * 300 + CHUNK_ROWS + 3, "{} rows", kept.store.len());
        for n in 39_900..40_000 {
            assert_eq!(seen(&kept, (n % 100) as u32), (n..n + n % 4).collect::<Vec<_>>());
        }
        kept.reset(3);
        assert!(seen(&kept, 3).is_empty());
    }

    #[test]
    fn rows_survive_encoding_in_order() {
        let mut kept = kept(3);
        push(&mut kept, 5, 7..10);
        let mut bytes = Vec::new();
        kept.encode(5, &mut bytes);
        let mut back = self::kept(3);
        push(&mut back, 0, 1..2);
        back.decode(1, &bytes).unwrap();
        assert_eq!((seen(&back, 0), seen(&back, 1)), (vec![1], vec![7, 8, 9]));
        assert!(self::kept(2).decode(0, &bytes).is_err());
    }
}
